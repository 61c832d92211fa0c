/* What every block of the configuration has in common: which directives it holds, how often, in
 * what shape. */
#include <stdlib.h>

#include "edge/base/mem.h"
#include "edge/config_builder.h"

struct meaning {
    const struct config_directive *directive; /* NULL: unknown */
    bool sound;                               /* of the right shape */
};

static const char *misplaced_hint(struct config_builder *b, struct slice name)
{
    unsigned contexts = config_directive_contexts(name);
    char buffer[128];
    if (!contexts) return NULL;
    return arena_printf(&b->config->arena, "it belongs %s", config_context_name(contexts, buffer))
        .p;
}

static const char *near_hint(struct config_builder *b, struct slice name,
                             enum config_context context)
{
    struct conf_suggestion s = conf_suggest(name);
    for (size_t i = 0; i < config_directive_count; i++) {
        if (config_directives[i].contexts & context)
            conf_suggest_offer(&s, slice_str(config_directives[i].name));
    }
    return conf_suggest_hint(&s, &b->config->arena);
}

static void fail_unknown(struct config_builder *b, enum config_context context,
                         const struct conf_word *name)
{
    char where[128];
    const char *hint = config_foreign_hint(name->text), *what = "unknown";
    if (!hint) {
        hint = misplaced_hint(b, name->text);
        what = hint ? "misplaced" : "unknown";
    }
    if (!hint) hint = near_hint(b, name->text, context);
    conf_fail(&b->report, name->at, hint, "%s directive \"%.*s\" %s", what, CONF_SHOWN(name->text),
              config_context_name(context, where));
}

/* A forgotten ';' makes the next line part of this directive: the first word of a line that names a
 * directive, or is one argument too many, gives it away. */
static const struct conf_word *swallowed(const struct config_directive *d,
                                         const struct conf_item *item, enum config_context context)
{
    for (size_t i = 0; i < item->arg_count; i++) {
        const struct conf_word *w = &item->args[i];
        if (!w->first_of_line || w->quoted) continue;
        if (i == d->args_max || config_directive_find(w->text, context))
            return i ? w - 1 : &item->name;
    }
    return NULL;
}

static const char *usage(struct config_builder *b, const struct config_directive *d)
{
    const char *syntax = config_directive_syntax(d);
    return arena_printf(&b->config->arena, "%s%s%s%s", d->name, syntax[0] ? " " : "", syntax,
                        d->type == TYPE_BLOCK ? " { ... }" : ";")
        .p;
}

/* The first word but the last that ends in a comma; NULL if there is none. */
static const struct conf_word *comma(const struct conf_item *item)
{
    for (size_t i = 0; i + 1 < item->arg_count; i++) {
        const struct conf_word *w = &item->args[i];
        if (!w->quoted && w->text.p[w->text.n - 1] == ',') return w;
    }
    return NULL;
}

/* Right number of arguments, and a block where one belongs. */
static bool check_shape(struct config_builder *b, enum config_context context,
                        const struct config_directive *d, const struct conf_item *item)
{
    const struct conf_word *last = swallowed(d, item, context);
    bool block = d->type == TYPE_BLOCK;
    if (last) {
        size_t end = last->at.offset + last->at.bytes;
        conf_fail(&b->report, (struct conf_span){ end, 0 }, NULL, "\";\" is missing after \"%.*s\"",
                  CONF_SHOWN(last->text));
    } else if (comma(item)) {
        conf_fail(&b->report, comma(item)->at, "a word that has a space or a comma goes in quotes",
                  "words are separated by spaces alone");
    } else if (item->has_block != block) {
        conf_fail(&b->report, item->name.at, usage(b, d), "\"%s\" %s", d->name,
                  block ? "needs a block" : "takes no block here");
    } else if (item->arg_count < d->args_min) {
        conf_fail(&b->report, item->name.at, usage(b, d), "too few arguments for \"%s\"", d->name);
    } else if (item->arg_count > d->args_max) {
        conf_fail(&b->report, item->args[d->args_max].at, usage(b, d),
                  "too many arguments for \"%s\"", d->name);
    } else {
        return true;
    }
    return false;
}

static struct meaning *understand(struct config_builder *b, enum config_context context,
                                  const struct conf_item *block)
{
    struct meaning *meanings = xcalloc(block->child_count + 1, sizeof *meanings), *m = meanings;
    b->doubtful &= ~(unsigned)context;
    for (const struct conf_item *item = block->children; item; item = item->next, m++) {
        m->directive = config_directive_find(item->name.text, context);
        if (!m->directive)
            fail_unknown(b, context, &item->name);
        else if (!item->damaged)
            m->sound = check_shape(b, context, m->directive, item);
        if (!m->sound) b->doubtful |= context;
    }
    return meanings;
}

/* The default is text, and goes the way of any directive: "{}" is an empty block, the rest one
 * argument. */
static void apply_default(struct config_builder *b, const struct config_directive *d, void *target)
{
    struct conf_word word = { .text = slice_str(d->fallback) };
    struct conf_item item = { .name.text = slice_str(d->name), .args = &word, .arg_count = 1 };
    if (d->type == TYPE_BLOCK) item = (struct conf_item){ .name = item.name, .has_block = true };
    d->apply(b, d, &item, target);
}

static void fail_missing(struct config_builder *b, enum config_context context,
                         const struct config_directive *d, const struct conf_item *block)
{
    const char *article = d->name[0] == 'o' ? "an" : "a";
    if (context == CONTEXT_TOP)
        conf_fail(&b->report, block->name.at, usage(b, d), "there is no %s", d->name);
    else
        conf_fail(&b->report, block->name.at, usage(b, d), "\"%.*s\" needs %s \"%s\"",
                  CONF_SHOWN(block->name.text), article, d->name);
}

static void apply_directive(struct config_builder *b, enum config_context context,
                            const struct config_directive *d, const struct conf_item *block,
                            const struct meaning *meanings, void *target)
{
    const struct conf_item *first = NULL, *item = block->children;
    for (const struct meaning *m = meanings; item; item = item->next, m++) {
        if (m->directive != d) continue;
        if (first && !(d->occurs & OCCURS_MANY)) {
            conf_fail(&b->report, item->name.at, NULL, "duplicate \"%s\"; the first is on line %u",
                      d->name, first->name.line);
            continue;
        }
        if (!first) first = item;
        if (m->sound) d->apply(b, d, item, target);
    }
    if (first) return;
    if ((d->occurs & OCCURS_NEEDED) && !(b->doubtful & context)) fail_missing(b, context, d, block);
    /* A route begins as a copy of its site's settings, which have had their defaults. */
    if (d->fallback[0] && context != CONTEXT_ROUTE) apply_default(b, d, target);
}

void config_build_block(struct config_builder *b, enum config_context context,
                        const struct conf_item *block, void *target)
{
    struct meaning *meanings = understand(b, context, block);
    for (size_t i = 0; i < config_directive_count; i++) {
        const struct config_directive *d = &config_directives[i];
        if (d->contexts & context) apply_directive(b, context, d, block, meanings, target);
    }
    free(meanings);
}

void *config_room(struct config_builder *b, const void *old, size_t count, size_t item_bytes)
{
    bool full = count == 0 || (count >= 4 && (count & (count - 1)) == 0);
    if (!full) return (void *)(uintptr_t)old;
    void *grown = arena_alloc(&b->config->arena, (count ? 2 * count : 4) * item_bytes);
    if (count) memcpy(grown, old, count * item_bytes);
    return grown;
}
