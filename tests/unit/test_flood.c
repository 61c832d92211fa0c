/* flood: a budget that is spent and comes back. pace: who is too slow, and who only waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "edge/base/metrics.h"
#include "protocols/http/flood.h"
#include "protocols/http/pace.h"

static const struct http_limits limits = { .wasted_frames = 100,
                                           .rate_min_bytes = 256,
                                           .rate_grace_ms = 10000 };

static unsigned spend(struct flood *f, unsigned most, int64_t now_ms)
{
    unsigned n = 0;
    while (n < most && flood_allows(f, FLOOD_PING, &limits, now_ms)) n++;
    return n;
}

static void test_budget(void **state)
{
    (void)state;
    struct flood f = { 0 };
    assert_int_equal(spend(&f, 1000, 5000), 100);
}

static void test_it_comes_back(void **state)
{
    (void)state;
    struct flood f = { 0 };
    assert_int_equal(spend(&f, 100, 5000), 100);
    assert_int_equal(spend(&f, 1000, 6000), 10);
    struct flood slow = { 0 };
    for (int64_t ms = 0; ms < 100000; ms += 100) assert_int_equal(spend(&slow, 1, ms), 1);
    assert_true(slow.spent <= 2); /* one in a tenth of a second is what comes back */
}

static void test_no_more_than_all_comes_back(void **state)
{
    (void)state;
    struct flood f = { 0 };
    assert_int_equal(spend(&f, 50, 1000), 50);
    assert_int_equal(spend(&f, 1000, 1000000), 100);
}

static void test_upload(void **state)
{
    (void)state;
    struct pace_in p = { 0 };
    pace_in_wait(&p, 0);
    pace_in_go_on(&p, 10000);
    assert_false(pace_in_is_slow(&p, &limits, 0)); /* in its grace */
    pace_in_wait(&p, 50000);                       /* between the two it was not waited for */
    pace_in_go_on(&p, 51000);
    assert_true(pace_in_is_slow(&p, &limits, 11 * 256 - 1));
    assert_false(pace_in_is_slow(&p, &limits, 11 * 256));
    assert_false(pace_in_is_slow(&p, &(struct http_limits){ 0 }, 0));
}

static void test_response(void **state)
{
    (void)state;
    struct pace_out p = { 0 };
    pace_out_look(&p, 1000, 5000);
    assert_false(pace_out_keeps_up(&p, &limits, 2000, 5000)); /* nothing was taken */
    assert_true(pace_out_keeps_up(&p, &limits, 2000, 5001));
    pace_out_look(&p, 2000, 5001);
    assert_true(pace_out_keeps_up(&p, &limits, 11000, 5002));
    assert_false(pace_out_keeps_up(&p, &limits, 21000, 5000 + 20 * 256 - 1));
    assert_true(pace_out_keeps_up(&p, &limits, 21000, 5000 + 20 * 256));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_it_comes_back),
        cmocka_unit_test(test_no_more_than_all_comes_back),
        cmocka_unit_test(test_upload),
        cmocka_unit_test(test_response),
    };
    metrics_attach();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    metrics_detach();
    return failed;
}
