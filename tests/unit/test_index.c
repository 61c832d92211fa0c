/* index: what a lookup says, what each change does to the next one, and eviction as a statistic
 * with a fixed seed. Nothing here waits, so there is no worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cache/index.h"
#include "cache/index_walk.h"
#include "edge/base/error.h"
#include "edge/base/metrics.h"

#define WINDOW_BYTES 65536
#define VARIANTS_MAX 3
#define MIB          (1 << 20)

static const int64_t now_ms = 1700000000000;
static const struct cache_policy policy = { .honor_request = true };
static struct arena arena;
static struct index ix; /* larger than a stack frame should be */

static int open_index(void **state)
{
    (void)state;
    arena_init(&arena, 4096);
    index_init(&ix, (size_t)1 << 30, VARIANTS_MAX, WINDOW_BYTES);
    return 0;
}

/* All that was charged comes back. */
static int close_index(void **state)
{
    (void)state;
    index_free(&ix);
    arena_free(&arena);
    bool clean = ix.budget.used_bytes == 0 && metric_sum(METRIC_OBJECTS_LIVE) == 0 &&
                 metric_sum(METRIC_CACHE_OBJECTS) == 0 && metric_sum(METRIC_CACHE_PENDING) == 0;
    if (!clean) print_error("%zu bytes are left\n", (size_t)ix.budget.used_bytes);
    return clean ? 0 : -1;
}

static struct key key_of(const char *text)
{
    struct slice s = arena_copy(&arena, slice_str(text));
    return (struct key){ .hash = key_hash(s), .text = s, .target = SLICE("/") };
}

static struct key numbered(unsigned n)
{
    struct slice s = arena_printf(&arena, "key %u", n);
    return (struct key){ .hash = key_hash(s), .text = s, .target = SLICE("/") };
}

/* A request with at most one field; the name of a variant is the value of X-V. */
static struct request request(const char *name, const char *value)
{
    struct request r = { .method = METHOD_GET };
    if (name) fields_add_named(&r.fields, &arena, slice_str(name), slice_str(value));
    return r;
}

static struct lookup_result look(const char *text, const char *name, const char *value)
{
    struct lookup_result out;
    struct key key = key_of(text);
    struct request r = request(name, value);
    index_lookup(&ix, &key, &policy, &r, now_ms, &arena, &out);
    return out;
}

static void forget(struct lookup_result *r)
{
    object_drop(&r->object);
    object_drop(&r->pending);
}

static const struct freshness fresh = { .received_ms = now_ms, .lifetime_ms = 60000 };
static const struct freshness stale = { .received_ms = now_ms - 61000, .lifetime_ms = 60000 };
static const struct freshness served_stale = { .received_ms = now_ms - 61000,
                                               .lifetime_ms = 60000,
                                               .stale_while_revalidate_ms = 5000 };
static const struct freshness not_without_asking = { .received_ms = now_ms,
                                                     .lifetime_ms = 60000,
                                                     .flags = FRESH_NO_CACHE };

/* The head comes: varies by X-V where variant is not NULL. */
static void set_head(struct object *o, const struct freshness *f, const char *variant)
{
    struct response head = { .status = 200, .length = LENGTH_UNKNOWN };
    struct request r = request("X-V", variant ? variant : "");
    struct slice vary = variant ? SLICE("X-V") : SLICE_NONE, vary_key = SLICE_NONE;
    if (variant) assert_true(key_vary(vary, &r, &arena, &vary_key));
    object_set_head(o, &head, f, vary, vary_key, AUDIENCE_REUSE);
}

static void append(struct object *o, size_t n)
{
    struct span s = { block_new(n), 0, (uint32_t)n };
    memset(s.block->data, 'x', n);
    object_append(o, &s);
}

/* What a fetch does from its head on; drops the caller's reference. */
static bool store(struct object **o, const struct freshness *f, const char *variant, size_t bytes)
{
    set_head(*o, f, variant);
    if (bytes) append(*o, bytes);
    object_complete(*o, NULL);
    bool stored = index_publish(&ix, *o);
    object_drop(o);
    return stored;
}

static void fetch(const char *text, const struct freshness *f, const char *variant)
{
    struct lookup_result r = look(text, "X-V", variant ? variant : "");
    assert_true(r.verdict == LOOKUP_LEAD || r.verdict == LOOKUP_VALIDATE);
    object_drop(&r.object);
    assert_true(store(&r.pending, f, variant, 100));
}

