/* The chunked decoder: the same bytes come out wherever the input is cut, and what came out can be
 * encoded again. */
#include <stdlib.h>

#include "edge/base/check.h"
#include "protocols/h1/frame.h"
#include "protocols/h1/print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = { .line_bytes = 256, .head_bytes = 256, .field_count = 8 };
static const struct h1_limits wide = { .line_bytes = 256, .head_bytes = 4096, .field_count = 8 };

struct decoded {
    int rc;
    char *body;
    size_t body_bytes, rest_bytes;
    struct fields trailers;
};

static void feed(struct h1_chunked *c, struct decoded *d, struct slice piece)
{
    char *block = malloc(piece.n);
    memcpy(block, piece.p, piece.n);
    struct slice in = slice_of(block, piece.n), run;
    while ((d->rc = h1_chunked_next(c, &in, &run)) == H1_CHUNK_DATA) {
        CHECK(run.n > 0 && run.p >= block && run.p + run.n <= block + piece.n);
        memcpy(d->body + d->body_bytes, run.p, run.n);
        d->body_bytes += run.n;
    }
    CHECK(d->rc != H1_CHUNK_MORE || in.n == 0);
    d->rest_bytes = in.n;
    free(block);
}

static struct decoded decode(struct slice all, size_t step, const struct h1_limits *l,
                             struct arena *a)
{
    struct h1_chunked c;
    struct decoded d = { .rc = H1_CHUNK_MORE, .body = malloc(all.n + 1) };
    h1_chunked_init(&c, l, a);
    while (all.n && d.rc == H1_CHUNK_MORE) {
        size_t n = step < all.n ? step : all.n;
        feed(&c, &d, slice_of(all.p, n));
        all = slice_skip(all, n);
    }
    d.rest_bytes += all.n;
    d.trailers = c.trailers;
    return d;
}

static void check_same(const struct decoded *a, const struct decoded *b)
{
    CHECK(a->rc == b->rc);
    CHECK(slice_eq(slice_of(a->body, a->body_bytes), slice_of(b->body, b->body_bytes)));
    CHECK(a->rc != H1_CHUNK_END || a->rest_bytes == b->rest_bytes);
    CHECK(a->rc != H1_CHUNK_END || a->trailers.n == b->trailers.n);
}

/* All of the body as one chunk. */
static void check_round_trip(const struct decoded *d, struct arena *a)
{
    char *text = malloc(H1_CHUNK_LINE_BYTES + d->body_bytes + 2 + h1_last_chunk_size(&d->trailers));
    size_t n = 0;
    if (d->body_bytes) {
        n = h1_print_chunk_line(text, d->body_bytes);
        memcpy(text + n, d->body, d->body_bytes);
        memcpy(text + n + d->body_bytes, "\r\n", 2);
        n += d->body_bytes + 2;
    }
    n += h1_print_last_chunk(text + n, &d->trailers);
    struct decoded again = decode(slice_of(text, n), n, &wide, a);
    CHECK(again.rest_bytes == 0);
    again.rest_bytes = d->rest_bytes;
    check_same(d, &again);
    free(again.body);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice all = slice_of((const char *)data, size);
    struct arena a;
    arena_init(&a, 4096);
    struct decoded whole = decode(all, size, &limits, &a);
    for (size_t step = 1; step < 8; step += 2) {
        struct decoded cut = decode(all, step, &limits, &a);
        check_same(&whole, &cut);
        free(cut.body);
    }
    if (whole.rc == H1_CHUNK_END) check_round_trip(&whole, &a);
    free(whole.body);
    arena_free(&a);
    return 0;
}
