#include "protocols/h3/session.h"

#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/clock.h"
#include "edge/base/error.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/base/pool.h"
#include "protocols/h3/stream.h"

/* What clients may keep of the fields they repeat, and how many requests may wait for a piece of
 * that: browsers make their requests a third as large by it, and it costs a connection at most
 * this. Our own responses do without: it would have to be kept in step with what each client has,
 * and a response would wait for a packet that is lost on another stream. */
#define QPACK_TABLE_BYTES     4096
#define QPACK_BLOCKED_STREAMS 16

/* ---- fields that are none ---- */

/* nghttp3 leaves out a field with a name or a value that no field may have, and tells nobody: the
 * request would go on without its Authorization. It is malformed (RFC 9114 section 4.3), as nghttp3
 * itself has it of an upper-case name. So its judgement of a field is changed when it is linked. */
struct nghttp3_http_state;
int __real_nghttp3_http_on_header(struct nghttp3_http_state *http, nghttp3_qpack_nv *field,
                                  int request, int trailers, int connect_protocol);
int __wrap_nghttp3_http_on_header(struct nghttp3_http_state *http, nghttp3_qpack_nv *field,
                                  int request, int trailers, int connect_protocol);

int __wrap_nghttp3_http_on_header(struct nghttp3_http_state *http, nghttp3_qpack_nv *field,
                                  int request, int trailers, int connect_protocol)
{
    int rc = __real_nghttp3_http_on_header(http, field, request, trailers, connect_protocol);
    bool is_ignored = trailers && field->token == NGHTTP3_QPACK_TOKEN_CONTENT_LENGTH;
    return rc == NGHTTP3_ERR_REMOVE_HTTP_HEADER && !is_ignored ? NGHTTP3_ERR_MALFORMED_HTTP_HEADER
                                                               : rc;
}

/* ---- nghttp3's callbacks ---- */

static int on_begin_headers(nghttp3_conn *http, int64_t id, void *session, void *stream)
{
    struct h3_stream *s = h3_stream_new(session, id);
    (void)stream;
    s->head = arena_alloc(&s->x.arena, sizeof *s->head);
    pseudo_begin(s->head, h3_limits(s), &s->x.arena);
    return nghttp3_conn_set_stream_user_data(http, id, s);
}

static struct slice text_of(const nghttp3_rcbuf *b)
{
    nghttp3_vec v = nghttp3_rcbuf_get_buf(b);
    return slice_of((const char *)v.base, v.len);
}

/* Also of trailers. What is too much is not kept, but counted: a field that refers to the client's
 * table costs it a byte. */
static int on_field(nghttp3_conn *http, int64_t id, int32_t token, nghttp3_rcbuf *name,
                    nghttp3_rcbuf *value, uint8_t flags, void *session, void *stream)
{
    struct h3_stream *s = stream;
    (void)http, (void)id, (void)token, (void)flags;
    if (!s || !s->head) return 0;
    pseudo_field(s->head, text_of(name), text_of(value));
    if (s->head->error == -E_HEADER_TOO_LARGE) h3_session_waste(session, FLOOD_HEADERS);
    return 0;
}

static int on_end_headers(nghttp3_conn *http, int64_t id, int fin, void *session, void *stream)
{
    struct h3_stream *s = stream;
    (void)http, (void)id, (void)session;
    if (!s || !s->head || s->begun) return 0;
    int rc = pseudo_finish(s->head, fin);
    if (fin) s->in_ended = true;
    if (rc == 0 || rc == -E_URI_TOO_LONG || rc == -E_HEADER_TOO_LARGE)
        h3_stream_begin(s, rc);
    else
        h3_stream_refuse(s, rc);
    return 0;
}

static int on_begin_trailers(nghttp3_conn *http, int64_t id, void *session, void *stream)
{
    struct h3_stream *s = stream;
    (void)http, (void)id, (void)session;
    if (!s || s->ended) return 0;
    s->head = arena_alloc(&s->x.arena, sizeof *s->head);
    pseudo_begin_trailers(s->head, h3_limits(s), &s->x.arena);
    return 0;
}

