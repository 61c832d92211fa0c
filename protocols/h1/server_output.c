#include "edge/base/check.h"
#include "edge/base/error.h"
#include "protocols/h1/connection.h"

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
static void choose_framing(struct h1_server *s, const struct response *r, bool has_body,
                           struct h1_framing *framing)
{
    framing->length = r->length;
    if (!status_has_body(s->x.request.method, r->status)) {
        bool told = r->length >= 0 && r->status >= 200 && r->status != 204;
        framing->body = told ? H1_BODY_LENGTH : H1_BODY_NONE;
    } else if (r->length >= 0 || !has_body) {
        framing->body = H1_BODY_LENGTH;
        if (!has_body) framing->length = 0;
    } else if (s->x.request.version >= HTTP_1_1) {
        framing->body = H1_BODY_CHUNKED;
    } else {
        framing->body = H1_BODY_UNTIL_CLOSE;
        s->keep_alive = false;
    }
}

static void choose_connection(struct h1_server *s, struct h1_framing *framing)
{
    bool enough = s->requests >= s->client.service->limits->requests_per_connection;
    bool was_last = s->conn.read_ended && inbox_unread(&s->in).n == 0;
    if (!s->request_ended || enough || s->client.service->draining || was_last)
        s->keep_alive = false;
    framing->connection = !s->keep_alive                    ? H1_CONNECTION_CLOSE
                          : s->x.request.version < HTTP_1_1 ? H1_CONNECTION_KEEP_ALIVE
                                                            : H1_CONNECTION_PERSIST;
}

static void on_head_sent(struct conn_mark *m)
{
    struct h1_server *s = container_of(m, struct h1_server, head_sent);
    s->x.first_byte_us = s->conn.worker->now_us;
}

static void on_more(struct h1_sender *sender)
{
    h1_server_run(container_of(sender, struct h1_server, response));
}

/* Takes the body. */
static bool start_response(struct h1_server *s, const struct response *r, struct body *body)
{
    struct h1_framing framing = { .lines = r->lines };
    choose_framing(s, r, body != NULL, &framing);
    choose_connection(s, &framing);
    if (body && !status_has_body(s->x.request.method, r->status)) body_close(&body);
    h1_sender_start(&s->response, &s->conn, body, framing.body, framing.length, on_more);
    s->response.trailers = s->x.te_trailers;
    char *to = conn_reserve(&s->conn, h1_response_size(r, &framing));
    if (!to) return false;
    conn_commit(&s->conn, h1_print_response(to, r, &framing));
    s->head_sent.passed = on_head_sent;
    conn_mark(&s->conn, &s->head_sent);
    return true;
}

static void respond(struct exchange *x, const struct response *r, struct body *body)
{
    struct h1_server *s = container_of(x, struct h1_server, x);
    CHECK(s->state == STATE_WAITING);
    s->state = STATE_ANSWERING;
    s->continue_owed = false;
    timer_cancel(&s->timer);
    x->status = r->status;
    s->pace_out = (struct pace_out){ 0 };
    if (!start_response(s, r, body))
        h1_break_off(s, -E_NO_MEMORY);
    else
        h1_server_run(s);
}

static void abort_exchange(struct exchange *x, int error)
{
    struct h1_server *s = container_of(x, struct h1_server, x);
    CHECK(s->state == STATE_WAITING);
    h1_break_off(s, error);
}

const struct exchange_ops h1_exchange_ops = { interim, respond, abort_exchange };

/* With the next request here already, a small response leaves in one send with that one's; unless
 * the client takes nothing at present. */
static bool may_share_send(const struct h1_server *s)
{
    return s->keep_alive && inbox_unread(&s->in).n && !conn_is_sending(&s->conn) &&
           conn_queued_bytes(&s->conn) <= OUTPUT_MAX;
}

/* It has ended when the kernel has all of it: on_drained comes back here. */
void h1_answer(struct h1_server *s)
{
    int rc = h1_sender_pump(&s->response);
    s->x.body_sent_bytes = s->response.body_bytes;
    if (rc < 0) h1_break_off(s, rc);
    if (rc || (conn_queued_bytes(&s->conn) && !may_share_send(s))) return;
    if (!s->request_ended) s->keep_alive = false;
    h1_end_exchange(s, 0);
}

/* ---- the client's pace ---- */

/* What the client's side has acknowledged: the kernel's buffer may take a megabyte from us at once
 * and be minutes in passing it on. */
static void look_at_client(struct h1_server *s)
{
    pace_out_look(&s->pace_out, h1_now_ms(s), conn_acknowledged_bytes(&s->conn));
}

/* A response that has only to be taken is gone in a moment: looking would cost it a system call. */
void h1_watch_client(struct h1_server *s)
{
    if (timer_armed(&s->timer) || conn_queued_bytes(&s->conn) == 0) return;
    if (s->response.body || s->pace_out.began_ms) look_at_client(s);
    h1_set_timer(s, s->client.service->limits->send_timeout_ms);
}

bool h1_client_keeps_up(struct h1_server *s)
{
    if (s->pace_out.began_ms == 0) {
        look_at_client(s);
        return true;
    }
    return pace_out_keeps_up(&s->pace_out, s->client.service->limits, h1_now_ms(s),
                             conn_acknowledged_bytes(&s->conn));
}
