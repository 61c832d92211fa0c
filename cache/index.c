#include "cache/index.h"

#include <stdlib.h>

#include "cache/disk.h"
#include "cache/index_entry.h"
#include "edge/base/check.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"

#define BUCKETS_FIRST 1024

/* ---- shards and entries ---- */

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

void index_free(struct index *ix)
{
    for (int i = 0; i < INDEX_SHARDS; i++) {
        struct index_shard *s = &ix->shards[i];
        while (s->entry_count) {
            struct index_entry *e = s->entries[s->entry_count - 1];
            metric_add(METRIC_CACHE_OBJECTS, -(int64_t)e->variant_count);
            while (e->variant_count) object_drop(&e->variants[--e->variant_count]);
            while (e->pending_count) entry_drop_pending(e, e->pending_count - 1);
            entry_remove(ix, s, e);
        }
        free(s->buckets);
        free(s->entries);
        pthread_mutex_destroy(&s->lock);
    }
}

/* ---- lookup ---- */

/* An invalidation has overtaken its fetch, as far as can be told. */
static bool is_overtaken(const struct index_entry *e, const struct object *o)
{
    return o->purge_seq < e->purges.last || o->purge_seq < e->purges.forgotten;
}

static bool has_usable(const struct index_entry *e)
{
    for (unsigned i = 0; i < e->variant_count; i++) {
        if (entry_usable(e, e->variants[i])) return true;
    }
    return false;
}

static struct object *find_variant(const struct index_entry *e, const struct request *req,
                                   struct arena *arena)
{
    for (unsigned i = 0; i < e->variant_count; i++) {
        struct object *o = e->variants[i];
        if (entry_usable(e, o) && object_selects(o, req, arena)) return o;
    }
    return NULL;
}

/* Joins the fetch, or the load, that is under way for such a request, or begins one. Before the
 * head is there, requests belong together unless the key's last known Vary tells them apart. Who
 * can have an answer from the disk does not wait for the origin. */
static bool join_or_lead(struct index *ix, struct index_entry *e, const struct key *key,
                         const struct request *req, bool loads, struct arena *arena,
                         struct object **pending)
{
    struct slice vary_key = SLICE_NONE;
    if (e->vary.n) key_vary(e->vary, req, arena, &vary_key);
    for (unsigned i = 0; i < e->pending_count; i++) {
        struct pending *p = &e->pendings[i];
        if (p->loads != loads || !entry_usable(e, p->object) || is_overtaken(e, p->object))
            continue;
        if (!slice_eq(p->vary_key, vary_key)) continue;
        *pending = object_hold(p->object);
        return true;
    }
    *pending = object_new(key, &ix->budget, atomic_load(&ix->purge_seq), ix->window_bytes);
    e->pendings = xrealloc(e->pendings, (e->pending_count + 1) * sizeof *e->pendings);
    metric_add(METRIC_CACHE_PENDING, 1);
    e->pendings[e->pending_count++] =
        (struct pending){ object_hold(*pending), index_copy(vary_key), loads };
    return false;
}

static void refresh_stale(struct index *ix, struct index_entry *e, const struct key *key,
                          const struct request *req, struct arena *arena, struct lookup_result *out)
{
    bool joined = join_or_lead(ix, e, key, req, false, arena, &out->pending);
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
    bool joined = join_or_lead(ix, e, key, req, load, arena, &out->pending);
    if (load) {
        out->verdict = joined ? LOOKUP_JOIN : LOOKUP_LOAD;
        return;
    }
    bool has_base = o && object_state(o) == OBJECT_COMPLETE;
    bool alone = joined && o && (reuse == REUSE_RELOAD || !freshness_is_ever_reused(&o->freshness));
    if (alone) object_drop(&out->pending);
    if (has_base && !joined) out->object = object_hold(o);
    out->verdict = alone      ? LOOKUP_PASS
                   : joined   ? LOOKUP_JOIN
                   : has_base ? LOOKUP_VALIDATE
                              : LOOKUP_LEAD;
    bool insists =
        reuse == REUSE_RELOAD || is_fresh(o, now_ms); /* by more than the response demands */
    out->reload = o && insists;
    out->stale = o && !out->reload;
}

void index_lookup(struct index *ix, const struct key *key, const struct cache_policy *policy,
                  const struct request *req, int64_t now_ms, struct arena *arena,
                  struct lookup_result *out)
{
    struct index_shard *s = index_shard_of(ix, key->hash);
    struct purges whole = index_whole_purges(ix, key);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_get(ix, s, key);
    entry_obey(e, &whole);
    look_in_entry(ix, e, key, policy, req, now_ms, arena, out);
    pthread_mutex_unlock(&s->lock);
}

struct object *index_peek(struct index *ix, const struct key *key, const struct request *req,
                          struct arena *arena)
{
    struct index_shard *s = index_shard_of(ix, key->hash);
    struct purges whole = index_whole_purges(ix, key);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_find(s, key);
    if (e) entry_obey(e, &whole);
    struct object *o = e ? find_variant(e, req, arena) : NULL;
    if (o) object_hold(o);
    pthread_mutex_unlock(&s->lock);
    return o;
}

unsigned index_variants(struct index *ix, const struct key *key, struct object **out, unsigned max)
{
    struct index_shard *s = index_shard_of(ix, key->hash);
    unsigned n = 0;
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_find(s, key);
    for (; e && n < e->variant_count && n < max; n++) out[n] = object_hold(e->variants[n]);
    pthread_mutex_unlock(&s->lock);
    return n;
}

