/* memory_conn: a connection that is only memory, in the place of edge/io/conn.c, and what a client
 * needs of edge/io/op.c: what the peer has sent is given to its owner as that asks for it, and what
 * the owner queues is taken when the target says so. As with the ring, what is armed holds its
 * scope until it has completed, and what is cancelled completes at the end of the turn. Included
 * once, by a fuzz target. */
#ifndef VERGE_FUZZ_MEMORY_CONN_H
#define VERGE_FUZZ_MEMORY_CONN_H

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/io/conn.h"
#include "edge/io/op.h"
#include "edge/io/worker.h"

#define PIECE_BYTES 8192 /* of what has come, given at a time, as the ring's buffers do */

static struct {
    struct conn *conn; /* NULL: it is closed */
    struct slice in;   /* has come, and was not read yet */
    bool ended, was_reset;
    char out[512 * 1024];
    size_t queued;
    bool stopped; /* the peer takes nothing */
    void (*took)(struct slice bytes);
    struct op *connecting;
    bool cancelled;
    void *target; /* of a read straight into the owner's memory, which holds until it completes */
    size_t target_bytes;
} wire;

/* ---- the connection's own side ---- */

void conn_init(struct conn *c, struct worker *w, struct scope *scope, const struct conn_ops *ops,
               int fd)
{
    *c = (struct conn){ .worker = w, .scope = scope, .ops = ops, .fd = fd };
    list_init(&c->marks);
    wire.conn = c;
    wire.in = SLICE_NONE;
    wire.ended = wire.was_reset = wire.stopped = wire.cancelled = false;
    wire.queued = 0;
    wire.connecting = NULL;
    wire.target = NULL;
}

void conn_use_tls(struct conn *c, struct tls *tls)
{
    (void)c;
    CHECK(!tls);
}

void conn_secure(struct conn *c)
{
    (void)c;
}

void conn_read_fed(struct conn *c)
{
    (void)c;
}

bool conn_in_handshake(const struct conn *c)
{
    (void)c;
    return false;
}

bool conn_has_unread(const struct conn *c)
{
    (void)c;
    return false;
}

bool conn_may_have(int fd)
{
    (void)fd;
    return true;
}

static void arm(struct conn *c)
{
    wire.cancelled = false;
    if (c->recv_op.armed || c->read_ended) return;
    c->recv_op.armed = true;
    scope_enter(c->scope);
}

/* Until then the kernel may write. */
static void complete_cancelled(struct conn *c)
{
    wire.cancelled = false;
    if (wire.target) memset(wire.target, 0xee, wire.target_bytes);
    wire.target = NULL;
    c->recv_op.armed = false;
    scope_leave(c->scope);
}

void conn_recv_start(struct conn *c)
{
    c->reading = c->multishot = true;
    arm(c);
}

void conn_recv_once(struct conn *c)
{
    c->reading = true;
    c->multishot = false;
    arm(c);
}

void conn_recv_stop(struct conn *c)
{
    if (!c->reading) return;
    c->reading = false;
    wire.cancelled = c->recv_op.armed;
}

void conn_recv_into(struct conn *c, void *to, size_t size_bytes)
{
    CHECK(!c->recv_op.armed && size_bytes);
    c->into = wire.target = to;
    c->into_bytes = wire.target_bytes = size_bytes;
    arm(c);
}

bool conn_recv_armed(const struct conn *c)
{
    return c->recv_op.armed;
}

static struct slice take(size_t most)
{
    struct slice bytes = slice_of(wire.in.p, wire.in.n < most ? wire.in.n : most);
    wire.in = slice_skip(wire.in, bytes.n);
    return bytes;
}

size_t conn_recv_now(struct conn *c, void *to, size_t size_bytes)
{
    CHECK(c->nonempty);
    struct slice bytes = take(size_bytes);
    if (bytes.n) memcpy(to, bytes.p, bytes.n);
    return bytes.n;
}

bool conn_has_room(const struct conn *c)
{
    (void)c;
    return wire.queued < 128 * 1024;
}

size_t conn_queued_bytes(const struct conn *c)
{
    (void)c;
    return wire.queued;
}

char *conn_reserve(struct conn *c, size_t n)
{
    return c->broken || sizeof wire.out - wire.queued < n ? NULL : wire.out + wire.queued;
}

void conn_commit(struct conn *c, size_t n)
{
    wire.queued += n;
    c->queued_bytes += n;
}

bool conn_write(struct conn *c, struct slice bytes)
{
    char *to = conn_reserve(c, bytes.n);
    if (!to) return false;
    if (bytes.n) memcpy(to, bytes.p, bytes.n);
    conn_commit(c, bytes.n);
    return true;
}

