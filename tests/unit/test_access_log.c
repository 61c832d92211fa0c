/* access_log: both formats to the letter, what a client can and cannot make of a line, and when the
 * buffer is handed over. The sink is this file's own: it keeps what it was given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "edge/access_log.h"
#include "edge/base/error.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

struct sink {
    char text[1 << 20];
    size_t n;
    unsigned writes, lines;
};

static unsigned newlines(struct slice text)
{
    unsigned n = 0;
    for (size_t i = 0; i < text.n; i++) n += text.p[i] == '\n';
    return n;
}

/* In place of edge/base/sink.c's. */
bool sink_write(struct sink *s, struct slice text, unsigned lines)
{
    assert_in_range(text.n, 1, ACCESS_LOG_BUFFER_BYTES);
    assert_in_range(s->n + text.n, 1, sizeof s->text - 1);
    assert_int_equal(text.p[text.n - 1], '\n');
    assert_int_equal(newlines(text), lines);
    memcpy(s->text + s->n, text.p, text.n);
    s->n += text.n;
    s->text[s->n] = 0;
    s->writes++;
    s->lines += lines;
    return true;
}

/* One worker, its log and a request to be logged. */
static struct worker worker;
static struct access_log log_;
static struct sink sinks[2], *const sink = &sinks[0];
static struct exchange exchange;
static struct access_record record;

#define START_US 5000000
#define BEGAN_US (START_US - 1234567)

static int set_up(void **state)
{
    (void)state;
    memset(sinks, 0, sizeof sinks);
    worker = (struct worker){ .now_us = START_US, .wall_ms = 784111777042 };
    wheel_init(&worker.wheel, worker_now_ms(&worker));
    access_log_init(&log_, &worker);
    access_log_set(&log_, sink, LOG_JSON);
    exchange = (struct exchange){
        .worker = &worker,
        .request = { .version = HTTP_1_1 },
        .began_us = BEGAN_US,
        .ended_us = START_US,
    };
    arena_init(&exchange.arena, 4096);
    record = (struct access_record){ .exchange = &exchange,
                                     .client = SLICE("192.0.2.1"),
                                     .verdict = "miss" };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    access_log_close(&log_);
    arena_free(&exchange.arena);
    return 0;
}

static void add_field(const char *name, struct slice value)
{
    struct slice text = slice_str(name);
    fields_add_named(&exchange.request.fields, &exchange.arena, text, value);
}

static void set_user_agent(struct slice value)
{
    exchange.request.fields.n = 0;
    add_field("User-Agent", value);
}

static void a_request_with_everything(void)
{
    struct request *q = &exchange.request;
    q->method_text = SLICE("GET");
    q->authority = SLICE("shop.example:8080");
    exchange.received_target = SLICE("/a/b?c=d&e");
    add_field("referer", SLICE("http://r.example/"));
    add_field("USER-AGENT", SLICE("test/1 (x; y)"));
    record.upstream = SLICE("127.0.0.1:8000");
    exchange.status = 200;
    exchange.first_byte_us = BEGAN_US + 1005;
    exchange.body_sent_bytes = 18446744073709551615u;
    exchange.body_received_bytes = 10;
}

/* What one line looks like in that format, newline included. */
static const char *line_in(enum log_format format)
{
    access_log_set(&log_, sink, format);
    sink->n = 0;
    access_log_write(&log_, &record);
    access_log_flush(&log_);
    assert_int_equal(newlines(slice_of(sink->text, sink->n)), 1);
    return sink->text;
}

/* ---- lines ---- */