static int on_end_trailers(nghttp3_conn *http, int64_t id, int fin, void *session, void *stream)
{
    struct h3_stream *s = stream;
    (void)http, (void)id, (void)fin, (void)session;
    if (!s || !s->head || s->ended) return 0;
    int rc = pseudo_finish_trailers(s->head);
    s->trailers = s->head->request.fields;
    s->head = NULL;
    if (rc) h3_stream_refuse(s, rc);
    return 0;
}

/* Nothing of it waits here. */
static void pass_over(struct h3_session *h, int64_t id, size_t n)
{
    h->transport->received(h, n);
    h->transport->consumed(h, id, n);
}

static int on_data(nghttp3_conn *http, int64_t id, const uint8_t *data, size_t n, void *session,
                   void *stream)
{
    struct h3_stream *s = stream;
    struct h3_session *h = session;
    (void)http;
    if (!s || !s->begun || s->ended || s->in_refused) {
        pass_over(h, id, n);
        return 0;
    }
    h->transport->received(h, n);
    if (h3_take_body(s, slice_of((const char *)data, n))) return 0;
    h->transport->consumed(h, id, n);
    h3_fail_request_body(s, -E_NO_MEMORY);
    return 0;
}

static int on_end_stream(nghttp3_conn *http, int64_t id, void *session, void *stream)
{
    struct h3_stream *s = stream;
    (void)http, (void)id, (void)session;
    if (!s) return 0;
    s->in_ended = true;
    if (s->begun && !s->ended) h3_wake_request_body(s);
    return 0;
}

static int on_deferred_consume(nghttp3_conn *http, int64_t id, size_t n, void *session,
                               void *stream)
{
    struct h3_session *h = session;
    (void)http, (void)stream;
    pass_over(h, id, n);
    return 0;
}

/* nghttp3 has found a message malformed: it asks for STOP_SENDING, then for RESET_STREAM. */
static int on_stop(nghttp3_conn *http, int64_t id, uint64_t code, void *session, void *stream)
{
    struct h3_session *h = session;
    (void)http, (void)stream;
    h->transport->stop(h, id, code);
    return 0;
}

static int on_reset(nghttp3_conn *http, int64_t id, uint64_t code, void *session, void *stream)
{
    struct h3_session *h = session;
    struct h3_stream *s = stream;
    (void)http;
    h->transport->reset(h, id, code);
    if (!s) return 0;
    h3_stream_refuse(s, s->begun ? -E_BAD_FRAMING : -E_BAD_REQUEST);
    return 0;
}

static int on_acked(nghttp3_conn *http, int64_t id, uint64_t n, void *session, void *stream)
{
    struct h3_stream *s = stream;
    (void)http, (void)id, (void)session;
    if (s) h3_response_acked(s, n);
    return 0;
}

static int on_stream_close(nghttp3_conn *http, int64_t id, uint64_t code, void *session,
                           void *stream)
{
    struct h3_stream *s = stream;
    struct h3_session *h = session;
    (void)http, (void)id, (void)code;
    if (!s) {
        h->transport->released(h);
        return 0;
    }
    s->closed = true;
    timer_cancel(&s->timer);
    if (s->begun && !s->ended && !s->all_written) {
        h3_session_waste(h, FLOOD_RESET); /* of a STOP_SENDING ngtcp2 may tell no more than this */
        h3_stream_end(s, -E_CLIENT_GONE);
    }
    if (!s->begun || s->idle) h3_stream_free(s);
    return 0;
}

static const nghttp3_callbacks callbacks = {
    .acked_stream_data = on_acked,
    .stream_close = on_stream_close,
    .recv_data = on_data,
    .deferred_consume = on_deferred_consume,
    .begin_headers = on_begin_headers,
    .recv_header = on_field,
    .end_headers = on_end_headers,
    .begin_trailers = on_begin_trailers,
    .recv_trailer = on_field,
    .end_trailers = on_end_trailers,
    .stop_sending = on_stop,
    .end_stream = on_end_stream,
    .reset_stream = on_reset,
};

/* ---- the session ---- */

static int code_of(int rc)
{
    return rc >= 0 ? 0 : (int)nghttp3_err_infer_quic_app_error_code(rc);
}

