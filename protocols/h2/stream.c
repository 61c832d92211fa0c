#include "edge/base/error.h"
#include "edge/base/metrics.h"
#include "protocols/h2/connection.h"

/* ---- life ---- */

static void on_exchange_idle(struct scope *scope)
{
    struct h2_stream *st = container_of(scope, struct h2_stream, x.scope);
    struct h2_server *s = st->server;
    if (st->id) nghttp2_session_set_stream_user_data(s->session, st->id, NULL);
    list_remove(&st->link);
    s->queued_count -= st->queued;
    struct arena own = st->x.arena;
    arena_free(&own);
    s->stream_count--;
    metric_add(METRIC_EXCHANGES_LIVE, -1);
    scope_leave(&s->scope);
    h2_update(s);
}

static void on_timer(struct timer *t);

struct h2_stream *h2_stream_open(struct h2_server *s, int32_t id)
{
    struct arena own;
    arena_init(&own, ARENA_CHUNK_BYTES);
    struct h2_stream *st = arena_new(&own, struct h2_stream); /* which lives in its own arena */
    struct worker *w = h2_worker(s);
    st->server = s;
    st->id = id;
    st->x.ops = &h2_exchange_ops;
    st->x.handler = s->client.service->handler;
    st->x.peer = &s->client.peer;
    st->x.worker = w;
    st->x.began_us = w->now_us;
    st->x.arena = own;
    scope_init(&st->x.scope, w, on_exchange_idle);
    scope_enter(&s->scope);
    timer_init(&st->timer, on_timer);
    list_init(&st->head_sent.link);
    list_init(&st->all_sent.link);
    list_append(&s->streams, &st->link);
    list_init(&st->head_link);
    s->stream_count++;
    metric_add(METRIC_EXCHANGES_LIVE, 1);
    st->section = arena_alloc(&st->x.arena, sizeof *st->section);
    pseudo_begin(st->section, h2_limits(s), &st->x.arena);
    return st;
}

/* What nobody will read counts as read. */
static void discard_input(struct h2_stream *st)
{
    size_t n = inbox_unread(&st->in).n;
    if (n && st->id) nghttp2_session_consume_stream(st->server->session, st->id, n);
    inbox_clear(&st->in, h2_worker(st->server));
}

void h2_stream_end(struct h2_stream *st, int error)
{
    struct exchange *x = &st->x;
    if (st->ended) return;
    st->ended = true;
    list_remove(&st->head_link);
    list_remove(&st->head_sent.link);
    list_remove(&st->all_sent.link);
    x->ended_us = h2_worker(st->server)->now_us;
    if (error && !x->error) x->error = error;
    timer_cancel(&st->timer);
    h2_response_release(st);
    st->in_waiting = false;
    discard_input(st);
    if (st->begun) x->handler->end(x);
    scope_close(&x->scope);
}

void h2_stream_reset(struct h2_stream *st, uint32_t code)
{
    if (st->id) nghttp2_submit_rst_stream(st->server->session, NGHTTP2_FLAG_NONE, st->id, code);
}

void h2_stream_closed(struct h2_stream *st)
{
    st->id = 0;
    if (st->queued) return;
    h2_stream_end(st, st->out_error ? st->out_error : st->in_error ? st->in_error : -E_CLIENT_GONE);
}

/* ---- the head ---- */

static void open_body(struct h2_stream *st);

/* By RFC 9218 section 10 a response without a priority comes whole before the next one. That is for
 * clients that know of priorities: the streams of one that has given none share the connection. */
static void choose_priority(struct h2_stream *st)
{
    struct h2_server *s = st->server;
    nghttp2_extpri shared = { .urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1 };
    s->prioritises |= st->section->has_priority;
    if (!s->prioritises)
        nghttp2_session_change_extpri_stream_priority(s->session, st->id, &shared, 0);
}

static void begin(struct h2_stream *st)
{
    struct exchange *x = &st->x;
    st->begun = true;
    st->server->requests++;
    if (st->server->refuse)
        x->handler->reject(x, st->server->refuse);
    else
        x->handler->begin(x);
}

/* A body that came with the head, and is longer or shorter than that says, is seen before the
 * origin hears of the request. */
static void take_head(struct h2_stream *st, bool ended)
{
    struct exchange *x = &st->x;
    choose_priority(st);
    x->request = st->section->request;
    x->request.version = HTTP_2;
    x->te_trailers = st->section->te_trailers;
    st->continue_owed = st->section->expect_continue && !ended;
    if (!ended || x->request.length >= 0) open_body(st);
    if (ended)
        begin(st);
    else
        list_append(&st->server->heads, &st->head_link);
}

void h2_streams_begin(struct h2_server *s)
{
    for (struct list *link; (link = list_pop(&s->heads));)
        begin(container_of(link, struct h2_stream, head_link));
}

static void reject(struct h2_stream *st, int error)
{
    st->begun = true;
    st->server->requests++;
    st->x.refused_line = pseudo_line(st->section, EXCHANGE_LINE_BYTES);
    st->x.request = (struct request){ .length = LENGTH_NONE, .version = HTTP_2 };
    st->x.handler->reject(&st->x, error);
}

