/* miss_state: an origin request under way, between the files that share it: miss.c, which asks;
 * miss_response.c, what becomes of a response; miss_stored.c, what it says of what is stored. */
#ifndef VERGE_EDGE_MISS_STATE_H
#define VERGE_EDGE_MISS_STATE_H

#include "cache/disk.h"
#include "edge/miss.h"
#include "edge/node.h"

/* The origin's response, and what was decided about it. */
struct judged {
    struct response response;
    enum http_version version;
    struct body *body; /* NULL: it is the fill's, or closed */
    struct freshness freshness;
    struct slice vary, vary_key;
    struct slice unshared; /* names of fields that nobody but who asked may see */
    enum store_reason reason;
    bool stored, admitted;
    enum audience audience;
};

struct miss {
    struct list link; /* of the edge's */
    struct edge *edge;
    struct scope scope;
    struct arena arena;
    enum miss_kind kind;
    struct config *config;
    const struct config_route *route;
    struct request client;  /* as it was asked for: policy and Vary look at it */
    struct request request; /* as the origin is asked */
    struct key key;
    struct object *object;
    struct object *base;
    struct miss_watch *watch;
    struct fetch fetch;
    struct fill fill;
    struct judged judged;
    struct disk_wait settling;
    struct timer settle_patience;
    bool forgot;          /* something on the disk, for this response */
    struct object *asked; /* a slice's, where object is the whole; NULL: it is object */
    bool te_trailers;     /* the client takes trailers */
    bool ending;
    int64_t requested_ms;
};

static inline struct index *miss_index(const struct miss *m)
{
    return &m->edge->node->index;
}

/* ---- miss.c ---- */

void miss_end(struct miss *m);

/* ---- miss_response.c ---- */

/* Uses the origin's final response, takes the body: stores it or not, shows it to who waits. */
void miss_use_response(struct miss *m, const struct h1_response *from, struct body *body);
/* Takes out what an origin may not say, before anybody judges it: a Date that is none, or a second
 * one; Strict-Transport-Security without TLS (RFC 6797 section 7.2). */
void miss_mend(struct miss *m, struct response *r);
/* What this node adds to any response it forwards: its name in Via (RFC 9110 section 7.6.3), and
 * Date where the origin has none (section 6.6.1). */
void miss_sign(struct miss *m, struct response *r, enum http_version version);
/* Vary's names and the request's values of them. */
void miss_vary(struct miss *m, const struct response *r, struct slice *vary,
               struct slice *vary_key);
/* Takes out of *r what only the client that caused it may see, and gives it to that one. */
void miss_prepare_for_others(struct miss *m, struct response *r);
void miss_on_settle_patience_over(struct timer *t);

/* ---- miss_stored.c ---- */

/* A 304 that selects what was to be validated; takes the body. */
void miss_use_validated(struct miss *m, const struct h1_response *from, struct body *body);
/* The origin has failed, with that error: may the stale response stand in, and have it do so. */
bool miss_may_use_stale(const struct miss *m);
void miss_use_stale(struct miss *m, int error);
/* RFC 9111 section 4.3.5: what a HEAD says about the GET that is stored. */
void miss_apply_head(struct miss *m, const struct response *r);
/* What a 206 to a part of what is stored whole says of that. */
void miss_apply_part(struct miss *m, const struct response *r);
/* RFC 9111 section 4.4. */
void miss_invalidate(struct miss *m, const struct response *r);

#endif
