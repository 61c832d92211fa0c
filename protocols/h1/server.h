/* server: an HTTP/1.1 client connection (RFC 9112), one exchange at a time.
 *
 * Allocated on accept, frees itself when it has ended; belongs to one worker. An idle one holds no
 * buffer and no arena. Pipelined requests are answered in order, the next one parsed when the one
 * before is finished. Parsing, framing, limits and timeouts are here; what a request means is the
 * handler's. */
#ifndef VERGE_PROTOCOLS_H1_SERVER_H
#define VERGE_PROTOCOLS_H1_SERVER_H

#include "edge/io/tls.h"
#include "protocols/http/exchange.h"
#include "protocols/http/limits.h"

struct h1_server;

/* What the connections of one worker share. */
struct h1_service {
    struct worker *worker;
    const struct exchange_handler *handler;
    const struct http_limits *limits; /* replaced by a reload; read anew for each request */
    struct list connections;          /* struct h1_server.link */
    unsigned connection_count;
    bool draining; /* the node stops: no further request on any connection */
    /* One connection less; after the last resource is given back. */
    void (*closed)(struct h1_service *service, const struct peer *peer);
};

void h1_service_init(struct h1_service *service, struct worker *w,
                     const struct exchange_handler *handler, const struct http_limits *limits,
                     void (*closed)(struct h1_service *service, const struct peer *peer));

/* Takes an accepted descriptor and, where it speaks TLS, its session (else NULL). refuse: not 0,
 * the connection is answered with that error
 * (-E_CONN_LIMIT) at once, whatever it was going to ask, and closed. */
void h1_server_start(struct h1_service *service, int fd, const struct peer *peer, struct tls *tls,
                     int refuse);

/* No further requests: idle connections close now, others after their response. */
void h1_service_drain(struct h1_service *service);
/* Ends all connections, whatever they are doing. */
void h1_service_abort(struct h1_service *service);

#endif
