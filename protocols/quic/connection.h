/* connection: a QUIC connection of a client. Seen by protocols/quic/ only; endpoint.h is the
 * interface.
 *
 * endpoint.c      datagrams: to whom they belong, and what is answered without a connection
 * connection.c    a connection's life; ngtcp2's callbacks
 * output.c        packets made and sent, in trains
 * tokens.c        tokens for Retry and NEW_TOKEN, stateless resets, and how they are answered
 *
 * It ends in steps: CONNECTION_CLOSE is made and sent while ngtcp2's part is there; all exchanges
 * are ended; when nothing holds the scope any more, everything is given back but what RFC 9000
 * section 10.2 asks for: for three probe timeouts the IDs are remembered, and late packets answered
 * with the same CONNECTION_CLOSE, ever more rarely, or not at all where the client said it first.
 */
#ifndef VERGE_PROTOCOLS_QUIC_CONNECTION_H
#define VERGE_PROTOCOLS_QUIC_CONNECTION_H

#include <ngtcp2/ngtcp2.h>

#include "edge/base/list.h"

#include "protocols/h3/session.h"
#include "protocols/quic/endpoint.h"
#include "protocols/quic/tls.h"

enum quic_state {
    QUIC_OPEN,
    QUIC_ENDING, /* waits for its scope */
    QUIC_ENDED,  /* what is left is for late packets */
};

struct quic_connection {
    struct http_connection client; /* in the service, until it has ended */
    struct quic_worker *quic;
    struct quic_endpoint *endpoint;
    struct scope scope;
    ngtcp2_conn *conn;
    struct quic_tls tls;
    struct h3_session h3;
    struct quic_id *ids;
    struct timer timer;       /* ngtcp2's next deadline; of the remains, their end */
    struct timer drain_timer; /* a round trip after the first GOAWAY */
    struct list write_link;   /* in quic->writers, or in endpoint->remains */
    enum quic_state state;
    ngtcp2_ccerr error; /* why it ends */
    bool failed;        /* inside a call of ngtcp2: end it when that returns */
    bool handshaking;   /* counted in node->handshakes */
    bool draining;      /* GOAWAY is on its way */

    /* The remains. */
    struct udp_path path;
    char *last_words;
    size_t last_words_bytes;
    unsigned late_packets;
    int64_t remain_ms;
};

/* A client's first packet, taken apart, and its token judged. */
struct quic_initial {
    ngtcp2_pkt_hd header;
    ngtcp2_cid original_id;  /* with a Retry token */
    ngtcp2_token_type token; /* UNKNOWN: none that is valid */
};

/* ---- connection.c ---- */

/* NULL where it may not come in. */
struct quic_connection *quic_connection_new(struct quic_endpoint *e, const struct quic_initial *i,
                                            const struct udp_path *path);
/* A datagram for it, over whichever socket. */
void quic_connection_receive(struct quic_connection *c, const struct udp_path *path, uint8_t ecn,
                             struct slice packet);
/* c->error says why; says it to the client, unless the client knows, or is not to know. */
void quic_connection_end(struct quic_connection *c);
/* Where it drains, no request is being answered, and GOAWAY is written. */
/* Whether it may be closed to make room; after each turn in which it did something. */
void quic_connection_note_idle(struct quic_connection *c);
void quic_connection_end_if_drained(struct quic_connection *c);
/* For its remains: now. */
void quic_remains_free(struct quic_connection *c);
void quic_connection_set_timer(struct quic_connection *c);

static inline ngtcp2_tstamp quic_now(const struct quic_worker *q)
{
    return (ngtcp2_tstamp)q->worker->now_us * NGTCP2_MICROSECONDS;
}

/* ---- endpoint.c ---- */

/* One of its connections is gone. */
void quic_endpoint_left(struct quic_endpoint *e);

/* ---- output.c ---- */

/* Has quic_write_all run, where there is something to write. */
void quic_post_writing(struct quic_worker *q);

/* It may have something to write: this turn, when all that has come is read. */
void quic_connection_wake(struct quic_connection *c);
/* Writes what may be written now. */
void quic_connection_write(struct quic_connection *c);
/* A note on quic->write_note. */
void quic_write_all(struct note *n);
/* A datagram of its own; lost where the kernel takes none. */
void quic_send(struct quic_endpoint *e, const struct udp_path *path, struct slice packet);
/* Of an endpoint whose socket had been full. */
void quic_endpoint_writable(struct udp *u);

/* ---- tokens.c ---- */

/* Judges the token of a first packet; false where the packet was answered here, or is none. */
bool quic_judge_initial(struct quic_endpoint *e, struct quic_initial *i,
                        const struct udp_path *path);
void quic_answer_version(struct quic_endpoint *e, const ngtcp2_version_cid *v,
                         const struct udp_path *path);
/* To a packet of a connection that is not known here. */
void quic_answer_unknown(struct quic_endpoint *e, struct slice id, const struct udp_path *path,
                         size_t packet_bytes);
/* Says in one packet, without a connection, that there will be none. */
void quic_refuse(struct quic_endpoint *e, const ngtcp2_pkt_hd *header, const struct udp_path *path,
                 uint64_t code);
/* Has the client prove its address, and begin again. */
void quic_send_retry(struct quic_endpoint *e, const ngtcp2_pkt_hd *h, const struct udp_path *path);
void quic_reset_token(const struct quic_node *n, const ngtcp2_cid *id, uint8_t *out);
/* For the client's next connection. */
void quic_submit_token(struct quic_connection *c);

#endif