static void expect(const char *text, const char *name, const char *value, enum lookup verdict)
{
    struct lookup_result r = look(text, name, value);
    if (r.verdict != verdict)
        fail_msg("%s, %s: verdict %d, not %d", text, value, r.verdict, verdict);
    /* Whoever was told to fetch gives up at once. */
    bool leads = verdict == LOOKUP_LEAD || verdict == LOOKUP_VALIDATE || r.refresh;
    if (leads) index_release(&ix, r.pending, 0);
    forget(&r);
}

/* ---- verdicts ---- */

static void test_one_leads_and_the_others_join(void **state)
{
    (void)state;
    struct lookup_result lead = look("a", NULL, NULL), join = look("a", NULL, NULL);
    struct lookup_result other = look("b", NULL, NULL);
    assert_int_equal(lead.verdict, LOOKUP_LEAD);
    assert_false(lead.stale || lead.reload || lead.vary_miss || lead.refresh);
    assert_null(lead.object);
    assert_int_equal(lead.pending->window_bytes, WINDOW_BYTES);
    assert_int_equal(join.verdict, LOOKUP_JOIN);
    assert_ptr_equal(join.pending, lead.pending);
    assert_int_equal(other.verdict, LOOKUP_LEAD);
    index_release(&ix, other.pending, 0);
    forget(&other);
    forget(&join);
    struct object *o = lead.pending;
    assert_true(store(&lead.pending, &fresh, NULL, 1000));
    struct lookup_result hit = look("a", NULL, NULL);
    assert_int_equal(hit.verdict, LOOKUP_HIT);
    assert_ptr_equal(hit.object, o);
    assert_null(hit.pending);
    forget(&hit);
}

/* Already while its body still comes. */
static void test_what_fills_is_hit(void **state)
{
    (void)state;
    struct lookup_result lead = look("a", NULL, NULL);
    set_head(lead.pending, &fresh, NULL);
    assert_true(index_publish(&ix, lead.pending));
    expect("a", NULL, NULL, LOOKUP_HIT);
    object_fail(lead.pending, -E_ORIGIN_RESET);
    expect("a", NULL, NULL, LOOKUP_LEAD); /* it is not taken any more */
    index_remove(&ix, lead.pending);
    forget(&lead);
}

static void test_stale_is_refreshed_by_one(void **state)
{
    (void)state;
    fetch("a", &served_stale, NULL);
    struct lookup_result first = look("a", NULL, NULL), second = look("a", NULL, NULL);
    assert_int_equal(first.verdict, LOOKUP_STALE);
    assert_true(first.refresh && first.object && first.pending);
    assert_int_equal(second.verdict, LOOKUP_STALE);
    assert_ptr_equal(second.object, first.object);
    assert_false(second.refresh);
    assert_null(second.pending);
    object_drop(&second.object);
    object_drop(&first.object);
    assert_true(store(&first.pending, &fresh, NULL, 10));
    expect("a", NULL, NULL, LOOKUP_HIT);
}

static void test_a_refresh_that_failed_is_tried_again(void **state)
{
    (void)state;
    fetch("a", &served_stale, NULL);
    for (int i = 0; i < 2; i++) {
        struct lookup_result r = look("a", NULL, NULL);
        assert_true(r.verdict == LOOKUP_STALE && r.refresh);
        index_release(&ix, r.pending, 0);
        forget(&r);
    }
}

static void test_validation_has_its_base(void **state)
{
    (void)state;
    static const struct freshness *const kinds[] = { &stale, &not_without_asking };
    for (int i = 0; i < 2; i++) {
        const char *text = i ? "no-cache" : "stale";
        fetch(text, kinds[i], NULL);
        struct lookup_result first = look(text, NULL, NULL), second = look(text, NULL, NULL);
        assert_int_equal(first.verdict, LOOKUP_VALIDATE);
        assert_int_equal(object_state(first.object), OBJECT_COMPLETE);
        assert_true(first.stale && !first.reload);
        /* What the next response is will be known then; that it may not be shared is known now. */
        assert_int_equal(second.verdict, i ? LOOKUP_PASS : LOOKUP_JOIN);
        assert_ptr_equal(second.pending, i ? NULL : first.pending);
        assert_null(second.object);
        forget(&second);
        object_drop(&first.object);
        assert_true(store(&first.pending, &fresh, NULL, 10));
        expect(text, NULL, NULL, LOOKUP_HIT);
    }
}

