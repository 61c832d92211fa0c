#include "edge/base/metrics.h"
#include "protocols/quic/connection.h"

/* One connection makes so many bytes of packets in a turn, then the next one does. */
#define TURN_BYTES (4 * 64 * 1024)
/* A train is at least so many packets, where there is as much to say, and at most what is to be
 * sent in this time at the connection's pace: a long path gets no bursts for it. */
#define TRAIN_PACKETS 10
#define TRAIN_TIME    NGTCP2_MILLISECONDS

/* ---- sending ---- */

static void keep_unsent(struct quic_endpoint *e, const struct udp_train *t)
{
    e->unsent_block = block_new(t->bytes.n);
    if (!e->unsent_block) return;
    memcpy(e->unsent_block->data, t->bytes.p, t->bytes.n);
    e->unsent = *t;
    e->unsent.bytes.p = e->unsent_block->data;
}

static void count_sent(const struct udp_train *t)
{
    metric_add(METRIC_QUIC_PACKETS_OUT,
               (int64_t)((t->bytes.n + t->segment_bytes - 1) / t->segment_bytes));
    metric_add(METRIC_CLIENT_BYTES_OUT, (int64_t)t->bytes.n);
}

static void send_train(struct quic_endpoint *e, const struct udp_train *t)
{
    count_sent(t);
    if (!e->unsent_block && !udp_send(&e->udp, t)) keep_unsent(e, t);
}

void quic_send(struct quic_endpoint *e, const struct udp_path *path, struct slice packet)
{
    struct udp_train t = { .path = *path, .bytes = packet, .segment_bytes = packet.n };
    count_sent(&t);
    if (!e->unsent_block) udp_send(&e->udp, &t);
}

void quic_endpoint_writable(struct udp *u)
{
    struct quic_endpoint *e = container_of(u, struct quic_endpoint, udp);
    struct block *b = e->unsent_block;
    if (b && !udp_send(u, &e->unsent)) return;
    e->unsent_block = NULL;
    if (b) block_release(b);
    quic_post_writing(e->quic);
}

/* ---- one packet ---- */

static int set_error(struct quic_connection *c, int code)
{
    if (code) ngtcp2_ccerr_set_application_error(&c->error, (uint64_t)code, NULL, 0);
    return code;
}

static int next_piece(struct quic_connection *c, struct h3_piece *p)
{
    *p = (struct h3_piece){ .stream = -1 };
    if (!h3_session_started(&c->h3)) return 0;
    c->h3.blocked = ngtcp2_conn_get_max_data_left(c->conn) == 0;
    if (c->h3.blocked) return 0;
    return set_error(c, h3_session_next(&c->h3, p));
}

/* A packet with as many streams' pieces as fit: its bytes; 0, nothing may be sent now; -1, the
 * connection is to be ended. */
static ngtcp2_ssize make_packet(struct quic_connection *c, char *to, size_t room, ngtcp2_path *path,
                                ngtcp2_pkt_info *info)
{
    for (;;) {
        struct h3_piece p;
        ngtcp2_ssize taken = -1;
        if (next_piece(c, &p)) return -1;
        uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_MORE;
        if (p.fin) flags |= NGTCP2_WRITE_STREAM_FLAG_FIN;
        ngtcp2_ssize n = ngtcp2_conn_writev_stream(c->conn, path, info, (uint8_t *)to, room, &taken,
                                                   flags, p.stream, (const ngtcp2_vec *)p.v,
                                                   p.count, quic_now(c->quic));
        if (taken >= 0 && set_error(c, h3_session_wrote(&c->h3, &p, (size_t)taken))) return -1;
        switch (n) {
        case NGTCP2_ERR_WRITE_MORE: break;
        case NGTCP2_ERR_STREAM_DATA_BLOCKED: h3_session_blocked(&c->h3, p.stream); break;
        case NGTCP2_ERR_STREAM_SHUT_WR: /* the client has said STOP_SENDING */
            if (set_error(c, h3_session_stopped(&c->h3, p.stream))) return -1;
            break;
        case NGTCP2_ERR_STREAM_NOT_FOUND: h3_session_dead(&c->h3, p.stream); break;
        default:
            if (n < 0) ngtcp2_ccerr_set_liberr(&c->error, (int)n, NULL, 0);
            return n < 0 ? -1 : n;
        }
    }
}

/* ---- trains ---- */

static void copy_address(struct udp_address *to, const ngtcp2_addr *from)
{
    memcpy(&to->any, from->addr, from->addrlen);
    to->bytes = from->addrlen;
}

static void begin_train(struct udp_train *t, const char *at, const ngtcp2_path *path, uint8_t ecn)
{
    *t = (struct udp_train){ .bytes = { at, 0 }, .ecn = ecn };
    copy_address(&t->path.local, &path->local);
    copy_address(&t->path.remote, &path->remote);
}

