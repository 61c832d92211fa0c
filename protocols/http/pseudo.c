#include "protocols/http/pseudo.h"

#include "edge/base/error.h"
#include "protocols/http/value.h"

_Static_assert(FIELD_COUNT <= 128, "field ids fit the set of struct pseudo");

#define METHOD_BYTES 32 /* longer than any registered one */

void pseudo_begin(struct pseudo *p, const struct http_limits *limits, struct arena *arena)
{
    *p = (struct pseudo){ .arena = arena, .limits = limits, .content_length = LENGTH_NONE };
}

void pseudo_begin_trailers(struct pseudo *p, const struct http_limits *limits, struct arena *arena)
{
    pseudo_begin(p, limits, arena);
    p->trailers = true;
}

static void fail(struct pseudo *p, int error)
{
    if (!p->error) p->error = error;
}

/* ---- pseudo-fields ---- */

static struct slice *pseudo_of(struct request *r, struct slice name)
{
    if (slice_eq(name, SLICE(":method"))) return &r->method_text;
    if (slice_eq(name, SLICE(":scheme"))) return &r->scheme;
    if (slice_eq(name, SLICE(":authority"))) return &r->authority;
    if (slice_eq(name, SLICE(":path"))) return &r->target;
    return NULL;
}

static void take_pseudo(struct pseudo *p, struct slice name, struct slice value)
{
    struct slice *to = pseudo_of(&p->request, name);
    if (!to || to->p || p->regular || p->trailers)
        fail(p, -E_BAD_REQUEST);
    else
        *to = arena_copy(p->arena, value);
}

/* ---- fields ---- */

/* Returns whether it was seen before. */
static bool note_seen(struct pseudo *p, enum field_id id)
{
    uint64_t bit = (uint64_t)1 << id % 64;
    bool before = id != FIELD_OTHER && p->seen[id / 64] & bit;
    p->seen[id / 64] |= bit;
    return before;
}

static void take_length(struct pseudo *p, struct slice value, bool again)
{
    p->content_length = value_int64(value);
    if (p->content_length < 0 || again) fail(p, -E_BAD_FRAMING);
}

static void take_te(struct pseudo *p, struct slice value)
{
    if (slice_eq_nocase(value, SLICE("trailers")))
        p->te_trailers = true;
    else
        fail(p, -E_BAD_REQUEST);
}

/* True where the field is read here and is none of the message's. */
static bool take_special(struct pseudo *p, enum field_id id, struct slice value, bool again)
{
    switch (id) {
    case FIELD_HOST:
        p->host = arena_copy(p->arena, value);
        if (again) fail(p, -E_BAD_HOST);
        return true;
    case FIELD_CONTENT_LENGTH: take_length(p, value, again); return true;
    case FIELD_TE: take_te(p, value); return true;
    case FIELD_COOKIE:
        fields_add(&p->crumbs, p->arena, id, arena_copy(p->arena, value));
        return true;
    case FIELD_EXPECT:
        p->expect_continue |= slice_eq_nocase(value, SLICE("100-continue"));
        return false;
    default: return false;
    }
}

static void take_field(struct pseudo *p, struct slice name, struct slice value)
{
    enum field_id id = field_lookup(name);
    bool again = note_seen(p, id);
    unsigned flags = field_flags(id);
    p->regular = true;
    if (p->trailers && flags & FIELD_FRAMING) return; /* means nothing there */
    if (flags & FIELD_HOP && id != FIELD_TE) fail(p, -E_BAD_REQUEST);
    if (!p->trailers && take_special(p, id, value, again)) return;
    if (again && flags & FIELD_SINGLE) {
        /* Two values for what has one meaning: somebody is being fooled. */
        if (!slice_eq(value, fields_value(&p->request.fields, id))) fail(p, -E_BAD_REQUEST);
        return;
    }
    value = arena_copy(p->arena, value);
    if (id == FIELD_OTHER) p->has_priority |= slice_eq(name, SLICE("priority"));
    if (id == FIELD_OTHER)
        fields_add_named(&p->request.fields, p->arena, arena_copy(p->arena, name), value);
    else
        fields_add(&p->request.fields, p->arena, id, value);
}

/* As RFC 9113 section 10.5.1 counts, without the 32 bytes for each field: what HTTP/1.1 counts. The
 * pieces of a Cookie are one field (section 8.2.3). */
static bool within_limits(struct pseudo *p, struct slice name, struct slice value)
{
    bool pseudo = name.n && name.p[0] == ':';
    p->bytes += name.n + value.n + sizeof ": \r\n" - 1;
    if (!pseudo && !(p->crumbs.n && slice_eq(name, SLICE("cookie")))) p->lines++;
    if (pseudo && value.n > p->limits->line_bytes) fail(p, -E_URI_TOO_LONG);
    if (p->bytes > p->limits->head_bytes || p->lines > p->limits->field_count)
        fail(p, -E_HEADER_TOO_LARGE);
    return !p->error;
}

void pseudo_field(struct pseudo *p, struct slice name, struct slice value)
{
    if (!within_limits(p, name, value)) return;
    if (name.n && name.p[0] == ':')
        take_pseudo(p, name, value);
    else
        take_field(p, name, value);
}

/* ---- together ---- */

static bool target_is_valid(const struct request *r)
{
    struct slice t = r->target;
    if (r->method == METHOD_OPTIONS && slice_eq(t, SLICE("*"))) return true;
    if (t.n == 0 || t.p[0] != '/') return false;
    for (size_t i = 0; i < t.n; i++) {
        if (t.p[i] <= ' ' || t.p[i] > '~' || t.p[i] == '#') return false;
    }
    return true;
}

