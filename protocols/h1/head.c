#include "protocols/h1/head.h"

#include <endian.h>

#include "edge/base/error.h"
#include "protocols/http/value.h"

const struct h1_codes h1_request_codes = {
    .malformed = -E_BAD_REQUEST,
    .version = -E_VERSION,
    .framing = -E_BAD_FRAMING,
    .coding = -E_TRANSFER_CODING,
    .bad_coding = -E_BAD_FRAMING,
    .line_too_long = -E_URI_TOO_LONG,
    .head_too_large = -E_HEADER_TOO_LARGE,
};

const struct h1_codes h1_response_codes = {
    .malformed = -E_RESPONSE_MALFORMED,
    .version = -E_RESPONSE_MALFORMED,
    .framing = -E_RESPONSE_MALFORMED,
    .coding = -E_RESPONSE_CODING,
    .bad_coding = -E_RESPONSE_CODING,
    .line_too_long = -E_RESPONSE_HEADER_TOO_LARGE,
    .head_too_large = -E_RESPONSE_HEADER_TOO_LARGE,
};

_Static_assert(FIELD_COUNT <= 128, "field ids fit the sets of struct h1_head");

/* Nothing behind the limit is ever looked at: a head that needs it is not complete here, and
 * h1_head_wait knows why. */
void h1_head_init(struct h1_head *h, struct slice buf, const struct h1_codes *codes,
                  const struct h1_limits *limits, struct arena *arena, struct fields *fields)
{
    size_t n = buf.n < limits->head_bytes ? buf.n : limits->head_bytes;
    *h = (struct h1_head){
        .start = buf.p,
        .p = buf.p,
        .end = buf.p + n,
        .codes = codes,
        .limits = limits,
        .arena = arena,
        .fields = fields,
    };
    *fields = (struct fields){ 0 };
}

/* --- bytes --- */

enum { BOTH = H1_TOKEN | H1_TARGET };

const uint8_t h1_class_of[256] = {
    ['!'] = BOTH,
    ['"'] = H1_TARGET,
    ['#'] = H1_TOKEN,
    ['$' ... '\''] = BOTH,
    ['(' ... ')'] = H1_TARGET,
    ['*' ... '+'] = BOTH,
    [','] = H1_TARGET,
    ['-' ... '.'] = BOTH,
    ['/'] = H1_TARGET,
    ['0' ... '9'] = BOTH,
    [':' ... '@'] = H1_TARGET,
    ['A' ... 'Z'] = BOTH,
    ['[' ... ']'] = H1_TARGET,
    ['^' ... 'z'] = BOTH, /* ^ _ ` and the letters */
    ['{'] = H1_TARGET,
    ['|'] = BOTH,
    ['}'] = H1_TARGET,
    ['~'] = BOTH,
};

static bool is_text(char c)
{
    unsigned char u = (unsigned char)c;
    return (u >= 0x20 && u != 0x7f) || u == '\t';
}

#define EACH_BYTE(b) (0x0101010101010101u * (b))

/* Bit 7 of every byte below SP and every DEL. Only the lowest one is exact: a borrow may spoil
 * those above it. */
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
static inline const char *skip_text(const char *p, const char *end)
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

void h1_head_text(struct h1_head *h)
{
    h->p = skip_text(h->p, h->end);
}

/* Only the major version decides how a message is read, and a higher minor one is ours (RFC 9110
 * section 2.5). */
bool h1_head_version(struct h1_head *h)
{
    int major, minor;
    for (const char *c = "HTTP/"; *c; c++) {
        if (!h1_head_byte(h, *c)) return false;
    }
    if (!h1_head_digit(h, &major) || !h1_head_byte(h, '.') || !h1_head_digit(h, &minor))
        return false;
    h->version = minor == 0 ? HTTP_1_0 : HTTP_1_1;
    return major == 1 || h1_head_fail(h, h->codes->version);
}

bool h1_head_line_fits(struct h1_head *h)
{
    if ((size_t)(h->p - h->start) <= h->limits->line_bytes) return true;
    return h1_head_fail(h, h->codes->line_too_long);
}

/* --- fields --- */

static void note_connection(struct h1_head *h, struct slice list)
{
    struct slice option;
    while (value_next_plain(&list, &option)) {
        if (slice_eq_nocase(option, SLICE("close"))) h->options |= OPTION_CLOSE;
        if (slice_eq_nocase(option, SLICE("keep-alive"))) h->options |= OPTION_KEEP_ALIVE;
        if (slice_eq_nocase(option, SLICE("upgrade"))) h->options |= OPTION_UPGRADE;
    }
}

static void note_te(struct h1_head *h, struct slice list)
{
    if (value_list_has(list, SLICE("trailers"))) h->te_trailers = true;
}

