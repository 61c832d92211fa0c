#include "edge/base/check.h"
#include "edge/base/error.h"
#include "protocols/h1/connection.h"

#define COPY_MAX 4096 /* smaller pieces of a body are copied behind the head: one buffer, one send */

/* ---- the head ---- */

static void interim(struct exchange *x, const struct response *r)
{
    struct h1_server *s = container_of(x, struct h1_server, x);
    if (x->request.version < HTTP_1_1) return; /* RFC 9110 section 15.2 */
    struct h1_framing framing = { .body = H1_BODY_NONE };
    char *to = conn_reserve(&s->conn, h1_response_size(r, &framing));
    if (!to) return;
    conn_commit(&s->conn, h1_print_response(to, r, &framing));
    conn_flush(&s->conn);
}

/* How the body's end will be told (RFC 9112 section 6). */
static void choose_framing(struct h1_server *s, const struct response *r, struct h1_framing *framing)
{
    framing->length = r->length;
    if (!status_has_body(s->x.request.method, r->status)) {
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
    bool enough = s->requests >= s->service->limits->requests_per_connection;
    if (!s->request_ended || enough || s->service->draining || s->conn.read_ended) s->keep_alive = false;
    framing->connection = !s->keep_alive                  ? H1_CONNECTION_CLOSE :
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
    if (!has_body) body_close(&s->body);
    char *to = conn_reserve(&s->conn, h1_response_size(r, &framing));
    if (!to) return false;
    conn_commit(&s->conn, h1_print_response(to, r, &framing));
    return true;
}

static void on_body_ready(struct body *b)
{
    struct h1_server *s = b->puller;
    s->body_ready = true;
    h1_server_run(s);
}

static void respond(struct exchange *x, const struct response *r, struct body *body)
{
    struct h1_server *s = container_of(x, struct h1_server, x);
    CHECK(s->state == STATE_WAITING);
    s->state = STATE_ANSWERING;
    s->body = body;
    s->body_ready = true;
    s->continue_owed = false;
    timer_cancel(&s->timer);
    if (body) body->ready = on_body_ready, body->puller = s;
    x->status = r->status;
    x->first_byte_us = s->conn.worker->now_us;
    s->send_began_ms = 0;
    if (!print_head(s, r)) h1_break_off(s, -E_NO_MEMORY);
    else h1_server_run(s);
}

static void abort_exchange(struct exchange *x, int error)
{
    struct h1_server *s = container_of(x, struct h1_server, x);
    CHECK(s->state == STATE_WAITING);
    h1_break_off(s, error);
}

const struct exchange_ops h1_exchange_ops = { interim, respond, abort_exchange };

/* ---- the body ---- */

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
    while (s->body && s->body_ready && conn_has_room(&s->conn)) {
        struct span piece = { 0 };
        enum body_result result = body_pull(s->body, &piece);
        if (result == BODY_WAIT) {
            s->body_ready = false;
        } else if (result == BODY_DATA && fits_length(s, &piece)) {
            queue_piece(s, &piece);
        } else if (result == BODY_END && queue_end(s)) {
            body_close(&s->body);
        } else {
            int error = result == BODY_FAIL ? s->body->error : -E_RESPONSE_INCOMPLETE;
            span_release(&piece);
            h1_break_off(s, error);
            return;
        }
    }
}

/* Where the rest is small the next request need not wait for the client to take it. */
void h1_answer(struct h1_server *s)
{
    pump(s);
    if (s->state != STATE_ANSWERING || s->body || conn_queued_bytes(&s->conn) > OUTPUT_MAX) return;
    if (!s->request_ended) s->keep_alive = false;
    h1_end_exchange(s, 0);
}

/* ---- the client's pace ---- */

/* What the client's side has acknowledged: the kernel's buffer may take a megabyte from us at once and be minutes in
 * passing it on. */
void h1_watch_client(struct h1_server *s)
{
    if (timer_armed(&s->timer) || conn_queued_bytes(&s->conn) == 0) return;
    s->progress_bytes = conn_acknowledged_bytes(&s->conn);
    if (s->send_began_ms == 0) {
        s->send_began_ms = h1_now_ms(s);
        s->send_began_bytes = s->progress_bytes;
    }
    h1_set_timer(s, s->service->limits->send_timeout_ms);
}

bool h1_client_keeps_up(struct h1_server *s)
{
    const struct http_limits *limits = s->service->limits;
    uint64_t at = conn_acknowledged_bytes(&s->conn);
    if (at == s->progress_bytes) return false;
    int64_t since_ms = h1_now_ms(s) - s->send_began_ms;
    if (!limits->rate_min_bytes || since_ms <= limits->rate_grace_ms) return true;
    return (int64_t)(at - s->send_began_bytes) >= limits->rate_min_bytes * (since_ms / 1000);
}
