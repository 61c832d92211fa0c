/* exchange: a request and its response, whatever wire format carries them.
 *
 * A protocol embeds it, fills in the request and calls the handler (the edge); the edge answers
 * through ops. Both live on the exchange's worker. Order of calls:
 *
 *   handler->begin(x)              the request's head is complete; or
 *   handler->reject(x, error)      what arrived is no acceptable request: the edge answers it with
 * the error x->ops->interim(x, r)      any number of times, before x->ops->respond(x, r, b)   once;
 * takes the body (NULL: none), which the protocol pulls at its client's pace; or x->ops->abort(x,
 * error)    instead of respond, where no answer is possible handler->end(x)                once,
 * always last: sent, or x->error says why not. The edge lets go of everything; what is still on its
 * way back to it holds x->scope.
 *
 * Only when the scope is idle does the protocol reuse or free the exchange. end may be called from
 * inside respond. */
#ifndef VERGE_PROTOCOLS_HTTP_EXCHANGE_H
#define VERGE_PROTOCOLS_HTTP_EXCHANGE_H

#include "edge/base/verdict.h"
#include "edge/io/worker.h"
#include "protocols/http/body.h"
#include "protocols/http/message.h"

struct exchange;
struct tls_hello;

struct exchange_ops {
    void (*interim)(struct exchange *x, const struct response *r);
    /* The head may be short-lived: it is printed before respond returns. */
    void (*respond)(struct exchange *x, const struct response *r, struct body *body);
    void (*abort)(struct exchange *x, int error);
};

struct exchange_handler {
    void (*begin)(struct exchange *x);
    void (*reject)(struct exchange *x, int error);
    void (*end)(struct exchange *x);
};

/* Who is at the other end; the connection's, constant. */
struct peer {
    uint8_t address[16]; /* IPv6, or IPv4 mapped into it */
    uint16_t port;
    bool secure;                 /* TLS: the scheme is https */
    const struct tls_hello *tls; /* the connection's; NULL without TLS, and before it said hello */
    const void *listener;        /* the edge's, which accepted it */
};

#define EXCHANGE_LINE_BYTES 256

struct exchange {
    const struct exchange_ops *ops;
    const struct exchange_handler *handler;
    const struct peer *peer;
    struct worker *worker;
    struct scope scope;
    struct arena arena;

    struct request request;
    struct body *request_body; /* NULL: none. The edge pulls it; the protocol owns it */
    bool te_trailers;          /* trailers may be sent to this client */
    bool early;                /* came in 0-RTT data; the edge looks at peer->tls itself */

    /* For the log. */
    struct slice received_target; /* the request's, as its client spelled it */
    /* Of what was refused unread: its first line, or what had come of it, at most
     * EXCHANGE_LINE_BYTES; in the arena. */
    struct slice refused_line;
    int64_t began_us;      /* monotonic: the head's first byte */
    int64_t first_byte_us; /* the kernel was given the response's first; 0: none */
    int64_t ended_us;      /* and its last, or it was given up */
    int status;            /* final, as sent; 0: none */
    int error;             /* why it ended otherwise than planned; 0 */
    uint64_t body_sent_bytes, body_received_bytes;

    void *edge; /* the edge's own part, in the arena */
};

#endif
