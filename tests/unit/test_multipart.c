/* multipart: the whole body beside the text it should be, for ranges of all kinds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/base/check.h"
#include "edge/io/worker.h"
#include "edge/multipart.h"

enum { TEXT_BYTES = 50000 };

#define BOUNDARY "verge0123456789abcdef"
#define RANDOM   0x0123456789abcdefu

static char text[TEXT_BYTES];
static struct arena arena;
static struct budget budget = { .limit_bytes = SIZE_MAX };
static struct worker worker;
static struct scope scope;

/* ---- objects ---- */

static struct object *object_of_type(const char *type)
{
    static const struct freshness freshness;
    struct key key = { .text = SLICE("key") };
    struct response head = { .status = 200, .length = LENGTH_UNKNOWN };
    if (type) fields_add(&head.fields, &arena, FIELD_CONTENT_TYPE, slice_str(type));
    struct object *o = object_new(&key, &budget, 0, 1 << 20);
    object_set_head(o, &head, &freshness, SLICE_NONE, SLICE_NONE, AUDIENCE_REUSE);
    return o;
}

static void append(struct object *o, size_t at, size_t n)
{
    struct block *b = block_new(n);
    CHECK(b);
    memcpy(b->data, text + at, n);
    struct span s = span_of(b, 0, n);
    block_release(b);
    object_append(o, &s);
}

/* A whole one, in segments of random sizes. */
static struct object *whole_object(const char *type, size_t total)
{
    struct object *o = object_of_type(type);
    for (size_t at = 0, n; at < total; at += n) {
        n = 1 + (size_t)rand() % (rand() % 2 ? 50 : 6000);
        if (n > total - at) n = total - at;
        append(o, at, n);
    }
    object_complete(o, NULL);
    return o;
}

/* ---- bodies ---- */

struct text {
    char p[2 * TEXT_BYTES];
    size_t n;
};

static struct text expected, came;

static void expect(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t room = sizeof expected.p - expected.n;
    int n = vsnprintf(expected.p + expected.n, room, format, args);
    assert_true(n >= 0 && (size_t)n < room);
    expected.n += (size_t)n;
    va_end(args);
}

/* RFC 9110 section 14.6, written down once more. */
static void expect_parts(const struct ranges *ranges, const char *type, int64_t total)
{
    expected.n = 0;
    for (unsigned i = 0; i < ranges->count; i++) {
        const struct range *r = &ranges->v[i];
        size_t n = (size_t)(r->last - r->first + 1);
        if (i) expect("\r\n");
        expect("--" BOUNDARY "\r\n");
        if (type) expect("Content-Type: %s\r\n", type);
        expect("Content-Range: bytes %" PRId64 "-%" PRId64 "/%" PRId64 "\r\n\r\n", r->first,
               r->last, total);
        memcpy(expected.p + expected.n, text + r->first, n);
        expected.n += n;
    }
    expect("\r\n--" BOUNDARY "--\r\n");
}

/* Until it ends or has to wait. */
static enum body_result pull_all(struct body *b)
{
    for (;;) {
        struct span s = { 0 };
        enum body_result result = body_pull(b, &s);
        if (result != BODY_DATA) return result;
        CHECK(s.n && came.n + s.n <= sizeof came.p);
        memcpy(came.p + came.n, span_slice(&s).p, s.n);
        came.n += s.n;
        span_release(&s);
    }
}

static void open_parts(struct multipart *m, struct object *o, const struct ranges *ranges,
                       size_t total)
{
    multipart_open(m, o, ranges, (int64_t)total, &scope, &arena, RANDOM);
    came.n = 0;
}

static void assert_is_expected(const struct multipart *m)
{
    assert_int_equal(came.n, expected.n);
    assert_memory_equal(came.p, expected.p, expected.n);
    assert_int_equal(m->length, expected.n);
}

static void check_parts(struct object *o, const struct ranges *ranges, const char *type,
                        size_t total)
{
    struct multipart m;
    open_parts(&m, o, ranges, total);
    assert_true(slice_eq(m.content_type, SLICE("multipart/byteranges; boundary=" BOUNDARY)));
    assert_int_equal(pull_all(m.body), BODY_END);
    expect_parts(ranges, type, (int64_t)total);
    assert_is_expected(&m);
    body_close(&m.body);
}

/* ---- ranges ---- */

