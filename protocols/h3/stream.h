/* stream: a request stream of a session: an exchange, and its bytes both ways. Seen by
 * protocols/h3/ only; session.h is the interface.
 *
 * session.c    the streams together, and nghttp3's view of them
 * stream.c     one of them: its life, and how it ends
 * request.c    the head, field by field; the request's body as something that can be pulled
 * response.c   the head as fields; the body pulled and held until it is acknowledged; the end
 *
 * Freed when both QUIC is done with it and the exchange's scope is idle. */
#ifndef VERGE_PROTOCOLS_H3_STREAM_H
#define VERGE_PROTOCOLS_H3_STREAM_H

#include "protocols/h3/session.h"
#include "protocols/http/inbox.h"
#include "protocols/http/pace.h"
#include "protocols/http/pseudo.h"

/* Spans in order: written at the end, acknowledged at the front. */
struct h3_spans {
    struct span *v;
    unsigned first, count, cap; /* cap: a power of two, or 0 */
};

struct h3_stream {
    struct h3_session *session;
    struct list link; /* of the session's, or of its broken ones */
    struct h3_stream *next_by_id;
    struct list written_link;
    int64_t id;
    struct exchange x;
    bool begun;          /* the edge has it */
    bool ended;          /* and had it */
    bool idle;           /* nothing of it is on its way any more */
    bool closed;         /* QUIC is done with it */
    struct timer timer;  /* of the head, of the request's body, of the client's reading */
    struct pseudo *head; /* while a field section is read, in the arena */

    /* The request's body. */
    struct body request_body;
    struct inbox in;
    bool in_ended;          /* the client has sent all of it */
    bool in_refused;        /* STOP_SENDING was sent, or nobody wants it: what comes is dropped */
    bool in_waiting;        /* ready() is owed */
    int in_error;           /* it will not come: -E_... */
    struct fields trailers; /* of the request */
    bool continue_owed;     /* the client waits for 100 before it sends it */
    struct pace_in pace_in;

    /* The response. */
    struct body *body;
    struct h3_spans out;
    uint64_t out_bytes;  /* held in spans */
    uint32_t out_acked;  /* of the first span */
    int64_t length_left; /* LENGTH_UNKNOWN: whatever comes */
    bool answering;
    bool all_written;      /* into packets */
    bool body_waiting;     /* ready() is owed to us */
    struct list full_link; /* while it waits for acknowledgements */
    bool blocked;          /* by the stream's credit */
    int failed;            /* the response cannot go on: -E_... */
    uint64_t acked_bytes, session_looked_bytes;
    struct pace_out pace_out;
};

static inline int64_t h3_now_ms(const struct h3_stream *s)
{
    return worker_now_ms(s->x.worker);
}

static inline const struct http_limits *h3_limits(const struct h3_stream *s)
{
    return s->session->client->service->limits;
}

/* ---- session.c ---- */

/* Finds it by its ID from now on, and no longer. */
void h3_session_remember(struct h3_session *session, struct h3_stream *s);
void h3_session_forget(struct h3_session *session, struct h3_stream *s);

/* ---- stream.c ---- */

/* In the session's list, with its timer running until its head is there. */
struct h3_stream *h3_stream_new(struct h3_session *session, int64_t id);
/* QUIC is done with it, and its exchange, if it had one, is idle. */
void h3_stream_free(struct h3_stream *s);

/* The exchange is over: 0, or why it ended otherwise than planned. The stream stays until QUIC is
 * done with it. */
void h3_stream_end(struct h3_stream *s, int error);
/* Ends it with RESET_STREAM: nothing of what was sent is whole. */
void h3_stream_break_off(struct h3_stream *s, int error, uint64_t code);
/* It is no request, or its client has made a mistake with it: an error of the stream. */
void h3_stream_refuse(struct h3_stream *s, int error);
/* The edge gets it: with a complete head, or with the error it is answered with. */
void h3_stream_begin(struct h3_stream *s, int error);

#define H3_SPANS_MAX 8192

/* Takes the span, of which there are fewer than that. */
void h3_spans_push(struct h3_spans *q, struct span *span);
struct span *h3_spans_first(struct h3_spans *q);
void h3_spans_pop(struct h3_spans *q); /* the caller has released or taken it */
void h3_spans_free(struct h3_spans *q);

/* ---- request.c ---- */

void h3_open_request_body(struct h3_stream *s);
/* Bytes of the body; whoever waits for them may pull again. False where memory is out. */
bool h3_take_body(struct h3_stream *s, struct slice bytes);
void h3_wake_request_body(struct h3_stream *s);
void h3_fail_request_body(struct h3_stream *s, int error);
/* What is unread is dropped, and what still comes. */
void h3_refuse_request_body(struct h3_stream *s);

/* ---- response.c ---- */

extern const struct exchange_ops h3_exchange_ops;

void h3_send_continue(struct h3_stream *s);
nghttp3_ssize h3_read_response(nghttp3_conn *http, int64_t id, nghttp3_vec *v, size_t count,
                               uint32_t *flags, void *session, void *stream);
/* Some of it is in packets, or all; the kernel has taken these. */
void h3_response_written(struct h3_stream *s, bool all);
void h3_response_sent(struct h3_stream *s, int64_t now_us);
void h3_response_acked(struct h3_stream *s, uint64_t n);
/* The send timer: false where the client takes less than it must. */
bool h3_client_keeps_up(struct h3_stream *s);
void h3_watch_client(struct h3_stream *s);

#endif
