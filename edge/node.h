/* node: the process, and edge: one worker's part of it. Everything that is neither a request nor below a request hangs here.
 *
 * The node is shared and, but for what is marked atomic or says otherwise, constant once the workers run. An edge belongs to
 * its worker. */
#ifndef VERGE_EDGE_NODE_H
#define VERGE_EDGE_NODE_H

#include "cache/index.h"
#include "edge/access_log.h"
#include "edge/config.h"
#include "edge/listen.h"
#include "edge/origin.h"
#include "edge/resolve.h"
#include "protocols/h1/server.h"

struct edge {
    struct worker worker; /* first: a worker's edge is found by its worker */
    struct node *node;
    struct config *config; /* this worker's generation, held */
    struct h1_service sites, admin;
    struct listeners listeners;
    struct origins origins;
    struct resolver resolver;
    struct access_log access_log;
    bool draining;
};

struct node {
    struct index index;
    struct origin_limits origin_limits;
    struct client_limits clients;
    struct edge *edges;
    unsigned edge_count;
    _Atomic bool stopping; /* for /healthz */
};

static inline struct edge *edge_of(struct worker *w) { return (struct edge *)w; }

#endif