void h3_session_init(struct h3_session *s, const struct h3_transport_ops *transport,
                     struct http_connection *client, struct scope *scope)
{
    *s = (struct h3_session){ .transport = transport, .client = client, .scope = scope };
    list_init(&s->streams);
    list_init(&s->broken);
    list_init(&s->full);
    list_init(&s->written);
}

static int bind_streams(struct h3_session *s)
{
    int64_t control, encoder, decoder;
    const struct h3_transport_ops *t = s->transport;
    if (!t->open(s, &control) || !t->open(s, &encoder) || !t->open(s, &decoder))
        return NGHTTP3_H3_GENERAL_PROTOCOL_ERROR;
    int rc = nghttp3_conn_bind_control_stream(s->http, control);
    if (rc == 0) rc = nghttp3_conn_bind_qpack_streams(s->http, encoder, decoder);
    return code_of(rc);
}

static const nghttp3_mem memory = POOL_MEMORY;

static void open_table(struct h3_session *s)
{
    for (s->chains = 16; s->chains < s->client->service->limits->streams;) s->chains *= 2;
    s->by_id = xcalloc(s->chains, sizeof(struct h3_stream *));
}

int h3_session_start(struct h3_session *s)
{
    nghttp3_settings settings;
    open_table(s);
    nghttp3_settings_default(&settings);
    settings.max_field_section_size = s->client->service->limits->head_bytes;
    settings.qpack_max_dtable_capacity = QPACK_TABLE_BYTES;
    settings.qpack_blocked_streams = QPACK_BLOCKED_STREAMS;
    settings.qpack_encoder_max_dtable_capacity = 0;
#if NGHTTP3_VERSION_NUM >= 0x010c00
    settings.glitch_ratelim_burst = s->client->service->limits->wasted_frames;
    settings.glitch_ratelim_rate = (settings.glitch_ratelim_burst + 9) / 10;
#endif
    int rc = nghttp3_conn_server_new(&s->http, &callbacks, &settings, &memory, s);
    return rc ? code_of(rc) : bind_streams(s);
}

bool h3_session_started(const struct h3_session *s)
{
    return s->http;
}

/* Streams that the edge still has are freed by their scopes. */
static void abort_streams(struct list *streams, int error)
{
    list_each_safe (link, streams) {
        struct h3_stream *s = container_of(link, struct h3_stream, link);
        s->closed = true;
        timer_cancel(&s->timer);
        if (s->begun && !s->ended) h3_stream_end(s, error);
        if (!s->begun || s->idle) h3_stream_free(s);
    }
}

void h3_session_abort(struct h3_session *s, int error)
{
    abort_streams(&s->broken, error);
    abort_streams(&s->streams, error);
}

void h3_session_free(struct h3_session *s)
{
    CHECK(list_empty(&s->streams) && list_empty(&s->broken));
    nghttp3_conn_del(s->http);
    free(s->by_id);
    s->http = NULL;
}

bool h3_session_waste(struct h3_session *s, enum flood_kind kind)
{
    struct http_service *service = s->client->service;
    if (!s->flooded)
        s->flooded =
            !flood_allows(&s->flood, kind, service->limits, worker_now_ms(service->worker));
    return !s->flooded;
}

void h3_session_notice(struct h3_session *s)
{
    if (s->http) nghttp3_conn_submit_shutdown_notice(s->http);
    s->transport->wake(s);
}

void h3_session_shut(struct h3_session *s)
{
    if (s->shut) return;
    s->shut = true;
    if (s->http) nghttp3_conn_shutdown(s->http);
    s->transport->wake(s);
}

bool h3_session_idle(const struct h3_session *s)
{
    return s->stream_count == 0;
}

/* ---- what the client did ---- */

/* The client's bidirectional ones (RFC 9000 section 2.1). */
static bool is_request(int64_t id)
{
    return (id & 3) == 0;
}

/* A client's IDs come one after the other, and lie in one chain each. */
static struct h3_stream **place(struct h3_session *s, int64_t id)
{
    struct h3_stream **at = &s->by_id[(size_t)id / 4 % s->chains];
    while (*at && (*at)->id != id) at = &(*at)->next_by_id;
    return at;
}

