/* block: counted bytes, and span: a counted view into a block.
 *
 * A block is written by the one who allocated it, only behind what it has handed out, and read by
 * any thread that holds a reference; the count is atomic, the bytes are immutable once handed out.
 * A span is one reference: whoever holds it releases it when the bytes are really gone (a send has
 * completed, a packet was acknowledged). */
#ifndef VERGE_BASE_BLOCK_H
#define VERGE_BASE_BLOCK_H

#include <stdatomic.h>

#include "edge/base/slice.h"

struct block {
    _Atomic unsigned references;
    uint32_t size_bytes; /* of data */
    char data[];
};

struct span {
    struct block *block; /* NULL: no bytes, nothing to release */
    uint32_t at, n;
};

/* One reference for the caller; NULL when memory is out (its size may be a client's wish). At most
 * UINT32_MAX. */
struct block *block_new(size_t size_bytes);
/* What a block costs, the allocator's overhead included: what accounting charges. */
size_t block_cost(size_t size_bytes);
void block_release(struct block *b);

static inline struct block *block_hold(struct block *b)
{
    atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
    return b;
}

/* Nobody else can read it: it may be written from its start again. */
static inline bool block_sole(struct block *b)
{
    return atomic_load_explicit(&b->references, memory_order_acquire) == 1;
}

/* A new reference to part of a block. */
static inline struct span span_of(struct block *b, size_t at, size_t n)
{
    return (struct span){ block_hold(b), (uint32_t)at, (uint32_t)n };
}

static inline struct slice span_slice(const struct span *s)
{
    return s->block ? slice_of(s->block->data + s->at, s->n) : SLICE_NONE;
}

static inline void span_release(struct span *s)
{
    if (s->block) block_release(s->block);
    *s = (struct span){ 0 };
}

#endif
