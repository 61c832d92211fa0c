/* cache_control: plain, request and targeted forms; the structured dictionaries below the last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "protocols/http/cache_control.h"
#include "protocols/http/structured.h"
#include "protocols/http/value.h"

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

/* One or two lines; NULL: none. */
static struct fields lines(enum field_id id, const char *first, const char *second)
{
    struct fields f = { 0 };
    fields_add(&f, &arena, FIELD_SERVER, SLICE("max-age=1, no-store"));
    if (first) fields_add(&f, &arena, id, slice_str(first));
    if (second) fields_add(&f, &arena, id, slice_str(second));
    return f;
}

static struct cache_control parsed(const char *first, const char *second)
{
    struct cache_control c;
    struct fields f = lines(FIELD_CACHE_CONTROL, first, second);
    assert_int_equal(cache_control_parse(&f, FIELD_CACHE_CONTROL, &c), first != NULL);
    return c;
}

static void nothing_is_absent(void **state)
{
    (void)state;
    struct cache_control c = parsed(NULL, NULL);
    assert_int_equal(c.flags, 0);
    for (int i = 0; i < CC_SECONDS_COUNT; i++) assert_int_equal(c.seconds[i], -1);
    assert_null(c.no_cache_fields.p);
    assert_null(c.private_fields.p);
}

static void switches(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        unsigned flags;
    } rows[] = {
        { "no-store", CC_NO_STORE },
        { "NO-store", CC_NO_STORE },
        { "no-cache", CC_NO_CACHE },
        { "private", CC_PRIVATE },
        { "public", CC_PUBLIC },
        { "must-revalidate", CC_MUST_REVALIDATE },
        { "proxy-revalidate", CC_PROXY_REVALIDATE },
        { "must-understand", CC_MUST_UNDERSTAND },
        { "immutable", CC_IMMUTABLE },
        { "only-if-cached", CC_ONLY_IF_CACHED },
        { "no-transform", CC_NO_TRANSFORM },
        { "public, no-store,, immutable", CC_PUBLIC | CC_NO_STORE | CC_IMMUTABLE },
        { "no-storex, xno-store, no_store", 0 },
        { "x=\"no-store, public\"", 0 },
        { "x=\"y\\\", no-store\"", 0 },
        /* Malformed: what it restricts counts, what it allows does not. */
        { "x=\"y, no-store", CC_NO_STORE },
        { "x=\"y\\\", no-store", CC_NO_STORE },
        { "\"x, no-store", CC_NO_STORE },
        { "public private, immutable", CC_PRIVATE | CC_IMMUTABLE },
        { "private=\"a, b", CC_PRIVATE },
        { "private='a'", CC_PRIVATE },
        { "no-cache='a, b'", CC_NO_CACHE },
        { "private=\"a b\"", CC_PRIVATE },
        { "'no-store'", CC_NO_STORE },
        { "\"private\"", CC_PRIVATE },
        { "max-age=60; private; public", CC_PRIVATE },
        { "x=y z=no-cache", CC_NO_CACHE },
        { "must-understand x", 0 },
        { "immutable;", 0 },
        { "x=private", 0 },
        { "x no-store-at-all xprivate no_cache", 0 },
        { "no-store=1", CC_NO_STORE },
        { "no-store x", CC_NO_STORE },
        { "private=", CC_PRIVATE },
        { "no-cache=\"\"", CC_NO_CACHE },
        { "no-cache=\"a\\\"b\"", CC_NO_CACHE },
        { "no-cache=\"a\", no-cache=\"b\"", CC_NO_CACHE },
        { "no-cache=\"a\", no-cache", CC_NO_CACHE },
        { "no-cache=\"a\", no-cache=\"a\"", 0 },
        { "private=a", 0 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct cache_control c = parsed(rows[i].value, NULL);
        if (c.flags != rows[i].flags) fail_msg("%s: %x", rows[i].value, c.flags);
    }
}

static void field_names_are_kept(void **state)
{
    (void)state;
    struct cache_control c = parsed("no-cache=\"a, b\"", "private=c");
    assert_true(slice_eq(c.no_cache_fields, SLICE("a, b")));
    assert_true(slice_eq(c.private_fields, SLICE("c")));
    assert_int_equal(c.flags, 0);
}

