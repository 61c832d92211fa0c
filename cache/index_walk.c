#include "cache/index_walk.h"

#include "cache/index_entry.h"

#define STEPS_MAX 512 /* buckets in one go, under one lock */

/* That object of a bucket; NULL where it has not so many. */
static struct object *item_of(const struct index_entry *e, unsigned item)
{
    for (; e; e = e->next) {
        if (item < e->variant_count) return e->variants[item];
        item -= e->variant_count;
    }
    return NULL;
}

/* Buckets double when a table grows, and what was in one is then in it or in its new counterpart
 * behind: nothing gets from where the walk goes to where it was. */
static struct object *next_locked(const struct index_shard *s, struct index_place *place)
{
    for (int step = 0; step < STEPS_MAX && place->bucket < s->bucket_count; step++) {
        struct object *o = item_of(s->buckets[place->bucket], place->item);
        if (o) {
            place->item++;
            return object_hold(o);
        }
        place->bucket++;
        place->item = 0;
    }
    return NULL;
}

bool index_walk(struct index *ix, struct index_place *place, struct object **out)
{
    *out = NULL;
    if (place->shard >= INDEX_SHARDS) return false;
    struct index_shard *s = &ix->shards[place->shard];
    pthread_mutex_lock(&s->lock);
    *out = next_locked(s, place);
    bool over = place->bucket >= s->bucket_count;
    pthread_mutex_unlock(&s->lock);
    if (over) *place = (struct index_place){ .shard = place->shard + 1 };
    return true;
}

bool index_is_valid(struct index *ix, const struct object *o)
{
    struct key whole;
    if (!o->key.slice) return true;
    key_whole(&o->key, &whole);
    return o->purge_seq >= index_purged(ix, &whole);
}
