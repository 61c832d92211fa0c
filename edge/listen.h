/* listen: the sockets that connections come in on, one of each for every worker (SO_REUSEPORT), and how many may come.
 *
 * The main thread opens sockets, before any worker accepts on one of them, so that an address that cannot be had is told at
 * once (at start: exit; at a reload: the old configuration stays). A worker owns its part of them from then on. */
#ifndef VERGE_EDGE_LISTEN_H
#define VERGE_EDGE_LISTEN_H

#include "edge/base/list.h"
#include "edge/config.h"
#include "edge/io/worker.h"
#include "protocols/http/exchange.h"

struct edge;

/* Client connections of the whole process. */
struct client_limits {
    _Atomic unsigned connections;
    pthread_mutex_t lock; /* of addresses, used only where connections_per_client is set */
    struct client_table *addresses;
};

/* One worker's listeners: struct listener. */
struct listeners {
    struct edge *edge;
    struct list open; /* accepting */
    unsigned closing; /* cancelled, their last completion to come */
};

/* Sockets the main thread opened for one worker, in the order of config->listens, the admin's last where there is one;
 * -1 where the worker has one for that address already. */
struct listen_sockets {
    int *fds;
    size_t count;
};

void client_limits_init(struct client_limits *l);
void client_limits_free(struct client_limits *l);
/* One connection of that peer is gone. */
void client_limits_leave(struct client_limits *l, const struct config *c, const struct peer *peer);

/* Opens what config needs and before (may be NULL) did not have, one of each for every worker: sockets[worker_count], freed by
 * the caller's listen_sockets_free. 0; or -E_SYSTEM after one sentence that names the address was logged, with nothing left open. */
int listen_open(const struct config *config, const struct config *before, unsigned worker_count,
                struct listen_sockets *sockets);
/* Closes what nobody took, and frees. */
void listen_sockets_free(struct listen_sockets *sockets, unsigned worker_count);

void listeners_init(struct listeners *l, struct edge *e);
/* On the worker: takes the sockets, starts accepting on them for edge->config, stops those that it no longer names. */
void listeners_configure(struct listeners *l, struct listen_sockets *sockets);
/* Stops accepting; done when list and closing are empty. */
void listeners_close(struct listeners *l);

/* Of a peer's connection: the listener's address, copied into the peer's exchange as peer->listener. */
const struct config_listen *listener_address(const void *listener);

#endif
