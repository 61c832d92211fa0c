/* What a route says, and a site for its routes. target is the struct config_route being built. */
#include "edge/claims.h"
#include "edge/config_builder.h"
#include "protocols/http/value.h"

void config_apply_route_origin(struct config_builder *b, const struct config_directive *d,
                               const struct conf_item *item, void *target)
{
    (void)d;
    struct config_route *route = target;
    const struct conf_word *w = &item->args[0];
    route->origin = config_origin_find(b, w->text);
    if (route->origin) return;

    static const struct config_origin
        unknown; /* the route does name one: that is not wrong as well */
    route->origin = &unknown;
    struct conf_suggestion s = conf_suggest(w->text);
    for (size_t i = 0; i < b->config->origin_count; i++)
        conf_suggest_offer(&s, b->config->origins[i].name);
    conf_fail(&b->report, w->at, conf_suggest_hint(&s, &b->config->arena),
              "there is no origin \"%.*s\"", CONF_SHOWN(w->text));
}

void config_apply_trace(struct config_builder *b, const struct config_directive *d,
                        const struct conf_item *item, void *target)
{
    (void)d;
    static const char *const words[] = { "pass", "refuse", NULL };
    const struct conf_word *w = &item->args[0];
    struct config_route *route = target;
    route->trace_passes = slice_eq(w->text, SLICE("pass"));
    if (route->trace_passes || slice_eq(w->text, SLICE("refuse"))) return;
    conf_fail(&b->report, w->at, config_word_hint(b, w->text, words, "pass or refuse"),
              "\"%.*s\" is nothing that can be done with TRACE", CONF_SHOWN(w->text));
}

/* Adds a rule, unless one of the same block takes all its responses already. */
static void push_ttl(struct config_builder *b, struct cache_policy *p, const struct conf_word *w,
                     struct ttl_rule rule)
{
    for (size_t i = 0; i < p->ttl_count; i++) {
        if (p->ttls[i].status != 0 && p->ttls[i].status != rule.status) continue;
        conf_fail(&b->report, w->at, NULL,
                  "\"%.*s\" is never reached: an earlier ttl of this block takes it",
                  CONF_SHOWN(w->text));
        return;
    }
    struct ttl_rule *rules = config_room(b, p->ttls, p->ttl_count, sizeof rule);
    rules[p->ttl_count++] = rule;
    p->ttls = rules;
}

/* 0 for any, -1 where it is no final status. */
static int read_status(struct slice text)
{
    uint64_t n;
    if (slice_eq(text, SLICE("any"))) return 0;
    return text.n == 3 && config_read_digits(text, 599, &n) && n >= 200 ? (int)n : -1;
}

void config_apply_ttl(struct config_builder *b, const struct config_directive *d,
                      const struct conf_item *item, void *target)
{
    struct config_route *route = target;
    size_t n = item->arg_count;
    struct ttl_rule rule = { .override = slice_eq(item->args[n - 1].text, SLICE("override")) };
    if (rule.override) n--;
    const struct conf_word *duration = &item->args[n - 1];
    if (n < 2) {
        conf_fail(&b->report, duration->at, d->syntax, "a ttl needs statuses and a duration");
        return;
    }
    const char *reason = config_read_duration(duration->text, &rule.ttl_ms);
    if (reason)
        conf_fail(&b->report, duration->at, config_value_hint(b, TYPE_DURATION, duration->text),
                  "\"%.*s\" %s", CONF_SHOWN(duration->text), reason);
    for (const struct conf_word *w = item->args; w < duration; w++) {
        rule.status = read_status(w->text);
        if (rule.status >= 0)
            push_ttl(b, &route->cache, w, rule);
        else
            conf_fail(&b->report, w->at, "200 to 599, or any", "\"%.*s\" is not a status",
                      CONF_SHOWN(w->text));
    }
}

/* A list of names as they may stand in a key. */
typedef bool (*name_check)(struct slice name);

static void push_name(struct config_builder *b, const struct conf_word *w, name_check check,
                      const char *what, const struct slice **names, size_t *count)
{
    if (!check(w->text)) {
        conf_fail(&b->report, w->at, NULL, "\"%.*s\" is not the name of a %s", CONF_SHOWN(w->text),
                  what);
        return;
    }
    struct slice *all = config_room(b, *names, *count, sizeof *all);
    all[(*count)++] = w->text;
    *names = all;
}

static bool ends_in_star(struct slice name)
{
    return name.n && name.p[name.n - 1] == '*';
}

/* A star only as the last byte: names that begin so. */
static bool is_name_pattern(struct slice name)
{
    return value_is_token(name) && slice_find(name, '*') >= name.n - 1;
}

