#include "cache/key.h"

#include <stdlib.h>

#include "cache/key_cookie.h"
#include "protocols/http/accept.h"
#include "protocols/http/path.h"
#include "protocols/http/value.h"

/* A part of a key is its length in decimal, ':' and its bytes; '-' is a part that is absent. */
enum { LENGTH_DIGITS = 20, PART_OVERHEAD = LENGTH_DIGITS + 1 };

static struct key_seed process_seed;

void key_seed(uint64_t a, uint64_t b)
{
    process_seed = (struct key_seed){ { a, b } };
}

/* SipHash (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012), with one compression
 * and three finalisation rounds: the variant hash tables use, strong enough where the attacker sees
 * no hash. */
struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate_left(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate_left(s->v1, 13) ^ s->v0;
    s->v3 = rotate_left(s->v3, 16) ^ s->v2;
    s->v0 = rotate_left(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate_left(s->v1, 17) ^ s->v2;
    s->v3 = rotate_left(s->v3, 21) ^ s->v0;
    s->v2 = rotate_left(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

uint64_t key_hash_with(const struct key_seed *with, struct slice s)
{
    const uint64_t *seed = with->v;
    struct sip h = { seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d,
                     seed[0] ^ 0x6c7967656e657261, seed[1] ^ 0x7465646279746573 };
    uint64_t word;
    size_t at = 0;
    for (; at + 8 <= s.n; at += 8) {
        memcpy(&word, s.p + at, 8);
        sip_word(&h, word);
    }
    word = (uint64_t)s.n << 56;
    for (unsigned i = 0; at + i < s.n; i++) word |= (uint64_t)(unsigned char)s.p[at + i] << 8 * i;
    sip_word(&h, word);
    h.v2 ^= 0xff;
    for (int i = 0; i < 3; i++) sip_round(&h);
    return h.v0 ^ h.v1 ^ h.v2 ^ h.v3;
}

uint64_t key_hash(struct slice s)
{
    return key_hash_with(&process_seed, s);
}

static char *put_length(char *at, size_t n)
{
    char digits[LENGTH_DIGITS];
    size_t i = sizeof digits;
    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    memcpy(at, digits + i, sizeof digits - i);
    return at + (sizeof digits - i);
}

static char *put_part(char *at, struct slice s)
{
    if (!s.p) {
        *at++ = '-';
        return at;
    }
    at = put_length(at, s.n);
    *at++ = ':';
    memcpy(at, s.p, s.n);
    return at + s.n;
}

static void lower(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) p[i] = ascii_lower(p[i]);
}

static char *put_part_lower(char *at, struct slice s)
{
    char *end = put_part(at, s);
    lower(end - s.n, s.n);
    return end;
}

/* Without a port that is empty or the scheme's default (RFC 9110 section 4.2.3). */
struct slice key_authority(struct slice scheme, struct slice authority)
{
    struct slice host = authority_host(authority);
    struct slice port = slice_skip(authority, host.n);
    struct slice usual = slice_eq(scheme, SLICE("https")) ? SLICE(":443") : SLICE(":80");
    return port.n <= 1 || slice_eq(port, usual) ? host : authority;
}

struct slice key_authority_text(struct slice scheme, struct slice authority, struct arena *a)
{
    authority = key_authority(scheme, authority);
    char *text = arena_alloc(a, authority.n + 1);
    for (size_t i = 0; i < authority.n; i++) text[i] = ascii_lower(authority.p[i]);
    return slice_of(text, authority.n);
}

/* One query parameter. Parameters of one query are sorted by name; equal names keep their order,
 * which the addresses of the names tell. */
struct param {
    struct slice text, name;
};

static int compare_params(const void *a, const void *b)
{
    const struct slice *x = &((const struct param *)a)->name, *y = &((const struct param *)b)->name;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    if (order) return order;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return x->p < y->p ? -1 : x->p > y->p;
}

static bool is_listed(const struct key_policy *p, struct slice name)
{
    for (size_t i = 0; i < p->param_count; i++) {
        struct slice pattern = p->params[i];
        bool prefix = pattern.n && pattern.p[pattern.n - 1] == '*';
        if (prefix) pattern.n--;
        if (prefix ? slice_starts(name, pattern) : slice_eq(name, pattern)) return true;
    }
    return false;
}

static bool is_kept(const struct key_policy *p, struct slice name)
{
    if (p->query == KEY_QUERY_KEEP) return is_listed(p, name);
    if (p->query == KEY_QUERY_DROP) return !is_listed(p, name);
    return true;
}

/* Those parameters of query that the policy keeps, in its order; returns how many. Empty ones
 * ("a&&b") are dropped. */
static size_t select_params(const struct key_policy *p, struct slice query, struct param *out)
{
    size_t count = 0;
    while (query.n) {
        struct slice text = slice_of(query.p, slice_find(query, '&'));
        query = slice_skip(query, text.n < query.n ? text.n + 1 : text.n);
        struct slice name = slice_of(text.p, slice_find(text, '='));
        if (text.n && is_kept(p, name)) out[count++] = (struct param){ text, name };
    }
    if (p->sort_query) qsort(out, count, sizeof *out, compare_params);
    return count;
}

static size_t count_char(struct slice s, char c)
{
    size_t count = 0;
    for (size_t i = 0; i < s.n; i++) count += s.p[i] == c;
    return count;
}

/* The target with the query the policy leaves; without '?' where nothing is left. */
static struct slice rewrite_target(const struct key_policy *p, struct slice target, struct arena *a)
{
    struct slice path = target_path(target), query = target_query(target);
    if (!query.p || p->query == KEY_QUERY_NONE) return path;
    struct param *params = arena_alloc(a, (count_char(query, '&') + 1) * sizeof *params);
    size_t count = select_params(p, query, params);
    char *out = arena_alloc(a, target.n), *at = out;
    memcpy(at, path.p, path.n);
    at += path.n;
    for (size_t i = 0; i < count; i++) {
        *at++ = i ? '&' : '?';
        memcpy(at, params[i].text.p, params[i].text.n);
        at += params[i].text.n;
    }
    return slice_of(out, (size_t)(at - out));
}

/* A list value with one form of white space and no empty members, so that spelling makes no
 * variants. */
static struct slice normalise_list(struct slice list, struct arena *a, bool fold_case)
{
    char *out = arena_alloc(a, list.n), *at = out;
    struct slice member;
    while (value_next(&list, &member)) {
        if (at != out) *at++ = ',';
        memcpy(at, member.p, member.n);
        at += member.n;
    }
    if (fold_case) lower(out, (size_t)(at - out));
    return slice_of(out, (size_t)(at - out));
}

/* Only lists have their form normalised: in others ("Mozilla/5.0 (KHTML, like Gecko)") a comma is
 * just a character. */
static struct slice normalise(enum field_id id, struct slice value, struct arena *a)
{
    if (!value.p || !(field_flags(id) & FIELD_LIST)) return value;
    if (id == FIELD_ACCEPT_ENCODING) return accept_encoding_text(accept_encoding_parse(value));
    return normalise_list(value, a, id == FIELD_ACCEPT_LANGUAGE);
}

/* The request's value for a name that Vary has; p == NULL if the field is absent. */
static struct slice vary_value(const struct request *req, struct slice name, struct arena *a)
{
    enum field_id id = field_lookup(name);
    if (id == FIELD_HOST) return req->authority;
    return normalise(id, fields_joined_named(&req->fields, name, a), a);
}

/* The same for a name that key_header has: several lines are told from one with all that they say,
 * since some origins read the first alone. Of Accept-Encoding the origin is sent one line. */
static struct slice key_value(const struct request *req, struct slice name, struct arena *a)
{
    const struct field *first = fields_get_named(&req->fields, name), *line = first;
    if (!first || first->id == FIELD_ACCEPT_ENCODING) return vary_value(req, name, a);
    const struct field *end = req->fields.v + req->fields.n;
    struct slice *parts = arena_alloc(a, 2 * (size_t)(end - first) * sizeof *parts);
    size_t n = 0;
    for (; line < end; line++) {
        if (line->id != first->id || !slice_eq_nocase(line->name, first->name)) continue;
        parts[n++] = normalise(line->id, line->value, a);
        parts[n++] = SLICE("\n");
    }
    return n > 2 ? arena_concat(a, parts, n - 1) : parts[0];
}

/* A request's field or cookie that joins a key. */
struct extra {
    char kind; /* 'h' or 'c': a field and a cookie of one name are different things */
    struct slice name, value;
};

static size_t extras_size_bytes(const struct extra *v, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) total += 1 + v[i].name.n + v[i].value.n + 2 * PART_OVERHEAD;
    return total;
}

static char *put_extras(char *at, const struct extra *v, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        *at++ = v[i].kind;
        at = v[i].kind == 'h' ? put_part_lower(at, v[i].name) : put_part(at, v[i].name);
        at = put_part(at, v[i].value);
    }
    return at;
}

