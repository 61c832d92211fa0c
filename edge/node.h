/* node: the process, and edge: one worker's part of it. Everything that is neither a request nor
 * below a request hangs here.
 *
 * The node is shared and, but for what is marked atomic or says otherwise, constant once the
 * workers run. An edge belongs to its worker. */
#ifndef VERGE_EDGE_NODE_H
#define VERGE_EDGE_NODE_H

#include <signal.h>

#include "cache/disk.h"
#include "cache/index.h"
#include "edge/access_log.h"
#include "edge/client_limits.h"
#include "edge/config.h"
#include "edge/listener.h"
#include "edge/origin.h"
#include "edge/resolve.h"
#include "protocols/quic/endpoint.h"
#include "protocols/http/service.h"

/* Sent to the thread that started the node when its last edge has ended, so that it can wait for
 * this and for signals at a time. To be blocked in all threads. */
#define NODE_ENDED_SIGNAL SIGRTMIN

struct edge {
    struct worker worker; /* first: a worker's edge is found by its worker */
    struct node *node;
    struct config *config; /* this worker's generation, held; NULL: not configured yet */
    struct http_service sites, admin;
    struct listeners listeners;
    struct quic_worker quic;
    struct origins origins;
    struct resolver resolver;
    struct access_log access_log;
    struct list misses; /* struct miss.link */
    unsigned loads;     /* from the disk, under way */

    bool draining;  /* stopping: the sites' connections end */
    bool aborting;  /* without waiting for what is in flight */
    bool closing;   /* they have ended: all else does */
    bool finishing; /* no connection is left, but fetches may be */
    struct timer patience;
    struct note stop_note, abort_note;
    struct note room_note;      /* posted by whoever makes room_owed more than 0 */
    _Atomic unsigned room_owed; /* idle connections that are to be closed */
};

struct node {
    struct index index;
    struct disk *disk; /* the index's; NULL: none */
    struct origin_limits origin_limits;
    struct client_limits clients;
    struct quic_node quic;
    struct edge *edges;
    unsigned edge_count;
    _Atomic bool stopping;    /* for /healthz */
    _Atomic unsigned running; /* edges that have not ended */

    /* The thread's that started it. */
    pthread_t main_thread;
    struct config *config;   /* that the edges use, held */
    struct sink *access_log; /* that they write to; NULL: none */
    struct sink *error_log;
    char *error_path; /* where that writes: it stays so */
    bool aborting;
};

static inline struct edge *edge_of(struct worker *w)
{
    return (struct edge *)w;
}

/* ---- node.c: for the main thread ---- */

/* Starts an edge on each core, or as many as c says; they do nothing before they are configured. 0;
 * or -E_SYSTEM, logged, with nothing left running. */
int node_start(struct node *n, const struct config *c);
/* How many edges node_start would start for it. */
unsigned node_edges(const struct config *c);
/* Has every edge use a configuration, its sockets (taken, the array stays the caller's) and its
 * access log; returns when they all do. */
void node_configure(struct node *n, struct config *c, struct listen_sockets *sockets,
                    struct sink *access_log);
/* Asks all edges to end, once what is in flight is finished or shutdown_timeout has passed. Does
 * not wait. */
void node_stop(struct node *n);
/* Asks all edges to end at once, also after node_stop. Does not wait. */
void node_abort(struct node *n);
/* After either: waits for the end of all threads. */
void node_join(struct node *n);
/* What edges leave behind: the cache, and what counts connections. The offload pool must be gone as
 * well. */
void node_free(struct node *n);

/* ---- edge.c: on its worker ---- */

/* What worker_start calls. */
void edge_start(struct worker *w);
void edge_configure(struct edge *e, struct config *c, struct listen_sockets *sockets,
                    struct sink *access_log);
void edge_stop(struct edge *e);
void edge_abort(struct edge *e);
/* One of its misses is gone. */
void edge_miss_ended(struct edge *e);
/* One of its loads is; owner is the edge. */
void edge_load_ended(void *owner);

#endif