/* CONNECT has an authority with a port and nothing else (RFC 9113 section 8.5). */
static int check_connect(struct request *r)
{
    bool bare = !r->scheme.p && !r->target.p && authority_is_valid(r->authority) &&
                r->authority.n > authority_host(r->authority).n + 1;
    r->target = SLICE("");
    return bare ? 0 : -E_BAD_REQUEST;
}

/* Host may say the same again; in its stead it says it alone (RFC 9113 section 8.3.1). */
static int check_authority(struct pseudo *p)
{
    struct request *r = &p->request;
    if (!r->authority.p)
        r->authority = p->host;
    else if (p->host.p && !slice_eq_nocase(p->host, r->authority))
        return -E_BAD_HOST;
    return authority_is_valid(r->authority) ? 0 : -E_BAD_HOST;
}

static int check_request_line(struct pseudo *p)
{
    struct request *r = &p->request;
    if (r->method_text.n > METHOD_BYTES || !value_is_token(r->method_text)) return -E_BAD_REQUEST;
    r->method = method_lookup(r->method_text);
    int rc = check_authority(p);
    if (rc) return rc;
    if (r->method == METHOD_CONNECT) return check_connect(r);
    if (slice_eq_nocase(r->scheme, SLICE("https")))
        r->scheme = SLICE("https");
    else if (slice_eq_nocase(r->scheme, SLICE("http")))
        r->scheme = SLICE("http");
    else
        return -E_BAD_REQUEST;
    return target_is_valid(r) ? 0 : -E_BAD_REQUEST;
}

static void join_crumbs(struct pseudo *p)
{
    size_t n = p->crumbs.n;
    if (n == 0) return;
    struct slice *parts = arena_alloc(p->arena, 2 * n * sizeof *parts);
    for (size_t i = 0; i < n; i++) {
        parts[2 * i] = p->crumbs.v[i].value;
        parts[2 * i + 1] = SLICE("; ");
    }
    fields_add(&p->request.fields, p->arena, FIELD_COOKIE,
               n == 1 ? parts[0] : arena_concat(p->arena, parts, 2 * n - 1));
}

int pseudo_finish(struct pseudo *p, bool ended)
{
    struct request *r = &p->request;
    if (p->error) return p->error;
    int rc = check_request_line(p);
    if (rc) return rc;
    if (ended && p->content_length > 0) return -E_BAD_FRAMING;
    r->length = ended || p->content_length >= 0 ? p->content_length : LENGTH_UNKNOWN;
    join_crumbs(p);
    return 0;
}

struct slice pseudo_line(const struct pseudo *p, size_t max)
{
    const struct request *r = &p->request;
    struct slice parts[] = { r->method_text, SLICE(" "), r->target };
    struct slice line = slice_trim(arena_concat(p->arena, parts, 3));
    return slice_of(line.p, line.n < max ? line.n : max);
}

int pseudo_finish_trailers(struct pseudo *p)
{
    fields_remove_misplaced(&p->request.fields);
    return p->error;
}

/* ---- responses ---- */

int64_t pseudo_length(enum method m, const struct response *r, bool has_body)
{
    if (status_has_body(m, r->status)) return has_body || r->length >= 0 ? r->length : 0;
    return r->status >= 200 && r->status != 204 ? r->length : LENGTH_NONE;
}

/* Only field.def's names and ours come with capitals; an origin's may. */
static struct slice lower_name(struct arena *a, const struct field *f)
{
    if (f->id != FIELD_OTHER) return field_name_lower(f->id);
    size_t i = 0;
    while (i < f->name.n && f->name.p[i] == ascii_lower(f->name.p[i])) i++;
    if (i == f->name.n) return f->name;
    char *lower = arena_alloc(a, f->name.n);
    for (i = 0; i < f->name.n; i++) lower[i] = ascii_lower(f->name.p[i]);
    return slice_of(lower, f->name.n);
}

static void add_all(struct fields *to, struct arena *a, const struct fields *from)
{
    for (uint32_t i = 0; i < from->n; i++) {
        const struct field *f = &from->v[i];
        if (field_flags(f->id) & (FIELD_HOP | FIELD_FRAMING)) continue;
        to->v[to->n++] = (struct field){ lower_name(a, f), f->value, f->id };
    }
}

static struct fields room_for(struct arena *a, size_t count)
{
    return (struct fields){ .v = arena_alloc(a, count * sizeof(struct field)),
                            .cap = (uint32_t)count };
}

static struct slice decimal(struct arena *a, int64_t v)
{
    enum { DIGITS = 19 };
    char *end = (char *)arena_alloc(a, DIGITS) + DIGITS, *p = end;
    do {
        *--p = (char)('0' + v % 10);
    } while (v /= 10);
    return slice_of(p, (size_t)(end - p));
}

struct fields pseudo_response(struct arena *a, const struct response *r, int64_t length)
{
    struct fields f = room_for(a, r->fields.n + (r->stored ? r->stored->n : 0) + 2);
    char *status = arena_alloc(a, 3);
    for (int i = 2, rest = r->status; i >= 0; i--, rest /= 10) status[i] = (char)('0' + rest % 10);
    f.v[f.n++] = (struct field){ SLICE(":status"), slice_of(status, 3), FIELD_OTHER };
    if (r->stored) add_all(&f, a, r->stored);
    add_all(&f, a, &r->fields);
    if (length >= 0)
        f.v[f.n++] = (struct field){ field_name_lower(FIELD_CONTENT_LENGTH), decimal(a, length),
                                     FIELD_CONTENT_LENGTH };
    return f;
}

struct fields pseudo_trailers(struct arena *a, const struct fields *trailers)
{
    struct fields f = room_for(a, trailers->n);
    add_all(&f, a, trailers);
    return f;
}
