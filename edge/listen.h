/* listen: the sockets that connections come in on, one of each for every worker (SO_REUSEPORT).
 *
 * The main thread opens them, before any worker accepts on one, so that an address that cannot be
 * had is told at once (at start: exit; at a reload: the old configuration stays). A worker's
 * listeners own its part of them from then on. */
#ifndef VERGE_EDGE_LISTEN_H
#define VERGE_EDGE_LISTEN_H

#include "edge/config.h"

enum listen_transport { LISTEN_TCP, LISTEN_UDP, LISTEN_TRANSPORTS };

/* Sockets the main thread opened for one worker, in the order of config->listens, the admin's last
 * where there is one; -1 where the worker has one for that address already, or nothing is spoken
 * there over that transport. */
struct listen_sockets {
    int *fds[LISTEN_TRANSPORTS];
    size_t count;
};

/* The addresses of a configuration, the admin's last. */
size_t listen_count(const struct config *c);
const struct config_listen *listen_at(const struct config *c, size_t i);
/* Is it one of the configuration's addresses, with something spoken there over that transport?
 * False where c is NULL. */
bool listen_is_named(const struct config *c, const struct config_listen *address,
                     enum listen_transport transport);

/* Opens what config needs and before (may be NULL) did not have, one of each for every worker:
 * worker_count sockets, for listen_sockets_free. NULL after one sentence that names the address was
 * logged, with nothing left open. May wait a moment for an address to become free. */
struct listen_sockets *listen_open(const struct config *config, const struct config *before,
                                   unsigned worker_count);
/* Closes what nobody took, and frees. */
void listen_sockets_free(struct listen_sockets *sockets, unsigned worker_count);

#endif
