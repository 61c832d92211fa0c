#include "protocols/h1/parse.h"

#include <endian.h>

#include "edge/base/error.h"

/* Longer than any registered method; what is longer still is not one. */
enum { METHOD_BYTES = 32, FIRST_FIELDS = 16 };

/* The same mistake has another name, and another blame, in a request and in a response. */
struct codes {
    int malformed, version, framing, coding, line_too_long, head_too_large;
};

static const struct codes request_codes = {
    .malformed = -E_BAD_REQUEST,
    .version = -E_VERSION,
    .framing = -E_BAD_FRAMING,
    .coding = -E_BAD_FRAMING,
    .line_too_long = -E_URI_TOO_LONG,
    .head_too_large = -E_HEADER_TOO_LARGE,
};

static const struct codes response_codes = {
    .malformed = -E_RESPONSE_MALFORMED,
    .version = -E_RESPONSE_MALFORMED,
    .framing = -E_RESPONSE_MALFORMED,
    .coding = -E_RESPONSE_CODING,
    .line_too_long = -E_RESPONSE_HEADER_TOO_LARGE,
    .head_too_large = -E_RESPONSE_HEADER_TOO_LARGE,
};

enum { OPTION_CLOSE = 1, OPTION_KEEP_ALIVE = 2, OPTION_UPGRADE = 4 }; /* of Connection */

/* One pass over one head. The functions below return whether to go on; where not, rc says why: 0 for "more bytes
 * needed", else the error. */
struct head {
    const char *start, *p, *end;
    int rc;
    const struct codes *codes;
    const struct h1_limits *limits;
    struct arena *arena;
    struct fields *fields;
    enum http_version version;
    unsigned lines, flags, options;
    uint64_t seen[2], twice[2]; /* sets of enum field_id */
    struct slice host, content_length, transfer_encoding;
    bool expect_continue, te_trailers;
};

_Static_assert(FIELD_COUNT <= 128, "field ids fit the sets");

static void head_init(struct head *h, struct slice buf, const struct codes *codes,
                      const struct h1_limits *limits, struct arena *arena, struct fields *fields)
{
    /* Nothing behind the limit is ever looked at: a head that needs it is incomplete here, and wait_for_more knows. */
    size_t n = buf.n < limits->head_bytes ? buf.n : limits->head_bytes;
    *h = (struct head){
        .start = buf.p, .p = buf.p, .end = buf.p + n, .codes = codes, .limits = limits, .arena = arena, .fields = fields,
    };
    *fields = (struct fields){ 0 };
}

static bool fail(struct head *h, int code)
{
    h->rc = code;
    return false;
}

static bool more(struct head *h) { return fail(h, 0); }

/* --- bytes --- */

enum { TOKEN = 1, TARGET = 2, BOTH = TOKEN | TARGET };

/* TOKEN: tchar of RFC 9110 section 5.6.2. TARGET: visible ASCII but '#', which never is part of a request target. */
static const uint8_t class_of[256] = {
    ['!'] = BOTH,          ['"'] = TARGET,        ['#'] = TOKEN,         ['$' ... '\''] = BOTH,
    ['(' ... ')'] = TARGET, ['*' ... '+'] = BOTH,  [','] = TARGET,        ['-' ... '.'] = BOTH,
    ['/'] = TARGET,        ['0' ... '9'] = BOTH,  [':' ... '@'] = TARGET, ['A' ... 'Z'] = BOTH,
    ['[' ... ']'] = TARGET, ['^' ... '`'] = BOTH,  ['a' ... 'z'] = BOTH,  ['{'] = TARGET,
    ['|'] = BOTH,          ['}'] = TARGET,        ['~'] = BOTH,
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static struct slice take(struct head *h, unsigned class)
{
    const char *from = h->p, *p = from, *end = h->end;
    while (p < end && (class_of[(unsigned char)*p] & class)) p++;
    h->p = p;
    return slice_of(from, (size_t)(p - from));
}

static bool take_byte(struct head *h, char c)
{
    if (h->p == h->end) return more(h);
    if (*h->p != c) return fail(h, h->codes->malformed);
    h->p++;
    return true;
}

static bool take_crlf(struct head *h) { return take_byte(h, '\r') && take_byte(h, '\n'); }

static bool is_text(char c)
{
    unsigned char u = (unsigned char)c;
    return (u >= 0x20 && u != 0x7f) || u == '\t';
}

#define EACH_BYTE(b) (0x0101010101010101u * (b))

/* Bit 7 of every byte below SP and every DEL. Only the lowest one is exact: a borrow may spoil those above it. */
static uint64_t controls(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    v = le64toh(v);
    uint64_t del = v ^ EACH_BYTE(0x7f);
    uint64_t low = (v - EACH_BYTE(0x20)) & ~v;
    return (low | ((del - EACH_BYTE(1)) & ~del)) & EACH_BYTE(0x80);
}

/* Field values are most of a head, so they are read eight bytes at a time. */
static const char *skip_text(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t found = controls(p);
        if (!found) {
            p += 8;
            continue;
        }
        p += __builtin_ctzll(found) / 8;
        if (*p != '\t') return p;
        p++;
    }
    while (p < end && is_text(*p)) p++;
    return p;
}

