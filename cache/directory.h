/* directory: what is on the disk, in memory: for each object where its values are.
 *
 * Shared by all workers and the disk's writer: 64 shards, each a hash table under a mutex that is
 * held for a few loads and stores. An object is found by the hash of its primary key, of which
 * there are as many as it has variants and slices; whether it is the right one its head tells,
 * which is on the disk. An object is in the directory, or forgotten: then nobody finds it any more,
 * its values are nobody's, and only who holds a reference still sees it.
 *
 * 72 bytes for each object, and a page number for each chunk of large ones: charged to the budget.
 */
#ifndef VERGE_CACHE_DIRECTORY_H
#define VERGE_CACHE_DIRECTORY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIRECTORY_SHARDS 64
#define HITS_COUNTED_MAX 3 /* more than decide whether an object stays */

struct budget;

enum stored_flags {
    STORED_LISTED = 1,  /* in the directory */
    STORED_LOADED = 2,  /* an object of the memory's index stands for it */
    STORED_FILLING = 4, /* not whole yet: not found by lookups */
    STORED_KEEPING = 8, /* what the log's end reaches of it is appended again */
    STORED_SILENT = 16, /* a read of it, or of its key, does not end: until then it is not found */
};

/* An object on the disk. What may change belongs to its shard's lock, but for what is atomic. */
struct stored {
    struct stored *next;         /* in its bucket */
    uint64_t hash, id;           /* constant, like slice */
    _Atomic uint64_t body_bytes; /* UINT64_MAX while its last chunk is not known */
    uint32_t *pages;             /* of its chunks, but for what is in one value with the head */
    uint32_t page_count;
    uint32_t head_page, head_size_bytes;
    uint32_t slice;
    uint32_t variant; /* what its head says of Vary, see disk_variant */
    _Atomic uint32_t references;
    _Atomic uint32_t pins; /* readers: its values stay on the disk */
    _Atomic uint8_t hits;  /* since the log's end passed it, HITS_COUNTED_MAX at most */
    _Atomic uint8_t flags; /* enum stored_flags; changed under the lock */
};

struct directory_shard {
    _Alignas(64) pthread_mutex_t lock;
    struct stored **buckets;
    size_t bucket_count, count; /* a power of two */
};

struct directory {
    struct budget *budget;
    _Atomic size_t count; /* of what is listed */
    struct directory_shard shards[DIRECTORY_SHARDS];
};

void directory_init(struct directory *d, struct budget *budget);
void directory_free(struct directory *d);
/* Room for that many objects, so that no table grows while they are added. */
void directory_reserve(struct directory *d, size_t count);

/* One that is not listed, with one reference; pages are copied, NULL for none. */
struct stored *stored_new(struct directory *d, uint64_t hash, uint64_t id, uint32_t slice);
struct stored *stored_hold(struct stored *s);
void stored_drop(struct directory *d, struct stored **s);

/* Lists it; the directory takes a reference of its own. */
void directory_add(struct directory *d, struct stored *s, unsigned flags);
/* What is not listed any more is well. Returns whether it was. */
bool directory_forget(struct directory *d, struct stored *s);
/* Listed, whole objects of a hash and slice that are neither loaded nor silent, at most max, the
 * oldest of them first; references for the caller. */
unsigned directory_find(struct directory *d, uint64_t hash, uint32_t slice, struct stored **out,
                        unsigned max);
/* Likewise those of a hash, whatever their slice and loaded or not, in no order. */
unsigned directory_find_all(struct directory *d, uint64_t hash, struct stored **out, unsigned max);
bool directory_has_unloaded(struct directory *d, uint64_t hash, uint32_t slice);
enum directory_forgetting {
    FORGET_ALL,        /* whatever their slice */
    FORGET_SUPERSEDED, /* of the slice, those that are not loaded and that a new one of that variant
                          takes the place of: what has no Vary answers as any, and stands for all */
    FORGET_SLICES,     /* all but whole representations */
};
/* The listed objects of a hash are forgotten; gone is called for each, with no lock held. Returns
 * how many. */
unsigned directory_forget_all(struct directory *d, uint64_t hash, enum directory_forgetting which,
                              uint32_t slice, uint32_t variant,
                              void (*gone)(void *context, struct stored *s), void *context);
/* The listed object with that number; a reference for the caller, NULL where there is none. */
struct stored *directory_get(struct directory *d, uint64_t hash, uint64_t id);
/* All are forgotten. */
void directory_clear(struct directory *d);
/* Any listed, whole object, for who lists them: from a place on, which moves on; NULL at the end.
 */
struct directory_place {
    size_t shard, bucket;
};
unsigned directory_walk(struct directory *d, struct directory_place *place, struct stored **out,
                        unsigned max);

/* ---- one object ---- */

#define STORED_HEAD UINT32_MAX /* the value with the head, in place of a chunk's number */

static inline bool stored_is_listed(const struct stored *s)
{
    return atomic_load_explicit(&s->flags, memory_order_acquire) & STORED_LISTED;
}
static inline bool stored_is_loaded(const struct stored *s)
{
    return atomic_load_explicit(&s->flags, memory_order_acquire) & STORED_LOADED;
}
static inline bool stored_is_silent(const struct stored *s)
{
    return atomic_load_explicit(&s->flags, memory_order_acquire) & STORED_SILENT;
}
static inline bool stored_is_filling(const struct stored *s)
{
    return atomic_load_explicit(&s->flags, memory_order_acquire) & STORED_FILLING;
}
/* Where a value is; false where it has none. *head_size_bytes: of the value, if it is the one with
 * the head, else 0. */
bool stored_locate(struct directory *d, struct stored *s, uint32_t chunk, uint32_t *page,
                   uint32_t *head_size_bytes);
/* Moves a value that is at page from; false where it is not there (any more). */
bool stored_move(struct directory *d, struct stored *s, uint32_t chunk, uint32_t from, uint32_t to);
/* The head has another value, perhaps of another variant. */
void stored_set_head(struct directory *d, struct stored *s, uint32_t page, uint32_t size_bytes,
                     uint32_t variant);
/* A chunk more, behind those there are. */
void stored_append_page(struct directory *d, struct stored *s, uint32_t page);
/* Puts flags in and takes flags out, if it is listed, or not listed yet. */
void stored_set_flags(struct directory *d, struct stored *s, unsigned in, unsigned out);

static inline void stored_hit(struct stored *s)
{
    uint8_t hits = atomic_load_explicit(&s->hits, memory_order_relaxed);
    if (hits < HITS_COUNTED_MAX)
        atomic_store_explicit(&s->hits, (uint8_t)(hits + 1), memory_order_relaxed);
}

/* Its values stay on the disk until it is unpinned; false where they do not any more. */
bool stored_pin(struct directory *d, struct stored *s);
static inline void stored_unpin(struct stored *s)
{
    atomic_fetch_sub_explicit(&s->pins, 1, memory_order_relaxed);
}

/* What becomes of an object one of whose values, that chunk at that page, is the log's oldest. */
enum stored_fate {
    FATE_GONE,   /* the value is nobody's */
    FATE_KEPT,   /* to be appended again */
    FATE_DROPPED /* it was forgotten for it */
};
/* What may be kept: what was asked for, only what is being read or filled, or not even that. */
enum stored_keeping { KEEP_WANTED, KEEP_PINNED, KEEP_NOTHING };
enum stored_fate stored_judge(struct directory *d, struct stored *s, uint32_t chunk, uint32_t page,
                              enum stored_keeping keeping);

#endif
