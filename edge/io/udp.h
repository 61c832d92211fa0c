/* udp: a UDP socket on a worker's ring: trains of datagrams in, trains of datagrams out.
 *
 * A train is what one system call carries: datagrams of one size from one address to one other (the
 * last may be shorter), which the kernel takes apart when sending (UDP_SEGMENT) and puts together
 * when receiving (UDP_GRO). Most of what UDP costs is the call and the way through the stack, and a
 * train goes it once.
 *
 * Embedded in its owner, whose scope its operations hold; belongs to that worker. It knows no
 * protocol and keeps no queue: what the kernel does not take is the caller's to keep until
 * writable. */
#ifndef VERGE_IO_UDP_H
#define VERGE_IO_UDP_H

#include <netinet/in.h>

#include "edge/io/op.h"

#define UDP_TRAIN_BYTES 65000 /* what fits into one call, with its headers */
#define UDP_TRAIN_MAX   64    /* datagrams: the kernel's limit before Linux 6.9 */

struct udp_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t bytes;
};

/* From us to them: local is what the datagram was sent to, also where the socket has any address.
 */
struct udp_path {
    struct udp_address local, remote;
};

struct udp_train {
    struct udp_path path;
    struct slice bytes;
    size_t segment_bytes; /* of each datagram but the last; never 0 */
    uint8_t ecn;          /* the two bits of RFC 3168 */
};

struct udp;

struct udp_ops {
    /* The bytes are valid during the call. */
    void (*received)(struct udp *u, const struct udp_train *train);
    /* After udp_send had returned false: it may be tried again. */
    void (*writable)(struct udp *u);
};

struct udp {
    struct worker *worker;
    const struct udp_ops *ops;
    struct op receive_op, writable_op;
    struct msghdr shape; /* of what is received: room for names and marks */
    struct udp_address bound;
    int fd;
    bool closing;
    bool whole; /* the way out takes no trains: each datagram by itself */
};

/* A bound socket with everything that is asked of one (marks, trains, path MTU discovery by probes,
 * large buffers), shared with others of the same address. A descriptor or a negative errno. */
int udp_open(const struct sockaddr *address, socklen_t bytes);

/* Takes the descriptor; receives from now on. False when memory is out: the descriptor stays the
 * caller's. */
bool udp_init(struct udp *u, struct worker *w, struct scope *scope, const struct udp_ops *ops,
              int fd);
/* False where the kernel's buffer is full: nothing of it was sent, writable will be called. What
 * cannot be sent for another reason is lost, as on any network. */
bool udp_send(struct udp *u, const struct udp_train *train);
/* Nothing is received any more. The descriptor is closed by udp_close, when the scope is idle. */
void udp_cancel(struct udp *u);
void udp_close(struct udp *u);

bool udp_address_equal(const struct udp_address *a, const struct udp_address *b);

#endif
