#include "edge/base/error.h"
#include "protocols/h1/connection.h"

/* Unread bytes a client may have waiting here, unless a head may be larger. */
#define INPUT_MAX (64 * 1024)

void h1_regulate_input(struct h1_server *s)
{
    size_t head = s->client.service->limits->head_bytes + s->client.service->limits->line_bytes;
    size_t max = head > INPUT_MAX ? head : INPUT_MAX;
    size_t waiting = inbox_unread(&s->in).n;
    if (waiting >= max)
        conn_recv_stop(&s->conn);
    else if (!s->conn.reading && !s->conn.read_ended && waiting < max / 2)
        conn_recv_start(&s->conn);
}

/* ---- the request's body ---- */

static void send_continue(struct h1_server *s)
{
    s->continue_owed = false;
    conn_write(&s->conn, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
    conn_flush(&s->conn);
}

static enum body_result failed(struct h1_server *s, int error)
{
    s->request_body.error = error;
    s->keep_alive = false;
    return BODY_FAIL;
}

static enum body_result ended(struct h1_server *s)
{
    s->request_ended = true;
    if (s->request_framing == H1_BODY_CHUNKED) s->request_body.trailers = &s->chunked.trailers;
    return BODY_END;
}

static enum body_result wait_for_more(struct h1_server *s)
{
    if (s->conn.read_ended) return failed(s, -E_CLIENT_GONE);
    if (pace_in_is_slow(&s->pace_in, s->client.service->limits, s->x.body_received_bytes))
        return failed(s, -E_BODY_TIMEOUT);
    s->body_waiting = true;
    pace_in_wait(&s->pace_in, h1_now_ms(s));
    if (!s->running && !timer_armed(&s->timer))
        h1_set_timer(s, s->client.service->limits->body_timeout_ms);
    return BODY_WAIT;
}

static void hand_out(struct h1_server *s, struct slice data, struct span *out)
{
    *out = inbox_span(&s->in, data);
    s->x.body_received_bytes += data.n;
}

static enum body_result pull_length(struct h1_server *s, struct span *out)
{
    struct slice data = inbox_unread(&s->in);
    if (s->request_left == 0) return ended(s);
    if (data.n == 0) return wait_for_more(s);
    if (data.n > s->request_left) data.n = s->request_left;
    s->request_left -= data.n;
    hand_out(s, data, out);
    inbox_consume(&s->in, s->conn.worker, data.n);
    return BODY_DATA;
}

static enum body_result pull_chunked(struct h1_server *s, struct span *out)
{
    struct slice in = inbox_unread(&s->in), data;
    size_t before = in.n;
    int what = h1_chunked_next(&s->chunked, &in, &data);
    if (what == H1_CHUNK_DATA) hand_out(s, data, out);
    inbox_consume(&s->in, s->conn.worker, before - in.n);
    if (what == H1_CHUNK_DATA) return BODY_DATA;
    if (what == H1_CHUNK_END) return ended(s);
    return what == H1_CHUNK_MORE ? wait_for_more(s) : failed(s, -E_BAD_FRAMING);
}

static enum body_result pull(struct body *b, struct span *out)
{
    struct h1_server *s = container_of(b, struct h1_server, request_body);
    if (s->request_error) return failed(s, s->request_error);
    if (s->continue_owed) send_continue(s);
    enum body_result result =
        s->request_framing == H1_BODY_CHUNKED ? pull_chunked(s, out) : pull_length(s, out);
    h1_regulate_input(s);
    return result;
}

/* Owned by the connection: what is left of it is dealt with when the response is finished. */
static void close_body(struct body *b)
{
    struct h1_server *s = container_of(b, struct h1_server, request_body);
    s->body_waiting = false;
}

static const struct body_ops request_body_ops = { .pull = pull, .close = close_body };

void h1_open_request_body(struct h1_server *s, const struct h1_request *r)
{
    s->request_framing = r->body;
    s->request_ended = r->body == H1_BODY_NONE;
    s->continue_owed = s->body_waiting = false;
    s->request_error = 0;
    if (r->body == H1_BODY_NONE) return;
    s->continue_owed = r->expect_continue;
    s->request_left = r->body == H1_BODY_LENGTH ? (uint64_t)r->msg.length : 0;
    s->pace_in = (struct pace_in){ 0 };
    s->request_body = (struct body){ .ops = &request_body_ops };
    s->x.request_body = &s->request_body;
    if (r->body == H1_BODY_CHUNKED) h1_chunked_init(&s->chunked, &s->limits, &s->x.arena);
    if (r->body == H1_BODY_LENGTH && s->request_left == 0) s->request_ended = true;
}

void h1_wake_request_body(struct h1_server *s)
{
    if (!s->body_waiting) return;
    s->body_waiting = false;
    pace_in_go_on(&s->pace_in, h1_now_ms(s));
    timer_cancel(&s->timer);
    s->request_body.ready(&s->request_body);
}

void h1_fail_request_body(struct h1_server *s, int error)
{
    s->request_error = error;
    h1_wake_request_body(s);
}
