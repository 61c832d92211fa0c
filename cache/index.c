#include "cache/index.h"

#include <math.h>
#include <stdlib.h>

#include "cache/disk.h"
#include "cache/index_entry.h"
#include "edge/base/check.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"

#define BUCKETS_FIRST 1024
#define SAMPLES       16
#define EVICT_ROUNDS  64 /* victims looked for in one call */

static struct slice copy_of(struct slice s)
{
    return s.n ? slice_of(memcpy(xmalloc(s.n), s.p, s.n), s.n) : SLICE_NONE;
}

/* ---- shards and entries ---- */

static struct index_shard *shard_of(struct index *ix, uint64_t hash)
{
    return &ix->shards[hash >> 58];
}

static size_t entry_cost(const struct index_entry *e)
{
    return block_cost(sizeof *e) + block_cost(e->text.n) + 2 * sizeof(void *) + 32;
}

void index_init(struct index *ix, size_t limit_bytes, unsigned variants_max, size_t window_bytes)
{
    memset(ix, 0, sizeof *ix);
    ix->budget.limit_bytes = limit_bytes;
    ix->variants_max = variants_max;
    ix->window_bytes = window_bytes;
    ix->object_memory_max_bytes = SIZE_MAX;
    atomic_init(&ix->purge_seq, 1);
    for (int i = 0; i < INDEX_SHARDS; i++) {
        struct index_shard *s = &ix->shards[i];
        pthread_mutex_init(&s->lock, NULL);
        s->bucket_count = BUCKETS_FIRST;
        s->buckets = xcalloc(s->bucket_count, sizeof *s->buckets);
        s->random = 0x9e3779b97f4a7c15u * (uint64_t)(i + 1);
    }
}

static struct index_entry **bucket_of(struct index_shard *s, uint64_t hash)
{
    return &s->buckets[hash & (s->bucket_count - 1)];
}

static struct index_entry *find_entry(struct index_shard *s, const struct key *key)
{
    for (struct index_entry *e = *bucket_of(s, key->hash); e; e = e->next) {
        if (e->hash == key->hash && slice_eq(e->text, key->text)) return e;
    }
    return NULL;
}

static void grow_buckets(struct index_shard *s)
{
    free(s->buckets);
    s->bucket_count *= 2;
    s->buckets = xcalloc(s->bucket_count, sizeof *s->buckets);
    for (size_t i = 0; i < s->entry_count; i++) {
        struct index_entry *e = s->entries[i], **bucket = bucket_of(s, e->hash);
        e->next = *bucket;
        *bucket = e;
    }
}

static struct index_entry *add_entry(struct index *ix, struct index_shard *s, const struct key *key)
{
    if (s->entry_count == s->bucket_count) grow_buckets(s);
    if (s->entry_count == s->entry_capacity) {
        s->entry_capacity = s->entry_capacity ? s->entry_capacity * 2 : 64;
        s->entries = xrealloc(s->entries, s->entry_capacity * sizeof *s->entries);
    }
    struct index_entry *e = xcalloc(1, sizeof *e), **bucket = bucket_of(s, key->hash);
    e->hash = key->hash;
    e->purges.forgotten = s->forgotten_purge;
    e->text = copy_of(key->text);
    e->position = s->entry_count;
    s->entries[s->entry_count++] = e;
    e->next = *bucket;
    *bucket = e;
    budget_charge(&ix->budget, entry_cost(e));
    return e;
}

static struct index_entry *get_entry(struct index *ix, struct index_shard *s, const struct key *key)
{
    struct index_entry *e = find_entry(s, key);
    return e ? e : add_entry(ix, s, key);
}

static uint64_t next_random(struct index_shard *s) /* xorshift64 */
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return s->random;
}

static void put_candidate(struct index_shard *s, unsigned i, struct index_entry *e)
{
    if (i == s->candidate_count)
        s->candidate_count++;
    else
        s->candidates[i]->is_candidate = false;
    s->candidates[i] = e;
    e->is_candidate = true;
}

/* What is new competes at once. Were it left to sampling, a large object that nobody asks for again
 * would outlast many small ones. */
