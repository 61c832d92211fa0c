/* pseudo: what is a request in HTTP/2 and HTTP/3, what is malformed, and responses as field lists.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "edge/base/error.h"
#include "protocols/http/pseudo.h"

static const struct http_limits limits = { .line_bytes = 64, .head_bytes = 400, .field_count = 8 };

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_CHUNK_BYTES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

/* Lines of the form "name: value\n"; a pseudo-field's own colon is not its end. */
static void feed(struct pseudo *p, const char *text)
{
    for (struct slice rest = slice_str(text); rest.n;) {
        struct slice line = slice_of(rest.p, slice_find(rest, '\n'));
        size_t colon = 1 + slice_find(slice_skip(line, 1), ':');
        pseudo_field(p, slice_of(line.p, colon), slice_trim(slice_skip(line, colon + 1)));
        rest = slice_skip(rest, line.n + 1);
    }
}

static int read_head(struct pseudo *p, const char *text, bool ended)
{
    arena_reset(&arena);
    pseudo_begin(p, &limits, &arena);
    feed(p, text);
    return pseudo_finish(p, ended);
}

static void expect(struct slice got, const char *wanted)
{
    assert_int_equal(got.n, strlen(wanted));
    assert_memory_equal(got.p, wanted, got.n);
}

#define GET ":method: GET\n:scheme: https\n:path: /a?b\n"

static void test_request(void **state)
{
    (void)state;
    struct pseudo p;
    assert_int_equal(0, read_head(&p, GET ":authority: a.example\naccept: x\nodd-name: y\n", true));
    assert_int_equal(p.request.method, METHOD_GET);
    expect(p.request.method_text, "GET");
    expect(p.request.scheme, "https");
    expect(p.request.authority, "a.example");
    expect(p.request.target, "/a?b");
    assert_int_equal(p.request.length, LENGTH_NONE);
    assert_int_equal(p.request.fields.n, 2);
    expect(p.request.fields.v[0].name, "Accept"); /* as HTTP/1.1 origins are used to it */
    expect(p.request.fields.v[1].name, "odd-name");
    expect(p.request.fields.v[1].value, "y");
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        int error;
    } rows[] = {
        { ":scheme: https\n:path: /\n:authority: a\n", -E_BAD_REQUEST },
        { ":method: GET\n:path: /\n:authority: a\n", -E_BAD_REQUEST },
        { ":method: GET\n:scheme: https\n:authority: a\n", -E_BAD_REQUEST },
        { GET, -E_BAD_HOST },
        { GET ":authority: a\n:method: GET\n", -E_BAD_REQUEST },
        { GET ":authority: a\n:authority: a\n", -E_BAD_REQUEST },
        { GET ":authority: a\n:status: 200\n", -E_BAD_REQUEST },
        { GET ":authority: a\n:protocol: websocket\n", -E_BAD_REQUEST },
        { GET "accept: x\n:authority: a\n", -E_BAD_REQUEST },
        { GET ":authority: a\nhost: b\n", -E_BAD_HOST },
        { GET ":authority: a\nhost: a\nhost: a\n", -E_BAD_HOST },
        { GET ":authority: u@a\n", -E_BAD_HOST },
        { GET ":authority: a\nconnection: close\n", -E_BAD_REQUEST },
        { GET ":authority: a\nkeep-alive: 1\n", -E_BAD_REQUEST },
        { GET ":authority: a\nproxy-connection: close\n", -E_BAD_REQUEST },
        { GET ":authority: a\nupgrade: x\n", -E_BAD_REQUEST },
        { GET ":authority: a\ntransfer-encoding: chunked\n", -E_BAD_REQUEST },
        { GET ":authority: a\nte: gzip\n", -E_BAD_REQUEST },
        { GET ":authority: a\ncontent-length: 1x\n", -E_BAD_FRAMING },
        { GET ":authority: a\ncontent-length: 0\ncontent-length: 0\n", -E_BAD_FRAMING },
        { GET ":authority: a\ncontent-length: 1\n", -E_BAD_FRAMING },
        { GET ":authority: a\nrange: bytes=0-1\nrange: bytes=2-3\n", -E_BAD_REQUEST },
        { ":method: G T\n:scheme: https\n:path: /\n:authority: a\n", -E_BAD_REQUEST },
        { ":method: GET\n:scheme: ftp\n:path: /\n:authority: a\n", -E_BAD_REQUEST },
        { ":method: GET\n:scheme: https\n:path: a\n:authority: a\n", -E_BAD_REQUEST },
        { ":method: GET\n:scheme: https\n:path: /#a\n:authority: a\n", -E_BAD_REQUEST },
        { ":method: GET\n:scheme: https\n:path: *\n:authority: a\n", -E_BAD_REQUEST },
        { ":method: CONNECT\n:authority: a\n", -E_BAD_REQUEST },
        { ":method: CONNECT\n:path: /\n:authority: a:1\n", -E_BAD_REQUEST },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pseudo p;
        int rc = read_head(&p, rows[i].head, true);
        if (rc != rows[i].error) print_error("row %zu\n", i);
        assert_int_equal(rc, rows[i].error);
    }
}

