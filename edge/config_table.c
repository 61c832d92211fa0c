#include "edge/config_table.h"

#include <limits.h>
#include <stdio.h>

#include "edge/config.h"
#include "edge/config_builder.h"

/* The short names of config.def. They are gone at the end of the table. */
#define TOP    CONTEXT_TOP
#define CACHE  CONTEXT_CACHE
#define LIMITS CONTEXT_LIMITS
#define ADMIN  CONTEXT_ADMIN
#define ORIGIN CONTEXT_ORIGIN
#define SITE   CONTEXT_SITE
#define ROUTE  CONTEXT_ROUTE
#define ONCE   OCCURS_ONCE
#define MANY   OCCURS_MANY
#define NEEDED OCCURS_NEEDED

#define VALUE(name_, contexts_, type_, structure_, member_, default_, min_, max_, prose_)          \
    { .name = name_,                                                                               \
      .contexts = contexts_,                                                                       \
      .type = TYPE_##type_,                                                                        \
      .args_min = 1,                                                                               \
      .args_max = 1,                                                                               \
      .fallback = default_,                                                                        \
      .min = min_,                                                                                 \
      .max = max_,                                                                                 \
      .member_offset = offsetof(struct structure_, member_),                                       \
      .member_bytes = sizeof(((struct structure_ *)0)->member_),                                   \
      .apply = config_apply_value,                                                                 \
      .prose = prose_ },
#define FORM(id_, name_, contexts_, syntax_, least_, most_, occurs_, default_, merge_, prose_)     \
    { .name = name_,                                                                               \
      .contexts = contexts_,                                                                       \
      .type = TYPE_FORM,                                                                           \
      .syntax = syntax_,                                                                           \
      .args_min = least_,                                                                          \
      .args_max = most_,                                                                           \
      .occurs = occurs_,                                                                           \
      .fallback = default_,                                                                        \
      .merge = MERGE_##merge_,                                                                     \
      .apply = config_apply_##id_,                                                                 \
      .prose = prose_ },
#define BLOCK(id_, name_, contexts_, syntax_, least_, most_, occurs_, default_, prose_)            \
    { .name = name_,                                                                               \
      .contexts = contexts_,                                                                       \
      .type = TYPE_BLOCK,                                                                          \
      .syntax = syntax_,                                                                           \
      .args_min = least_,                                                                          \
      .args_max = most_,                                                                           \
      .occurs = occurs_,                                                                           \
      .fallback = default_,                                                                        \
      .apply = config_apply_##id_,                                                                 \
      .prose = prose_ },

const struct config_directive config_directives[] = {
#include "edge/config.def"
};
const size_t config_directive_count = sizeof config_directives / sizeof *config_directives;

#undef VALUE
#undef FORM
#undef BLOCK

static const char *const context_names[] = { "at the top level", "in cache",  "in limits",
                                             "in admin",         "in origin", "in site",
                                             "in route" };
#define CONTEXTS (sizeof context_names / sizeof *context_names)

const struct config_directive *config_directive_find(struct slice name, enum config_context context)
{
    for (size_t i = 0; i < config_directive_count; i++) {
        const struct config_directive *d = &config_directives[i];
        if ((d->contexts & context) && slice_eq(slice_str(d->name), name)) return d;
    }
    return NULL;
}

unsigned config_directive_contexts(struct slice name)
{
    unsigned contexts = 0;
    for (size_t i = 0; i < config_directive_count; i++) {
        const struct config_directive *d = &config_directives[i];
        if (slice_eq(slice_str(d->name), name)) contexts |= d->contexts;
    }
    return contexts;
}

const char *config_context_name(unsigned contexts, char buffer[128])
{
    size_t at = 0;
    buffer[0] = 0;
    for (size_t i = 0; i < CONTEXTS; i++) {
        if (!(contexts & (1u << i))) continue;
        at += (size_t)snprintf(buffer + at, 128 - at, "%s%s", at ? " or " : "", context_names[i]);
    }
    return buffer;
}

const char *config_directive_syntax(const struct config_directive *d)
{
    switch (d->type) {
    case TYPE_NUMBER: return "NUMBER";
    case TYPE_SIZE: return "SIZE";
    case TYPE_DURATION: return "DURATION";
    case TYPE_SWITCH:
    case TYPE_SWITCH_NOT: return "on | off";
    case TYPE_FORM:
    case TYPE_BLOCK: break;
    }
    return d->syntax;
}

/* config_describe: Markdown, one section per kind of block, one entry per directive. */

static const char units[] =
    "SIZE is a number of bytes, or of K, M, G or T (powers of 1024): `64K`, `256M`. DURATION is a "
    "number with ms, s,\n"
    "m, h or d: `100ms`, `2h`. Words with spaces, `;`, `{` or `}` go in double quotes, where "
    "`\\\"`, `\\\\` and `\\n`\n"
    "stand for a quote, a backslash and a line feed, or in single quotes, where everything stands for "
    "itself. A comment\nbegins with `#`.\n";

static const char *merge_text(const struct config_directive *d)
{
    if (!(d->contexts & CONTEXT_ROUTE)) return NULL;
    switch (d->merge) {
    case MERGE_BEFORE: return "A route's list follows its site's.";
    case MERGE_AFTER: return "A route's list goes before its site's.";
    case MERGE_REPLACE: break;
    }
    return "A route without one inherits its site's.";
}

static void describe_facts(const struct config_directive *d, FILE *out)
{
    if (d->fallback[0] && d->type != TYPE_BLOCK) fprintf(out, " Default: `%s`.", d->fallback);
    if (d->min && d->min[0]) fprintf(out, " From `%s` to `%s`.", d->min, d->max);
    if (d->occurs & OCCURS_NEEDED) fputs(" Required.", out);
    if (d->occurs & OCCURS_MANY) fputs(" May be repeated.", out);
    if (merge_text(d)) fprintf(out, " %s", merge_text(d));
}

static void describe(const struct config_directive *d, unsigned section, FILE *out)
{
    const char *syntax = config_directive_syntax(d);
    fprintf(out, "\n### %s\n\n    %s%s%s%s\n\n%s", d->name, d->name, syntax[0] ? " " : "", syntax,
            d->type == TYPE_BLOCK ? " { ... }" : ";", d->prose);
    describe_facts(d, out);
    unsigned others = d->contexts & ~section;
    char buffer[128];
    if (others) fprintf(out, " Also %s.", config_context_name(others, buffer));
    putc('\n', out);
}

/* A directive of several contexts is described in the first. */
static bool belongs(const struct config_directive *d, unsigned section)
{
    return (d->contexts & section) && !(d->contexts & (section - 1));
}

void config_describe(FILE *out)
{
    fprintf(out, "# Directives\n\n%s", units);
    for (size_t i = 0; i < CONTEXTS - 1; i++) { /* route has none of its own */
        unsigned section = 1u << i;
        fprintf(out, "\n## Directives %s\n", context_names[i]);
        for (size_t j = 0; j < config_directive_count; j++) {
            const struct config_directive *d = &config_directives[j];
            if (belongs(d, section)) describe(d, section, out);
        }
    }
}
