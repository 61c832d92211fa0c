#include "connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <ngtcp2/ngtcp2_crypto_boringssl.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const size_t PACKET_MAX = 1452;

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NGTCP2_SECONDS + (uint64_t)t.tv_nsec;
}

static void closed(struct connection *c, const char *how, uint64_t code)
{
    if (!c->closed) emit("closed", c->number, 0, code, how, strlen(how));
    c->closed = true;
}

/* ---- streams ---- */

static struct stream *find(struct connection *c, int64_t id)
{
    struct stream *s = c->streams;
    while (s && s->id != id) s = s->next;
    return s;
}

static struct stream *add(struct connection *c, int64_t id)
{
    struct stream *s = calloc(1, sizeof *s);
    s->id = id;
    s->last = &s->first;
    *c->last_stream = s;
    c->last_stream = &s->next;
    c->next_id[id % 4 / 2] = id + 4;
    return s;
}

static void drop_chunk(struct stream *s)
{
    struct chunk *chunk = s->first;
    s->first = chunk->next;
    if (!s->first) s->last = &s->first;
    free(chunk);
}

/* Streams that are over go between two packets, never within a call of the library. */
static void sweep(struct connection *c)
{
    struct stream **at = &c->streams;
    while (*at) {
        struct stream *s = *at;
        if (!s->over) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        while (s->first) drop_chunk(s);
        free(s);
    }
    c->last_stream = at;
}

void connection_send(struct connection *c, int64_t id, struct chunk *data, bool fin)
{
    struct stream *s = find(c, id);
    bool over = !s && id < c->next_id[id % 4 / 2]; /* the node may end it before all was said */
    if (over) {
        free(data);
        return;
    }
    if (!s) s = add(c, id);
    s->fin |= fin;
    if (!data) return;
    *s->last = data;
    s->last = &data->next;
    if (!s->sending) {
        s->sending = data;
        s->sent = 0;
    }
}

/* Streams are opened in the order of their numbers; where the node allows no more yet, they wait.
 */
static bool may_write(struct connection *c, struct stream *s)
{
    if (s->over || s->blocked || s->fin_sent || (!s->sending && !s->fin)) return false;
    if (s->opened) return true;
    int64_t id;
    int rv = s->id % 4 ? ngtcp2_conn_open_uni_stream(c->quic, &id, NULL)
                       : ngtcp2_conn_open_bidi_stream(c->quic, &id, NULL);
    s->opened = !rv && id == s->id;
    if (!rv && !s->opened) closed(c, "a stream was begun out of turn", (uint64_t)id);
    return s->opened;
}

static struct stream *next_to_write(struct connection *c)
{
    struct stream *s = c->streams;
    while (s && !may_write(c, s)) s = s->next;
    return s;
}

static void written(struct stream *s, size_t bytes, bool with_fin)
{
    s->sent += bytes;
    if (s->sending && s->sent == s->sending->length) {
        s->sending = s->sending->next;
        s->sent = 0;
    }
    s->fin_sent = with_fin && !s->sending;
}

void connection_reset(struct connection *c, int64_t id, uint64_t code)
{
    connection_write(c); /* what was to be sent before it; without, there would be no stream yet */
    ngtcp2_conn_shutdown_stream_write(c->quic, 0, id, code);
    struct stream *s = find(c, id);
    if (s) s->sending = NULL, s->fin = false;
}

void connection_stop(struct connection *c, int64_t id, uint64_t code)
{
    ngtcp2_conn_shutdown_stream_read(c->quic, 0, id, code);
}

void connection_credit(struct connection *c, int64_t id, uint64_t bytes)
{
    ngtcp2_conn_extend_max_stream_offset(c->quic, id, bytes);
    ngtcp2_conn_extend_max_offset(c->quic, bytes);
}

/* ---- what the library tells ---- */

