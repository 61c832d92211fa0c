/* pool: what it hands out is whole, apart and its own, whatever was given back before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "edge/base/pool.h"

#define PIECES 500

static unsigned char *pieces[PIECES];
static size_t sizes[PIECES];

static void check(unsigned i)
{
    for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(pieces[i][k], i % 251);
}

static void replace(unsigned i, size_t bytes)
{
    pool_free(pieces[i], NULL);
    pieces[i] = pool_malloc(bytes, NULL);
    assert_non_null(pieces[i]);
    assert_int_equal((uintptr_t)pieces[i] % 16, 0);
    sizes[i] = bytes;
    memset(pieces[i], (int)(i % 251), bytes);
}

static void resize(unsigned i, size_t bytes)
{
    size_t kept = bytes < sizes[i] ? bytes : sizes[i];
    pieces[i] = pool_realloc(pieces[i], bytes, NULL);
    sizes[i] = kept;
    check(i);
    sizes[i] = bytes;
    memset(pieces[i], (int)(i % 251), bytes);
}

static void test_pieces_stay_apart(void **state)
{
    (void)state;
    srand(1);
    for (unsigned n = 0; n < 20000; n++) {
        unsigned i = (unsigned)rand() % PIECES;
        size_t bytes = (size_t)rand() % (n % 16 ? 1100 : 20000);
        check(i);
        if (n % 3)
            replace(i, bytes);
        else
            resize(i, bytes);
    }
    for (unsigned i = 0; i < PIECES; i++) pool_free(pieces[i], NULL);
    pool_free_spare();
}

static void test_calloc_is_empty(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        unsigned char *p = pool_calloc(10, 20, NULL);
        for (size_t k = 0; k < 200; k++) assert_int_equal(p[k], 0);
        memset(p, 0xff, 200);
        pool_free(p, NULL);
    }
    assert_null(pool_calloc(SIZE_MAX / 2, 3, NULL));
    assert_null(pool_malloc(SIZE_MAX - 8, NULL));
    pool_free_spare();
}

static void test_nothing(void **state)
{
    (void)state;
    pool_free(NULL, NULL);
    void *p = pool_malloc(0, NULL);
    assert_non_null(p);
    pool_free(pool_realloc(p, 0, NULL), NULL);
    pool_free_spare();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_stay_apart),
        cmocka_unit_test(test_calloc_is_empty),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
