/* range: a brute-force model that marks bytes, and tables for syntax, If-Range and Content-Range.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "protocols/http/range.h"

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

/* ---- against a model: which spec was the first to ask for each byte ---- */

enum { LENGTH_MAX = 24, SPECS_MAX = RANGES_MAX + 1, UNASKED = SPECS_MAX };

static uint64_t random_state;

static int random_below(int limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (int)(random_state % (unsigned)limit);
}

struct model {
    int length, specs;
    int asked[LENGTH_MAX]; /* the first spec that covers the byte */
    char text[512];
};

static void cover(struct model *m, int first, int last)
{
    for (int i = first; i <= last && i < m->length; i++) {
        if (i >= 0 && m->asked[i] == UNASKED) m->asked[i] = m->specs;
    }
}

static int add_spec(struct model *m, char *out)
{
    int a = random_below(LENGTH_MAX + 6), b = a + random_below(8);
    switch (random_below(4)) {
    case 0: cover(m, a, m->length); return sprintf(out, "%d-", a);
    case 1: cover(m, m->length - a, m->length); return sprintf(out, "-%d", a);
    default: cover(m, a, b); return sprintf(out, "%d-%d", a, b);
    }
}

static void fill(struct model *m)
{
    int specs = 1 + random_below(random_below(4) ? 4 : SPECS_MAX);
    *m = (struct model){ .length = random_below(LENGTH_MAX + 1) };
    for (int i = 0; i < LENGTH_MAX; i++) m->asked[i] = UNASKED;
    char *at = m->text + sprintf(m->text, "bytes=");
    while (m->specs < specs) {
        at += sprintf(at, m->specs ? (random_below(2) ? "," : " , ,") : "");
        at += add_spec(m, at);
        m->specs++;
    }
}

static bool is_asked(const struct model *m, int64_t byte)
{
    return byte >= 0 && byte < m->length && m->asked[byte] != UNASKED;
}

/* A range of the result is a run of bytes asked for, as long as it can be; returns the first spec
 * that asked for any. */
static int check_run(const struct model *m, struct range r)
{
    int first = UNASKED;
    assert_false(is_asked(m, r.first - 1));
    assert_false(is_asked(m, r.last + 1));
    for (int64_t i = r.first; i <= r.last; i++) {
        assert_true(is_asked(m, i));
        if (m->asked[i] < first) first = m->asked[i];
    }
    return first;
}

static int64_t asked_bytes(const struct model *m)
{
    int64_t total = 0;
    for (int i = 0; i < m->length; i++) total += is_asked(m, i);
    return total;
}

static void check_against_model(const struct model *m)
{
    struct ranges got;
    enum range_result result = range_parse(slice_str(m->text), m->length, &got);
    if (m->specs > RANGES_MAX) {
        assert_int_equal(result, RANGE_NONE);
        return;
    }
    int64_t total = 0;
    int before = -1;
    assert_int_equal(result, asked_bytes(m) ? RANGE_SATISFIABLE : RANGE_UNSATISFIABLE);
    for (unsigned i = 0; i < got.count; i++) {
        int first = check_run(m, got.v[i]);
        assert_true(first > before);
        before = first;
        total += got.v[i].last - got.v[i].first + 1;
    }
    assert_int_equal(total, asked_bytes(m));
}

static void ranges_agree_with_a_model(void **state)
{
    (void)state;
    random_state = 88172645463325252;
    for (int i = 0; i < 100000; i++) {
        struct model m;
        fill(&m);
        check_against_model(&m);
    }
}

/* ---- tables ---- */

