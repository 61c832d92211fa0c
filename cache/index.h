/* index: all stored objects by key, and what is known about keys that have none.
 *
 * Shared by all workers: 64 shards, each a hash table under a mutex that is held for a lookup and
 * never while an object is read, filled or freed. An entry is one primary key: its stored variants
 * (RFC 9111 section 4.1), the fetches under way for it, and for how long its responses are known
 * not to be shared. Eviction is a sampled GDSF: worth is hits / size, plus the inflation at the
 * last hit. A shard keeps the least worthy entries of all that were sampled as candidates; each
 * eviction adds a few random ones and drops the worst. So it comes close to an exact order, which a
 * hit would have to keep up, and does so whatever the number of entries.
 *
 * A slice of a representation (key.slice) is an entry and an object like any other, but that it
 * obeys the invalidation of the whole as well: the whole's entry is there as long as slices are
 * stored, and has their sequence. */
#ifndef VERGE_CACHE_INDEX_H
#define VERGE_CACHE_INDEX_H

#include "cache/object.h"

#define INDEX_SHARDS     64
#define INDEX_CANDIDATES 32

struct index_entry;
struct disk;

struct index_shard {
    _Alignas(64) pthread_mutex_t lock;
    struct index_entry **buckets; /* chains */
    size_t bucket_count;          /* a power of two */
    struct index_entry **entries; /* the same ones in no order, for sampling */
    size_t entry_count, entry_capacity;
    struct index_entry *candidates[INDEX_CANDIDATES]; /* for eviction, in no order */
    unsigned candidate_count;
    uint64_t random;
    _Atomic double inflation; /* GDSF's L: the worth of this shard's last victim */
    /* The last invalidation whose key has no entry (any more). A fetch made alone has none either,
     * so one that began before it is not stored, whatever its key: better a miss too many than what
     * was invalidated. */
    uint64_t forgotten_purge;
};

/* The cache: index, budget and the sequence that purges number. One per process. */
struct index {
    struct budget budget;
    _Atomic unsigned variants_max; /* these three a reload may change, like the budget's limit */
    _Atomic size_t window_bytes;
    _Atomic size_t object_memory_max_bytes; /* larger bodies are only on the disk */
    struct disk *disk;                      /* the tier behind it, constant; NULL: none */
    _Atomic uint64_t purge_seq; /* of the last invalidation: what began before it is hit by it */
    struct index_shard shards[INDEX_SHARDS];
};

/* The closed list of what a lookup can say. */
enum lookup {
    LOOKUP_HIT,      /* object is fresh: answer with it */
    LOOKUP_STALE,    /* object may be served stale while somebody refreshes it */
    LOOKUP_VALIDATE, /* object is stored but must be validated, by the caller: pending is the
                        caller's to resolve */
    LOOKUP_LEAD,     /* nothing usable: the caller fetches; pending is the caller's to resolve */
    LOOKUP_LOAD,     /* the disk has something of the key: the caller loads it, pending is its to
                        resolve */
    LOOKUP_JOIN,     /* somebody fetches: wait for pending */
    LOOKUP_PASS,     /* known not to be shared: fetch for this request alone */
};

struct lookup_result {
    enum lookup verdict;
    struct object *object;  /* HIT, STALE, VALIDATE */
    struct object *pending; /* VALIDATE, LEAD, JOIN; STALE with refresh */
    bool refresh;           /* STALE: pending is the caller's to resolve, in the background */
    bool stale;             /* one is stored but may not be used as it is: fwd=stale */
    bool reload;            /* the client insists on the origin: fwd=request */
    bool vary_miss;         /* variants exist, none for this request: fwd=vary-miss */
};

void index_init(struct index *ix, size_t limit_bytes, unsigned variants_max, size_t window_bytes);
/* Drops everything. No worker may run any more. */
void index_free(struct index *ix);

/* Looks a request up. References in the result are the caller's. arena: for the request's Vary key.
 */
