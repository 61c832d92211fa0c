#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>

#include "edge/base/metrics.h"

/* Counts are for the whole process and never reset, so every test looks at differences. */

static void test_counter_and_gauge(void **state)
{
    (void)state;
    int64_t accepted = metric_sum(METRIC_CONNECTIONS_ACCEPTED);
    int64_t live = metric_sum(METRIC_CONNECTIONS_LIVE);
    metric_add(METRIC_CONNECTIONS_ACCEPTED, 3);
    metric_add(METRIC_CONNECTIONS_LIVE, 2);
    metric_add(METRIC_CONNECTIONS_LIVE, -5);
    assert_int_equal(metric_sum(METRIC_CONNECTIONS_ACCEPTED) - accepted, 3);
    assert_int_equal(metric_sum(METRIC_CONNECTIONS_LIVE) - live, -3);
    metric_add(METRIC_CONNECTIONS_LIVE, 3);
}

static void test_members_do_not_touch_their_neighbours(void **state)
{
    (void)state;
    int64_t before = metric_sum(METRIC_VERDICTS - 1), after = metric_sum(METRIC_VERDICTS_LAST + 1);
    for (unsigned i = 0; i < VERDICT_COUNT; i++) metric_add_by(METRIC_VERDICTS, i, i + 1);
    for (unsigned i = 0; i < VERDICT_COUNT; i++) {
        assert_int_equal(metric_sum_by(METRIC_VERDICTS, i), i + 1);
    }
    assert_int_equal(metric_sum(METRIC_VERDICTS - 1), before);
    assert_int_equal(metric_sum(METRIC_VERDICTS_LAST + 1), after);
}

static void test_histogram(void **state)
{
    (void)state;
    metric_observe_us(METRIC_REQUEST_DURATION, 1);
    metric_observe_us(METRIC_REQUEST_DURATION, 1500000);
    metric_observe_us(METRIC_REQUEST_DURATION, 1ull << 40);
    struct histogram h = metric_histogram(METRIC_REQUEST_DURATION);
    assert_int_equal(histogram_count(&h), 3);
    assert_int_equal(h.sum_us, 1 + 1500000 + (1ull << 40));
    assert_int_equal(h.counts[histogram_bucket(1500000)], 1);
    assert_int_equal(h.counts[HISTOGRAM_BUCKETS - 1], 1);
    struct histogram neighbour = metric_histogram(METRIC_FIRST_BYTE);
    assert_int_equal(histogram_count(&neighbour), 0);
}

/* ---- threads ---- */

#define THREADS 4
#define COUNTS  100000

static void *count_attached(void *unused)
{
    metrics_attach();
    for (int i = 0; i < COUNTS; i++) metric_add(METRIC_CLIENT_BYTES_IN, 2);
    metrics_detach();
    return unused;
}

static void *count_unattached(void *unused)
{
    for (int i = 0; i < COUNTS; i++) metric_add(METRIC_CLIENT_BYTES_IN, 3);
    return unused;
}

/* Sums are read while the threads count, and are exact once they have ended, however they ended. */
static void test_threads_lose_nothing(void **state)
{
    (void)state;
    int64_t before = metric_sum(METRIC_CLIENT_BYTES_IN), seen = before;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        void *(*run)(void *) = i % 2 ? count_attached : count_unattached;
        assert_int_equal(pthread_create(&threads[i], NULL, run, NULL), 0);
    }
    for (int i = 0; i < 1000; i++) {
        int64_t sum = metric_sum(METRIC_CLIENT_BYTES_IN);
        assert_true(sum >= seen);
        seen = sum;
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(metric_sum(METRIC_CLIENT_BYTES_IN) - before, 5ll * COUNTS * THREADS / 2);
}

static void test_detach_and_attach_again(void **state)
{
    (void)state;
    int64_t before = metric_sum(METRIC_CACHE_INSERTS);
    metric_add(METRIC_CACHE_INSERTS, 1);
    metrics_detach();
    metrics_detach();
    metric_add(METRIC_CACHE_INSERTS, 1);
    assert_ptr_equal(metrics_attach(), metrics_attach());
    assert_int_equal(metric_sum(METRIC_CACHE_INSERTS) - before, 2);
}

