/* What the index does for the disk tier. */
#include "cache/disk.h"
#include "cache/index_entry.h"

static struct object *find_same(const struct index_entry *e, struct slice vary,
                                struct slice vary_key)
{
    for (unsigned i = 0; i < e->variant_count; i++) {
        if (variant_is(e->variants[i], vary, vary_key)) return e->variants[i];
    }
    return NULL;
}

/* Of two that were written for the same, the later one is right. */
static bool is_latest(const struct index_entry *e, const struct object *o,
                      const struct stored *place)
{
    const struct object *same = find_same(e, o->vary, o->vary_key);
    const struct stored *other = same ? payload_stored(same->payload) : NULL;
    return !same || (other && other->id < place->id);
}

bool index_insert_loaded(struct index *ix, struct object *o, struct stored *place)
{
    struct removed removed = { 0 };
    struct index_shard *s = index_shard_of(ix, o->key.hash);
    atomic_store_explicit(&o->touched, atomic_load(&s->inflation), memory_order_relaxed);
    index_count_slice(ix, &o->key, 1);
    struct purges whole = index_whole_purges(ix, &o->key);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_get(ix, s, &o->key);
    entry_obey(e, &whole);
    bool valid = entry_usable(e, o) && is_latest(e, o, place) && stored_is_listed(place);
    if (valid) {
        entry_insert(ix, e, o, NULL, &removed);
        index_mark_loaded(ix, o);
    } else {
        disk_forget(ix->disk, place);
        entry_tidy(ix, s, e);
    }
    pthread_mutex_unlock(&s->lock);
    index_drop_removed(ix, &removed);
    if (!valid) index_count_slice(ix, &o->key, -1);
    index_make_room(ix);
    return valid;
}

bool index_attach(struct index *ix, struct object *o, struct stored *place)
{
    struct index_shard *s = index_shard_of(ix, o->key.hash);
    struct purges whole = index_whole_purges(ix, &o->key);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_find(s, &o->key);
    if (e) entry_obey(e, &whole);
    bool valid = entry_has(e, o) && entry_usable(e, o) && stored_is_listed(place) &&
                 object_is_being_written(o);
    if (valid) {
        entry_nominate(s, e);
        payload_set_stored(o->payload, &ix->disk->directory, place);
        stored_set_flags(&ix->disk->directory, place, STORED_LOADED, STORED_FILLING);
    }
    pthread_mutex_unlock(&s->lock);
    return valid;
}

/* It must not arrive there later, either. */
static bool forget_on_disk(struct index *ix, struct object *o)
{
    struct stored *place = payload_stored(o->payload);
    if (!ix->disk) return false;
    disk_write_abort(ix->disk, o);
    if (!place || !stored_is_listed(place)) return false;
    disk_forget(ix->disk, place);
    return true;
}

bool index_supersede(struct index *ix, const struct key *key, struct slice vary,
                     struct slice vary_key, struct object *old)
{
    struct removed removed = { 0 };
    struct index_shard *s = index_shard_of(ix, key->hash);
    pthread_mutex_lock(&s->lock);
    struct index_entry *e = entry_find(s, key);
    bool any = ix->disk && disk_forget_superseded(ix->disk, key, vary, vary_key) > 0;
    if (old && forget_on_disk(ix, old)) any = true; /* also where memory has lost it meanwhile */
    for (unsigned i = e ? e->variant_count : 0; i-- > 0;) {
        struct object *v = e->variants[i];
        if (v != old && !variant_gives_way(v, vary, vary_key)) continue;
        if (forget_on_disk(ix, v)) any = true;
        entry_take(ix, e, i, &removed, false);
    }
    if (e) entry_tidy(ix, s, e);
    pthread_mutex_unlock(&s->lock);
    index_drop_removed(ix, &removed);
    return any;
}
