#include "edge/io/udp.h"

#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/base/list.h"
#include "edge/io/worker.h"

/* Bursts of many connections wait here while a turn lasts; net.core.rmem_max may make less of it.
 */
#define SOCKET_BUFFER_BYTES (8 * 1024 * 1024)
/* Of marks with one datagram: its destination, its traffic class, the size of its segments. */
#define MARKS_BYTES 128
/* Room for the longer address, and for the marks behind it to be aligned. */
#define NAME_BYTES 32
#define ECN_BITS   3

/* ---- opening ---- */

static bool set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/* Trains and larger buffers are gains, not conditions. */
static bool set_all(int fd, int family)
{
    set(fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER_BYTES);
    set(fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER_BYTES);
    set(fd, IPPROTO_UDP, UDP_GRO, 1);
    if (!set(fd, SOL_SOCKET, SO_REUSEPORT, 1)) return false;
    if (family == AF_INET)
        return set(fd, IPPROTO_IP, IP_PKTINFO, 1) && set(fd, IPPROTO_IP, IP_RECVTOS, 1) &&
               set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    return set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) && set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
           set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) &&
           set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
}

int udp_open(const struct sockaddr *address, socklen_t bytes)
{
    int fd = socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    if (set_all(fd, address->sa_family) && bind(fd, address, bytes) == 0) return fd;
    int error = errno;
    close(fd);
    return -error;
}

/* ---- receiving ---- */

static void take_mark(struct udp_train *t, const struct cmsghdr *mark)
{
    const void *data = CMSG_DATA(mark);
    int number;
    if (mark->cmsg_level == IPPROTO_UDP && mark->cmsg_type == UDP_GRO) {
        memcpy(&number, data, sizeof number);
        if (number > 0) t->segment_bytes = (size_t)number;
    } else if (mark->cmsg_level == IPPROTO_IP && mark->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo info;
        memcpy(&info, data, sizeof info);
        t->path.local.v4.sin_addr = info.ipi_addr;
    } else if (mark->cmsg_level == IPPROTO_IP && mark->cmsg_type == IP_TOS) {
        t->ecn = *(const uint8_t *)data & ECN_BITS;
    } else if (mark->cmsg_level == IPPROTO_IPV6 && mark->cmsg_type == IPV6_PKTINFO) {
        struct in6_pktinfo info;
        memcpy(&info, data, sizeof info);
        t->path.local.v6.sin6_addr = info.ipi6_addr;
    } else if (mark->cmsg_level == IPPROTO_IPV6 && mark->cmsg_type == IPV6_TCLASS) {
        memcpy(&number, data, sizeof number);
        t->ecn = (uint8_t)number & ECN_BITS;
    }
}

/* False for what is not whole; nothing that QUIC sends is empty. */
static bool read_train(struct udp *u, struct slice data, struct udp_train *t)
{
    struct io_uring_recvmsg_out *out =
        io_uring_recvmsg_validate((void *)data.p, (int)data.n, &u->shape);
    if (!out || out->flags & (MSG_TRUNC | MSG_CTRUNC)) return false;
    *t = (struct udp_train){ .path.local = u->bound };
    t->bytes = slice_of(io_uring_recvmsg_payload(out, &u->shape),
                        io_uring_recvmsg_payload_length(out, (int)data.n, &u->shape));
    if (t->bytes.n == 0 || out->namelen > sizeof t->path.remote.v6) return false;
    memcpy(&t->path.remote.any, io_uring_recvmsg_name(out), out->namelen);
    t->path.remote.bytes = out->namelen;
    t->segment_bytes = t->bytes.n;
    for (struct cmsghdr *mark = io_uring_recvmsg_cmsg_firsthdr(out, &u->shape); mark;
         mark = io_uring_recvmsg_cmsg_nexthdr(out, &u->shape, mark)) {
        take_mark(t, mark);
    }
    return true;
}

/* The receive ends when the buffers are used up, which is what bounds a turn, and by errors that
 * belong to a datagram sent earlier. */
static void on_receive(struct op *op, const struct op_result *r)
{
    struct udp *u = container_of(op, struct udp, receive_op);
    struct udp_train train;
    if (!u->closing && r->result > 0 && read_train(u, r->data, &train)) u->ops->received(u, &train);
    if (!r->more && !u->closing) op_recvmsg_multishot(u->worker, op, u->fd, &u->shape);
}

/* ---- sending ---- */

static void on_writable(struct op *op, const struct op_result *r)
{
    struct udp *u = container_of(op, struct udp, writable_op);
    (void)r;
    if (!u->closing) u->ops->writable(u);
}