static void nominate(struct index_shard *s, struct index_entry *e)
{
    unsigned n = s->candidate_count;
    if (e->is_candidate) return;
    put_candidate(s, n < INDEX_CANDIDATES ? n : next_random(s) % INDEX_CANDIDATES, e);
}

static void drop_candidate(struct index_shard *s, struct index_entry *e)
{
    unsigned i = 0;
    if (!e->is_candidate) return;
    while (s->candidates[i] != e) i++;
    s->candidates[i] = s->candidates[--s->candidate_count];
}

static void remove_entry(struct index *ix, struct index_shard *s, struct index_entry *e)
{
    CHECK(e->variant_count == 0 && e->pending_count == 0);
    drop_candidate(s, e);
    struct index_entry **at = bucket_of(s, e->hash);
    while (*at != e) at = &(*at)->next;
    *at = e->next;
    struct index_entry *last = s->entries[--s->entry_count];
    s->entries[e->position] = last;
    last->position = e->position;
    budget_refund(&ix->budget, entry_cost(e));
    if (e->purges.last > s->forgotten_purge) s->forgotten_purge = e->purges.last;
    free((char *)e->text.p);
    free((char *)e->vary.p);
    free(e->variants);
    free(e->pendings);
    free(e);
}

/* An entry goes when it says nothing any more. One that only says "uncacheable" is left to
 * eviction. */
static void tidy_entry(struct index *ix, struct index_shard *s, struct index_entry *e)
{
    if (e->variant_count == 0 && e->pending_count == 0 && e->slices == 0 && e->pass_until_ms == 0)
        remove_entry(ix, s, e);
}

static void drop_pending(struct index_entry *e, unsigned i)
{
    metric_add(METRIC_CACHE_PENDING, -1);
    object_drop(&e->pendings[i].object);
    free((char *)e->pendings[i].vary_key.p);
    memmove(e->pendings + i, e->pendings + i + 1, (--e->pending_count - i) * sizeof *e->pendings);
}

static void forget_pending(struct index_entry *e, const struct object *o)
{
    for (unsigned i = e->pending_count; i-- > 0;) {
        if (e->pendings[i].object == o) drop_pending(e, i);
    }
}

void index_free(struct index *ix)
{
    for (int i = 0; i < INDEX_SHARDS; i++) {
        struct index_shard *s = &ix->shards[i];
        while (s->entry_count) {
            struct index_entry *e = s->entries[s->entry_count - 1];
            metric_add(METRIC_CACHE_OBJECTS, -(int64_t)e->variant_count);
            while (e->variant_count) object_drop(&e->variants[--e->variant_count]);
            while (e->pending_count) drop_pending(e, e->pending_count - 1);
            remove_entry(ix, s, e);
        }
        free(s->buckets);
        free(s->entries);
        pthread_mutex_destroy(&s->lock);
    }
}

/* ---- slices ---- */