void h3_session_remember(struct h3_session *session, struct h3_stream *s)
{
    struct h3_stream **at = place(session, s->id);
    CHECK(!*at);
    *at = s;
}

void h3_session_forget(struct h3_session *session, struct h3_stream *s)
{
    struct h3_stream **at = place(session, s->id);
    CHECK(*at == s);
    *at = s->next_by_id;
}

static struct h3_stream *find(struct h3_session *s, int64_t id)
{
    return *place(s, id);
}

/* What nghttp3 finds malformed is a mistake of its stream's alone (RFC 9114 section 4.1.2). False
 * where the result is another error. */
static bool refuse_message(struct h3_session *s, int64_t id, nghttp3_ssize rc)
{
    bool head = rc == NGHTTP3_ERR_MALFORMED_HTTP_HEADER;
    if (!head && rc != NGHTTP3_ERR_MALFORMED_HTTP_MESSAGING) return false;
    struct h3_stream *stream = find(s, id);
    if (stream && !stream->ended) h3_stream_refuse(stream, head ? -E_BAD_REQUEST : -E_BAD_FRAMING);
    return stream;
}

/* A later nghttp3 has a budget of its own for frames that lead nowhere and that it does not show.
 */
static nghttp3_ssize read_stream(struct h3_session *s, int64_t id, struct slice bytes, bool fin)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
#if NGHTTP3_VERSION_NUM >= 0x010c00
    nghttp3_tstamp now = (nghttp3_tstamp)s->client->service->worker->now_us * 1000;
    nghttp3_ssize n = nghttp3_conn_read_stream2(s->http, id, p, bytes.n, fin, now);
    if (n == NGHTTP3_ERR_H3_EXCESSIVE_LOAD) metric_add_by(METRIC_FLOODS, FLOOD_EMPTY, 1);
    return n;
#else
    return nghttp3_conn_read_stream(s->http, id, p, bytes.n, fin);
#endif
}

/* A stream that ends before a request's head is a mistake of that stream alone (RFC 9114 section
 * 4.1), which nghttp3 takes for an unexpected frame. A frame that is one leaves it in its middle:
 * there another end is another error. */
static bool refuse_incomplete(struct h3_session *s, int64_t id, nghttp3_ssize rc, bool fin)
{
    if (rc != NGHTTP3_ERR_H3_FRAME_UNEXPECTED || !fin || !is_request(id)) return false;
    if (read_stream(s, id, SLICE_NONE, true) != NGHTTP3_ERR_H3_FRAME_UNEXPECTED) return false;
    metric_add_by(METRIC_ERRORS, E_BAD_REQUEST, 1);
    h3_session_waste(s, FLOOD_ERROR);
    nghttp3_conn_shutdown_stream_write(s->http, id);
    s->transport->reset(s, id, NGHTTP3_H3_REQUEST_INCOMPLETE);
    return true;
}

int h3_session_receive(struct h3_session *s, int64_t id, struct slice bytes, bool fin)
{
    nghttp3_ssize n = read_stream(s, id, bytes, fin);
    if (n < 0 && !refuse_message(s, id, n) && !refuse_incomplete(s, id, n, fin))
        return code_of((int)n);
    if (n > 0) pass_over(s, id, (size_t)n);
    if (s->flooded) return NGHTTP3_H3_EXCESSIVE_LOAD;
    if (s->requests >= s->client->service->limits->requests_per_connection) h3_session_shut(s);
    return 0;
}

int h3_session_acked(struct h3_session *s, int64_t id, uint64_t n)
{
    return code_of(nghttp3_conn_add_ack_offset(s->http, id, n));
}

