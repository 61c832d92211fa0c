/* connection: the inside of an HTTP/2 client connection. Seen by this folder only; server.h is the
 * interface.
 *
 * server.c     the connection: bytes, timers, the end
 * frames.c     what arrives, before nghttp2 has it
 * session.c    what nghttp2 calls, frame by frame
 * stream.c     a stream as an exchange: its life, the request and its body
 * response.c   the response: head, body pulled as flow control allows, trailers */
#ifndef VERGE_PROTOCOLS_H2_CONNECTION_H
#define VERGE_PROTOCOLS_H2_CONNECTION_H

#include <nghttp2/nghttp2.h>

#include "edge/io/conn.h"
#include "protocols/h2/server.h"
#include "protocols/http/flood.h"
#include "protocols/http/inbox.h"
#include "protocols/http/pace.h"
#include "protocols/http/pseudo.h"

/* What the connection's timer waits for. */
enum h2_phase {
    PHASE_NONE,   /* nothing: streams have timers of their own */
    PHASE_HEAD,   /* the client's preface, or the rest of a request's head */
    PHASE_SEND,   /* the client to take what is queued */
    PHASE_IDLE,   /* a request */
    PHASE_LINGER, /* everything is said; the client to close */
};

/* What was told of the connection's end. */
enum h2_goaway {
    GOAWAY_NONE,
    GOAWAY_TOLD,   /* which request is the last one */
    GOAWAY_FAILED, /* which error it is: nothing is read any more */
};

#define H2_FRAME_HEAD_BYTES 9

/* The frame that is arriving, and what is remembered of those before it. */
struct h2_frames {
    uint8_t seen[H2_FRAME_HEAD_BYTES + 4]; /* its head, and the beginning of its payload */
    size_t seen_n, left;                   /* of its payload, not seen yet */
    nghttp2_frame_hd head;                 /* once it is complete */
    int32_t highest, unbroken; /* stream of the client; from which on it has left none out */
    int32_t *late;             /* streams that were reset while it sent: it may not know yet */
    unsigned late_count, late_max;
    unsigned window_updates; /* that it may send without being wasteful */
};

struct h2_server {
    struct http_connection client;
    struct conn conn;
    struct scope scope;
    struct timer timer;
    enum h2_phase phase;
    nghttp2_session *session;
    struct list streams; /* struct h2_stream.link */
    struct list heads;   /* struct h2_stream.head_link: of uploads, not begun yet */
    unsigned stream_count, queued_count;
    uint64_t requests;
    struct h2_stream *heading; /* whose head nghttp2 is handing out; NULL */
    int refuse;                /* the first request is answered with this, and no other; 0 */
    struct note update_note;
    bool receiving;    /* inside nghttp2, with what arrived: an update follows by itself */
    bool greeted;      /* the client's preface and settings have come */
    bool prioritises;  /* the client has said what it wants first (RFC 9218) */
    int32_t head_open; /* the stream of a head that has begun and not ended; 0: none */
    enum h2_goaway goaway;
    struct h2_frames frames;
    bool flooded; /* the client has spent what it may waste */
    struct flood flood;
    struct pace_out pace_out; /* by what is acknowledged */
    struct pace_linger linger;
    uint64_t counted_in_bytes, counted_out_bytes;
};

struct h2_stream {
    struct exchange x;
    struct h2_server *server;
    struct list link, head_link;
    struct timer timer;
    int32_t id;             /* 0: nghttp2 has closed it */
    bool begun;             /* the edge has the exchange */
    bool answering;         /* it has responded */
    bool queued;            /* all of the response is, and not all sent */
    bool ended;             /* handler->end was called */
    struct pseudo *section; /* of fields, while it is read: in the arena */
    bool body_follows;      /* the head was not the end of the request */

    /* The request's body. */
    struct body request_body;
    struct inbox in;
    struct fields trailers;
    bool in_ended, in_waiting, continue_owed;
    int in_error; /* it will not come: -E_... */
    struct pace_in pace_in;