static bool parse_decimal(struct slice s, int64_t *out)
{
    int64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_digit(s.p[i])) return false;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, s.p[i] - '0', &v)) return false;
    }
    *out = v;
    return s.n > 0;
}

/* --- fields --- */

static bool set_has(const uint64_t *set, unsigned id) { return set[id / 64] >> id % 64 & 1; }

static void set_add(uint64_t *set, unsigned id) { set[id / 64] |= (uint64_t)1 << id % 64; }

static struct slice next_member(struct slice *list)
{
    size_t comma = slice_find(*list, ',');
    struct slice member = slice_trim(slice_of(list->p, comma));
    *list = slice_skip(*list, comma < list->n ? comma + 1 : comma);
    return member;
}

static void note_connection(struct head *h, struct slice list)
{
    while (list.n) {
        struct slice option = next_member(&list);
        if (slice_eq_nocase(option, SLICE("close"))) h->options |= OPTION_CLOSE;
        if (slice_eq_nocase(option, SLICE("keep-alive"))) h->options |= OPTION_KEEP_ALIVE;
        if (slice_eq_nocase(option, SLICE("upgrade"))) h->options |= OPTION_UPGRADE;
    }
}

static void note_te(struct head *h, struct slice list)
{
    while (list.n) {
        if (slice_eq_nocase(next_member(&list), SLICE("trailers"))) h->te_trailers = true;
    }
}

static void note_value(struct head *h, const struct field *f)
{
    switch (f->id) {
    case FIELD_HOST: h->host = f->value; break;
    case FIELD_CONTENT_LENGTH: h->content_length = f->value; break;
    case FIELD_TRANSFER_ENCODING: h->transfer_encoding = f->value; break;
    case FIELD_CONNECTION: note_connection(h, f->value); break;
    case FIELD_TE: note_te(h, f->value); break;
    case FIELD_EXPECT:
        if (slice_eq_nocase(f->value, SLICE("100-continue"))) h->expect_continue = true;
        break;
    }
}

static void keep(struct head *h, const struct field *f)
{
    struct fields *to = h->fields;
    if (to->n == to->cap) {
        uint32_t cap = to->cap ? to->cap * 2 : FIRST_FIELDS;
        struct field *v = arena_alloc(h->arena, cap * sizeof *v);
        if (to->n) memcpy(v, to->v, to->n * sizeof *v);
        to->v = v;
        to->cap = cap;
    }
    to->v[to->n++] = *f;
}

/* Two values for what has one meaning: in a request somebody is being fooled. A plain repetition is dropped. An origin's
 * response passes as it is, since what it says is said to the client, not to us. */
static bool keep_repeated(struct head *h, const struct field *f)
{
    set_add(h->twice, f->id);
    if (h->codes != &request_codes || !(h->flags & FIELD_SINGLE) || !(field_flags(f->id) & FIELD_SINGLE)) {
        keep(h, f);
        return true;
    }
    if (!slice_eq(f->value, fields_value(h->fields, f->id))) return fail(h, h->codes->malformed);
    return true;
}

static bool accept_field(struct head *h, struct field *f)
{
    f->id = (uint16_t)field_lookup(f->name);
    unsigned flags = field_flags(f->id);
    bool repeated = f->id != FIELD_OTHER && set_has(h->seen, f->id);
    h->flags |= flags;
    set_add(h->seen, f->id);
    if (flags & (FIELD_FRAMING | FIELD_HOP) || f->id == FIELD_EXPECT) note_value(h, f);
    if (flags & FIELD_FRAMING) {
        if (repeated) set_add(h->twice, f->id);
        return true;
    }
    if (repeated) return keep_repeated(h, f);
    keep(h, f);
    return true;
}

