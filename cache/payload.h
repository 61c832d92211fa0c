/* payload: the bytes of a body as a row of segments, in order, each a span of a block.
 *
 * Counted: the generations of an object that a 304 makes share one. It has no lock: while it grows
 * or shrinks it belongs to its object's lock, after that nobody changes it. Sizes it returns are
 * what accounting charges (block_cost). */
#ifndef VERGE_CACHE_PAYLOAD_H
#define VERGE_CACHE_PAYLOAD_H

#include "edge/base/block.h"

struct payload {
    _Atomic unsigned references;
    struct span *segments;
    unsigned count, capacity;
    uint64_t first; /* offset of the first segment: what was before is gone (private objects) */
    uint64_t end;   /* offset behind the last one */
    struct block *gathering; /* the last segment's, where it is one that small pieces are copied
                                into; else NULL */
    size_t cost_bytes;
};

/* Empty, with one reference. */
struct payload *payload_new(void);
struct payload *payload_hold(struct payload *p);
/* Returns what is given back: 0 unless this was the last reference. */
size_t payload_drop(struct payload *p);

/* Takes the span. One that continues the last segment extends it; a small one may be copied.
 * Returns what the row costs more than before. */
size_t payload_append(struct payload *p, struct span *s);
/* There must be one. */
void payload_drop_first(struct payload *p);
/* Blocks are taken large while the length is unknown: copies what leaves much of its block unused.
 * Returns what is saved. */
size_t payload_compact(struct payload *p);

#endif
