/* fetch: one origin request: a server chosen, a connection taken from the pool or made, the request
 * sent; sent again on another connection where the first had gone stale and that is safe, to the
 * next server where connecting failed.
 *
 * Embedded in its owner, whose scope it holds while something of it is on its way; belongs to that
 * worker. It does not know what the response is for. */
#ifndef VERGE_EDGE_FETCH_H
#define VERGE_EDGE_FETCH_H

#include "edge/origin.h"
#include "edge/resend.h"
#include "protocols/h1/client.h"

#define FETCH_ATTEMPTS_MAX 8 /* connections tried for one request */

struct fetch;

struct fetch_ops {
    void (*interim)(struct fetch *f, const struct response *r);
    /* The head's slices are valid until the body, f->client->body, is closed; to be closed in any
     * case. */
    void (*head)(struct fetch *f, const struct h1_response *r, struct body *body);
    void (*failed)(struct fetch *f, int error);
};

struct fetch {
    const struct fetch_ops *ops;
    struct scope *scope;
    struct origin *origin;
    const struct request *request;
    struct body *body; /* the request's, while nobody has begun to pull it */
    bool te_trailers;

    struct origin_server *server; /* asked last; NULL: none yet */
    struct h1_client *client;
    struct resolve_wait resolving;
    struct origin_server *tried[FETCH_ATTEMPTS_MAX]; /* that could not be connected to */
    unsigned tried_count, attempts, address;
    bool retried; /* on a new connection, since the pooled one was stale */
    bool had_body;
    struct resend resend; /* the request's body, where the request may be sent again */
    int error;            /* of all attempts the one that tells most */
    struct note note;     /* brings a failure that was found at once */
    bool noted;
};

/* Starts. request must stay until fetch_close; body (NULL: none) is closed in any case. Exactly
 * one of head and failed is called, not from inside, unless fetch_close comes before. */
void fetch_start(struct fetch *f, struct scope *scope, struct origin *o,
                 const struct request *request, struct body *body, bool te_trailers,
                 const struct fetch_ops *ops);
/* Logs what is wrong with a response. */
void fetch_report(const struct fetch *f, int error, const struct h1_fault *fault);
/* Gives up or lets go; the response's body must be closed by then. Nothing is called afterwards. */
void fetch_close(struct fetch *f);

#endif
