#include "protocols/h1/frame.h"

#include "edge/base/check.h"
#include "edge/base/error.h"

/* What the next byte is part of. */
enum state { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILERS, END };

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

/* 15 digits are less than 2^60, so the sum cannot overflow. */
static int size_byte(struct h1_chunked *c, char byte)
{
    int value = hex_value(byte);
    if (value >= 0) {
        if (++c->digits > H1_CHUNK_SIZE_DIGITS) return -E_BAD_FRAMING;
        c->left_bytes = c->left_bytes * 16 + (uint64_t)value;
        return 0;
    }
    if (c->digits == 0) return -E_BAD_FRAMING;
    if (byte == '\r')
        c->state = SIZE_LF;
    else if (byte == ';')
        c->state = EXTENSION;
    else
        return -E_BAD_FRAMING;
    return 0;
}

/* No extension means anything to us; they are counted because a sender could go on for ever. */
static int extension_byte(struct h1_chunked *c, char byte)
{
    if (++c->extension_bytes > H1_CHUNK_EXTENSION_BYTES) return -E_BAD_FRAMING;
    if (byte == '\r')
        c->state = SIZE_LF;
    else if (((unsigned char)byte < 0x20 && byte != '\t') || byte == 0x7f)
        return -E_BAD_FRAMING;
    return 0;
}

static int expect_byte(struct h1_chunked *c, char byte, char expected, enum state next)
{
    if (byte != expected) return -E_BAD_FRAMING;
    c->state = next;
    return 0;
}

static int line_byte(struct h1_chunked *c, char byte)
{
    switch (c->state) {
    case SIZE: return size_byte(c, byte);
    case EXTENSION: return extension_byte(c, byte);
    case SIZE_LF: return expect_byte(c, byte, '\n', c->left_bytes ? DATA : TRAILERS);
    case DATA_CR: return expect_byte(c, byte, '\r', DATA_LF);
    default: c->digits = 0; return expect_byte(c, byte, '\n', SIZE);
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
        append_trailer(c, slice_of(in->p, n));
        *in = slice_skip(*in, n);
        if (!trailers_complete(c)) continue;
        struct slice all = slice_of(c->trailer, c->trailer_bytes);
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
