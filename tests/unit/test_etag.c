/* etag: parsing, both comparisons, and preconditions against a stored response as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "protocols/http/etag.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

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

static void tags_are_parsed_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *text, *opaque; /* NULL: not a tag */
        bool weak;
    } rows[] = {
        { "\"a\"", "a", false },     { "\"\"", "", false },       { "W/\"a\"", "a", true },
        { "\"a,b\"", "a,b", false }, { "\"a\\\"", "a\\", false }, { "\"\xe9\"", "\xe9", false },
        { "a", NULL, false },        { "", NULL, false },         { "\"", NULL, false },
        { "\"a", NULL, false },      { "a\"", NULL, false },      { "w/\"a\"", NULL, false },
        { "W/a", NULL, false },      { "W/", NULL, false },       { "W", NULL, false },
        { "\"a b\"", NULL, false },  { "\"a\" ", NULL, false },   { "\"a\", \"b\"", NULL, false },
        { "W/ \"a\"", NULL, false }, { "*", NULL, false },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct etag tag;
        bool ok = etag_parse(slice_str(rows[i].text), &tag);
        if (ok != (rows[i].opaque != NULL)) fail_msg("%s", rows[i].text);
        if (!ok) continue;
        assert_true(slice_eq(tag.opaque, slice_str(rows[i].opaque)));
        assert_int_equal(tag.weak, rows[i].weak);
    }
}

/* The table of RFC 9110 section 8.8.3.2. */
static void both_comparisons(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool strong, weak;
    } rows[] = {
        { "W/\"1\"", "W/\"1\"", false, true }, { "W/\"1\"", "W/\"2\"", false, false },
        { "W/\"1\"", "\"1\"", false, true },   { "\"1\"", "\"1\"", true, true },
        { "\"1\"", "\"2\"", false, false },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct etag a, b;
        assert_true(etag_parse(slice_str(rows[i].a), &a) && etag_parse(slice_str(rows[i].b), &b));
        assert_int_equal(etag_equal_strong(a, b), rows[i].strong);
        assert_int_equal(etag_equal_strong(b, a), rows[i].strong);
        assert_int_equal(etag_equal_weak(a, b), rows[i].weak);
    }
}

#define DAY(n) "Thu, 0" n " Jan 1970 00:00:00 GMT"

/* Stored: an entity tag (or NULL) and Last-Modified on 3 January (or not), Date on 5 January. */
struct row {
    enum precondition expected;
    const char *etag;
    bool modified;
    enum field_id id[2];
    const char *value[2];
};

static enum precondition evaluate(const struct row *r, enum method method, int status)
{
    struct request req = { .method = method };
    struct response stored = { .status = status };
    fields_add(&stored.fields, &arena, FIELD_DATE, SLICE(DAY("5")));
    if (r->etag) fields_add(&stored.fields, &arena, FIELD_ETAG, slice_str(r->etag));
    if (r->modified) fields_add(&stored.fields, &arena, FIELD_LAST_MODIFIED, SLICE(DAY("3")));
    for (int i = 0; i < 2 && r->value[i]; i++) {
        fields_add(&req.fields, &arena, r->id[i], slice_str(r->value[i]));
    }
    return precondition_evaluate(&req, &stored);
}

#define PASS   PRECONDITION_PASS
#define SAME   PRECONDITION_NOT_MODIFIED
#define FAILED PRECONDITION_FAILED
#define INM    FIELD_IF_NONE_MATCH
#define IM     FIELD_IF_MATCH
#define IMS    FIELD_IF_MODIFIED_SINCE
#define IUS    FIELD_IF_UNMODIFIED_SINCE