    /* The response's. One piece ahead is pulled, so that the last frame can say that it is. */
    struct body *body;
    struct span piece, next;
    int64_t length_left; /* of what was announced; negative: nothing was */
    bool out_waiting, out_ended;
    int out_error;
    struct pace_out pace_out;
    struct conn_mark head_sent, all_sent; /* linked until the kernel has taken so much */
};

static inline struct worker *h2_worker(const struct h2_server *s)
{
    return s->conn.worker;
}

static inline int64_t h2_now_ms(const struct h2_server *s)
{
    return worker_now_ms(s->conn.worker);
}

static inline const struct http_limits *h2_limits(const struct h2_server *s)
{
    return s->client.service->limits;
}

/* ---- server.c ---- */

/* Has what nghttp2 has to say sent in this turn of the loop, and sees whether the connection is
 * done. Whoever told nghttp2 something ends with it; it may be inside nghttp2 or a pull. */
void h2_update(struct h2_server *s);
/* Whether another frame may be queued now. */
bool h2_may_queue(const struct h2_server *s);
/* Nothing more can be said: every exchange ends with that error, and the connection. */
void h2_break_off(struct h2_server *s, int error);
/* One wasted frame more. */
void h2_waste(struct h2_server *s, enum flood_kind kind);
/* The client has broken a rule of the connection: an error code of RFC 9113 section 7. */
void h2_fail(struct h2_server *s, uint32_t code);

/* ---- frames.c ---- */

/* streams: how many the client may have at a time. */
void h2_frames_open(struct h2_frames *f, unsigned streams);
void h2_frames_free(struct h2_frames *f);
/* Has nghttp2 read it, as far as the connection does not fail. 0, or an error of nghttp2's. */
int h2_receive(struct h2_server *s, struct slice bytes);
/* The stream is reset, and the client may not have heard of it. */
void h2_frames_expect_late(struct h2_frames *f, int32_t id);
/* The client may give as much credit again. */
void h2_frames_sent_data(struct h2_frames *f, size_t n);

/* ---- session.c ---- */

/* False when memory is out. Settings are queued. */
bool h2_session_open(struct h2_server *s);
/* The room left in a frame of data that shares a block with its header. */
#define H2_DATA_BYTES (WORKER_BLOCK_BYTES - 9)

/* ---- stream.c ---- */

struct h2_stream *h2_stream_open(struct h2_server *s, int32_t id);
/* The head, or the trailers, are complete; ended: so is the request. */
void h2_stream_section_end(struct h2_stream *st, bool ended);
/* The edge gets the uploads whose heads have come with what arrived last. */
void h2_streams_begin(struct h2_server *s);
void h2_stream_data(struct h2_stream *st, struct slice bytes);
void h2_stream_input_end(struct h2_stream *st);
/* nghttp2 is about to forget the stream. */
void h2_stream_closed(struct h2_stream *st);
/* The exchange is over: 0, or why it ended otherwise than planned. */
void h2_stream_end(struct h2_stream *st, int error);
/* Resets it, with an error code of RFC 9113 section 7. */
void h2_stream_reset(struct h2_stream *st, uint32_t code);

/* ---- response.c ---- */

extern const struct exchange_ops h2_exchange_ops;

/* nghttp2's data source and its send_data_callback, with the stream behind them. */
ssize_t h2_response_read(struct h2_stream *st, size_t room, uint32_t *flags);
bool h2_response_write(struct h2_stream *st, const uint8_t *frame_head, size_t n);
/* Another frame of it is queued, perhaps the last: st->queued. */
void h2_response_queued(struct h2_stream *st);
/* An interim response without fields. */
void h2_send_continue(struct h2_stream *st);
/* The stream's timer: false where the client takes less than it must. */
bool h2_client_keeps_up(struct h2_stream *st);
void h2_response_release(struct h2_stream *st);

#endif