static void json_line(void **state)
{
    (void)state;
    a_request_with_everything();
    assert_string_equal(
        line_in(LOG_JSON),
        "{\"time\":\"1994-11-06T08:49:37.042Z\",\"client_ip\":\"192.0.2.1\",\"method\":\"GET\","
        "\"host\":\"shop.example\",\"path\":\"/a/b\",\"query\":\"c=d&e\",\"protocol\":\"HTTP/1.1\","
        "\"status\":200,\"bytes\":18446744073709551615,\"bytes_in\":10,\"duration_ms\":1234.567,"
        "\"first_byte_ms\":1.005,\"cache\":\"miss\",\"upstream\":\"127.0.0.1:8000\","
        "\"error\":null,\"referer\":\"http://r.example/\",\"ua\":\"test/1 (x; y)\"}\n");
}

static void json_line_of_an_origin_that_failed(void **state)
{
    (void)state;
    a_request_with_everything();
    record.origin_error = -E_CONNECT_REFUSED;
    assert_non_null(strstr(line_in(LOG_JSON), "\"error\":\"connect_refused\""));
    exchange.error = -E_CLIENT_GONE; /* its own end says more */
    assert_non_null(strstr(line_in(LOG_JSON), "\"error\":\"client_gone\""));
}

static void json_line_of_what_was_no_request(void **state)
{
    (void)state;
    exchange.error = -E_HEADER_TIMEOUT;
    exchange.request.version = HTTP_1_0;
    record.verdict = "error";
    assert_string_equal(
        line_in(LOG_JSON),
        "{\"time\":\"1994-11-06T08:49:37.042Z\",\"client_ip\":\"192.0.2.1\",\"method\":\"\","
        "\"host\":\"\",\"path\":\"\",\"query\":\"\",\"protocol\":\"HTTP/1.0\","
        "\"status\":0,\"bytes\":0,\"bytes_in\":0,\"duration_ms\":1234.567,"
        "\"first_byte_ms\":null,\"cache\":\"error\",\"upstream\":null,"
        "\"error\":\"header_timeout\",\"referer\":\"\",\"ua\":\"\"}\n");
}

static void combined_line(void **state)
{
    (void)state;
    a_request_with_everything();
    assert_string_equal(line_in(LOG_COMBINED),
                        "192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a/b?c=d&e HTTP/1.1\" "
                        "200 18446744073709551615 \"http://r.example/\" \"test/1 (x; y)\" "
                        "miss 1.234\n");
}

static void combined_line_of_what_was_no_request(void **state)
{
    (void)state;
    exchange.status = 400;
    record.client = SLICE_NONE;
    record.verdict = "error";
    assert_string_equal(line_in(LOG_COMBINED), "- - - [06/Nov/1994:08:49:37 +0000] \"-\" 400 - "
                                               "\"-\" \"-\" error 1.234\n");
}

static void combined_line_without_an_answer(void **state)
{
    (void)state;
    exchange.request.method_text = SLICE("GET");
    exchange.request.version = HTTP_2;
    assert_non_null(strstr(line_in(LOG_COMBINED), " \"GET - HTTP/2.0\" 000 - "));
}