static const struct row rows[] = {
    { PASS, "\"a\"", true, { 0 }, { NULL } },
    { SAME, "\"a\"", true, { INM }, { "\"a\"" } },
    { SAME, "\"a\"", true, { INM }, { "W/\"a\"" } },
    { SAME, "W/\"a\"", true, { INM }, { "\"a\"" } },
    { PASS, "\"a\"", true, { INM }, { "\"b\"" } },
    { SAME, "\"a\"", true, { INM }, { "\"b\", \"c\" ,\"a\"" } },
    { SAME, "\"a\"", true, { INM }, { "\"b\",,\"a\"" } },
    { SAME, "\"a,b\"", true, { INM }, { "\"x\", \"a,b\"" } },
    { SAME, "\"a\"", true, { INM }, { "\"b\\\", \"a\"" } },
    { SAME, "\"a\"", true, { INM }, { "junk, \"a\"" } },
    { PASS, "\"a\"", true, { INM }, { "a" } },
    { PASS, "\"a\"", true, { INM }, { "\"a" } },
    { PASS, "\"a\"", true, { INM }, { "" } },
    { SAME, "\"a\"", true, { INM, INM }, { "\"b\"", "\"a\"" } },
    { SAME, "\"a\"", true, { INM }, { "*" } },
    { SAME, NULL, true, { INM }, { "*" } },
    { PASS, NULL, true, { INM }, { "\"a\"" } },
    { PASS, "a", true, { INM }, { "a" } },
    { SAME, NULL, true, { IMS }, { DAY("3") } },
    { SAME, NULL, true, { IMS }, { DAY("4") } },
    { PASS, NULL, true, { IMS }, { DAY("2") } },
    { PASS, NULL, true, { IMS }, { "garbage" } },
    { SAME, NULL, true, { IMS }, { "Saturday, 03-Jan-70 00:00:00 GMT" } },
    { SAME, NULL, false, { IMS }, { DAY("5") } },
    { PASS, NULL, false, { IMS }, { DAY("4") } },
    { PASS, "\"a\"", true, { INM, IMS }, { "\"b\"", DAY("4") } },
    { SAME, "\"a\"", true, { IMS, INM }, { DAY("2"), "\"a\"" } },
    { PASS, "\"a\"", true, { IM }, { "\"a\"" } },
    { PASS, "\"a\"", true, { IM }, { "\"b\", \"a\"" } },
    { PASS, "\"a\"", true, { IM }, { "*" } },
    { FAILED, "\"a\"", true, { IM }, { "\"b\"" } },
    { FAILED, "\"a\"", true, { IM }, { "W/\"a\"" } },
    { FAILED, "W/\"a\"", true, { IM }, { "W/\"a\"" } },
    { FAILED, NULL, true, { IM }, { "\"a\"" } },
    { SAME, "\"a\"", true, { IM, INM }, { "\"a\"", "\"a\"" } },
    { FAILED, "\"a\"", true, { INM, IM }, { "\"a\"", "\"b\"" } },
    { PASS, NULL, true, { IUS }, { DAY("3") } },
    { FAILED, NULL, true, { IUS }, { DAY("2") } },
    { PASS, NULL, true, { IUS }, { "garbage" } },
    { PASS, NULL, false, { IUS }, { DAY("2") } },
    { PASS, "\"a\"", true, { IUS, IM }, { DAY("2"), "\"a\"" } },
    { SAME, NULL, true, { IUS, IMS }, { DAY("4"), DAY("4") } },
};

static void preconditions_in_their_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum precondition got = evaluate(&rows[i], METHOD_GET, 200);
        if (got != rows[i].expected) fail_msg("row %zu (%s): %d", i, rows[i].value[0], got);
        assert_int_equal(evaluate(&rows[i], METHOD_HEAD, 200), got);
        assert_int_equal(evaluate(&rows[i], METHOD_GET, 404), PASS);
    }
}

static void other_methods_fail_where_a_get_is_not_modified(void **state)
{
    (void)state;
    struct row tagged = { FAILED, "\"a\"", true, { INM }, { "\"a\"" } };
    struct row dated = { PASS, "\"a\"", true, { IMS }, { DAY("4") } };
    assert_int_equal(evaluate(&tagged, METHOD_PUT, 200), tagged.expected);
    assert_int_equal(evaluate(&dated, METHOD_PUT, 200), dated.expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_parsed_strictly),
        cmocka_unit_test(both_comparisons),
        cmocka_unit_test(preconditions_in_their_order),
        cmocka_unit_test(other_methods_fail_where_a_get_is_not_modified),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
