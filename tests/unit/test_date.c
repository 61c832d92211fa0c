/* date: the three formats, the calendar against the C library, and what is not a date. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <time.h>

#include "protocols/http/date.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static const int64_t now_s = 1700000000; /* 2023 */

static void the_three_formats_are_one_moment(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "Sun, 06 Nov 1994 08:49:37 GMT",  "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",       "SUN, 06 NOV 1994 08:49:37 gmt",
        "sunDAY, 06-nov-94 08:49:37 Gmt", "sun NOV  6 08:49:37 1994",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        int64_t s;
        assert_true(http_date_parse(slice_str(texts[i]), now_s, &s));
        assert_int_equal(s, 784111777);
    }
}

static void what_is_not_a_date(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "0",
        "-1",
        "Sun",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 AEST",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun,  06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Xxx, 06 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1994 08:49:37 GMT",
        "Sun, 29 Feb 1900 08:49:37 GMT",
        "Sun, 32 Dec 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sunday, 06-Nov-94 08:49:37 UTC",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Monsday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun Nov  6 08:49:37 94",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        int64_t s;
        if (http_date_parse(slice_str(texts[i]), now_s, &s)) fail_msg("%s", texts[i]);
    }
    int64_t s;
    assert_true(http_date_parse(SLICE("Tue, 29 Feb 2000 08:49:37 GMT"), now_s, &s));
    assert_true(http_date_parse(SLICE("Sat, 31 Dec 2016 23:59:60 GMT"), now_s, &s));
    assert_int_equal(s, 1483228800);
}

static void every_prefix_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = { "Sun, 06 Nov 1994 08:49:37 GMT",
                                         "Wednesday, 09-Nov-94 08:49:37 GMT",
                                         "Sun Nov  6 08:49:37 1994" };
    for (size_t i = 0; i < COUNT(texts); i++) {
        int64_t s;
        for (size_t n = 0; n < strlen(texts[i]); n++) {
            assert_false(http_date_parse(slice_of(texts[i], n), now_s, &s));
        }
    }
}

/* More than 50 years ahead is the past (RFC 9110 section 5.6.7). */
static void two_digit_years_find_their_century(void **state)
{
    (void)state;
    static const struct {
        const char *short_year, *year;
    } rows[] = {
        { "23", "2023" }, { "00", "2000" }, { "73", "2073" }, { "74", "1974" }, { "99", "1999" }
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char old[] = "Monday, 06-Nov-YY 08:49:37 GMT", fixdate[] = "Mon, 06 Nov YYYY 08:49:37 GMT";
        memcpy(strstr(old, "YY"), rows[i].short_year, 2);
        memcpy(strstr(fixdate, "YYYY"), rows[i].year, 4);
        int64_t a, b;
        assert_true(http_date_parse(slice_str(old), now_s, &a));
        assert_true(http_date_parse(slice_str(fixdate), now_s, &b));
        assert_int_equal(a, b);
    }
}

/* Some 20,000 moments from the year 1 to 9999, each written as the C library writes it and read
 * back. */
static void formatting_agrees_with_the_library(void **state)
{
    (void)state;
    for (int64_t s = -62135596800; s < 253402300800; s += 15864862) {
        char expected[64], out[HTTP_DATE_BYTES];
        struct tm tm;
        time_t t = s;
        int64_t back;
        assert_non_null(gmtime_r(&t, &tm));
        size_t n = strftime(expected, sizeof expected, "%a, %d %b ", &tm);
        n += (size_t)snprintf(expected + n, sizeof expected - n, "%04d", tm.tm_year + 1900);
        strftime(expected + n, sizeof expected - n, " %H:%M:%S GMT", &tm);
        http_date_format(s, out);
        if (memcmp(out, expected, sizeof out) != 0) fail_msg("%.29s, not %s", out, expected);
        assert_true(http_date_parse(slice_of(out, sizeof out), now_s, &back));
        assert_true(back == s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_three_formats_are_one_moment),
        cmocka_unit_test(what_is_not_a_date),
        cmocka_unit_test(every_prefix_is_refused),
        cmocka_unit_test(two_digit_years_find_their_century),
        cmocka_unit_test(formatting_agrees_with_the_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