static void syntax_and_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        enum range_result result;
        int64_t first, last; /* of the only range */
    } rows[] = {
        { "bytes=0-4", RANGE_SATISFIABLE, 0, 4 },
        { "Bytes=0-4", RANGE_SATISFIABLE, 0, 4 },
        { "bytes=0-99", RANGE_SATISFIABLE, 0, 9 },
        { "bytes=9-", RANGE_SATISFIABLE, 9, 9 },
        { "bytes=-3", RANGE_SATISFIABLE, 7, 9 },
        { "bytes=-99", RANGE_SATISFIABLE, 0, 9 },
        { "bytes= 0-4 ", RANGE_SATISFIABLE, 0, 4 },
        { "bytes=,0-4,", RANGE_SATISFIABLE, 0, 4 },
        { "bytes=0-9223372036854775807", RANGE_SATISFIABLE, 0, 9 },
        { "bytes=0-99999999999999999999999999", RANGE_SATISFIABLE, 0, 9 },
        { "bytes=-99999999999999999999999999", RANGE_SATISFIABLE, 0, 9 },
        { "bytes=99-, 2-3", RANGE_SATISFIABLE, 2, 3 },
        { "bytes=10-", RANGE_UNSATISFIABLE, 0, 0 },
        { "bytes=99999999999999999999999999-", RANGE_UNSATISFIABLE, 0, 0 },
        { "bytes=-0", RANGE_UNSATISFIABLE, 0, 0 },
        { "", RANGE_NONE, 0, 0 },
        { "bytes", RANGE_NONE, 0, 0 },
        { "bytes=", RANGE_NONE, 0, 0 },
        { "bytes=,", RANGE_NONE, 0, 0 },
        { "bytes=-", RANGE_NONE, 0, 0 },
        { "bytes=4", RANGE_NONE, 0, 0 },
        { "bytes=4-3", RANGE_NONE, 0, 0 },
        { "bytes=0-1, 4-3", RANGE_NONE, 0, 0 },
        { "bytes=0-1-2", RANGE_NONE, 0, 0 },
        { "bytes=--1", RANGE_NONE, 0, 0 },
        { "bytes=+0-1", RANGE_NONE, 0, 0 },
        { "bytes=0 - 1", RANGE_NONE, 0, 0 },
        { "bytes=a-b", RANGE_NONE, 0, 0 },
        { "bytes=\"0-1\"", RANGE_NONE, 0, 0 },
        { "bytes =0-1", RANGE_NONE, 0, 0 },
        { "lines=0-1", RANGE_NONE, 0, 0 },
        { "0-1", RANGE_NONE, 0, 0 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct ranges got;
        if (range_parse(slice_str(rows[i].value), 10, &got) != rows[i].result)
            fail_msg("%s", rows[i].value);
        if (rows[i].result != RANGE_SATISFIABLE) continue;
        assert_int_equal(got.count, 1);
        assert_int_equal(got.v[0].first, rows[i].first);
        assert_int_equal(got.v[0].last, rows[i].last);
    }
}

static void the_largest_length_does_not_overflow(void **state)
{
    (void)state;
    struct ranges got;
    assert_int_equal(range_parse(SLICE("bytes=0-0,9223372036854775806-,-1"), INT64_MAX, &got),
                     RANGE_SATISFIABLE);
    assert_int_equal(got.count, 2);
    assert_true(got.v[1].first == INT64_MAX - 1 && got.v[1].last == INT64_MAX - 1);
}

#define MODIFIED "Sun, 06 Nov 1994 08:49:37 GMT"
#define LATER    "Sun, 06 Nov 1994 08:49:38 GMT"

static void if_range_needs_a_strong_validator(void **state)
{
    (void)state;
    static const struct {
        const char *condition, *etag, *modified, *date; /* NULL: absent */
        bool holds;
    } rows[] = {
        { NULL, NULL, NULL, NULL, true },
        { "\"a\"", "\"a\"", NULL, NULL, true },
        { "\"a\"", "\"b\"", NULL, NULL, false },
        { "\"a\"", NULL, NULL, NULL, false },
        { "W/\"a\"", "W/\"a\"", NULL, NULL, false },
        { "W/\"a\"", "\"a\"", NULL, NULL, false },
        { "\"a\"", "W/\"a\"", NULL, NULL, false },
        { MODIFIED, "\"a\"", MODIFIED, LATER, true },
        { MODIFIED, NULL, MODIFIED, MODIFIED, false },
        { MODIFIED, NULL, MODIFIED, NULL, false },
        { MODIFIED, NULL, NULL, LATER, false },
        { LATER, NULL, MODIFIED, LATER, false },
        { "garbage", NULL, "garbage", LATER, false },
        { "", NULL, NULL, LATER, false },
        { "\"a\", \"b\"", "\"a\"", NULL, NULL, false },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct request req = { 0 };
        struct response stored = { 0 };
        struct fields *f = &stored.fields;
        if (rows[i].condition)
            fields_add(&req.fields, &arena, FIELD_IF_RANGE, slice_str(rows[i].condition));
        if (rows[i].etag) fields_add(f, &arena, FIELD_ETAG, slice_str(rows[i].etag));
        if (rows[i].modified)
            fields_add(f, &arena, FIELD_LAST_MODIFIED, slice_str(rows[i].modified));
        if (rows[i].date) fields_add(f, &arena, FIELD_DATE, slice_str(rows[i].date));
        if (range_condition_holds(&req, &stored) != rows[i].holds) fail_msg("row %zu", i);
    }
}

