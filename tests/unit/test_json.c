/* json: what is written is read back, and what is no document has nothing in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "edge/base/json.h"
#include "tests/unit/with_arena.h"

static void assert_slice(struct slice s, const char *text)
{
    assert_string_equal(arena_copy(&arena, s).p, text);
}

static struct slice written(struct slice s)
{
    char *text;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    json_put_string(out, s);
    fclose(out);
    struct slice copy = arena_copy(&arena, slice_of(text, n));
    free(text);
    return copy;
}

static void test_strings(void **state)
{
    (void)state;
    assert_slice(written(SLICE("a\"b\\c\n/\x7f\xe4")), "\"a\\\"b\\\\c\\u000a/\\u007f\\u00e4\"");
    assert_slice(json_string(SLICE("\"\\b\\f\\n\\r\\t\\/\\\"\\\\\""), &arena), "\b\f\n\r\t/\"\\");
    assert_slice(json_string(SLICE("\"\\u20ac\\u00zz\\u\""), &arena), "???");
}

static void test_every_byte_comes_back(void **state)
{
    (void)state;
    char bytes[256];
    for (int i = 0; i < 256; i++) bytes[i] = (char)i;
    struct slice back = json_string(written(slice_of(bytes, 256)), &arena);
    assert_int_equal(back.n, 256);
    assert_memory_equal(back.p, bytes, 256);
}

static void test_what_is_no_string(void **state)
{
    (void)state;
    static const char *const wrong[] = { "", "\"", "a", "12", "\"a", "a\"", "\"a\"b", "\"\\\"" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_null(json_string(slice_str(wrong[i]), &arena).p);
}

static void test_members(void **state)
{
    (void)state;
    struct slice object =
        SLICE(" { \"a\" : 1 ,\n\"b\":{\"a\":[2,\"}\"]}, \"c\":\"x,\\\"y\" ,\"d\":null}");
    struct slice value;
    assert_true(json_member(object, "a", &value));
    assert_int_equal(json_integer(value, -1), 1);
    assert_true(json_member(object, "b", &value));
    assert_slice(value, "{\"a\":[2,\"}\"]}");
    assert_true(json_member(object, "c", &value));
    assert_slice(json_string(value, &arena), "x,\"y");
    assert_true(json_member(object, "d", &value));
    assert_slice(value, "null");
    assert_int_equal(json_integer(value, -7), -7);
    assert_false(json_member(object, "e", &value));
}

static void test_elements(void **state)
{
    (void)state;
    struct slice array = SLICE("[ [1,2] , {\"a\":3},\n\"]\" ]"), value;
    assert_true(json_next(&array, &value));
    assert_slice(value, "[1,2]");
    assert_true(json_next(&array, &value));
    assert_slice(value, "{\"a\":3}");
    assert_true(json_next(&array, &value));
    assert_slice(json_string(value, &arena), "]");
    assert_false(json_next(&array, &value));
    array = SLICE("[]");
    assert_false(json_next(&array, &value));
}

static void test_what_is_no_document(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",         "{",        "{}",        "[]",    "{\"a", "{\"a\"",           "{\"a\":",
        "{\"a\":}", "{\"a\":[", "{\"a\":\"", "{a:1}", "null", "{\"b\":1 \"a\":2}"
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct slice value, array = slice_str(wrong[i]);
        if (json_member(slice_str(wrong[i]), "a", &value)) fail_msg("%s", wrong[i]);
        if (json_next(&array, &value)) fail_msg("%s", wrong[i]);
    }
}

/* Cut anywhere, nothing is read beyond the end: each text is a block of its own. */
static void test_documents_that_are_cut(void **state)
{
    (void)state;
    struct slice whole = SLICE("{\"a\":[1,\"\\u0041\\\\\"],\"b\":{\"c\":-5}}");
    for (size_t n = 0; n < whole.n; n++) {
        char *copy = malloc(n + !n);
        memcpy(copy, whole.p, n);
        struct slice value;
        assert_false(json_member(slice_of(copy, n), "c", &value));
        if (json_member(slice_of(copy, n), "a", &value)) json_string(value, &arena);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_strings),
        TEST(test_every_byte_comes_back),
        TEST(test_what_is_no_string),
        TEST(test_members),
        TEST(test_elements),
        TEST(test_what_is_no_document),
        TEST(test_documents_that_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