static bool same_way(const struct udp_train *t, const ngtcp2_path *path, uint8_t ecn)
{
    struct udp_address remote = { .bytes = path->remote.addrlen };
    memcpy(&remote.any, path->remote.addr, path->remote.addrlen);
    struct udp_address local = { .bytes = path->local.addrlen };
    memcpy(&local.any, path->local.addr, path->local.addrlen);
    return t->ecn == ecn && udp_address_equal(&t->path.remote, &remote) &&
           udp_address_equal(&t->path.local, &local);
}

/* By the pace that ngtcp2 keeps to: a congestion window and a quarter in a round trip. */
static size_t train_bytes(struct quic_connection *c, size_t packet_bytes)
{
    ngtcp2_conn_info info;
    ngtcp2_conn_get_conn_info(c->conn, &info);
    size_t most = ngtcp2_conn_get_send_quantum(c->conn);
    if (most > UDP_TRAIN_BYTES) most = UDP_TRAIN_BYTES;
    if (info.smoothed_rtt <= TRAIN_TIME) return most;
    size_t paced = info.cwnd * 5 / 4 * TRAIN_TIME / info.smoothed_rtt;
    if (paced < TRAIN_PACKETS * packet_bytes) paced = TRAIN_PACKETS * packet_bytes;
    return paced < most ? paced : most;
}

static void finish_train(struct quic_connection *c, struct udp_train *t)
{
    if (t->bytes.n) send_train(c->endpoint, t);
    t->bytes.n = 0;
    ngtcp2_conn_update_pkt_tx_time(c->conn, quic_now(c->quic));
}

/* What a full socket did not take is kept, and then this is called again. */
static void tell_sent(struct quic_connection *c)
{
    if (!c->endpoint->unsent_block)
        h3_session_sent(&c->h3);
    else
        quic_connection_wake(c);
}

/* All datagrams of a train but the last have one size. True where a train was sent that may not
 * have been the last; false where there is nothing more to send now, or the connection has ended.
 */
static bool write_train(struct quic_connection *c, size_t *turn_bytes)
{
    struct udp_train t = { .bytes = { NULL, 0 } };
    ngtcp2_path_storage way;
    ngtcp2_pkt_info info;
    ngtcp2_path_storage_zero(&way);
    size_t packet_bytes = ngtcp2_conn_get_max_tx_udp_payload_size(c->conn);
    size_t most = train_bytes(c, packet_bytes), at = 0;
    for (;;) {
        char *to = c->quic->packets + at;
        ngtcp2_ssize n = make_packet(c, to, packet_bytes, &way.path, &info);
        if (n <= 0) {
            finish_train(c, &t);
            if (n == 0) return false;
            tell_sent(c);
            quic_connection_end(c);
            return false;
        }
        at += (size_t)n;
        *turn_bytes += (size_t)n;
        if (t.bytes.n && (!same_way(&t, &way.path, info.ecn) || (size_t)n > t.segment_bytes)) {
            send_train(c->endpoint, &t);
            t.bytes.n = 0;
        }
        if (t.bytes.n == 0) {
            begin_train(&t, to, &way.path, info.ecn);
            t.segment_bytes = (size_t)n;
        }
        t.bytes.n += (size_t)n;
        bool full = at + packet_bytes > most || t.bytes.n / t.segment_bytes >= UDP_TRAIN_MAX;
        if (full || (size_t)n < t.segment_bytes) {
            finish_train(c, &t);
            return true;
        }
    }
}

void quic_connection_write(struct quic_connection *c)
{
    size_t bytes = 0;
    while (c->state == QUIC_OPEN && !c->endpoint->unsent_block && bytes < TURN_BYTES) {
        if (!write_train(c, &bytes)) break;
    }
    if (c->state == QUIC_OPEN) tell_sent(c);
    if (c->state == QUIC_OPEN) quic_connection_set_timer(c);
    if (c->state == QUIC_OPEN && bytes >= TURN_BYTES)
        timer_set(&c->quic->worker->fine, &c->timer, 0); /* the next turn goes on */
    quic_connection_note_idle(c);
    quic_connection_end_if_drained(c);
}

/* ---- all of a turn ---- */

void quic_post_writing(struct quic_worker *q)
{
    if (q->write_note.posted || list_empty(&q->writers)) return;
    worker_defer(q->worker, &q->write_note);
}

void quic_connection_wake(struct quic_connection *c)
{
    if (c->state != QUIC_OPEN || !list_empty(&c->write_link)) return;
    list_append(&c->quic->writers, &c->write_link);
    quic_post_writing(c->quic);
}

/* Those whose socket is full stay for when it is not. */
void quic_write_all(struct note *n)
{
    struct quic_worker *q = container_of(n, struct quic_worker, write_note);
    struct list now;
    list_init(&now);
    list_splice(&now, &q->writers);
    for (struct list *link; (link = list_pop(&now));) {
        struct quic_connection *c = container_of(link, struct quic_connection, write_link);
        if (c->endpoint->unsent_block)
            list_append(&q->writers, &c->write_link);
        else
            quic_connection_write(c);
    }
}
