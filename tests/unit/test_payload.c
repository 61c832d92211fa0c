/* payload: against a plain string of bytes, with pieces of random sizes and origins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cache/payload.h"

#define BYTES_MAX  (256 * 1024)
#define PIECE_MAX  3000
#define SOURCE_MAX (5 * PIECE_MAX)

static uint64_t seed;

static uint32_t random_below(uint32_t n) /* LCG, high bits */
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % n);
}

/* What was appended, and a block that pieces are cut from, as a receive buffer is. */
struct model {
    char bytes[BYTES_MAX];
    uint64_t first, end;
    struct block *source;
    uint32_t source_at;
    size_t cost; /* as told by return values */
};

static struct model model;

static void open_model(uint64_t first_seed)
{
    seed = first_seed;
    model = (struct model){ .source = block_new(SOURCE_MAX) };
    assert_non_null(model.source);
}

static void close_model(void)
{
    assert_true(block_sole(model.source)); /* whatever was cut from it is gone */
    block_release(model.source);
}

static void append(struct payload *p, uint32_t n)
{
    if (model.source_at + n > SOURCE_MAX) {
        block_release(model.source);
        model.source = block_new(SOURCE_MAX);
        model.source_at = 0;
    }
    char *to = model.source->data + model.source_at;
    for (uint32_t i = 0; i < n; i++) to[i] = (char)random_below(256);
    memcpy(model.bytes + model.end, to, n);
    struct span s = span_of(model.source, model.source_at, n);
    model.source_at += n;
    model.end += n;
    model.cost += payload_append(p, &s);
    assert_null(s.block); /* it was taken */
}

static size_t cost_of_segments(const struct payload *p)
{
    size_t cost = 0;
    for (unsigned i = 0; i < p->count; i++) cost += block_cost(p->segments[i].block->size_bytes);
    return cost;
}

static void compare(const struct payload *p)
{
    uint64_t at = p->first;
    assert_int_equal(p->first, model.first);
    assert_int_equal(p->end, model.end);
    for (unsigned i = 0; i < p->count; i++) {
        struct slice s = span_slice(&p->segments[i]);
        assert_true(s.n > 0 && at + s.n <= model.end);
        assert_memory_equal(s.p, model.bytes + at, s.n);
        at += s.n;
    }
    assert_int_equal(at, model.end);
    assert_int_equal(p->cost_bytes, model.cost);
    assert_int_equal(cost_of_segments(p), model.cost);
}

static void drop_first(struct payload *p)
{
    size_t before = p->cost_bytes;
    model.first += p->segments[0].n;
    payload_drop_first(p);
    assert_true(p->cost_bytes < before);
    model.cost -= before - p->cost_bytes;
}

/* Mostly crumbs, so that copying them together meets everything else. */
static uint32_t piece_bytes(void)
{
    return 1 + random_below(random_below(3) ? 100 : PIECE_MAX);
}

static void test_bytes_are_those_appended(void **state)
{
    (void)state;
    for (uint64_t round = 1; round <= 40; round++) {
        open_model(round);
        struct payload *p = payload_new();
        while (model.end + PIECE_MAX <= BYTES_MAX / 2) {
            append(p, piece_bytes());
            if (random_below(3) == 0) model.source_at += random_below(50); /* not contiguous */
            if (model.source_at > SOURCE_MAX) model.source_at = SOURCE_MAX;
            if (random_below(round % 4 ? 1000 : 4) == 0 && p->count) drop_first(p);
            if (random_below(50) == 0) compare(p);
        }
        compare(p);
        assert_int_equal(payload_drop(p), model.cost);
        close_model();
    }
}

static void test_compacting_keeps_bytes_and_saves_slack(void **state)
{
    (void)state;
    for (uint64_t round = 100; round < 120; round++) {
        open_model(round);
        struct payload *p = payload_new();
        for (int i = 0; i < 20; i++) {
            append(p, piece_bytes());
            model.source_at = random_below(2) ? model.source_at : SOURCE_MAX; /* slack */
        }
        size_t before = p->cost_bytes, saved = payload_compact(p);
        assert_int_equal(before - p->cost_bytes, saved);
        assert_true(saved > 0);
        model.cost -= saved;
        compare(p);
        for (unsigned i = 0; i < p->count; i++) {
            const struct span *s = &p->segments[i];
            assert_true(s->block->size_bytes - s->n <= s->block->size_bytes / 8);
        }
        assert_int_equal(payload_compact(p), 0); /* nothing is left to save */
        payload_drop(p);
        close_model();
    }
}

static void test_continuation_extends(void **state)
{
    (void)state;
    open_model(7);
    struct payload *p = payload_new();
    for (int i = 0; i < 4; i++) append(p, PIECE_MAX);
    assert_int_equal(p->count, 1);
    assert_ptr_equal(p->segments[0].block, model.source); /* by reference */
    compare(p);
    payload_drop(p);
    close_model();
}

/* A hundred thousand single bytes, each from a place of its own. */
static void test_crumbs_are_gathered(void **state)
{
    (void)state;
    open_model(8);
    struct payload *p = payload_new();
    for (int i = 0; i < 100000; i++) {
        append(p, 1);
        if (++model.source_at >= SOURCE_MAX) model.source_at = SOURCE_MAX;
    }
    compare(p);
    assert_true(p->count <= 10);
    assert_true(p->cost_bytes < 2 * 100000);
    payload_drop(p);
    close_model();
}

/* What a reader has been handed does not change when more is copied behind it. */
static void test_gathering_leaves_handed_out_bytes(void **state)
{
    (void)state;
    open_model(9);
    struct payload *p = payload_new();
    append(p, PIECE_MAX);
    model.source_at += 10;
    append(p, 5);
    struct span held = p->segments[1];
    block_hold(held.block);
    model.source_at += 10;
    append(p, 700);
    assert_int_equal(p->count, 2);
    assert_int_equal(held.n, 5);
    assert_memory_equal(span_slice(&held).p, model.bytes + PIECE_MAX, 5);
    compare(p);
    drop_first(p);
    drop_first(p);
    compare(p);
    append(p, 5); /* there is nothing to gather behind any more */
    compare(p);
    assert_memory_equal(span_slice(&held).p, model.bytes + PIECE_MAX, 5);
    span_release(&held);
    payload_drop(p);
    close_model();
}

static void test_the_last_reference_gives_back(void **state)
{
    (void)state;
    open_model(10);
    struct payload *p = payload_new();
    append(p, PIECE_MAX);
    assert_ptr_equal(payload_hold(p), p);
    assert_int_equal(payload_drop(p), 0);
    compare(p);
    assert_int_equal(payload_drop(p), model.cost);
    close_model();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_those_appended),
        cmocka_unit_test(test_compacting_keeps_bytes_and_saves_slack),
        cmocka_unit_test(test_continuation_extends),
        cmocka_unit_test(test_crumbs_are_gathered),
        cmocka_unit_test(test_gathering_leaves_handed_out_bytes),
        cmocka_unit_test(test_the_last_reference_gives_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
