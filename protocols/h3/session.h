/* session: HTTP/3 (RFC 9114) on one QUIC connection, by nghttp3: each request stream an exchange.
 *
 * Embedded in its connection, belongs to its worker. It knows no packet: what arrives on streams is
 * given to it, what streams have to say is asked of it piece by piece, and what it wants of the
 * transport it says through h3_transport_ops. Bytes of a response are pulled from its body when the
 * transport asks for them, so flow control and congestion decide, and held until the client has
 * acknowledged them. Bytes of a request give their credit back when the edge has pulled them.
 *
 * Functions that return an int give 0, or the code of an error that ends the connection (RFC 9114
 * section 8.1). */
#ifndef VERGE_PROTOCOLS_H3_SESSION_H
#define VERGE_PROTOCOLS_H3_SESSION_H

#include <nghttp3/nghttp3.h>
#include <sys/uio.h>

#include "protocols/http/flood.h"
#include "protocols/http/service.h"

/* The connection's credit, in windows of streams. It is given back at once, so that uploads that
 * stand still take nothing from the others; their own windows bound what waits here. */
#define H3_WINDOWS 8
/* Besides control and QPACK, each one of which a client opens once, some of types that nobody knows
 * (RFC 9114 section 6.2.3). */
#define H3_UNI_STREAMS 8
#define H3_PIECES      8

struct h3_session;

struct h3_transport_ops {
    /* A unidirectional stream of ours; false where the client does not allow one. */
    bool (*open)(struct h3_session *s, int64_t *id);
    /* The client may send so many bytes more, on all streams together and on one. */
    void (*received)(struct h3_session *s, size_t n);
    void (*consumed)(struct h3_session *s, int64_t id, size_t n);
    /* RESET_STREAM, and STOP_SENDING. */
    void (*reset)(struct h3_session *s, int64_t id, uint64_t code);
    void (*stop)(struct h3_session *s, int64_t id, uint64_t code);
    /* One of the client's request streams is over: it may open another. */
    void (*released)(struct h3_session *s);
    /* There is something to write. */
    void (*wake)(struct h3_session *s);
};

struct h3_session {
    const struct h3_transport_ops *transport;
    struct http_connection *client;
    struct scope *scope;      /* the connection's: each exchange holds it */
    nghttp3_conn *http;       /* NULL: not started */
    struct list streams;      /* struct h3_stream.link */
    struct h3_stream **by_id; /* the same, in a power of two of chains */
    size_t chains;
    struct list broken;  /* streams whose response cannot go on: to be reset */
    struct list written; /* struct h3_stream.written_link: with a first or last byte in packets */
    unsigned stream_count;
    uint64_t requests;
    struct flood flood;
    struct list full;     /* struct h3_stream.full_link: those that wait for acknowledgements */
    uint64_t held_bytes;  /* of responses, not acknowledged */
    uint64_t acked_bytes; /* ever */
    bool prioritises;     /* the client has said what it wants first (RFC 9218) */
    bool blocked;         /* by the connection's credit */
    bool early;           /* what is received now somebody else may have sent again (0-RTT) */
    bool flooded;         /* the client has spent what it may waste */
    bool shut;            /* GOAWAY was sent: no further request */
};

/* What a stream has to say next. */
struct h3_piece {
    int64_t stream; /* -1: nothing */
    bool fin;
    size_t count, bytes;
    nghttp3_vec v[H3_PIECES];
};

void h3_session_init(struct h3_session *s, const struct h3_transport_ops *transport,
                     struct http_connection *client, struct scope *scope);
/* Streams may be opened; before that, nothing below may be called. */
int h3_session_start(struct h3_session *s);
bool h3_session_started(const struct h3_session *s);
/* Ends all exchanges with that error. Nothing of the transport is used any more; what still runs
 * holds the scope. */
void h3_session_abort(struct h3_session *s, int error);
/* When the scope is idle. */
void h3_session_free(struct h3_session *s);
/* One wasted frame more; false where it was the one too many, and the connection has to end. */
bool h3_session_waste(struct h3_session *s, enum flood_kind kind);

/* Tells the client that it should ask elsewhere: first that there will be an end (and all that is
 * on its way is still answered), then, a round trip later, where it is. */
void h3_session_notice(struct h3_session *s);
void h3_session_shut(struct h3_session *s);
/* No request is being answered. */
bool h3_session_idle(const struct h3_session *s);

/* ---- what the client did ---- */

int h3_session_receive(struct h3_session *s, int64_t id, struct slice bytes, bool fin);
int h3_session_acked(struct h3_session *s, int64_t id, uint64_t n);
/* RESET_STREAM, STOP_SENDING, more credit for a stream, more streams in all. */
int h3_session_reset(struct h3_session *s, int64_t id);
int h3_session_stopped(struct h3_session *s, int64_t id);
void h3_session_unblocked(struct h3_session *s, int64_t id);
void h3_session_streams(struct h3_session *s, uint64_t in_all);
/* Both sides are done with it; code 0: as planned. */
int h3_session_closed(struct h3_session *s, int64_t id, uint64_t code);

/* ---- writing ---- */

int h3_session_next(struct h3_session *s, struct h3_piece *out);
/* n bytes of it were taken. */
int h3_session_wrote(struct h3_session *s, const struct h3_piece *p, size_t n);
/* The kernel has taken all packets with what was written. */
void h3_session_sent(struct h3_session *s);
/* The client gives the stream no credit; it has reset it. */
void h3_session_blocked(struct h3_session *s, int64_t id);
void h3_session_dead(struct h3_session *s, int64_t id);

#endif