static void test_the_client_may_insist(void **state)
{
    (void)state;
    fetch("a", &fresh, NULL);
    struct lookup_result r = look("a", "Cache-Control", "no-cache");
    assert_int_equal(r.verdict, LOOKUP_VALIDATE);
    assert_true(r.reload && !r.stale && r.object);
    struct lookup_result other = look("a", "Cache-Control", "no-cache");
    assert_int_equal(other.verdict, LOOKUP_PASS);
    assert_true(other.reload);
    forget(&other);
    index_release(&ix, r.pending, 0);
    forget(&r);
    r = look("a", "Cache-Control", "min-fresh=100"); /* fresh, but not enough for this client */
    assert_int_equal(r.verdict, LOOKUP_VALIDATE);
    assert_true(r.reload && !r.stale);
    index_release(&ix, r.pending, 0);
    forget(&r);
    expect("a", NULL, NULL, LOOKUP_HIT);
}

static void test_pass_until_told_otherwise(void **state)
{
    (void)state;
    struct lookup_result r = look("a", NULL, NULL);
    index_release(&ix, r.pending, now_ms + 1);
    forget(&r);
    r = look("a", NULL, NULL);
    assert_int_equal(r.verdict, LOOKUP_PASS);
    assert_true(!r.object && !r.pending);
    struct key key = key_of("a");
    struct request req = request(NULL, NULL);
    index_lookup(&ix, &key, &policy, &req, now_ms + 1, &arena, &r); /* the time is over */
    assert_int_equal(r.verdict, LOOKUP_LEAD);
    index_release(&ix, r.pending, now_ms + 1000);
    forget(&r);
    expect("a", NULL, NULL, LOOKUP_PASS);
    struct object *o = object_new(&key, &ix.budget, ix.purge_seq, WINDOW_BYTES);
    assert_true(store(&o, &stale, NULL, 10)); /* fetched alone, and may be stored after all */
    expect("a", NULL, NULL, LOOKUP_VALIDATE);
}

static void test_a_pass_is_told_and_ends(void **state)
{
    (void)state;
    struct key key = key_of("a");
    assert_false(index_passes(&ix, &key, now_ms));
    index_pass(&ix, &key, now_ms + 1);
    assert_true(index_passes(&ix, &key, now_ms));
    assert_false(index_passes(&ix, &key, now_ms + 1));
    expect("a", NULL, NULL, LOOKUP_PASS);
}

static void test_what_is_stored_ends_the_pass(void **state)
{
    (void)state;
    struct lookup_result r = look("a", NULL, NULL);
    index_release(&ix, r.pending, now_ms + 1000);
    forget(&r);
    struct key key = key_of("a");
    struct object *o = object_new(&key, &ix.budget, ix.purge_seq, WINDOW_BYTES);
    assert_true(store(&o, &fresh, "one", 10));
    expect("a", "X-V", "one", LOOKUP_HIT);
    expect("a", "X-V", "two", LOOKUP_LEAD); /* other variants may be stored as well */
}

static void test_peeking_has_no_effect(void **state)
{
    (void)state;
    struct key key = key_of("a");
    struct request req = request(NULL, NULL);
    assert_null(index_peek(&ix, &key, &req, &arena));
    assert_int_equal(ix.budget.used_bytes, 0);
    fetch("a", &stale, NULL);
    struct object *o = index_peek(&ix, &key, &req, &arena);
    assert_non_null(o);
    object_drop(&o);
    expect("a", NULL, NULL, LOOKUP_VALIDATE);
}

/* Neither a fetch that brought nothing nor one that was taken out leaves anything behind. */
static void test_what_says_nothing_costs_nothing(void **state)
{
    (void)state;
    expect("a", NULL, NULL, LOOKUP_LEAD);
    assert_int_equal(ix.budget.used_bytes, 0);
    fetch("a", &fresh, NULL);
    struct lookup_result r = look("a", NULL, NULL);
    index_remove(&ix, r.object);
    index_remove(&ix, r.object); /* not there any more */
    forget(&r);
    assert_int_equal(ix.budget.used_bytes, 0);
}

/* ---- variants ---- */

