#include "protocols/quic/connection.h"

#include <stdio.h>
#include <stdlib.h>

#include "edge/base/error.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/base/pool.h"

/* Packets up to the size that Ethernet carries, with the longer of the two IP headers. */
#define PACKET_BYTES_MAX (1500 - 48)
/* IDs that a client may have of us at a time: one to use, some to change to. */
#define IDS_OF_CLIENT 7
/* Of one endpoint; a client of one more finds a stateless reset instead. */
#define REMAINS_MAX 4096

static struct quic_connection *of_session(struct h3_session *s)
{
    return container_of(s, struct quic_connection, h3);
}

/* ---- what HTTP/3 wants of it ---- */

static bool h3_open(struct h3_session *s, int64_t *id)
{
    return ngtcp2_conn_open_uni_stream(of_session(s)->conn, id, NULL) == 0;
}

static void h3_received(struct h3_session *s, size_t n)
{
    struct quic_connection *c = of_session(s);
    if (c->state != QUIC_OPEN) return;
    ngtcp2_conn_extend_max_offset(c->conn, n);
    quic_connection_wake(c);
}

static void h3_consumed(struct h3_session *s, int64_t id, size_t n)
{
    struct quic_connection *c = of_session(s);
    if (c->state != QUIC_OPEN) return;
    ngtcp2_conn_extend_max_stream_offset(c->conn, id, n);
    quic_connection_wake(c);
}

static void h3_reset(struct h3_session *s, int64_t id, uint64_t code)
{
    struct quic_connection *c = of_session(s);
    if (c->state != QUIC_OPEN) return;
    ngtcp2_conn_shutdown_stream_write(c->conn, 0, id, code);
    quic_connection_wake(c);
}

static void h3_stop(struct h3_session *s, int64_t id, uint64_t code)
{
    struct quic_connection *c = of_session(s);
    if (c->state != QUIC_OPEN) return;
    ngtcp2_conn_shutdown_stream_read(c->conn, 0, id, code);
    quic_connection_wake(c);
}

static void h3_released(struct h3_session *s)
{
    struct quic_connection *c = of_session(s);
    if (c->state != QUIC_OPEN) return;
    ngtcp2_conn_extend_max_streams_bidi(c->conn, 1);
    quic_connection_wake(c);
}

static void h3_wake(struct h3_session *s)
{
    quic_connection_wake(of_session(s));
}

static const struct h3_transport_ops transport = { .open = h3_open,
                                                   .received = h3_received,
                                                   .consumed = h3_consumed,
                                                   .reset = h3_reset,
                                                   .stop = h3_stop,
                                                   .released = h3_released,
                                                   .wake = h3_wake };

/* ---- ngtcp2's callbacks ---- */

/* A code of HTTP/3 ends the connection, once ngtcp2 has returned. */
static int judge(struct quic_connection *c, int code)
{
    if (code == 0) return 0;
    ngtcp2_ccerr_set_application_error(&c->error, (uint64_t)code, NULL, 0);
    c->failed = true;
    return NGTCP2_ERR_CALLBACK_FAILURE;
}

static void on_random(uint8_t *to, size_t n, const ngtcp2_rand_ctx *context)
{
    struct quic_random *random = context->native_handle;
    for (size_t at = 0; at < n; at += sizeof random->bytes) {
        size_t left = n - at;
        quic_random_fill(random, to + at,
                         left < sizeof random->bytes ? left : sizeof random->bytes);
    }
}

static int on_new_id(ngtcp2_conn *conn, ngtcp2_cid *id, uint8_t *token, size_t n, void *user)
{
    struct quic_connection *c = user;
    (void)conn;
    if (n != QUIC_ID_BYTES) return NGTCP2_ERR_CALLBACK_FAILURE;
    id->datalen = n;
    quic_id_make(&c->quic->node->route, c->quic->worker->index, &c->quic->random, id->data);
    quic_reset_token(c->quic->node, id, token);
    quic_ids_add(&c->quic->ids, slice_of((char *)id->data, n), c, &c->ids);
    return 0;
}

static int on_id_removed(ngtcp2_conn *conn, const ngtcp2_cid *id, void *user)
{
    struct quic_connection *c = user;
    (void)conn;
    quic_ids_remove(&c->quic->ids, slice_of((const char *)id->data, id->datalen), &c->ids);
    return 0;
}

/* Streams may be written from here on: before the client has proved anything but that it exists,
 * which saves it a round trip. */
