/* disk_read: a value on its way from the disk into a block, for one worker. It is given over only
 * if it is the value that was asked for, whole and unchanged.
 *
 * Embedded in whoever reads, whose scope it holds until the system is done with it. A value that
 * was moved while it was read is read again. Cancelling is not possible: who has lost interest
 * drops the block. Who loses patience is told so, and may not begin another read in the same place
 * before this one has ended after all. */
#ifndef VERGE_CACHE_DISK_READ_H
#define VERGE_CACHE_DISK_READ_H

#include "cache/disk.h"
#include "edge/base/wheel.h"
#include "edge/io/op.h"

enum disk_read_state {
    DISK_READ_IDLE,
    DISK_READ_OUT,
    DISK_READ_UNANSWERED, /* done was called without the value; the operation may still be out */
};

struct disk_read {
    enum disk_read_state state;
    struct op op;
    struct note note; /* in place of the op where that cannot begin */
    struct disk *disk;
    struct stored *stored; /* a reference while it reads */
    struct block *block;
    uint32_t chunk, page, got;
    unsigned tries;
    struct timer patience;
    struct disk_value value; /* its header, in done */
    /* Once. block: the value, the callee's. NULL: it could not be read, and the object is
     * forgotten; or, where state is UNANSWERED, the disk did not answer in time, and it is as it
     * was. */
    void (*done)(struct disk_read *r, struct block *block);
};

#define DISK_READ_PATIENCE_MS 2000

/* Begins, of a chunk or of STORED_HEAD; done is called later, never from inside. r is zero, or what
 * an earlier read has left that has ended. */
void disk_read_start(struct disk_read *r, struct disk *d, struct stored *s, uint32_t chunk,
                     struct scope *scope, void (*done)(struct disk_read *r, struct block *block));

#endif