static int on_data(ngtcp2_conn *quic, uint32_t flags, int64_t id, uint64_t offset,
                   const uint8_t *data, size_t length, void *user, void *stream_user)
{
    (void)offset, (void)stream_user;
    struct connection *c = user;
    emit("data", c->number, id, flags & NGTCP2_STREAM_DATA_FLAG_FIN, data, length);
    if (id % 4 == 3) { /* the node's control streams flow freely */
        ngtcp2_conn_extend_max_stream_offset(quic, id, length);
        ngtcp2_conn_extend_max_offset(quic, length);
    }
    return 0;
}

static int on_acked(ngtcp2_conn *quic, int64_t id, uint64_t offset, uint64_t length, void *user,
                    void *stream_user)
{
    (void)quic, (void)offset, (void)stream_user;
    struct connection *c = user;
    struct stream *s = find(c, id);
    if (!s) return 0;
    emit("acked", c->number, id, length, NULL, 0);
    s->acked += length;
    while (s->first && s->acked >= s->first->length && s->first != s->sending) {
        s->acked -= s->first->length;
        drop_chunk(s);
    }
    return 0;
}

static int on_reset(ngtcp2_conn *quic, int64_t id, uint64_t size, uint64_t code, void *user,
                    void *stream_user)
{
    (void)quic, (void)size, (void)stream_user;
    emit("reset", ((struct connection *)user)->number, id, code, NULL, 0);
    return 0;
}

static int on_stop(ngtcp2_conn *quic, int64_t id, uint64_t code, void *user, void *stream_user)
{
    (void)quic, (void)stream_user;
    emit("stop", ((struct connection *)user)->number, id, code, NULL, 0);
    return 0;
}

static int on_stream_close(ngtcp2_conn *quic, uint32_t flags, int64_t id, uint64_t code, void *user,
                           void *stream_user)
{
    (void)quic, (void)flags, (void)code, (void)stream_user;
    struct stream *s = find(user, id);
    if (s) s->over = true;
    return 0;
}

static int on_streams(ngtcp2_conn *quic, uint64_t allowed, void *user)
{
    (void)quic;
    emit("streams", ((struct connection *)user)->number, 0, allowed, NULL, 0);
    return 0;
}

static int on_handshake_completed(ngtcp2_conn *quic, void *user)
{
    (void)quic;
    struct connection *c = user;
    bool resumed = SSL_session_reused(c->tls), early = SSL_early_data_accepted(c->tls);
    const uint8_t *alpn;
    unsigned length;
    SSL_get0_alpn_selected(c->tls, &alpn, &length);
    emit("connected", c->number, 0, (uint64_t)resumed | (uint64_t)early << 1, alpn, length);
    return 0;
}

static int on_version_negotiation(ngtcp2_conn *quic, const ngtcp2_pkt_hd *head,
                                  const uint32_t *versions, size_t n, void *user)
{
    (void)quic, (void)head;
    closed(user, "version", n ? versions[0] : 0);
    return 0;
}

static int on_stateless_reset(ngtcp2_conn *quic, const ngtcp2_pkt_stateless_reset *reset,
                              void *user)
{
    (void)quic, (void)reset;
    ((struct connection *)user)->stateless_reset = true;
    return 0;
}

/* The library has forgotten what was sent early: all of it is sent again. */
static int on_early_data_rejected(ngtcp2_conn *quic, void *user)
{
    (void)quic;
    struct connection *c = user;
    for (struct stream *s = c->streams; s; s = s->next) {
        s->sending = s->first;
        s->sent = 0;
        s->opened = s->fin_sent = s->over = false;
    }
    return 0;
}

static void fill_random(uint8_t *dest, size_t length, const ngtcp2_rand_ctx *context)
{
    (void)context;
    RAND_bytes(dest, length);
}

static int new_connection_id(ngtcp2_conn *quic, ngtcp2_cid *cid, uint8_t *token, size_t length,
                             void *user)
{
    (void)quic, (void)user;
    RAND_bytes(cid->data, length);
    cid->datalen = length;
    RAND_bytes(token, NGTCP2_STATELESS_RESET_TOKENLEN);
    return 0;
}

