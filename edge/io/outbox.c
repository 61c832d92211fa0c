#include "edge/io/outbox.h"

#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/mem.h"
#include "edge/io/worker.h"

struct outbox *outbox_new(void)
{
    struct outbox *o = xmalloc(sizeof *o);
    o->count = o->in_flight = 0;
    o->bytes = 0;
    o->tail = NULL;
    return o;
}

void outbox_free(struct outbox **free_it, struct worker *w)
{
    struct outbox *o = *free_it;
    *free_it = NULL;
    if (!o) return;
    for (unsigned i = 0; i < o->count; i++) worker_block_put(w, &o->spans[i].block);
    worker_block_put(w, &o->tail);
    free(o);
}

/* The last span grows if it ends where the new bytes begin and is not being sent. */
static bool extends_last(const struct outbox *o)
{
    if (o->count == 0 || o->count <= o->in_flight) return false;
    const struct span *last = &o->spans[o->count - 1];
    return last->block == o->tail && last->at + last->n == o->tail_at;
}

char *outbox_reserve(struct outbox *o, struct worker *w, size_t n)
{
    if (!o->tail || o->tail->size_bytes - o->tail_at < n) {
        worker_block_put(w, &o->tail);
        o->tail = n <= WORKER_BLOCK_BYTES ? worker_block(w) : block_new(n);
        o->tail_at = 0;
    }
    if (!o->tail || (o->count == OUTBOX_SPANS && !extends_last(o))) return NULL;
    return o->tail->data + o->tail_at;
}

void outbox_commit(struct outbox *o, size_t n)
{
    if (n == 0) return;
    if (extends_last(o)) {
        o->spans[o->count - 1].n += (uint32_t)n;
    } else {
        CHECK(o->count < OUTBOX_SPANS);
        o->spans[o->count++] = span_of(o->tail, o->tail_at, n);
    }
    o->tail_at += n;
    o->bytes += n;
}

void outbox_push(struct outbox *o, struct span *s)
{
    CHECK(o->count < OUTBOX_SPANS);
    o->bytes += s->n;
    o->spans[o->count++] = *s;
    *s = (struct span){ 0 };
}

unsigned outbox_take_pieces(struct outbox *o, size_t max)
{
    unsigned n = 0;
    for (; n < o->count && max; n++) {
        struct slice bytes = span_slice(&o->spans[n]);
        if (bytes.n > max) bytes.n = max;
        o->pieces[n] = (struct iovec){ (void *)bytes.p, bytes.n };
        max -= bytes.n;
    }
    o->in_flight = n;
    return n;
}

void outbox_drop(struct outbox *o, struct worker *w, size_t n)
{
    unsigned gone = 0;
    o->bytes -= n;
    while (gone < o->count && n >= o->spans[gone].n) {
        n -= o->spans[gone].n;
        worker_block_put(w, &o->spans[gone++].block);
    }
    o->count -= gone;
    memmove(o->spans, o->spans + gone, o->count * sizeof o->spans[0]);
    if (n) {
        o->spans[0].at += (uint32_t)n;
        o->spans[0].n -= (uint32_t)n;
    }
}
