#include "protocols/h2/server.h"

#include <stdlib.h>

#include "edge/base/error.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "protocols/h2/connection.h"

/* Queued here, and in the kernel: what is urgent waits behind no more than both. */
#define OUTPUT_MAX (256 * 1024)
#define UNSENT_MAX (128 * 1024)
#define FRAMES_MAX 1000 /* waiting to be sent before nothing more is read */

/* ---- ending ---- */

static void count_bytes(struct h2_server *s)
{
    metric_add(METRIC_CLIENT_BYTES_IN, (int64_t)(s->conn.received_bytes - s->counted_in_bytes));
    metric_add(METRIC_CLIENT_BYTES_OUT, (int64_t)(s->conn.sent_bytes - s->counted_out_bytes));
    s->counted_in_bytes = s->conn.received_bytes;
    s->counted_out_bytes = s->conn.sent_bytes;
}

static void on_scope_idle(struct scope *scope)
{
    struct h2_server *s = container_of(scope, struct h2_server, scope);
    count_bytes(s);
    nghttp2_session_del(s->session);
    h2_frames_free(&s->frames);
    conn_close(&s->conn);
    http_connection_leave(&s->client);
    free(s);
}

static void close_now(struct h2_server *s)
{
    if (s->scope.closing) return;
    if (conn_queued_bytes(&s->conn)) conn_reset(&s->conn);
    http_connection_set_idle(&s->client, false);
    timer_cancel(&s->timer);
    conn_cancel(&s->conn);
    scope_close(&s->scope);
}

static void end_streams(struct h2_server *s, int error)
{
    list_each_safe (link, &s->streams) {
        h2_stream_end(container_of(link, struct h2_stream, link), error);
    }
}

void h2_break_off(struct h2_server *s, int error)
{
    end_streams(s, error);
    close_now(s);
}

void h2_waste(struct h2_server *s, enum flood_kind kind)
{
    if (s->flooded) return;
    s->flooded = !flood_allows(&s->flood, kind, h2_limits(s), h2_now_ms(s));
}

void h2_fail(struct h2_server *s, uint32_t code)
{
    s->goaway = GOAWAY_FAILED;
    nghttp2_session_terminate_session(s->session, code);
}

/* ---- the connection's timer ---- */

static enum h2_phase phase_of(const struct h2_server *s)
{
    if (s->phase == PHASE_LINGER) return PHASE_LINGER;
    if (!s->greeted || s->head_open) return PHASE_HEAD;
    if (conn_queued_bytes(&s->conn)) return PHASE_SEND;
    return s->stream_count ? PHASE_NONE : PHASE_IDLE;
}

static int64_t timeout_of(const struct h2_server *s, enum h2_phase phase)
{
    const struct http_limits *limits = h2_limits(s);
    switch (phase) {
    case PHASE_HEAD: return limits->header_timeout_ms;
    case PHASE_SEND: return limits->send_timeout_ms;
    case PHASE_LINGER: return PACE_LINGER_LOOK_MS;
    default: return limits->idle_timeout_ms;
    }
}

static void enter_phase(struct h2_server *s, enum h2_phase phase)
{
    if (phase != s->phase) s->pace_out = (struct pace_out){ 0 };
    s->phase = phase;
    http_connection_set_idle(&s->client, phase == PHASE_IDLE && !s->refuse);
    timer_cancel(&s->timer);
    if (phase == PHASE_NONE) return;
    if (phase == PHASE_SEND)
        pace_out_look(&s->pace_out, h2_now_ms(s), conn_acknowledged_bytes(&s->conn));
    timer_set(&h2_worker(s)->wheel, &s->timer, h2_now_ms(s) + timeout_of(s, phase));
}

static void tell_goaway(struct h2_server *s, uint32_t code)
{
    int32_t last = nghttp2_session_get_last_proc_stream_id(s->session);
    if (s->goaway) return;
    s->goaway = GOAWAY_TOLD;
    nghttp2_submit_goaway(s->session, NGHTTP2_FLAG_NONE, last, code, NULL, 0);
}

