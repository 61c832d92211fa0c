/* fill: a body flowing into an object.
 *
 * Embedded in its owner, whose scope it holds while it waits; belongs to that worker. It pulls as
 * fast as the object's readers, plus a window, or to the end where the object is stored and nobody
 * reads. What the disk is to have is written once it is whole, or, where it is too large for
 * memory, as it grows, and no faster than the disk takes it. An object that outgrows what may be
 * stored, or that seems to have no end, goes on as a passing one; one that nobody wants any more is
 * given up. Where the body comes from it does not know. */
#ifndef VERGE_CACHE_FILL_H
#define VERGE_CACHE_FILL_H

#include "cache/index.h"
#include "edge/base/wheel.h"
#include "protocols/http/body.h"

struct fill_limits {
    uint64_t object_max_bytes; /* larger ones are not stored */
    int64_t endless_ms; /* nor what has no length, and is waited for longer than that in all */
    int64_t pass_ms;    /* for so long requests for the latter's key then go their own way */
};

struct fill {
    struct index *index;
    struct object *object;
    struct body *body;
    struct fill_limits limits;
    bool admitted; /* to the disk */
    bool spills;   /* memory holds only what the disk does not have yet */
    bool stored;   /* the object is kept, and is or will be in the index; the owner may look at this
                      when it has ended */
    bool ready;    /* the body said so, or was never asked */
    struct wait room, abandoned;
    struct timer stall;   /* while it waits for the disk, or for a slow reader */
    struct timer endless; /* while it waits for a body that may be endless */
    int64_t waited_ms;    /* for the body, in all; the owner may look at this when it has ended */
    int64_t waits_since_ms;
    /* Once, possibly from inside fill_start: body and object are let go of. 0, or why the object
     * failed. */
    void (*ended)(struct fill *f, int error);
};

/* object: FILLING, held by the fill until its end. stored: it was published, or will be
 * when it is whole. admitted: to the disk. Takes the body. */
void fill_start(struct fill *f, struct index *ix, struct object *object, bool stored, bool admitted,
                struct body *body, const struct fill_limits *limits, struct scope *scope,
                void (*ended)(struct fill *f, int error));
/* Ends it now with that error; ended is called. */
void fill_abort(struct fill *f, int error);

#endif
