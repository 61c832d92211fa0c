/* parts: against a model that knows one interval of bytes, with ranges of random places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cache/parts.h"
#include "cache/reader.h"
#include "edge/base/metrics.h"

#define LENGTH 5000

static const int64_t now_ms = 1700000000000;
static const struct cache_policy policy = { 0 };
static struct arena arena;
static struct index ix;
static struct scope scope; /* nothing waits: what is stored is complete */
static struct key key;
static uint64_t seed;

static uint32_t random_below(uint32_t n) /* LCG, high bits */
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % n);
}

static int open_index(void **state)
{
    (void)state;
    seed = 1;
    arena_init(&arena, 4096);
    index_init(&ix, (size_t)1 << 30, 4, 65536);
    struct slice text = SLICE("4http a key");
    key = (struct key){ .hash = key_hash(text), .text = text, .target = SLICE("/") };
    return 0;
}

static int close_index(void **state)
{
    (void)state;
    index_free(&ix);
    arena_free(&arena);
    bool clean = ix.budget.used_bytes == 0 && metric_sum(METRIC_OBJECTS_LIVE) == 0 &&
                 metric_sum(METRIC_READERS_LIVE) == 0;
    return clean ? 0 : -1;
}

/* The representation of a tag: other bytes for every tag. */
static char byte_of(const char *etag, int64_t at)
{
    return (char)(at * 7 + at / 256 + etag[1]);
}

static struct request request(const char *range, const char *if_range)
{
    struct request r = { .method = METHOD_GET };
    if (range) fields_add(&r.fields, &arena, FIELD_RANGE, slice_str(range));
    if (if_range) fields_add(&r.fields, &arena, FIELD_IF_RANGE, slice_str(if_range));
    return r;
}

static struct request request_for(int64_t first, int64_t last)
{
    struct slice s = arena_printf(&arena, "bytes=%lld-%lld", (long long)first, (long long)last);
    return request(s.p, NULL);
}

static void append(struct object *o, const char *etag, int64_t first, int64_t last)
{
    struct span s = { block_new((size_t)(last - first + 1)), 0, (uint32_t)(last - first + 1) };
    for (int64_t at = first; at <= last; at++) s.block->data[at - first] = byte_of(etag, at);
    object_append(o, &s);
}

/* A 206 as the origin sends it, in pieces. */
static struct object *new_part(struct content_range range, const char *etag, int64_t lifetime_ms)
{
    struct freshness fresh = { .received_ms = now_ms, .lifetime_ms = lifetime_ms };
    struct response head = { .status = 206, .length = range.last - range.first + 1 };
    fields_add(&head.fields, &arena, FIELD_ETAG, slice_str(etag));
    fields_add(&head.fields, &arena, FIELD_CONTENT_RANGE, content_range_format(range, &arena));
    struct object *o = object_new(&key, &ix.budget, ix.purge_seq, 65536);
    object_set_head(o, &head, &fresh, SLICE_NONE, SLICE_NONE, true);
    int64_t first = range.first;
    while (first <= range.last) {
        int64_t last = first + random_below(2000);
        if (last > range.last) last = range.last;
        append(o, etag, first, last);
        first = last + 1;
    }
    object_complete(o, NULL);
    return o;
}

static void store_of(int64_t first, int64_t last, int64_t length, const char *etag)
{
    struct object *o = new_part((struct content_range){ first, last, length }, etag, 60000);
    struct request req = request_for(first, last);
    parts_store(&ix, &key, o, &req, SIZE_MAX, &scope, &arena);
    object_drop(&o);
}

static void store(int64_t first, int64_t last, const char *etag)
{
    store_of(first, last, LENGTH, etag);
}

/* The object's bytes are those of the representation from first on. */
static void check_bytes(struct object *o, const char *etag, int64_t first, int64_t last)
{
    struct reader r;
    struct span s = { 0 };
    struct body *body = &r.body;
    int64_t at = first;
    assert_int_equal(object_state(o), OBJECT_COMPLETE);
    assert_int_equal(o->head.length, last - first + 1);
    reader_open(&r, o, &scope, 0, UINT64_MAX);
    while (body_pull(body, &s) == BODY_DATA) {
        for (size_t i = 0; i < s.n; i++, at++) {
            assert_int_equal(span_slice(&s).p[i], byte_of(etag, at));
        }
        span_release(&s);
    }
    body_close(&body);
    assert_int_equal(at, last + 1);
}

static struct object *find(struct request *req, struct content_range *part)
{
    return parts_find(&ix, &key, &policy, req, now_ms, &arena, part);
}

