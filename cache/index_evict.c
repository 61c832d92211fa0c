/* The index's eviction: GDSF, on what is worth least of what was seen lately. */
#include <math.h>

#include "cache/disk.h"
#include "cache/index_entry.h"
#include "edge/base/metrics.h"

#define SAMPLES      16
#define EVICT_ROUNDS 64 /* victims looked for in one call */

bool object_is_being_written(const struct object *o)
{
    const struct disk_write *w = atomic_load_explicit(&o->write, memory_order_acquire);
    return w && !atomic_load_explicit(&w->over, memory_order_relaxed);
}

void index_touch(struct index *ix, struct object *o)
{
    uint32_t hits = atomic_load_explicit(&o->hits, memory_order_relaxed);
    double inflation =
        atomic_load_explicit(&index_shard_of(ix, o->key.hash)->inflation, memory_order_relaxed);
    atomic_store_explicit(&o->hits, hits + 1, memory_order_relaxed);
    atomic_store_explicit(&o->touched, inflation, memory_order_relaxed);
    struct stored *place = payload_stored(o->payload);
    if (place)
        stored_hit(place);
    else if (ix->disk && (hits & (hits + 1)) == 0) /* more and more seldom, where it has no room */
        disk_want(ix->disk, o);
}

/* Of those nobody has asked for again, in hits: most will never be. */
#define WORTH_OF_NEW 0.12

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
        if (object_is_being_written(o)) continue;
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
        struct index_entry *e = s->entries[index_random(s) % s->entry_count];
        if (e->is_candidate) continue;
        struct victim v = weigh(e);
        unsigned at = 0, n = s->candidate_count;
        for (unsigned k = 1; k < n; k++) at = weighed[k].worth > weighed[at].worth ? k : at;
        if (n < INDEX_CANDIDATES)
            at = n;
        else if (v.worth >= weighed[at].worth)
            continue;
        entry_put_candidate(s, at, e);
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
        if (v.variant >= 0) entry_take(ix, v.entry, (unsigned)v.variant, &removed, true);
        if (v.variant < 0 || v.entry->variant_count == 0) v.entry->pass_until_ms = 0;
        entry_tidy(ix, s, v.entry);
    }
    pthread_mutex_unlock(&s->lock);
    if (v.entry && v.worth > atomic_load_explicit(&s->inflation, memory_order_relaxed)) {
        atomic_store_explicit(&s->inflation, v.worth, memory_order_relaxed);
    }
    metric_add(METRIC_CACHE_EVICTIONS, removed.n);
    index_drop_removed(ix, &removed);
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

/* ---- all that the disk has ---- */

static void evict_stored_of(struct index *ix, struct index_entry *e, struct removed *removed,
                            unsigned *queued)
{
    for (unsigned i = e->variant_count; i-- > 0;) {
        struct object *o = e->variants[i];
        if (object_state(o) != OBJECT_COMPLETE) continue;
        if (object_is_being_written(o))
            ++*queued;
        else if (payload_stored(o->payload))
            entry_take(ix, e, i, removed, true);
    }
}

unsigned index_evict_stored(struct index *ix, unsigned *queued)
{
    unsigned evicted = 0;
    *queued = 0;
    for (struct index_shard *s = ix->shards; s < ix->shards + INDEX_SHARDS; s++) {
        struct removed removed = { 0 };
        pthread_mutex_lock(&s->lock);
        for (size_t i = s->entry_count; i-- > 0;) { /* tidying fills the gap with the last */
            struct index_entry *e = s->entries[i];
            evict_stored_of(ix, e, &removed, queued);
            entry_tidy(ix, s, e);
        }
        pthread_mutex_unlock(&s->lock);
        evicted += removed.n;
        index_drop_removed(ix, &removed);
    }
    metric_add(METRIC_CACHE_EVICTIONS, evicted);
    return evicted;
}
