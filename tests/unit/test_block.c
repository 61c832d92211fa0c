/* block: counted from any thread, and charged for no less than it costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "edge/base/block.h"

static struct block *block_with(const char *text)
{
    struct block *b = block_new(strlen(text));
    assert_non_null(b);
    memcpy(b->data, text, strlen(text));
    return b;
}

/* ---- counting ---- */

static void test_a_new_one_is_its_makers_alone(void **state)
{
    (void)state;
    struct block *b = block_new(10);
    assert_int_equal(b->size_bytes, 10);
    assert_true(block_sole(b));
    assert_ptr_equal(block_hold(b), b);
    assert_false(block_sole(b));
    block_release(b);
    assert_true(block_sole(b));
    block_release(b);
}

static void test_no_bytes_are_a_block_too(void **state)
{
    (void)state;
    struct block *b = block_new(0);
    assert_non_null(b);
    assert_int_equal(b->size_bytes, 0);
    block_release(b);
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *hold_and_release(void *block)
{
    struct block *b = block;
    for (int i = 0; i < ROUNDS; i++) {
        struct span s = span_of(b, 1, 2);
        if (span_slice(&s).p[0] != 'b' || block_sole(b)) abort();
        span_release(&s);
    }
    block_release(b); /* the thread's own reference; one of them is the last */
    return NULL;
}

static void test_counted_by_many_threads(void **state)
{
    (void)state;
    struct block *b = block_with("abc");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_release, block_hold(b)), 0);
    }
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(block_sole(b));
    block_release(b);
}

/* ---- spans ---- */

static void test_a_span_is_a_reference(void **state)
{
    (void)state;
    struct block *b = block_with("abcdef");
    struct span s = span_of(b, 2, 3);
    block_release(b); /* the span alone keeps it */
    assert_true(slice_eq(span_slice(&s), SLICE("cde")));
    assert_true(block_sole(s.block));
    span_release(&s);
    assert_null(s.block);
    assert_int_equal(s.n, 0);
    span_release(&s);
}

static void test_no_block_no_bytes(void **state)
{
    (void)state;
    struct span s = { 0 };
    assert_int_equal(span_slice(&s).n, 0);
    span_release(&s);
}

/* ---- what it costs ---- */

/* The allocator's own word on what a block takes; its header is 8 bytes more. */
static void test_the_cost_covers_the_allocators(void **state)
{
    (void)state;
    size_t before = 0;
    for (size_t n = 0; n < 200000; n = n < 300 ? n + 1 : n + n / 3) {
        struct block *b = block_new(n);
        assert_non_null(b);
        assert_true(block_cost(n) >= malloc_usable_size(b) + 8);
        assert_true(block_cost(n) >= before);
        before = block_cost(n);
        block_release(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_one_is_its_makers_alone),
        cmocka_unit_test(test_no_bytes_are_a_block_too),
        cmocka_unit_test(test_counted_by_many_threads),
        cmocka_unit_test(test_a_span_is_a_reference),
        cmocka_unit_test(test_no_block_no_bytes),
        cmocka_unit_test(test_the_cost_covers_the_allocators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