void config_apply_key_header(struct config_builder *b, const struct config_directive *d,
                             const struct conf_item *item, void *target)
{
    (void)d;
    struct key_policy *key = &((struct config_route *)target)->key;
    for (size_t i = 0; i < item->arg_count; i++)
        push_name(b, &item->args[i], is_name_pattern, "header field", &key->headers,
                  &key->header_count);
}

void config_apply_key_cookie(struct config_builder *b, const struct config_directive *d,
                             const struct conf_item *item, void *target)
{
    (void)d;
    struct key_policy *key = &((struct config_route *)target)->key;
    for (size_t i = 0; i < item->arg_count; i++)
        push_name(b, &item->args[i], is_name_pattern, "cookie", &key->cookies, &key->cookie_count);
}

/* '*' only as the last byte, and nothing that separates parameters. */
static bool is_parameter(struct slice name)
{
    if (name.n == 0 || slice_find(name, '*') < name.n - 1) return false;
    return slice_find(name, '&') == name.n && slice_find(name, '=') == name.n;
}

static bool is_claim_pattern(struct slice name)
{
    return is_name_pattern(name) && (ends_in_star(name) || claims_may_be_passed(name));
}

/* In the order of their enums. */
static const char *const query_modes[] = { "all", "none", "keep", "drop", NULL };
static const char *const actions[] = { "set", "add", "remove", NULL };

/* Index of text among words; -1 where it is none of them. */
static int word_index(struct slice text, const char *const *words)
{
    for (int i = 0; words[i]; i++) {
        if (slice_eq(text, slice_str(words[i]))) return i;
    }
    return -1;
}

void config_apply_key_query(struct config_builder *b, const struct config_directive *d,
                            const struct conf_item *item, void *target)
{
    struct key_policy *key = &((struct config_route *)target)->key;
    const struct conf_word *mode = &item->args[0];
    key->params = NULL;
    key->param_count = 0;
    int query = word_index(mode->text, query_modes);
    if (query < 0) {
        conf_fail(&b->report, mode->at, config_word_hint(b, mode->text, query_modes, d->syntax),
                  "\"%.*s\" is not a way to key the query", CONF_SHOWN(mode->text));
        return;
    }
    key->query = (enum key_query)query;
    bool names_wanted = key->query == KEY_QUERY_KEEP || key->query == KEY_QUERY_DROP;
    if (names_wanted != (item->arg_count > 1)) {
        conf_fail(&b->report, mode->at, d->syntax, "\"%.*s\" takes %s", CONF_SHOWN(mode->text),
                  names_wanted ? "at least one name" : "no names");
        return;
    }
    for (size_t i = 1; i < item->arg_count; i++)
        push_name(b, &item->args[i], is_parameter, "query parameter", &key->params,
                  &key->param_count);
}

/* drop, which is where all begins, or else pass; false where it is neither, or has the wrong
 * company. */
static bool read_passing(struct config_builder *b, const struct config_directive *d,
                         const struct conf_item *item, bool *pass)
{
    static const char *const words[] = { "drop", "pass", NULL };
    const struct conf_word *w = &item->args[0];
    int which = word_index(w->text, words);
    *pass = which == 1;
    if (which < 0)
        conf_fail(&b->report, w->at, config_word_hint(b, w->text, words, d->syntax),
                  "\"%.*s\" is not drop or pass", CONF_SHOWN(w->text));
    return which >= 0;
}

void config_apply_untrusted_fields(struct config_builder *b, const struct config_directive *d,
                                   const struct conf_item *item, void *target)
{
    struct config_route *route = target;
    bool pass;
    if (!read_passing(b, d, item, &pass)) return;
    if (pass != (item->arg_count > 1)) {
        conf_fail(&b->report, item->args[0].at, d->syntax, "\"%.*s\" takes %s",
                  CONF_SHOWN(item->args[0].text), pass ? "at least one name" : "no names");
        return;
    }
    route->passed_claims = NULL;
    route->passed_claim_count = 0;
    for (size_t i = 1; i < item->arg_count; i++)
        push_name(b, &item->args[i], is_claim_pattern, "field that untrusted_fields drops",
                  &route->passed_claims, &route->passed_claim_count);
}

void config_apply_underscores_in_fields(struct config_builder *b, const struct config_directive *d,
                                        const struct conf_item *item, void *target)
{
    read_passing(b, d, item, &((struct config_route *)target)->underscores);
}

