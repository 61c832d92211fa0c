/* listen: the sockets that connections come in on, one of each for every worker (SO_REUSEPORT).
 *
 * The main thread opens sockets, before any worker accepts on one of them, so that an address that
 * cannot be had is told at once (at start: exit; at a reload: the old configuration stays). A
 * worker owns its part of them from then on. */
#ifndef VERGE_EDGE_LISTEN_H
#define VERGE_EDGE_LISTEN_H

#include "edge/base/list.h"
#include "edge/config.h"
#include "edge/io/worker.h"
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

/* Sockets the main thread opened for one worker, in the order of config->listens, the admin's last
 * where there is one; -1 where the worker has one for that address already. */
struct listen_sockets {
    int *fds;
    size_t count;
};

/* The addresses of a configuration, the admin's last. */
size_t listen_count(const struct config *c);
const struct config_listen *listen_at(const struct config *c, size_t i);
/* Is it one of the configuration's addresses? False where c is NULL. */
bool listen_is_named(const struct config *c, const struct config_listen *address);

/* Opens what config needs and before (may be NULL) did not have, one of each for every worker:
 * worker_count sockets, for listen_sockets_free. NULL after one sentence that names the address was
 * logged, with nothing left open. May wait a moment for an address to become free. */
struct listen_sockets *listen_open(const struct config *config, const struct config *before,
                                   unsigned worker_count);
/* Closes what nobody took, and frees. */
void listen_sockets_free(struct listen_sockets *sockets, unsigned worker_count);

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

/* peer->listener's address; valid as long as the connection. */
const struct config_listen *listener_address(const void *listener);

#endif