/* What is malformed gets no answer but the stream's end (RFC 9113 section 8.1.1). */
static void refuse(struct h2_stream *st, int error)
{
    metric_add_by(METRIC_ERRORS, -error, 1);
    h2_stream_reset(st, NGHTTP2_PROTOCOL_ERROR);
    h2_stream_end(st, error);
}

static void take_trailers(struct h2_stream *st)
{
    int rc = pseudo_finish_trailers(st->section);
    st->trailers = st->section->request.fields;
    if (rc == 0) return;
    st->in_error = rc;
    h2_stream_reset(st, NGHTTP2_PROTOCOL_ERROR);
}

void h2_stream_section_end(struct h2_stream *st, bool ended)
{
    struct pseudo *section = st->section;
    if (st->ended) return;
    if (section->trailers) {
        take_trailers(st);
    } else {
        int rc = pseudo_finish(section, ended);
        bool can_be_answered = rc == -E_HEADER_TOO_LARGE || rc == -E_URI_TOO_LONG;
        if (rc == 0)
            take_head(st, ended);
        else if (can_be_answered)
            reject(st, rc);
        else
            refuse(st, rc);
    }
    st->section = NULL;
}

/* ---- the body ---- */

static void wake(struct h2_stream *st)
{
    if (!st->in_waiting) return;
    st->in_waiting = false;
    pace_in_go_on(&st->pace_in, h2_now_ms(st->server));
    if (!st->answering) timer_cancel(&st->timer);
    st->request_body.ready(&st->request_body);
}

/* The connection's window is given back at once, so that uploads that stand still take nothing from
 * the others; their own windows bound what waits here. */
void h2_stream_data(struct h2_stream *st, struct slice bytes)
{
    struct h2_server *s = st->server;
    bool wanted = st->x.request_body && !st->ended && !st->in_error;
    if (wanted && inbox_append(&st->in, h2_worker(s), bytes)) {
        nghttp2_session_consume_connection(s->session, bytes.n);
        wake(st);
        return;
    }
    nghttp2_session_consume(s->session, st->id, bytes.n);
    if (wanted) st->in_error = -E_NO_MEMORY, wake(st);
}

void h2_stream_input_end(struct h2_stream *st)
{
    st->in_ended = true;
    if (!st->ended) wake(st);
}

static enum body_result failed(struct h2_stream *st, int error)
{
    st->request_body.error = error;
    return BODY_FAIL;
}

static enum body_result wait_for_more(struct h2_stream *st)
{
    struct h2_server *s = st->server;
    const struct http_limits *limits = h2_limits(s);
    if (!st->id) return failed(st, -E_CLIENT_GONE);
    if (pace_in_is_slow(&st->pace_in, limits, st->x.body_received_bytes))
        return failed(st, -E_BODY_TIMEOUT);
    st->in_waiting = true;
    pace_in_wait(&st->pace_in, h2_now_ms(s));
    if (!timer_armed(&st->timer))
        timer_set(&h2_worker(s)->wheel, &st->timer, h2_now_ms(s) + limits->body_timeout_ms);
    return BODY_WAIT;
}

/* What is handed out is credited to the stream: the client may send as much again. */
static void hand_out(struct h2_stream *st, struct span *out)
{
    struct slice data = inbox_unread(&st->in);
    *out = inbox_span(&st->in, data);
    st->x.body_received_bytes += data.n;
    inbox_consume(&st->in, h2_worker(st->server), data.n);
    if (st->id) nghttp2_session_consume_stream(st->server->session, st->id, data.n);
}

static enum body_result pull(struct body *b, struct span *out)
{
    struct h2_stream *st = container_of(b, struct h2_stream, request_body);
    if (st->in_error) return failed(st, st->in_error);
    if (st->continue_owed && inbox_unread(&st->in).n == 0) h2_send_continue(st);
    enum body_result result = BODY_DATA;
    if (inbox_unread(&st->in).n) {
        hand_out(st, out);
    } else if (st->in_ended) {
        if (st->trailers.n) b->trailers = &st->trailers;
        result = BODY_END;
    } else {
        result = wait_for_more(st);
    }
    h2_update(st->server);
    return result;
}

/* Owned by the stream: what still comes is thrown away. */
static void close_body(struct body *b)
{
    struct h2_stream *st = container_of(b, struct h2_stream, request_body);
    st->in_waiting = false;
    st->x.request_body = NULL;
    discard_input(st);
}

static const struct body_ops request_body_ops = { .pull = pull, .close = close_body };

static void open_body(struct h2_stream *st)
{
    st->request_body = (struct body){ .ops = &request_body_ops };
    st->x.request_body = &st->request_body;
}

/* ---- time ---- */

static void on_timer(struct timer *t)
{
    struct h2_stream *st = container_of(t, struct h2_stream, timer);
    struct h2_server *s = st->server;
    int64_t waited_ms = h2_now_ms(s) - st->pace_in.began_ms;
    if (st->in_waiting && waited_ms >= h2_limits(s)->body_timeout_ms) {
        st->in_error = -E_BODY_TIMEOUT;
        wake(st);
    }
    bool just_answered = timer_armed(&st->timer);
    if (st->answering && !st->ended && !just_answered && !h2_client_keeps_up(st)) {
        h2_stream_reset(st, NGHTTP2_CANCEL);
        h2_stream_end(st, -E_CLIENT_SLOW);
    }
    h2_update(s);
}