static void update(struct h2_server *s);

static void expire(struct http_connection *client)
{
    struct h2_server *s = container_of(client, struct h2_server, client);
    tell_goaway(s, NGHTTP2_NO_ERROR);
    update(s);
}

static void on_timer(struct timer *t)
{
    struct h2_server *s = container_of(t, struct h2_server, timer);
    switch (s->phase) {
    case PHASE_SEND:
        if (pace_out_keeps_up(&s->pace_out, h2_limits(s), h2_now_ms(s),
                              conn_acknowledged_bytes(&s->conn)))
            enter_phase(s, PHASE_SEND);
        else
            h2_break_off(s, -E_CLIENT_SLOW);
        break;
    case PHASE_IDLE: expire(&s->client); break;
    case PHASE_HEAD: h2_break_off(s, -E_HEADER_TIMEOUT); break;
    case PHASE_LINGER:
        if (pace_linger_goes_on(&s->linger, h2_limits(s), h2_now_ms(s)))
            enter_phase(s, PHASE_LINGER);
        else
            close_now(s);
        break;
    default: close_now(s); break;
    }
}

/* ---- sending ---- */

bool h2_may_queue(const struct h2_server *s)
{
    return conn_has_room(&s->conn) && conn_queued_bytes(&s->conn) < OUTPUT_MAX;
}

/* nghttp2 chooses what is next: so it is asked as late as possible. False: it has failed. */
static bool fill_queue(struct h2_server *s)
{
    while (h2_may_queue(s)) {
        const uint8_t *data;
        nghttp2_ssize n = nghttp2_session_mem_send2(s->session, &data);
        if (n <= 0) return n == 0;
        if (!conn_write(&s->conn, slice_of((const char *)data, (size_t)n))) return false;
        if (s->heading) h2_response_queued(s->heading);
        s->heading = NULL;
    }
    return true;
}

/* FIN first and reading on for a moment, so that no reset overtakes what was sent. What is not
 * answered by now will not be: nghttp2 has ended the connection for a mistake of the client's. */
static void linger(struct h2_server *s)
{
    end_streams(s, -E_BAD_REQUEST);
    if (s->conn.read_ended || s->conn.broken) {
        close_now(s);
        return;
    }
    pace_linger_begin(&s->linger, h2_limits(s), h2_now_ms(s));
    enter_phase(s, PHASE_LINGER);
    conn_shutdown(&s->conn);
    if (!s->conn.reading) conn_recv_start(&s->conn);
}

/* A client that makes us answer and does not read is not read from either. */
static void regulate_input(struct h2_server *s)
{
    bool too_much = nghttp2_session_get_outbound_queue_size(s->session) > FRAMES_MAX;
    if (too_much)
        conn_recv_stop(&s->conn);
    else if (!s->conn.reading && !s->conn.read_ended)
        conn_recv_start(&s->conn);
}

static bool is_done(const struct h2_server *s)
{
    return !nghttp2_session_want_read(s->session) && !nghttp2_session_want_write(s->session) &&
           conn_queued_bytes(&s->conn) == 0;
}

/* It is told why, and nothing else. */
static void end_flood(struct h2_server *s)
{
    if (s->goaway == GOAWAY_FAILED) return;
    end_streams(s, -E_CLIENT_FLOODS);
    h2_fail(s, NGHTTP2_ENHANCE_YOUR_CALM);
}

static bool has_to_go(const struct h2_server *s)
{
    bool enough =
        s->requests >= h2_limits(s)->requests_per_connection || (s->refuse && s->requests);
    return enough || (s->client.service->draining && s->stream_count == 0);
}