/* It takes the request back before it was whole, or the response, which STOP_SENDING says. */
int h3_session_reset(struct h3_session *s, int64_t id)
{
    struct h3_stream *stream = find(s, id);
    nghttp3_conn_shutdown_stream_read(s->http, id);
    if (stream) stream->in_refused = true;
    if (!stream)
        s->transport->reset(s, id, NGHTTP3_H3_REQUEST_INCOMPLETE);
    else if (!stream->begun)
        h3_stream_break_off(stream, -E_CLIENT_GONE, NGHTTP3_H3_REQUEST_INCOMPLETE);
    else if (!stream->ended && !stream->in_ended)
        h3_fail_request_body(stream, -E_CLIENT_GONE);
    return h3_session_waste(s, FLOOD_RESET) ? 0 : NGHTTP3_H3_EXCESSIVE_LOAD;
}

int h3_session_stopped(struct h3_session *s, int64_t id)
{
    struct h3_stream *stream = find(s, id);
    nghttp3_conn_shutdown_stream_write(s->http, id);
    if (!stream || stream->ended) return 0;
    h3_stream_break_off(stream, -E_CLIENT_GONE, NGHTTP3_H3_REQUEST_CANCELLED);
    return h3_session_waste(s, FLOOD_RESET) ? 0 : NGHTTP3_H3_EXCESSIVE_LOAD;
}

void h3_session_unblocked(struct h3_session *s, int64_t id)
{
    struct h3_stream *stream = find(s, id);
    if (stream) stream->blocked = false;
    nghttp3_conn_unblock_stream(s->http, id);
    s->transport->wake(s);
}

void h3_session_streams(struct h3_session *s, uint64_t in_all)
{
    nghttp3_conn_set_max_client_streams_bidi(s->http, in_all);
}

int h3_session_closed(struct h3_session *s, int64_t id, uint64_t code)
{
    int rc = nghttp3_conn_close_stream(s->http, id, code ? code : NGHTTP3_H3_NO_ERROR);
    if (s->flooded) return NGHTTP3_H3_EXCESSIVE_LOAD;
    if (rc != NGHTTP3_ERR_STREAM_NOT_FOUND) return code_of(rc);
    if (is_request(id)) s->transport->released(s); /* one on which nothing came */
    return h3_session_waste(s, FLOOD_EMPTY) ? 0 : NGHTTP3_H3_EXCESSIVE_LOAD;
}

/* ---- writing ---- */

/* Not from inside nghttp3's call, which found out. */
static void reset_broken(struct h3_session *s)
{
    for (struct list *link; (link = list_pop(&s->broken));) {
        struct h3_stream *stream = container_of(link, struct h3_stream, link);
        list_append(&s->streams, &stream->link);
        h3_stream_break_off(stream, stream->failed, NGHTTP3_H3_INTERNAL_ERROR);
    }
}

int h3_session_next(struct h3_session *s, struct h3_piece *out)
{
    int fin = 0;
    *out = (struct h3_piece){ .stream = -1 };
    nghttp3_ssize n = nghttp3_conn_writev_stream(s->http, &out->stream, &fin, out->v, H3_PIECES);
    if (!list_empty(&s->broken)) {
        reset_broken(s);
        return n < 0 ? code_of((int)n) : h3_session_next(s, out);
    }
    if (n < 0) return code_of((int)n);
    out->fin = fin;
    out->count = (size_t)n;
    out->bytes = (size_t)nghttp3_vec_len(out->v, out->count);
    return 0;
}

int h3_session_wrote(struct h3_session *s, const struct h3_piece *p, size_t n)
{
    int rc = nghttp3_conn_add_write_offset(s->http, p->stream, n);
    if (rc) return code_of(rc);
    struct h3_stream *stream = find(s, p->stream);
    if (stream && stream->answering) h3_response_written(stream, p->fin && n == p->bytes);
    return 0;
}

void h3_session_sent(struct h3_session *s)
{
    if (list_empty(&s->written)) return;
    int64_t now_us = clock_monotonic_us();
    for (struct list *link; (link = list_pop(&s->written));)
        h3_response_sent(container_of(link, struct h3_stream, written_link), now_us);
}

void h3_session_blocked(struct h3_session *s, int64_t id)
{
    struct h3_stream *stream = find(s, id);
    if (stream) stream->blocked = true;
    nghttp3_conn_block_stream(s->http, id);
}

void h3_session_dead(struct h3_session *s, int64_t id)
{
    nghttp3_conn_shutdown_stream_write(s->http, id);
}