/* A line that begins with white space, obs-fold, has an empty name here. */
static bool field_line(struct head *h, struct field *f)
{
    f->name = take(h, TOKEN);
    if (h->p < h->end && f->name.n == 0) return fail(h, h->codes->malformed);
    if (!take_byte(h, ':')) return false;
    const char *from = h->p;
    h->p = skip_text(from, h->end);
    f->value = slice_trim(slice_of(from, (size_t)(h->p - from)));
    return take_crlf(h);
}

static bool field_lines(struct head *h)
{
    while (h->p < h->end && *h->p != '\r') {
        struct field f;
        if (++h->lines > h->limits->field_count) return fail(h, h->codes->head_too_large);
        if (!field_line(h, &f) || !accept_field(h, &f)) return false;
    }
    return take_crlf(h);
}

/* --- what both heads have --- */

static bool take_digit(struct head *h, int *digit)
{
    if (h->p == h->end) return more(h);
    if (!is_digit(*h->p)) return fail(h, h->codes->malformed);
    *digit = *h->p++ - '0';
    return true;
}

/* Only the major version decides how a message is read, and a higher minor one is ours (RFC 9110 section 2.5). */
static bool take_version(struct head *h)
{
    int major, minor;
    for (const char *c = "HTTP/"; *c; c++) {
        if (!take_byte(h, *c)) return false;
    }
    if (!take_digit(h, &major) || !take_byte(h, '.') || !take_digit(h, &minor)) return false;
    h->version = minor == 0 ? HTTP_1_0 : HTTP_1_1;
    return major == 1 || fail(h, h->codes->version);
}

static bool line_fits(struct head *h)
{
    if ((size_t)(h->p - h->start) <= h->limits->line_bytes) return true;
    return fail(h, h->codes->line_too_long);
}

/* RFC 9112 section 6.3, without its concessions. */
static bool read_framing(struct head *h, enum h1_body *body, int64_t *length)
{
    bool has_length = set_has(h->seen, FIELD_CONTENT_LENGTH);
    if (set_has(h->seen, FIELD_TRANSFER_ENCODING)) {
        if (has_length || h->version == HTTP_1_0) return fail(h, h->codes->framing);
        if (set_has(h->twice, FIELD_TRANSFER_ENCODING)) return fail(h, h->codes->coding);
        if (!slice_eq_nocase(h->transfer_encoding, SLICE("chunked"))) return fail(h, h->codes->coding);
        *body = H1_BODY_CHUNKED;
        *length = LENGTH_UNKNOWN;
        return true;
    }
    *body = has_length ? H1_BODY_LENGTH : H1_BODY_NONE;
    *length = LENGTH_NONE;
    if (!has_length) return true;
    if (set_has(h->twice, FIELD_CONTENT_LENGTH) || !parse_decimal(h->content_length, length)) {
        return fail(h, h->codes->framing);
    }
    return true;
}

static bool wants_keep_alive(const struct head *h)
{
    if (h->options & OPTION_CLOSE) return false;
    return h->version == HTTP_1_1 || (h->options & OPTION_KEEP_ALIVE);
}

/* Upgrade means nothing in HTTP/1.0, nor where Connection does not name it (RFC 9110 section 7.8). */
static struct slice wanted_upgrade(const struct head *h)
{
    if (h->version == HTTP_1_0 || !(h->options & OPTION_UPGRADE)) return SLICE_NONE;
    return fields_joined(h->fields, FIELD_UPGRADE, h->arena);
}

static void drop_hop_by_hop(struct head *h)
{
    if (h->flags & FIELD_HOP) fields_remove_hop_by_hop(h->fields);
}

/* --- more bytes needed --- */

/* The parse before saw everything up to scanned and no end of the head; from there only line ends matter. Returns
 * whether an empty line has come, or that a line ends in a bare LF. */
static int find_end(struct slice buf, size_t scanned, const struct codes *codes)
{
    for (size_t at = scanned; at < buf.n; at++) {
        at += slice_find(slice_skip(buf, at), '\n');
        if (at == buf.n) break;
        if (at == 0 || buf.p[at - 1] != '\r') return codes->malformed;
        if (at >= 2 && buf.p[at - 2] == '\n') return 1;
    }
    return 0;
}

static size_t leading_line(struct slice buf) { return slice_starts(buf, SLICE("\r\n")) ? 2 : 0; }

