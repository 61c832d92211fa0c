#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edge/base/log.h"

/* Standard error is a pipe while a test logs. */
static int reader, before;

static void capture(void)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    before = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    reader = ends[0];
}

/* All that was logged since capture, without the newline at its end. */
static const char *captured(void)
{
    static char text[65536];
    size_t n = 0;
    dup2(before, STDERR_FILENO);
    close(before);
    for (ssize_t got; (got = read(reader, text + n, sizeof text - 1 - n)) > 0;) n += (size_t)got;
    close(reader);
    assert_true(n > 0 && text[n - 1] == '\n');
    text[n - 1] = '\0';
    return text;
}

static const char *text_of(const char *line, const char *level)
{
    const char *at = strstr(line, level);
    assert_non_null(at);
    return at + strlen(level);
}

static void test_form(void **state)
{
    (void)state;
    capture();
    log_event(LOG_WARNING, "origin %s: %d", "app", 7);
    const char *line = captured();
    regex_t form;
    assert_int_equal(regcomp(&form,
                             "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]"
                             "\\.[0-9]{3}Z warning origin app: 7$",
                             REG_EXTENDED | REG_NOSUB),
                     0);
    assert_int_equal(regexec(&form, line, 0, NULL, 0), 0);
    regfree(&form);
}

static void test_one_event_is_one_line(void **state)
{
    (void)state;
    capture();
    log_event(LOG_ERROR, "%s", "a\nb\r\tc\x1b[0m\x7f\\ \xc3\xa4");
    assert_string_equal(text_of(captured(), " error "), "a\\nb\\r\\tc\\x1b[0m\\x7f\\\\ \xc3\xa4");
}

static void test_quoted_bytes_are_told_whole(void **state)
{
    (void)state;
    capture();
    log_quoting(LOG_ERROR, SLICE("a\0b\"\\\r\n\xff"), "%s", "text");
    assert_string_equal(text_of(captured(), " error "), "text: \"a\\x00b\\\"\\\\\\r\\n\\xff\"");
}

static void test_long_lines_are_cut(void **state)
{
    (void)state;
    char text[4 * LOG_LINE_BYTES];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    for (int escaped = 0; escaped < 2; escaped++) {
        if (escaped) memset(text, '\x01', LOG_LINE_BYTES / 2);
        capture();
        log_event(LOG_INFO, "%s", text);
        const char *line = captured();
        size_t n = strlen(line);
        assert_in_range(n, LOG_LINE_BYTES - 4, LOG_LINE_BYTES - 1);
        assert_string_equal(line + n - 3, "...");
    }
}

static void test_the_longest_line_is_not_cut(void **state)
{
    (void)state;
    capture();
    log_event(LOG_INFO, " ");
    size_t room = LOG_LINE_BYTES - 4 - (strlen(captured()) - 1);
    char text[LOG_LINE_BYTES] = { 0 };
    memset(text, 'y', room);
    capture();
    log_event(LOG_INFO, "%s", text);
    assert_string_equal(text_of(captured(), " info "), text);
}

/* ---- the limit of each place ---- */

static void test_admit(void **state)
{
    (void)state;
    struct log_site site = { 0 };
    uint32_t suppressed;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(log_admit(&site, 50, &suppressed), i < LOG_LINES_PER_SECOND);
        assert_int_equal(suppressed, 0);
    }
    assert_true(log_admit(&site, 60, &suppressed));
    assert_int_equal(suppressed, 100 - LOG_LINES_PER_SECOND);
    assert_true(log_admit(&site, 60, &suppressed));
    assert_int_equal(suppressed, 0);
    assert_true(log_admit(&site, 61, &suppressed));
    assert_int_equal(suppressed, 0);
}

#define THREADS 4
#define EVENTS  10000

static struct log_site shared_site;

/* A second for each hundred events, as each thread counts: what was admitted, and what was told as
 * left out. */
static void *admit_many(void *result)
{
    uint64_t *counts = result;
    for (uint32_t i = 0; i < EVENTS; i++) {
        uint32_t suppressed;
        counts[0] += log_admit(&shared_site, 1 + i / 100, &suppressed);
        counts[1] += suppressed;
    }
    return NULL;
}

/* Every event was admitted, told as left out, or is yet to be told: none twice, none forgotten. */
static void test_admit_between_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    uint64_t counts[THREADS][2] = { 0 }, all = 0;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, admit_many, counts[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        all += counts[i][0] + counts[i][1];
    }
    uint32_t rest;
    all += log_admit(&shared_site, EVENTS, &rest) + rest;
    assert_int_equal(all, THREADS * EVENTS + 1);
}

static void test_left_out_lines_are_told(void **state)
{
    (void)state;
    struct log_site site = { .window = (1ull << 32) | (LOG_LINES_PER_SECOND + 5) };
    capture();
    log_at(&site, LOG_ERROR, "again");
    const char *text = captured();
    assert_non_null(strstr(text, " error 5 more like the next were left out\n"));
    assert_string_equal(text_of(strchr(text, '\n'), " error "), "again");
}

/* ---- a sink ---- */

static void test_sink(void **state)
{
    (void)state;
    capture();
    struct sink *s = sink_open("stderr", 4096);
    log_set_sink(s);
    log_event(LOG_INFO, "through the sink");
    log_set_sink(NULL);
    sink_close(&s, 20000);
    log_event(LOG_INFO, "and directly");
    const char *text = captured();
    assert_string_equal(text_of(strchr(text, '\n'), " info "), "and directly");
    assert_non_null(strstr(text, " info through the sink\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_one_event_is_one_line),
        cmocka_unit_test(test_quoted_bytes_are_told_whole),
        cmocka_unit_test(test_long_lines_are_cut),
        cmocka_unit_test(test_the_longest_line_is_not_cut),
        cmocka_unit_test(test_admit),
        cmocka_unit_test(test_admit_between_threads),
        cmocka_unit_test(test_left_out_lines_are_told),
        cmocka_unit_test(test_sink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
