#include "protocols/h1/frame.h"

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "protocols/http/value.h"

/* What the next byte is part of. Those of a chunk extension are NAME_START to QUOTED_END. */
enum state {
    SIZE,
    EXTENSION_OWED, /* white space came: now ';' must */
    NAME_START,
    NAME,
    NAME_END, /* white space came behind it: now '=' or ';' must */
    VALUE_START,
    VALUE,
    QUOTED,
    QUOTED_PAIR,
    QUOTED_END,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILERS,
    END
};

void h1_chunked_init(struct h1_chunked *c, const struct h1_limits *limits, struct arena *arena)
{
    *c = (struct h1_chunked){ .state = SIZE, .limits = limits, .arena = arena };
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int expect_byte(struct h1_chunked *c, char byte, char expected, enum state next)
{
    if (byte != expected) return -E_BAD_FRAMING;
    c->state = next;
    return 0;
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t';
}

/* Behind a size, an extension's name or its value; white space is allowed before ';' only. */
static int part_end_byte(struct h1_chunked *c, char byte)
{
    if (byte == '\r')
        c->state = SIZE_LF;
    else if (byte == ';')
        c->state = NAME_START;
    else if (is_space(byte))
        c->state = EXTENSION_OWED;
    else
        return -E_BAD_FRAMING;
    return 0;
}

/* 15 digits are less than 2^60, so the sum cannot overflow. */
static int size_byte(struct h1_chunked *c, char byte)
{
    int value = hex_value(byte);
    if (value < 0) return c->digits ? part_end_byte(c, byte) : -E_BAD_FRAMING;
    if (++c->digits > H1_CHUNK_SIZE_DIGITS) return -E_BAD_FRAMING;
    c->left_bytes = c->left_bytes * 16 + (uint64_t)value;
    return 0;
}

static int name_byte(struct h1_chunked *c, char byte)
{
    if (char_is(byte, CHAR_TOKEN)) return 0;
    if (byte != '=' && !is_space(byte)) return part_end_byte(c, byte);
    c->state = byte == '=' ? VALUE_START : NAME_END;
    return 0;
}

static int name_end_byte(struct h1_chunked *c, char byte)
{
    if (is_space(byte)) return 0;
    if (byte == ';') return part_end_byte(c, byte);
    return expect_byte(c, byte, '=', VALUE_START);
}

static int value_start_byte(struct h1_chunked *c, char byte)
{
    if (is_space(byte)) return 0;
    if (byte != '"' && !char_is(byte, CHAR_TOKEN)) return -E_BAD_FRAMING;
    c->state = byte == '"' ? QUOTED : VALUE;
    return 0;
}

static int quoted_byte(struct h1_chunked *c, char byte)
{
    if (!char_is(byte, CHAR_VALUE)) return -E_BAD_FRAMING;
    if (byte == '"') c->state = QUOTED_END;
    if (byte == '\\') c->state = QUOTED_PAIR;
    return 0;
}

/* RFC 9112 section 7.1.1. No extension means anything to us; they are counted because a sender
 * could go on for ever. */
static int extension_byte(struct h1_chunked *c, char byte)
{
    if (++c->extension_bytes > H1_CHUNK_EXTENSION_BYTES) return -E_BAD_FRAMING;
    switch (c->state) {
    case EXTENSION_OWED: return is_space(byte) ? 0 : expect_byte(c, byte, ';', NAME_START);
    case NAME_START:
        if (char_is(byte, CHAR_TOKEN)) c->state = NAME;
        return char_is(byte, CHAR_TOKEN) || is_space(byte) ? 0 : -E_BAD_FRAMING;
    case NAME: return name_byte(c, byte);
    case NAME_END: return name_end_byte(c, byte);
    case VALUE_START: return value_start_byte(c, byte);
    case VALUE: return char_is(byte, CHAR_TOKEN) ? 0 : part_end_byte(c, byte);
    case QUOTED: return quoted_byte(c, byte);
    case QUOTED_PAIR: c->state = QUOTED; return char_is(byte, CHAR_VALUE) ? 0 : -E_BAD_FRAMING;
    default: return part_end_byte(c, byte); /* QUOTED_END */
    }
}

static int line_byte(struct h1_chunked *c, char byte)
{
    switch (c->state) {
    case SIZE: return size_byte(c, byte);
    case SIZE_LF: return expect_byte(c, byte, '\n', c->left_bytes ? DATA : TRAILERS);
    case DATA_CR: return expect_byte(c, byte, '\r', DATA_LF);
    case DATA_LF: c->digits = 0; return expect_byte(c, byte, '\n', SIZE);
    default: return extension_byte(c, byte);
    }
}

static int take_data(struct h1_chunked *c, struct slice *in, struct slice *data)
{
    *data = slice_of(in->p, in->n < c->left_bytes ? in->n : (size_t)c->left_bytes);
    *in = slice_skip(*in, data->n);
    h1_chunked_advance(c, data->n);
    return H1_CHUNK_DATA;
}

static void append_trailer(struct h1_chunked *c, struct slice part)
{
    size_t need = c->trailer_bytes + part.n;
    if (need > c->trailer_cap) {
        size_t cap = need < 256 ? 256 : need * 2;
        char *grown = arena_alloc(c->arena, cap);
        if (c->trailer_bytes) memcpy(grown, c->trailer, c->trailer_bytes);
        c->trailer = grown;
        c->trailer_cap = cap;
    }
    memcpy(c->trailer + c->trailer_bytes, part.p, part.n);
    c->trailer_bytes = need;
}

/* From at on: a CR and a LF come together or not at all. What is wrong need not wait for the end of
 * the section, which may never come. */
static bool line_ends_are_whole(struct slice s, size_t at)
{
    for (; at < s.n; at++) {
        if (s.p[at] == '\n' && (at == 0 || s.p[at - 1] != '\r')) return false;
        if (s.p[at] == '\r' && at + 1 < s.n && s.p[at + 1] != '\n') return false;
    }
    return true;
}

/* An empty line, "\r\n", is the whole section or follows another line's end. */
static bool trailers_complete(const struct h1_chunked *c)
{
    struct slice all = slice_of(c->trailer, c->trailer_bytes);
    if (slice_eq(all, SLICE("\r\n"))) return true;
    return all.n >= 4 && memcmp(all.p + all.n - 4, "\r\n\r\n", 4) == 0;
}

/* Trailers are rare and small, so they are gathered line by line into memory of our own, wherever
 * the input is cut. */
static int take_trailers(struct h1_chunked *c, struct slice *in)
{
    while (in->n) {
        size_t n = slice_find(*in, '\n');
        if (n < in->n) n++;
        if (n > c->limits->head_bytes - c->trailer_bytes) return -E_BAD_FRAMING;
        size_t before = c->trailer_bytes;
        append_trailer(c, slice_of(in->p, n));
        *in = slice_skip(*in, n);
        struct slice all = slice_of(c->trailer, c->trailer_bytes);
        if (!line_ends_are_whole(all, before ? before - 1 : 0)) return -E_BAD_FRAMING;
        if (!trailers_complete(c)) continue;
        if (h1_parse_trailers(all, c->limits, c->arena, &c->trailers) <= 0) return -E_BAD_FRAMING;
        c->state = END;
        return H1_CHUNK_END;
    }
    return H1_CHUNK_MORE;
}

int h1_chunked_next(struct h1_chunked *c, struct slice *in, struct slice *data)
{
    CHECK(c->state != END);
    while (in->n) {
        if (c->state == DATA) return take_data(c, in, data);
        if (c->state == TRAILERS) return take_trailers(c, in);
        int rc = line_byte(c, *in->p);
        if (rc < 0) return rc;
        *in = slice_skip(*in, 1);
    }
    return H1_CHUNK_MORE;
}

void h1_chunked_advance(struct h1_chunked *c, uint64_t n)
{
    CHECK(c->state == DATA && n <= c->left_bytes);
    c->left_bytes -= n;
    if (c->left_bytes == 0) c->state = DATA_CR;
}

static const char *broken_rule(const struct h1_chunked *c)
{
    switch (c->state) {
    case SIZE: return "a chunk must begin with its size, 1 to 15 hexadecimal digits";
    case SIZE_LF: return "the line of a chunk's size must end in CRLF";
    case DATA_CR:
    case DATA_LF: return "CRLF must follow the data of a chunk";
    case TRAILERS: return "trailers must be field lines within the limits of a head";
    default: return "a chunk extension must be ;name=value and of bounded size";
    }
}

/* Of trailers all is shown: those that were gathered, else what could not be. */
struct h1_fault h1_chunked_fault(const struct h1_chunked *c, struct slice in)
{
    struct slice at =
        c->state == TRAILERS && c->trailer ? slice_of(c->trailer, c->trailer_bytes) : in;
    return (struct h1_fault){ .rule = broken_rule(c), .bytes = slice_first(at, H1_FAULT_BYTES) };
}
