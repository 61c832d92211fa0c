/* policy: RFC 9111 as tables. Time is a fixed moment; "@N" in a field's value is the date N seconds
 * after it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "cache/policy.h"
#include "protocols/http/date.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))
#define CC          "Cache-Control: "

static const int64_t now_s = 1700000000, now_ms = 1700000000000;
static const int64_t forever_ms = ((int64_t)1 << 31) * 1000;
static struct arena arena;

static int start(void **state)
{
    (void)state;
    arena_init(&arena, 4096);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct slice field_value(struct slice text)
{
    if (!slice_starts(text, SLICE("@"))) return text;
    char *date = arena_alloc(&arena, HTTP_DATE_BYTES);
    http_date_format(now_s + strtoll(text.p + 1, NULL, 10), date);
    return slice_of(date, HTTP_DATE_BYTES);
}

/* "Name: value|Name: value" */
static struct fields fields(const char *text)
{
    struct fields f = { 0 };
    struct slice rest = slice_str(text);
    while (rest.n) {
        struct slice line = slice_of(rest.p, slice_find(rest, '|'));
        size_t colon = slice_find(line, ':');
        rest = slice_skip(rest, line.n < rest.n ? line.n + 1 : line.n);
        struct slice value = slice_trim(slice_skip(line, colon + 1));
        fields_add_named(&f, &arena, slice_of(line.p, colon), field_value(value));
    }
    return f;
}

static struct request request(const char *text)
{
    return (struct request){ .method = METHOD_GET, .fields = fields(text) };
}

static struct response response(int status, const char *text)
{
    return (struct response){ .status = status, .length = LENGTH_UNKNOWN, .fields = fields(text) };
}

static const struct cache_policy plain = { 0 };

static enum store_reason store(const struct cache_policy *p, const char *req, int status,
                               const char *res, struct freshness *f)
{
    struct request q = request(req);
    struct response s = response(status, res);
    return policy_store(p, &q, &s, now_ms, now_ms, f);
}

struct store_row {
    int status;
    const char *request, *response;
    enum store_reason reason;
    int64_t lifetime_s; /* where stored */
};

static void check_store(const struct cache_policy *p, const struct store_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct store_row *r = &rows[i];
        struct freshness f;
        enum store_reason reason = store(p, r->request, r->status, r->response, &f);
        if (reason != r->reason) {
            fail_msg("%d %s: %s, not %s", r->status, r->response, store_reason_name(reason),
                     store_reason_name(r->reason));
        }
        if (reason == STORE_OK && f.lifetime_ms != r->lifetime_s * 1000) {
            fail_msg("%d %s: lifetime %lld ms", r->status, r->response, (long long)f.lifetime_ms);
        }
    }
}