static bool finds(struct request req)
{
    struct content_range part;
    struct object *o = find(&req, &part);
    bool found = o;
    object_drop(&o);
    return found;
}

/* What is stored is that part, and nothing else. */
static void expect_part(int64_t first, int64_t last, const char *etag)
{
    struct content_range part;
    struct request req = request_for(first, last);
    struct object *o = find(&req, &part);
    assert_non_null(o);
    assert_int_equal(part.first, first);
    assert_int_equal(part.last, last);
    assert_int_equal(o->head.status, 206);
    assert_true(slice_eq(fields_value(&o->head.fields, FIELD_ETAG), slice_str(etag)));
    check_bytes(o, etag, first, last);
    object_drop(&o);
    if (first > 0) assert_false(finds(request_for(first - 1, last)));
    if (last < LENGTH - 1) assert_false(finds(request_for(first, last + 1)));
}

static struct object *whole(void)
{
    struct request req = request(NULL, NULL);
    return index_peek(&ix, &key, &req, &arena);
}

static void expect_whole(const char *etag)
{
    struct object *o = whole();
    assert_non_null(o);
    assert_int_equal(o->head.status, 200);
    assert_false(fields_has(&o->head.fields, FIELD_CONTENT_RANGE));
    assert_true(slice_eq(fields_value(&o->head.fields, FIELD_ETAG), slice_str(etag)));
    check_bytes(o, etag, 0, LENGTH - 1);
    object_drop(&o);
    struct key own;
    struct request any = request(NULL, NULL);
    parts_key(&key, &arena, &own);
    assert_null(index_peek(&ix, &own, &any, &arena)); /* the part has gone */
}

static void expect_no_whole(void)
{
    assert_null(whole());
}

/* ---- tests ---- */

static void test_one_part_answers_what_it_holds(void **state)
{
    (void)state;
    assert_false(finds(request_for(1000, 1999)));
    store(1000, 1999, "\"a\"");
    expect_part(1000, 1999, "\"a\"");
    expect_no_whole();
    assert_true(finds(request_for(1500, 1500)));
    assert_false(finds(request_for(0, 10)));
    assert_false(finds(request("bytes=1500-", NULL)));
    assert_false(finds(request("bytes=-10", NULL)));
    assert_false(finds(request("bytes=1000-1001,1500-1501", NULL)));
    assert_false(finds(request("bytes=9000-", NULL)));
    assert_false(finds(request("lines=1000-1001", NULL)));
    assert_false(finds(request(NULL, NULL)));
}

static void test_the_last_part_answers_suffixes(void **state)
{
    (void)state;
    store(4000, LENGTH - 1, "\"a\"");
    assert_true(finds(request("bytes=-1000", NULL)));
    assert_false(finds(request("bytes=-1001", NULL)));
    assert_true(finds(request("bytes=4500-", NULL)));
    assert_true(finds(request("bytes=4500-99999", NULL)));
}

static void test_if_range_must_hold(void **state)
{
    (void)state;
    store(1000, 1999, "\"a\"");
    assert_true(finds(request("bytes=1000-1001", "\"a\"")));
    assert_false(finds(request("bytes=1000-1001", "\"b\"")));
    assert_false(finds(request("bytes=1000-1001", "W/\"a\"")));
}

static void test_only_fresh_parts_answer(void **state)
{
    (void)state;
    struct object *o = new_part((struct content_range){ 0, 9, LENGTH }, "\"a\"", 0);
    struct request req = request_for(0, 9);
    parts_store(&ix, &key, o, &req, SIZE_MAX, &scope, &arena);
    object_drop(&o);
    assert_false(finds(req));
}

