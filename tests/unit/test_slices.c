/* slices: which slice holds what, how it is asked for, and which responses are taken for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cache/key.h"
#include "cache/slices.h"

#define SIZE ((size_t)64 << 10)

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

/* ---- where ---- */

static void slices_cover_every_byte_once(void **state)
{
    (void)state;
    static const uint64_t lengths[] = { 1, SIZE - 1, SIZE, SIZE + 1, 10 * SIZE, 10 * SIZE + 7 };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint64_t at = 0;
        for (uint32_t n = 0; at < lengths[i]; n++) {
            uint64_t end = slices_end(n, SIZE, lengths[i]);
            assert_int_equal(slices_number(at, SIZE), n);
            assert_int_equal(slices_number(end - 1, SIZE), n);
            assert_true(end - at == SIZE || end == lengths[i]);
            at = end;
        }
        assert_int_equal(at, lengths[i]);
    }
}

static void the_last_number_does_not_overflow(void **state)
{
    (void)state;
    size_t largest = (size_t)64 << 20;
    assert_true(slices_end(SLICES_MAX, largest, UINT64_MAX) == (uint64_t)UINT32_MAX * largest);
    assert_true(slices_number(INT64_MAX, SIZE) > SLICES_MAX);
}

/* ---- asking ---- */

static void a_request_for_one_slice(void **state)
{
    (void)state;
    struct request from = { .method = METHOD_GET }, out;
    fields_add(&from.fields, &arena, FIELD_RANGE, SLICE("bytes=-7"));
    fields_add_named(&from.fields, &arena, SLICE("X-One"), SLICE("1"));
    fields_add(&from.fields, &arena, FIELD_IF_RANGE, SLICE("\"a\""));
    slices_ask(&from, 3, SIZE, &arena, &out);
    assert_int_equal(from.fields.n, 3);
    assert_int_equal(out.fields.n, 2);
    assert_true(slice_eq(out.fields.v[0].name, SLICE("X-One")));
    assert_true(slice_eq(fields_value(&out.fields, FIELD_RANGE), SLICE("bytes=196608-262143")));
}

static void a_key_for_one_slice(void **state)
{
    (void)state;
    struct slice text = SLICE("4:http 7 spaces");
    struct key key = { .hash = key_hash(text), .text = text, .target = SLICE("/a") };
    struct key first, last, back;
    key_slice(&key, 0, &arena, &first);
    key_slice(&key, SLICES_MAX, &arena, &last);
    assert_false(slice_eq(first.text, last.text));
    assert_int_equal(first.slice, 1);
    assert_int_equal(last.slice, UINT32_MAX);
    assert_true(slice_eq(last.target, key.target));
    key_whole(&last, &back);
    assert_true(slice_eq(back.text, text));
    assert_true(back.hash == key.hash);
    assert_int_equal(back.slice, 0);
}

/* ---- judging ---- */

static struct response response(int status, const char *range, const char *etag, int64_t length)
{
    struct response r = { .status = status, .length = length };
    if (range) fields_add(&r.fields, &arena, FIELD_CONTENT_RANGE, slice_str(range));
    if (etag) fields_add(&r.fields, &arena, FIELD_ETAG, slice_str(etag));
    return r;
}

static void only_the_slice_that_was_asked_for_is_read(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *range, *etag;
        int64_t length;
        bool good;
    } rows[] = {
        { 206, "bytes 65536-131071/200000", "\"a\"", 65536, true },
        { 206, "bytes 65536-99999/100000", "\"a\"", 34464, true },
        { 206, "bytes 65536-65536/65537", "\"a\"", 1, true },
        { 200, "bytes 65536-131071/200000", "\"a\"", 65536, false },
        { 206, "bytes 65536-131071/200000", "W/\"a\"", 65536, false },
        { 206, "bytes 65536-131071/200000", "a", 65536, false },
        { 206, "bytes 65536-131071/200000", NULL, 65536, false },
        { 206, "bytes 65536-131071/200000", "\"a\"", 65535, false },
        { 206, "bytes 65536-131071/200000", "\"a\"", LENGTH_UNKNOWN, false },
        { 206, "bytes 65536-131071/*", "\"a\"", 65536, false },
        { 206, "bytes 65536-131070/200000", "\"a\"", 65535, false },
        { 206, "bytes 65537-131071/200000", "\"a\"", 65535, false },
        { 206, "bytes 0-65535/200000", "\"a\"", 65536, false },
        { 206, "bytes */200000", "\"a\"", 0, false },
        { 206, NULL, "\"a\"", 65536, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct representation of;
        struct response r = response(rows[i].status, rows[i].range, rows[i].etag, rows[i].length);
        if (slices_read(&r, 1, SIZE, &of) != rows[i].good) fail_msg("row %zu", i);
    }
}

static void what_is_put_together_is_of_one_representation(void **state)
{
    (void)state;
    struct representation a, b;
    struct response first = response(206, "bytes 0-65535/200000", "\"a\"", 65536);
    struct response last = response(206, "bytes 196608-199999/200000", "\"a\"", 3392);
    struct response other_tag = response(206, "bytes 0-65535/200000", "\"b\"", 65536);
    struct response longer = response(206, "bytes 0-65535/200001", "\"a\"", 65536);
    struct response coded = response(206, "bytes 0-65535/200000", "\"a\"", 65536);
    fields_add(&coded.fields, &arena, FIELD_CONTENT_ENCODING, SLICE("gzip"));
    assert_true(slices_read(&first, 0, SIZE, &a));
    assert_int_equal(a.length, 200000);
    assert_true(slices_read(&last, 3, SIZE, &b) && representation_equal(&a, &b));
    assert_true(slices_read(&other_tag, 0, SIZE, &b) && !representation_equal(&a, &b));
    assert_true(slices_read(&longer, 0, SIZE, &b) && !representation_equal(&a, &b));
    assert_true(slices_read(&coded, 0, SIZE, &b) && !representation_equal(&a, &b));
}

static void a_whole_is_told_by_the_same(void **state)
{
    (void)state;
    struct representation of;
    struct response whole = response(200, NULL, "\"a\"", 200000);
    struct response weak = response(200, NULL, "W/\"a\"", 200000);
    struct response endless = response(200, NULL, "\"a\"", LENGTH_UNKNOWN);
    struct response other = response(404, NULL, "\"a\"", 200000);
    assert_true(slices_read_whole(&whole, &of));
    assert_int_equal(of.length, 200000);
    assert_true(slice_eq(of.etag, SLICE("a")));
    assert_false(slices_read_whole(&weak, &of) || slices_read_whole(&endless, &of) ||
                 slices_read_whole(&other, &of));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_cover_every_byte_once),
        cmocka_unit_test(the_last_number_does_not_overflow),
        cmocka_unit_test(a_request_for_one_slice),
        cmocka_unit_test(a_key_for_one_slice),
        cmocka_unit_test(only_the_slice_that_was_asked_for_is_read),
        cmocka_unit_test(a_whole_is_told_by_the_same),
        cmocka_unit_test(what_is_put_together_is_of_one_representation),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