static void test_variants_by_vary(void **state)
{
    (void)state;
    fetch("a", &fresh, "one");
    struct lookup_result two = look("a", "X-V", "two"), three = look("a", "X-V", "three");
    assert_int_equal(two.verdict, LOOKUP_LEAD);
    assert_true(two.vary_miss && !two.stale);
    assert_int_equal(three.verdict, LOOKUP_LEAD); /* the last known Vary tells them apart */
    assert_ptr_not_equal(two.pending, three.pending);
    expect("a", "X-V", "two", LOOKUP_JOIN);
    assert_true(store(&two.pending, &fresh, "two", 10));
    assert_true(store(&three.pending, &fresh, "three", 10));
    expect("a", "X-V", "one", LOOKUP_HIT);
    expect("a", "X-V", "two", LOOKUP_HIT);
    expect("a", "X-V", "three", LOOKUP_HIT);
    expect("a", NULL, NULL, LOOKUP_LEAD);
}

static void test_the_oldest_variant_goes(void **state)
{
    (void)state;
    static const char *const names[] = { "1", "2", "3", "4", "5" };
    for (int i = 0; i < 5; i++) fetch("a", &fresh, names[i]);
    for (int i = 0; i < 5; i++) {
        expect("a", "X-V", names[i], i < 5 - VARIANTS_MAX ? LOOKUP_LEAD : LOOKUP_HIT);
    }
    ix.variants_max = 1; /* a reload */
    fetch("a", &fresh, "6");
    expect("a", "X-V", "6", LOOKUP_HIT);
    for (int i = 0; i < 5; i++) expect("a", "X-V", names[i], LOOKUP_LEAD);
}

static void test_the_same_variant_is_replaced(void **state)
{
    (void)state;
    fetch("a", &fresh, "one");
    fetch("a", &stale, "two");
    size_t used = ix.budget.used_bytes;
    for (int i = 0; i < 10; i++) fetch("a", &stale, "two");
    assert_int_equal(ix.budget.used_bytes, used);
    expect("a", "X-V", "one", LOOKUP_HIT);
    expect("a", "X-V", "two", LOOKUP_VALIDATE);
}

/* ---- slices ---- */

static struct key slice_of_key(const char *text, uint32_t n)
{
    struct key whole = key_of(text), out;
    key_slice(&whole, n, &arena, &out);
    return out;
}

static struct lookup_result look_for_slice(const char *text, uint32_t n)
{
    struct lookup_result out;
    struct key key = slice_of_key(text, n);
    struct request r = request(NULL, NULL);
    index_lookup(&ix, &key, &policy, &r, now_ms, &arena, &out);
    return out;
}

static void fetch_slice(const char *text, uint32_t n)
{
    struct lookup_result r = look_for_slice(text, n);
    assert_int_equal(r.verdict, LOOKUP_LEAD);
    assert_true(store(&r.pending, &fresh, NULL, 100));
}

static void expect_slice(const char *text, uint32_t n, enum lookup verdict)
{
    struct lookup_result r = look_for_slice(text, n);
    assert_int_equal(r.verdict, verdict);
    if (verdict == LOOKUP_LEAD) index_release(&ix, r.pending, 0);
    forget(&r);
}

static void test_slices_go_with_the_whole(void **state)
{
    (void)state;
    struct key key = key_of("a"), one = slice_of_key("a", 1);
    struct request req = request(NULL, NULL);
    for (uint32_t n = 0; n < 3; n++) fetch_slice("a", n);
    fetch_slice("b", 0);
    expect("a", NULL, NULL, LOOKUP_LEAD); /* a slice is not the whole */
    index_invalidate(&ix, &key);
    assert_null(index_peek(&ix, &one, &req, &arena));
    for (uint32_t n = 0; n < 3; n++) expect_slice("a", n, LOOKUP_LEAD);
    expect_slice("b", 0, LOOKUP_HIT);
    fetch_slice("a", 1);
    expect_slice("a", 1, LOOKUP_HIT);
}

static void test_a_slice_under_way_goes_with_the_whole(void **state)
{
    (void)state;
    struct key key = key_of("a");
    struct lookup_result before = look_for_slice("a", 0);
    index_invalidate(&ix, &key);
    struct lookup_result after = look_for_slice("a", 0);
    assert_int_equal(after.verdict, LOOKUP_LEAD);
    assert_false(store(&before.pending, &fresh, NULL, 10));
    assert_true(store(&after.pending, &fresh, NULL, 10));
    expect_slice("a", 0, LOOKUP_HIT);
}