static int on_write_key(ngtcp2_conn *conn, ngtcp2_encryption_level level, void *user)
{
    struct quic_connection *c = user;
    (void)conn;
    if (level != NGTCP2_ENCRYPTION_LEVEL_1RTT || h3_session_started(&c->h3)) return 0;
    int rc = judge(c, h3_session_start(&c->h3));
    if (rc) return rc;
    h3_session_streams(&c->h3,
                       ngtcp2_conn_get_local_transport_params(conn)->initial_max_streams_bidi);
    return 0;
}

static void handshake_over(struct quic_connection *c)
{
    if (!c->handshaking) return;
    c->handshaking = false;
    atomic_fetch_sub_explicit(&c->quic->node->handshakes, 1, memory_order_relaxed);
}

static int on_handshake_completed(ngtcp2_conn *conn, void *user)
{
    struct quic_connection *c = user;
    (void)conn;
    handshake_over(c);
    metric_add(quic_tls_resumed(&c->tls) ? METRIC_TLS_RESUMED : METRIC_TLS_FULL, 1);
    quic_submit_token(c);
    return 0;
}

static int on_stream_data(ngtcp2_conn *conn, uint32_t flags, int64_t id, uint64_t offset,
                          const uint8_t *data, size_t n, void *user, void *stream)
{
    struct quic_connection *c = user;
    (void)conn, (void)offset, (void)stream;
    c->h3.early = flags & NGTCP2_STREAM_DATA_FLAG_0RTT;
    return judge(c, h3_session_receive(&c->h3, id, slice_of((const char *)data, n),
                                       flags & NGTCP2_STREAM_DATA_FLAG_FIN));
}

static int on_acked(ngtcp2_conn *conn, int64_t id, uint64_t offset, uint64_t n, void *user,
                    void *stream)
{
    struct quic_connection *c = user;
    (void)conn, (void)offset, (void)stream;
    return judge(c, h3_session_acked(&c->h3, id, n));
}

static int on_stream_close(ngtcp2_conn *conn, uint32_t flags, int64_t id, uint64_t code, void *user,
                           void *stream)
{
    struct quic_connection *c = user;
    (void)stream;
    if (!(flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET)) code = 0;
    if (!ngtcp2_is_bidi_stream(id) && !ngtcp2_conn_is_local_stream(conn, id))
        ngtcp2_conn_extend_max_streams_uni(conn, 1);
    return h3_session_started(&c->h3) ? judge(c, h3_session_closed(&c->h3, id, code)) : 0;
}

static int on_stream_reset(ngtcp2_conn *conn, int64_t id, uint64_t final_size, uint64_t code,
                           void *user, void *stream)
{
    struct quic_connection *c = user;
    (void)conn, (void)final_size, (void)code, (void)stream;
    return judge(c, h3_session_reset(&c->h3, id));
}

static int on_more_streams(ngtcp2_conn *conn, uint64_t in_all, void *user)
{
    struct quic_connection *c = user;
    (void)conn;
    if (h3_session_started(&c->h3)) h3_session_streams(&c->h3, in_all);
    return 0;
}

static int on_more_credit(ngtcp2_conn *conn, int64_t id, uint64_t in_all, void *user, void *stream)
{
    struct quic_connection *c = user;
    (void)conn, (void)in_all, (void)stream;
    h3_session_unblocked(&c->h3, id);
    return 0;
}

static const ngtcp2_callbacks callbacks = {
    .recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
    .recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
    .handshake_completed = on_handshake_completed,
    .encrypt = ngtcp2_crypto_encrypt_cb,
    .decrypt = ngtcp2_crypto_decrypt_cb,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .recv_stream_data = on_stream_data,
    .acked_stream_data_offset = on_acked,
    .stream_close = on_stream_close,
    .rand = on_random,
    .get_new_connection_id = on_new_id,
    .remove_connection_id = on_id_removed,
    .update_key = ngtcp2_crypto_update_key_cb,
    .stream_reset = on_stream_reset,
    .extend_max_remote_streams_bidi = on_more_streams,
    .extend_max_stream_data = on_more_credit,
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
    .recv_tx_key = on_write_key,
};

/* ---- the end ---- */

void quic_remains_free(struct quic_connection *c)
{
    timer_cancel(&c->timer);
    if (!list_empty(&c->write_link)) c->endpoint->remains_count--;
    list_remove(&c->write_link);
    quic_ids_clear(&c->quic->ids, &c->ids);
    free(c->last_words);
    free(c);
}

