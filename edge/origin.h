/* origin: the servers behind a route, which of them is asked next, and the idle connections to
 * them.
 *
 * Each worker has its own struct origin for every origin of its configuration; only the caps on
 * connections are the process's. Belongs to its worker, counted there: fetches and connections hold
 * it, so that a reload may replace it at any time. Idle connections go over to the new generation
 * where the server is still the same. */
#ifndef VERGE_EDGE_ORIGIN_H
#define VERGE_EDGE_ORIGIN_H

#include "edge/config.h"
#include "edge/resolve.h"

struct h1_client;

/* What all workers' connections to one origin have in common. Lives as long as the process: their
 * number is that of all origin names ever configured. */
struct origin_shared {
    struct origin_shared *next;
    struct slice name;
    _Atomic unsigned busy, idle;
};

/* The process's. */
struct origin_limits {
    pthread_mutex_t lock;
    struct origin_shared *first;
};

struct origin_server {
    const struct config_server *config;
    int current;                    /* smooth weighted round robin */
    int64_t failed_until_ms;        /* connecting failed a moment ago: others first */
    struct ssl_session_st *session; /* of TLS, for the next connection; NULL: none */
};

struct origin {
    unsigned references;
    struct origins *owner;
    struct config *generation; /* holds config */
    const struct config_origin *config;
    struct origin_shared *shared;
    struct list idle; /* struct h1_client.link, the last used first */
    struct origin_server servers[];
};

/* One worker's. */
struct origins {
    struct worker *worker;
    struct resolver *resolver;
    struct origin_limits *limits;
    struct origin **v; /* by config_origin.index */
    size_t count;
    unsigned live; /* origins, also old ones still held */
    bool closing;
    void (*idle)(struct origins *o);
    struct note idle_note;
};

void origin_limits_init(struct origin_limits *l);
void origin_limits_free(struct origin_limits *l);

void origins_init(struct origins *o, struct worker *w, struct resolver *r, struct origin_limits *l);
/* Changes to another generation, which it holds by itself. */
void origins_configure(struct origins *o, struct config *c);
/* Drops idle connections and calls idle, not from inside, once nobody holds an origin any more. */
void origins_close(struct origins *o, void (*idle)(struct origins *o));

/* The present generation's origin of that name; where it has none any more, one for this use alone.
 * A reference for the caller. c: the generation that config is of. */
struct origin *origins_get(struct origins *o, struct config *c, const struct config_origin *config);
struct origin *origin_hold(struct origin *o);
void origin_drop(struct origin **o);

/* The next server to try, by weight: not down, not one of those that were tried, one that failed
 * lately only where no other is left, a backup only after all others. NULL: none. */
struct origin_server *origin_next_server(struct origin *o, struct origin_server *const *tried,
                                         size_t tried_count);
/* Connecting to it failed. */
void origin_server_failed(struct origin *o, struct origin_server *s);

/* A place for one more connection that is used; false where connections_max is reached. Idle ones
 * have none: their number has a limit of its own, and they lie in the pools of other workers, too.
 */
bool origin_admit(struct origin *o);
void origin_leave(struct origin *o);
/* An idle connection to that server, taken out of the pool and given a place; NULL where there is
 * none. */
struct h1_client *origin_take_idle(struct origin *o, const struct origin_server *s);
/* May one more be kept? Then it gives up its place and is counted as idle. */
bool origin_keep_idle(struct origin *o, struct h1_client *c);
/* Takes it out of the pool. */
void origin_forget_idle(struct origin *o, struct h1_client *c);

#endif
