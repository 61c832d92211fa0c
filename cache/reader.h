/* reader: an object, or a range of it, as a body. It neither knows nor cares which segments are
 * here already, in memory or on the disk. What it reads from the disk stays in memory where the
 * object is small enough for that.
 *
 * Embedded in what reads (an exchange's arena); belongs to that worker. Holds the object from open
 * to close, and no lock, transaction or segment in between: a slow reader costs nothing but its
 * place, the chunk it is in, and that the object stays on the disk meanwhile. */
#ifndef VERGE_CACHE_READER_H
#define VERGE_CACHE_READER_H

#include "cache/disk_read.h"
#include "cache/object.h"
#include "protocols/http/body.h"

struct reader {
    struct body body; /* first: a body is a reader */
    struct object *object;
    struct list link; /* among the readers of an object that still fills; its lock's */
    bool linked;
    _Atomic uint64_t at; /* next offset; who drops what has been read looks at it, under the lock */
    uint64_t end;        /* where to stop, UINT64_MAX: at the object's end */
    unsigned segment;    /* of a stored object: where at was last found, */
    uint64_t segment_at; /* and that segment's offset */
    struct wait wait;

    struct disk_read read;
    struct block *chunk; /* the value it is in, of what only the disk has; NULL: none */
    uint32_t chunk_number;
    bool pinned, closed;
};

/* Takes a reference of its own. first may lie beyond what is there yet. r is zero, or was closed
 * and has no read out: the system may not be done with the block of one that it was not waited for.
 */
void reader_open(struct reader *r, struct object *o, struct scope *scope, uint64_t first,
                 uint64_t end);

#endif