static void test_joined(void **state)
{
    (void)state;
    static const struct {
        int64_t first, last, joined_first, joined_last;
    } rows[] = {
        { 2000, 2999, 1000, 2999 }, /* touches behind */
        { 0, 999, 0, 1999 },        /* touches before */
        { 1500, 2999, 1000, 2999 }, /* overlaps */
        { 500, 1000, 500, 1999 },   { 1200, 1300, 1000, 1999 }, { 1000, 1999, 1000, 1999 },
        { 1000, 1000, 1000, 1999 }, { 1999, 1999, 1000, 1999 }, { 500, 4000, 500, 4000 },
        { 2001, 2999, 2001, 2999 }, /* leaves a gap: takes its place */
        { 0, 998, 0, 998 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(close_index(NULL), 0);
        open_index(NULL);
        store(1000, 1999, "\"a\"");
        store(rows[i].first, rows[i].last, "\"a\"");
        expect_part(rows[i].joined_first, rows[i].joined_last, "\"a\"");
        expect_no_whole();
    }
}

static void test_not_of_one_representation(void **state)
{
    (void)state;
    store(1000, 1999, "\"a\"");
    store(2000, 2999, "\"b\"");
    expect_part(2000, 2999, "\"b\"");
    store(3000, 3999, "W/\"b\""); /* a weak tag proves nothing */
    assert_true(finds(request_for(3000, 3999)));
    assert_false(finds(request_for(2000, 2000)));
    store(1000, 1999, "\"a\"");
    store_of(2000, 2999, LENGTH + 1, "\"a\"");
    assert_true(finds(request_for(2000, 2999)));
    assert_false(finds(request_for(1999, 2000)));
}

/* Two that touch, the same weak tag on both. */
static void test_weak_tags_do_not_join(void **state)
{
    (void)state;
    store(1000, 1999, "W/\"a\"");
    store(2000, 2999, "W/\"a\"");
    assert_true(finds(request_for(2000, 2999)));
    assert_false(finds(request_for(1000, 1000)));
}

static void test_whole_becomes_a_200(void **state)
{
    (void)state;
    store(2000, LENGTH - 1, "\"a\"");
    expect_no_whole();
    store(0, 2100, "\"a\"");
    expect_whole("\"a\"");
    store(0, LENGTH - 1, "\"b\""); /* all at once, in place of the other */
    expect_whole("\"b\"");
}

static void test_what_contradicts_itself_is_not_taken(void **state)
{
    (void)state;
    struct content_range said = { 0, 99, LENGTH };
    struct object *o = new_part(said, "\"a\"", 60000);
    struct request req = request_for(0, 99);
    o->payload->end--; /* as if a byte less had come */
    parts_store(&ix, &key, o, &req, SIZE_MAX, &scope, &arena);
    o->payload->end++;
    object_drop(&o);
    o = new_part((struct content_range){ 0, 99, -1 }, "\"a\"", 60000); /* of unknown length */
    parts_store(&ix, &key, o, &req, SIZE_MAX, &scope, &arena);
    object_drop(&o);
    assert_false(finds(req));
    assert_int_equal(ix.budget.used_bytes, 0);
}

static void test_invalidated_meanwhile(void **state)
{
    (void)state;
    struct key own;
    struct object *o = new_part((struct content_range){ 0, 99, LENGTH }, "\"a\"", 60000);
    struct request req = request_for(0, 99);
    parts_key(&key, &arena, &own);
    assert_false(slice_eq(own.text, key.text));
    index_invalidate(&ix, &own);
    parts_store(&ix, &key, o, &req, SIZE_MAX, &scope, &arena);
    object_drop(&o);
    assert_false(finds(req));
}

/* ---- the model ---- */

struct interval {
    int64_t first, last; /* last < first: nothing */
    const char *etag;
};

static void store_in_model(struct interval *m, struct interval new)
{
    bool joins = m->first <= m->last && m->etag == new.etag &&new.first <= m->last + 1 &&
                 m->first <= new.last + 1;
    if (joins && m->first < new.first) new.first = m->first;
    if (joins && m->last > new.last) new.last = m->last;
    *m = new;
}

static void test_random_ranges(void **state)
{
    static const char *const tags[] = { "\"a\"", "\"b\"" };
    for (int round = 0; round < 200; round++) {
        struct interval m = { 0, -1, NULL };
        const char *stored = NULL;
        assert_int_equal(close_index(state), 0);
        open_index(state);
        seed = (uint64_t)round;
        for (int i = 0; i < 30; i++) {
            int64_t first = random_below(LENGTH), n = 1 + random_below(LENGTH / 2);
            struct interval new = { first, first + n < LENGTH ? first + n : LENGTH - 1,
                                    tags[random_below(8) == 0] };
            store(new.first, new.last, new.etag);
            store_in_model(&m, new);
            if (m.first > 0 || m.last < LENGTH - 1) {
                expect_part(m.first, m.last, m.etag);
            } else {
                stored = m.etag;
                m.last = -1;
                expect_whole(stored);
            }
        }
        if (!stored) expect_no_whole();
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_index, close_index)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_part_answers_what_it_holds),
        TEST(test_the_last_part_answers_suffixes),
        TEST(test_if_range_must_hold),
        TEST(test_only_fresh_parts_answer),
        TEST(test_joined),
        TEST(test_not_of_one_representation),
        TEST(test_weak_tags_do_not_join),
        TEST(test_whole_becomes_a_200),
        TEST(test_what_contradicts_itself_is_not_taken),
        TEST(test_invalidated_meanwhile),
        TEST(test_random_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