static const ngtcp2_callbacks callbacks = {
    .client_initial = ngtcp2_crypto_client_initial_cb,
    .recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
    .handshake_completed = on_handshake_completed,
    .recv_version_negotiation = on_version_negotiation,
    .encrypt = ngtcp2_crypto_encrypt_cb,
    .decrypt = ngtcp2_crypto_decrypt_cb,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .recv_stream_data = on_data,
    .acked_stream_data_offset = on_acked,
    .stream_close = on_stream_close,
    .recv_stateless_reset = on_stateless_reset,
    .recv_retry = ngtcp2_crypto_recv_retry_cb,
    .extend_max_local_streams_bidi = on_streams,
    .rand = fill_random,
    .get_new_connection_id = new_connection_id,
    .update_key = ngtcp2_crypto_update_key_cb,
    .stream_reset = on_reset,
    .stream_stop_sending = on_stop,
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
    .tls_early_data_rejected = on_early_data_rejected,
};

/* ---- tickets: the session in one file, what the node allowed in another beside it ---- */

static void params_file(const struct connection *c, char *path, size_t size)
{
    snprintf(path, size, "%s.params", c->options.session);
}

static int save_ticket(SSL *tls, SSL_SESSION *session)
{
    ngtcp2_crypto_conn_ref *reference = SSL_get_app_data(tls);
    struct connection *c = reference->user_data;
    uint8_t params[256];
    char path[1100];
    params_file(c, path, sizeof path);
    ngtcp2_ssize length = ngtcp2_conn_encode_0rtt_transport_params(c->quic, params, sizeof params);
    FILE *of_params = fopen(path, "w"), *of_session = fopen(c->options.session, "w");
    if (length > 0 && of_params && of_session) {
        fwrite(params, 1, (size_t)length, of_params);
        PEM_write_SSL_SESSION(of_session, session);
    }
    if (of_params) fclose(of_params);
    if (of_session) fclose(of_session);
    emit("ticket", c->number, 0, 0, NULL, 0);
    return 0;
}

static void use_ticket(struct connection *c)
{
    FILE *file = fopen(c->options.session, "r");
    if (!file) return; /* the first time */
    SSL_SESSION *session = PEM_read_SSL_SESSION(file, NULL, NULL, NULL);
    fclose(file);
    if (!session) return;
    SSL_set_session(c->tls, session);
    uint8_t params[256];
    char path[1100];
    params_file(c, path, sizeof path);
    if (SSL_SESSION_early_data_capable(session) && (file = fopen(path, "r"))) {
        size_t length = fread(params, 1, sizeof params, file);
        fclose(file);
        SSL_set_early_data_enabled(
            c->tls, !ngtcp2_conn_decode_and_set_0rtt_transport_params(c->quic, params, length));
    }
    SSL_SESSION_free(session);
}

/* ---- beginning ---- */

static ngtcp2_conn *quic_of(ngtcp2_crypto_conn_ref *reference)
{
    return ((struct connection *)reference->user_data)->quic;
}

