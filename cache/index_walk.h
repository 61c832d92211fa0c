/* index_walk: the index as a whole, in pieces, for who lists it.
 *
 * A walk sees every object that is there all the time at least once; one that comes, goes or is
 * moved by a growing table meanwhile perhaps, perhaps twice. Any worker; a shard's lock is held for
 * a bounded number of steps at a time. Nothing here counts as a hit. */
#ifndef VERGE_CACHE_INDEX_WALK_H
#define VERGE_CACHE_INDEX_WALK_H

#include "cache/index.h"

/* Where a walk is; all zero at its beginning. Any values will do. */
struct index_place {
    unsigned shard;
    size_t bucket;
    unsigned item; /* objects of the bucket that were passed */
};

/* The next object, with a reference for the caller; NULL where the next few hundred buckets have
 * none. False at the end. */
bool index_walk(struct index *ix, struct index_place *place, struct object **out);
/* Slices stay for a while when the whole's key was invalidated, for nobody: false for these. */
bool index_is_valid(struct index *ix, const struct object *o);
#endif