static void the_time_is_the_calendars(void **state)
{
    (void)state;
    static const struct {
        int64_t wall_ms;
        const char *json, *combined;
    } rows[] = {
        { 0, "1970-01-01T00:00:00.000Z", "[01/Jan/1970:00:00:00 +0000]" },
        { 1709251199999, "2024-02-29T23:59:59.999Z", "[29/Feb/2024:23:59:59 +0000]" },
        { 1767225599001, "2025-12-31T23:59:59.001Z", "[31/Dec/2025:23:59:59 +0000]" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        worker.wall_ms = rows[i].wall_ms;
        assert_non_null(strstr(line_in(LOG_JSON), rows[i].json));
        assert_non_null(strstr(line_in(LOG_COMBINED), rows[i].combined));
    }
}

static void a_duration_is_never_negative(void **state)
{
    (void)state;
    exchange.began_us = START_US + 1;
    assert_non_null(strstr(line_in(LOG_JSON), "\"duration_ms\":0.000,"));
    exchange.began_us = START_US - 7;
    assert_non_null(strstr(line_in(LOG_JSON), "\"duration_ms\":0.007,"));
}

/* ---- escapes ---- */

/* The user agent as it stands in the line: the last of a JSON line. */
static void assert_json_agent(struct slice value, const char *expected)
{
    set_user_agent(value);
    const char *at = strstr(line_in(LOG_JSON), ",\"ua\":\"");
    assert_non_null(at);
    at += strlen(",\"ua\":\"");
    assert_in_range(strlen(at), 3, sizeof sink->text);
    assert_int_equal(strlen(expected), strlen(at) - 3);
    assert_memory_equal(at, expected, strlen(expected));
    assert_string_equal(at + strlen(expected), "\"}\n");
}

static void assert_combined_agent(struct slice value, const char *expected)
{
    set_user_agent(value);
    const char *at = strstr(line_in(LOG_COMBINED), " - \"-\" \"");
    assert_non_null(at);
    at += strlen(" - \"-\" \"");
    assert_in_range(strlen(at), strlen(expected), sizeof sink->text);
    assert_memory_equal(at, expected, strlen(expected));
    assert_string_equal(at + strlen(expected), "\" miss 1.234\n");
}

static void every_byte_alone(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char byte = (char)c, json[8], combined[8];
        const char *forms[] = { "%c", "%c" };
        if (c == '"' || c == '\\')
            forms[0] = forms[1] = "\\%c";
        else if (c < 0x20 || c > 0x7e)
            forms[0] = "\\u%04x", forms[1] = "\\x%02x";
        snprintf(json, sizeof json, forms[0], c);
        snprintf(combined, sizeof combined, forms[1], c);
        assert_json_agent(slice_of(&byte, 1), json);
        assert_combined_agent(slice_of(&byte, 1), combined);
    }
}

static void a_line_cannot_be_forged(void **state)
{
    (void)state;
    struct slice evil = SLICE("a\" 200\r\n1.2.3.4\\\" \\");
    assert_combined_agent(evil, "a\\\" 200\\x0d\\x0a1.2.3.4\\\\\\\" \\\\");
    assert_json_agent(evil, "a\\\" 200\\u000d\\u000a1.2.3.4\\\\\\\" \\\\");
}

static void a_word_stays_a_word(void **state)
{
    (void)state;
    record.client = SLICE("1.2.3.4 x");
    exchange.request.method_text = SLICE("GE T");
    exchange.received_target = SLICE("/a b\"c HTTP/1.1");
    const char *line = line_in(LOG_COMBINED);
    assert_int_equal(strncmp(line, "1.2.3.4\\x20x - - [", 18), 0);
    assert_non_null(strstr(line, "\"GE\\x20T /a\\x20b\\\"c\\x20HTTP/1.1 HTTP/1.1\" "));
}

