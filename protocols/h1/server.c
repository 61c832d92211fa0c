#include "protocols/h1/server.h"

#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/io/conn.h"
#include "protocols/h1/frame.h"
#include "protocols/h1/print.h"

#define INPUT_MAX        (64 * 1024) /* unread bytes a client may have waiting here */
#define OUTPUT_MAX       (64 * 1024) /* of finished responses, before the next pipelined request is looked at */
#define COPY_MAX         4096        /* smaller pieces of a body are copied behind the head: one buffer, one send */
#define ARENA_CHUNK      4096
#define LINGER_MS        2000 /* for the client to read our last bytes, RFC 9112 section 9.6 */
#define LINGER_BYTES_MAX (1024 * 1024)

enum state {
    STATE_READY,     /* for a request: parsing its head, or waiting for its first byte */
    STATE_WAITING,   /* the edge has the request */
    STATE_ANSWERING, /* the head is queued, the body is pulled */
    STATE_RESETTING, /* ended; something of the exchange is still on its way */
    STATE_LINGERING, /* everything said; reading until the client closes */
    STATE_CLOSING,
};

struct h1_server {
    struct conn conn;
    struct scope scope;
    struct h1_service *service;
    struct list link;
    struct peer peer;
    struct exchange x;
    struct timer timer;
    enum state state;
    int refuse;
    uint64_t requests;
    bool running;    /* inside run(): what changes state need not call it */
    bool keep_alive; /* after the present response */

    /* Input: one block, of which [at, end) is unread. The exchange's slices point into head_block. */
    struct block *in;
    size_t in_at, in_end, scanned;
    struct block *head_block;

    struct h1_limits limits; /* the present request's */

    /* The request's body. */
    struct body request_body;
    enum h1_body request_framing;
    struct h1_chunked chunked;
    uint64_t request_left;
    bool request_ended, continue_owed, body_waiting;
    int64_t body_began_ms;

    /* The response's. */
    struct body *body;
    enum h1_body framing;
    int64_t length_left;
    bool ready; /* the body said so, or was never asked */
    int64_t send_began_ms;
    uint64_t acknowledged, send_began_bytes;
};

static void run(struct h1_server *s);

static int64_t now_ms(const struct h1_server *s)
{
    return worker_now_ms(s->conn.worker);
}

static void set_timer(struct h1_server *s, int64_t after_ms)
{
    timer_set(&s->conn.worker->wheel, &s->timer, now_ms(s) + after_ms);
}

/* ---- input ---- */

static struct slice unread(const struct h1_server *s)
{
    return s->in ? slice_of(s->in->data + s->in_at, s->in_end - s->in_at) : SLICE_NONE;
}

/* A block without unread bytes is given back, so that an idle connection holds none. */
static void consume(struct h1_server *s, size_t n)
{
    s->in_at += n;
    if (s->in_at < s->in_end) return;
    worker_block_put(s->conn.worker, &s->in);
    s->in_at = s->in_end = 0;
}

/* The unread bytes move to a new block when there is no room behind them; spans keep the old one. */
static bool make_room(struct h1_server *s, size_t n)
{
    if (s->in && s->in->size_bytes - s->in_end >= n) return true;
    struct slice old = unread(s);
    size_t size = old.n + n <= WORKER_BLOCK_BYTES ? WORKER_BLOCK_BYTES : (old.n + n) * 2;
    struct block *b = size == WORKER_BLOCK_BYTES ? worker_block(s->conn.worker) : block_new(size);
    if (!b) return false;
    if (old.n) memcpy(b->data, old.p, old.n);
    worker_block_put(s->conn.worker, &s->in);
    s->in = b;
    s->in_at = 0;
    s->in_end = old.n;
    return true;
}

static void regulate_input(struct h1_server *s)
{
    size_t waiting = unread(s).n;
    if (waiting >= INPUT_MAX) conn_recv_stop(&s->conn);
    else if (!s->conn.reading && !s->conn.read_ended && waiting < INPUT_MAX / 2) conn_recv_start(&s->conn);
}

/* ---- ending ---- */

static void close_body(struct h1_server *s) { body_close(&s->body); }

