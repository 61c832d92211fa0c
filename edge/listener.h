/* listener: accepting connections on one of a worker's sockets, and giving each to its protocol.
 *
 * Belongs to its worker. A listener that its configuration no longer names is closed, and lives on
 * until the last connection that came in on it has ended. */
#ifndef VERGE_EDGE_LISTENER_H
#define VERGE_EDGE_LISTENER_H

#include "edge/base/list.h"
#include "edge/io/worker.h"
#include "edge/listen.h"
#include "protocols/http/exchange.h"

struct edge;

/* One worker's: struct listener, each accepting, or closed and held by connections that came in on
 * it. */
struct listeners {
    struct edge *edge;
    struct list open;
    struct scope scope; /* one for each listener that is not freed yet */
    void (*idle)(struct listeners *l);
};

void listeners_init(struct listeners *l, struct edge *e);
/* On the worker: takes the sockets, starts accepting on them for edge->config, stops on those that
 * it no longer names. */
void listeners_configure(struct listeners *l, struct listen_sockets *sockets);
/* Stops accepting for sites: /healthz can still be asked while what is in flight is finished. */
void listeners_close_sites(struct listeners *l);
/* Stops accepting; calls idle, not from inside, once no connection that came in is left either. */
void listeners_close(struct listeners *l, void (*idle)(struct listeners *l));
/* A connection is gone, which had this peer. */
void listener_leave(const struct peer *peer);

/* Alt-Svc of responses to that peer: where HTTP/3 is spoken; empty where it is not, or it is what
 * the peer speaks already. Valid as long as the connection. */
struct slice listener_alt_svc(const struct peer *peer);
/* peer->listener's address; valid as long as the connection. */
const struct config_listen *listener_address(const void *listener);

#endif