/* They may be of an older version. */
static void test_slices_go_when_the_whole_comes(void **state)
{
    (void)state;
    fetch_slice("a", 0);
    fetch_slice("b", 0);
    fetch("a", &fresh, NULL);
    expect("a", NULL, NULL, LOOKUP_HIT);
    expect_slice("a", 0, LOOKUP_LEAD);
    expect_slice("b", 0, LOOKUP_HIT);
    fetch_slice("a", 0);
    expect_slice("a", 0, LOOKUP_HIT);
}

/* The whole's entry is there while there are slices, so that no other key's invalidation counts. */
static void test_slices_heed_no_other_key(void **state)
{
    (void)state;
    fetch_slice("a", 7);
    for (unsigned i = 0; i < 1000; i++) { /* some of them in every shard */
        struct key other = numbered(i);
        index_invalidate(&ix, &other);
    }
    expect_slice("a", 7, LOOKUP_HIT);
}

static void remove_slice(const char *text, uint32_t n)
{
    struct key key = slice_of_key(text, n);
    struct request req = request(NULL, NULL);
    struct object *o = index_peek(&ix, &key, &req, &arena);
    assert_non_null(o);
    index_remove(&ix, o);
    object_drop(&o);
}

static void test_the_last_slice_takes_the_entry_along(void **state)
{
    (void)state;
    fetch_slice("a", 1);
    fetch_slice("a", 2);
    remove_slice("a", 1);
    assert_true(ix.budget.used_bytes > 0);
    remove_slice("a", 2);
    assert_int_equal(ix.budget.used_bytes, 0);
}

/* ---- invalidation ---- */

static void test_invalidation_takes_all_variants(void **state)
{
    (void)state;
    struct key key = key_of("a");
    fetch("a", &fresh, "one");
    fetch("a", &fresh, "two");
    fetch("b", &fresh, NULL);
    assert_int_equal(index_invalidate(&ix, &key), 2);
    assert_int_equal(index_invalidate(&ix, &key), 0);
    expect("a", "X-V", "one", LOOKUP_LEAD);
    expect("b", NULL, NULL, LOOKUP_HIT);
    fetch("a", &fresh, "one");
    expect("a", "X-V", "one", LOOKUP_HIT);
}

static void test_invalidation_overtakes_a_fetch(void **state)
{
    (void)state;
    struct key key = key_of("a");
    struct lookup_result before = look("a", NULL, NULL);
    assert_int_equal(index_invalidate(&ix, &key), 0);
    struct lookup_result after = look("a", NULL, NULL);
    assert_int_equal(after.verdict, LOOKUP_LEAD); /* it does not join what began before */
    assert_ptr_not_equal(after.pending, before.pending);
    assert_false(store(&before.pending, &fresh, NULL, 10));
    expect("a", NULL, NULL, LOOKUP_JOIN); /* the later one is still under way */
    assert_true(store(&after.pending, &fresh, NULL, 10));
    expect("a", NULL, NULL, LOOKUP_HIT);
}

/* A fetch made alone is unknown to the index, and so may be its key. */
static void test_invalidation_overtakes_what_it_does_not_know(void **state)
{
    (void)state;
    struct key key = key_of("a");
    struct object *before = object_new(&key, &ix.budget, ix.purge_seq, WINDOW_BYTES);
    index_invalidate(&ix, &key);
    struct object *after = object_new(&key, &ix.budget, ix.purge_seq, WINDOW_BYTES);
    assert_false(store(&before, &fresh, NULL, 10));
    expect("a", NULL, NULL, LOOKUP_LEAD);
    assert_true(store(&after, &fresh, NULL, 10));
    expect("a", NULL, NULL, LOOKUP_HIT);
}

/* The same where the key had an entry that has gone since. */
static void test_invalidation_outlives_its_entry(void **state)
{
    (void)state;
    struct key key = key_of("a");
    struct object *before = object_new(&key, &ix.budget, ix.purge_seq, WINDOW_BYTES);
    fetch("a", &fresh, NULL);
    assert_int_equal(index_invalidate(&ix, &key), 1);
    assert_int_equal(ix.budget.used_bytes, object_cost(before));
    assert_false(store(&before, &fresh, NULL, 10));
    expect("a", NULL, NULL, LOOKUP_LEAD);
}

/* ---- many keys ---- */

#define MANY 200000 /* three times what the first buckets are meant for */