static void explicit_freshness(void **state)
{
    (void)state;
    static const struct store_row rows[] = {
        { 200, "", "Cache-Control: max-age=60", STORE_OK, 60 },
        { 200, "", "Cache-Control: MaX-aGe=60", STORE_OK, 60 },
        { 200, "", "Cache-Control: max-age=\"60\"", STORE_OK, 60 },
        { 200, "", "Cache-Control: max-age=0060", STORE_OK, 60 },
        { 200, "", "Cache-Control: foobar, , max-age=60, x=\"a, b\"", STORE_OK, 60 },
        { 200, "", "Cache-Control: max-age=60, s-maxage=10", STORE_OK, 10 },
        { 200, "", "Cache-Control: max-age=1, s-maxage=60|Expires: @-1", STORE_OK, 60 },
        { 200, "", "Cache-Control: max-age=60|Expires: @-100", STORE_OK, 60 },
        { 200, "", "Cache-Control: max-age=60|Expires: 0", STORE_OK, 60 },
        { 200, "", "Cache-Control: max-age=0|Expires: @100", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Cache-Control: max-age=60|Cache-Control: max-age=30", STORE_OK, 30 },
        { 200, "", "Cache-Control: max-age=30, max-age=60", STORE_OK, 30 },
        { 200, "", "Cache-Control: max-age=2147483648", STORE_OK, (int64_t)1 << 31 },
        { 200, "", "Cache-Control: max-age=99999999999999999999", STORE_OK, (int64_t)1 << 31 },
        { 200, "", "Cache-Control: x=\"max-age=60\", max-age=1", STORE_OK, 1 },
        { 200, "", "Cache-Control: x=\"max-age=60\"", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Cache-Control: max-age=-1", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Cache-Control: max-age=60.5", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Cache-Control: max-age=a60", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Cache-Control: max-age=60a", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Cache-Control: max-age =60", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Cache-Control: max-age= 60", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Cache-Control: max-age='60'", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Cache-Control: max-age", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Cache-Control: max-age=x|ETag: \"a\"", STORE_OK, 0 },
        { 200, "", "Date: @0|Expires: @60", STORE_OK, 60 },
        { 200, "", "Expires: @60", STORE_OK, 60 },
        { 200, "", "Date: @-30|Expires: @30", STORE_OK, 60 },
        { 200, "", "Date: garbage|Expires: @60", STORE_OK, 60 },
        { 200, "", "Expires: @60|Expires: @30", STORE_OK, 30 },
        { 200, "", "Expires: @60|Expires: 0", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Expires: 0", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Expires: @-60", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Expires: @0", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Expires: 0|Last-Modified: @-60", STORE_OK, 0 },
        { 200, "", "Expires: Wed, 15 Nov 2023 00:00:00 AEST", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Expires: Wednesday, 15-Nov-23 00:00:00 GMT|Date: Tue, 14 Nov 2023 23:59:00 GMT",
          STORE_OK, 60 },
        { 200, "", "Cache-Control: max-age=60|Age: 60", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Cache-Control: max-age=60|Age: 59", STORE_OK, 60 },
        { 200, "", "Cache-Control: max-age=60|Date: @-61", STORE_NO_FRESHNESS, 0 },
        { 200, "", "", STORE_NO_FRESHNESS, 0 },
        { 200, "", "ETag: \"a\"|Last-Modified: @-1000", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Cache-Control: public|ETag: \"a\"", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Pragma: no-cache|Cache-Control: max-age=60", STORE_OK, 60 },
    };
    check_store(&plain, rows, COUNT(rows));
}

static void directives_that_forbid(void **state)
{
    (void)state;
    static const struct store_row rows[] = {
        { 200, "", "Cache-Control: no-store, max-age=60", STORE_NO_STORE, 0 },
        { 200, "", "Cache-Control: No-StOrE, max-age=60", STORE_NO_STORE, 0 },
        { 200, "", "Cache-Control: max-age=60|Cache-Control: no-store", STORE_NO_STORE, 0 },
        { 200, "", "Cache-Control: max-age=60, no-store=x", STORE_NO_STORE, 0 },
        { 200, "", "Cache-Control: no-store|Expires: @60", STORE_NO_STORE, 0 },
        { 200, "", "Cache-Control: x=\"no-store\", max-age=60", STORE_OK, 60 },
        { 200, "", "Cache-Control: must-understand, no-store, max-age=60", STORE_OK, 60 },
        { 599, "", "Cache-Control: must-understand, no-store, max-age=60", STORE_STATUS, 0 },
        { 599, "", "Cache-Control: must-understand, max-age=60", STORE_STATUS, 0 },
        { 200, "", "Cache-Control: private, max-age=60", STORE_PRIVATE, 0 },
        { 200, "", "Cache-Control: private=\"x-a\", max-age=60", STORE_OK, 60 },
        { 200, "", "Cache-Control: private=x-a, max-age=60", STORE_OK, 60 },
        { 200, "", "Cache-Control: private=\"\", max-age=60", STORE_PRIVATE, 0 },
        { 200, "", "Cache-Control: private=\"a\", private=\"b\", max-age=60", STORE_PRIVATE, 0 },
        { 200, "", "Cache-Control: private=\"a, max-age=60", STORE_PRIVATE, 0 },
        { 200, "", "Cache-Control: no-cache, max-age=60", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Cache-Control: no-cache, max-age=60|ETag: \"a\"", STORE_OK, 0 },
        { 200, "", "Cache-Control: no-cache|Last-Modified: @-9", STORE_OK, 0 },
        { 200, "", "Cache-Control: no-cache|ETag: unquoted", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Cache-Control: no-cache=\"x-a\", max-age=60", STORE_OK, 60 },
        { 200, "Authorization: x", "Cache-Control: max-age=60", STORE_AUTHORIZATION, 0 },
        { 200, "Authorization: x", "Expires: @60", STORE_AUTHORIZATION, 0 },
        { 200, "Authorization: x", "Cache-Control: max-age=60, public", STORE_OK, 60 },
        { 200, "Authorization: x", "Cache-Control: max-age=60, must-revalidate", STORE_OK, 60 },
        { 200, "Authorization: x", "Cache-Control: s-maxage=60", STORE_OK, 60 },
        { 200, "Authorization: x", "Cache-Control: max-age=60, proxy-revalidate",
          STORE_AUTHORIZATION, 0 },
        { 200, "Authorization: x", "CDN-Cache-Control: max-age=60, public", STORE_OK, 60 },
        { 200, "Authorization: x", "CDN-Cache-Control: max-age=60|Cache-Control: public",
          STORE_AUTHORIZATION, 0 },
        { 200, "", "Cache-Control: max-age=60|Set-Cookie: a=b", STORE_SET_COOKIE, 0 },
        { 200, "", "Cache-Control: max-age=60, no-cache=\"Set-Cookie\"|Set-Cookie: a=b", STORE_OK,
          60 },
        { 200, "", "Cache-Control: max-age=60|Vary: *", STORE_VARY_STAR, 0 },
        { 200, "", CC "max-age=60|Content-Type: text/event-stream", STORE_ENDLESS, 0 },
        { 200, "", CC "max-age=60|Content-Type: Text/Event-Stream ; charset=utf-8", STORE_ENDLESS,
          0 },
        { 200, "",
          CC "max-age=60|Content-Type: a/b|Content-Type: multipart/x-mixed-replace;boundary=x",
          STORE_ENDLESS, 0 },
        { 200, "", CC "max-age=60|Content-Type: text/event-streams", STORE_OK, 60 },
        { 200, "", CC "max-age=60|Content-Type: a/b; x=text/event-stream", STORE_OK, 60 },
        { 200, "", "Cache-Control: max-age=60|Vary: a|Vary: b, *", STORE_VARY_STAR, 0 },
        { 200, "", "Cache-Control: max-age=60|Vary: a, b", STORE_OK, 60 },
        { 200, "Cache-Control: no-store", "Cache-Control: max-age=60", STORE_OK, 60 },
        { 200, "Range: bytes=0-1", "Cache-Control: max-age=60", STORE_OK, 60 },
    };
    check_store(&plain, rows, COUNT(rows));
}

static void statuses(void **state)
{
    (void)state;
    static const int storable[] = { 200, 203, 204, 299, 301, 302, 303, 307, 308,
                                    400, 404, 410, 499, 500, 503, 504, 599 };
    static const int refused[] = { 100, 103, 199, 206, 304, 412, 416, 600, 999 };
    struct freshness f;
    for (size_t i = 0; i < COUNT(storable); i++) {
        assert_int_equal(store(&plain, "", storable[i], "Cache-Control: max-age=60", &f), STORE_OK);
    }
    for (size_t i = 0; i < COUNT(refused); i++) {
        assert_int_equal(store(&plain, "", refused[i], "Cache-Control: max-age=60", &f),
                         STORE_STATUS);
    }
    static const struct store_row parts[] = {
        { 206, "", "Cache-Control: max-age=60|ETag: \"a\"|Content-Range: bytes 0-4/10", STORE_OK,
          60 },
        { 206, "", "Cache-Control: max-age=60|ETag: W/\"a\"|Content-Range: bytes 0-4/10",
          STORE_STATUS, 0 },
        { 206, "", "Cache-Control: max-age=60|Content-Range: bytes 0-4/10", STORE_STATUS, 0 },
        { 206, "", "Cache-Control: max-age=60|ETag: \"a\"", STORE_STATUS, 0 },
        { 206, "", "Cache-Control: max-age=60|ETag: \"a\"|Content-Range: bytes */10", STORE_STATUS,
          0 },
    };
    check_store(&plain, parts, COUNT(parts));
}

static void methods_and_bypass(void **state)
{
    (void)state;
    struct freshness f;
    struct request req = request("");
    struct response res = response(200, "Cache-Control: max-age=60");
    req.method = METHOD_HEAD;
    assert_int_equal(policy_store(&plain, &req, &res, now_ms, now_ms, &f), STORE_OK);
    req.method = METHOD_POST;
    assert_int_equal(policy_store(&plain, &req, &res, now_ms, now_ms, &f), STORE_METHOD);
    assert_int_equal(f.lifetime_ms, 60000);
    struct cache_policy bypass = { .bypass = true };
    req.method = METHOD_GET;
    assert_int_equal(policy_store(&bypass, &req, &res, now_ms, now_ms, &f), STORE_BYPASS);
}

static void targeted_fields(void **state)
{
    (void)state;
    static const struct store_row rows[] = {
        { 200, "", "CDN-Cache-Control: max-age=60|Cache-Control: max-age=1", STORE_OK, 60 },
        { 200, "", "CDN-Cache-Control: max-age=60|Cache-Control: no-store", STORE_OK, 60 },
        { 200, "", "CDN-Cache-Control: max-age=60|Cache-Control: private|Expires: 0", STORE_OK,
          60 },
        { 200, "", "CDN-Cache-Control: no-store|Cache-Control: max-age=60", STORE_NO_STORE, 0 },
        { 200, "", "CDN-Cache-Control: private|Cache-Control: max-age=60", STORE_PRIVATE, 0 },
        { 200, "", "CDN-Cache-Control: no-cache|Cache-Control: max-age=60|ETag: \"a\"", STORE_OK,
          0 },
        { 200, "", "CDN-Cache-Control: foo|Cache-Control: max-age=60|Expires: @60",
          STORE_NO_FRESHNESS, 0 },
        { 200, "", "CDN-Cache-Control: max-age=0|Cache-Control: max-age=60", STORE_NO_FRESHNESS,
          0 },
        { 200, "", "CDN-Cache-Control: max-age=1;x=2, s-maxage=60", STORE_OK, 60 },
        { 200, "", "CDN-Cache-Control: max-age=60|Age: 60", STORE_NO_FRESHNESS, 0 },
        { 200, "", "CDN-Cache-Control: max-age=1, max-age=60", STORE_OK, 60 },
        { 200, "", "CDN-Cache-Control: no-store, no-store=?0, max-age=60", STORE_OK, 60 },
        { 200, "", "CDN-Cache-Control: no-store|CDN-Cache-Control: max-age=60", STORE_NO_STORE, 0 },
        { 200, "", "CDN-Cache-Control: max-age=-60|Cache-Control: max-age=9", STORE_NO_FRESHNESS,
          0 },
        { 200, "", "CDN-Cache-Control: max-age=\"60\"|Cache-Control: max-age=9", STORE_NO_FRESHNESS,
          0 },
        { 200, "", "CDN-Cache-Control: max-age=60.0|Cache-Control: max-age=9", STORE_NO_FRESHNESS,
          0 },
        { 200, "", "CDN-Cache-Control: max-age|Cache-Control: max-age=9", STORE_NO_FRESHNESS, 0 },
        { 200, "", "CDN-Cache-Control: |Cache-Control: max-age=9", STORE_OK, 9 },
        { 200, "", "CDN-Cache-Control: max-age=60,|Cache-Control: max-age=9", STORE_OK, 9 },
        { 200, "", "CDN-Cache-Control: max-age=60, a=&|Cache-Control: max-age=9", STORE_OK, 9 },
        { 200, "", "CDN-Cache-Control: Max-Age=60|Cache-Control: max-age=9", STORE_OK, 9 },
        { 200, "", "CDN-Cache-Control: max-age=60 x|Cache-Control: no-store", STORE_NO_STORE, 0 },
        { 200, "", "CDN-Cache-Control: max-age=9999999999999999|Cache-Control: max-age=9", STORE_OK,
          9 },
        { 200, "", "CDN-Cache-Control: max-age=999999999999999", STORE_OK, (int64_t)1 << 31 },
        { 200, "", "Surrogate-Control: max-age=60|Cache-Control: max-age=9", STORE_OK, 9 },
    };
    check_store(&plain, rows, COUNT(rows));
    static const struct cache_policy surrogate = { .surrogate_control = true };
    static const struct store_row surrogate_rows[] = {
        { 200, "", "Surrogate-Control: max-age=60|Cache-Control: no-store", STORE_OK, 60 },
        { 200, "", "Surrogate-Control: no-store|Cache-Control: max-age=9", STORE_NO_STORE, 0 },
        { 200, "", "Surrogate-Control: max-age=60+30, content=\"ESI/1.0\"", STORE_OK, 60 },
        { 200, "", "CDN-Cache-Control: max-age=9|Surrogate-Control: max-age=60", STORE_OK, 9 },
        { 200, "", "Cache-Control: max-age=9", STORE_OK, 9 },
    };
    check_store(&surrogate, surrogate_rows, COUNT(surrogate_rows));
}

static void configured_lifetimes(void **state)
{
    (void)state;
    static const struct ttl_rule ttls[] = { { 404, 1000, false },
                                            { 301, 5000, true },
                                            { 0, 30000, false } };
    static const struct cache_policy p = { .ttls = ttls, .ttl_count = 3, .ttl_max_ms = 100000 };
    static const struct store_row rows[] = {
        { 200, "", "", STORE_OK, 30 },
        { 200, "", "Cache-Control: max-age=60", STORE_OK, 60 },
        { 200, "", "Cache-Control: max-age=6000", STORE_OK, 100 },
        { 404, "", "", STORE_OK, 1 },
        { 404, "", "Expires: @9", STORE_OK, 9 },
        { 500, "", "", STORE_NO_FRESHNESS, 0 },
        { 302, "", "", STORE_NO_FRESHNESS, 0 },
        { 301, "", "Cache-Control: max-age=60", STORE_OK, 5 },
        { 301, "", "Expires: 0", STORE_OK, 5 },
        { 301, "", "Cache-Control: no-store", STORE_NO_STORE, 0 },
        { 301, "", "Cache-Control: private", STORE_PRIVATE, 0 },
        { 301, "", "Cache-Control: no-cache|ETag: \"a\"", STORE_OK, 0 },
        { 200, "", "Expires: 0", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Set-Cookie: a=b", STORE_SET_COOKIE, 0 },
    };
    check_store(&p, rows, COUNT(rows));
}

static void heuristic_lifetimes(void **state)
{
    (void)state;
    static const struct cache_policy p = { .heuristic = true };
    static const struct store_row rows[] = {
        { 200, "", "Last-Modified: @-1000", STORE_OK, 100 },
        { 200, "", "Last-Modified: @-10000000", STORE_OK, 86400 },
        { 200, "", "Last-Modified: @1000", STORE_OK, 0 },
        { 200, "", "Date: @-500|Last-Modified: @-10500", STORE_OK, 1000 },
        { 200, "", "Last-Modified: garbage", STORE_NO_FRESHNESS, 0 },
        { 200, "", "Last-Modified: @-1000|Cache-Control: max-age=5", STORE_OK, 5 },
        { 404, "", "Last-Modified: @-1000", STORE_OK, 100 },
        { 302, "", "Last-Modified: @-1000", STORE_NO_FRESHNESS, 0 },
        { 302, "", "Last-Modified: @-1000|Cache-Control: public", STORE_OK, 100 },
        { 599, "", "Last-Modified: @-1000|Cache-Control: public", STORE_OK, 100 },
        { 200, "", "ETag: \"a\"", STORE_NO_FRESHNESS, 0 },
    };
    check_store(&p, rows, COUNT(rows));
}

static void the_request_counts_where_the_route_says_so(void **state)
{
    (void)state;
    static const struct cache_policy p = { .honor_request = true };
    static const struct store_row rows[] = {
        { 200, "Cache-Control: no-store", "Cache-Control: max-age=60", STORE_NO_STORE, 0 },
        { 200, "Cache-Control: no-cache", "Cache-Control: max-age=60", STORE_OK, 60 },
        { 200, "Pragma: no-store", "Cache-Control: max-age=60", STORE_OK, 60 },
    };
    check_store(&p, rows, COUNT(rows));
}

static void stale_responses_are_kept_where_a_window_uses_them(void **state)
{
    (void)state;
    static const struct cache_policy p = { .stale_if_error_ms = 1000 };
    static const struct store_row windows[] = {
        { 200, "", "Cache-Control: max-age=0", STORE_OK, 0 },
        { 200, "", "Cache-Control: max-age=0, must-revalidate", STORE_NO_FRESHNESS, 0 }
    };
    static const struct store_row rows[] = {
        { 200, "", "Cache-Control: max-age=0, stale-while-revalidate=9", STORE_OK, 0 },
        { 200, "", "Cache-Control: max-age=0, stale-if-error=9", STORE_OK, 0 },
        { 200, "", "Cache-Control: stale-if-error=9", STORE_NO_FRESHNESS, 0 },
        { 404, "", "Cache-Control: max-age=0, stale-if-error=9", STORE_OK, 0 },
        { 503, "", "Cache-Control: max-age=0, stale-if-error=9", STORE_NO_FRESHNESS, 0 },
        { 500, "", "Cache-Control: max-age=0, stale-while-revalidate=9", STORE_NO_FRESHNESS, 0 },
    };
    check_store(&p, windows, COUNT(windows));
    check_store(&plain, rows, COUNT(rows));
}

static void initial_age(void **state)
{
    (void)state;
    static const struct {
        const char *response;
        int64_t delay_ms, age_ms;
    } rows[] = {
        { "", 0, 0 },
        { "Age: 7", 0, 7000 },
        { "Age: 7", 1500, 8500 },
        { "", 1500, 1500 },
        { "", -1500, 0 },
        { "Date: @-10", 1500, 10000 },
        { "Date: @-10|Age: 60", 0, 60000 },
        { "Date: @10", 0, 0 },
        { "Date: garbage", 0, 0 },
        { "Age: 0, 7", 0, 0 },
        { "Age: 7, 0", 0, 7000 },
        { "Age: 7|Age: 9", 0, 7000 },
        { "Age: abc", 0, 0 },
        { "Age: abc, 7", 0, 7000 },
        { "Age: abc|Age: 7", 0, 7000 },
        { "Age: 7foo", 0, 0 },
        { "Age: 7;foo=bar", 0, 0 },
        { "Age: 7.0", 0, 0 },
        { "Age: -7", 0, 0 },
        { "Age: \"7\"", 0, 0 },
        { "Age: 2147483648", 0, ((int64_t)1 << 31) * 1000 },
        { "Age: 99999999999999999999999", 5, ((int64_t)1 << 31) * 1000 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct freshness f;
        struct request req = request("");
        struct response res = response(200, rows[i].response);
        policy_store(&plain, &req, &res, now_ms - rows[i].delay_ms, now_ms, &f);
        if (f.initial_age_ms != rows[i].age_ms) {
            fail_msg("%s: %lld", rows[i].response, (long long)f.initial_age_ms);
        }
    }
}

static void age_and_ttl_saturate(void **state)
{
    (void)state;
    struct freshness f = { .received_ms = now_ms, .initial_age_ms = 500, .lifetime_ms = 60000 };
    assert_int_equal(freshness_age_ms(&f, now_ms), 500);
    assert_int_equal(freshness_age_ms(&f, now_ms + 1000), 1500);
    assert_int_equal(freshness_age_ms(&f, now_ms - 1000), 500);
    assert_int_equal(freshness_age_ms(&f, INT64_MAX), forever_ms);
    assert_int_equal(freshness_age_ms(&f, INT64_MIN), 500);
    assert_int_equal(freshness_ttl_ms(&f, now_ms + 60000), -500);
    f.received_ms = INT64_MIN;
    assert_int_equal(freshness_age_ms(&f, INT64_MAX), forever_ms);
}

/* Reuse of a stored response with those fields, so many seconds after it was received. */
struct reuse_row {
    const char *response, *request;
    int64_t after_s;
    enum reuse reuse;
    bool if_error;
};

static void check_reuse(const struct cache_policy *p, const struct reuse_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct reuse_row *r = &rows[i];
        struct freshness f;
        struct request req = request(r->request);
        store(p, "", 200, r->response, &f);
        int64_t at_ms = now_ms + r->after_s * 1000;
        enum reuse reuse = policy_reuse(p, &req, &f, at_ms);
        bool if_error = policy_stale_if_error(p, &req, &f, at_ms);
        if (reuse != r->reuse || if_error != r->if_error) {
            fail_msg("%s / %s after %lld: %d, %d", r->response, r->request, (long long)r->after_s,
                     reuse, if_error);
        }
        bool may_use = reuse == REUSE_FRESH || reuse == REUSE_STALE;
        assert_int_equal(policy_may_use(p, &req, AUDIENCE_REUSE, &f, false, at_ms), may_use);
        assert_int_equal(policy_may_use(p, &req, AUDIENCE_REUSE, &f, true, at_ms),
                         may_use || if_error);
        assert_true(policy_may_use(p, &req, AUDIENCE_WAITING, &f, false, at_ms));
        assert_false(policy_may_use(p, &req, AUDIENCE_ONE, &f, true, at_ms));
    }
}

static void reuse_by_age_and_windows(void **state)
{
    (void)state;
    static const struct reuse_row rows[] = {
        { CC "max-age=60", "", 0, REUSE_FRESH, true },
        { CC "max-age=60", "", 59, REUSE_FRESH, true },
        { CC "max-age=60", "", 60, REUSE_VALIDATE, false },
        { CC "max-age=60", CC "no-cache", 0, REUSE_FRESH, true },
        { CC "max-age=60", "Pragma: no-cache", 0, REUSE_FRESH, true },
        { CC "max-age=60", CC "max-stale", 61, REUSE_VALIDATE, false },
        { CC "no-cache, max-age=60", "", 0, REUSE_VALIDATE, false },
        { CC "no-cache, max-age=60, stale-if-error=60", "", 0, REUSE_VALIDATE, false },
        { CC "max-age=60, stale-while-revalidate=10", "", 60, REUSE_STALE, false },
        { CC "max-age=60, stale-while-revalidate=10", "", 69, REUSE_STALE, false },
        { CC "max-age=60, stale-while-revalidate=10", "", 70, REUSE_VALIDATE, false },
        { CC "max-age=60, stale-if-error=10", "", 69, REUSE_VALIDATE, true },
        { CC "max-age=60, stale-if-error=10", "", 70, REUSE_VALIDATE, false },
        { CC "max-age=60, stale-while-revalidate=10, must-revalidate", "", 61, REUSE_VALIDATE,
          false },
        { CC "max-age=60, stale-if-error=10, proxy-revalidate", "", 61, REUSE_VALIDATE, false },
        { CC "s-maxage=60, stale-while-revalidate=10", "", 61, REUSE_STALE, false },
        { CC "max-age=60, stale-while-revalidate=x", "", 61, REUSE_VALIDATE, false },
        { CC "max-age=60, stale-while-revalidate=99999999999", "", 2000000000, REUSE_STALE, false },
    };
    check_reuse(&plain, rows, COUNT(rows));
    static const struct cache_policy surrogate = { .surrogate_control = true };
    static const struct reuse_row surrogate_rows[] = {
        { "Surrogate-Control: max-age=60+10", "", 65, REUSE_STALE, true },
        { "Surrogate-Control: max-age=60+10", "", 70, REUSE_VALIDATE, false },
    };
    check_reuse(&surrogate, surrogate_rows, COUNT(surrogate_rows));
}

static void configured_windows(void **state)
{
    (void)state;
    static const struct cache_policy p = { .stale_while_revalidate_ms = 5000,
                                           .stale_if_error_ms = 9000 };
    static const struct reuse_row rows[] = {
        { CC "max-age=60", "", 64, REUSE_STALE, true },
        { CC "max-age=60", "", 66, REUSE_VALIDATE, true },
        { CC "max-age=60", "", 69, REUSE_VALIDATE, false },
        { CC "max-age=60, stale-while-revalidate=0, stale-if-error=0", "", 61, REUSE_VALIDATE,
          false },
        { CC "max-age=60, must-revalidate", "", 61, REUSE_VALIDATE, false },
        { CC "s-maxage=60", "", 61, REUSE_VALIDATE, false },
    };
    check_reuse(&p, rows, COUNT(rows));
}

static void request_directives(void **state)
{
    (void)state;
    static const struct cache_policy p = { .honor_request = true };
    static const struct reuse_row rows[] = {
        { CC "max-age=60", CC "no-cache", 0, REUSE_RELOAD, false },
        { CC "max-age=60", "Pragma: foo, No-Cache", 0, REUSE_RELOAD, false },
        { CC "max-age=60", "Pragma: no-cache|Cache-Control: max-age=50", 0, REUSE_FRESH, true },
        { CC "max-age=60", CC "max-age=0", 0, REUSE_RELOAD, false },
        { CC "max-age=60", CC "max-age=10", 10, REUSE_FRESH, true },
        { CC "max-age=60", CC "max-age=10", 11, REUSE_VALIDATE, false },
        { CC "max-age=60", CC "min-fresh=10", 50, REUSE_FRESH, true },
        { CC "max-age=60", CC "min-fresh=10", 51, REUSE_VALIDATE, false },
        { CC "max-age=60", CC "min-fresh=10, min-fresh=20", 45, REUSE_VALIDATE, false },
        { CC "max-age=60", CC "max-stale", 600, REUSE_STALE, true },
        { CC "max-age=60", CC "max-stale=10", 70, REUSE_STALE, true },
        { CC "max-age=60", CC "max-stale=10", 71, REUSE_VALIDATE, false },
        { CC "max-age=60", CC "max-stale=x", 61, REUSE_VALIDATE, false },
        { CC "max-age=60, must-revalidate", CC "max-stale", 61, REUSE_VALIDATE, false },
        { CC "s-maxage=60", CC "max-stale", 61, REUSE_VALIDATE, false },
        { CC "max-age=60", CC "stale-if-error=10", 65, REUSE_VALIDATE, true },
        { CC "max-age=60, must-revalidate", CC "stale-if-error=10", 65, REUSE_VALIDATE, false },
        { CC "max-age=60, immutable", CC "no-cache", 1, REUSE_FRESH, false },
        { CC "max-age=60, immutable", CC "max-age=0", 1, REUSE_FRESH, false },
        { CC "max-age=60, immutable", CC "no-cache", 61, REUSE_RELOAD, false },
        { CC "no-cache, immutable", CC "no-cache", 1, REUSE_RELOAD, false },
        { CC "max-age=60", CC "no-store", 1, REUSE_FRESH, true },
    };
    check_reuse(&p, rows, COUNT(rows));
}

static void only_if_cached_always_counts(void **state)
{
    (void)state;
    struct request yes = request(CC "max-age=1, Only-If-Cached"),
                   no = request("Pragma: only-if-cached");
    assert_true(policy_only_if_cached(&yes));
    assert_false(policy_only_if_cached(&no));
}

static void assert_fields(const struct fields *f, const char *expected)
{
    char text[1024] = "", *at = text;
    for (uint32_t i = 0; i < f->n; i++) {
        at += sprintf(at, "%s%.*s: %.*s", i ? "|" : "", SLICE_ARGS(f->v[i].name),
                      SLICE_ARGS(f->v[i].value));
    }
    assert_string_equal(text, expected);
}

static void what_is_stored_is_prepared(void **state)
{
    (void)state;
    static const struct cache_policy stripping = { .store_set_cookie = true,
                                                   .surrogate_control = true };
    static const struct {
        const struct cache_policy *policy;
        const char *before, *after;
    } rows[] = {
        { &plain, "A: 1|Age: 5|B: 2|Age: x", "A: 1|B: 2" },
        { &plain, CC "no-cache=\"x-a, B\"|X-A: 1|b: 2|C: 3|x-a: 4", CC "no-cache=\"x-a, B\"|C: 3" },
        { &plain, CC "private=\"x-a\"|X-A: 1", CC "private=\"x-a\"" },
        { &plain, "CDN-Cache-Control: no-cache=\"x-a\"|Cache-Control: private=y|X-A: 1|Y: 2",
          "CDN-Cache-Control: no-cache=\"x-a\"|Cache-Control: private=y|Y: 2" },
        { &plain, "Set-Cookie: a|Surrogate-Control: x", "Set-Cookie: a|Surrogate-Control: x" },
        { &stripping, "Set-Cookie: a|Surrogate-Control: x|Set-Cookie: b|Z: 1", "Z: 1" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct response res = response(200, rows[i].before);
        policy_prepare_stored(rows[i].policy, &res);
        assert_fields(&res.fields, rows[i].after);
    }
}

static void a_304_updates_fields(void **state)
{
    (void)state;
    static const struct {
        const char *stored, *update, *result;
    } rows[] = {
        { "A: 1|B: 2", "A: 3", "B: 2|A: 3" },
        { "A: 1|a: 2|C: 0", "A: 3|C: 4|A: 5", "A: 3|C: 4|A: 5" },
        { "A: 1", "B: 2", "A: 1|B: 2" },
        { CC "max-age=1|Date: x", CC "max-age=2|Date: y", CC "max-age=2|Date: y" },
        { "Content-Encoding: gzip|Content-Range: x", "Content-Encoding: br|Content-Range: y",
          "Content-Encoding: gzip|Content-Range: x" },
        { "A: 1", "Content-Encoding: br|Content-Range: y|Connection: close", "A: 1" },
        { "ETag: \"a\"", "ETag: W/\"a\"", "ETag: \"a\"" },
        { "Last-Modified: x", "ETag: \"a\"", "Last-Modified: x|ETag: \"a\"" },
        { "Content-Type: a", "Content-Type: b", "Content-Type: b" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct response stored = response(200, rows[i].stored), out;
        struct response update = response(304, rows[i].update);
        stored.length = 5;
        policy_update_fields(&stored, &update, &arena, &out);
        assert_fields(&out.fields, rows[i].result);
        assert_fields(&stored.fields, rows[i].stored);
        assert_int_equal(out.status, 200);
        assert_int_equal(out.length, 5);
    }
}

static void a_304_selects_by_validator(void **state)
{
    (void)state;
    static const struct {
        const char *update, *stored;
        bool selects;
    } rows[] = {
        { "ETag: \"a\"", "ETag: \"a\"", true },
        { "ETag: \"a\"", "ETag: \"b\"", false },
        { "ETag: \"a\"", "ETag: W/\"a\"", true },
        { "ETag: W/\"a\"", "ETag: \"a\"", true },
        { "ETag: W/\"a\"", "ETag: W/\"a\"", true },
        { "ETag: W/\"a\"", "ETag: W/\"b\"", false },
        { "ETag: \"a\"|Last-Modified: @-1", "ETag: \"b\"|Last-Modified: @-1", false },
        { "ETag: \"a\"|Last-Modified: @-1", "Last-Modified: @-1", true },
        { "ETag: \"a\"", "Last-Modified: @-1", false },
        { "Last-Modified: @-1", "Last-Modified: @-1", true },
        { "Last-Modified: @-1", "Last-Modified: @-2", false },
        { "Last-Modified: @-1", "ETag: \"a\"", false },
        { "", "ETag: \"a\"", true },
        { "", "", false },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct response update = response(304, rows[i].update),
                        stored = response(200, rows[i].stored);
        if (policy_304_selects(&update, &stored) != rows[i].selects) {
            fail_msg("%s / %s", rows[i].update, rows[i].stored);
        }
    }
}

static void a_head_freshens_what_has_not_changed(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *head, *stored;
        int64_t head_length, stored_bytes;
        enum head_says says;
    } rows[] = {
        { 200, "ETag: \"a\"", "ETag: \"a\"", 5, 5, HEAD_CONFIRMS },
        { 200, "ETag: \"a\"", "ETag: \"a\"", LENGTH_NONE, 5, HEAD_CONFIRMS },
        { 200, "ETag: \"a\"", "ETag: \"a\"", 6, 5, HEAD_REFUTES },
        { 200, "ETag: \"a\"", "ETag: \"b\"", 5, 5, HEAD_REFUTES },
        { 200, "ETag: \"a\"", "ETag: W/\"a\"", 5, 5, HEAD_CONFIRMS },
        { 200, "ETag: \"a\"", "", 5, 5, HEAD_REFUTES },
        { 200, "Last-Modified: @-1", "Last-Modified: @-1", LENGTH_NONE, 5, HEAD_CONFIRMS },
        { 200, "Last-Modified: @-1", "Last-Modified: @-2", 5, 5, HEAD_REFUTES },
        { 200, "Last-Modified: @-1", "", LENGTH_NONE, 5, HEAD_REFUTES },
        { 200, "ETag: \"a\"|Last-Modified: @-1", "ETag: \"a\"|Last-Modified: @-2", 5, 5,
          HEAD_REFUTES },
        { 200, "", "", 5, 5, HEAD_CONFIRMS },
        { 200, "", "", 36, 18, HEAD_REFUTES },
        { 200, "", "ETag: \"a\"", LENGTH_NONE, 5, HEAD_SAYS_NOTHING },
        { 200, "", "", 5, -1, HEAD_SAYS_NOTHING },
        { 200, "", "", LENGTH_UNKNOWN, 5, HEAD_SAYS_NOTHING },
        { 410, "", "", 5, 5, HEAD_REFUTES },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct response head = response(rows[i].status, rows[i].head),
                        stored = response(200, rows[i].stored);
        head.length = rows[i].head_length;
        if (policy_head_says(&head, &stored, rows[i].stored_bytes) != rows[i].says)
            fail_msg("row %zu", i);
    }
}

static void a_part_may_be_of_another_version(void **state)
{
    (void)state;
    static const struct {
        const char *part, *stored;
        bool refutes;
    } rows[] = {
        { "Content-Range: bytes 0-1/5|ETag: \"a\"", "ETag: \"a\"", false },
        { "Content-Range: bytes 0-1/5|ETag: \"a\"", "ETag: W/\"a\"", false },
        { "Content-Range: bytes 0-1/5|ETag: \"a\"", "ETag: \"b\"", true },
        { "Content-Range: bytes 0-1/6|ETag: \"a\"", "ETag: \"a\"", true },
        { "Content-Range: bytes 0-1/*|ETag: \"a\"", "ETag: \"a\"", false },
        { "Content-Range: bytes 0-1/5|Last-Modified: @-1", "Last-Modified: @-2", true },
        { "Content-Range: bytes 0-1/5", "ETag: \"a\"", false },
        { "", "", false }, /* multipart/byteranges */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct response part = response(206, rows[i].part), stored = response(200, rows[i].stored);
        if (policy_part_refutes(&part, &stored, 5) != rows[i].refutes) fail_msg("row %zu", i);
    }
}

static void unsafe_methods_invalidate_unless_they_fail(void **state)
{
    (void)state;
    static const struct {
        enum method method;
        int status;
        bool invalidates;
    } rows[] = {
        { METHOD_POST, 200, true },   { METHOD_PUT, 204, true },      { METHOD_DELETE, 303, true },
        { METHOD_OTHER, 200, true },  { METHOD_PATCH, 200, true },    { METHOD_POST, 400, false },
        { METHOD_POST, 500, false },  { METHOD_POST, 103, false },    { METHOD_GET, 200, false },
        { METHOD_QUERY, 200, false }, { METHOD_OPTIONS, 200, false }, { METHOD_HEAD, 200, false },
        { METHOD_TRACE, 200, false },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct request req = { .method = rows[i].method };
        struct response res = { .status = rows[i].status };
        assert_int_equal(policy_invalidates(&req, &res), rows[i].invalidates);
    }
}

static void an_error_has_an_audience_if_it_says_nothing(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *response;
        enum audience audience;
    } rows[] = {
        { 500, "", AUDIENCE_WAITING },
        { 503, "", AUDIENCE_WAITING },
        { 504, CC "private=\"x-user\"", AUDIENCE_WAITING },
        { 404, "", AUDIENCE_ONE },
        { 501, "", AUDIENCE_ONE },
        { 503, CC "no-store", AUDIENCE_ONE },
        { 503, CC "private", AUDIENCE_ONE },
        { 503, CC "no-cache", AUDIENCE_ONE },
        { 503, CC "max-age=0", AUDIENCE_ONE },
        { 503, CC "must-revalidate", AUDIENCE_ONE },
        { 503, "Expires: 0", AUDIENCE_ONE },
        { 503, "Set-Cookie: a=b", AUDIENCE_ONE },
        { 503, "Vary: *", AUDIENCE_ONE },
        { 503, "Content-Type: text/event-stream", AUDIENCE_ONE },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct freshness f;
        struct response res = response(rows[i].status, rows[i].response);
        enum store_reason reason = store(&plain, "", rows[i].status, rows[i].response, &f);
        assert_int_equal(policy_audience_unstored(&plain, &res, reason, &f), rows[i].audience);
    }
}

static void some_responses_are_never_reused(void **state)
{
    (void)state;
    static const struct {
        const char *response;
        bool reused;
    } rows[] = {
        { CC "max-age=60", true },
        { CC "max-age=60|Age: 59", true },
        { CC "max-age=60|Age: 60", false },
        { CC "max-age=0", false },
        { CC "no-cache, max-age=60", false },
        { CC "max-age=0, stale-while-revalidate=5", true },
        { CC "max-age=60, stale-while-revalidate=5|Age: 65", false },
        { "Expires: 0", false },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct freshness f;
        struct request req = request("");
        store(&plain, "", 200, rows[i].response, &f);
        assert_int_equal(freshness_is_ever_reused(&f), rows[i].reused);
        assert_int_equal(policy_may_use(&plain, &req, AUDIENCE_REUSE, &f, false, now_ms),
                         rows[i].reused);
    }
}

static void every_reason_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < STORE_REASON_COUNT; i++)
        assert_non_null(store_reason_name((enum store_reason)i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(explicit_freshness),
        cmocka_unit_test(directives_that_forbid),
        cmocka_unit_test(statuses),
        cmocka_unit_test(methods_and_bypass),
        cmocka_unit_test(targeted_fields),
        cmocka_unit_test(configured_lifetimes),
        cmocka_unit_test(heuristic_lifetimes),
        cmocka_unit_test(the_request_counts_where_the_route_says_so),
        cmocka_unit_test(stale_responses_are_kept_where_a_window_uses_them),
        cmocka_unit_test(initial_age),
        cmocka_unit_test(age_and_ttl_saturate),
        cmocka_unit_test(reuse_by_age_and_windows),
        cmocka_unit_test(configured_windows),
        cmocka_unit_test(request_directives),
        cmocka_unit_test(only_if_cached_always_counts),
        cmocka_unit_test(what_is_stored_is_prepared),
        cmocka_unit_test(a_304_updates_fields),
        cmocka_unit_test(a_304_selects_by_validator),
        cmocka_unit_test(a_head_freshens_what_has_not_changed),
        cmocka_unit_test(a_part_may_be_of_another_version),
        cmocka_unit_test(unsafe_methods_invalidate_unless_they_fail),
        cmocka_unit_test(an_error_has_an_audience_if_it_says_nothing),
        cmocka_unit_test(some_responses_are_never_reused),
        cmocka_unit_test(every_reason_has_a_name),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