/* Keeps what the wire format itself needs to know. */
static void note_value(struct h1_head *h, enum field_id id, struct slice value)
{
    switch (id) {
    case FIELD_HOST: h->host = value; break;
    case FIELD_CONTENT_LENGTH: h->content_length = value; break;
    case FIELD_TRANSFER_ENCODING: h->transfer_encoding = value; break;
    case FIELD_CONNECTION: note_connection(h, value); break;
    case FIELD_TE: note_te(h, value); break;
    case FIELD_EXPECT: h->expect_continue |= slice_eq_nocase(value, SLICE("100-continue")); break;
    default: break;
    }
}

/* Marks a field as seen; returns whether it was before. FIELD_OTHER is many fields, and none of
 * them is repeated. */
static bool note_seen(struct h1_head *h, enum field_id id)
{
    bool before = id != FIELD_OTHER && h1_head_has(h, id);
    uint64_t bit = (uint64_t)1 << id % 64;
    h->seen[id / 64] |= bit;
    if (before) h->twice[id / 64] |= bit;
    return before;
}

/* Two values for what has one meaning: in a request somebody is being fooled. A plain repetition is
 * left out. An origin's response passes as it is, since what it says is said to the client, not to
 * us. */
static bool accept_again(struct h1_head *h, const struct field *f)
{
    if (h->codes == &h1_request_codes && field_flags(f->id) & FIELD_SINGLE) {
        return slice_eq(f->value, fields_value(h->fields, f->id)) || h1_head_malformed(h);
    }
    h->fields->n++;
    return true;
}

/* Takes the line that was parsed into the next free place over into the list, or not. */
static bool accept_field(struct h1_head *h, struct field *f)
{
    enum field_id id = field_lookup(f->name);
    f->id = (uint16_t)id;
    if (id == FIELD_OTHER) {
        h->fields->n++;
        return true;
    }
    unsigned flags = field_flags(id);
    bool again = note_seen(h, id);
    h->flags |= flags;
    if (flags & (FIELD_FRAMING | FIELD_HOP) || id == FIELD_EXPECT) note_value(h, id, f->value);
    if (flags & FIELD_FRAMING) return true;
    if (again) return accept_again(h, f);
    h->fields->n++;
    return true;
}

static struct field *next_field(struct h1_head *h)
{
    struct fields *to = h->fields;
    if (to->n == to->cap) {
        uint32_t cap = to->cap ? to->cap * 2 : 16;
        struct field *v = arena_alloc(h->arena, cap * sizeof *v);
        if (to->n) memcpy(v, to->v, to->n * sizeof *v);
        to->v = v;
        to->cap = cap;
    }
    return &to->v[to->n];
}

/* Obs-fold and white space before the colon fail here, since neither is a token. */
static bool field_line(struct h1_head *h, struct field *f)
{
    if (!h1_head_take(h, H1_TOKEN, &f->name))
        return h1_head_broke(h, "a field line must begin with a name, not fold the one before",
                             h->p);
    if (!h1_head_byte(h, ':'))
        return h1_head_broke(h, "a field's name must be a token with a colon right behind", h->p);
    const char *from = h->p;
    h->p = skip_text(from, h->end);
    f->value = slice_trim(slice_of(from, (size_t)(h->p - from)));
    return h1_head_crlf(h) || h1_head_broke(h, H1_RULE_LINE_END, h->p);
}

bool h1_head_fields(struct h1_head *h)
{
    while (h->p < h->end && *h->p != '\r') {
        struct field *f = next_field(h);
        if (++h->lines > h->limits->field_count) return h1_head_fail(h, h->codes->head_too_large);
        if (!field_line(h, f) || !accept_field(h, f)) return false;
    }
    return h1_head_crlf(h) || h1_head_broke(h, H1_RULE_LINE_END, h->p);
}

/* --- what the fields say about this connection --- */

static bool parse_length(struct slice s, int64_t *out)
{
    int64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        if (__builtin_mul_overflow(v, 10, &v)) return false;
        if (__builtin_add_overflow(v, s.p[i] - '0', &v)) return false;
    }
    *out = v;
    return s.n > 0;
}

static bool read_length(struct h1_head *h, int64_t *length)
{
    bool once = !h1_head_repeats(h, FIELD_CONTENT_LENGTH);
    if (once && parse_length(h->content_length, length)) return true;
    h1_head_fail(h, h->codes->framing);
    return h1_head_broke(h, "Content-Length must be one number, given once", h->content_length.p);
}

/* Something else, then chunked, which alone tells where the body ends. */
static bool ends_chunked(struct slice codings)
{
    struct slice member, name;
    bool chunked = false;
    unsigned count = 0;
    for (; value_next(&codings, &member); count++) {
        name = value_take_token(&member);
        if (chunked || name.n == 0 || (member.n && *slice_trim(member).p != ';')) return false;
        chunked = member.n == 0 && slice_eq_nocase(name, SLICE("chunked"));
    }
    return chunked && count > 1;
}