static void characters_stay_in_json_and_nothing_else_does(void **state)
{
    (void)state;
    static const struct {
        const char *value, *expected;
    } rows[] = {
        /* the first and the last of each length */
        { "\xc2\x80", "\xc2\x80" },
        { "\xdf\xbf", "\xdf\xbf" },
        { "\xe0\xa0\x80", "\xe0\xa0\x80" },
        { "\xed\x9f\xbf", "\xed\x9f\xbf" },
        { "\xee\x80\x80", "\xee\x80\x80" },
        { "\xef\xbf\xbf", "\xef\xbf\xbf" },
        { "\xf0\x90\x80\x80", "\xf0\x90\x80\x80" },
        { "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" },
        { "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z", "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z" },
        /* overlong */
        { "\xc0\xaf", "\\u00c0\\u00af" },
        { "\xc1\xbf", "\\u00c1\\u00bf" },
        { "\xe0\x9f\xbf", "\\u00e0\\u009f\\u00bf" },
        { "\xf0\x8f\xbf\xbf", "\\u00f0\\u008f\\u00bf\\u00bf" },
        /* a surrogate, and beyond the last character */
        { "\xed\xa0\x80", "\\u00ed\\u00a0\\u0080" },
        { "\xf4\x90\x80\x80", "\\u00f4\\u0090\\u0080\\u0080" },
        /* cut short, by the end or by something else; the rest goes on */
        { "\xe2\x82", "\\u00e2\\u0082" },
        { "\xe2\x82x", "\\u00e2\\u0082x" },
        { "\xf0\x9f\x98\xc3\xa9", "\\u00f0\\u009f\\u0098\xc3\xa9" },
        { "\xc3\xc3\xa9", "\\u00c3\xc3\xa9" },
        { "\xc3\"", "\\u00c3\\\"" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_json_agent(slice_str(rows[i].value), rows[i].expected);
    }
}

/* ---- cuts ---- */

enum { CUT = 2048 };

static struct slice repeated(struct slice what, size_t times)
{
    char *text = arena_alloc(&exchange.arena, what.n * times + 1);
    for (size_t i = 0; i < times; i++) memcpy(text + i * what.n, what.p, what.n);
    text[what.n * times] = 0;
    return slice_of(text, what.n * times);
}

static struct slice joined(struct slice a, struct slice b)
{
    return arena_concat(&exchange.arena, (struct slice[]){ a, b }, 2);
}

static void a_value_is_cut_whole(void **state)
{
    (void)state;
    struct slice fits = repeated(SLICE("a"), CUT), euro = SLICE("\xe2\x82\xac");
    assert_json_agent(fits, fits.p);
    assert_json_agent(joined(fits, SLICE("b")), fits.p);
    assert_combined_agent(joined(fits, SLICE("b")), fits.p);
    for (size_t before = CUT - 6; before <= CUT; before++) {
        struct slice head = repeated(SLICE("a"), before), after = joined(euro, SLICE("bcdefgh"));
        struct slice whole = joined(head, slice_of(after.p, CUT - before));
        bool split = before > CUT - euro.n;
        assert_json_agent(joined(head, after), split ? head.p : whole.p);
        struct slice escaped = joined(head, SLICE("\\\""));
        assert_combined_agent(joined(head, SLICE("\"")), before > CUT - 2 ? head.p : escaped.p);
    }
}

/* Whatever a client sends, a line is shorter than the buffer, which the sink checks as well. */
static void the_longest_line_has_a_bound(void **state)
{
    (void)state;
    static const struct slice fillers[] = { SLICE("a"), SLICE("\""), SLICE("\x01"), SLICE("\xff"),
                                            SLICE("\xf0\x9f\x98\x80") };
    for (size_t i = 0; i < COUNT(fillers); i++) {
        struct slice longest = repeated(fillers[i], ACCESS_LOG_BUFFER_BYTES);
        struct request *q = &exchange.request;
        a_request_with_everything();
        q->fields.n = 0;
        record.client = record.upstream = q->method_text = q->authority = longest;
        exchange.received_target = joined(joined(longest, SLICE("?")), longest);
        add_field("Referer", longest);
        add_field("User-Agent", longest);
        exchange.error = -E_RESPONSE_HEADER_TOO_LARGE;
        assert_in_range(strlen(line_in(LOG_JSON)), 8 * (CUT - 5), 8 * CUT + 1024);
        assert_in_range(strlen(line_in(LOG_COMBINED)), 5 * (CUT - 5), 5 * CUT + 1024);
    }
}

/* ---- handing over ---- */

static void pass_ms(int64_t ms)
{
    worker.now_us += ms * 1000;
    wheel_advance(&worker.wheel, worker_now_ms(&worker));
}

static void a_full_buffer_is_handed_over(void **state)
{
    (void)state;
    size_t line_bytes = strlen(line_in(LOG_JSON));
    unsigned fit = (unsigned)(ACCESS_LOG_BUFFER_BYTES / line_bytes);
    *sink = (struct sink){ 0 };
    for (unsigned i = 0; i < fit; i++) access_log_write(&log_, &record);
    assert_int_equal(sink->writes, 0);
    access_log_write(&log_, &record);
    assert_int_equal(sink->writes, 1);
    assert_int_equal(sink->lines, fit);
    access_log_flush(&log_);
    assert_int_equal(sink->lines, fit + 1);
    assert_int_equal(sink->n, (fit + 1) * line_bytes);
}

static void lines_keep_their_order(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        exchange.status = i;
        access_log_write(&log_, &record);
    }
    access_log_close(&log_);
    assert_in_range(sink->writes, 2, 100);
    const char *at = sink->text;
    for (int i = 0; i < 1000; i++) {
        at = strstr(at, "\"status\":");
        assert_non_null(at);
        at += strlen("\"status\":");
        assert_int_equal(strtol(at, NULL, 10), i);
    }
}

