/* message: methods, statuses, authorities and targets as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "protocols/http/message.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static void methods_are_case_sensitive_and_have_properties(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum method method;
        bool safe, idempotent;
    } rows[] = {
        { "GET", METHOD_GET, true, true },          { "HEAD", METHOD_HEAD, true, true },
        { "POST", METHOD_POST, false, false },      { "PUT", METHOD_PUT, false, true },
        { "DELETE", METHOD_DELETE, false, true },   { "OPTIONS", METHOD_OPTIONS, true, true },
        { "TRACE", METHOD_TRACE, true, true },      { "CONNECT", METHOD_CONNECT, false, false },
        { "PATCH", METHOD_PATCH, false, false },    { "QUERY", METHOD_QUERY, true, true },
        { "query", METHOD_OTHER, false, false },    { "get", METHOD_OTHER, false, false },
        { "PROPFIND", METHOD_OTHER, false, false }, { "", METHOD_OTHER, false, false },
        { "GETS", METHOD_OTHER, false, false },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum method m = method_lookup(slice_str(rows[i].text));
        assert_int_equal(m, rows[i].method);
        assert_int_equal(method_is_safe(m), rows[i].safe);
        assert_int_equal(method_is_idempotent(m), rows[i].idempotent);
    }
}

static void bodies_follow_method_and_status(void **state)
{
    (void)state;
    static const struct {
        enum method method;
        int status;
        bool body;
    } rows[] = {
        { METHOD_GET, 200, true },      { METHOD_GET, 204, false },    { METHOD_GET, 304, false },
        { METHOD_GET, 103, false },     { METHOD_GET, 206, true },     { METHOD_GET, 404, true },
        { METHOD_HEAD, 200, false },    { METHOD_HEAD, 404, false },   { METHOD_POST, 200, true },
        { METHOD_CONNECT, 200, false }, { METHOD_CONNECT, 407, true },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(status_has_body(rows[i].method, rows[i].status), rows[i].body);
    }
}

static void phrases_are_the_registered_ones(void **state)
{
    (void)state;
    assert_true(slice_eq(status_phrase(200), SLICE("OK")));
    assert_true(slice_eq(status_phrase(416), SLICE("Range Not Satisfiable")));
    assert_int_equal(status_phrase(299).n, 0);
    assert_int_equal(status_phrase(-1).n, 0);
}

static void authorities_are_validated(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host; /* host NULL: not valid */
    } rows[] = {
        { "example.com", "example.com" },
        { "example.com:8080", "example.com" },
        { "example.com:", "example.com" },
        { "example.com:65535", "example.com" },
        { "192.0.2.1:80", "192.0.2.1" },
        { "1234", "1234" },
        { "[::1]", "[::1]" },
        { "[2001:db8::1]:443", "[2001:db8::1]" },
        { "[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]" },
        { "a%20b", "a%20b" },
        { "a_b~!$&'()*+;=", "a_b~!$&'()*+;=" },
        { "", NULL },
        { ":80", NULL },
        { "example.com:65536", NULL },
        { "example.com:0", NULL },
        { "example.com:99999999999999999999", NULL },
        { "example.com:80:80", NULL },
        { "example.com:80a", NULL },
        { "example.com: 80", NULL },
        { "example.com:-1", NULL },
        { "user@example.com", NULL },
        { "example.com/", NULL },
        { "example.com?", NULL },
        { "example.com#", NULL },
        { "exa mple.com", NULL },
        { "example.com\\", NULL },
        { "a%2", NULL },
        { "a%zz", NULL },
        { "a\"b", NULL },
        { "\xc3\xa9.example", NULL },
        { "a.example,b.example", NULL },
        { "::1", NULL },
        { "[::1", NULL },
        { "::1]", NULL },
        { "[]", NULL },
        { "[", NULL },
        { "[]:80", NULL },
        { "[::1]a", NULL },
        { "[::1]]", NULL },
        { "[[::1]", NULL },
        { "[1.2.3.4]", NULL },
        { "[fe80::1%25eth0]", NULL },
        { "[v1.x]", NULL },
        { "[0000000000000000000000000000000000000000000000000001::]", NULL },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice text = slice_str(rows[i].text);
        if (authority_is_valid(text) != (rows[i].host != NULL)) fail_msg("%s", rows[i].text);
        if (rows[i].host) assert_true(slice_eq(authority_host(text), slice_str(rows[i].host)));
    }
    assert_false(authority_is_valid(SLICE("example.com\0")));
    assert_false(authority_is_valid(SLICE("[::1\0]")));
}

static void targets_split_at_the_first_question_mark(void **state)
{
    (void)state;
    struct slice target = SLICE("/a?b?c");
    assert_true(slice_eq(target_path(target), SLICE("/a")));
    assert_true(slice_eq(target_query(target), SLICE("b?c")));
    assert_null(target_query(SLICE("/a")).p);
    assert_non_null(target_query(SLICE("/a?")).p);
    assert_int_equal(target_query(SLICE("/a?")).n, 0);
    assert_true(slice_eq(target_path(SLICE("*")), SLICE("*")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_are_case_sensitive_and_have_properties),
        cmocka_unit_test(bodies_follow_method_and_status),
        cmocka_unit_test(phrases_are_the_registered_ones),
        cmocka_unit_test(authorities_are_validated),
        cmocka_unit_test(targets_split_at_the_first_question_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
