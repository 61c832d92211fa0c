/* endpoint: QUIC version 1 (RFC 9000) on a listener's UDP sockets, by ngtcp2; what it carries is
 * HTTP/3.
 *
 * node        what all workers share: secrets, the route from connection IDs to workers
 * worker      one worker's connections, whichever socket they came in on
 * endpoint    one socket of a worker
 *
 * A packet belongs to the worker that its connection ID names. One that the kernel has given to
 * another worker's socket is handed over, copied; of such copies there are a bounded number on
 * their way. Which certificate, and who may come in, its owner says through quic_endpoint_ops. */
#ifndef VERGE_PROTOCOLS_QUIC_ENDPOINT_H
#define VERGE_PROTOCOLS_QUIC_ENDPOINT_H

#include <stdatomic.h>

#include "edge/io/tls.h"
#include "edge/io/udp.h"
#include "protocols/http/service.h"
#include "protocols/quic/ids.h"

#define QUIC_SECRET_BYTES 32

struct quic_worker;

/* Constant once workers run, but for what is atomic. */
struct quic_node {
    struct quic_route route;
    uint8_t secret[QUIC_SECRET_BYTES]; /* of tokens, and of stateless resets */
    struct quic_worker **workers;
    _Atomic unsigned handshakes; /* under way */
};

/* Belongs to its worker, but for the inbox. */
struct quic_worker {
    struct quic_node *node;
    struct worker *worker;
    struct quic_random random;
    struct quic_ids ids;
    struct list endpoints; /* struct quic_endpoint.link */
    struct list writers;   /* connections that may have something to write */
    struct note write_note;
    char *packets; /* made here, and sent at once */

    /* Anybody's: packets that another worker got. */
    struct note_list inbox; /* struct handed.link */
    _Atomic unsigned inbox_count;
    struct note inbox_note;
};

struct quic_endpoint;

struct quic_endpoint_ops {
    /* May one more connection come in? It says so for good: peer->listener is what
     * service->closed() gets at its end. */
    bool (*admit)(struct quic_endpoint *e, struct peer *peer);
    /* The context for a name, for a peer->listener. */
    tls_select select;
    /* Nothing of it is left. */
    void (*closed)(struct quic_endpoint *e);
};

struct quic_endpoint {
    struct quic_worker *quic;
    const struct quic_endpoint_ops *ops;
    struct http_service *service;
    struct list link;
    struct scope scope;
    struct udp udp;
    bool closing;              /* no further connections */
    unsigned connection_count; /* that hold the socket */
    struct list remains;       /* of connections that have ended a moment ago */
    unsigned remains_count;
    /* What the kernel did not take; while there is something, nobody writes. */
    struct udp_train unsent;
    struct block *unsent_block;
};

/* ---- the main thread, before and after there are workers ---- */

void quic_node_init(struct quic_node *n, unsigned workers);
void quic_node_free(struct quic_node *n);

/* ---- a worker ---- */

void quic_worker_init(struct quic_worker *q, struct quic_node *n, struct worker *w);
/* No endpoint is left. */
void quic_worker_free(struct quic_worker *q);

/* Takes the socket (udp_open, quic_route_attach) and receives on it. False when memory is out: the
 * socket stays the caller's. */
bool quic_endpoint_open(struct quic_endpoint *e, struct quic_worker *q,
                        const struct quic_endpoint_ops *ops, struct http_service *service, int fd);
/* No further connections. Calls ops->closed, not from inside, when the last one has ended. */
void quic_endpoint_close(struct quic_endpoint *e);

#endif