static void on_scope_idle(struct scope *scope)
{
    struct h1_server *s = container_of(scope, struct h1_server, scope);
    struct h1_service *service = s->service;
    struct peer peer = s->peer;
    metric_add(METRIC_CLIENT_BYTES_IN, (int64_t)s->conn.received_bytes);
    metric_add(METRIC_CLIENT_BYTES_OUT, (int64_t)s->conn.sent_bytes);
    conn_close(&s->conn);
    worker_block_put(s->conn.worker, &s->in);
    worker_block_put(s->conn.worker, &s->head_block);
    arena_free(&s->x.arena);
    list_remove(&s->link);
    free(s);
    service->connection_count--;
    metric_add(METRIC_CONNECTIONS_LIVE, -1);
    service->closed(service, &peer);
}

static void close_now(struct h1_server *s)
{
    if (s->state == STATE_CLOSING) return;
    s->state = STATE_CLOSING;
    timer_cancel(&s->timer);
    conn_cancel(&s->conn);
    scope_close(&s->scope);
}

/* FIN first and reading on for a moment: closing with unread bytes would reset the connection, and the client could lose
 * what it has not read yet. */
static void linger(struct h1_server *s)
{
    if (s->conn.read_ended || s->conn.broken) {
        close_now(s);
        return;
    }
    s->state = STATE_LINGERING;
    s->keep_alive = false;
    consume(s, unread(s).n);
    conn_shutdown(&s->conn);
    if (!s->conn.reading) conn_recv_start(&s->conn);
    set_timer(s, LINGER_MS);
}

/* The exchange is over. What it waits for still holds its scope: the state stays RESETTING until that is idle. */
static void end_exchange(struct h1_server *s, int error)
{
    struct exchange *x = &s->x;
    if (error && !x->error) x->error = error;
    close_body(s);
    s->state = STATE_RESETTING;
    x->body_received_bytes = s->request_framing == H1_BODY_NONE ? 0 : x->body_received_bytes;
    x->handler->end(x);
    scope_close(&x->scope);
}

static void on_exchange_idle(struct scope *scope)
{
    struct h1_server *s = container_of(scope, struct h1_server, x.scope);
    bool closing = s->state == STATE_CLOSING;
    worker_block_put(s->conn.worker, &s->head_block);
    arena_free(&s->x.arena);
    scope_leave(&s->scope);
    metric_add(METRIC_EXCHANGES_LIVE, -1);
    if (closing) return;
    s->state = STATE_READY;
    run(s);
}

/* Nothing more can be said on this connection, and what was said is not whole. */
static void break_off(struct h1_server *s, int error)
{
    bool in_exchange = s->state == STATE_WAITING || s->state == STATE_ANSWERING;
    if (in_exchange) end_exchange(s, error);
    close_now(s);
}

/* ---- the request's body ---- */

