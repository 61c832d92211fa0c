/* outbox: what a connection has to send, in order: spans, and blocks that small writes share.
 *
 * Made when there is something to send and freed when all of it was sent, so that an idle
 * connection has none. Belongs to its connection, on its worker. It knows no socket. */
#ifndef VERGE_IO_OUTBOX_H
#define VERGE_IO_OUTBOX_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "edge/base/block.h"

#define OUTBOX_SPANS 16

struct worker;

struct outbox {
    struct span spans[OUTBOX_SPANS];
    unsigned count;     /* of spans */
    unsigned in_flight; /* of them, from the first on: what a send was given may not change */
    size_t bytes;       /* in spans */
    struct block *tail; /* small writes go here; the last span may still grow in it */
    size_t tail_at;
    /* For a send of several pieces. */
    struct iovec pieces[OUTBOX_SPANS];
    struct msghdr message;
};

struct outbox *outbox_new(void);
void outbox_free(struct outbox **o, struct worker *w);

/* Room for n bytes to be written in place behind all others; NULL when there are too many spans or
 * memory is out. outbox_commit says how many were written. */
char *outbox_reserve(struct outbox *o, struct worker *w, size_t n);
void outbox_commit(struct outbox *o, size_t n);
/* Takes the reference. There is a place: o->count < OUTBOX_SPANS. */
void outbox_push(struct outbox *o, struct span *s);

/* The first bytes, at most max of them, into o->pieces, and marks them as in flight; how many
 * pieces. They are in flight until in_flight is 0 again. */
unsigned outbox_take_pieces(struct outbox *o, size_t max);
/* Forgets n bytes at the front. */
void outbox_drop(struct outbox *o, struct worker *w, size_t n);

#endif
