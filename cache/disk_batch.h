/* disk_batch: what the writer commits at a time: values put at the log's end, and what its oldest
 * end gives up for them.
 *
 * The order is what makes a store right after kill -9: first the catalog loses what goes, then the
 * log changes, then the directory knows, then the catalog. Belongs to the writer. */
#ifndef VERGE_CACHE_DISK_BATCH_H
#define VERGE_CACHE_DISK_BATCH_H

#include "cache/disk.h"

/* A value put: its place counts once the log is committed. */
struct disk_placed {
    struct disk_write *write;
    uint32_t chunk, page, size_bytes;
    bool with_head; /* the object's last */
};

/* A value appended again. */
struct disk_moved {
    struct stored *stored; /* a reference */
    uint32_t chunk, from, to, size_bytes;
};

struct disk_batch {
    struct disk_write **writes; /* each object is held */
    size_t write_count, write_capacity;
    struct disk_placed *placed;
    size_t placed_count, placed_capacity;
    struct disk_moved *moved;
    size_t moved_count, moved_capacity;
    uint64_t *dropped; /* numbers */
    size_t dropped_count, dropped_capacity;
    size_t recorded_count;
    uint64_t put_bytes, moved_bytes; /* of the log */
    bool sparing;                    /* nothing is appended again but what is pinned */
    char *buffer;                    /* DISK_VALUE_BYTES, for what is moved */
};

void disk_batch_init(struct disk_batch *b);
void disk_batch_free(struct disk_batch *b);

/* Puts what an object has that is not written yet, as far as the batch has room; the log's
 * transaction is open. more: it has not put all there is. 0, or an error of the log: nothing of the
 * batch is to be committed then. */
int disk_batch_put(struct disk *d, struct disk_batch *b, struct disk_write *w, bool *more);
/* Gives up that much of the oldest values, at most a batch, and keeps only what is pinned. */
int disk_batch_give_up(struct disk *d, struct disk_batch *b, uint64_t bytes);
bool disk_batch_is_full(const struct disk *d, const struct disk_batch *b);

/* The log is committed: the directory learns it, and objects that are whole are attached to their
 * place in the index. */
void disk_batch_apply(struct disk *d, struct disk_batch *b);
/* Writes what the catalog must know of it; its transaction is open. */
int disk_batch_record(struct disk *d, struct disk_batch *b);
/* Nothing was committed. failed: those objects are not tried again. */
void disk_batch_undo(struct disk *d, struct disk_batch *b, bool failed);
/* Empties it. */
void disk_batch_reset(struct disk *d, struct disk_batch *b);

#endif