static void keep_remains(struct quic_connection *c)
{
    struct worker *w = c->quic->worker;
    c->state = QUIC_ENDED;
    list_append(&c->endpoint->remains, &c->write_link);
    c->endpoint->remains_count++;
    timer_set(&w->wheel, &c->timer, worker_now_ms(w) + c->remain_ms);
}

static void on_scope_idle(struct scope *scope)
{
    struct quic_connection *c = container_of(scope, struct quic_connection, scope);
    struct quic_endpoint *e = c->endpoint;
    h3_session_free(&c->h3);
    ngtcp2_conn_del(c->conn);
    quic_tls_free(&c->tls);
    e->connection_count--;
    http_connection_leave(&c->client);
    metric_add(METRIC_QUIC_CONNECTIONS_LIVE, -1);
    if (c->remain_ms && !e->closing && e->remains_count < REMAINS_MAX)
        keep_remains(c);
    else
        quic_remains_free(c);
    quic_endpoint_left(e);
}

/* A client that is not there any more is told nothing, and one that has said so itself neither. */
static bool is_silent(const struct quic_connection *c)
{
    return c->error.type == NGTCP2_CCERR_TYPE_IDLE_CLOSE ||
           c->error.type == NGTCP2_CCERR_TYPE_RETRY || c->error.type == NGTCP2_CCERR_TYPE_DROP_CONN;
}

static void save_path(struct quic_connection *c)
{
    const ngtcp2_path *path = ngtcp2_conn_get_path(c->conn);
    memcpy(&c->path.local.any, path->local.addr, path->local.addrlen);
    memcpy(&c->path.remote.any, path->remote.addr, path->remote.addrlen);
    c->path.local.bytes = path->local.addrlen;
    c->path.remote.bytes = path->remote.addrlen;
}

static void say_last_words(struct quic_connection *c)
{
    char packet[PACKET_BYTES_MAX];
    ngtcp2_pkt_info info;
    ngtcp2_ssize n = ngtcp2_conn_write_connection_close(
        c->conn, NULL, &info, (uint8_t *)packet, sizeof packet, &c->error, quic_now(c->quic));
    if (n <= 0) return;
    c->last_words = xmalloc((size_t)n);
    c->last_words_bytes = (size_t)n;
    memcpy(c->last_words, packet, (size_t)n);
    quic_send(c->endpoint, &c->path, slice_of(packet, (size_t)n));
}

void quic_connection_end(struct quic_connection *c)
{
    if (c->state != QUIC_OPEN) return;
    bool leaves = c->client.service->draining;
    save_path(c);
    if (!is_silent(c)) {
        if (!ngtcp2_conn_in_draining_period(c->conn)) say_last_words(c);
        c->remain_ms = (int64_t)(3 * ngtcp2_conn_get_pto(c->conn) / NGTCP2_MILLISECONDS) + 1;
    }
    c->state = QUIC_ENDING;
    http_connection_set_idle(&c->client, false);
    handshake_over(c);
    timer_cancel(&c->timer);
    timer_cancel(&c->drain_timer);
    list_remove(&c->write_link);
    h3_session_abort(&c->h3, leaves ? -E_SHUTDOWN : -E_CLIENT_GONE);
    scope_close(&c->scope);
}

static void end_with(struct quic_connection *c, int rc)
{
    if (c->failed) {
        /* the error is set */
    } else if (rc == NGTCP2_ERR_CRYPTO) {
        metric_add(METRIC_TLS_FAILED, 1);
        ngtcp2_ccerr_set_tls_alert(&c->error, ngtcp2_conn_get_tls_alert(c->conn), NULL, 0);
    } else {
        ngtcp2_ccerr_set_liberr(&c->error, rc, NULL, 0);
    }
    quic_connection_end(c);
}

/* ---- time ---- */

/* Pacing is finer than milliseconds. Rounded up: earlier ngtcp2 would find nothing to do. */
void quic_connection_set_timer(struct quic_connection *c)
{
    const ngtcp2_tstamp unit = WORKER_FINE_US * NGTCP2_MICROSECONDS;
    ngtcp2_tstamp at = ngtcp2_conn_get_expiry(c->conn);
    if (at == UINT64_MAX)
        timer_cancel(&c->timer);
    else
        timer_set(&c->quic->worker->fine, &c->timer, (int64_t)((at + unit - 1) / unit));
}