/* HTTP/1.0 knows no transfer codings, so whoever forwards it there may not have seen it (RFC 9112
 * section 6.1). */
static bool check_coding(struct h1_head *h)
{
    struct slice codings = h->transfer_encoding;
    bool both = h1_head_has(h, FIELD_CONTENT_LENGTH);
    if (both || h->version == HTTP_1_0) {
        h1_head_fail(h, h->codes->framing);
        return h1_head_broke(h,
                             both ? "Content-Length and Transfer-Encoding exclude each other"
                                  : "HTTP/1.0 has no Transfer-Encoding",
                             codings.p);
    }
    bool once = !h1_head_repeats(h, FIELD_TRANSFER_ENCODING);
    if (once && slice_eq_nocase(codings, SLICE("chunked"))) return true;
    bool unknown = once && ends_chunked(codings);
    h1_head_fail(h, unknown ? h->codes->coding : h->codes->bad_coding);
    return h1_head_broke(h, "Transfer-Encoding must be chunked and nothing else", codings.p);
}

bool h1_head_framing(struct h1_head *h, enum h1_body *body, int64_t *length)
{
    if (h1_head_has(h, FIELD_TRANSFER_ENCODING)) {
        *body = H1_BODY_CHUNKED;
        *length = LENGTH_UNKNOWN;
        return check_coding(h);
    }
    if (h1_head_has(h, FIELD_CONTENT_LENGTH)) {
        *body = H1_BODY_LENGTH;
        return read_length(h, length);
    }
    *body = H1_BODY_NONE;
    *length = LENGTH_NONE;
    return true;
}

bool h1_head_keep_alive(const struct h1_head *h)
{
    if (h->options & OPTION_CLOSE) return false;
    return h->version == HTTP_1_1 || (h->options & OPTION_KEEP_ALIVE);
}

/* Upgrade means nothing in HTTP/1.0, nor where Connection does not name it (RFC 9110 section 7.8).
 */
struct slice h1_head_upgrade(const struct h1_head *h)
{
    if (h->version == HTTP_1_0 || !(h->options & OPTION_UPGRADE)) return SLICE_NONE;
    return fields_joined(h->fields, FIELD_UPGRADE, h->arena);
}

void h1_head_drop_hop_by_hop(struct h1_head *h)
{
    if (h->flags & FIELD_HOP) fields_remove_hop_by_hop(h->fields);
}

/* --- what is wrong --- */

void h1_head_fault(const struct h1_head *h, struct h1_fault *fault)
{
    *fault = (struct h1_fault){ .rule = h->rule, .line = 1 };
    if (!h->rule) return;
    const char *from = h->start;
    for (const char *p = from; p < h->fault_at; p++) {
        if (*p != '\n') continue;
        from = p + 1;
        fault->line++;
    }
    struct slice line = slice_of(from, (size_t)(h->end - from)), name = line;
    line.n = slice_find(line, '\n');
    if (from + line.n < h->end) line.n++;
    if (fault->line > 1) fault->field = value_take_token(&name);
    size_t before = (size_t)(h->fault_at - from);
    if (line.n > H1_FAULT_BYTES && before > H1_FAULT_BYTES / 2)
        line = slice_skip(line, before - H1_FAULT_BYTES / 2);
    fault->bytes = slice_first(line, H1_FAULT_BYTES);
}

/* --- more bytes needed --- */

/* The parse before saw everything up to scanned, so from there on only line ends matter. */
int h1_head_find_end(struct slice buf, size_t scanned, const struct h1_codes *codes)
{
    for (size_t at = scanned; at < buf.n; at++) {
        at += slice_find(slice_skip(buf, at), '\n');
        if (at == buf.n) break;
        if (at == 0 || buf.p[at - 1] != '\r') return codes->malformed;
        if (at >= 2 && buf.p[at - 2] == '\n') return 1;
    }
    return 0;
}

/* The first line is looked at once, when its limit is passed: no end of it by then is an error. */
int h1_head_wait(struct slice buf, size_t *scanned, const struct h1_limits *limits,
                 const struct h1_codes *codes)
{
    size_t line_bytes = limits->line_bytes;
    if (*scanned < line_bytes && buf.n >= line_bytes) {
        struct slice line = slice_skip(slice_of(buf.p, line_bytes), h1_leading_line(buf));
        if (slice_find(line, '\n') == line.n) return codes->line_too_long;
    }
    if (buf.n >= limits->head_bytes) return codes->head_too_large;
    *scanned = buf.n;
    return 0;
}