static void content_range_is_parsed_and_printed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid;
        struct content_range r;
    } rows[] = {
        { "bytes 0-4/10", true, { 0, 4, 10 } },
        { "bytes 9-9/10", true, { 9, 9, 10 } },
        { "bytes 0-4/*", true, { 0, 4, -1 } },
        { "bytes */10", true, { -1, -1, 10 } },
        { "bytes 0-9223372036854775806/9223372036854775807",
          true,
          { 0, INT64_MAX - 1, INT64_MAX } },
        { "bytes 0-10/10", false, { 0 } },
        { "bytes 5-4/10", false, { 0 } },
        { "bytes */*", false, { 0 } },
        { "bytes 0-4", false, { 0 } },
        { "bytes 0-4/", false, { 0 } },
        { "bytes 0/4-10", false, { 0 } },
        { "bytes -4/10", false, { 0 } },
        { "bytes 0-/10", false, { 0 } },
        { "bytes=0-4/10", false, { 0 } },
        { "bytes", false, { 0 } },
        { "bytes  0-4/10", false, { 0 } },
        { "bytes 0-4/10 ", false, { 0 } },
        { "lines 0-4/10", false, { 0 } },
        { "bytes 0-4/99999999999999999999", false, { 0 } },
        { "", false, { 0 } },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct content_range r;
        if (content_range_parse(slice_str(rows[i].text), &r) != rows[i].valid)
            fail_msg("%s", rows[i].text);
        if (!rows[i].valid) continue;
        assert_true(r.first == rows[i].r.first && r.last == rows[i].r.last &&
                    r.length == rows[i].r.length);
        assert_true(slice_eq(content_range_format(r, &arena), slice_str(rows[i].text)));
    }
}

static void one_range_of_whatever_length(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool single;
        int64_t first, last;
    } rows[] = {
        { "bytes=0-499", true, 0, 499 },
        { "bytes=500-", true, 500, -1 },
        { "bytes=-7", true, -1, 7 },
        { "BYTES= 1-1 , ", true, 1, 1 },
        { "bytes=99999999999999999999-", true, INT64_MAX, -1 },
        { "bytes=0-0,2-2", false, 0, 0 },
        { "bytes=0-0,x", false, 0, 0 },
        { "bytes=2-1", false, 0, 0 },
        { "bytes=-", false, 0, 0 },
        { "bytes=", false, 0, 0 },
        { "bytes", false, 0, 0 },
        { "lines=0-1", false, 0, 0 },
        { "", false, 0, 0 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct range_spec spec;
        bool single = range_parse_single(slice_str(rows[i].value), &spec);
        if (single != rows[i].single) fail_msg("%s: %d", rows[i].value, single);
        if (!single) continue;
        assert_int_equal(spec.first, rows[i].first);
        assert_int_equal(spec.last, rows[i].last);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_agree_with_a_model),
        cmocka_unit_test(syntax_and_bounds),
        cmocka_unit_test(one_range_of_whatever_length),
        cmocka_unit_test(the_largest_length_does_not_overflow),
        cmocka_unit_test(if_range_needs_a_strong_validator),
        cmocka_unit_test(content_range_is_parsed_and_printed),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