/* What a name of key_header gives: one part, or with a star one for each name that begins so. */
static size_t add_headers(struct slice pattern, const struct request *req, struct arena *a,
                          struct extra *out)
{
    size_t n = 0;
    if (pattern.p[pattern.n - 1] != '*') {
        out[n++] = (struct extra){ 'h', pattern, key_value(req, pattern, a) };
        return n;
    }
    for (uint32_t i = 0; i < req->fields.n; i++) {
        struct slice name = req->fields.v[i].name;
        bool is_first = fields_get_named(&req->fields, name) == &req->fields.v[i];
        if (is_first && field_name_matches(pattern, name))
            out[n++] = (struct extra){ 'h', name, key_value(req, name, a) };
    }
    return n;
}

static struct extra *policy_extras(const struct key_policy *p, const struct request *req,
                                   struct arena *a, size_t *count)
{
    struct key_cookie *cookies = NULL;
    size_t n = 0, cookie_count = 0;
    if (p->cookie_count)
        cookie_count = key_cookies(&req->fields, p->cookies, p->cookie_count, a, &cookies);
    size_t room = p->header_count * (req->fields.n + 1) + cookie_count;
    struct extra *v = arena_alloc(a, room * sizeof *v);
    for (size_t i = 0; i < p->header_count; i++) n += add_headers(p->headers[i], req, a, v + n);
    for (size_t i = 0; i < cookie_count; i++)
        v[n++] = (struct extra){ 'c', cookies[i].name, cookies[i].value };
    *count = n;
    return v;
}

