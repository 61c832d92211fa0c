/* service: what the client connections of one worker share, whatever they speak; and the part that
 * is the same in each of them.
 *
 * Belongs to one worker. The service's owner replaces limits at a reload; connections read them
 * anew for each request. A connection is in the service's list from its first byte until its last
 * resource is given back. Of those that are idle other workers may read how many there are and
 * since when. */
#ifndef VERGE_PROTOCOLS_HTTP_SERVICE_H
#define VERGE_PROTOCOLS_HTTP_SERVICE_H

#include "edge/base/list.h"
#include "protocols/http/exchange.h"
#include "protocols/http/limits.h"

struct http_service {
    struct worker *worker;
    const struct exchange_handler *handler;
    const struct http_limits *limits;
    struct list connections; /* struct http_connection.link */
    struct list idle;        /* struct http_connection.idle_link, the longest idle first */
    _Atomic unsigned idle_count;
    _Atomic int64_t idle_since_ms; /* of the longest; meaningful while idle_count is not 0 */
    unsigned connection_count;
    bool draining; /* the node stops: no further request on any connection */
    /* One connection less; after the last resource is given back. */
    void (*closed)(struct http_service *service, const struct peer *peer);
};

struct http_connection;

struct http_connection_ops {
    /* No further requests: ends now if idle, else after what is in flight. */
    void (*drain)(struct http_connection *c);
    /* Ends, whatever it is doing. */
    void (*abort)(struct http_connection *c);
    /* Ends as where idle_timeout is over; only while it is idle. */
    void (*expire)(struct http_connection *c);
};

/* Embedded in each protocol's connection. */
struct http_connection {
    const struct http_connection_ops *ops;
    struct http_service *service;
    struct list link, idle_link;
    bool idle;
    int64_t idle_since_ms;
    struct peer peer;
};

void http_service_init(struct http_service *service, struct worker *w,
                       const struct exchange_handler *handler, const struct http_limits *limits,
                       void (*closed)(struct http_service *service, const struct peer *peer));
/* No further requests, on present and on future connections. */
void http_service_drain(struct http_service *service);
/* Ends all connections, whatever they are doing. */
void http_service_abort(struct http_service *service);

/* Counted and listed from now on. */
void http_connection_enter(struct http_connection *c, const struct http_connection_ops *ops,
                           struct http_service *service, const struct peer *peer);
/* No longer; the service's owner hears of it. */
void http_connection_leave(struct http_connection *c);
/* Whether it waits for its client to begin something, and nothing of it is on its way: then it may
 * be closed to make room for another one. Not idle at first. */
void http_connection_set_idle(struct http_connection *c, bool idle);
/* Closes up to so many, the longest idle first; how many. */
unsigned http_service_expire(struct http_service *service, unsigned count);

/* Another one, entered before or after, is the same connection from now on: nobody hears of it. */
void http_connection_hand_over(struct http_connection *c);

#endif