/* The first line need not be looked at again once the limit was passed with its end seen. */
static int wait_for_more(struct slice buf, size_t *scanned, const struct h1_limits *limits,
                         const struct codes *codes)
{
    size_t line_bytes = limits->line_bytes;
    if (*scanned < line_bytes && buf.n >= line_bytes) {
        struct slice line = slice_skip(slice_of(buf.p, line_bytes), leading_line(buf));
        if (slice_find(line, '\n') == line.n) return codes->line_too_long;
    }
    if (buf.n >= limits->head_bytes) return codes->head_too_large;
    *scanned = buf.n;
    return 0;
}

/* --- requests --- */

static bool take_method(struct head *h, struct request *r)
{
    r->method_text = take(h, TOKEN);
    if (r->method_text.n > METHOD_BYTES) return fail(h, h->codes->malformed);
    if (r->method_text.n == 0 && h->p < h->end) return fail(h, h->codes->malformed);
    r->method = method_lookup(r->method_text);
    return take_byte(h, ' ');
}

static bool is_absolute(struct request *r, struct slice *rest)
{
    static const struct { struct slice scheme, prefix; } known[] = {
        { { "http", 4 }, { "http://", 7 } },
        { { "https", 5 }, { "https://", 8 } },
    };
    for (size_t i = 0; i < 2; i++) {
        struct slice prefix = known[i].prefix;
        if (r->target.n < prefix.n || !slice_eq_nocase(slice_of(r->target.p, prefix.n), prefix)) continue;
        r->scheme = known[i].scheme;
        *rest = slice_skip(r->target, prefix.n);
        return true;
    }
    return false;
}

/* The path and query behind an absolute-form's authority, as origin-form (RFC 9112 sections 3.2.1 and 3.2.4). */
static struct slice origin_form(struct head *h, const struct request *r, struct slice path)
{
    if (path.n && *path.p == '/') return path;
    if (path.n == 0) return r->method == METHOD_OPTIONS ? SLICE("*") : SLICE("/");
    return arena_concat(h->arena, (struct slice[]){ SLICE("/"), path }, 2);
}

static bool split_absolute(struct head *h, struct request *r, struct slice rest)
{
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?') n++;
    r->authority = slice_of(rest.p, n);
    r->target = origin_form(h, r, slice_skip(rest, n));
    return authority_is_valid(r->authority) || fail(h, -E_BAD_HOST);
}

static bool has_port(struct slice authority)
{
    return authority.n > authority_host(authority).n + 1;
}

static bool take_authority_form(struct head *h, struct request *r)
{
    r->authority = r->target;
    r->target = SLICE("");
    if (authority_is_valid(r->authority) && has_port(r->authority)) return true;
    return fail(h, h->codes->malformed);
}

/* The four forms of RFC 9112 section 3.2, each with the methods that may use it. */
static bool read_target(struct head *h, struct request *r)
{
    struct slice rest;
    if (r->method == METHOD_CONNECT) return take_authority_form(h, r);
    if (*r->target.p == '/') return true;
    if (r->method == METHOD_OPTIONS && slice_eq(r->target, SLICE("*"))) return true;
    if (is_absolute(r, &rest)) return split_absolute(h, r, rest);
    return fail(h, h->codes->malformed);
}

static bool request_line(struct head *h, struct request *r)
{
    if (!take_method(h, r)) return false;
    r->target = take(h, TARGET);
    if (r->target.n == 0 && h->p < h->end) return fail(h, h->codes->malformed);
    if (!take_byte(h, ' ') || !take_version(h) || !take_crlf(h)) return false;
    r->version = h->version;
    return line_fits(h) && read_target(h, r);
}

/* An authority in the target wins over Host, which must be valid all the same (RFC 9112 section 3.2.2). */
static bool read_host(struct head *h, struct request *r)
{
    if (!set_has(h->seen, FIELD_HOST)) return h->version == HTTP_1_0 || fail(h, -E_BAD_HOST);
    if (set_has(h->twice, FIELD_HOST) || !authority_is_valid(h->host)) return fail(h, -E_BAD_HOST);
    if (r->authority.n == 0) r->authority = h->host;
    return true;
}

