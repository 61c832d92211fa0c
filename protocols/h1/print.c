#include "protocols/h1/print.h"

#include "edge/base/check.h"

/* Both passes, counting and writing, run the same code: a sink without bytes only counts. One
 * function then says what a message looks like, and the two can never disagree. The compiler makes
 * two copies of it, each without the test. */
struct sink {
    char *out; /* NULL: count only */
    size_t n;
};

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE void put(struct sink *s, struct slice bytes)
{
    if (s->out && bytes.n) memcpy(s->out + s->n, bytes.p, bytes.n);
    s->n += bytes.n;
}

static unsigned decimal_digits(uint64_t v)
{
    unsigned n = 1;
    while (v >= 10) {
        v /= 10;
        n++;
    }
    return n;
}

ALWAYS_INLINE void put_decimal(struct sink *s, uint64_t v)
{
    unsigned n = decimal_digits(v);
    for (unsigned i = n; s->out && i-- > 0; v /= 10) s->out[s->n + i] = (char)('0' + v % 10);
    s->n += n;
}

ALWAYS_INLINE void put_line(struct sink *s, struct slice name, struct slice value)
{
    put(s, name);
    put(s, SLICE(": "));
    put(s, value);
    put(s, SLICE("\r\n"));
}

ALWAYS_INLINE void put_fields(struct sink *s, const struct fields *f)
{
    for (uint32_t i = 0; i < f->n; i++) put_line(s, f->v[i].name, f->v[i].value);
}

/* One Connection line, whatever asks for one (RFC 9110 section 7.6.1). */
ALWAYS_INLINE void put_connection(struct sink *s, const struct h1_framing *f)
{
    static const struct slice options[] = {
        [H1_CONNECTION_PERSIST] = { "", 0 },
        [H1_CONNECTION_CLOSE] = { "close", 5 },
        [H1_CONNECTION_KEEP_ALIVE] = { "keep-alive", 10 },
    };
    struct slice option = options[f->connection];
    if (!option.n && !f->te_trailers && !f->upgrade.n) return;
    put(s, SLICE("Connection: "));
    put(s, option);
    if (f->te_trailers) put(s, option.n ? SLICE(", TE") : SLICE("TE"));
    if (f->upgrade.n) put(s, option.n || f->te_trailers ? SLICE(", Upgrade") : SLICE("Upgrade"));
    put(s, SLICE("\r\n"));
}

ALWAYS_INLINE void put_framing(struct sink *s, const struct h1_framing *f)
{
    if (f->body == H1_BODY_LENGTH) {
        CHECK(f->length >= 0);
        put(s, SLICE("Content-Length: "));
        put_decimal(s, (uint64_t)f->length);
        put(s, SLICE("\r\n"));
    }
    if (f->body == H1_BODY_CHUNKED) put(s, SLICE("Transfer-Encoding: chunked\r\n"));
    put_connection(s, f);
    if (f->te_trailers) put(s, SLICE("TE: trailers\r\n"));
    if (f->upgrade.n) put_line(s, SLICE("Upgrade"), f->upgrade);
}

/* All of a head but its first line. */
ALWAYS_INLINE void put_head(struct sink *s, const struct fields *fields, const struct h1_framing *f)
{
    put(s, f->lines);
    put_fields(s, fields);
    put_framing(s, f);
    put(s, SLICE("\r\n"));
}

/* The space before an empty reason phrase has to be there (RFC 9112 section 4). */
ALWAYS_INLINE void put_response(struct sink *s, const struct response *r,
                                const struct h1_framing *f)
{
    CHECK(r->status >= 100 && r->status <= 999);
    put(s, SLICE("HTTP/1.1 "));
    put_decimal(s, (uint64_t)r->status);
    put(s, SLICE(" "));
    put(s, status_phrase(r->status));
    put(s, SLICE("\r\n"));
    put_head(s, &r->fields, f);
}

/* Host comes first (RFC 9110 section 7.2), and is there even when empty. */
ALWAYS_INLINE void put_request(struct sink *s, const struct request *r, const struct h1_framing *f)
{
    put(s, r->method_text);
    put(s, SLICE(" "));
    put(s, r->target);
    put(s, SLICE(" HTTP/1.1\r\n"));
    put_line(s, SLICE("Host"), r->authority);
    put_head(s, &r->fields, f);
}

ALWAYS_INLINE void put_last_chunk(struct sink *s, const struct fields *trailers)
{
    put(s, SLICE("0\r\n"));
    if (trailers) put_fields(s, trailers);
    put(s, SLICE("\r\n"));
}

size_t h1_response_size(const struct response *r, const struct h1_framing *framing)
{
    struct sink s = { 0 };
    put_response(&s, r, framing);
    return s.n;
}

size_t h1_print_response(char *out, const struct response *r, const struct h1_framing *framing)
{
    struct sink s = { .out = out };
    put_response(&s, r, framing);
    return s.n;
}

size_t h1_request_size(const struct request *r, const struct h1_framing *framing)
{
    struct sink s = { 0 };
    put_request(&s, r, framing);
    return s.n;
}

size_t h1_print_request(char *out, const struct request *r, const struct h1_framing *framing)
{
    struct sink s = { .out = out };
    put_request(&s, r, framing);
    return s.n;
}

size_t h1_fields_size(const struct fields *f)
{
    struct sink s = { 0 };
    put_fields(&s, f);
    return s.n;
}

size_t h1_print_fields(char *out, const struct fields *f)
{
    struct sink s = { .out = out };
    put_fields(&s, f);
    return s.n;
}

size_t h1_print_chunk_line(char *out, uint64_t size_bytes)
{
    CHECK(size_bytes > 0);
    size_t digits = (size_t)(64 - __builtin_clzll(size_bytes) + 3) / 4;
    for (size_t i = digits; i-- > 0; size_bytes /= 16) out[i] = "0123456789abcdef"[size_bytes % 16];
    memcpy(out + digits, "\r\n", 2);
    return digits + 2;
}

size_t h1_last_chunk_size(const struct fields *trailers)
{
    struct sink s = { 0 };
    put_last_chunk(&s, trailers);
    return s.n;
}

size_t h1_print_last_chunk(char *out, const struct fields *trailers)
{
    struct sink s = { .out = out };
    put_last_chunk(&s, trailers);
    return s.n;
}