static void test_other_forms(void **state)
{
    (void)state;
    struct pseudo p;
    assert_int_equal(0,
                     read_head(&p, ":method: OPTIONS\n:scheme: https\n:path: *\nhost: a\n", true));
    expect(p.request.authority, "a");
    assert_int_equal(0, read_head(&p, ":method: CONNECT\n:authority: a:443\n", false));
    expect(p.request.target, "");
    assert_int_equal(0, read_head(&p, GET ":authority: A\nhost: a\n", true));
    assert_int_equal(p.request.fields.n, 0);
}

static void test_cookie_crumbs_are_joined(void **state)
{
    (void)state;
    struct pseudo p;
    assert_int_equal(0, read_head(&p, GET ":authority: a\ncookie: a=1\nx: y\ncookie: b=2\n", true));
    expect(fields_value(&p.request.fields, FIELD_COOKIE), "a=1; b=2");
    assert_int_equal(fields_count(&p.request.fields, FIELD_COOKIE), 1);
    /* However many there are, they are one of the eight fields that there may be. */
    const char *crumbs =
        GET ":authority: a\ncookie: a=1\ncookie: b=2\ncookie: c=3\na: \nb: \nc: \nd: \ne: \nf: \n"
            "cookie: d=4\ng: \n";
    assert_int_equal(0, read_head(&p, crumbs, true));
    expect(fields_value(&p.request.fields, FIELD_COOKIE), "a=1; b=2; c=3; d=4");
    pseudo_field(&p, SLICE("h"), SLICE(""));
    assert_int_equal(-E_HEADER_TOO_LARGE, pseudo_finish(&p, true));
}

static void test_lengths(void **state)
{
    (void)state;
    struct pseudo p;
    assert_int_equal(0, read_head(&p, GET ":authority: a\ncontent-length: 5\n", false));
    assert_int_equal(p.request.length, 5);
    assert_int_equal(0, read_head(&p, GET ":authority: a\n", false));
    assert_int_equal(p.request.length, LENGTH_UNKNOWN);
    assert_int_equal(0, read_head(&p, GET ":authority: a\ncontent-length: 0\n", true));
    assert_int_equal(p.request.length, 0);
}

static void test_expectations(void **state)
{
    (void)state;
    struct pseudo p;
    assert_int_equal(
        0, read_head(&p, GET ":authority: a\nexpect: 100-continue\nte: trailers\n", false));
    assert_true(p.expect_continue && p.te_trailers);
    assert_false(fields_has(&p.request.fields, FIELD_TE));
    assert_true(fields_has(&p.request.fields, FIELD_EXPECT));
}