static void seconds(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second;
        enum cache_control_seconds which;
        int64_t seconds;
    } rows[] = {
        { "max-age=60", NULL, CC_MAX_AGE, 60 },
        { "max-age=\"60\"", NULL, CC_MAX_AGE, 60 },
        { "max-age=60", "max-age=5", CC_MAX_AGE, 5 },
        { "max-age=5", "max-age=60", CC_MAX_AGE, 5 },
        { "max-age=5, max-age=x", NULL, CC_MAX_AGE, 0 },
        { "max-age", NULL, CC_MAX_AGE, 0 },
        { "s-maxage=x", NULL, CC_S_MAXAGE, 0 },
        { "max-age=60; public", NULL, CC_MAX_AGE, 0 },
        { "max-age =60", NULL, CC_MAX_AGE, 0 },
        { "x=\"y, max-age=5", NULL, CC_MAX_AGE, 5 },
        { "x y; stale-if-error=7", NULL, CC_STALE_IF_ERROR, -1 },
        { "x y; max-stale", NULL, CC_MAX_STALE, -1 },
        { "s-maxage=4294967296", NULL, CC_S_MAXAGE, DELTA_SECONDS_MAX },
        { "stale-while-revalidate=7", NULL, CC_STALE_WHILE_REVALIDATE, 7 },
        { "stale-while-revalidate", NULL, CC_STALE_WHILE_REVALIDATE, -1 },
        { "stale-if-error=7, stale-if-error=8", NULL, CC_STALE_IF_ERROR, 7 },
        { "stale-if-error=7, stale-if-error=x", NULL, CC_STALE_IF_ERROR, 7 },
        { "max-stale", NULL, CC_MAX_STALE, DELTA_SECONDS_MAX },
        { "max-stale=7, max-stale", NULL, CC_MAX_STALE, 7 },
        { "max-stale=x", NULL, CC_MAX_STALE, -1 },
        { "min-fresh=7", "min-fresh=8", CC_MIN_FRESH, 8 },
        { "min-fresh", NULL, CC_MIN_FRESH, -1 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct cache_control c = parsed(rows[i].first, rows[i].second);
        if (c.seconds[rows[i].which] != rows[i].seconds) fail_msg("%s", rows[i].first);
        assert_int_equal(cache_control_has(&c, rows[i].which), rows[i].seconds >= 0);
    }
}

static void pragma_counts_without_cache_control(void **state)
{
    (void)state;
    struct cache_control c;
    struct fields f = lines(FIELD_PRAGMA, "x, no-cache", NULL);
    assert_true(cache_control_parse_request(&f, &c));
    assert_int_equal(c.flags, CC_NO_CACHE);
    fields_add(&f, &arena, FIELD_CACHE_CONTROL, SLICE(""));
    assert_true(cache_control_parse_request(&f, &c));
    assert_int_equal(c.flags, 0);
    f = lines(FIELD_PRAGMA, NULL, NULL);
    assert_false(cache_control_parse_request(&f, &c));
}

static void a_targeted_field_counts_wholly_or_not_at_all(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second;
        bool counts;
        unsigned flags;
        int64_t max_age;
    } rows[] = {
        { "max-age=60, no-store", NULL, true, CC_NO_STORE, 60 },
        { "max-age=60", "public", true, CC_PUBLIC, 60 },
        { "max-age=1, max-age=60", NULL, true, 0, 60 },
        { "private, private=?0", NULL, true, 0, -1 },
        { "private=x, private=\"y\"", NULL, true, 0, -1 },
        { "no-cache=5", NULL, true, CC_NO_CACHE, -1 },
        { "unknown", NULL, true, 0, -1 },
        { "", "max-age=60", true, 0, 60 },
        { NULL, NULL, false, 0, 0 },
        { "", NULL, false, 0, 0 },
        { "max-age=60", "public,", false, 0, 0 },
        { "max-age=60, PUBLIC", NULL, false, 0, 0 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct cache_control c;
        struct fields f = lines(FIELD_CDN_CACHE_CONTROL, rows[i].first, rows[i].second);
        bool counts = cache_control_parse_targeted(&f, FIELD_CDN_CACHE_CONTROL, &c);
        if (counts != rows[i].counts) fail_msg("%s", rows[i].first);
        if (!counts) continue;
        assert_int_equal(c.flags, rows[i].flags);
        assert_int_equal(c.seconds[CC_MAX_AGE], rows[i].max_age);
    }
}