static void test_many_keys(void **state)
{
    (void)state;
    struct request req = request(NULL, NULL);
    struct lookup_result r;
    for (unsigned i = 0; i < MANY; i++) {
        struct key key = numbered(i);
        index_lookup(&ix, &key, &policy, &req, now_ms, &arena, &r);
        assert_int_equal(r.verdict, LOOKUP_LEAD);
        index_release(&ix, r.pending, now_ms + 1000 + i);
        forget(&r);
        arena_reset(&arena);
    }
    size_t entries = 0;
    for (int i = 0; i < INDEX_SHARDS; i++) {
        struct index_shard *s = &ix.shards[i];
        entries += s->entry_count;
        assert_true(s->entry_count <= s->bucket_count);
    }
    assert_int_equal(entries, MANY);
    for (unsigned i = 0; i < MANY; i += 7) { /* each still says what it alone was told */
        struct key key = numbered(i);
        index_lookup(&ix, &key, &policy, &req, now_ms + 999 + i, &arena, &r);
        assert_int_equal(r.verdict, LOOKUP_PASS);
        index_lookup(&ix, &key, &policy, &req, now_ms + 1000 + i, &arena, &r);
        assert_int_equal(r.verdict, LOOKUP_LEAD);
        index_release(&ix, r.pending, 0);
        forget(&r);
        arena_reset(&arena);
    }
}

/* ---- eviction ---- */

#define SMALL_BYTES 2000
#define LARGE_BYTES 20000
#define STORED      4000 /* of each kind: many times the budget */

static bool is_hit(unsigned n)
{
    struct key key = numbered(n);
    struct request req = request(NULL, NULL);
    struct object *o = index_peek(&ix, &key, &req, &arena);
    bool there = o;
    object_drop(&o);
    arena_reset(&arena);
    return there;
}

static void store_numbered(unsigned n, size_t bytes, unsigned hits)
{
    struct key key = numbered(n);
    struct object *o = object_new(&key, &ix.budget, ix.purge_seq, WINDOW_BYTES);
    set_head(o, &fresh, NULL);
    append(o, bytes);
    object_complete(o, NULL);
    while (hits-- > 0) index_touch(&ix, o);
    assert_true(index_publish(&ix, o));
    object_drop(&o);
    arena_reset(&arena);
}

static unsigned hits_among(unsigned from, unsigned step, unsigned count)
{
    unsigned n = 0;
    for (unsigned i = 0; i < count; i++) n += is_hit(from + i * step);
    return n;
}

static void test_eviction_keeps_the_budget(void **state)
{
    (void)state;
    int64_t before = metric_sum(METRIC_CACHE_EVICTIONS);
    ix.budget.limit_bytes = 4 * MIB;
    for (unsigned i = 0; i < STORED; i++) {
        store_numbered(i, SMALL_BYTES + i % 7 * 1000, 0);
        assert_false(index_over_budget(&ix));
    }
    unsigned kept = hits_among(0, 1, STORED);
    assert_int_equal(metric_sum(METRIC_CACHE_EVICTIONS) - before, STORED - kept);
    assert_true(ix.budget.used_bytes > 3 * MIB); /* no more went than had to */
    ix.budget.limit_bytes = 1 * MIB;             /* a reload */
    for (int i = 0; i < 100; i++) index_make_room(&ix);
    assert_false(index_over_budget(&ix));
    ix.budget.limit_bytes = 0;
    for (int i = 0; i < 100; i++) index_make_room(&ix);
    assert_int_equal(ix.budget.used_bytes, 0);
}

/* Ten times the size is ten times less worth. */
static void test_small_objects_stay_longer(void **state)
{
    (void)state;
    ix.budget.limit_bytes = 8 * MIB;
    for (unsigned i = 0; i < STORED; i++) store_numbered(i, i % 2 ? LARGE_BYTES : SMALL_BYTES, 0);
    unsigned small = hits_among(0, 2, STORED / 2), large = hits_among(1, 2, STORED / 2);
    assert_true(small > 2 * large);
}

/* One in ten was hit often: a scan that passes by does not wash these out. */
static void test_hit_objects_stay_longer(void **state)
{
    (void)state;
    ix.budget.limit_bytes = 8 * MIB;
    for (unsigned i = 0; i < 1000; i++) store_numbered(i, SMALL_BYTES, i % 10 ? 0 : 50);
    for (unsigned i = 0; i < STORED; i++) store_numbered(100000 + i, SMALL_BYTES, 0);
    unsigned hit = hits_among(0, 10, 100), not_hit = hits_among(1, 10, 100);
    assert_true(hit > 90 && not_hit < 60);
}

