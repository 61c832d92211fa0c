/* disk: the cache's second tier, as the first one sees it.
 *
 *     workers                                 the writer, a thread
 *     disk_write(object)       -> queue  ->   log and catalog, then the directory
 *     disk_forget(...)         -> list   ->   catalog
 *     directory -> disk_read (io_uring)       the log's oldest end: dropped, or appended again
 *
 * Workers look into the directory, which is memory, and read values where it says they are; they
 * never call LMDB and never wait for a lock that is held across a system call. Nothing of a request
 * depends on the disk: what cannot be queued is not stored, what cannot be read is forgotten and
 * fetched, what is not read in time is fetched as well, and stays. A disk that fails, or does not
 * answer, is left alone for a while, then tried again. */
#ifndef VERGE_CACHE_DISK_H
#define VERGE_CACHE_DISK_H

#include "cache/admission.h"
#include "cache/disk_catalog.h"
#include "cache/disk_stamp.h"
#include "cache/disk_value.h"
#include "cache/object.h"

#define DISK_FORMAT    4u          /* changes with the layout of values, records and catalog */
#define DISK_OWN_BYTES (12u << 20) /* what the writer needs for itself: three batches */
#define DISK_SPILL_BYTES                                                                           \
    (4u << 20) /* of a body that fills: what may wait to be written, at most                       \
                */

struct index;

struct disk_settings {
    const char *path;
    uint64_t size_bytes; /* of all files together */
    size_t queue_bytes;  /* of bodies that wait to be written */
};

/* An object on its way to the disk; hangs on it, and is freed with it. */
struct disk_write {
    struct disk *disk;
    struct list link;      /* in the queue; the disk's lock */
    struct object *object; /* held while queued or in a batch */
    struct stored *stored; /* the writer's, once it has begun; a reference */
    uint64_t put_bytes;    /* of the body, in this batch or before; the writer's */
    uint64_t kept_bytes;   /* of the body, in batches that were committed; likewise */
    size_t counted_bytes;  /* in queued_bytes; the disk's lock, like what follows */
    bool queued;
    bool head_only;    /* the body is there: only the head is another */
    _Atomic bool over; /* written, failed or given up: nothing more happens to it */
};

/* Why something is not written; in the order of the metric's labels. */
enum disk_drop { DISK_DROP_QUEUE, DISK_DROP_DOWN, DISK_DROP_FAILED };

/* Who waits until what is forgotten is forgotten for good. Embedded; from the moment it waits until
 * ready it is the disk's. */
struct disk_wait {
    struct list link;
    struct note note;
    struct worker *worker;
    uint64_t upto; /* how many had been forgotten */
};

struct disk {
    struct index *index;
    struct directory directory;
    struct disk_settings settings;
    struct admission admission;
    struct disk_stamp stamp; /* constant once workers run */
    int lock_fd;
    _Atomic int fd;                           /* of the log, to read from */
    _Atomic bool up;                          /* it takes what is to be written */
    _Atomic bool is_distrusted;               /* the next start begins anew */
    _Atomic unsigned unanswered;              /* reads in a row that got no answer in time */
    _Atomic int64_t silent_until_ms;          /* monotonic: it is not read until then */
    _Atomic uint64_t used_bytes, limit_bytes; /* of the log */

    /* The writer's. */
    struct disk_log log;
    struct disk_catalog catalog;
    uint64_t next_id, batch_bytes;
    pthread_t thread;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t bell;
    struct list queue;   /* struct disk_write.link */
    size_t queued_bytes; /* and in the batch */
    uint64_t *forgotten; /* numbers of objects, to be taken out of the catalog */
    size_t forgotten_count, forgotten_capacity;
    uint64_t forgotten_ever, settled; /* how many there were, and how many the catalog has lost */
    struct list waits;                /* struct disk_wait.link */
    bool stopping;
};

/* Opens or makes the store, reads its catalog and starts the writer. Always gives one: where the
 * store cannot be opened, the log says so, and the writer tries again. highest_purge_seq: of what
 * is stored. */
struct disk *disk_open(const struct disk_settings *settings, struct index *ix,
                       uint64_t *highest_purge_seq);
/* Writes what is queued, and what the system has not yet written; ends the writer. No worker may
 * run any more. */
void disk_stop(struct disk *d);
/* After that, and when no object is left. NULL is well. */
void disk_free(struct disk **d);

/* ---- any worker ---- */

/* Of a key, for the directory. */
uint64_t disk_hash(const struct disk *d, const struct key *key);
/* Of what Vary names and the values for it, likewise: 0 where it names nothing, and never else. */
uint32_t disk_variant(const struct disk *d, struct slice vary, struct slice vary_key);

/* Queues a response that is or becomes whole; its writing follows its fill, which is to call this
 * again as it grows. False where it is not taken: no room in the queue, or the disk is down. */
bool disk_write(struct disk *d, struct object *o);
/* A hit in memory on what has no place on the disk: now it was asked for twice, so it is queued, if
 * that was not tried yet. */
void disk_want(struct disk *d, struct object *o);
/* Where a fill ends before its body does, or its object is not to be stored after all. */
void disk_write_abort(struct disk *d, struct object *o);

/* How much of a body that fills may wait to be written: with a short queue it is less. */
size_t disk_spill_bytes(const struct disk *d);
/* With its object. */
void disk_write_free(struct disk_write **w);

/* Nobody will find it again, in this process at once. */
void disk_forget(struct disk *d, struct stored *s);
/* Likewise all of a primary key, whatever variant or slice. Returns how many there were, but for
 * variants that an object in memory stands for. */
unsigned disk_forget_key(struct disk *d, const struct key *key);
/* Likewise what a new response to a key takes the place of, as far as no object in memory stands
 * for it: that variant, and, for a whole representation, all slices. */
unsigned disk_forget_superseded(struct disk *d, const struct key *key, struct slice vary,
                                struct slice vary_key);
/* Whether there are any to be loaded. */
bool disk_has_unloaded(struct disk *d, const struct key *key);
/* Whether all that was forgotten until now will stay so if the process is killed. If not: ready is
 * called as the note when it does, or when that cannot be had. */
bool disk_is_settled(struct disk *d, struct disk_wait *w, struct worker *worker);
/* A value could not be read: counts, logs, forgets the object. */
void disk_read_failed(struct disk *d, struct stored *s, const char *why);
/* A read got an answer, or none in time: after several without one the disk is silent for some
 * seconds. */
void disk_read_answered(struct disk *d);
void disk_read_unanswered(struct disk *d);
/* It is not to be read just now. */
bool disk_is_silent(const struct disk *d);

/* ---- the writer ---- */

/* The next of the queue, which lets go of it: the object's reference is the caller's. NULL: none.
 */
struct disk_write *disk_dequeue(struct disk *d);
/* Back to its front. */
void disk_requeue(struct disk *d, struct disk_write *w);
/* It is over: nothing more comes, or nothing more can be had. */
void disk_write_end(struct disk *d, struct disk_write *w);
void disk_write_fail(struct disk *d, struct disk_write *w);

#endif