/* For the callbacks of the loop. */
static void update(struct h2_server *s)
{
    if (s->scope.closing || s->phase == PHASE_LINGER) return;
    if (s->flooded)
        end_flood(s);
    else if (has_to_go(s))
        tell_goaway(s, NGHTTP2_NO_ERROR);
    bool sound = fill_queue(s); /* which resets what is malformed */
    if (sound) h2_streams_begin(s);
    conn_flush(&s->conn);
    if (!sound || s->conn.broken) {
        h2_break_off(s, -E_CLIENT_GONE);
    } else if (is_done(s)) {
        linger(s);
    } else {
        regulate_input(s);
        if (phase_of(s) != s->phase) enter_phase(s, phase_of(s));
    }
}

static void on_update(struct note *n)
{
    struct h2_server *s = container_of(n, struct h2_server, update_note);
    update(s);
    scope_leave(&s->scope);
}

void h2_update(struct h2_server *s)
{
    if (s->receiving || s->update_note.posted) return;
    scope_enter(&s->scope);
    worker_defer(h2_worker(s), &s->update_note);
}

/* ---- what happens to it ---- */

/* What nghttp2 will not go on with. Of acknowledgements and continuations it keeps count itself. */
static int fatal_error(int code)
{
    switch (code) {
    case NGHTTP2_ERR_FLOODED: metric_add_by(METRIC_FLOODS, FLOOD_PING, 1); return -E_CLIENT_FLOODS;
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
        metric_add_by(METRIC_FLOODS, FLOOD_HEADERS, 1);
        return -E_CLIENT_FLOODS;
    case NGHTTP2_ERR_NOMEM: return -E_NO_MEMORY;
    default: return -E_BAD_REQUEST;
    }
}

static void on_data(struct conn *c, struct slice bytes)
{
    struct h2_server *s = container_of(c, struct h2_server, conn);
    if (s->scope.closing) return;
    if (s->phase == PHASE_LINGER) {
        s->linger.bytes += bytes.n;
        return;
    }
    if (s->goaway == GOAWAY_FAILED) return;
    int rc = h2_receive(s, bytes);
    if (rc)
        h2_break_off(s, fatal_error(rc));
    else
        update(s);
}

static void on_ended(struct conn *c, bool reset)
{
    (void)reset;
    h2_break_off(container_of(c, struct h2_server, conn), -E_CLIENT_GONE);
}

static void on_drained(struct conn *c)
{
    struct h2_server *s = container_of(c, struct h2_server, conn);
    if (s->scope.closing) return;
    count_bytes(s);
    update(s);
}

static const struct conn_ops conn_ops = { .data = on_data,
                                          .ended = on_ended,
                                          .drained = on_drained };

/* Two steps (RFC 9113 section 6.8): first that no further request is welcome, then, when those that
 * came are answered, which the last one was. */
static void drain(struct http_connection *client)
{
    struct h2_server *s = container_of(client, struct h2_server, client);
    if (s->stream_count && !s->goaway) nghttp2_submit_shutdown_notice(s->session);
    h2_update(s);
}

static void abort_connection(struct http_connection *client)
{
    h2_break_off(container_of(client, struct h2_server, client), -E_SHUTDOWN);
}

static const struct http_connection_ops client_ops = { drain, abort_connection, expire };

void h2_server_start(struct http_service *service, int fd, const struct peer *peer, struct tls *tls,
                     int refuse)
{
    struct h2_server *s = xcalloc(1, sizeof *s);
    struct worker *w = service->worker;
    http_connection_enter(&s->client, &client_ops, service, peer);
    s->refuse = refuse;
    list_init(&s->streams);
    list_init(&s->heads);
    scope_init(&s->scope, w, on_scope_idle);
    conn_init(&s->conn, w, &s->scope, &conn_ops, fd);
    conn_use_tls(&s->conn, tls);
    conn_limit_unsent(&s->conn, UNSENT_MAX);
    s->update_note.run = on_update;
    timer_init(&s->timer, on_timer);
    h2_frames_open(&s->frames, h2_limits(s)->streams);
    if (!h2_session_open(s)) {
        close_now(s);
        return;
    }
    conn_recv_start(&s->conn);
    conn_read_fed(&s->conn);
    update(s);
}