static void test_limits(void **state)
{
    (void)state;
    struct pseudo p;
    char head[1000];
    snprintf(head, sizeof head, ":method: GET\n:scheme: https\n:authority: a\n:path: /%064d\n", 0);
    assert_int_equal(-E_URI_TOO_LONG, read_head(&p, head, true));
    snprintf(head, sizeof head, GET ":authority: a\nx: %0400d\n", 0);
    assert_int_equal(-E_HEADER_TOO_LARGE, read_head(&p, head, true));
    assert_int_equal(
        -E_HEADER_TOO_LARGE,
        read_head(&p, GET ":authority: a\na: 1\nb: 1\nc: 1\nd: 1\ne: 1\nf: 1\ng: 1\nh: 1\ni: 1\n",
                  true));
    assert_int_equal(
        0,
        read_head(&p, GET ":authority: a\na: 1\nb: 1\nc: 1\nd: 1\ne: 1\nf: 1\ng: 1\nh: 1\n", true));
}

static void test_trailers(void **state)
{
    (void)state;
    struct pseudo p;
    arena_reset(&arena);
    pseudo_begin_trailers(&p, &limits, &arena);
    feed(&p, "x-checksum: 1\ncontent-length: 7\n");
    assert_int_equal(0, pseudo_finish_trailers(&p));
    assert_int_equal(p.request.fields.n, 1);
    pseudo_begin_trailers(&p, &limits, &arena);
    feed(&p, ":path: /\n");
    assert_int_equal(-E_BAD_REQUEST, pseudo_finish_trailers(&p));
}

static void test_response(void **state)
{
    (void)state;
    struct fields stored = { 0 };
    struct response r = { .status = 206, .stored = &stored };
    fields_add(&stored, &arena, FIELD_ETAG, SLICE("\"1\""));
    fields_add_named(&r.fields, &arena, SLICE("X-Odd"), SLICE("y"));
    fields_add(&r.fields, &arena, FIELD_CONNECTION, SLICE("close"));
    struct fields f = pseudo_response(&arena, &r, 1234567890123);
    assert_int_equal(f.n, 4);
    expect(f.v[0].name, ":status");
    expect(f.v[0].value, "206");
    expect(f.v[1].name, "etag");
    expect(f.v[2].name, "x-odd");
    expect(f.v[3].name, "content-length");
    expect(f.v[3].value, "1234567890123");
    f = pseudo_response(&arena, &(struct response){ .status = 103 }, LENGTH_NONE);
    assert_int_equal(f.n, 1);
    f = pseudo_response(&arena, &(struct response){ .status = 200 }, 0);
    expect(f.v[1].value, "0");
}

static void test_told_lengths(void **state)
{
    (void)state;
    static const struct {
        enum method method;
        int status;
        int64_t length;
        bool has_body;
        int64_t told;
    } rows[] = {
        { METHOD_GET, 200, 5, true, 5 },
        { METHOD_GET, 200, LENGTH_UNKNOWN, true, LENGTH_UNKNOWN },
        { METHOD_GET, 200, LENGTH_NONE, false, 0 },
        { METHOD_HEAD, 200, 5, false, 5 },
        { METHOD_HEAD, 200, LENGTH_UNKNOWN, false, LENGTH_UNKNOWN },
        { METHOD_GET, 304, 5, false, 5 },
        { METHOD_GET, 204, 0, false, LENGTH_NONE },
        { METHOD_GET, 103, 0, false, LENGTH_NONE },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct response r = { .status = rows[i].status, .length = rows[i].length };
        assert_int_equal(pseudo_length(rows[i].method, &r, rows[i].has_body), rows[i].told);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),     cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_other_forms), cmocka_unit_test(test_cookie_crumbs_are_joined),
        cmocka_unit_test(test_lengths),     cmocka_unit_test(test_expectations),
        cmocka_unit_test(test_limits),      cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_response),    cmocka_unit_test(test_told_lengths),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
