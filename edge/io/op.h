/* op: one io_uring request, embedded in its owner. The ring's user_data is its address.
 *
 * An op holds its scope from submission to its last completion (the one without MORE). done is
 * called from the worker's loop for every completion, with the kernel's result (negative errno),
 * the completion's flags, and, where the kernel picked a receive buffer, the bytes; those are valid
 * until done returns. Belongs to one worker. */
#ifndef VERGE_IO_OP_H
#define VERGE_IO_OP_H

#include <stdbool.h>
#include <sys/socket.h>

#include "edge/base/slice.h"
#include "edge/io/scope.h"

struct op;

struct op_result {
    int result;        /* bytes, a descriptor, 0, or a negative errno */
    bool more;         /* a multishot goes on */
    bool nonempty;     /* of a receive: the socket has more, right now */
    struct slice data; /* of a receive that selected a buffer */
};

struct op {
    void (*done)(struct op *op, const struct op_result *r);
    struct scope *scope;
    bool armed;      /* submitted, last completion not seen */
    uint8_t buffers; /* of a receive that selects one: enum buffers_group */
};

static inline void op_init(struct op *op, struct scope *scope,
                           void (*done)(struct op *op, const struct op_result *r))
{
    *op = (struct op){ .done = done, .scope = scope };
}

/* Each arms an idle op. Buffers and addresses must stay until the last completion. */
void op_accept_multishot(struct worker *w, struct op *op, int fd);
void op_connect(struct worker *w, struct op *op, int fd, const struct sockaddr *to,
                socklen_t bytes);
/* Into the worker's provided buffers: until it ends by itself, or once. */
void op_recv_multishot(struct worker *w, struct op *op, int fd);
void op_recv_once(struct worker *w, struct op *op, int fd);
/* Straight to where the bytes belong. */
void op_recv_into(struct worker *w, struct op *op, int fd, void *to, size_t size_bytes);
/* Completes when everything is sent, or with an error. */
void op_send(struct worker *w, struct op *op, int fd, const void *from, size_t size_bytes);
void op_sendmsg(struct worker *w, struct op *op, int fd, const struct msghdr *message);
/* Datagrams into the worker's buffers for them. data is a struct io_uring_recvmsg_out with what
 * belongs to it; shape says how much room names and marks get. */
void op_recvmsg_multishot(struct worker *w, struct op *op, int fd, struct msghdr *shape);
/* Once, when one of events (POLLOUT and so on) has come. */
void op_poll(struct worker *w, struct op *op, int fd, unsigned events);
void op_read(struct worker *w, struct op *op, int fd, void *to, size_t size_bytes);
/* Of a file, from a place in it; may give less than was asked for. */
void op_read_at(struct worker *w, struct op *op, int fd, void *to, size_t size_bytes, uint64_t at);

/* Asks the kernel to end an armed op; it still completes, with -ECANCELED or with what it had
 * reached. */
void op_cancel(struct worker *w, struct op *op);

#endif