static int request_head(struct head *h, struct h1_request *out)
{
    struct request *r = &out->msg;
    h->p += leading_line(slice_of(h->p, (size_t)(h->end - h->p)));
    /* A lone CR may be the first half of an empty line, or of nothing. */
    if (h->end - h->p == 1 && h->p == h->start && *h->p == '\r') return 0;
    if (!request_line(h, r) || !field_lines(h)) return h->rc;
    if (!read_host(h, r) || !read_framing(h, &out->body, &r->length)) return h->rc;
    out->keep_alive = wants_keep_alive(h);
    out->expect_continue = h->expect_continue && h->version == HTTP_1_1 && out->body != H1_BODY_NONE;
    out->te_trailers = h->te_trailers;
    out->upgrade = wanted_upgrade(h);
    drop_hop_by_hop(h);
    return (int)(h->p - h->start);
}

int h1_parse_request(struct slice buf, size_t *scanned, const struct h1_limits *limits,
                     struct arena *arena, struct h1_request *out)
{
    int rc = *scanned ? find_end(buf, *scanned, &request_codes) : buf.n > 0;
    if (rc > 0) {
        struct head h;
        *out = (struct h1_request){ 0 };
        head_init(&h, buf, &request_codes, limits, arena, &out->msg.fields);
        rc = request_head(&h, out);
    }
    return rc ? rc : wait_for_more(buf, scanned, limits, &request_codes);
}

/* --- responses --- */

static bool take_status(struct head *h, int *status)
{
    int digits[3];
    for (int i = 0; i < 3; i++) {
        if (!take_digit(h, &digits[i])) return false;
    }
    *status = digits[0] * 100 + digits[1] * 10 + digits[2];
    return (*status >= 100 && *status <= 599) || fail(h, h->codes->malformed);
}

/* The reason phrase is ignored (RFC 9112 section 4), and some origins leave out even the space before it. */
static bool status_line(struct head *h, int *status)
{
    if (!take_version(h) || !take_byte(h, ' ') || !take_status(h, status)) return false;
    if (h->p < h->end && *h->p == ' ') h->p = skip_text(h->p, h->end);
    return take_crlf(h) && line_fits(h);
}

/* HEAD and 304 announce the body there would be. */
static bool announces_body(enum method request_method, int status)
{
    return status == 304 || (request_method == METHOD_HEAD && status_has_body(METHOD_GET, status));
}

/* Other messages without a body must not have framing; an origin that sends it may well send the body too, and then
 * its bytes would be taken for the next response. */
static void read_body(struct h1_response *out, enum method request_method)
{
    if (status_has_body(request_method, out->msg.status)) {
        if (out->body != H1_BODY_NONE) return;
        out->body = H1_BODY_UNTIL_CLOSE;
        out->msg.length = LENGTH_UNKNOWN;
        out->keep_alive = false;
        return;
    }
    if (!announces_body(request_method, out->msg.status)) {
        if (out->body == H1_BODY_CHUNKED || out->msg.length > 0) out->keep_alive = false;
        out->msg.length = LENGTH_NONE;
    }
    out->body = H1_BODY_NONE;
}

static int response_head(struct head *h, enum method request_method, struct h1_response *out)
{
    struct response *r = &out->msg;
    if (!status_line(h, &r->status) || !field_lines(h)) return h->rc;
    if (!read_framing(h, &out->body, &r->length)) return h->rc;
    out->version = h->version;
    out->keep_alive = wants_keep_alive(h);
    out->interim = r->status < 200 && r->status != 101;
    out->upgrade = wanted_upgrade(h);
    read_body(out, request_method);
    drop_hop_by_hop(h);
    return (int)(h->p - h->start);
}

int h1_parse_response(struct slice buf, size_t *scanned, const struct h1_limits *limits,
                      enum method request_method, struct arena *arena, struct h1_response *out)
{
    int rc = *scanned ? find_end(buf, *scanned, &response_codes) : buf.n > 0;
    if (rc > 0) {
        struct head h;
        *out = (struct h1_response){ 0 };
        head_init(&h, buf, &response_codes, limits, arena, &out->msg.fields);
        rc = response_head(&h, request_method, out);
    }
    return rc ? rc : wait_for_more(buf, scanned, limits, &response_codes);
}

/* --- trailers --- */

int h1_parse_trailers(struct slice buf, const struct h1_limits *limits, struct arena *arena,
                      struct fields *out)
{
    struct head h;
    head_init(&h, buf, &request_codes, limits, arena, out);
    if (field_lines(&h)) {
        drop_hop_by_hop(&h);
        return (int)(h.p - h.start);
    }
    return h.rc || buf.n < limits->head_bytes ? h.rc : -E_HEADER_TOO_LARGE;
}