static int open_socket(struct connection *c)
{
    struct sockaddr_in *to = (struct sockaddr_in *)&c->remote;
    *to =
        (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)c->options.port) };
    to->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int bytes = 4 << 20; /* no packet is lost that is not meant to be */
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (fd >= 0 && connect(fd, (struct sockaddr *)to, sizeof *to)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void read_local(struct connection *c)
{
    socklen_t length = sizeof c->local;
    getsockname(c->fd, (struct sockaddr *)&c->local, &length);
}

static ngtcp2_path path_of(struct connection *c)
{
    return (ngtcp2_path){
        .local = { (struct sockaddr *)&c->local, sizeof(struct sockaddr_in) },
        .remote = { (struct sockaddr *)&c->remote, sizeof(struct sockaddr_in) },
    };
}

static bool start_tls(struct connection *c)
{
    uint8_t alpn[65] = { (uint8_t)strlen(c->options.alpn) };
    memcpy(alpn + 1, c->options.alpn, alpn[0]);
    c->context = SSL_CTX_new(TLS_client_method());
    if (ngtcp2_crypto_boringssl_configure_client_context(c->context)) return false;
    SSL_CTX_set_verify(c->context, SSL_VERIFY_NONE,
                       NULL); /* whose certificate it is, is not tested here */
    if (c->options.session[0]) {
        SSL_CTX_set_session_cache_mode(c->context,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(c->context, save_ticket);
    }
    c->tls = SSL_new(c->context);
    c->reference = (ngtcp2_crypto_conn_ref){ .get_conn = quic_of, .user_data = c };
    SSL_set_app_data(c->tls, &c->reference);
    SSL_set_connect_state(c->tls);
    SSL_set_alpn_protos(c->tls, alpn, alpn[0] + 1u);
    SSL_set_tlsext_host_name(c->tls, c->options.name);
    ngtcp2_conn_set_tls_native_handle(c->quic, c->tls);
    if (c->options.session[0]) use_ticket(c);
    return true;
}

static bool start_quic(struct connection *c)
{
    ngtcp2_settings settings;
    ngtcp2_settings_default(&settings);
    settings.initial_ts = now_ns();
    settings.max_tx_udp_payload_size = PACKET_MAX;
    ngtcp2_transport_params params;
    ngtcp2_transport_params_default(&params);
    params.initial_max_stream_data_bidi_local = c->options.window;
    params.initial_max_stream_data_uni = 1 << 16;
    params.initial_max_data = c->options.total_window;
    params.initial_max_streams_uni = 100;
    params.max_idle_timeout = c->options.idle_ms * NGTCP2_MILLISECONDS;
    params.active_connection_id_limit = 7;
    ngtcp2_cid to = { .datalen = 16 }, from = { .datalen = 8 };
    RAND_bytes(to.data, to.datalen);
    RAND_bytes(from.data, from.datalen);
    ngtcp2_path path = path_of(c);
    return !ngtcp2_conn_client_new(&c->quic, &to, &from, &path, c->options.version, &callbacks,
                                   &settings, &params, NULL, c);
}

struct connection *connection_open(unsigned number, const struct connection_options *options)
{
    struct connection *c = calloc(1, sizeof *c);
    c->number = number;
    c->options = *options;
    c->random = options->seed;
    c->last_stream = &c->streams;
    c->fd = open_socket(c);
    if (c->fd >= 0) read_local(c);
    if (c->fd < 0 || !start_quic(c) || !start_tls(c)) closed(c, "cannot begin", (uint64_t)errno);
    return c;
}

void connection_free(struct connection *c)
{
    for (struct stream *s = c->streams; s; s = s->next) s->over = true;
    sweep(c);
    ngtcp2_conn_del(c->quic);
    SSL_free(c->tls);
    SSL_CTX_free(c->context);
    if (c->fd >= 0) close(c->fd);
    free(c);
}

/* ---- packets ---- */

static bool lost(struct connection *c)
{
    return c->options.loss_percent && (unsigned)rand_r(&c->random) % 100 < c->options.loss_percent;
}

static void send_packet(struct connection *c, const uint8_t *packet, size_t length)
{
    if (!lost(c))
        send(c->fd, packet, length, 0); /* what the kernel does not take is as good as lost */
}

/* Ends with the error of the library, telling the node where it does not know. */
static void fail(struct connection *c, int error)
{
    const ngtcp2_ccerr *said = ngtcp2_conn_get_ccerr(c->quic);
    if (error == NGTCP2_ERR_DRAINING && c->stateless_reset) {
        closed(c, "stateless reset", 0);
    } else if (error == NGTCP2_ERR_DRAINING) {
        closed(c, said->type == NGTCP2_CCERR_TYPE_APPLICATION ? "application" : "transport",
               said->error_code);
    } else if (error == NGTCP2_ERR_IDLE_CLOSE || error == NGTCP2_ERR_HANDSHAKE_TIMEOUT) {
        closed(c, "idle", 0);
    } else if (error == NGTCP2_ERR_RECV_VERSION_NEGOTIATION) {
        closed(c, "version", 0); /* said already, with a version */
    } else {
        closed(c, ngtcp2_strerror(error), ngtcp2_err_infer_quic_transport_error_code(error));
    }
}

void connection_close(struct connection *c, uint64_t code)
{
    ngtcp2_ccerr error;
    ngtcp2_ccerr_default(&error);
    ngtcp2_ccerr_set_application_error(&error, code, NULL, 0);
    uint8_t packet[1500];
    ngtcp2_ssize n = ngtcp2_conn_write_connection_close(c->quic, NULL, NULL, packet, PACKET_MAX,
                                                        &error, now_ns());
    if (n > 0) send(c->fd, packet, (size_t)n, 0);
    closed(c, "here", code);
}

void connection_read(struct connection *c)
{
    uint8_t packet[65536];
    ngtcp2_path path = path_of(c);
    for (int i = 0; i < 64 && !c->closed; i++) {
        ssize_t n = recv(c->fd, packet, sizeof packet, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0 || lost(c)) /* nobody listens at the port just now: that may change */
            continue;
        ngtcp2_pkt_info info = { 0 };
        int rv = ngtcp2_conn_read_pkt(c->quic, &path, &info, packet, (size_t)n, now_ns());
        if (rv) fail(c, rv);
    }
}

void connection_expire(struct connection *c)
{
    int rv = ngtcp2_conn_handle_expiry(c->quic, now_ns());
    if (rv) fail(c, rv);
}

uint64_t connection_expiry_ns(const struct connection *c)
{
    return ngtcp2_conn_get_expiry(c->quic);
}

/* One packet, or a part of one, which stays in packet until it is whole; false when there is no
 * more to send for now. */
static bool write_some(struct connection *c, uint8_t packet[1500])
{
    struct stream *s = next_to_write(c);
    ngtcp2_vec data = { 0 };
    uint32_t flags = s ? NGTCP2_WRITE_STREAM_FLAG_MORE : NGTCP2_WRITE_STREAM_FLAG_NONE;
    bool fin = s && s->fin && (!s->sending || !s->sending->next);
    if (s && s->sending)
        data = (ngtcp2_vec){ s->sending->bytes + s->sent, s->sending->length - s->sent };
    if (fin) flags |= NGTCP2_WRITE_STREAM_FLAG_FIN;
    ngtcp2_path_storage path;
    ngtcp2_path_storage_zero(&path);
    ngtcp2_pkt_info info;
    ngtcp2_ssize taken = -1;
    ngtcp2_ssize n =
        ngtcp2_conn_writev_stream(c->quic, &path.path, &info, packet, PACKET_MAX, &taken, flags,
                                  s ? s->id : -1, &data, data.len ? 1 : 0, now_ns());
    if (s && taken >= 0) written(s, (size_t)taken, fin && (size_t)taken == data.len);
    if (n == NGTCP2_ERR_STREAM_DATA_BLOCKED)
        s->blocked = true;
    else if (n == NGTCP2_ERR_STREAM_SHUT_WR || n == NGTCP2_ERR_STREAM_NOT_FOUND)
        s->sending = NULL, s->fin = false;
    else if (n < 0 && n != NGTCP2_ERR_WRITE_MORE)
        fail(c, (int)n);
    if (n > 0) send_packet(c, packet, (size_t)n);
    return n != 0 && !c->closed;
}

void connection_write(struct connection *c)
{
    uint8_t packet[1500];
    for (struct stream *s = c->streams; s; s = s->next) s->blocked = false;
    while (!c->closed && write_some(c, packet)) {
    }
    ngtcp2_conn_update_pkt_tx_time(c->quic, now_ns());
    sweep(c);
}

/* ---- moving, keys ---- */

void connection_rebind(struct connection *c, bool migrate)
{
    int fd = open_socket(c);
    close(c->fd);
    c->fd = fd;
    if (!migrate) return;
    read_local(c);
    ngtcp2_path path = path_of(c);
    int rv = ngtcp2_conn_initiate_immediate_migration(c->quic, &path, now_ns());
    if (rv) fail(c, rv);
}

void connection_update_key(struct connection *c)
{
    int rv = ngtcp2_conn_initiate_key_update(c->quic, now_ns());
    if (rv) fail(c, rv);
}
