/* value: tokens, quoted strings, lists, parameters and numbers as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "protocols/http/value.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static void assert_text(struct slice s, const char *text)
{
    if (!slice_eq(s, slice_str(text))) fail_msg("got \"%.*s\", not \"%s\"", SLICE_ARGS(s), text);
}

/* Against the grammar's own wording, for every byte. */
static void characters_have_their_classes(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool letter = c < 128 && ((c | 32) >= 'a' && (c | 32) <= 'z'), digit = c >= '0' && c <= '9';
        bool visible = c > 32 && c < 127;
        char b = (char)c;
        assert_int_equal(char_is(b, CHAR_TOKEN),
                         letter || digit || (c && strchr("!#$%&'*+-.^_`|~", c)));
        assert_int_equal(char_is(b, CHAR_VALUE), visible || c >= 128 || c == ' ' || c == '\t');
        assert_int_equal(char_is(b, CHAR_ETAG), (visible && c != '"') || c >= 128);
        assert_int_equal(char_is(b, CHAR_DIGIT), digit);
        assert_int_equal(char_is(b, CHAR_HEX), digit || (c && strchr("abcdefABCDEF", c)));
        assert_int_equal(char_is(b, CHAR_UNRESERVED), letter || digit || (c && strchr("-._~", c)));
        assert_int_equal(char_is(b, CHAR_SUB_DELIM), c && strchr("!$&'()*+,;=", c));
    }
}

static void tokens_and_field_values(void **state)
{
    (void)state;
    assert_true(value_is_token(SLICE("X-Token!")));
    assert_false(value_is_token(SLICE("")));
    assert_false(value_is_token(SLICE("a b")));
    assert_false(value_is_token(SLICE("a:")));
    assert_true(value_is_field_value(SLICE("")));
    assert_true(value_is_field_value(SLICE("a\t\xe9 \"\\")));
    assert_false(value_is_field_value(SLICE("a\0")));
    assert_false(value_is_field_value(SLICE("a\r")));
    assert_false(value_is_field_value(SLICE("\na")));
    assert_false(value_is_field_value(SLICE("\x7f")));
    assert_false(value_is_field_value(SLICE("\x1b[1m")));
}

static void lists_split_outside_quotes(void **state)
{
    (void)state;
    static const struct {
        const char *list, *members[5];
    } rows[] = {
        { "", { NULL } },
        { " , ,\t,", { NULL } },
        { "a", { "a" } },
        { "a,b", { "a", "b" } },
        { ", a\t, ,b c ,", { "a", "b c" } },
        { "a=\"x, y\", b", { "a=\"x, y\"", "b" } },
        { "\"x\\\", y\", b", { "\"x\\\", y\"", "b" } },
        { "\"x\\\\\", y", { "\"x\\\\\"", "y" } },
        { "a, \"b, c", { "a", "\"b, c" } },
        { "a, \"b\\", { "a", "\"b\\" } },
        { "a;b=c, d", { "a;b=c", "d" } },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice rest = slice_str(rows[i].list), member;
        for (size_t j = 0; rows[i].members[j]; j++) {
            assert_true(value_next(&rest, &member));
            assert_text(member, rows[i].members[j]);
        }
        assert_false(value_next(&rest, &member));
    }
}

static void lists_split_at_other_separators(void **state)
{
    (void)state;
    struct slice rest = SLICE("a; q=\"x;y\" ;; b"), member;
    assert_true(value_next_split(&rest, ';', &member));
    assert_text(member, "a");
    assert_true(value_next_split(&rest, ';', &member));
    assert_text(member, "q=\"x;y\"");
    assert_true(value_next_split(&rest, ';', &member));
    assert_text(member, "b");
    assert_false(value_next_split(&rest, ';', &member));
}

static void list_membership_ignores_case(void **state)
{
    (void)state;
    assert_true(value_list_has(SLICE("a, Chunked"), SLICE("chunked")));
    assert_false(value_list_has(SLICE("a, chunkedx"), SLICE("chunked")));
    assert_false(value_list_has(SLICE_NONE, SLICE("chunked")));
}