void conn_push(struct conn *c, struct span *s)
{
    if (!c->broken) CHECK(conn_write(c, span_slice(s)));
    span_release(s);
}

bool conn_is_sending(const struct conn *c)
{
    (void)c;
    return wire.queued > 0;
}

bool conn_mark(struct conn *c, struct conn_mark *m)
{
    if (wire.queued == 0) return false;
    list_append(&c->marks, &m->link);
    return true;
}

void conn_limit_unsent(struct conn *c, int bytes)
{
    (void)c, (void)bytes;
}

void conn_flush(struct conn *c)
{
    (void)c;
}

void conn_shutdown(struct conn *c)
{
    (void)c;
}

void conn_reset(struct conn *c)
{
    (void)c;
}

void conn_cancel(struct conn *c)
{
    c->reading = false;
    c->into = NULL;
    wire.cancelled = c->recv_op.armed;
}

void conn_close(struct conn *c)
{
    CHECK(c == wire.conn && !c->recv_op.armed && !wire.connecting && list_empty(&c->marks));
    if (c->fd >= 0) close(c->fd);
    wire.conn = NULL;
}

uint64_t conn_acknowledged_bytes(const struct conn *c)
{
    return c->queued_bytes - wire.queued;
}

/* ---- the ring's side ---- */

void op_read(struct worker *w, struct op *op, int fd, void *to, size_t size_bytes)
{
    (void)w, (void)op, (void)fd, (void)to, (void)size_bytes;
}

void op_connect(struct worker *w, struct op *op, int fd, const struct sockaddr *to, socklen_t bytes)
{
    (void)w, (void)fd, (void)to, (void)bytes;
    CHECK(!op->armed);
    op->armed = true;
    scope_enter(op->scope);
    wire.connecting = op;
}

static void end_connect(int result)
{
    struct op *op = wire.connecting;
    if (!op) return;
    wire.connecting = NULL;
    op->armed = false;
    op->done(op, &(struct op_result){ .result = result });
    scope_leave(op->scope);
}

void op_cancel(struct worker *w, struct op *op)
{
    (void)w, (void)op; /* end_turn does it */
}

/* ---- the peer's side ---- */

/* What has come goes where it is asked for, as long as it is. */
static void deliver(void)
{
    while (wire.conn && wire.in.n && wire.conn->recv_op.armed && !wire.cancelled) {
        struct conn *c = wire.conn;
        if (c->into) {
            struct slice bytes = take(c->into_bytes);
            char *to = c->into;
            c->into = wire.target = NULL;
            memcpy(to, bytes.p, bytes.n);
            c->received_bytes += bytes.n;
            c->recv_op.armed = false;
            c->ops->filled(c, bytes.n);
            scope_leave(c->scope);
            continue;
        }
        struct slice bytes = take(PIECE_BYTES);
        bool last = !c->multishot;
        c->received_bytes += bytes.n;
        if (last) c->recv_op.armed = c->reading = false;
        c->nonempty = wire.in.n > 0;
        c->ops->data(c, bytes);
        c->nonempty = false;
        if (last) scope_leave(c->scope);
    }
}

/* The peer says no more, once all it has said is read. */
static void tell_end(void)
{
    struct conn *c = wire.conn;
    if (!c || !wire.ended || wire.in.n || !c->recv_op.armed || wire.cancelled) return;
    c->read_ended = true;
    c->reading = false;
    c->into = wire.target = NULL;
    c->recv_op.armed = false;
    c->ops->ended(c, wire.was_reset);
    scope_leave(c->scope);
}

/* Takes what is queued, and says so. */
static void peer_takes(void)
{
    struct conn *c = wire.conn;
    if (!c || wire.stopped || wire.queued == 0) return;
    if (wire.took) wire.took(slice_of(wire.out, wire.queued));
    c->sent_bytes += wire.queued;
    wire.queued = 0;
    while (!list_empty(&c->marks)) {
        struct conn_mark *m = container_of(list_pop(&c->marks), struct conn_mark, link);
        m->passed(m);
    }
    c->ops->drained(c);
}

/* Whatever is sent fails from now on. */
static void peer_breaks(void)
{
    struct conn *c = wire.conn;
    if (!c || c->broken) return;
    c->broken = true;
    wire.queued = 0;
    while (!list_empty(&c->marks)) list_pop(&c->marks);
    c->ops->drained(c);
}

static void end_turn(struct worker *w)
{
    worker_run_notes(w);
    deliver();
    tell_end();
    worker_run_notes(w);
    peer_takes();
    worker_run_notes(w);
    struct conn *c = wire.conn;
    if (!c) return;
    if (c->scope->closing) end_connect(-ECANCELED);
    if (c->recv_op.armed && wire.cancelled) complete_cancelled(c);
    worker_run_notes(w);
}

#endif
