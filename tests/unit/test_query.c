/* query: parameters by name, and a sentence about what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "edge/query.h"
#include "tests/unit/with_arena.h"

static const char *read(const char *query, struct query_param out[2])
{
    out[0] = (struct query_param){ .name = SLICE("key") };
    out[1] = (struct query_param){ .name = SLICE("limit") };
    return query_read(query ? slice_str(query) : SLICE_NONE, out, 2, &arena);
}

static void test_values(void **state)
{
    (void)state;
    struct query_param p[2];
    assert_null(read("limit=5&key=a%2fb%26c+d%3d", p));
    assert_string_equal(p[0].value.p, "a/b&c+d=");
    assert_string_equal(p[1].value.p, "5");
    assert_null(read("key=a=b&", p));
    assert_string_equal(p[0].value.p, "a=b");
    assert_null(p[1].value.p);
    assert_null(read("key=", p));
    assert_non_null(p[0].value.p);
    assert_int_equal(p[0].value.n, 0);
    assert_null(read(NULL, p));
    assert_null(read("", p));
    assert_null(p[0].value.p);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *query, *why;
    } rows[] = {
        { "x=1", "there is no parameter \"x\"" },
        { "key=1&Limit=2", "there is no parameter \"Limit\"" },
        { "&key=1", "there is no parameter \"\"" },
        { "key=1&limit=2&key=3", "key is given twice" },
        { "key", "key has no value" },
        { "key=%", "key has a '%' without two digits" },
        { "key=a%2", "key has a '%' without two digits" },
        { "key=%2x", "key has a '%' without two digits" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct query_param p[2];
        assert_string_equal(read(rows[i].query, p), rows[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_values),
        TEST(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