/* The one place where a key comes from: whatever the caller's memory held, nothing of it stays. */
static struct key key_of(struct slice text, struct slice target, uint32_t slice)
{
    return (struct key){ .hash = key_hash(text), .text = text, .target = target, .slice = slice };
}

void key_build(const struct key_policy *p, const struct request *req, struct arena *a,
               struct key *out)
{
    bool rewrite = p->query != KEY_QUERY_ALL || p->sort_query;
    size_t count = 0;
    const struct extra *extras =
        p->header_count || p->cookie_count ? policy_extras(p, req, a, &count) : NULL;
    struct slice authority = key_authority(req->scheme, req->authority);
    struct slice target = rewrite ? rewrite_target(p, req->target, a) : req->target;
    char *text = arena_alloc(a, req->scheme.n + authority.n + target.n + 4 * PART_OVERHEAD +
                                    extras_size_bytes(extras, count));
    char *at = put_part(text, req->scheme);
    at = put_part_lower(at, authority);
    at = put_part(at, target_path(target));
    at = put_part(at, target_query(target));
    at = put_extras(at, extras, count);
    *out = key_of(slice_of(text, (size_t)(at - text)), target, 0);
}

/* The key of a request begins with a digit. */
void key_slice(const struct key *whole, uint32_t n, struct arena *a, struct key *out)
{
    struct slice text[] = { arena_printf(a, "slice %u ", n), whole->text };
    *out = key_of(arena_concat(a, text, 2), whole->target, n + 1);
}

struct slice key_whole_text(const struct key *key)
{
    if (!key->slice) return key->text;
    struct slice number = slice_skip(key->text, SLICE("slice ").n);
    return slice_skip(number, slice_find(number, ' ') + 1);
}

void key_whole(const struct key *key, struct key *out)
{
    *out = key_of(key_whole_text(key), key->target, 0);
}

/* Takes "scheme:" and "//authority" off the reference; false where they name another origin than
 * req's. */
static bool take_origin(const struct request *req, struct slice *reference)
{
    size_t colon = slice_find(*reference, ':');
    bool absolute = colon < slice_find(*reference, '/') && colon < slice_find(*reference, '?');
    if (absolute) {
        if (!slice_eq_nocase(slice_of(reference->p, colon), req->scheme)) return false;
        *reference = slice_skip(*reference, colon + 1);
    }
    if (!slice_starts(*reference, SLICE("//"))) return !absolute;
    *reference = slice_skip(*reference, 2);
    size_t slash = slice_find(*reference, '/'), query = slice_find(*reference, '?');
    struct slice authority = slice_of(reference->p, slash < query ? slash : query);
    *reference = slice_skip(*reference, authority.n);
    return authority_is_valid(authority) &&
           slice_eq_nocase(key_authority(req->scheme, authority),
                           key_authority(req->scheme, req->authority));
}

/* The target of a reference without scheme and authority, resolved against that of req (RFC 3986
 * section 5.2.2). False if its path is malformed. */
static bool resolve_target(struct slice base, struct slice reference, bool from_root,
                           struct arena *a, struct slice *out)
{
    struct slice path = target_path(reference), directory = SLICE("");
    struct slice query = slice_skip(reference, path.n);
    if (path.n == 0) {
        path = from_root ? SLICE("/") : target_path(base);
        if (!from_root && query.n == 0) query = slice_skip(base, path.n);
    } else if (path.p[0] != '/') {
        directory = target_path(base);
        while (directory.n && directory.p[directory.n - 1] != '/') directory.n--;
    }
    return target_key(arena_concat(a, (struct slice[]){ directory, path, query }, 3), a, out);
}

static bool is_uri_text(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f) return false;
    }
    return true;
}

bool key_build_reference(const struct key_policy *p, const struct request *req,
                         struct slice reference, struct arena *a, struct key *out)
{
    reference.n = slice_find(reference, '#');
    struct slice rest = reference;
    if (!is_uri_text(reference) || !take_origin(req, &rest)) return false;
    if (req->target.n == 0 || req->target.p[0] != '/') return false;
    struct request other = *req;
    if (!resolve_target(req->target, rest, rest.n < reference.n, a, &other.target)) return false;
    key_build(p, &other, a, out);
    return true;
}

bool key_vary(struct slice vary, const struct request *req, struct arena *a, struct slice *out)
{
    struct slice name;
    size_t count = 0;
    struct extra *v = arena_alloc(a, (count_char(vary, ',') + 1) * sizeof *v);
    while (value_next(&vary, &name)) {
        if (!value_is_token(name) || slice_eq(name, SLICE("*"))) return false;
        v[count++] = (struct extra){ 'h', name, vary_value(req, name, a) };
    }
    char *text = arena_alloc(a, extras_size_bytes(v, count));
    *out = slice_of(text, (size_t)(put_extras(text, v, count) - text));
    return true;
}
