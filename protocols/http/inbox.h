/* inbox: bytes that arrived and were not read yet, in one block.
 *
 * Embedded in its connection or stream, on its worker. What is handed out as spans stays where it
 * is; an empty inbox holds nothing. How much may wait in it is its owner's business. */
#ifndef VERGE_PROTOCOLS_HTTP_INBOX_H
#define VERGE_PROTOCOLS_HTTP_INBOX_H

#include "edge/base/block.h"
#include "edge/io/worker.h"

struct inbox {
    struct block *block; /* of which [at, end) is unread */
    size_t at, end;
};

static inline struct slice inbox_unread(const struct inbox *in)
{
    return in->block ? slice_of(in->block->data + in->at, in->end - in->at) : SLICE_NONE;
}

/* A reference to part of what is unread. */
static inline struct span inbox_span(const struct inbox *in, struct slice part)
{
    return span_of(in->block, (size_t)(part.p - in->block->data), part.n);
}

/* Copies; false when memory is out. */
bool inbox_append(struct inbox *in, struct worker *w, struct slice bytes);
/* The first n bytes of what is unread. */
void inbox_consume(struct inbox *in, struct worker *w, size_t n);
void inbox_clear(struct inbox *in, struct worker *w);

#endif