/* Any number, in any order, none touching another: 2 * count cuts, shuffled by pairs. */
static void random_ranges(struct ranges *out, size_t total)
{
    out->count = 1 + (unsigned)rand() % RANGES_MAX;
    int64_t step = (int64_t)total / (int64_t)out->count;
    for (unsigned i = 0; i < out->count; i++) {
        int64_t first = step * i + rand() % (step / 2);
        out->v[i] = (struct range){ first, first + rand() % (step / 2) };
    }
    for (unsigned i = out->count - 1; i; i--) {
        unsigned k = (unsigned)rand() % (i + 1);
        struct range swapped = out->v[i];
        out->v[i] = out->v[k];
        out->v[k] = swapped;
    }
}

static void test_all_bytes_and_their_number(void **state)
{
    (void)state;
    static const char *const types[] = { NULL, "text/plain; charset=utf-8", "a/b" };
    for (int i = 0; i < 150; i++) {
        struct ranges ranges;
        size_t total = 100 + (size_t)rand() % (TEXT_BYTES - 100);
        struct object *o = whole_object(types[i % 3], total);
        random_ranges(&ranges, total);
        check_parts(o, &ranges, types[i % 3], total);
        object_drop(&o);
        arena_reset(&arena);
    }
}

/* The first byte, the last one, and all there is. */
static void test_the_ends(void **state)
{
    (void)state;
    struct object *o = whole_object("a/b", 1000);
    check_parts(o, &(struct ranges){ 2, { { 999, 999 }, { 0, 0 } } }, "a/b", 1000);
    check_parts(o, &(struct ranges){ 1, { { 0, 999 } } }, "a/b", 1000);
    object_drop(&o);
}

static const struct ranges two = { 2, { { 4000, 4099 }, { 10, 19 } } };

static void test_the_object_is_held_until_the_end(void **state)
{
    (void)state;
    struct multipart m;
    struct object *o = whole_object(NULL, 5000);
    open_parts(&m, o, &two, 5000);
    object_drop(&o);
    expect_parts(&two, NULL, 5000);
    assert_int_equal(pull_all(m.body), BODY_END);
    assert_is_expected(&m);
    body_close(&m.body);
    assert_int_equal(budget.used_bytes, 0);
}

static void test_it_can_be_closed_anywhere(void **state)
{
    (void)state;
    for (int pulls = 0; pulls < 6; pulls++) {
        struct multipart m;
        struct object *o = whole_object(NULL, 5000);
        open_parts(&m, o, &two, 5000);
        for (int i = 0; i < pulls; i++) {
            struct span s = { 0 };
            if (body_pull(m.body, &s) != BODY_DATA) break;
            span_release(&s);
        }
        body_close(&m.body);
        object_drop(&o);
        assert_int_equal(budget.used_bytes, 0);
    }
}

/* ---- an object that is still being filled ---- */

static struct object *filling;
static struct multipart filling_parts;
static size_t filled;
static unsigned waits;
static enum body_result outcome;

static void on_idle(struct scope *s)
{
    (void)s;
    worker_stop(&worker);
}

static void go_on(void)
{
    outcome = pull_all(filling_parts.body);
    if (outcome == BODY_WAIT) {
        waits++;
        append(filling, filled, 1000);
        filled += 1000;
    } else {
        body_close(&filling_parts.body);
        scope_close(&scope);
    }
}

static void on_ready(struct body *b)
{
    CHECK(b == filling_parts.body && b->puller == &waits);
    go_on();
}

static void start_filling(struct worker *w)
{
    scope_init(&scope, w, on_idle);
    filling = object_of_type(NULL);
    filled = waits = 0;
    open_parts(&filling_parts, filling, &two, 5000);
    filling_parts.body->ready = on_ready;
    filling_parts.body->puller = &waits;
    go_on();
}

static void test_it_waits_for_what_is_not_there_yet(void **state)
{
    (void)state;
    assert_int_equal(worker_start(&worker, -1, start_filling), 0);
    worker_join(&worker);
    expect_parts(&two, NULL, 5000);
    assert_int_equal(outcome, BODY_END);
    assert_int_equal(waits, 5);
    assert_is_expected(&filling_parts);
    object_drop(&filling);
    assert_int_equal(budget.used_bytes, 0);
}

static int start(void **state)
{
    (void)state;
    srand(1);
    for (size_t i = 0; i < TEXT_BYTES; i++) text[i] = (char)rand();
    arena_init(&arena, 4096);
    worker_init(&worker, 0);
    scope_init(&scope, &worker, on_idle);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_bytes_and_their_number),
        cmocka_unit_test(test_the_ends),
        cmocka_unit_test(test_the_object_is_held_until_the_end),
        cmocka_unit_test(test_it_can_be_closed_anywhere),
        cmocka_unit_test(test_it_waits_for_what_is_not_there_yet),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
