#include "protocols/http/cache_control.h"

#include "protocols/http/structured.h"
#include "protocols/http/value.h"

enum kind { SWITCH, FIELD_NAMES, SECONDS };

static const struct directive {
    struct slice name;
    enum kind kind;
    unsigned which; /* enum cache_control_flags, or for SECONDS enum cache_control_seconds */
} directives[] = {
#define DIRECTIVE(name, kind, which)                                                               \
    {                                                                                              \
        { name, sizeof(name) - 1 }, kind, which                                                    \
    }
    DIRECTIVE("max-age", SECONDS, CC_MAX_AGE),
    DIRECTIVE("s-maxage", SECONDS, CC_S_MAXAGE),
    DIRECTIVE("public", SWITCH, CC_PUBLIC),
    DIRECTIVE("private", FIELD_NAMES, CC_PRIVATE),
    DIRECTIVE("no-cache", FIELD_NAMES, CC_NO_CACHE),
    DIRECTIVE("no-store", SWITCH, CC_NO_STORE),
    DIRECTIVE("no-transform", SWITCH, CC_NO_TRANSFORM),
    DIRECTIVE("immutable", SWITCH, CC_IMMUTABLE),
    DIRECTIVE("must-revalidate", SWITCH, CC_MUST_REVALIDATE),
    DIRECTIVE("proxy-revalidate", SWITCH, CC_PROXY_REVALIDATE),
    DIRECTIVE("must-understand", SWITCH, CC_MUST_UNDERSTAND),
    DIRECTIVE("only-if-cached", SWITCH, CC_ONLY_IF_CACHED),
    DIRECTIVE("stale-while-revalidate", SECONDS, CC_STALE_WHILE_REVALIDATE),
    DIRECTIVE("stale-if-error", SECONDS, CC_STALE_IF_ERROR),
    DIRECTIVE("max-stale", SECONDS, CC_MAX_STALE),
    DIRECTIVE("min-fresh", SECONDS, CC_MIN_FRESH),
#undef DIRECTIVE
};

static const struct directive *find_directive(struct slice name)
{
    for (size_t i = 0; i < sizeof directives / sizeof *directives; i++) {
        if (slice_eq_nocase(directives[i].name, name)) return &directives[i];
    }
    return NULL;
}

static void clear(struct cache_control *c)
{
    *c = (struct cache_control){ 0 };
    for (int i = 0; i < CC_SECONDS_COUNT; i++) c->seconds[i] = -1;
}

/* What a directive's argument comes down to, whichever syntax it was written in. */
struct argument {
    struct slice text; /* p == NULL: none */
    int64_t seconds;   /* -1: none, or not a number of seconds */
};

static struct slice *field_names(struct cache_control *c, unsigned which)
{
    return which == CC_PRIVATE ? &c->private_fields : &c->no_cache_fields;
}

/* No field has a name with a single quote, but people quote lists with it. */
static bool are_field_names(struct slice names)
{
    struct slice name, rest = names;
    while (value_next_plain(&rest, &name)) {
        if (!value_is_token(name) || slice_find(name, '\'') < name.n) return false;
    }
    return slice_trim(names).n;
}

/* What is no list of field names is taken for none, which forbids more. */
static void set_field_names(struct cache_control *c, unsigned which, struct slice names)
{
    struct slice *kept = field_names(c, which);
    if (!are_field_names(names) || (kept->p && !slice_eq(*kept, names)))
        c->flags |= which;
    else
        *kept = names;
}

/* Without a usable number: freshness is none, max-stale without any argument is unlimited, the
 * others are ignored. */
static int64_t default_seconds(unsigned which, struct slice text)
{
    if (which == CC_MAX_AGE || which == CC_S_MAXAGE) return 0;
    return which == CC_MAX_STALE && !text.p ? DELTA_SECONDS_MAX : -1;
}

static void set_seconds(struct cache_control *c, unsigned which, struct argument a)
{
    int64_t *kept = &c->seconds[which];
    int64_t v = a.seconds >= 0 ? a.seconds : default_seconds(which, a.text);
    if (v < 0) return;
    bool larger_restricts = which == CC_MIN_FRESH;
    if (*kept < 0 || (larger_restricts ? v > *kept : v < *kept)) *kept = v;
}

static void set_directive(struct cache_control *c, const struct directive *d, struct argument a)
{
    switch (d->kind) {
    case SWITCH: c->flags |= d->which; break;
    case FIELD_NAMES: set_field_names(c, d->which, a.text); break;
    case SECONDS: set_seconds(c, d->which, a); break;
    }
}

/* Surrogate-Control: max-age=FRESH+STALE (Edge Architecture Specification, 2001): so long may it be
 * used stale. */