/* Framing and the connection are ours: a rule on them would let one message become two. */
static bool check_field_name(struct config_builder *b, const struct conf_word *w)
{
    enum field_id id = field_lookup(w->text);
    bool ours = field_flags(id) & (FIELD_HOP | FIELD_FRAMING);
    const char *hint = id == FIELD_HOST ? "see \"host\" of the origin block" : NULL;
    if (!is_name_pattern(w->text))
        conf_fail(&b->report, w->at, NULL, "\"%.*s\" is not the name of a header field",
                  CONF_SHOWN(w->text));
    else if (ours)
        conf_fail(&b->report, w->at, hint,
                  "\"%.*s\" belongs to framing or the connection and cannot be changed",
                  CONF_SHOWN(w->text));
    else
        return true;
    return false;
}

/* Some names can be taken away by how they begin; none can be written so. */
static bool check_star(struct config_builder *b, const struct conf_word *w,
                       enum header_action action)
{
    bool sound = !ends_in_star(w->text) || (action == HEADER_REMOVE && w->text.n > 1);
    if (!sound)
        conf_fail(&b->report, w->at, "remove NAME* takes away all that begin so",
                  "\"%.*s\" is not one name", CONF_SHOWN(w->text));
    return sound;
}

static bool is_alphanumeric(char c)
{
    return char_is(c, CHAR_UNRESERVED) && c != '-' && c != '.' && c != '_' && c != '~';
}

/* What other programs take for a variable behind a '$'; empty if nothing is. */
static struct slice variable_of(struct slice text)
{
    size_t n = 0;
    if (text.n && text.p[0] == '{') return slice_of(text.p, slice_find(text, '}'));
    if (text.n == 0 || !is_alphanumeric(text.p[0])) return SLICE_NONE;
    while (n < text.n && (is_alphanumeric(text.p[n]) || text.p[n] == '_')) n++;
    return slice_of(text.p, n);
}

/* "$$" stands for '$', which must be written so where other programs would see a variable. */
static bool undo_dollars(struct config_builder *b, const struct conf_word *w, struct slice *out)
{
    char *text = arena_alloc(&b->config->arena, w->text.n + 1), *at = text;
    for (struct slice rest = w->text; rest.n; rest = slice_skip(rest, 1)) {
        struct slice behind = slice_skip(rest, 1), name = variable_of(behind);
        if (rest.p[0] == '$' && name.n) {
            conf_fail(&b->report, w->at, "write $$ for a dollar sign",
                      "there are no variables yet: \"$%.*s\"", CONF_SHOWN(name));
            return false;
        }
        *at++ = rest.p[0];
        if (rest.p[0] == '$' && slice_starts(behind, SLICE("$"))) rest = behind;
    }
    *at = 0;
    *out = slice_of(text, (size_t)(at - text));
    return true;
}

static bool read_field_value(struct config_builder *b, const struct conf_word *w, struct slice *out)
{
    if (!value_is_field_value(w->text) || slice_trim(w->text).n != w->text.n) {
        conf_fail(&b->report, w->at, NULL,
                  "not a field value: it has a control byte, or a space at an end");
        return false;
    }
    return undo_dollars(b, w, out);
}

static void push_header(struct config_builder *b, const struct config_directive *d,
                        const struct conf_item *item, const struct header_rule **rules,
                        size_t *count)
{
    const struct conf_word *action = &item->args[0], *name = &item->args[1],
                           *value = &item->args[2];
    int which = word_index(action->text, actions);
    struct header_rule rule = { .action = (enum header_action)which, .name = name->text };
    if (which < 0) {
        conf_fail(&b->report, action->at, config_word_hint(b, action->text, actions, d->syntax),
                  "\"%.*s\" is not set, add or remove", CONF_SHOWN(action->text));
        return;
    }
    bool wants_value = rule.action != HEADER_REMOVE;
    if (wants_value != (item->arg_count == 3)) {
        conf_fail(&b->report, action->at, d->syntax, "\"%.*s\" takes %s", CONF_SHOWN(action->text),
                  wants_value ? "a name and a value" : "a name only");
        return;
    }
    if (!check_field_name(b, name) || !check_star(b, name, rule.action)) return;
    if (wants_value && !read_field_value(b, value, &rule.value)) return;
    struct header_rule *all = config_room(b, *rules, *count, sizeof rule);
    all[(*count)++] = rule;
    *rules = all;
}

void config_apply_request_header(struct config_builder *b, const struct config_directive *d,
                                 const struct conf_item *item, void *target)
{
    struct config_route *route = target;
    push_header(b, d, item, &route->request_headers, &route->request_header_count);
}

void config_apply_response_header(struct config_builder *b, const struct config_directive *d,
                                  const struct conf_item *item, void *target)
{
    struct config_route *route = target;
    push_header(b, d, item, &route->response_headers, &route->response_header_count);
}
