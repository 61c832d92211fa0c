/* miss: one request to an origin and what becomes of its response: an object that those who wait
 * for it read.
 *
 * Everything that is not answered from the cache goes this way: a fetch for all (its pending object
 * is in the index, others join it, and it goes on when the client that caused it leaves), the
 * validation of what is stored, a refresh in the background, and a pass for one client alone (a
 * private object with a window, given up with its client). Belongs to the worker of the request
 * that caused it and frees itself. */
#ifndef VERGE_EDGE_MISS_H
#define VERGE_EDGE_MISS_H

#include "cache/fill.h"
#include "edge/fetch.h"
#include "protocols/http/exchange.h"

struct edge;
struct miss;

enum miss_kind {
    MISS_SHARED,  /* leads: object is pending in the index */
    MISS_PRIVATE, /* for one client; stored nevertheless if it may be, so that the next one is a hit
                   */
    MISS_OPAQUE, /* for one client, forwarded as it came and never stored: bypass, unsafe methods */
};

/* What the client's side learns; embedded in it, valid after the miss has ended. */
struct miss_watch {
    struct exchange *exchange; /* gets interim responses */
    struct miss *miss;         /* NULL: it has ended */
    int status;                /* the origin's; 0: none */
    int error; /* of the origin or a server of it, where something else answers: what
                  is stale, or another server; 0: none */
    bool stored;
    const char *reason;     /* why not; NULL: stored, or not to be stored in the first place */
    struct slice upstream;  /* the server asked last, in the exchange's arena */
    struct fields unstored; /* what this response has for its client alone and the object does not,
                               likewise */
};

/* What is to be fetched; everything but the objects is borrowed during the call. */
struct miss_order {
    enum miss_kind kind;
    bool keep_range; /* the client's Range is the origin's business: with MISS_OPAQUE always */
    struct config *config;
    const struct config_route *route;
    const struct request *request;
    const struct peer *peer;
    const struct key *key;
    struct object *object;     /* PENDING; a reference is taken */
    struct object *base;       /* stored, to be validated; NULL: none. A reference is taken */
    struct body *request_body; /* only with MISS_OPAQUE. Closed when the miss ends or is left */
    bool te_trailers;
    bool background; /* nobody waits: what the client demands of caches does not count */
};

/* Starts. watch may be NULL. */
void miss_start(struct edge *e, const struct miss_order *order, struct miss_watch *watch);
/* The client is gone or answered. What is only for it ends; what has a head goes on as long as
 * anybody reads it or it is to be stored. Harmless where the miss has ended. */
void miss_leave(struct miss_watch *watch);

/* Ends those of an edge's that nobody waits for: the node stops. edge_miss_ended tells of each
 * one's end. */
void misses_abandon(struct edge *e);
/* Ends them all. */
void misses_abort(struct edge *e);

#endif