static struct purges purges_of(struct index *ix, const struct key *key)
{
    struct index_shard *s = shard_of(ix, key->hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = find_entry(s, key);
    struct purges p = e ? e->purges : (struct purges){ .forgotten = s->forgotten_purge };
    pthread_mutex_unlock(&s->lock);
    return p;
}

uint64_t index_purged(struct index *ix, const struct key *key)
{
    return purges_of(ix, key).last;
}

/* What a slice's entry takes over from the whole's before anybody looks at it. The two locks are
 * never held together: an invalidation in between is seen by the next one who looks. */
static struct purges whole_purges(struct index *ix, const struct key *key)
{
    struct key whole;
    if (!key->slice) return (struct purges){ 0 };
    key_whole(key, &whole);
    return purges_of(ix, &whole);
}

static void obey(struct index_entry *e, const struct purges *whole)
{
    if (e->purges.last < whole->last) e->purges.last = whole->last;
    if (e->purges.forgotten < whole->forgotten) e->purges.forgotten = whole->forgotten;
}

/* One stored slice more or less: the whole's entry stays as long as there are any, so that its
 * sequence is that of its own invalidations. */
static void count_slice(struct index *ix, const struct key *key, int change)
{
    struct key whole;
    if (!key->slice) return;
    key_whole(key, &whole);
    struct index_shard *s = shard_of(ix, whole.hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = get_entry(ix, s, &whole);
    e->slices += (unsigned)change;
    tidy_entry(ix, s, e);
    pthread_mutex_unlock(&s->lock);
}

/* ---- lookup ---- */

static bool usable(const struct index_entry *e, const struct object *o)
{
    return o->purge_seq >= e->purges.last && object_state(o) != OBJECT_FAILED &&
           object_is_readable(o);
}

/* An invalidation has overtaken its fetch, as far as can be told. */
static bool is_overtaken(const struct index_entry *e, const struct object *o)
{
    return o->purge_seq < e->purges.last || o->purge_seq < e->purges.forgotten;
}

static bool selects(const struct object *o, const struct request *req, struct arena *arena)
{
    struct slice key;
    if (o->vary.n == 0) return true;
    return key_vary(o->vary, req, arena, &key) && slice_eq(key, o->vary_key);
}

static bool has_usable(const struct index_entry *e)
{
    for (unsigned i = 0; i < e->variant_count; i++) {
        if (usable(e, e->variants[i])) return true;
    }
    return false;
}

static struct object *find_variant(const struct index_entry *e, const struct request *req,
                                   struct arena *arena)
{
    for (unsigned i = 0; i < e->variant_count; i++) {
        struct object *o = e->variants[i];
        if (usable(e, o) && selects(o, req, arena)) return o;
    }
    return NULL;
}

/* Joins the fetch that is under way for such a request, or begins one. Before the head is there,
 * requests belong together unless the key's last known Vary tells them apart. */
static bool join_or_lead(struct index *ix, struct index_entry *e, const struct key *key,
                         const struct request *req, struct arena *arena, struct object **pending)
{
    struct slice vary_key = SLICE_NONE;
    if (e->vary.n) key_vary(e->vary, req, arena, &vary_key);
    for (unsigned i = 0; i < e->pending_count; i++) {
        struct pending *p = &e->pendings[i];
        if (!usable(e, p->object) || is_overtaken(e, p->object)) continue;
        if (!slice_eq(p->vary_key, vary_key)) continue;
        *pending = object_hold(p->object);
        return true;
    }
    *pending = object_new(key, &ix->budget, atomic_load(&ix->purge_seq), ix->window_bytes);
    e->pendings = xrealloc(e->pendings, (e->pending_count + 1) * sizeof *e->pendings);
    metric_add(METRIC_CACHE_PENDING, 1);
    e->pendings[e->pending_count++] = (struct pending){ object_hold(*pending), copy_of(vary_key) };
    return false;
}

static void refresh_stale(struct index *ix, struct index_entry *e, const struct key *key,
                          const struct request *req, struct arena *arena, struct lookup_result *out)
{
    bool joined = join_or_lead(ix, e, key, req, arena, &out->pending);
    out->refresh = !joined;
    if (joined) object_drop(&out->pending);
}

static bool is_fresh(const struct object *o, int64_t now_ms)
{
    return o && !(o->freshness.flags & FRESH_NO_CACHE) &&
           freshness_ttl_ms(&o->freshness, now_ms) > 0;
}

static void look_in_entry(struct index *ix, struct index_entry *e, const struct key *key,
                          const struct cache_policy *policy, const struct request *req,
                          int64_t now_ms, struct arena *arena, struct lookup_result *out)
{
    struct object *o = find_variant(e, req, arena);
    enum reuse reuse = o ? policy_reuse(policy, req, &o->freshness, now_ms) : REUSE_VALIDATE;
    if (o && reuse == REUSE_FRESH) {
        *out = (struct lookup_result){ .verdict = LOOKUP_HIT, .object = object_hold(o) };
        return;
    }
    if (o && reuse == REUSE_STALE) {
        *out = (struct lookup_result){ .verdict = LOOKUP_STALE, .object = object_hold(o) };
        refresh_stale(ix, e, key, req, arena, out);
        return;
    }
    *out = (struct lookup_result){ .vary_miss = !o && has_usable(e) };
    bool load = !o && ix->disk && disk_has_unloaded(ix->disk, key);
    if (!o && !load && e->pass_until_ms > now_ms) {
        out->verdict = LOOKUP_PASS;
        return;
    }
    bool joined = join_or_lead(ix, e, key, req, arena, &out->pending);
    if (load) {
        out->verdict = joined ? LOOKUP_JOIN : LOOKUP_LOAD;
        return;
    }
    bool has_base = o && object_state(o) == OBJECT_COMPLETE;
    if (has_base && !joined) out->object = object_hold(o);
    out->verdict = joined ? LOOKUP_JOIN : has_base ? LOOKUP_VALIDATE : LOOKUP_LEAD;
    bool insists =
        reuse == REUSE_RELOAD || is_fresh(o, now_ms); /* by more than the response demands */
    out->reload = o && insists;
    out->stale = o && !out->reload;
}

void index_lookup(struct index *ix, const struct key *key, const struct cache_policy *policy,
                  const struct request *req, int64_t now_ms, struct arena *arena,
                  struct lookup_result *out)
{
    struct index_shard *s = shard_of(ix, key->hash);
    struct purges whole = whole_purges(ix, key);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = get_entry(ix, s, key);
    obey(e, &whole);
    look_in_entry(ix, e, key, policy, req, now_ms, arena, out);
    pthread_mutex_unlock(&s->lock);
}

struct object *index_peek(struct index *ix, const struct key *key, const struct request *req,
                          struct arena *arena)
{
    struct index_shard *s = shard_of(ix, key->hash);
    struct purges whole = whole_purges(ix, key);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = find_entry(s, key);
    if (e) obey(e, &whole);
    struct object *o = e ? find_variant(e, req, arena) : NULL;
    if (o) object_hold(o);
    pthread_mutex_unlock(&s->lock);
    return o;
}

unsigned index_variants(struct index *ix, const struct key *key, struct object **out, unsigned max)
{
    struct index_shard *s = shard_of(ix, key->hash);
    unsigned n = 0;
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = find_entry(s, key);
    for (; e && n < e->variant_count && n < max; n++) out[n] = object_hold(e->variants[n]);
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* ---- changes ---- */

/* What is taken out under a shard's lock is dropped after it: freeing takes time. */
struct removed {
    struct object **v;
    unsigned n;
};

/* evicted: it can be loaded again; else the disk forgets it as well. */
static void take_variant(struct index *ix, struct index_entry *e, unsigned i,
                         struct removed *removed, bool evicted)
{
    struct object *o = e->variants[i];
    struct stored *place = ix->disk ? payload_stored(o->payload) : NULL;
    if (place && evicted)
        stored_set_flags(&ix->disk->directory, place, 0, STORED_LOADED);
    else if (place)
        disk_forget(ix->disk, place);
    memmove(e->variants + i, e->variants + i + 1, (--e->variant_count - i) * sizeof *e->variants);
    removed->v = xrealloc(removed->v, (removed->n + 1) * sizeof *removed->v);
    removed->v[removed->n++] = o;
    metric_add(METRIC_CACHE_OBJECTS, -1);
}

static void drop_removed(struct index *ix, struct removed *removed)
{
    for (unsigned i = 0; i < removed->n; i++) {
        count_slice(ix, &removed->v[i]->key, -1);
        object_drop(&removed->v[i]);
    }
    free(removed->v);
}

static bool same_variant(const struct object *o, struct slice vary, struct slice vary_key)
{
    return slice_eq(o->vary, vary) && slice_eq(o->vary_key, vary_key);
}

static void insert_variant(struct index *ix, struct index_entry *e, struct object *o,
                           struct removed *removed)
{
    for (unsigned i = e->variant_count; i-- > 0;) {
        struct object *old = e->variants[i];
        if (same_variant(old, o->vary, o->vary_key) || !usable(e, old))
            take_variant(ix, e, i, removed, old->payload == o->payload);
    }
    while (e->variant_count >= ix->variants_max)
        take_variant(ix, e, e->variant_count - 1, removed, false);
    e->variants = xrealloc(e->variants, (e->variant_count + 1) * sizeof *e->variants);
    memmove(e->variants + 1, e->variants, e->variant_count++ * sizeof *e->variants);
    e->variants[0] = object_hold(o);
    metric_add(METRIC_CACHE_OBJECTS, 1);
    if (object_state(o) == OBJECT_COMPLETE) nominate(shard_of(ix, e->hash), e);
    if (!slice_eq(e->vary, o->vary)) {
        free((char *)e->vary.p);
        e->vary = copy_of(o->vary);
    }
    e->pass_until_ms = 0;
}

/* Another generation of what is on the disk stands for it from now on. */
static void mark_loaded(struct index *ix, struct object *o)
{
    struct stored *place = ix->disk ? payload_stored(o->payload) : NULL;
    if (place) stored_set_flags(&ix->disk->directory, place, STORED_LOADED, 0);
}

bool index_publish(struct index *ix, struct object *o)
{
    struct removed removed = { 0 };
    struct index_shard *s = shard_of(ix, o->key.hash);
    atomic_store_explicit(&o->touched, atomic_load(&s->inflation), memory_order_relaxed);
    count_slice(ix, &o->key, 1);
    struct purges whole = whole_purges(ix, &o->key);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = get_entry(ix, s, &o->key);
    obey(e, &whole);
    forget_pending(e, o);
    bool valid = usable(e, o) && !is_overtaken(e, o);
    if (valid && ix->disk) disk_forget_superseded(ix->disk, &o->key);
    if (valid)
        insert_variant(ix, e, o, &removed);
    else
        tidy_entry(ix, s, e);
    if (valid) mark_loaded(ix, o);
    pthread_mutex_unlock(&s->lock);
    drop_removed(ix, &removed);
    if (valid)
        metric_add(METRIC_CACHE_INSERTS, 1);
    else
        count_slice(ix, &o->key, -1);
    index_make_room(ix);
    return valid;
}

static bool is_variant(const struct index_entry *e, const struct object *o)
{
    for (unsigned i = 0; e && i < e->variant_count; i++) {
        if (e->variants[i] == o) return true;
    }
    return false;
}

void index_completed(struct index *ix, struct object *o)
{
    struct index_shard *s = shard_of(ix, o->key.hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = find_entry(s, &o->key);
    if (is_variant(e, o)) nominate(s, e);
    pthread_mutex_unlock(&s->lock);
    index_make_room(ix);
}

void index_release(struct index *ix, struct object *pending, int64_t until_ms)
{
    struct index_shard *s = shard_of(ix, pending->key.hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = get_entry(ix, s, &pending->key);
    forget_pending(e, pending);
    if (until_ms) e->pass_until_ms = until_ms;
    tidy_entry(ix, s, e);
    pthread_mutex_unlock(&s->lock);
    index_make_room(ix); /* what is remembered costs as well */
}

void index_pass(struct index *ix, const struct key *key, int64_t until_ms)
{
    struct index_shard *s = shard_of(ix, key->hash);
    pthread_mutex_lock(&s->lock);
    get_entry(ix, s, key)->pass_until_ms = until_ms;
    pthread_mutex_unlock(&s->lock);
    index_make_room(ix);
}

bool index_passes(struct index *ix, const struct key *key, int64_t now_ms)
{
    struct index_shard *s = shard_of(ix, key->hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = find_entry(s, key);
    bool passes = e && e->pass_until_ms > now_ms;
    pthread_mutex_unlock(&s->lock);
    return passes;
}

void index_remove(struct index *ix, struct object *o)
{
    struct removed removed = { 0 };
    struct index_shard *s = shard_of(ix, o->key.hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = find_entry(s, &o->key);
    if (e) {
        for (unsigned i = e->variant_count; i-- > 0;) {
            if (e->variants[i] == o) take_variant(ix, e, i, &removed, false);
        }
        tidy_entry(ix, s, e);
    }
    pthread_mutex_unlock(&s->lock);
    drop_removed(ix, &removed);
}

unsigned index_invalidate(struct index *ix, const struct key *key)
{
    struct removed removed = { 0 };
    struct index_shard *s = shard_of(ix, key->hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = find_entry(s, key);
    uint64_t seq = atomic_fetch_add(&ix->purge_seq, 1) + 1;
    unsigned n = ix->disk ? disk_forget_key(ix->disk, key) : 0;
    if (e) {
        e->purges.last = seq;
        while (e->variant_count) take_variant(ix, e, e->variant_count - 1, &removed, false);
        tidy_entry(ix, s, e);
    } else {
        s->forgotten_purge = seq;
    }
    pthread_mutex_unlock(&s->lock);
    metric_add(METRIC_CACHE_INVALIDATIONS, removed.n);
    n = n > removed.n ? n : removed.n;
    drop_removed(ix, &removed);
    return n;
}

/* ---- the disk ---- */

static struct object *find_same(const struct index_entry *e, struct slice vary,
                                struct slice vary_key)
{
    for (unsigned i = 0; i < e->variant_count; i++) {
        if (same_variant(e->variants[i], vary, vary_key)) return e->variants[i];
    }
    return NULL;
}

bool index_insert_loaded(struct index *ix, struct object *o, struct stored *place)
{
    struct removed removed = { 0 };
    struct index_shard *s = shard_of(ix, o->key.hash);
    atomic_store_explicit(&o->touched, atomic_load(&s->inflation), memory_order_relaxed);
    count_slice(ix, &o->key, 1);
    struct purges whole = whole_purges(ix, &o->key);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = get_entry(ix, s, &o->key);
    obey(e, &whole);
    bool valid = usable(e, o) && !find_same(e, o->vary, o->vary_key) && stored_is_listed(place);
    if (valid) {
        insert_variant(ix, e, o, &removed);
        mark_loaded(ix, o);
    } else {
        disk_forget(ix->disk, place);
        tidy_entry(ix, s, e);
    }
    pthread_mutex_unlock(&s->lock);
    drop_removed(ix, &removed);
    if (!valid) count_slice(ix, &o->key, -1);
    index_make_room(ix);
    return valid;
}

/* The disk takes what is in the index; and its queue is short. */
static bool is_being_written(const struct object *o)
{
    const struct disk_write *w = atomic_load_explicit(&o->write, memory_order_acquire);
    return w && !atomic_load_explicit(&w->over, memory_order_relaxed);
}

bool index_attach(struct index *ix, struct object *o, struct stored *place)
{
    struct index_shard *s = shard_of(ix, o->key.hash);
    struct purges whole = whole_purges(ix, &o->key);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = find_entry(s, &o->key);
    if (e) obey(e, &whole);
    bool valid = is_variant(e, o) && usable(e, o) && stored_is_listed(place) && is_being_written(o);
    if (valid) {
        nominate(s, e);
        payload_set_stored(o->payload, &ix->disk->directory, place);
        stored_set_flags(&ix->disk->directory, place, STORED_LOADED, STORED_FILLING);
    }
    pthread_mutex_unlock(&s->lock);
    return valid;
}

bool index_forget_stored(struct index *ix, const struct key *key, struct slice vary,
                         struct slice vary_key)
{
    struct index_shard *s = shard_of(ix, key->hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = find_entry(s, key);
    struct object *old = e ? find_same(e, vary, vary_key) : NULL;
    struct stored *place = old ? payload_stored(old->payload) : NULL;
    bool any = disk_forget_superseded(ix->disk, key) > 0;
    if (old) disk_write_abort(ix->disk, old); /* it must not arrive there later */
    if (place && stored_is_listed(place)) {
        disk_forget(ix->disk, place);
        any = true;
    }
    pthread_mutex_unlock(&s->lock);
    return any;
}

/* ---- eviction ---- */

void index_touch(struct index *ix, struct object *o)
{
    uint32_t hits = atomic_load_explicit(&o->hits, memory_order_relaxed);
    double inflation =
        atomic_load_explicit(&shard_of(ix, o->key.hash)->inflation, memory_order_relaxed);
    atomic_store_explicit(&o->hits, hits + 1, memory_order_relaxed);
    atomic_store_explicit(&o->touched, inflation, memory_order_relaxed);
    struct stored *place = payload_stored(o->payload);
    if (place)
        stored_hit(place);
    else if (ix->disk && (hits & (hits + 1)) == 0) /* more and more seldom, where it has no room */
        disk_want(ix->disk, o);
}

/* Of those nobody has asked for again, in hits: most will never be. */
#define WORTH_OF_NEW 0.15

static double worth_of(struct object *o)
{
    double hits = atomic_load_explicit(&o->hits, memory_order_relaxed);
    return atomic_load_explicit(&o->touched, memory_order_relaxed) +
           (hits + WORTH_OF_NEW) / (double)object_cost(o);
}

struct victim {
    struct index_entry *entry; /* NULL: it has nothing to drop */
    int variant; /* -1: the entry itself, which only remembers that its key is not shared */
    double worth;
};

static struct victim weigh(struct index_entry *e)
{
    struct victim v = { .worth = INFINITY };
    bool empty = e->variant_count == 0 && e->pending_count == 0 && e->slices == 0;
    if (empty) v = (struct victim){ e, -1, 0 };
    for (unsigned i = 0; i < e->variant_count; i++) {
        struct object *o = e->variants[i];
        if (object_state(o) != OBJECT_COMPLETE) continue; /* its cost is not known yet */
        if (is_being_written(o)) continue;
        double worth = worth_of(o);
        if (worth < v.worth) v = (struct victim){ e, (int)i, worth };
    }
    return v;
}

/* Looks at a few more entries; each that is worth less than a candidate takes the place of the
 * worthiest one. */
static void sample(struct index_shard *s, struct victim *weighed)
{
    for (int i = 0; i < SAMPLES; i++) {
        struct index_entry *e = s->entries[next_random(s) % s->entry_count];
        if (e->is_candidate) continue;
        struct victim v = weigh(e);
        unsigned at = 0, n = s->candidate_count;
        for (unsigned k = 1; k < n; k++) at = weighed[k].worth > weighed[at].worth ? k : at;
        if (n < INDEX_CANDIDATES)
            at = n;
        else if (v.worth >= weighed[at].worth)
            continue;
        put_candidate(s, at, e);
        weighed[at] = v;
    }
}

static struct victim find_victim(struct index_shard *s)
{
    struct victim weighed[INDEX_CANDIDATES], least = { .worth = INFINITY };
    for (unsigned i = 0; i < s->candidate_count; i++) weighed[i] = weigh(s->candidates[i]);
    if (s->entry_count) sample(s, weighed);
    for (unsigned i = 0; i < s->candidate_count; i++) {
        if (weighed[i].worth < least.worth) least = weighed[i];
    }
    return least;
}

static void evict_one(struct index *ix, struct index_shard *s)
{
    struct removed removed = { 0 };
    pthread_mutex_lock(&s->lock);
    struct victim v = find_victim(s);
    if (v.entry) {
        if (v.variant >= 0) take_variant(ix, v.entry, (unsigned)v.variant, &removed, true);
        if (v.variant < 0 || v.entry->variant_count == 0) v.entry->pass_until_ms = 0;
        tidy_entry(ix, s, v.entry);
    }
    pthread_mutex_unlock(&s->lock);
    if (v.entry && v.worth > atomic_load_explicit(&s->inflation, memory_order_relaxed)) {
        atomic_store_explicit(&s->inflation, v.worth, memory_order_relaxed);
    }
    metric_add(METRIC_CACHE_EVICTIONS, removed.n);
    drop_removed(ix, &removed);
}

bool index_over_budget(const struct index *ix)
{
    return atomic_load_explicit(&ix->budget.used_bytes, memory_order_relaxed) >
           ix->budget.limit_bytes;
}

void index_make_room(struct index *ix)
{
    static _Thread_local unsigned shard;
    for (int i = 0; i < EVICT_ROUNDS && index_over_budget(ix); i++) {
        evict_one(ix, &ix->shards[shard++ % INDEX_SHARDS]);
    }
}