static void send_continue(struct h1_server *s)
{
    s->continue_owed = false;
    conn_write(&s->conn, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
    conn_flush(&s->conn);
}

static enum body_result body_failed(struct h1_server *s, int error)
{
    s->request_body.error = error;
    s->keep_alive = false;
    return BODY_FAIL;
}

static enum body_result body_ended(struct h1_server *s)
{
    s->request_ended = true;
    if (s->request_framing == H1_BODY_CHUNKED) s->request_body.trailers = &s->chunked.trailers;
    return BODY_END;
}

static enum body_result body_wait(struct h1_server *s)
{
    if (s->conn.read_ended) return body_failed(s, -E_CLIENT_GONE);
    s->body_waiting = true;
    regulate_input(s);
    if (s->state == STATE_WAITING) set_timer(s, s->service->limits->body_timeout_ms);
    return BODY_WAIT;
}

static void hand_out(struct h1_server *s, struct slice data, struct span *out)
{
    *out = span_of(s->in, (size_t)(data.p - s->in->data), data.n);
    s->x.body_received_bytes += data.n;
}

static enum body_result pull_length(struct h1_server *s, struct span *out)
{
    struct slice data = unread(s);
    if (s->request_left == 0) return body_ended(s);
    if (data.n == 0) return body_wait(s);
    if (data.n > s->request_left) data.n = s->request_left;
    s->request_left -= data.n;
    hand_out(s, data, out);
    consume(s, data.n);
    return BODY_DATA;
}

static enum body_result pull_chunked(struct h1_server *s, struct span *out)
{
    struct slice in = unread(s), data;
    size_t before = in.n;
    int what = h1_chunked_next(&s->chunked, &in, &data);
    if (what == H1_CHUNK_DATA) hand_out(s, data, out);
    consume(s, before - in.n);
    if (what == H1_CHUNK_DATA) return BODY_DATA;
    if (what == H1_CHUNK_END) return body_ended(s);
    return what == H1_CHUNK_MORE ? body_wait(s) : body_failed(s, -E_BAD_FRAMING);
}

static enum body_result request_pull(struct body *b, struct span *out)
{
    struct h1_server *s = container_of(b, struct h1_server, request_body);
    if (s->continue_owed) send_continue(s);
    enum body_result result =
        s->request_framing == H1_BODY_CHUNKED ? pull_chunked(s, out) : pull_length(s, out);
    regulate_input(s);
    return result;
}

/* Owned by the connection: what is left of it is dealt with when the response is finished. */
static void request_close(struct body *b)
{
    struct h1_server *s = container_of(b, struct h1_server, request_body);
    s->body_waiting = false;
}

static const struct body_ops request_body_ops = { .pull = request_pull, .close = request_close };

static void wake_body(struct h1_server *s)
{
    if (!s->body_waiting) return;
    s->body_waiting = false;
    timer_cancel(&s->timer);
    s->request_body.ready(&s->request_body);
}

/* ---- the response ---- */

static void interim(struct exchange *x, const struct response *r)
{
    struct h1_server *s = container_of(x, struct h1_server, x);
    if (x->request.version < HTTP_1_1) return; /* RFC 9110 section 15.2 */
    struct h1_framing framing = { .body = H1_BODY_NONE };
    size_t n = h1_response_size(r, &framing);
    char *to = conn_reserve(&s->conn, n);
    if (!to) return;
    conn_commit(&s->conn, h1_print_response(to, r, &framing));
    conn_flush(&s->conn);
}

/* How the body's end will be told (RFC 9112 section 6). */
static void choose_framing(struct h1_server *s, const struct response *r, struct h1_framing *framing)
{
    enum method method = s->x.request.method;
    framing->length = r->length;
    if (!status_has_body(method, r->status)) {
        bool told = r->length >= 0 && r->status >= 200 && r->status != 204;
        framing->body = told ? H1_BODY_LENGTH : H1_BODY_NONE;
    } else if (r->length >= 0 || !s->body) {
        framing->body = H1_BODY_LENGTH;
        if (!s->body) framing->length = 0;
    } else if (s->x.request.version >= HTTP_1_1) {
        framing->body = H1_BODY_CHUNKED;
    } else {
        framing->body = H1_BODY_UNTIL_CLOSE;
        s->keep_alive = false;
    }
}

static void choose_connection(struct h1_server *s, struct h1_framing *framing)
{
    bool unread_body = s->x.request_body && !s->request_ended;
    bool enough = s->requests >= s->service->limits->requests_per_connection;
    if (unread_body || enough || s->service->draining || s->conn.read_ended) s->keep_alive = false;
    framing->connection = !s->keep_alive                        ? H1_CONNECTION_CLOSE :
                          s->x.request.version < HTTP_1_1 ? H1_CONNECTION_KEEP_ALIVE :
                                                            H1_CONNECTION_PERSIST;
}

static bool print_head(struct h1_server *s, const struct response *r)
{
    struct h1_framing framing = { .lines = r->lines };
    choose_framing(s, r, &framing);
    choose_connection(s, &framing);
    bool has_body = s->body && status_has_body(s->x.request.method, r->status);
    s->framing = has_body ? framing.body : H1_BODY_NONE;
    s->length_left = framing.length;
    if (!has_body) close_body(s);
    size_t n = h1_response_size(r, &framing);
    char *to = conn_reserve(&s->conn, n);
    if (!to) return false;
    conn_commit(&s->conn, h1_print_response(to, r, &framing));
    return true;
}

static void on_body_ready(struct body *b)
{
    struct h1_server *s = b->puller;
    s->ready = true;
    run(s);
}

static void respond(struct exchange *x, const struct response *r, struct body *body)
{
    struct h1_server *s = container_of(x, struct h1_server, x);
    CHECK(s->state == STATE_WAITING);
    s->state = STATE_ANSWERING;
    s->body = body;
    s->continue_owed = false;
    timer_cancel(&s->timer);
    if (body) body->ready = on_body_ready, body->puller = s;
    s->ready = true;
    x->status = r->status;
    x->first_byte_us = s->conn.worker->now_us;
    s->send_began_ms = now_ms(s);
    s->send_began_bytes = s->conn.sent_bytes;
    if (!print_head(s, r)) break_off(s, -E_NO_MEMORY);
    else run(s);
}

static void abort_exchange(struct exchange *x, int error)
{
    struct h1_server *s = container_of(x, struct h1_server, x);
    CHECK(s->state == STATE_WAITING);
    break_off(s, error);
}

static const struct exchange_ops exchange_ops = { interim, respond, abort_exchange };

/* ---- sending the body ---- */

static void queue_piece(struct h1_server *s, struct span *piece)
{
    s->x.body_sent_bytes += piece->n;
    if (s->framing == H1_BODY_CHUNKED) {
        char line[H1_CHUNK_LINE_BYTES];
        conn_write(&s->conn, slice_of(line, h1_print_chunk_line(line, piece->n)));
    }
    if (piece->n <= COPY_MAX && conn_write(&s->conn, span_slice(piece))) span_release(piece);
    else conn_push(&s->conn, piece);
    if (s->framing == H1_BODY_CHUNKED) conn_write(&s->conn, SLICE("\r\n"));
}

/* A body longer than announced must not run into the next response. */
static bool fits_length(struct h1_server *s, const struct span *piece)
{
    if (s->framing != H1_BODY_LENGTH) return true;
    s->length_left -= piece->n;
    return s->length_left >= 0;
}

static bool queue_end(struct h1_server *s)
{
    if (s->framing == H1_BODY_LENGTH) return s->length_left == 0;
    if (s->framing != H1_BODY_CHUNKED) return true;
    const struct fields *trailers = s->x.te_trailers ? s->body->trailers : NULL;
    char *to = conn_reserve(&s->conn, h1_last_chunk_size(trailers));
    if (!to) return false;
    conn_commit(&s->conn, h1_print_last_chunk(to, trailers));
    return true;
}

/* Pulls until the queue is full, the body waits or ends. */
static void pump(struct h1_server *s)
{
    while (s->body && s->ready && conn_has_room(&s->conn)) {
        struct span piece = { 0 };
        enum body_result result = body_pull(s->body, &piece);
        if (result == BODY_WAIT) {
            s->ready = false;
        } else if (result == BODY_DATA && fits_length(s, &piece)) {
            queue_piece(s, &piece);
        } else if (result == BODY_END && queue_end(s)) {
            close_body(s);
        } else {
            int error = result == BODY_FAIL ? s->body->error : -E_RESPONSE_INCOMPLETE;
            span_release(&piece);
            break_off(s, error);
            return;
        }
    }
}

/* What is left of a request's body that nobody read: skipped if it is here, else the connection cannot go on. */
static bool skip_request_body(struct h1_server *s)
{
    if (!s->x.request_body || s->request_ended) return true;
    return false;
}

static void answer(struct h1_server *s)
{
    pump(s);
    if (s->state != STATE_ANSWERING || s->body) return;
    if (s->conn.broken) {
        break_off(s, -E_CLIENT_GONE);
        return;
    }
    if (!skip_request_body(s)) s->keep_alive = false;
    end_exchange(s, 0);
}

/* ---- requests ---- */

static void begin_exchange(struct h1_server *s)
{
    struct exchange *x = &s->x;
    arena_init(&x->arena, ARENA_CHUNK);
    x->request = (struct request){ .length = LENGTH_NONE, .version = HTTP_1_1 };
    x->request_body = NULL;
    x->status = x->error = 0;
    x->first_byte_us = 0;
    x->body_sent_bytes = x->body_received_bytes = 0;
    x->te_trailers = false;
    x->edge = NULL;
    s->request_framing = H1_BODY_NONE;
    s->request_ended = false;
    s->continue_owed = s->body_waiting = false;
    s->requests++;
    scope_init(&x->scope, s->conn.worker, on_exchange_idle);
    scope_enter(&s->scope);
    metric_add(METRIC_EXCHANGES_LIVE, 1);
    s->state = STATE_WAITING;
    timer_cancel(&s->timer);
}

static void take_request(struct h1_server *s, const struct h1_request *r, size_t consumed)
{
    struct exchange *x = &s->x;
    x->request = r->msg;
    if (x->request.scheme.n == 0) x->request.scheme = s->peer.secure ? SLICE("https") : SLICE("http");
    x->te_trailers = r->te_trailers;
    s->keep_alive = r->keep_alive;
    s->head_block = block_hold(s->in);
    consume(s, consumed);
    s->request_framing = r->body;
    if (r->body == H1_BODY_NONE) return;
    s->continue_owed = r->expect_continue;
    s->request_left = r->body == H1_BODY_LENGTH ? (uint64_t)r->msg.length : 0;
    s->request_body = (struct body){ .ops = &request_body_ops };
    x->request_body = &s->request_body;
    if (r->body == H1_BODY_CHUNKED) h1_chunked_init(&s->chunked, &s->limits, &x->arena);
}

static void reject(struct h1_server *s, int error)
{
    s->keep_alive = false;
    s->x.handler->reject(&s->x, error);
}

/* True when a request was taken; the state has changed then. */
static bool next_request(struct h1_server *s)
{
    struct slice in = unread(s);
    if (in.n == 0) return false;
    if (s->scanned == 0) s->x.began_us = s->conn.worker->now_us;
    const struct http_limits *limits = s->service->limits;
    s->limits = (struct h1_limits){ limits->line_bytes, limits->head_bytes, limits->field_count };
    struct h1_request r;
    if (!s->x.arena.chunks) arena_init(&s->x.arena, ARENA_CHUNK);
    int n = h1_parse_request(in, &s->scanned, &s->limits, &s->x.arena, &r);
    if (n == 0) return false;
    s->scanned = 0;
    begin_exchange(s);
    if (n > 0) {
        take_request(s, &r, (size_t)n);
        metric_add_by(METRIC_REQUESTS, r.msg.version == HTTP_1_0 ? METRIC_HTTP_1_0 : METRIC_HTTP_1_1, 1);
        if (s->refuse) reject(s, s->refuse);
        else s->x.handler->begin(&s->x);
    } else {
        reject(s, n);
    }
    return true;
}

/* ---- the machine ---- */

static void wait_for_request(struct h1_server *s)
{
    const struct http_limits *limits = s->service->limits;
    bool begun = unread(s).n > 0;
    if (s->conn.read_ended || (!begun && s->service->draining)) {
        if (conn_queued_bytes(&s->conn) == 0) close_now(s);
    } else if (!begun) {
        set_timer(s, limits->idle_timeout_ms);
    } else if (s->conn.worker->now_us == s->x.began_us || !timer_armed(&s->timer)) {
        set_timer(s, limits->header_timeout_ms);
    }
}

static void ready(struct h1_server *s)
{
    if (s->requests && !s->keep_alive) {
        if (conn_queued_bytes(&s->conn) == 0) linger(s);
        return;
    }
    if (conn_queued_bytes(&s->conn) > OUTPUT_MAX) return;
    if (!next_request(s)) wait_for_request(s);
}

/* Goes on until nothing changes any more; every callback ends here. */
static void run(struct h1_server *s)
{
    if (s->running) return;
    s->running = true;
    for (enum state before = STATE_CLOSING; s->state != before;) {
        before = s->state;
        if (s->state == STATE_READY) ready(s);
        else if (s->state == STATE_ANSWERING) answer(s);
    }
    s->running = false;
    if (s->state == STATE_CLOSING) return;
    conn_flush(&s->conn);
    if (s->state == STATE_ANSWERING && conn_queued_bytes(&s->conn)) {
        set_timer(s, s->service->limits->send_timeout_ms);
    }
}
