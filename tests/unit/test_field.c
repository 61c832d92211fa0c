/* field: lookup of every known name, lists of lines, hop-by-hop removal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "protocols/http/field.h"

#define assert_slice(s, text) assert_true(slice_eq((s), SLICE(text)))

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

static struct fields lines(const char *const *text)
{
    struct fields f = { 0 };
    for (; text[0]; text += 2) fields_add_named(&f, &arena, slice_str(text[0]), slice_str(text[1]));
    return f;
}

#define LINES(...) lines((const char *const[]){ __VA_ARGS__, NULL })

static void each_known_name_is_found_in_any_case(void **state)
{
    (void)state;
    for (unsigned id = 1; id < FIELD_COUNT; id++) {
        char lower[64], upper[64];
        struct slice name = field_name(id);
        for (size_t i = 0; i < name.n; i++) {
            lower[i] = ascii_lower(name.p[i]);
            bool letter = lower[i] >= 'a' && lower[i] <= 'z';
            upper[i] = letter ? (char)(lower[i] - 32) : lower[i];
        }
        assert_int_equal(field_lookup(name), id);
        assert_int_equal(field_lookup(slice_of(lower, name.n)), id);
        assert_int_equal(field_lookup(slice_of(upper, name.n)), id);
    }
}

/* Every known name with one byte changed to every other value, or cut, is not that name. */
static void near_misses_are_other(void **state)
{
    (void)state;
    for (unsigned id = 1; id < FIELD_COUNT; id++) {
        char text[64];
        struct slice name = field_name(id);
        for (size_t i = 0; i < name.n; i++) {
            memcpy(text, name.p, name.n);
            for (int c = 0; c < 256; c++) {
                text[i] = (char)c;
                bool same = ascii_lower((char)c) == ascii_lower(name.p[i]);
                assert_int_equal(field_lookup(slice_of(text, name.n)) == id, same);
            }
        }
        assert_int_not_equal(field_lookup(slice_of(name.p, name.n - 1)), id);
    }
    assert_int_equal(field_lookup(SLICE("")), FIELD_OTHER);
    assert_int_equal(field_lookup(SLICE("Sec-Fetch-Mode")), FIELD_OTHER);
}

static void flags_come_from_the_table(void **state)
{
    (void)state;
    assert_int_equal(field_flags(FIELD_OTHER), 0);
    assert_int_equal(field_flags(FIELD_KEEP_ALIVE), FIELD_HOP);
    assert_int_equal(field_flags(FIELD_TRANSFER_ENCODING), FIELD_HOP | FIELD_FRAMING | FIELD_LIST);
    assert_int_equal(field_flags(FIELD_AGE), FIELD_SINGLE | FIELD_END);
}

static void lines_are_found_by_id_and_name(void **state)
{
    (void)state;
    struct fields f = LINES("Vary", "a", "X-One", "1", "vary", "b", "x-one", "2");
    assert_slice(fields_value(&f, FIELD_VARY), "a");
    assert_null(fields_value(&f, FIELD_AGE).p);
    assert_true(fields_has(&f, FIELD_VARY));
    assert_false(fields_has(&f, FIELD_AGE));
    assert_int_equal(fields_count(&f, FIELD_VARY), 2);
    assert_slice(fields_get_named(&f, SLICE("X-ONE"))->value, "1");
    assert_slice(fields_get_named(&f, SLICE("VARY"))->value, "a");
    assert_null(fields_get_named(&f, SLICE("x-two")));
}

static void joining_several_lines(void **state)
{
    (void)state;
    struct fields f = LINES("Vary", "a", "X-One", "1", "Vary", "", "x-one", "2", "Vary", "b, c");
    assert_slice(fields_joined(&f, FIELD_VARY, &arena), "a, , b, c");
    assert_slice(fields_joined_named(&f, SLICE("X-ONE"), &arena), "1, 2");
    assert_null(fields_joined(&f, FIELD_AGE, &arena).p);
    assert_null(fields_joined_named(&f, SLICE("x-two"), &arena).p);
}

