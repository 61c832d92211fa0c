/* A head as it may come from a disk: what is taken for one is within its bounds, and writes the
 * same bytes again. */
#include <stdlib.h>

#include "cache/record.h"
#include "edge/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(struct slice s, const char *from, size_t n)
{
    CHECK(s.n == 0 || (s.p >= from && s.p + s.n <= from + n));
}

static void check_fields(const struct fields *f, const char *from, size_t n)
{
    CHECK(f->n <= RECORD_FIELDS_MAX);
    for (uint32_t i = 0; i < f->n; i++) {
        check_within(f->v[i].name, from, n);
        check_within(f->v[i].value, from, n);
    }
}

static void check_written_again(const struct record *r, struct slice bytes)
{
    static struct budget budget;
    struct key key = { .text = r->key };
    struct object *o = object_new(&key, &budget, r->purge_seq, 65536);
    object_set_head(o, &r->head, &r->freshness, r->vary, r->vary_key, AUDIENCE_REUSE);
    object_complete(o, &r->trailers);
    CHECK(record_size(o) == bytes.n);
    char *again = malloc(bytes.n);
    record_write(o, again);
    CHECK(memcmp(again, bytes.p, bytes.n) == 0);
    free(again);
    object_drop(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct record r;
    struct slice bytes = slice_of((const char *)data, size);
    arena_init(&arena, 4096);
    if (record_read(bytes, &arena, &r)) {
        check_within(r.key, bytes.p, bytes.n);
        check_within(r.vary, bytes.p, bytes.n);
        check_within(r.vary_key, bytes.p, bytes.n);
        check_fields(&r.head.fields, bytes.p, bytes.n);
        check_fields(&r.trailers, bytes.p, bytes.n);
        check_written_again(&r, bytes);
    }
    arena_free(&arena);
    return 0;
}