unsigned index_slices(struct index *ix, const struct key *whole)
{
    struct index_shard *s = index_shard_of(ix, whole->hash);
    pthread_mutex_lock(&s->lock);
    const struct index_entry *e = entry_find(s, whole);
    unsigned n = e ? e->slices : 0;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* ---- changes ---- */

bool index_replace(struct index *ix, const struct object *old, struct object *o)
{
    struct removed removed = { 0 };
    struct index_shard *s = index_shard_of(ix, o->key.hash);
    atomic_store_explicit(&o->touched, atomic_load(&s->inflation), memory_order_relaxed);
    index_count_slice(ix, &o->key, 1);
    struct purges whole = index_whole_purges(ix, &o->key);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_get(ix, s, &o->key);
    entry_obey(e, &whole);
    entry_forget_pending(e, o);
    bool valid = entry_usable(e, o) && !is_overtaken(e, o);
    /* The place that it may have taken over (304) is its own, though what had it was evicted. */
    if (valid) index_mark_loaded(ix, o);
    if (valid && ix->disk) disk_forget_superseded(ix->disk, &o->key, o->vary, o->vary_key);
    if (valid)
        entry_insert(ix, e, o, old, &removed);
    else
        entry_tidy(ix, s, e);
    if (valid) index_mark_loaded(ix, o);
    if (valid && e->slices) e->purges.superseded = atomic_fetch_add(&ix->purge_seq, 1) + 1;
    pthread_mutex_unlock(&s->lock);
    index_drop_removed(ix, &removed);
    if (valid)
        metric_add(METRIC_CACHE_INSERTS, 1);
    else
        index_count_slice(ix, &o->key, -1);
    index_make_room(ix);
    return valid;
}

bool index_publish(struct index *ix, struct object *o)
{
    return index_replace(ix, NULL, o);
}

void index_completed(struct index *ix, struct object *o)
{
    struct index_shard *s = index_shard_of(ix, o->key.hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_find(s, &o->key);
    if (entry_has(e, o)) entry_nominate(s, e);
    pthread_mutex_unlock(&s->lock);
    index_make_room(ix);
}

void index_release(struct index *ix, struct object *pending, int64_t until_ms)
{
    struct index_shard *s = index_shard_of(ix, pending->key.hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_get(ix, s, &pending->key);
    entry_forget_pending(e, pending);
    if (until_ms) e->pass_until_ms = until_ms;
    entry_tidy(ix, s, e);
    pthread_mutex_unlock(&s->lock);
    index_make_room(ix); /* what is remembered costs as well */
}

void index_pass(struct index *ix, const struct key *key, int64_t until_ms)
{
    struct index_shard *s = index_shard_of(ix, key->hash);
    pthread_mutex_lock(&s->lock);
    entry_get(ix, s, key)->pass_until_ms = until_ms;
    pthread_mutex_unlock(&s->lock);
    index_make_room(ix);
}

bool index_passes(struct index *ix, const struct key *key, int64_t now_ms)
{
    struct index_shard *s = index_shard_of(ix, key->hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_find(s, key);
    bool passes = e && e->pass_until_ms > now_ms;
    pthread_mutex_unlock(&s->lock);
    return passes;
}

void index_set_endless(struct index *ix, const struct key *key, int64_t until_ms)
{
    struct index_shard *s = index_shard_of(ix, key->hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_get(ix, s, key);
    e->pass_until_ms = until_ms;
    e->endless = true;
    pthread_mutex_unlock(&s->lock);
    index_make_room(ix);
}

void index_set_ending(struct index *ix, const struct key *key)
{
    struct index_shard *s = index_shard_of(ix, key->hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_find(s, key);
    if (e) e->endless = false;
    pthread_mutex_unlock(&s->lock);
}

bool index_is_endless(struct index *ix, const struct key *key)
{
    struct index_shard *s = index_shard_of(ix, key->hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_find(s, key);
    bool endless = e && e->endless;
    pthread_mutex_unlock(&s->lock);
    return endless;
}

void index_remove(struct index *ix, struct object *o)
{
    struct removed removed = { 0 };
    struct index_shard *s = index_shard_of(ix, o->key.hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_find(s, &o->key);
    if (e) {
        for (unsigned i = e->variant_count; i-- > 0;) {
            if (e->variants[i] == o) entry_take(ix, e, i, &removed, false);
        }
        entry_tidy(ix, s, e);
    }
    pthread_mutex_unlock(&s->lock);
    index_drop_removed(ix, &removed);
}

unsigned index_invalidate(struct index *ix, const struct key *key)
{
    struct removed removed = { 0 };
    struct index_shard *s = index_shard_of(ix, key->hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_find(s, key);
    uint64_t seq = atomic_fetch_add(&ix->purge_seq, 1) + 1;
    unsigned n = ix->disk ? disk_forget_key(ix->disk, key) : 0;
    if (e) {
        e->purges.last = seq;
        while (e->variant_count) entry_take(ix, e, e->variant_count - 1, &removed, false);
        entry_tidy(ix, s, e);
    } else {
        s->forgotten_purge = seq;
    }
    pthread_mutex_unlock(&s->lock);
    n += removed.n;
    metric_add(METRIC_CACHE_INVALIDATIONS, n);
    index_drop_removed(ix, &removed);
    return n;
}
