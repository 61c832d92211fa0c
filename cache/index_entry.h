/* index_entry: what a shard of the index consists of, for the files that are the index. Everything
 * here belongs to the shard's lock. */
#ifndef VERGE_CACHE_INDEX_ENTRY_H
#define VERGE_CACHE_INDEX_ENTRY_H

#include "cache/index.h"

/* A fetch under way, and for whom: the values of the key's last known Vary. */
struct pending {
    struct object *object;
    struct slice vary_key;
};

/* Sequences of invalidations. */
struct purges {
    uint64_t last; /* the key's: objects from before are not to be used */
    /* One that may have been the key's, when it had no entry: what began to be fetched before it is
     * not stored. What the disk has is, for the disk forgets by itself. */
    uint64_t forgotten;
};

struct index_entry {
    struct index_entry *next; /* in its bucket */
    size_t position;          /* among the shard's entries */
    bool is_candidate;        /* one of the shard's */
    uint64_t hash;
    struct slice text;
    struct object **variants; /* newest first */
    unsigned variant_count;
    struct pending *pendings;
    unsigned pending_count;
    unsigned slices;       /* stored ones of this key, each in an entry of its own */
    struct slice vary;     /* the newest variant's: tells fetches under way apart */
    int64_t pass_until_ms; /* wall clock */
    struct purges purges;
};

#endif