static void split_surrogate(struct cache_control *c, struct argument *a)
{
    size_t plus = slice_find(a->text, '+');
    if (plus == a->text.n) return;
    int64_t stale = value_delta_seconds(slice_skip(a->text, plus + 1));
    a->seconds = value_delta_seconds(slice_of(a->text.p, plus));
    set_seconds(c, CC_STALE_WHILE_REVALIDATE, (struct argument){ a->text, stale });
    set_seconds(c, CC_STALE_IF_ERROR, (struct argument){ a->text, stale });
}

/* Those that let a response be used for longer, or by more: not to be read out of what is
 * malformed. */
static bool is_lenient(const struct directive *d)
{
    return d->kind == SWITCH
               ? d->which & (CC_PUBLIC | CC_IMMUTABLE | CC_MUST_UNDERSTAND)
               : d->kind == SECONDS && d->which != CC_MAX_AGE && d->which != CC_S_MAXAGE;
}

static bool is_letter(char c)
{
    return char_is(c, CHAR_UNRESERVED) && c != '.' && c != '_' && c != '~';
}

/* A member that is no directive ("public private", "max-age =1", "'no-store'"): each that it names
 * counts, without an argument. */
static void parse_malformed(struct cache_control *c, struct slice member)
{
    while (member.n) {
        size_t n = 0;
        while (n < member.n && is_letter(member.p[n])) n++;
        const struct directive *d = find_directive(slice_of(member.p, n));
        if (d && !is_lenient(d)) set_directive(c, d, (struct argument){ SLICE(""), -1 });
        member = slice_skip(member, n < member.n ? n + 1 : n);
    }
}

static void parse_member(struct cache_control *c, enum field_id id, struct slice member)
{
    struct slice name;
    struct argument a = { SLICE_NONE, -1 };
    if (!value_parse_parameter(member, &name, &a.text) || slice_find(name, '\'') < name.n) {
        parse_malformed(c, member);
        return;
    }
    const struct directive *d = find_directive(name);
    if (!d) return;
    a.seconds = value_delta_seconds(a.text);
    if (id == FIELD_SURROGATE_CONTROL && d->kind == SECONDS) split_surrogate(c, &a);
    set_directive(c, d, a);
}

/* A quoted string that does not end must not hide what stands behind it. */
static bool next_member(struct slice *rest, struct slice *member)
{
    struct slice before = *rest;
    if (!value_next(rest, member)) return false;
    if (rest->n || !value_ends_open(*member)) return true;
    *rest = before;
    return value_next_plain(rest, member);
}

bool cache_control_parse(const struct fields *f, enum field_id id, struct cache_control *out)
{
    bool found = false;
    struct slice member;
    clear(out);
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->v[i].id != id) continue;
        found = true;
        struct slice rest = f->v[i].value;
        while (next_member(&rest, &member)) parse_member(out, id, member);
    }
    return found;
}

bool cache_control_parse_request(const struct fields *f, struct cache_control *out)
{
    if (cache_control_parse(f, FIELD_CACHE_CONTROL, out)) return true;
    struct slice pragma = fields_value(f, FIELD_PRAGMA);
    if (value_list_has(pragma, SLICE("no-cache"))) out->flags |= CC_NO_CACHE;
    return pragma.p != NULL;
}

/* Takes back what an earlier member of the same key said: the last one counts. */
static void unset_directive(struct cache_control *c, const struct directive *d)
{
    if (d->kind == SECONDS) {
        c->seconds[d->which] = -1;
        return;
    }
    c->flags &= ~d->which;
    if (d->kind == FIELD_NAMES) *field_names(c, d->which) = SLICE_NONE;
}

static struct argument structured_argument(const struct structured_member *m)
{
    struct argument a = { m->type == STRUCTURED_BOOLEAN ? SLICE_NONE : SLICE(""), -1 };
    if (m->type == STRUCTURED_STRING || m->type == STRUCTURED_TOKEN) a.text = m->text;
    if (m->type == STRUCTURED_INTEGER && m->integer >= 0) {
        a.seconds = m->integer < DELTA_SECONDS_MAX ? m->integer : DELTA_SECONDS_MAX;
    }
    return a;
}

static void set_structured(struct cache_control *c, const struct structured_member *m)
{
    const struct directive *d = find_directive(m->key);
    if (!d) return;
    unset_directive(c, d);
    if (m->type != STRUCTURED_BOOLEAN || m->integer) set_directive(c, d, structured_argument(m));
}

bool cache_control_parse_targeted(const struct fields *f, enum field_id id,
                                  struct cache_control *out)
{
    struct structured_member member;
    bool found = false;
    clear(out);
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->v[i].id != id) continue;
        struct slice rest = f->v[i].value;
        int got;
        while ((got = structured_dictionary_next(&rest, &member)) > 0) {
            set_structured(out, &member);
            found = true;
        }
        if (got < 0) return false;
    }
    return found;
}
