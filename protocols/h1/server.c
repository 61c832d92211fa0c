#include "protocols/h1/server.h"

#include <stdlib.h>

#include "edge/base/clock.h"
#include "edge/base/error.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "protocols/h1/connection.h"

void h1_set_timer(struct h1_server *s, int64_t after_ms)
{
    timer_set(&s->conn.worker->wheel, &s->timer, h1_now_ms(s) + after_ms);
}

/* ---- ending ---- */

static void count_bytes(struct h1_server *s)
{
    metric_add(METRIC_CLIENT_BYTES_IN, (int64_t)(s->conn.received_bytes - s->counted_in_bytes));
    metric_add(METRIC_CLIENT_BYTES_OUT, (int64_t)(s->conn.sent_bytes - s->counted_out_bytes));
    s->counted_in_bytes = s->conn.received_bytes;
    s->counted_out_bytes = s->conn.sent_bytes;
}

static void on_scope_idle(struct scope *scope)
{
    struct h1_server *s = container_of(scope, struct h1_server, scope);
    count_bytes(s);
    conn_close(&s->conn);
    inbox_clear(&s->in, s->conn.worker);
    arena_free(&s->x.arena);
    http_connection_leave(&s->client);
    free(s);
}

/* With a reset where something was left unsaid, so that a client whose response ends with the
 * connection sees that this was not its end. */
static void close_now(struct h1_server *s)
{
    if (s->state == STATE_CLOSING) return;
    if (s->unfinished || conn_queued_bytes(&s->conn)) conn_reset(&s->conn);
    s->state = STATE_CLOSING;
    http_connection_set_idle(&s->client, false);
    timer_cancel(&s->timer);
    conn_cancel(&s->conn);
    scope_close(&s->scope);
}

/* FIN first and reading on for a moment: closing with unread bytes would reset the connection, and
 * the client could lose what it has not read yet. */
static void linger(struct h1_server *s)
{
    if (s->conn.read_ended || s->conn.broken) {
        close_now(s);
        return;
    }
    s->state = STATE_LINGERING;
    inbox_clear(&s->in, s->conn.worker);
    conn_shutdown(&s->conn);
    if (!s->conn.reading) conn_recv_start(&s->conn);
    pace_linger_begin(&s->linger, s->client.service->limits, h1_now_ms(s));
    h1_set_timer(s, PACE_LINGER_LOOK_MS);
}

/* What the exchange still has on its way holds its scope: until that is idle, nothing of it is
 * reused. */
void h1_end_exchange(struct h1_server *s, int error)
{
    struct exchange *x = &s->x;
    if (error && !x->error) x->error = error;
    h1_sender_stop(&s->response);
    s->state = STATE_RESETTING;
    s->body_waiting = false;
    list_remove(&s->head_sent.link);
    x->ended_us = conn_queued_bytes(&s->conn) ? clock_monotonic_us() : s->conn.worker->now_us;
    if (!error && x->first_byte_us == 0) x->first_byte_us = x->ended_us;
    x->handler->end(x);
    scope_close(&x->scope);
}

static void on_exchange_idle(struct scope *scope)
{
    struct h1_server *s = container_of(scope, struct h1_server, x.scope);
    worker_block_put(s->conn.worker, &s->head_block);
    arena_free(&s->x.arena);
    metric_add(METRIC_EXCHANGES_LIVE, -1);
    count_bytes(s);
    scope_leave(&s->scope);
    if (s->state == STATE_CLOSING) return;
    s->state = STATE_READY;
    h1_server_run(s);
}

void h1_break_off(struct h1_server *s, int error)
{
    if (h1_in_exchange(s)) {
        s->unfinished = true;
        h1_end_exchange(s, error);
    }
    close_now(s);
}

/* ---- requests ---- */

static void begin_exchange(struct h1_server *s)
{
    struct exchange *x = &s->x;
    x->request = (struct request){ .length = LENGTH_NONE, .version = HTTP_1_1 };
    x->request_body = NULL;
    x->status = x->error = 0;
    x->first_byte_us = 0;
    x->body_sent_bytes = x->body_received_bytes = 0;
    x->refused_line = SLICE_NONE;
    x->te_trailers = false;
    x->early = false;
    x->edge = NULL;
    s->request_ended = true;
    s->requests++;
    s->state = STATE_WAITING;
    scope_init(&x->scope, s->conn.worker, on_exchange_idle);
    scope_enter(&s->scope);
    timer_cancel(&s->timer);
    metric_add(METRIC_EXCHANGES_LIVE, 1);
}

