#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <cmocka.h>

#include "edge/base/histogram.h"

static void test_first_limits(void **state)
{
    (void)state;
    static const uint64_t limits[] = { 2, 3, 4, 6, 8, 12, 16, 24, 32, 48 };
    for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++) {
        assert_int_equal(histogram_limit_us(i), limits[i]);
    }
    assert_int_equal(histogram_limit_us(HISTOGRAM_BUCKETS - 2), 1ull << 30);
    assert_int_equal(histogram_limit_us(HISTOGRAM_BUCKETS - 1), UINT64_MAX);
}

/* The bucket of a value is the first whose limit is above it: at, below and above every limit. */
static void test_values_around_every_limit(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
        assert_int_equal(histogram_bucket(histogram_limit_us(i) - 1), i);
        assert_int_equal(histogram_bucket(histogram_limit_us(i)), i + 1);
    }
    assert_int_equal(histogram_bucket(0), 0);
    assert_int_equal(histogram_bucket(1), 0);
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void test_observe(void **state)
{
    (void)state;
    struct histogram h = { 0 };
    histogram_observe(&h, 5);
    histogram_observe(&h, 5);
    histogram_observe(&h, 1000);
    assert_int_equal(h.counts[histogram_bucket(5)], 2);
    assert_int_equal(h.sum_us, 1010);
    assert_int_equal(histogram_count(&h), 3);
}

static void test_percentiles_of_a_row(void **state)
{
    (void)state;
    struct histogram h = { 0 };
    for (uint64_t us = 1; us <= 100000; us++) histogram_observe(&h, us);
    static const double shares[] = { 0.01, 0.1, 0.5, 0.9, 0.99 };
    for (unsigned i = 0; i < sizeof shares / sizeof *shares; i++) {
        double expected = shares[i] * 100000;
        double estimate = histogram_percentile_us(&h, shares[i]);
        assert_true(fabs(estimate - expected) < expected / 3);
    }
}

static void test_percentiles_at_the_edges(void **state)
{
    (void)state;
    struct histogram h = { 0 };
    assert_true(histogram_percentile_us(&h, 0.5) == 0);
    histogram_observe(&h, 7);
    assert_true(histogram_percentile_us(&h, 0) == 6);
    assert_true(histogram_percentile_us(&h, 1) == 8);
    histogram_observe(&h, UINT64_MAX);
    assert_true(histogram_percentile_us(&h, 1) == (double)(1ull << 30));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_limits),
        cmocka_unit_test(test_values_around_every_limit),
        cmocka_unit_test(test_observe),
        cmocka_unit_test(test_percentiles_of_a_row),
        cmocka_unit_test(test_percentiles_at_the_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