static void quoted_strings_are_taken_whole_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *text, *inside, *rest; /* inside NULL: not taken */
    } rows[] = {
        { "\"\"", "", "" },
        { "\"a b\" c", "a b", " c" },
        { "\"a\\\"b\"", "a\\\"b", "" },
        { "\"a\\\\\"b\"", "a\\\\", "b\"" },
        { "\"\xe9\"", "\xe9", "" },
        { "", NULL, NULL },
        { "\"", NULL, NULL },
        { "a\"b\"", NULL, NULL },
        { "\"a", NULL, NULL },
        { "\"a\\\"", NULL, NULL },
        { "\"a\\", NULL, NULL },
        { "\"a\x01\"", NULL, NULL },
        { "\"a\\\x01\"", NULL, NULL },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice rest = slice_str(rows[i].text), inside;
        bool taken = value_take_quoted(&rest, &inside);
        if (taken != (rows[i].inside != NULL)) fail_msg("%s", rows[i].text);
        assert_text(rest, taken ? rows[i].rest : rows[i].text);
        if (taken) assert_text(inside, rows[i].inside);
    }
}

static void escapes_are_resolved(void **state)
{
    (void)state;
    char out[16];
    assert_text(slice_of(out, value_unquote(SLICE("a\\\"b\\\\c"), out)), "a\"b\\c");
    assert_text(slice_of(out, value_unquote(SLICE("a\\"), out)), "a\\");
    assert_text(slice_of(out, value_unquote(SLICE(""), out)), "");
}

static void parameters(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name, *value; /* name NULL: malformed; value NULL: none */
    } rows[] = {
        { "a", "a", NULL },      { "a=b", "a", "b" },        { "a=\"b c\"", "a", "b c" },
        { "a=\"\"", "a", "" },   { "a=", NULL, NULL },       { "=b", NULL, NULL },
        { "", NULL, NULL },      { "a =b", NULL, NULL },     { "a= b", NULL, NULL },
        { "a=b c", NULL, NULL }, { "a=\"b\"c", NULL, NULL }, { "a=\"b", NULL, NULL },
        { "a;b", NULL, NULL },   { "a=b=c", NULL, NULL },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice name, value;
        bool ok = value_parse_parameter(slice_str(rows[i].text), &name, &value);
        if (ok != (rows[i].name != NULL)) fail_msg("%s", rows[i].text);
        if (!ok) continue;
        assert_text(name, rows[i].name);
        assert_int_equal(value.p != NULL, rows[i].value != NULL);
        if (rows[i].value) assert_text(value, rows[i].value);
    }
}

static void numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds, exact;
    } rows[] = {
        { "0", 0, 0 },
        { "007", 7, 7 },
        { "2147483647", 2147483647, 2147483647 },
        { "2147483648", 2147483648, 2147483648 },
        { "2147483649", 2147483648, 2147483649 },
        { "9223372036854775807", 2147483648, INT64_MAX },
        { "9223372036854775808", 2147483648, -1 },
        { "99999999999999999999999999999999999999", 2147483648, -1 },
        { "", -1, -1 },
        { "-1", -1, -1 },
        { "+1", -1, -1 },
        { "1.0", -1, -1 },
        { "1 ", -1, -1 },
        { "0x1", -1, -1 },
        { "99999999999999999999999999999999999999x", -1, -1 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_true(value_delta_seconds(slice_str(rows[i].text)) == rows[i].seconds);
        assert_true(value_int64(slice_str(rows[i].text)) == rows[i].exact);
    }
}

static void qualities(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int thousandths;
    } rows[] = {
        { "0", 0 },     { "1", 1000 },    { "0.", 0 },       { "1.", 1000 },  { "0.5", 500 },
        { "0.05", 50 }, { "0.123", 123 }, { "1.000", 1000 }, { "1.001", -1 }, { "0.1234", -1 },
        { "2", -1 },    { "", -1 },       { ".5", -1 },      { "-1", -1 },    { "0,5", -1 },
        { "0.5x", -1 }, { "10", -1 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(value_quality(slice_str(rows[i].text)), rows[i].thousandths);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_have_their_classes),
        cmocka_unit_test(tokens_and_field_values),
        cmocka_unit_test(lists_split_outside_quotes),
        cmocka_unit_test(lists_split_at_other_separators),
        cmocka_unit_test(list_membership_ignores_case),
        cmocka_unit_test(quoted_strings_are_taken_whole_or_not),
        cmocka_unit_test(escapes_are_resolved),
        cmocka_unit_test(parameters),
        cmocka_unit_test(numbers),
        cmocka_unit_test(qualities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