/* For the log. One empty line may stand before it. */
static struct slice first_line(struct h1_server *s)
{
    struct slice in = inbox_unread(&s->in);
    if (slice_starts(in, SLICE("\r\n"))) in = slice_skip(in, 2);
    if (in.n > EXCHANGE_LINE_BYTES) in.n = EXCHANGE_LINE_BYTES;
    in.n = slice_find(in, '\n');
    if (in.n && in.p[in.n - 1] == '\r') in.n--;
    return in.n ? arena_copy(&s->x.arena, in) : SLICE_NONE;
}

static void reject(struct h1_server *s, int error)
{
    begin_exchange(s);
    s->x.refused_line = first_line(s);
    s->keep_alive = false;
    s->x.handler->reject(&s->x, error);
}

static void accept_request(struct h1_server *s, const struct h1_request *r, size_t head_bytes)
{
    struct exchange *x = &s->x;
    begin_exchange(s);
    x->request = r->msg;
    if (r->msg.scheme.n == 0)
        x->request.scheme = s->client.peer.secure ? SLICE("https") : SLICE("http");
    x->te_trailers = r->te_trailers;
    s->keep_alive =
        r->keep_alive && r->msg.method != METHOD_CONNECT; /* what follows may be no HTTP */
    s->head_block = block_hold(s->in.block);
    inbox_consume(&s->in, s->conn.worker, head_bytes);
    h1_open_request_body(s, r);
    x->handler->begin(x);
}

/* True when a request was taken, or what came was refused as one; the state has changed then. */
static bool next_request(struct h1_server *s)
{
    struct slice in = inbox_unread(&s->in);
    const struct http_limits *limits = s->client.service->limits;
    if (in.n == 0) return false;
    if (s->scanned == 0) s->x.began_us = s->conn.worker->now_us;
    s->limits = (struct h1_limits){ limits->line_bytes, limits->head_bytes, limits->field_count };
    struct h1_request r;
    int n = h1_parse_request(in, &s->scanned, &s->limits, &s->x.arena, &r);
    if (n == 0) return false;
    s->scanned = 0;
    if (n > 0)
        accept_request(s, &r, (size_t)n);
    else
        reject(s, n);
    return true;
}

/* ---- the machine ---- */

static void wait_for_request(struct h1_server *s)
{
    const struct http_limits *limits = s->client.service->limits;
    bool begun = inbox_unread(&s->in).n > 0;
    bool queued = conn_queued_bytes(&s->conn) > 0;
    if (s->conn.read_ended || (!begun && s->client.service->draining)) {
        if (!queued) close_now(s);
    } else if (begun) {
        timer_set(&s->conn.worker->wheel, &s->timer,
                  s->x.began_us / 1000 + limits->header_timeout_ms);
    } else {
        bool greeted = !conn_in_handshake(&s->conn);
        h1_set_timer(s, greeted ? limits->idle_timeout_ms : limits->header_timeout_ms);
    }
}

static void ready(struct h1_server *s)
{
    size_t queued = conn_queued_bytes(&s->conn);
    if (s->requests && !s->keep_alive) {
        if (queued == 0)
            linger(s);
        else
            h1_watch_client(s);
    } else if (queued > OUTPUT_MAX || !conn_has_room(&s->conn)) {
        h1_watch_client(s);
    } else if (!next_request(s)) {
        wait_for_request(s);
    }
}

/* It has nothing to say, and its client has said nothing. */
static bool is_idle(const struct h1_server *s)
{
    return s->state == STATE_READY && inbox_unread(&s->in).n == 0 &&
           conn_queued_bytes(&s->conn) == 0 && !conn_in_handshake(&s->conn);
}

void h1_server_run(struct h1_server *s)
{
    if (s->running) return;
    s->running = true;
    for (enum h1_state before = STATE_CLOSING; s->state != before;) {
        before = s->state;
        if (s->state == STATE_READY)
            ready(s);
        else if (s->state == STATE_ANSWERING)
            h1_answer(s);
    }
    s->running = false;
    if (s->state == STATE_CLOSING) return;
    http_connection_set_idle(&s->client, is_idle(s));
    conn_flush(&s->conn);
    if (s->state != STATE_LINGERING) h1_regulate_input(s);
    if (s->state == STATE_ANSWERING) h1_watch_client(s);
    if (s->body_waiting && !timer_armed(&s->timer))
        h1_set_timer(s, s->client.service->limits->body_timeout_ms);
}

/* ---- what happens to it ---- */