/* Inflation: however often it was hit once, what nobody asks for any more goes in the end. */
static void test_old_glory_fades(void **state)
{
    (void)state;
    ix.budget.limit_bytes = 2 * MIB;
    for (unsigned i = 0; i < 100; i++) store_numbered(i, SMALL_BYTES, 5);
    for (unsigned i = 0; i < 10 * STORED; i++) store_numbered(1000 + i, SMALL_BYTES, 0);
    assert_true(hits_among(0, 1, 100) < 10);
}

/* What is only remembered goes before any object. */
static void test_markers_go_first(void **state)
{
    (void)state;
    struct request req = request(NULL, NULL);
    for (unsigned i = 0; i < 500; i++) store_numbered(i, SMALL_BYTES, 0);
    ix.budget.limit_bytes = ix.budget.used_bytes + MIB;
    for (unsigned i = 0; i < 20000; i++) {
        struct key key = numbered(100000 + i);
        struct lookup_result r;
        index_lookup(&ix, &key, &policy, &req, now_ms, &arena, &r);
        index_release(&ix, r.pending, now_ms + 1000000);
        forget(&r);
        arena_reset(&arena);
    }
    assert_false(index_over_budget(&ix));
    assert_true(hits_among(0, 1, 500) > 490);
}

/* A body that still comes is nobody's victim. */
static void test_what_fills_is_not_evicted(void **state)
{
    (void)state;
    struct lookup_result r = look("a", NULL, NULL);
    set_head(r.pending, &fresh, NULL);
    append(r.pending, LARGE_BYTES);
    assert_true(index_publish(&ix, r.pending));
    ix.budget.limit_bytes = 1;
    index_make_room(&ix);
    expect("a", NULL, NULL, LOOKUP_HIT);
    object_complete(r.pending, NULL);
    forget(&r);
    index_make_room(&ix);
    assert_int_equal(ix.budget.used_bytes, 0);
}

/* A large object among very many small ones goes at its shard's first turn, so at most one of each
 * other shard went before it. */
static void test_a_large_newcomer_goes_first(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5 * STORED; i++) store_numbered(i, SMALL_BYTES, 0);
    ix.budget.limit_bytes = ix.budget.used_bytes + MIB;
    store_numbered(100000, 2 * MIB, 0);
    assert_false(is_hit(100000));
    assert_true(hits_among(0, 1, 5 * STORED) > 5 * STORED - INDEX_SHARDS);
}

/* The same for one whose body came after it was published. */
static void test_a_large_newcomer_goes_when_it_is_whole(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5 * STORED; i++) store_numbered(i, SMALL_BYTES, 0);
    struct lookup_result r = look("large", NULL, NULL);
    set_head(r.pending, &fresh, NULL);
    assert_true(index_publish(&ix, r.pending));
    append(r.pending, 2 * MIB);
    object_complete(r.pending, NULL);
    ix.budget.limit_bytes = ix.budget.used_bytes - MIB;
    index_completed(&ix, r.pending);
    forget(&r);
    expect("large", NULL, NULL, LOOKUP_LEAD);
    assert_true(hits_among(0, 1, 5 * STORED) > 5 * STORED - INDEX_SHARDS);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_index, close_index)

/* ---- walking ---- */

#define WALKED 75000 /* so many that tables grow */

static void put_numbered(unsigned n)
{
    struct key key = numbered(n);
    struct request r = request(NULL, NULL);
    struct lookup_result out;
    index_lookup(&ix, &key, &policy, &r, now_ms, &arena, &out);
    assert_true(store(&out.pending, &fresh, NULL, 10));
}

/* Counts each object that the rest of a walk comes by; returns how many that were. */
static unsigned walk(struct index_place *place, unsigned seen[WALKED], unsigned max)
{
    struct object *o;
    unsigned n = 0;
    while (n < max && index_walk(&ix, place, &o)) {
        unsigned number;
        if (!o) continue;
        assert_int_equal(sscanf(arena_copy(&arena, o->key.text).p, "key %u", &number), 1);
        seen[number]++;
        n++;
        object_drop(&o);
    }
    return n;
}

static void test_a_walk_sees_each_object_once(void **state)
{
    (void)state;
    static unsigned seen[WALKED];
    memset(seen, 0, sizeof seen);
    struct index_place place = { 0 };
    for (unsigned i = 0; i < 1000; i++) put_numbered(i);
    assert_int_equal(walk(&place, seen, UINT32_MAX), 1000);
    for (unsigned i = 0; i < 1000; i++) assert_int_equal(seen[i], 1);
    struct object *o;
    assert_false(index_walk(&ix, &place, &o));
    assert_null(o);
}