void index_lookup(struct index *ix, const struct key *key, const struct cache_policy *policy,
                  const struct request *req, int64_t now_ms, struct arena *arena,
                  struct lookup_result *out);
/* The stored object a request would get, in any state of freshness, without any effect; NULL where
 * there is none. */
struct object *index_peek(struct index *ix, const struct key *key, const struct request *req,
                          struct arena *arena);
/* All variants of a key, in any state, the newest first, at most max; references for the caller. */
unsigned index_variants(struct index *ix, const struct key *key, struct object **out, unsigned max);

/* How many slices of a key are in memory, also those that its invalidation has overtaken. */
unsigned index_slices(struct index *ix, const struct key *whole);

/* Ends a fetch that LOOKUP_LEAD or LOOKUP_VALIDATE began, in one of three ways; each forgets
 * pending as such.
 *
 * publish: stored (any object whose head is set, also one that never was pending). It takes the
 * place of variants with the same secondary key. False where a purge overtook it, and it is then
 * used by those who wait, not stored. */
bool index_publish(struct index *ix, struct object *o);
/* The same, and old goes as well, whatever its variant: the origin has said of it that it is to be
 * replaced by this one, which may name other fields in Vary. NULL: none. */
bool index_replace(struct index *ix, const struct object *old, struct object *o);
/* A published object's body is whole: what it costs is known, and it may be evicted from now on.
 * Not needed for one that was COMPLETE when it was published. */
void index_completed(struct index *ix, struct object *o);
/* release: nothing came, or nothing to be stored. until_ms (wall clock): how long requests for the
 * key go their own way; 0: not. */
void index_release(struct index *ix, struct object *pending, int64_t until_ms);
/* Takes a stored object out: its fill failed, or it outgrew what may be stored. */
void index_remove(struct index *ix, struct object *o);

/* RFC 9111 section 4.4: stored variants go, and what is being fetched now will not be stored.
 * Returns how many went, in either tier, each counted once; slices that only memory has go when they
 * are looked at, and are not among them. */
unsigned index_invalidate(struct index *ix, const struct key *key);

/* The sequence of a key's last invalidation, as long as it or a slice of it is in memory: what
 * began before it must not be used. */
uint64_t index_purged(struct index *ix, const struct key *key);
/* Lets requests for a key go their own way until then (wall clock), and tells whether they do. */
void index_pass(struct index *ix, const struct key *key, int64_t until_ms);
bool index_passes(struct index *ix, const struct key *key, int64_t now_ms);
/* A response without a length has not ended in time: as index_pass, and what has no length is known
 * to be endless until something is published, or one does end (index_set_ending). */
void index_set_endless(struct index *ix, const struct key *key, int64_t until_ms);
void index_set_ending(struct index *ix, const struct key *key);
bool index_is_endless(struct index *ix, const struct key *key);

/* ---- the disk ---- */

/* An object that was read from its place on the disk: as publish, but what is in the index already,
 * unless it was written before it, or was purged, wins; then its place is forgotten, and false. */
bool index_insert_loaded(struct index *ix, struct object *o, struct stored *place);
/* An object has got a place: false where it is not in the index any more. The writer's. */
bool index_attach(struct index *ix, struct object *o, struct stored *place);
/* Before a response of that key and variant is shown to anybody, stored or not: what is stored of
 * an older one goes, from both tiers, and so does old (NULL: none), as with index_replace. Whether
 * the disk had any (disk_is_settled tells when it is forgotten for good). */
bool index_supersede(struct index *ix, const struct key *key, struct slice vary,
                     struct slice vary_key, struct object *old);

/* A hit's bookkeeping. */
void index_touch(struct index *ix, struct object *o);
/* Evicts until the budget holds, as far as a bounded effort gets. */
void index_make_room(struct index *ix);
bool index_over_budget(const struct index *ix);
/* Evicts all that the disk has as well: nothing is lost by it. Returns how many; *queued: how many
 * whole ones are still on their way to the disk. */
unsigned index_evict_stored(struct index *ix, unsigned *queued);

#endif