static void on_timer(struct timer *t)
{
    struct quic_connection *c = container_of(t, struct quic_connection, timer);
    if (c->state == QUIC_ENDED) {
        quic_remains_free(c);
        return;
    }
    int rc = ngtcp2_conn_handle_expiry(c->conn, quic_now(c->quic));
    if (rc)
        end_with(c, rc);
    else
        quic_connection_wake(c);
}

/* ---- draining ---- */

void quic_connection_note_idle(struct quic_connection *c)
{
    bool begun = c->state == QUIC_OPEN && h3_session_started(&c->h3);
    http_connection_set_idle(&c->client, begun && h3_session_idle(&c->h3));
}

void quic_connection_end_if_drained(struct quic_connection *c)
{
    if (c->state != QUIC_OPEN || !c->h3.shut || !h3_session_idle(&c->h3)) return;
    ngtcp2_ccerr_set_application_error(&c->error, NGHTTP3_H3_NO_ERROR, NULL, 0);
    quic_connection_end(c);
}

static void on_drain_timer(struct timer *t)
{
    struct quic_connection *c = container_of(t, struct quic_connection, drain_timer);
    h3_session_shut(&c->h3);
}

/* Requests that are on their way when the client hears of it are still answered. */
static void drain(struct http_connection *client)
{
    struct quic_connection *c = container_of(client, struct quic_connection, client);
    struct worker *w = c->quic->worker;
    if (c->state != QUIC_OPEN || timer_armed(&c->drain_timer)) return;
    h3_session_notice(&c->h3);
    int64_t wait_ms = (int64_t)(ngtcp2_conn_get_pto(c->conn) / NGTCP2_MILLISECONDS) + 1;
    timer_set(&w->wheel, &c->drain_timer, worker_now_ms(w) + wait_ms);
}

static void abort_connection(struct http_connection *client)
{
    struct quic_connection *c = container_of(client, struct quic_connection, client);
    ngtcp2_ccerr_set_application_error(&c->error, NGHTTP3_H3_NO_ERROR, NULL, 0);
    quic_connection_end(c);
}

static const struct http_connection_ops client_ops = { drain, abort_connection, abort_connection };

/* ---- the beginning ---- */

static ngtcp2_path as_path(const struct udp_path *p)
{
    return (ngtcp2_path){ .local = { (struct sockaddr *)&p->local.any, p->local.bytes },
                          .remote = { (struct sockaddr *)&p->remote.any, p->remote.bytes } };
}

static void fill_settings(const struct quic_connection *c, const struct quic_initial *i,
                          ngtcp2_settings *s)
{
    const struct http_limits *limits = c->endpoint->service->limits;
    ngtcp2_settings_default(s);
    s->initial_ts = quic_now(c->quic);
    s->rand_ctx.native_handle = &c->quic->random;
    s->token = i->header.token;
    s->tokenlen = i->header.tokenlen;
    s->token_type = i->token;
    s->max_tx_udp_payload_size = PACKET_BYTES_MAX;
    s->handshake_timeout = (ngtcp2_duration)limits->header_timeout_ms * NGTCP2_MILLISECONDS;
}

static void fill_params(const struct quic_connection *c, const struct quic_initial *i,
                        const ngtcp2_cid *id, ngtcp2_transport_params *p)
{
    const struct http_limits *limits = c->endpoint->service->limits;
    ngtcp2_transport_params_default(p);
    p->initial_max_stream_data_bidi_remote = limits->stream_window_bytes;
    p->initial_max_stream_data_uni = limits->stream_window_bytes;
    p->initial_max_data = limits->stream_window_bytes * H3_WINDOWS;
    p->initial_max_streams_bidi = limits->streams;
    p->initial_max_streams_uni = H3_UNI_STREAMS;
    p->max_idle_timeout = (ngtcp2_duration)limits->idle_timeout_ms * NGTCP2_MILLISECONDS;
    p->active_connection_id_limit = IDS_OF_CLIENT;
    p->grease_quic_bit = 1;
    p->stateless_reset_token_present = 1;
    quic_reset_token(c->quic->node, id, p->stateless_reset_token);
    p->original_dcid = i->header.dcid;
    p->original_dcid_present = 1;
    if (i->token != NGTCP2_TOKEN_TYPE_RETRY) return;
    p->original_dcid = i->original_id;
    p->retry_scid = i->header.dcid;
    p->retry_scid_present = 1;
}

/* What a client remembers when it sends early data on its next connection: none of it may be less
 * then (RFC 9000 section 7.4.1). */
#define PROMISED_BYTES 96