/* ---- text ---- */

static char *print(void)
{
    char *text;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    metrics_print(out);
    fclose(out);
    return text;
}

static void assert_line(const char *text, const char *line)
{
    size_t n = strlen(line);
    for (const char *at = text; (at = strstr(at, line)); at += n) {
        if ((at == text || at[-1] == '\n') && at[n] == '\n') return;
    }
    fail_msg("no line: %s", line);
}

static void test_print_counter_and_gauge(void **state)
{
    (void)state;
    metric_add(METRIC_ORIGIN_RETRIED, 7);
    metric_add(METRIC_FILLS_LIVE, -2);
    char *text = print();
    assert_line(text, "# HELP verge_origin_retries_total Origin requests sent again since their "
                      "connection was stale");
    assert_line(text, "# TYPE verge_origin_retries_total counter");
    assert_line(text, "verge_origin_retries_total 7");
    assert_line(text, "# TYPE verge_cache_fills_live gauge");
    assert_line(text, "verge_cache_fills_live -2");
    free(text);
    metric_add(METRIC_FILLS_LIVE, 2);
}

static void test_print_members(void **state)
{
    (void)state;
    metric_add_by(METRIC_ERRORS, E_CONNECT_TIMEOUT, 4);
    metric_add_by(METRIC_REQUESTS, METRIC_HTTP_1_1, 1);
    metric_add_by(METRIC_RESPONSES, 404 / 100, 1);
    char *text = print();
    assert_line(text, "verge_errors_total{error=\"connect_timeout\"} 4");
    assert_line(text, "verge_errors_total{error=\"canceled\"} 0");
    assert_line(text, "verge_requests_total{protocol=\"http/1.1\"} 1");
    assert_line(text, "verge_responses_total{class=\"4xx\"} 1");
    assert_line(text, "verge_verdicts_total{verdict=\"local\"} 9");
    free(text);
}

static const char *name_two(unsigned index)
{
    return index == 0 ? "ok" : index == 1 ? "method" : NULL;
}

static void test_a_higher_layer_names_its_set(void **state)
{
    (void)state;
    metric_add_by(METRIC_STORED, 1, 5);
    char *text = print();
    assert_line(text, "verge_cache_decisions_total{reason=\"1\"} 5");
    free(text);
    metric_set_namer(METRIC_STORED, name_two);
    text = print();
    assert_line(text, "verge_cache_decisions_total{reason=\"ok\"} 0");
    assert_line(text, "verge_cache_decisions_total{reason=\"method\"} 5");
    assert_null(strstr(text, "reason=\"2\""));
    free(text);
}

static void test_print_histogram(void **state)
{
    (void)state;
    metric_observe_us(METRIC_ORIGIN_FIRST_BYTE, 5);
    metric_observe_us(METRIC_ORIGIN_FIRST_BYTE, 2000000);
    metric_observe_us(METRIC_ORIGIN_FIRST_BYTE, 1ull << 31);
    char *text = print();
    assert_line(text, "# TYPE verge_origin_first_byte_seconds histogram");
    assert_line(text, "verge_origin_first_byte_seconds_bucket{le=\"4e-06\"} 0");
    assert_line(text, "verge_origin_first_byte_seconds_bucket{le=\"6e-06\"} 1");
    assert_line(text, "verge_origin_first_byte_seconds_bucket{le=\"2.097152\"} 2");
    assert_line(text, "verge_origin_first_byte_seconds_bucket{le=\"1073.741824\"} 2");
    assert_line(text, "verge_origin_first_byte_seconds_bucket{le=\"+Inf\"} 3");
    assert_line(text, "verge_origin_first_byte_seconds_sum 2149.483653");
    assert_line(text, "verge_origin_first_byte_seconds_count 3");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counter_and_gauge),
        cmocka_unit_test(test_members_do_not_touch_their_neighbours),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_threads_lose_nothing),
        cmocka_unit_test(test_detach_and_attach_again),
        cmocka_unit_test(test_print_counter_and_gauge),
        cmocka_unit_test(test_print_members),
        cmocka_unit_test(test_a_higher_layer_names_its_set),
        cmocka_unit_test(test_print_histogram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
