/* connection: the inside of an HTTP/1.1 client connection. Seen by protocols/h1/server*.c only;
 * server.h is the interface.
 *
 * server.c           the state machine: requests, timers, the end
 * server_input.c     unread bytes, and the request's body as something that can be pulled
 * server_output.c    the response: head, framing, and the body pulled at the client's pace */
#ifndef VERGE_PROTOCOLS_H1_CONNECTION_H
#define VERGE_PROTOCOLS_H1_CONNECTION_H

#include "edge/io/conn.h"
#include "protocols/h1/frame.h"
#include "protocols/h1/print.h"
#include "protocols/h1/sender.h"
#include "protocols/h1/server.h"
#include "protocols/http/inbox.h"
#include "protocols/http/pace.h"

/* Of finished responses, before the next pipelined request is looked at. */
#define OUTPUT_MAX (64 * 1024)

enum h1_state {
    STATE_READY,     /* for a request: parsing its head, or waiting for its first byte */
    STATE_WAITING,   /* the edge has the request */
    STATE_ANSWERING, /* the head is queued, the body is pulled */
    STATE_RESETTING, /* ended; something of the exchange is still on its way */
    STATE_LINGERING, /* everything said; reading until the client closes */
    STATE_CLOSING,
};

struct h1_server {
    struct conn conn;
    struct scope scope;
    struct http_connection client;
    struct exchange x;
    struct timer timer;
    enum h1_state state;
    uint64_t requests;
    bool running;    /* inside h1_server_run: what changes state need not call it */
    bool keep_alive; /* after the present response */
    bool unfinished; /* a response was broken off */

    struct inbox in;
    size_t scanned;
    struct block *head_block; /* that the request's slices point into */
    struct h1_limits limits;  /* the present request's */
    struct pace_linger linger;
    uint64_t counted_in_bytes, counted_out_bytes;

    /* The request's body. */
    struct body request_body;
    enum h1_body request_framing;
    struct h1_chunked chunked;
    uint64_t request_left;
    bool request_ended, continue_owed, body_waiting;
    int request_error; /* it will not come: -E_... */
    struct pace_in pace_in;

    /* The response. */
    struct h1_sender response;
    struct conn_mark head_sent; /* linked until the kernel has taken the head */
    struct pace_out pace_out;   /* by what is acknowledged */
};

static inline int64_t h1_now_ms(const struct h1_server *s)
{
    return worker_now_ms(s->conn.worker);
}

static inline bool h1_in_exchange(const struct h1_server *s)
{
    return s->state == STATE_WAITING || s->state == STATE_ANSWERING;
}

/* ---- server.c ---- */

void h1_set_timer(struct h1_server *s, int64_t after_ms);
/* Goes on until nothing changes any more; every callback ends with it. */
void h1_server_run(struct h1_server *s);
/* The exchange is over: 0, or why it ended otherwise than planned. */
void h1_end_exchange(struct h1_server *s, int error);
/* Nothing more can be said on this connection, and what was said is not whole. */
void h1_break_off(struct h1_server *s, int error);

/* ---- server_input.c ---- */

/* Reads on, or not, by how much is unread. */
void h1_regulate_input(struct h1_server *s);
/* Makes the body ready that the parsed request announces. */
void h1_open_request_body(struct h1_server *s, const struct h1_request *r);
/* More has come, or never will: whoever waits for the body may pull again. */
void h1_wake_request_body(struct h1_server *s);
/* As the client's fault, seen by the next pull. */
void h1_fail_request_body(struct h1_server *s, int error);

/* ---- server_output.c ---- */

extern const struct exchange_ops h1_exchange_ops;

/* In STATE_ANSWERING: pulls, queues, and ends the exchange when all is said. */
void h1_answer(struct h1_server *s);
/* The send timer: false where the client takes less than it must. */
bool h1_client_keeps_up(struct h1_server *s);
void h1_watch_client(struct h1_server *s);

#endif