/* Members of a dictionary as "key type" words; "!" where it is malformed. */
static void structured_dictionaries(void **state)
{
    (void)state;
    static const struct {
        const char *text, *members;
    } rows[] = {
        { "", "" },
        { "   ", "" },
        { "a", "a:boolean=1 " },
        { "a=?0, b=?1", "a:boolean=0 b:boolean=1 " },
        { "a=1,b=-2,*c=999999999999999", "a:integer=1 b:integer=-2 *c:integer=999999999999999 " },
        { "a=1.5", "a:decimal " },
        { "a=\"x\\\"y\"", "a:string=x\\\"y " },
        { "a=x/y:z*, b=*", "a:token=x/y:z* b:token=* " },
        { "a=:aGk=:", "a:bytes " },
        { "a=@1659578233", "a:date " },
        { "a=%\"f%c3%bc\"", "a:display " },
        { "a=(1 \"b\";c=1  d)", "a:list " },
        { "a=(), b;x=1;y ; z=\"q\"", "a:list !" },
        { "a;x=1; y=\"q\",b", "a:boolean=1 b:boolean=1 " },
        { "a \t,\t b", "a:boolean=1 b:boolean=1 " },
        { "a,", "!" },
        { ",a", "!" },
        { "a,,b", "a:boolean=1 !" },
        { "a b", "!" },
        { "A", "!" },
        { "aB", "!" },
        { "1a", "!" },
        { "a=", "!" },
        { "a= 1", "!" },
        { "a =1", "!" },
        { "a=&", "!" },
        { "a=-", "!" },
        { "a=1.", "!" },
        { "a=1.2345", "!" },
        { "a=1234567890123.1", "!" },
        { "a=1234567890123456", "!" },
        { "a=?2", "!" },
        { "a=?", "!" },
        { "a=\"x", "!" },
        { "a=\"x\\y\"", "!" },
        { "a=\"x\\", "!" },
        { "a=\"\xe9\"", "!" },
        { "a=\"\t\"", "!" },
        { "a=:!:", "!" },
        { "a=:aa", "!" },
        { "a=@1.5", "!" },
        { "a=%x", "!" },
        { "a=%\"%z1\"", "!" },
        { "a=%\"%c", "!" },
        { "a=%\"x", "!" },
        { "a=(1", "!" },
        { "a=(1,2)", "!" },
        { "a=(\"x\"\"y\")", "!" },
        { "a;", "!" },
        { "a;X", "!" },
        { "a;x=", "!" },
        { "\ta", "!" },
    };
    static const char *const types[] = { "boolean", "integer", "decimal", "string", "token",
                                         "bytes",   "date",    "display", "list" };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char out[256] = "", *at = out;
        struct slice rest = slice_str(rows[i].text);
        struct structured_member m;
        int got;
        while ((got = structured_dictionary_next(&rest, &m)) > 0) {
            at += sprintf(at, "%.*s:%s", SLICE_ARGS(m.key), types[m.type]);
            if (m.type <= STRUCTURED_INTEGER) at += sprintf(at, "=%lld", (long long)m.integer);
            if (m.text.p) at += sprintf(at, "=%.*s", SLICE_ARGS(m.text));
            at += sprintf(at, " ");
        }
        if (got < 0) strcpy(at, "!");
        if (strcmp(out, rows[i].members) != 0) fail_msg("%s: %s", rows[i].text, out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_absent),
        cmocka_unit_test(switches),
        cmocka_unit_test(field_names_are_kept),
        cmocka_unit_test(seconds),
        cmocka_unit_test(pragma_counts_without_cache_control),
        cmocka_unit_test(a_targeted_field_counts_wholly_or_not_at_all),
        cmocka_unit_test(structured_dictionaries),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
