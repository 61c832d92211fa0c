/* What the node itself says, word for word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "edge/answer.h"
#include "edge/base/error.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static struct arena arena;

static void assert_slice(struct slice s, const char *text)
{
    assert_string_equal(arena_copy(&arena, s).p, text);
}

static void test_cache_status(void **state)
{
    (void)state;
    static const struct {
        struct cache_status status;
        const char *text;
    } rows[] = {
        { { 0 }, "verge" },
        { { .hit = true, .has_ttl = true, .ttl_s = 59 }, "verge; hit; ttl=59" },
        { { .hit = true, .has_ttl = true }, "verge; hit; ttl=0" },
        { { .hit = true, .ttl_s = 5 }, "verge; hit" },
        { { .hit = true, .has_ttl = true, .ttl_s = -412 }, "verge; hit; ttl=-412" },
        { { .hit = true, .has_ttl = true, .ttl_s = INT64_MAX }, "verge; hit; ttl=999999999999999" },
        { { .hit = true, .has_ttl = true, .ttl_s = INT64_MIN },
          "verge; hit; ttl=-999999999999999" },
        { { .fwd = FWD_BYPASS }, "verge; fwd=bypass" },
        { { .fwd = FWD_METHOD }, "verge; fwd=method" },
        { { .fwd = FWD_URI_MISS }, "verge; fwd=uri-miss" },
        { { .fwd = FWD_VARY_MISS }, "verge; fwd=vary-miss" },
        { { .fwd = FWD_MISS }, "verge; fwd=miss" },
        { { .fwd = FWD_REQUEST }, "verge; fwd=request" },
        { { .fwd = FWD_STALE }, "verge; fwd=stale" },
        { { .fwd = FWD_PARTIAL }, "verge; fwd=partial" },
        { { .hit = true, .fwd = FWD_STALE, .fwd_status = 304 },
          "verge; fwd=stale; fwd-status=304" },
        { { .fwd = FWD_VARY_MISS,
            .fwd_status = 200,
            .stored = true,
            .collapsed = true,
            .has_ttl = true,
            .ttl_s = INT64_MIN,
            .key = { "http://a/?\"\\", 12 },
            .detail = "memory" },
          "verge; fwd=vary-miss; fwd-status=200; stored; collapsed; ttl=-999999999999999; "
          "key=\"http://a/?\\\"\\\\\"; detail=memory" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_slice(cache_status_text(&rows[i].status, &arena), rows[i].text);
    }
}

static void test_proxy_status(void **state)
{
    (void)state;
    assert_slice(proxy_status_text(-E_CONNECT_REFUSED, &arena), "verge; error=connection_refused");
    assert_slice(proxy_status_text(E_LOOP, &arena), "verge; error=proxy_loop_detected");
    assert_int_equal(proxy_status_text(-E_HEADER_TIMEOUT, &arena).n, 0);
}

/* Pulls a body to its end, and closes it; all must come in one span. */
static void assert_body(struct body *body, const char *text)
{
    struct span span = { 0 };
    if (*text) {
        assert_int_equal(body_pull(body, &span), BODY_DATA);
        assert_slice(span_slice(&span), text);
    }
    assert_int_equal(body_pull(body, &(struct span){ 0 }), BODY_END);
    body_close(&body);
    assert_null(body);
    assert_int_equal(*text ? span.block->references : 0, *text ? 1 : 0);
    span_release(&span);
}

static void test_bodies(void **state)
{
    (void)state;
    assert_body(text_body(SLICE_NONE, &arena), "");
    assert_body(text_body(SLICE(""), &arena), "");
    assert_body(text_body(SLICE("a"), &arena), "a");
    struct body *unread = text_body(SLICE("nobody pulls this"), &arena);
    assert_null(unread->trailers);
    body_close(&unread);
}

static void assert_fields(const struct fields *f, const char *const *expected)
{
    for (uint32_t i = 0; i < f->n; i++) {
        assert_non_null(expected[i]);
        struct slice line =
            arena_printf(&arena, "%.*s: %.*s", SLICE_ARGS(f->v[i].name), SLICE_ARGS(f->v[i].value));
        assert_string_equal(line.p, expected[i]);
    }
    assert_null(expected[f->n]);
}

#define DATE  "Date: Sun, 06 Nov 1994 08:49:37 GMT"
#define TYPE  "Content-Type: text/plain; charset=utf-8"
#define STORE "Cache-Control: no-store"

static void test_error_pages(void **state)
{
    (void)state;
    static const struct {
        int error, status;
        const char *text, *fields[5];
    } rows[] = {
        { -E_CONNECT_REFUSED,
          502,
          "502 Bad Gateway: the origin refused the connection\n",
          { DATE, TYPE, STORE, "Proxy-Status: verge; error=connection_refused" } },
        { E_NO_ROUTE,
          404,
          "404 Not Found: no route of the site matches\n",
          { DATE, TYPE, STORE, "Proxy-Status: verge; error=http_request_denied" } },
        { -E_HEADER_TIMEOUT,
          408,
          "408 Request Timeout: the request head did not arrive in time\n",
          { DATE, TYPE, STORE } },
        { -E_CANCELED, 500, "500 Internal Server Error: canceled\n", { DATE, TYPE, STORE } },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct response r;
        struct body *body;
        memset(&r, 0xff, sizeof r);
        answer_error(rows[i].error, 784111777, &arena, &r, &body);
        assert_int_equal(r.status, rows[i].status);
        assert_int_equal(r.length, strlen(rows[i].text));
        assert_null(r.stored);
        assert_int_equal(r.lines.n, 0);
        assert_fields(&r.fields, rows[i].fields);
        assert_body(body, rows[i].text);
    }
}

/* A row added to error.def needs a status that has a phrase. */
static void test_every_error_has_a_page(void **state)
{
    (void)state;
    for (int error = E_NONE + 1; error < E_COUNT; error++) {
        struct response r;
        struct body *body;
        answer_error(error, 0, &arena, &r, &body);
        assert_in_range(r.status, 400, 599);
        assert_int_not_equal(status_phrase(r.status).n, 0);
        body_close(&body);
    }
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 4096);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cache_status), TEST(test_proxy_status),           TEST(test_bodies),
        TEST(test_error_pages),  TEST(test_every_error_has_a_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