static void test_a_walk_misses_nothing_while_tables_grow(void **state)
{
    (void)state;
    static unsigned seen[WALKED];
    memset(seen, 0, sizeof seen);
    struct index_place place = { 0 };
    for (unsigned i = 0; i < 500; i++) put_numbered(i);
    assert_int_equal(walk(&place, seen, 250), 250);
    for (unsigned i = 500; i < WALKED; i++) put_numbered(i);
    walk(&place, seen, UINT32_MAX);
    for (unsigned i = 0; i < 500; i++) assert_true(seen[i] >= 1);
}

static void test_a_walk_and_a_key_show_all_variants(void **state)
{
    (void)state;
    struct index_place place = { 0 };
    struct object *o, *found[VARIANTS_MAX];
    unsigned n = 0;
    fetch("a", &fresh, "one");
    fetch("a", &fresh, "two");
    while (index_walk(&ix, &place, &o)) {
        n += o != NULL;
        object_drop(&o);
    }
    assert_int_equal(n, 2);
    struct key key = key_of("a"), other = key_of("b");
    assert_int_equal(index_variants(&ix, &key, found, 1), 1);
    object_drop(&found[0]);
    assert_int_equal(index_variants(&ix, &key, found, VARIANTS_MAX), 2);
    object_drop(&found[0]);
    object_drop(&found[1]);
    assert_int_equal(index_variants(&ix, &other, found, VARIANTS_MAX), 0);
    place = (struct index_place){ .shard = 3, .bucket = SIZE_MAX, .item = UINT32_MAX };
    assert_true(index_walk(&ix, &place, &o) && !o && place.shard == 4);
}

static void test_what_there_is_is_counted(void **state)
{
    (void)state;
    fetch("a", &fresh, "one");
    fetch("a", &fresh, "two");
    struct lookup_result lead = look("b", NULL, NULL);
    assert_int_equal(metric_sum(METRIC_CACHE_OBJECTS), 2);
    assert_int_equal(metric_sum(METRIC_CACHE_PENDING), 1);
    index_release(&ix, lead.pending, 0);
    forget(&lead);
    struct key key = key_of("a");
    index_invalidate(&ix, &key);
    assert_int_equal(metric_sum(METRIC_CACHE_OBJECTS), 0);
    assert_int_equal(metric_sum(METRIC_CACHE_PENDING), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_leads_and_the_others_join),
        TEST(test_what_fills_is_hit),
        TEST(test_stale_is_refreshed_by_one),
        TEST(test_a_refresh_that_failed_is_tried_again),
        TEST(test_validation_has_its_base),
        TEST(test_the_client_may_insist),
        TEST(test_pass_until_told_otherwise),
        TEST(test_what_is_stored_ends_the_pass),
        TEST(test_peeking_has_no_effect),
        TEST(test_what_says_nothing_costs_nothing),
        TEST(test_variants_by_vary),
        TEST(test_the_oldest_variant_goes),
        TEST(test_the_same_variant_is_replaced),
        TEST(test_slices_go_with_the_whole),
        TEST(test_a_slice_under_way_goes_with_the_whole),
        TEST(test_slices_go_when_the_whole_comes),
        TEST(test_slices_heed_no_other_key),
        TEST(test_the_last_slice_takes_the_entry_along),
        TEST(test_a_pass_is_told_and_ends),
        TEST(test_invalidation_takes_all_variants),
        TEST(test_invalidation_overtakes_a_fetch),
        TEST(test_invalidation_overtakes_what_it_does_not_know),
        TEST(test_invalidation_outlives_its_entry),
        TEST(test_many_keys),
        TEST(test_eviction_keeps_the_budget),
        TEST(test_small_objects_stay_longer),
        TEST(test_hit_objects_stay_longer),
        TEST(test_old_glory_fades),
        TEST(test_markers_go_first),
        TEST(test_what_fills_is_not_evicted),
        TEST(test_a_large_newcomer_goes_first),
        TEST(test_a_large_newcomer_goes_when_it_is_whole),
        TEST(test_a_walk_sees_each_object_once),
        TEST(test_a_walk_misses_nothing_while_tables_grow),
        TEST(test_a_walk_and_a_key_show_all_variants),
        TEST(test_what_there_is_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
