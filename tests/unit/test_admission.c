/* admission: who is let in and who is forgotten; and the doorkeeper asked by several threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <cmocka.h>

#include "cache/admission.h"

#define KEYS       10000 /* of one generation, or a few more */
#define LIMIT      ((uint64_t)KEYS * 256 * 1024)
#define SIZE_BYTES 65536
#define MIB        (1 << 20)

/* No room to spare, and objects of just that size. */
static const struct admission_store full = { LIMIT, LIMIT, LIMIT / SIZE_BYTES };
static struct admission a;

static int open_admission(void **state)
{
    (void)state;
    admission_init(&a, LIMIT);
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

static bool admits(uint64_t n)
{
    return admission_admits(&a, hash_of(n), SIZE_BYTES, &full);
}

/* Misses the keys from first on; returns how many of them were let in. */
static unsigned miss(uint64_t first, unsigned count)
{
    unsigned admitted = 0;
    for (unsigned i = 0; i < count; i++) admitted += admits(first + i);
    return admitted;
}

static void test_second_miss_is_admitted(void **state)
{
    (void)state;
    assert_false(admits(1));
    assert_false(admits(2));
    assert_true(admits(1));
    assert_true(admits(1));
    assert_true(admits(2));
}

static void test_while_it_fills_a_store_takes_everything(void **state)
{
    (void)state;
    const struct admission_store empty = { 0, 8000, 0 }, filling = { 6999, 8000, 1 },
                                 filled = { 7000, 8000, 1 };
    assert_true(admission_admits(&a, hash_of(1), SIZE_BYTES, &empty));
    assert_true(admission_admits(&a, hash_of(2), SIZE_BYTES, &filling));
    assert_false(admission_admits(&a, hash_of(3), SIZE_BYTES, &filled));
    assert_true(admits(1)); /* it was remembered nevertheless */
}

static void test_small_ones_are_taken_at_once(void **state)
{
    (void)state;
    assert_true(admission_admits(&a, hash_of(1), 0, &full));
    assert_true(admission_admits(&a, hash_of(2), SIZE_BYTES / 2 - 1, &full));
    assert_false(admission_admits(&a, hash_of(3), SIZE_BYTES / 2, &full));
    assert_false(admission_admits(&a, hash_of(4), ADMISSION_SIZE_UNKNOWN, &full));
    assert_true(admits(1));
}

/* Wherever in a generation a key was missed, as many others may follow as one has. */
static void test_a_generation_is_remembered(void **state)
{
    (void)state;
    uint64_t n = 0;
    for (unsigned i = 0; i < 20; i++) {
        uint64_t key = n++;
        admits(key);
        miss(n, KEYS - 100);
        n += KEYS - 100;
        assert_true(admits(key));
        miss(n, KEYS / 7);
        n += KEYS / 7;
    }
}

/* Old keys go: after two whole generations nothing but chance knows one. */
static void test_old_keys_are_forgotten(void **state)
{
    (void)state;
    miss(0, KEYS / 2);
    miss(KEYS, 5 * KEYS / 2);
    assert_in_range(miss(0, KEYS / 2), 0, KEYS / 100);
}

static void test_few_new_keys_are_taken_for_known(void **state)
{
    (void)state;
    unsigned admitted = miss(0, 40 * KEYS);
    assert_in_range(admitted, 1, 40 * KEYS / 50);
}

static void test_memory_is_as_documented(void **state)
{
    (void)state;
    size_t bytes = 3 * a.generation_words * sizeof *a.words;
    assert_in_range(bytes, LIMIT / MIB * 24, LIMIT / MIB * 24 + 100);
}

static void test_of_a_tiny_store(void **state)
{
    (void)state;
    struct admission tiny;
    admission_init(&tiny, 0);
    assert_false(admission_admits(&tiny, hash_of(1), SIZE_BYTES, &full));
    assert_true(admission_admits(&tiny, hash_of(1), SIZE_BYTES, &full));
    admission_free(&tiny);
}

static void test_what_is_kept(void **state)
{
    (void)state;
    assert_false(admission_keeps(0, false));
    assert_false(admission_keeps(1, false));
    assert_true(admission_keeps(2, false));
    assert_true(admission_keeps(0, true));
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
    unsigned keys = KEYS / 2, refused = THREADS * keys - visit_together(0, 0, keys);
    assert_in_range(refused, keys - keys / 50, keys);
}

/* Keys of their own, through many rotations: each still knows its last ones. */
static void test_threads_through_rotations(void **state)
{
    (void)state;
    unsigned admitted = visit_together(0, 10 * KEYS, 10 * KEYS);
    assert_in_range(admitted, 1, THREADS * 10 * KEYS / 50);
    miss(100 * KEYS, KEYS / 2);
    assert_int_equal(miss(100 * KEYS, KEYS / 2), KEYS / 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_admission, close_admission)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_second_miss_is_admitted),
        TEST(test_while_it_fills_a_store_takes_everything),
        TEST(test_small_ones_are_taken_at_once),
        TEST(test_a_generation_is_remembered),
        TEST(test_old_keys_are_forgotten),
        TEST(test_few_new_keys_are_taken_for_known),
        TEST(test_memory_is_as_documented),
        TEST(test_of_a_tiny_store),
        TEST(test_what_is_kept),
        TEST(test_threads_with_the_same_keys),
        TEST(test_threads_through_rotations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