static void one_line_is_joined_without_a_copy(void **state)
{
    (void)state;
    struct fields f = LINES("Vary", "a");
    assert_ptr_equal(fields_joined(&f, FIELD_VARY, &arena).p, f.v[0].value.p);
}

static void removing_keeps_the_order_of_the_others(void **state)
{
    (void)state;
    struct fields f = LINES("A", "1", "Vary", "x", "B", "2", "a", "3", "Vary", "y", "C", "4");
    fields_remove(&f, FIELD_VARY);
    fields_remove_named(&f, SLICE("a"));
    assert_int_equal(f.n, 2);
    assert_slice(f.v[0].name, "B");
    assert_slice(f.v[1].name, "C");
    fields_set(&f, &arena, FIELD_AGE, SLICE("1"));
    fields_set(&f, &arena, FIELD_AGE, SLICE("2"));
    assert_int_equal(f.n, 3);
    assert_slice(f.v[2].name, "Age");
    assert_slice(f.v[2].value, "2");
}

static void a_list_grows(void **state)
{
    (void)state;
    struct fields f = { 0 };
    char text[1000];
    for (size_t i = 0; i < sizeof text; i++) fields_add(&f, &arena, FIELD_LINK, slice_of(text, i));
    assert_int_equal(f.n, sizeof text);
    for (size_t i = 0; i < sizeof text; i++) assert_int_equal(f.v[i].value.n, i);
}

static void hop_by_hop_fields_go(void **state)
{
    (void)state;
    struct fields f = LINES("Connection", "close, X-Named, ,Server", "X-Named", "1", "Keep-Alive",
                            "x", "TE", "trailers", "Upgrade", "h2c", "Proxy-Connection", "x",
                            "x-named", "2", "X-Other", "3", "Server", "s", "connection",
                            "Keep-Alive, x-second", "X-Second", "4", "Proxy-Authorization", "p");
    fields_remove_hop_by_hop(&f);
    assert_int_equal(f.n, 2);
    assert_slice(f.v[0].name, "X-Other");
    assert_slice(f.v[1].name, "Proxy-Authorization");
}

static void connection_cannot_name_end_to_end_fields(void **state)
{
    (void)state;
    struct fields f =
        LINES("Connection", "Cache-Control, Age, Authorization, X-Forwarded-For, Connection",
              "Cache-Control", "private", "Age", "1", "Authorization", "a", "X-Forwarded-For",
              "192.0.2.1", "X-Private", "z");
    fields_remove_hop_by_hop(&f);
    assert_int_equal(f.n, 5);
    assert_slice(f.v[0].name, "Cache-Control");
    assert_slice(f.v[4].name, "X-Private");
}

/* The name "X-Hop: <options>" must not itself be read as options once it has been marked. */
static void a_named_field_is_not_read_as_connection(void **state)
{
    (void)state;
    struct fields f = LINES("Connection", "X-Hop", "X-Hop", "X-Stays", "X-Stays", "1");
    fields_remove_hop_by_hop(&f);
    assert_int_equal(f.n, 1);
    assert_slice(f.v[0].name, "X-Stays");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_known_name_is_found_in_any_case),
        cmocka_unit_test(near_misses_are_other),
        cmocka_unit_test(flags_come_from_the_table),
        cmocka_unit_test(lines_are_found_by_id_and_name),
        cmocka_unit_test(joining_several_lines),
        cmocka_unit_test(one_line_is_joined_without_a_copy),
        cmocka_unit_test(removing_keeps_the_order_of_the_others),
        cmocka_unit_test(a_list_grows),
        cmocka_unit_test(hop_by_hop_fields_go),
        cmocka_unit_test(connection_cannot_name_end_to_end_fields),
        cmocka_unit_test(a_named_field_is_not_read_as_connection),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
