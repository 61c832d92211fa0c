/* index_entry: what a shard of the index consists of, for the files that are the index. Everything
 * here belongs to the shard's lock. */
#ifndef VERGE_CACHE_INDEX_ENTRY_H
#define VERGE_CACHE_INDEX_ENTRY_H

#include "cache/index.h"

/* A fetch under way, or a load of what the disk has, and for whom: the values of the key's last
 * known Vary. */
struct pending {
    struct object *object;
    struct slice vary_key;
    bool loads;
};

/* Sequences of invalidations. */
struct purges {
    uint64_t last; /* the key's: objects from before are not to be used */
    /* One that may have been the key's, when it had no entry: what began to be fetched before it is
     * not stored. What the disk has is, for the disk forgets by itself. */
    uint64_t forgotten;
    uint64_t superseded; /* when all of it was stored: slices from before are not to be used */
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
    bool endless;          /* see index_set_endless */
    struct purges purges;
};

struct index_shard *index_shard_of(struct index *ix, uint64_t hash);
/* A copy of one's own, to be freed; SLICE_NONE of nothing. */
struct slice index_copy(struct slice s);
uint64_t index_random(struct index_shard *s);

/* ---- entries ---- */

struct index_entry *entry_find(struct index_shard *s, const struct key *key);
/* The same, made where there is none. */
struct index_entry *entry_get(struct index *ix, struct index_shard *s, const struct key *key);
void entry_remove(struct index *ix, struct index_shard *s, struct index_entry *e);
/* An entry goes when it says nothing any more. One that only says "uncacheable" is left to
 * eviction. */
void entry_tidy(struct index *ix, struct index_shard *s, struct index_entry *e);
void entry_drop_pending(struct index_entry *e, unsigned i);
void entry_forget_pending(struct index_entry *e, const struct object *o);
/* It competes for eviction at once: were what is new left to sampling, a large object that nobody
 * asks for again would outlast many small ones. */
void entry_nominate(struct index_shard *s, struct index_entry *e);
void entry_put_candidate(struct index_shard *s, unsigned i, struct index_entry *e);

/* ---- slices; these take shards' locks themselves ---- */

/* What a slice's entry takes over from the whole's before anybody looks at it: no two shards' locks
 * are ever held together, and an invalidation in between is seen by the next one who looks. */
struct purges index_whole_purges(struct index *ix, const struct key *key);
void entry_obey(struct index_entry *e, const struct purges *whole);
/* One stored slice more or less: the whole's entry stays as long as there are any, so that its
 * sequence is that of its own invalidations. */
void index_count_slice(struct index *ix, const struct key *key, int change);

/* ---- variants ---- */

/* What is taken out under a shard's lock is dropped after it: freeing takes time. */
struct removed {
    struct object **v;
    unsigned n;
};

bool entry_usable(const struct index_entry *e, const struct object *o);
bool variant_is(const struct object *o, struct slice vary, struct slice vary_key);
bool entry_has(const struct index_entry *e, const struct object *o);
/* Newest first; what it takes the place of, old (NULL: none), or what is too much, goes. */
void entry_insert(struct index *ix, struct index_entry *e, struct object *o,
                  const struct object *old, struct removed *removed);
/* A new variant takes the place of the one that is there for the same requests, and of what has no
 * Vary, which would go on answering the requests of all others (RFC 9111 section 4.1). */
bool variant_gives_way(const struct object *o, struct slice vary, struct slice vary_key);
/* evicted: it can be loaded again; else the disk forgets it as well. */
void entry_take(struct index *ix, struct index_entry *e, unsigned i, struct removed *removed,
                bool evicted);
/* With no lock held. */
void index_drop_removed(struct index *ix, struct removed *removed);
/* It stands for what the disk has, also as another generation of it. */
void index_mark_loaded(struct index *ix, struct object *o);
/* The disk takes what is in the index, and its queue is short: so that is not evicted. */
bool object_is_being_written(const struct object *o);

#endif
