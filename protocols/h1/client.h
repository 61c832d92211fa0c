/* client: an HTTP/1.1 connection to a server (RFC 9112), one request at a time.
 *
 * Belongs to one worker and frees itself: after h1_client_close, when nothing of it is in flight
 * any more. Between requests it reads on, so that it notices when the server closes it or sends
 * what nobody asked for. Parsing, framing and timeouts are here; which server, whether to try
 * again, and what the response means is its user's.
 *
 * Order of calls: connect -> connected; then any number of: request -> interim* -> head or failed;
 * after head the body is the user's, and closing it ends the use: done says whether the connection
 * may be used again. */
#ifndef VERGE_PROTOCOLS_H1_CLIENT_H
#define VERGE_PROTOCOLS_H1_CLIENT_H

#include "edge/base/list.h"
#include "edge/io/conn.h"
#include "edge/io/worker.h"
#include "protocols/h1/frame.h"
#include "protocols/h1/sender.h"

#define H1_INTERIM_MAX 16 /* interim responses to one request that are passed on */

struct h1_client;

struct h1_client_ops {
    /* 0, or -E_CONNECT_REFUSED, _UNREACHABLE, _TIMEOUT, -E_ORIGIN_TLS, _CERTIFICATE; after a
     * failure close it. */
    void (*connected)(struct h1_client *c, int error);
    void (*interim)(struct h1_client *c, const struct response *r);
    /* The final head, whose slices stay valid until the body is closed. The body, client->body, is
     * to be closed in any case, also where there is none to read. */
    void (*head)(struct h1_client *c, const struct h1_response *r);
    /* What is wrong with what the server sends, before connected or failed is called for it or the
     * body fails; valid during the call. */
    void (*faulty)(struct h1_client *c, int error, const struct h1_fault *fault);
    /* No final head will come; close it. */
    void (*failed)(struct h1_client *c, int error);
    /* The body was closed. reusable: whole, nothing left over, and the server keeps the connection.
     */
    void (*done)(struct h1_client *c, bool reusable);
    /* Between requests: the server closed it, or sent something; close it. */
    void (*lost)(struct h1_client *c);
    /* The last word: it is freed after this. */
    void (*closed)(struct h1_client *c);
};

/* What a server may take of time and of memory for a response's head. */
struct h1_client_limits {
    int64_t connect_ms, first_byte_ms, between_bytes_ms, idle_ms;
    int64_t interim_ms;   /* from the first interim response to the final one */
    size_t interim_bytes; /* of all of them */
    struct h1_limits head;
};

enum h1_client_state {
    CLIENT_CONNECTING,
    CLIENT_IDLE,
    CLIENT_WAITING,
    CLIENT_READING,
    CLIENT_CLOSING
};

struct h1_client {
    const struct h1_client_ops *ops;
    void *user, *owner; /* who uses it now; who keeps it */
    const void *server; /* the owner's */
    struct list link;   /* the owner's, between requests */
    bool admitted;      /* the owner's: it counts as used */
    int64_t opened_ms;
    uint64_t requests;
    struct body body;    /* of the response, from head on */
    uint64_t head_bytes; /* of the response that have come: 0 tells a stale connection from a
                            failing server */

    /* The rest is its own. */
    struct conn conn;
    struct scope scope;
    struct op connect_op;
    struct timer timer;
    enum h1_client_state state;
    struct h1_client_limits limits;
    struct h1_sender request;
    bool request_sent;
    int64_t requested_us;
    enum method method;
    struct block *in; /* unread bytes are [at, end) */
    size_t at, end, scanned, block_bytes;
    struct block *ahead; /* the next block, whose first ahead_bytes were read already */
    size_t ahead_bytes;
    struct block *head_block;
    struct arena arena;
    unsigned interims;
    size_t interim_bytes;
    int64_t interim_until_ms; /* once there was one */
    bool keep_alive, was_reset, body_waiting, body_ended;
    int read_error;
    enum h1_body framing;
    uint64_t left, counted_in_bytes, counted_out_bytes;
    struct h1_chunked chunked;
    union {
        struct sockaddr any;
        struct sockaddr_storage room;
    } address;
};

/* Begins to connect, and where there is a session (NULL: none), which it takes in any case, to
 * secure the connection; connected is called, not from inside. NULL, with errno, where there is no
 * socket to be had. */
struct h1_client *h1_client_connect(struct worker *w, const struct sockaddr *to, socklen_t to_bytes,
                                    struct tls *tls, const struct h1_client_limits *limits,
                                    const struct h1_client_ops *ops, void *user, void *owner);
/* Sends a request, whose body (NULL: none) it pulls and closes. On a connection that was kept:
 * false, nothing done, where the server has closed it, or has sent something, meanwhile; close it
 * then, the body is untouched. failed may be called from inside. te_trailers: the response may have
 * trailer fields. */
bool h1_client_request(struct h1_client *c, const struct request *r, struct body *body,
                       bool te_trailers, void *user);
/* Gives up, whatever it is doing. No call but closed follows. */
void h1_client_close(struct h1_client **c);

/* ---- between client.c and client_body.c ---- */

void h1_client_open_body(struct h1_client *c, const struct h1_response *r);
/* More has come, or never will. */
void h1_client_wake_body(struct h1_client *c);
/* The body was closed; whole: it had been read to its end. */
void h1_client_finish(struct h1_client *c, bool whole);

#endif