static struct slice promised_text(const ngtcp2_transport_params *p, char text[PROMISED_BYTES])
{
    int n = snprintf(text, PROMISED_BYTES, "h3 %llu %llu %llu",
                     (unsigned long long)p->initial_max_streams_bidi,
                     (unsigned long long)p->initial_max_stream_data_bidi_remote,
                     (unsigned long long)p->initial_max_data);
    return slice_of(text, (size_t)n);
}

static const ngtcp2_mem memory = POOL_MEMORY;

static bool open_connection(struct quic_connection *c, const struct quic_initial *i,
                            const struct udp_path *from)
{
    ngtcp2_cid id = { .datalen = QUIC_ID_BYTES };
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_path path = as_path(from);
    quic_id_make(&c->quic->node->route, c->quic->worker->index, &c->quic->random, id.data);
    fill_settings(c, i, &settings);
    fill_params(c, i, &id, &params);
    if (ngtcp2_conn_server_new(&c->conn, &i->header.scid, &id, &path, i->header.version, &callbacks,
                               &settings, &params, &memory, c) != 0)
        return false;
    char promised[PROMISED_BYTES];
    if (!quic_tls_accept(&c->tls, c->conn, c->endpoint->ops->select, c->client.peer.listener,
                         promised_text(&params, promised)))
        return false;
    c->client.peer.tls = &c->tls.hello;
    quic_ids_add(&c->quic->ids, slice_of((char *)id.data, id.datalen), c, &c->ids);
    quic_ids_add(&c->quic->ids, slice_of((const char *)i->header.dcid.data, i->header.dcid.datalen),
                 c, &c->ids);
    return true;
}

static void fill_peer(struct peer *peer, const struct udp_address *from)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    *peer = (struct peer){ .secure = true };
    if (from->any.sa_family == AF_INET) {
        memcpy(peer->address, mapped, sizeof mapped);
        memcpy(peer->address + sizeof mapped, &from->v4.sin_addr, 4);
        peer->port = ntohs(from->v4.sin_port);
    } else {
        memcpy(peer->address, &from->v6.sin6_addr, 16);
        peer->port = ntohs(from->v6.sin6_port);
    }
}

static void enter(struct quic_connection *c, const struct peer *peer)
{
    struct quic_endpoint *e = c->endpoint;
    http_connection_enter(&c->client, &client_ops, e->service, peer);
    e->connection_count++;
    c->handshaking = true;
    atomic_fetch_add_explicit(&c->quic->node->handshakes, 1, memory_order_relaxed);
    metric_add(METRIC_QUIC_CONNECTIONS_LIVE, 1);
}

struct quic_connection *quic_connection_new(struct quic_endpoint *e, const struct quic_initial *i,
                                            const struct udp_path *path)
{
    struct peer peer;
    fill_peer(&peer, &path->remote);
    if (!e->ops->admit(e, &peer)) return NULL;
    struct quic_connection *c = xcalloc(1, sizeof *c);
    c->quic = e->quic;
    c->endpoint = e;
    list_init(&c->write_link);
    timer_init(&c->timer, on_timer);
    timer_init(&c->drain_timer, on_drain_timer);
    scope_init(&c->scope, e->quic->worker, on_scope_idle);
    enter(c, &peer);
    h3_session_init(&c->h3, &transport, &c->client, &c->scope);
    ngtcp2_ccerr_default(&c->error);
    if (open_connection(c, i, path)) return c;
    c->state = QUIC_ENDING;
    handshake_over(c);
    scope_close(&c->scope);
    return NULL;
}

/* ---- packets ---- */

/* Every second, fourth, eighth one is answered (RFC 9000 section 10.2.1). */
static void answer_late_packet(struct quic_connection *c)
{
    c->late_packets++;
    bool turn = (c->late_packets & (c->late_packets - 1)) == 0;
    if (turn && c->last_words_bytes)
        quic_send(c->endpoint, &c->path, slice_of(c->last_words, c->last_words_bytes));
}

void quic_connection_receive(struct quic_connection *c, const struct udp_path *from, uint8_t ecn,
                             struct slice packet)
{
    if (c->state == QUIC_ENDED) answer_late_packet(c);
    if (c->state != QUIC_OPEN) return;
    ngtcp2_path path = as_path(from);
    ngtcp2_pkt_info info = { .ecn = ecn };
    int rc = ngtcp2_conn_read_pkt(c->conn, &path, &info, (const uint8_t *)packet.p, packet.n,
                                  quic_now(c->quic));
    if (rc)
        end_with(c, rc);
    else
        quic_connection_wake(c);
}
