#include "cache/index_entry.h"

#include <stdlib.h>

#include "cache/disk.h"
#include "edge/base/check.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"

struct slice index_copy(struct slice s)
{
    return s.n ? slice_of(memcpy(xmalloc(s.n), s.p, s.n), s.n) : SLICE_NONE;
}

struct index_shard *index_shard_of(struct index *ix, uint64_t hash)
{
    return &ix->shards[hash >> 58];
}

/* ---- entries ---- */

static size_t entry_cost(const struct index_entry *e)
{
    return block_cost(sizeof *e) + block_cost(e->text.n) + 2 * sizeof(void *) + 32;
}

static struct index_entry **bucket_of(struct index_shard *s, uint64_t hash)
{
    return &s->buckets[hash & (s->bucket_count - 1)];
}

struct index_entry *entry_find(struct index_shard *s, const struct key *key)
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
    e->text = index_copy(key->text);
    e->position = s->entry_count;
    s->entries[s->entry_count++] = e;
    e->next = *bucket;
    *bucket = e;
    budget_charge(&ix->budget, entry_cost(e));
    return e;
}

struct index_entry *entry_get(struct index *ix, struct index_shard *s, const struct key *key)
{
    struct index_entry *e = entry_find(s, key);
    return e ? e : add_entry(ix, s, key);
}

uint64_t index_random(struct index_shard *s) /* xorshift64 */
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return s->random;
}

void entry_put_candidate(struct index_shard *s, unsigned i, struct index_entry *e)
{
    if (i == s->candidate_count)
        s->candidate_count++;
    else
        s->candidates[i]->is_candidate = false;
    s->candidates[i] = e;
    e->is_candidate = true;
}

void entry_nominate(struct index_shard *s, struct index_entry *e)
{
    unsigned n = s->candidate_count;
    if (e->is_candidate) return;
    entry_put_candidate(s, n < INDEX_CANDIDATES ? n : index_random(s) % INDEX_CANDIDATES, e);
}

static void drop_candidate(struct index_shard *s, struct index_entry *e)
{
    unsigned i = 0;
    if (!e->is_candidate) return;
    while (s->candidates[i] != e) i++;
    s->candidates[i] = s->candidates[--s->candidate_count];
}

void entry_remove(struct index *ix, struct index_shard *s, struct index_entry *e)
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

void entry_tidy(struct index *ix, struct index_shard *s, struct index_entry *e)
{
    if (e->variant_count == 0 && e->pending_count == 0 && e->slices == 0 && e->pass_until_ms == 0)
        entry_remove(ix, s, e);
}

void entry_drop_pending(struct index_entry *e, unsigned i)
{
    metric_add(METRIC_CACHE_PENDING, -1);
    object_drop(&e->pendings[i].object);
    free((char *)e->pendings[i].vary_key.p);
    memmove(e->pendings + i, e->pendings + i + 1, (--e->pending_count - i) * sizeof *e->pendings);
}

void entry_forget_pending(struct index_entry *e, const struct object *o)
{
    for (unsigned i = e->pending_count; i-- > 0;) {
        if (e->pendings[i].object == o) entry_drop_pending(e, i);
    }
}

/* ---- slices ---- */

static struct purges purges_of(struct index *ix, const struct key *key)
{
    struct index_shard *s = index_shard_of(ix, key->hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_find(s, key);
    struct purges p = e ? e->purges : (struct purges){ .forgotten = s->forgotten_purge };
    pthread_mutex_unlock(&s->lock);
    return p;
}

uint64_t index_purged(struct index *ix, const struct key *key)
{
    return purges_of(ix, key).last;
}

struct purges index_whole_purges(struct index *ix, const struct key *key)
{
    struct key whole;
    if (!key->slice) return (struct purges){ 0 };
    key_whole(key, &whole);
    struct purges p = purges_of(ix, &whole);
    if (p.last < p.superseded) p.last = p.superseded;
    return p;
}

void entry_obey(struct index_entry *e, const struct purges *whole)
{
    if (e->purges.last < whole->last) e->purges.last = whole->last;
    if (e->purges.forgotten < whole->forgotten) e->purges.forgotten = whole->forgotten;
}

void index_count_slice(struct index *ix, const struct key *key, int change)
{
    struct key whole;
    if (!key->slice) return;
    key_whole(key, &whole);
    struct index_shard *s = index_shard_of(ix, whole.hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_get(ix, s, &whole);
    e->slices += (unsigned)change;
    entry_tidy(ix, s, e);
    pthread_mutex_unlock(&s->lock);
}

/* ---- variants ---- */

bool entry_usable(const struct index_entry *e, const struct object *o)
{
    return o->purge_seq >= e->purges.last && object_state(o) != OBJECT_FAILED &&
           object_is_readable(o);
}

bool variant_is(const struct object *o, struct slice vary, struct slice vary_key)
{
    return slice_eq(o->vary, vary) && slice_eq(o->vary_key, vary_key);
}

bool entry_has(const struct index_entry *e, const struct object *o)
{
    for (unsigned i = 0; e && i < e->variant_count; i++) {
        if (e->variants[i] == o) return true;
    }
    return false;
}

void entry_take(struct index *ix, struct index_entry *e, unsigned i, struct removed *removed,
                bool evicted)
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

void index_drop_removed(struct index *ix, struct removed *removed)
{
    for (unsigned i = 0; i < removed->n; i++) {
        index_count_slice(ix, &removed->v[i]->key, -1);
        object_drop(&removed->v[i]);
    }
    free(removed->v);
}

/* What takes the place of the other in memory stands for the same on the disk. */
static bool have_one_place(const struct index *ix, struct object *a, struct object *b)
{
    if (a->payload == b->payload) return true;
    struct stored *place = ix->disk ? payload_stored(a->payload) : NULL;
    return place && place == payload_stored(b->payload);
}

bool variant_gives_way(const struct object *o, struct slice vary, struct slice vary_key)
{
    return variant_is(o, vary, vary_key) || (vary.n && !o->vary.n);
}

void entry_insert(struct index *ix, struct index_entry *e, struct object *o,
                  const struct object *old, struct removed *removed)
{
    for (unsigned i = e->variant_count; i-- > 0;) {
        struct object *v = e->variants[i];
        if (v == old || variant_gives_way(v, o->vary, o->vary_key) || !entry_usable(e, v))
            entry_take(ix, e, i, removed, have_one_place(ix, v, o));
    }
    while (e->variant_count >= ix->variants_max)
        entry_take(ix, e, e->variant_count - 1, removed, false);
    e->variants = xrealloc(e->variants, (e->variant_count + 1) * sizeof *e->variants);
    memmove(e->variants + 1, e->variants, e->variant_count++ * sizeof *e->variants);
    e->variants[0] = object_hold(o);
    metric_add(METRIC_CACHE_OBJECTS, 1);
    if (object_state(o) == OBJECT_COMPLETE) entry_nominate(index_shard_of(ix, e->hash), e);
    if (!slice_eq(e->vary, o->vary)) {
        free((char *)e->vary.p);
        e->vary = index_copy(o->vary);
    }
    e->pass_until_ms = 0;
    e->endless = false;
}

void index_mark_loaded(struct index *ix, struct object *o)
{
    struct stored *place = ix->disk ? payload_stored(o->payload) : NULL;
    if (place) stored_set_flags(&ix->disk->directory, place, STORED_LOADED, 0);
}
