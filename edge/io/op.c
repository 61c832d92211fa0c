#include "edge/io/op.h"

#include "edge/base/check.h"
#include "edge/io/worker.h"

static struct io_uring_sqe *prepare(struct worker *w)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
    while (!sqe) { /* the queue is full: hand it to the kernel, which takes all of it */
        io_uring_submit(&w->ring);
        sqe = io_uring_get_sqe(&w->ring);
    }
    return sqe;
}

static void arm(struct op *op, struct io_uring_sqe *sqe)
{
    CHECK(!op->armed);
    op->armed = true;
    scope_enter(op->scope);
    io_uring_sqe_set_data(sqe, op);
}

void op_accept_multishot(struct worker *w, struct op *op, int fd)
{
    struct io_uring_sqe *sqe = prepare(w);
    io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    arm(op, sqe);
}

void op_connect(struct worker *w, struct op *op, int fd, const struct sockaddr *to, socklen_t bytes)
{
    struct io_uring_sqe *sqe = prepare(w);
    io_uring_prep_connect(sqe, fd, to, bytes);
    arm(op, sqe);
}

static void select_buffer(struct op *op, struct io_uring_sqe *sqe, enum buffers_group group)
{
    op->buffers = (uint8_t)group;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = (uint16_t)group;
}

void op_recv_multishot(struct worker *w, struct op *op, int fd)
{
    struct io_uring_sqe *sqe = prepare(w);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    select_buffer(op, sqe, BUFFERS_STREAM);
    arm(op, sqe);
}

void op_recv_once(struct worker *w, struct op *op, int fd)
{
    struct io_uring_sqe *sqe = prepare(w);
    io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    select_buffer(op, sqe, BUFFERS_STREAM);
    arm(op, sqe);
}

void op_recv_into(struct worker *w, struct op *op, int fd, void *to, size_t size_bytes)
{
    struct io_uring_sqe *sqe = prepare(w);
    io_uring_prep_recv(sqe, fd, to, size_bytes, 0);
    arm(op, sqe);
}

void op_send(struct worker *w, struct op *op, int fd, const void *from, size_t size_bytes)
{
    struct io_uring_sqe *sqe = prepare(w);
    io_uring_prep_send(sqe, fd, from, size_bytes, MSG_WAITALL | MSG_NOSIGNAL);
    arm(op, sqe);
}

void op_sendmsg(struct worker *w, struct op *op, int fd, const struct msghdr *message)
{
    struct io_uring_sqe *sqe = prepare(w);
    io_uring_prep_sendmsg(sqe, fd, message, MSG_WAITALL | MSG_NOSIGNAL);
    arm(op, sqe);
}

void op_recvmsg_multishot(struct worker *w, struct op *op, int fd, struct msghdr *shape)
{
    struct io_uring_sqe *sqe = prepare(w);
    io_uring_prep_recvmsg_multishot(sqe, fd, shape, 0);
    select_buffer(op, sqe, BUFFERS_DATAGRAM);
    arm(op, sqe);
}

void op_poll(struct worker *w, struct op *op, int fd, unsigned events)
{
    struct io_uring_sqe *sqe = prepare(w);
    io_uring_prep_poll_add(sqe, fd, events);
    arm(op, sqe);
}

void op_read(struct worker *w, struct op *op, int fd, void *to, size_t size_bytes)
{
    struct io_uring_sqe *sqe = prepare(w);
    io_uring_prep_read(sqe, fd, to, (unsigned)size_bytes, 0);
    arm(op, sqe);
}

void op_read_at(struct worker *w, struct op *op, int fd, void *to, size_t size_bytes, uint64_t at)
{
    struct io_uring_sqe *sqe = prepare(w);
    io_uring_prep_read(sqe, fd, to, (unsigned)size_bytes, at);
    arm(op, sqe);
}

/* The cancellation itself has no op: its outcome is the outcome of what it cancels. It cannot hit a
 * later op at the same address, because the queue is in order and the address is free only after
 * the last completion. */
void op_cancel(struct worker *w, struct op *op)
{
    if (!op->armed) return;
    struct io_uring_sqe *sqe = prepare(w);
    io_uring_prep_cancel(sqe, op, 0);
    io_uring_sqe_set_data(sqe, NULL);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}
