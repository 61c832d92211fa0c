/* disk_read: a value on its way from the disk into a block, for one worker. It is given over only
 * if it is the value that was asked for, whole and unchanged.
 *
 * Embedded in whoever reads, whose scope it holds meanwhile. A value that was moved while it was
 * read is read again. Cancelling is not possible, nor needed: a read of a file ends; who has lost
 * interest drops the block. */
#ifndef VERGE_CACHE_DISK_READ_H
#define VERGE_CACHE_DISK_READ_H

#include "cache/disk.h"
#include "edge/base/wheel.h"
#include "edge/io/op.h"

struct disk_read {
    struct op op;
    struct note note; /* in place of the op where that cannot begin */
    struct disk *disk;
    struct stored *stored; /* a reference while it reads */
    struct block *block;
    uint32_t chunk, page, got;
    unsigned tries;
    struct timer patience;
    bool told;               /* done was called */
    struct disk_value value; /* its header, in done */
    /* Once. block: the value, the callee's; NULL: it could not be read, and the object is
     * forgotten. */
    void (*done)(struct disk_read *r, struct block *block);
};

#define DISK_READ_PATIENCE_MS 2000

/* Begins, of a chunk or of STORED_HEAD; done is called later, never from inside. */
void disk_read_start(struct disk_read *r, struct disk *d, struct stored *s, uint32_t chunk,
                     struct scope *scope, void (*done)(struct disk_read *r, struct block *block));

#endif