static void add_mark(struct msghdr *m, int level, int type, const void *data, size_t n)
{
    struct cmsghdr *mark = (struct cmsghdr *)((char *)m->msg_control + m->msg_controllen);
    mark->cmsg_level = level;
    mark->cmsg_type = type;
    mark->cmsg_len = CMSG_LEN(n);
    memcpy(CMSG_DATA(mark), data, n);
    m->msg_controllen += CMSG_SPACE(n);
}

/* From the address that the client spoke to: a socket of any address would choose another. */
static void add_source(struct msghdr *m, const struct udp_address *local)
{
    if (local->any.sa_family == AF_INET) {
        struct in_pktinfo info = { .ipi_spec_dst = local->v4.sin_addr };
        add_mark(m, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    } else {
        struct in6_pktinfo info = { .ipi6_addr = local->v6.sin6_addr };
        add_mark(m, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    }
}

static void add_ecn(struct msghdr *m, int family, int ecn)
{
    if (family == AF_INET)
        add_mark(m, IPPROTO_IP, IP_TOS, &ecn, sizeof ecn);
    else
        add_mark(m, IPPROTO_IPV6, IPV6_TCLASS, &ecn, sizeof ecn);
}

/* 0, or the errno. */
static int send_bytes(struct udp *u, const struct udp_train *t, struct slice bytes)
{
    _Alignas(struct cmsghdr) char marks[MARKS_BYTES] = { 0 };
    struct iovec part = { (void *)bytes.p, bytes.n };
    struct msghdr m = { .msg_name = (void *)&t->path.remote.any,
                        .msg_namelen = t->path.remote.bytes,
                        .msg_iov = &part,
                        .msg_iovlen = 1,
                        .msg_control = marks };
    add_source(&m, &t->path.local);
    if (t->ecn) add_ecn(&m, t->path.local.any.sa_family, t->ecn);
    if (bytes.n > t->segment_bytes) {
        uint16_t segment = (uint16_t)t->segment_bytes;
        add_mark(&m, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment);
    }
    while (sendmsg(u->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        if (errno != EINTR) return errno;
    }
    return 0;
}

/* Where the buffer fills up half way, the rest is lost: sending it all again would send some
 * twice. */
static int send_one_by_one(struct udp *u, const struct udp_train *t)
{
    struct slice rest = t->bytes;
    int error = 0;
    for (bool first = true; rest.n; first = false) {
        size_t n = rest.n < t->segment_bytes ? rest.n : t->segment_bytes;
        error = send_bytes(u, t, slice_of(rest.p, n));
        if (error == EAGAIN) return first ? error : 0;
        rest = slice_skip(rest, n);
    }
    return error;
}

/* By a system call of its own, not through the ring: the packets are made in one buffer that is
 * used again at once and so stays in the CPU's cache, where an operation of the ring would hold it
 * until the end of the turn. A train costs tens of microseconds to make; a call, a fraction of one.
 */
bool udp_send(struct udp *u, const struct udp_train *t)
{
    bool train = t->bytes.n > t->segment_bytes && !u->whole;
    int error = train ? send_bytes(u, t, t->bytes) : send_one_by_one(u, t);
    if (train && (error == EIO || error == EINVAL)) {
        if (error == EIO) u->whole = true; /* a device that does no checksums */
        error = send_one_by_one(u, t);
    }
    if (error != EAGAIN) return true;
    if (!u->writable_op.armed) op_poll(u->worker, &u->writable_op, u->fd, POLLOUT);
    return false;
}

/* ---- life ---- */

bool udp_init(struct udp *u, struct worker *w, struct scope *scope, const struct udp_ops *ops,
              int fd)
{
    *u = (struct udp){ .worker = w, .ops = ops, .fd = fd };
    if (!worker_open_datagram_buffers(w)) return false;
    u->bound.bytes = sizeof u->bound.v6;
    CHECK(getsockname(fd, &u->bound.any, &u->bound.bytes) == 0);
    u->shape = (struct msghdr){ .msg_namelen = NAME_BYTES, .msg_controllen = MARKS_BYTES };
    op_init(&u->receive_op, scope, on_receive);
    op_init(&u->writable_op, scope, on_writable);
    op_recvmsg_multishot(w, &u->receive_op, fd, &u->shape);
    return true;
}

void udp_cancel(struct udp *u)
{
    u->closing = true;
    op_cancel(u->worker, &u->receive_op);
    op_cancel(u->worker, &u->writable_op);
}

void udp_close(struct udp *u)
{
    CHECK(!u->receive_op.armed && !u->writable_op.armed);
    close(u->fd);
    u->fd = -1;
}

bool udp_address_equal(const struct udp_address *a, const struct udp_address *b)
{
    if (a->any.sa_family != b->any.sa_family) return false;
    if (a->any.sa_family == AF_INET)
        return a->v4.sin_port == b->v4.sin_port && a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    return a->v6.sin6_port == b->v6.sin6_port &&
           memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr) == 0;
}
