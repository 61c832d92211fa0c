/* The tags of a response: words of Surrogate-Key, members of Cache-Tag. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cache/key.h"
#include "cache/tags.h"

static struct arena arena;

static void assert_tags(const struct fields *f, const char *const *wanted, unsigned count)
{
    uint64_t tags[TAGS_MAX];
    assert_int_equal(tags_of(f, tags), count);
    for (unsigned i = 0; i < count; i++) assert_int_equal(tags[i], key_hash(slice_str(wanted[i])));
}

static void test_both_fields_in_order(void **state)
{
    (void)state;
    struct fields f = { 0 };
    fields_add(&f, &arena, FIELD_SURROGATE_KEY, SLICE("all  shop/42 a,b"));
    fields_add(&f, &arena, FIELD_VARY, SLICE("x"));
    fields_add(&f, &arena, FIELD_CACHE_TAG, SLICE("one two , ,All"));
    fields_add(&f, &arena, FIELD_SURROGATE_KEY, SLICE("last"));
    assert_tags(&f, (const char *const[]){ "all", "shop/42", "a,b", "one two", "All", "last" }, 6);
}

static void test_none(void **state)
{
    (void)state;
    struct fields f = { 0 };
    assert_tags(&f, NULL, 0);
    fields_add(&f, &arena, FIELD_CACHE_TAG, SLICE(""));
    fields_add(&f, &arena, FIELD_SURROGATE_KEY, SLICE("   "));
    assert_tags(&f, NULL, 0);
}

static void test_no_more_than_there_is_room_for(void **state)
{
    (void)state;
    char text[2 * (TAGS_MAX + 10)];
    for (size_t i = 0; i < sizeof text; i++) text[i] = i % 2 ? ' ' : (char)('a' + i / 2 % 26);
    struct fields f = { 0 };
    fields_add(&f, &arena, FIELD_SURROGATE_KEY, slice_of(text, sizeof text));
    uint64_t tags[TAGS_MAX];
    assert_int_equal(tags_of(&f, tags), TAGS_MAX);
    assert_int_equal(tags[TAGS_MAX - 1], key_hash(slice_of(text + 2 * (TAGS_MAX - 1), 1)));
}

static int open_arena(void **state)
{
    (void)state;
    key_seed(1, 2);
    arena_init(&arena, 1024);
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_fields_in_order),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_no_more_than_there_is_room_for),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
