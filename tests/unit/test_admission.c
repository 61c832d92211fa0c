/* admission: who is let in and who is forgotten; and the doorkeeper asked by several threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <cmocka.h>

#include "cache/admission.h"

#define EXPECTED 10000
#define FULL     1000, 1000 /* a store that has no room to spare: used and limit */

static struct admission a;

static int open_admission(void **state)
{
    (void)state;
    admission_init(&a, EXPECTED);
    return 0;
}

static int close_admission(void **state)
{
    (void)state;
    admission_free(&a);
    return 0;
}

/* A hash as good as the one of a key: splitmix64. */
static uint64_t hash_of(uint64_t n)
{
    n = (n + 1) * 0x9e3779b97f4a7c15u;
    n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9u;
    n = (n ^ n >> 27) * 0x94d049bb133111ebu;
    return n ^ n >> 31;
}

/* Misses the keys from first on; returns how many of them were let in. */
static unsigned miss(uint64_t first, unsigned count)
{
    unsigned admitted = 0;
    for (unsigned i = 0; i < count; i++) admitted += admission_admits(&a, hash_of(first + i), FULL);
    return admitted;
}

static void test_second_miss_is_admitted(void **state)
{
    (void)state;
    assert_false(admission_admits(&a, hash_of(1), FULL));
    assert_false(admission_admits(&a, hash_of(2), FULL));
    assert_true(admission_admits(&a, hash_of(1), FULL));
    assert_true(admission_admits(&a, hash_of(1), FULL));
    assert_true(admission_admits(&a, hash_of(2), FULL));
}

static void test_an_almost_empty_store_takes_everything(void **state)
{
    (void)state;
    assert_true(admission_admits(&a, hash_of(1), 0, 1000));
    assert_true(admission_admits(&a, hash_of(2), 124, 1000));
    assert_false(admission_admits(&a, hash_of(3), 125, 1000));
    assert_true(admission_admits(&a, hash_of(1), FULL)); /* it was remembered nevertheless */
}

/* What it promises to keep in mind: as many keys as twice the store's, from wherever they began. */
static void test_a_generation_is_remembered(void **state)
{
    (void)state;
    for (uint64_t first = 0; first < 20 * EXPECTED; first += EXPECTED / 2) {
        admission_admits(&a, hash_of(first), FULL);
        miss(first + 1, EXPECTED / 2 - 1);
        if (first < 2 * EXPECTED) continue;
        assert_true(admission_admits(&a, hash_of(first - 3 * EXPECTED / 2), FULL));
    }
}

/* Old keys go: after two whole generations nothing but chance knows one. */
static void test_old_keys_are_forgotten(void **state)
{
    (void)state;
    miss(0, EXPECTED);
    miss(EXPECTED, 5 * EXPECTED);
    assert_in_range(miss(0, EXPECTED), 0, EXPECTED / 50);
}

static void test_few_new_keys_are_taken_for_known(void **state)
{
    (void)state;
    unsigned admitted = miss(0, 40 * EXPECTED);
    assert_in_range(admitted, 1, 40 * EXPECTED / 50);
}

static void test_memory_is_as_documented(void **state)
{
    (void)state;
    size_t bytes = 3 * a.generation_words * sizeof *a.words;
    assert_in_range(bytes, 12 * EXPECTED, 12 * EXPECTED + 100);
}

static void test_nothing_expected(void **state)
{
    (void)state;
    struct admission none;
    admission_init(&none, 0);
    assert_false(admission_admits(&none, hash_of(1), FULL));
    assert_true(admission_admits(&none, hash_of(1), FULL));
    admission_free(&none);
}

enum { THREADS = 4 };

struct visitor {
    pthread_t thread;
    uint64_t first;
    unsigned count, admitted;
};

static void *visit(void *arg)
{
    struct visitor *v = arg;
    v->admitted = miss(v->first, v->count);
    return NULL;
}

static unsigned visit_together(uint64_t first, uint64_t step, unsigned count)
{
    struct visitor visitors[THREADS];
    unsigned admitted = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        visitors[i] = (struct visitor){ .first = first + i * step, .count = count };
        assert_int_equal(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(visitors[i].thread, NULL);
        admitted += visitors[i].admitted;
    }
    return admitted;
}

/* The same keys at once: of all threads one is the first, or by chance none. */
static void test_threads_with_the_same_keys(void **state)
{
    (void)state;
    unsigned refused = THREADS * EXPECTED - visit_together(0, 0, EXPECTED);
    assert_in_range(refused, EXPECTED - EXPECTED / 50, EXPECTED);
}

/* Keys of their own, through many rotations: each still knows its last ones. */
static void test_threads_through_rotations(void **state)
{
    (void)state;
    unsigned admitted = visit_together(0, 10 * EXPECTED, 10 * EXPECTED);
    assert_in_range(admitted, 1, THREADS * 10 * EXPECTED / 50);
    miss(100 * EXPECTED, EXPECTED);
    assert_int_equal(miss(100 * EXPECTED, EXPECTED), EXPECTED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_admission, close_admission)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_second_miss_is_admitted),
        TEST(test_an_almost_empty_store_takes_everything),
        TEST(test_a_generation_is_remembered),
        TEST(test_old_keys_are_forgotten),
        TEST(test_few_new_keys_are_taken_for_known),
        TEST(test_memory_is_as_documented),
        TEST(test_nothing_expected),
        TEST(test_threads_with_the_same_keys),
        TEST(test_threads_through_rotations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
