/* payload: the bytes of a body as a row of segments, in order, each a span of a block.
 *
 * What is on the disk has its bytes before the row's first there: all of it where the object was
 * loaded, a growing part where a large one is being written. Chunks that were read from the disk
 * stay in slots of their own, each set once, so that they are read without a lock.
 *
 * Counted: the generations of an object that a 304 makes share one. It has no lock: while it grows
 * or shrinks it belongs to its object's lock, after that nobody changes it. Sizes it returns are
 * what accounting charges (block_cost). */
#ifndef VERGE_CACHE_PAYLOAD_H
#define VERGE_CACHE_PAYLOAD_H

#include "cache/directory.h"
#include "edge/base/block.h"

struct payload {
    _Atomic unsigned references;
    struct span *segments;
    unsigned count, capacity;
    uint64_t first; /* offset of the first segment: what was before is gone (private objects), or
                       on the disk */
    uint64_t end;   /* offset behind the last one */
    struct block *gathering; /* the last segment's, where it is one that small pieces are copied
                                into; else NULL */
    _Atomic size_t cost_bytes;

    struct stored *_Atomic stored;  /* where it is on the disk; a reference. NULL: it is not */
    struct directory *directory;    /* with stored */
    _Atomic(struct block *) *slots; /* by chunk, each from its value's first byte; NULL: none are
                                       kept */
    uint32_t slot_count;
    _Atomic uint32_t slots_set;
};

/* Empty, with one reference. */
struct payload *payload_new(void);
/* Of what is on the disk, all of it; keep: what is read of it stays in memory. Takes a reference of
 * its own to stored. */
struct payload *payload_new_stored(struct directory *d, struct stored *stored, bool keep);
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

/* It has a place on the disk now; once. Takes a reference of its own. */
void payload_set_stored(struct payload *p, struct directory *d, struct stored *s);
static inline struct stored *payload_stored(const struct payload *p)
{
    return atomic_load_explicit(&p->stored, memory_order_acquire);
}
/* The value with a chunk that was read before; NULL: it is not here. Good as long as the payload.
 */
struct block *payload_slot(const struct payload *p, uint32_t chunk);
/* Keeps one, if there is a place and nobody was faster; takes a reference of its own. Returns what
 * it costs. */
size_t payload_keep(struct payload *p, uint32_t chunk, struct block *value);
/* Whether all of it, once it is whole, can be read without the disk. */
bool payload_is_resident(const struct payload *p);

#endif