static void on_data(struct conn *c, struct slice bytes)
{
    struct h1_server *s = container_of(c, struct h1_server, conn);
    if (s->state == STATE_CLOSING) return;
    if (s->state == STATE_LINGERING) {
        s->linger.bytes += bytes.n;
    } else if (!inbox_append(&s->in, s->conn.worker, bytes)) {
        h1_break_off(s, -E_NO_MEMORY);
    } else {
        h1_wake_request_body(s);
        if (s->state == STATE_CLOSING) return;
        h1_server_run(s);
    }
}

/* A clean end may be half of one: the client gets the response to what it has asked. */
static void on_ended(struct conn *c, bool reset)
{
    struct h1_server *s = container_of(c, struct h1_server, conn);
    if (s->state == STATE_CLOSING) return;
    if (reset && h1_in_exchange(s)) {
        h1_break_off(s, -E_CLIENT_GONE);
    } else if (reset || s->state == STATE_LINGERING) {
        close_now(s);
    } else {
        h1_wake_request_body(s);
        h1_server_run(s);
    }
}

static void on_drained(struct conn *c)
{
    struct h1_server *s = container_of(c, struct h1_server, conn);
    if (s->state == STATE_CLOSING) return;
    if (c->broken) {
        h1_break_off(s, -E_CLIENT_GONE);
        return;
    }
    if (s->state == STATE_ANSWERING) timer_cancel(&s->timer);
    h1_server_run(s);
}

/* It waits for a request from now on, no longer for the handshake. */
static void on_opened(struct conn *c)
{
    h1_server_run(container_of(c, struct h1_server, conn));
}

static const struct conn_ops conn_ops = {
    .opened = on_opened, .data = on_data, .ended = on_ended, .drained = on_drained
};

static void on_ready_timeout(struct h1_server *s)
{
    if (conn_queued_bytes(&s->conn)) {
        if (h1_client_keeps_up(s))
            h1_watch_client(s);
        else
            close_now(s);
    } else if (inbox_unread(&s->in).n) {
        reject(s, -E_HEADER_TIMEOUT);
        h1_server_run(s);
    } else {
        close_now(s);
    }
}

static void on_exchange_timeout(struct h1_server *s)
{
    if (conn_queued_bytes(&s->conn)) {
        if (h1_client_keeps_up(s))
            h1_watch_client(s);
        else
            h1_break_off(s, -E_CLIENT_SLOW);
    } else if (s->body_waiting) {
        h1_fail_request_body(s, -E_BODY_TIMEOUT);
        h1_server_run(s);
    }
}

static void on_linger_timeout(struct h1_server *s)
{
    if (pace_linger_goes_on(&s->linger, s->client.service->limits, h1_now_ms(s)))
        h1_set_timer(s, PACE_LINGER_LOOK_MS);
    else
        close_now(s);
}

static void on_timer(struct timer *t)
{
    struct h1_server *s = container_of(t, struct h1_server, timer);
    if (s->state == STATE_READY)
        on_ready_timeout(s);
    else if (h1_in_exchange(s))
        on_exchange_timeout(s);
    else if (s->state == STATE_LINGERING)
        on_linger_timeout(s);
}

/* ---- the beginning ---- */

static void drain(struct http_connection *c)
{
    h1_server_run(container_of(c, struct h1_server, client));
}

static void abort_connection(struct http_connection *c)
{
    h1_break_off(container_of(c, struct h1_server, client), -E_SHUTDOWN);
}

static void expire(struct http_connection *c)
{
    close_now(container_of(c, struct h1_server, client));
}

static const struct http_connection_ops client_ops = { drain, abort_connection, expire };

void h1_server_start(struct http_service *service, int fd, const struct peer *peer, struct tls *tls,
                     int refuse)
{
    struct h1_server *s = xcalloc(1, sizeof *s);
    struct worker *w = service->worker;
    http_connection_enter(&s->client, &client_ops, service, peer);
    s->x.ops = &h1_exchange_ops;
    s->x.handler = service->handler;
    s->x.peer = &s->client.peer;
    s->x.worker = w;
    s->x.began_us = w->now_us;
    arena_init(&s->x.arena, ARENA_CHUNK_BYTES);
    list_init(&s->head_sent.link);
    scope_init(&s->scope, w, on_scope_idle);
    conn_init(&s->conn, w, &s->scope, &conn_ops, fd);
    timer_init(&s->timer, on_timer);
    if (tls) conn_use_tls(&s->conn, tls);
    if (refuse)
        reject(s, refuse);
    else
        conn_recv_start(&s->conn);
    if (tls) conn_read_fed(&s->conn);
    h1_server_run(s);
}
