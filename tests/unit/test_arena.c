/* arena: whatever was allocated keeps its bytes until all of it goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/base/arena.h"

static struct arena arena;

static int start(void **state)
{
    (void)state;
    arena_init(&arena, 256);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

/* ---- allocating ---- */

enum { PIECES = 500 };

/* Each piece is filled with a byte of its own, so that two that overlap are found out. */
static void fill_and_look_again(struct arena *a, size_t size_max)
{
    static struct {
        unsigned char *p;
        size_t n;
    } pieces[PIECES];
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i].n = 1 + (size_t)rand() % size_max;
        pieces[i].p = arena_alloc(a, pieces[i].n);
        assert_int_equal((uintptr_t)pieces[i].p % 16, 0);
        memset(pieces[i].p, (int)i & 255, pieces[i].n);
    }
    for (size_t i = 0; i < PIECES; i++) {
        for (size_t k = 0; k < pieces[i].n; k++) assert_int_equal(pieces[i].p[k], i & 255);
    }
}

static void test_pieces_are_aligned_and_apart(void **state)
{
    (void)state;
    srand(1);
    fill_and_look_again(&arena, 40);
    fill_and_look_again(&arena, 1000); /* many of them larger than a chunk */
    arena_reset(&arena);
    fill_and_look_again(&arena, 300);
}

static void test_zeroed_also_where_bytes_were_before(void **state)
{
    (void)state;
    memset(arena_alloc(&arena, 200), 0xff, 200);
    arena_reset(&arena);
    const char *p = arena_zalloc(&arena, 200);
    for (size_t i = 0; i < 200; i++) assert_int_equal(p[i], 0);
}

struct pair {
    int64_t a, b;
};

static void test_new_is_a_zeroed_thing(void **state)
{
    (void)state;
    struct pair *p = arena_new(&arena, struct pair);
    assert_true(p->a == 0 && p->b == 0);
}

static void test_reset_starts_over_in_the_first_chunk(void **state)
{
    (void)state;
    char *first = arena_alloc(&arena, 16);
    arena_alloc(&arena, 10000);
    for (int i = 0; i < 100; i++) arena_alloc(&arena, 100);
    arena_reset(&arena);
    assert_ptr_equal(arena_alloc(&arena, 16), first);
}

static void test_reset_and_free_of_nothing(void **state)
{
    (void)state;
    arena_reset(&arena);
    arena_free(&arena);
    assert_non_null(arena_alloc(&arena, 1));
    arena_free(&arena);
    arena_free(&arena);
    assert_non_null(arena_alloc(&arena, 1)); /* and it may be used again */
}

static void test_nothing_is_somewhere_too(void **state)
{
    (void)state;
    assert_non_null(arena_zalloc(&arena, 0)); /* without a chunk so far */
    assert_non_null(arena_alloc(&arena, 0));
}

/* ---- chunks that are kept for reuse ---- */

static void *use_chunks_and_end(void *unused)
{
    (void)unused;
    struct arena a, b;
    arena_init(&a, ARENA_CHUNK_BYTES);
    arena_init(&b, ARENA_CHUNK_BYTES);
    for (int i = 0; i < 3; i++) { /* more than are kept */
        fill_and_look_again(&a, 2000);
        arena_free(&a);
        fill_and_look_again(&b, 6000);
        arena_free(&b);
    }
    arena_free_spare();
    arena_free_spare();
    fill_and_look_again(&a, 100);
    arena_free(&a);
    arena_free_spare();
    return NULL;
}

static void test_chunks_come_again(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, use_chunks_and_end, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* ---- text ---- */

static void assert_text(struct slice s, const char *expected)
{
    assert_int_equal(s.n, strlen(expected));
    assert_memory_equal(s.p, expected, s.n + 1); /* with the NUL behind it */
}

static const char fifty_x[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

static void test_copies_are_terminated(void **state)
{
    (void)state;
    char text[] = "abcdef";
    struct slice copy = arena_copy(&arena, slice_of(text, 3));
    memset(text, 'x', sizeof text);
    assert_text(copy, "abc");
    struct slice copies[50]; /* of all lengths, each right before the next */
    for (size_t n = 0; n < 50; n++) copies[n] = arena_copy(&arena, slice_of(fifty_x, n));
    for (size_t n = 0; n < 50; n++) assert_int_equal(strlen(copies[n].p), n);
    assert_text(arena_copy(&arena, SLICE("")), "");
    assert_text(arena_copy(&arena, SLICE_NONE), "");
}

static void test_concat(void **state)
{
    (void)state;
    const struct slice parts[] = { SLICE("a"), SLICE_NONE, SLICE("bc"), SLICE(""), SLICE("d") };
    assert_text(arena_concat(&arena, parts, 5), "abcd");
    assert_text(arena_concat(&arena, parts, 0), "");
}

static void test_printf_of_any_length(void **state)
{
    (void)state;
    assert_text(arena_printf(&arena, "%s", ""), "");
    assert_text(arena_printf(&arena, "%d-%s", 42, "x"), "42-x");
    char expected[3001];
    for (int n = 0; n <= 3000; n += 250) { /* across what is left in the chunk, and larger ones */
        memset(expected, ' ', (size_t)n);
        expected[n] = 0;
        assert_text(arena_printf(&arena, "%*s", n, ""), expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pieces_are_aligned_and_apart, start, stop),
        cmocka_unit_test_setup_teardown(test_zeroed_also_where_bytes_were_before, start, stop),
        cmocka_unit_test_setup_teardown(test_new_is_a_zeroed_thing, start, stop),
        cmocka_unit_test_setup_teardown(test_reset_starts_over_in_the_first_chunk, start, stop),
        cmocka_unit_test_setup_teardown(test_reset_and_free_of_nothing, start, stop),
        cmocka_unit_test_setup_teardown(test_nothing_is_somewhere_too, start, stop),
        cmocka_unit_test(test_chunks_come_again),
        cmocka_unit_test_setup_teardown(test_copies_are_terminated, start, stop),
        cmocka_unit_test_setup_teardown(test_concat, start, stop),
        cmocka_unit_test_setup_teardown(test_printf_of_any_length, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
