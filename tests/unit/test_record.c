/* record: what is written is read back; what is cut or made up is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "cache/record.h"
#include "tests/unit/with_arena.h"

static struct budget budget = { .limit_bytes = 1 << 20 };

static struct object *make_object(bool with_trailers)
{
    struct key key = { .text = SLICE("the key") };
    struct object *o = object_new(&key, &budget, 42, 65536);
    struct response head = { .status = 203, .length = LENGTH_UNKNOWN };
    struct freshness f = { .received_ms = 123456789, .lifetime_ms = 60000, .flags = 5 };
    fields_add(&head.fields, &arena, FIELD_ETAG, SLICE("\"x\""));
    fields_add_named(&head.fields, &arena, SLICE("X-Empty"), SLICE(""));
    fields_add_named(&head.fields, &arena, SLICE("Surrogate-Key"), SLICE("a b: c"));
    object_set_head(o, &head, &f, SLICE("Accept"), SLICE("accept: text"), AUDIENCE_REUSE);
    struct fields trailers = { 0 };
    fields_add_named(&trailers, &arena, SLICE("Digest"), SLICE("0123"));
    object_complete(o, with_trailers ? &trailers : NULL);
    return o;
}

static void assert_fields_equal(const struct fields *a, const struct fields *b)
{
    assert_int_equal(a->n, b->n);
    for (uint32_t i = 0; i < a->n; i++) {
        assert_true(slice_eq(a->v[i].name, b->v[i].name));
        assert_true(slice_eq(a->v[i].value, b->v[i].value));
        assert_int_equal(a->v[i].id, b->v[i].id);
    }
}

static void assert_read_back(bool with_trailers)
{
    struct object *o = make_object(with_trailers);
    size_t n = record_size(o);
    char *bytes = malloc(n);
    struct record r;
    record_write(o, bytes);
    assert_true(record_read(slice_of(bytes, n), &arena, &r));
    assert_true(slice_eq(r.key, SLICE("the key")));
    assert_int_equal(r.head.status, 203);
    assert_int_equal(r.head.length, LENGTH_UNKNOWN);
    assert_int_equal(r.purge_seq, 42);
    assert_memory_equal(&r.freshness, &o->freshness, sizeof r.freshness);
    assert_true(slice_eq(r.vary, SLICE("Accept")));
    assert_true(slice_eq(r.vary_key, SLICE("accept: text")));
    assert_fields_equal(&r.head.fields, &o->head.fields);
    assert_fields_equal(&r.trailers, &o->trailers);
    free(bytes);
    object_drop(&o);
}

static void test_read_back(void **state)
{
    (void)state;
    assert_read_back(false);
    assert_read_back(true);
}

static void test_cut_short_or_too_long(void **state)
{
    (void)state;
    struct object *o = make_object(true);
    size_t n = record_size(o);
    struct record r;
    char *bytes = calloc(1, n + 1);
    record_write(o, bytes);
    for (size_t i = 0; i < n; i++) {
        char *exact = malloc(i + 1);
        memcpy(exact, bytes, i);
        assert_false(record_read(slice_of(exact, i), &arena, &r));
        free(exact);
    }
    assert_false(record_read(slice_of(bytes, n + 1), &arena, &r));
    free(bytes);
    object_drop(&o);
}

/* Any byte may be another: it is refused, or read within its bounds. */
static void test_changed_bytes(void **state)
{
    (void)state;
    struct object *o = make_object(true);
    size_t n = record_size(o);
    struct record r;
    char *bytes = malloc(n);
    record_write(o, bytes);
    for (size_t i = 0; i < n; i++) {
        for (int change = 1; change < 256; change *= 2) {
            bytes[i] ^= (char)change;
            if (record_read(slice_of(bytes, n), &arena, &r))
                assert_true(r.head.fields.n + r.trailers.n <= n / 4);
            bytes[i] ^= (char)change;
        }
    }
    free(bytes);
    object_drop(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_read_back),
        TEST(test_cut_short_or_too_long),
        TEST(test_changed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