static void a_second_after_the_first_line(void **state)
{
    (void)state;
    assert_false(timer_armed(&log_.flush));
    access_log_write(&log_, &record);
    pass_ms(ACCESS_LOG_FLUSH_MS / 2);
    access_log_write(&log_, &record);
    pass_ms(ACCESS_LOG_FLUSH_MS / 2 - 1);
    assert_int_equal(sink->writes, 0);
    pass_ms(1 + WHEEL_TICK_MS);
    assert_int_equal(sink->writes, 1);
    assert_int_equal(sink->lines, 2);
    assert_false(timer_armed(&log_.flush));
    access_log_write(&log_, &record);
    assert_true(timer_armed(&log_.flush));
    pass_ms(ACCESS_LOG_FLUSH_MS + WHEEL_TICK_MS);
    assert_int_equal(sink->lines, 3);
}

static void flushing_an_empty_buffer_does_nothing(void **state)
{
    (void)state;
    access_log_flush(&log_);
    access_log_write(&log_, &record);
    access_log_flush(&log_);
    access_log_flush(&log_);
    assert_int_equal(sink->writes, 1);
}

static void another_sink_gets_what_comes_after(void **state)
{
    (void)state;
    access_log_write(&log_, &record);
    access_log_set(&log_, &sinks[1], LOG_COMBINED);
    access_log_write(&log_, &record);
    access_log_flush(&log_);
    assert_int_equal(sinks[0].lines, 1);
    assert_int_equal(sinks[1].lines, 1);
    assert_int_equal(sinks[0].text[0], '{');
    assert_int_equal(sinks[1].text[0], '1');
}

static void no_sink_no_line(void **state)
{
    (void)state;
    access_log_write(&log_, &record);
    access_log_set(&log_, NULL, LOG_JSON);
    assert_int_equal(sink->lines, 1);
    access_log_write(&log_, &record);
    assert_false(timer_armed(&log_.flush));
    access_log_set(&log_, sink, LOG_JSON);
    access_log_flush(&log_);
    assert_int_equal(sink->lines, 1);
}

static void closing_leaves_nothing_behind(void **state)
{
    (void)state;
    access_log_write(&log_, &record);
    access_log_close(&log_);
    assert_int_equal(sink->lines, 1);
    assert_int_equal(worker.wheel.live, 0);
    assert_null(log_.buffer);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(json_line),
        TEST(json_line_of_an_origin_that_failed),
        TEST(json_line_of_what_was_no_request),
        TEST(combined_line),
        TEST(combined_line_of_what_was_no_request),
        TEST(combined_line_without_an_answer),
        TEST(the_time_is_the_calendars),
        TEST(a_duration_is_never_negative),
        TEST(every_byte_alone),
        TEST(a_line_cannot_be_forged),
        TEST(a_word_stays_a_word),
        TEST(characters_stay_in_json_and_nothing_else_does),
        TEST(a_value_is_cut_whole),
        TEST(the_longest_line_has_a_bound),
        TEST(a_full_buffer_is_handed_over),
        TEST(lines_keep_their_order),
        TEST(a_second_after_the_first_line),
        TEST(flushing_an_empty_buffer_does_nothing),
        TEST(another_sink_gets_what_comes_after),
        TEST(no_sink_no_line),
        TEST(closing_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
