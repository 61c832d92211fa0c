#include "protocols/h3/stream.h"

#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"

/* ---- spans ---- */

#define SPANS_FIRST 4

struct span *h3_spans_first(struct h3_spans *q)
{
    return q->count ? &q->v[q->first] : NULL;
}

static void spans_grow(struct h3_spans *q)
{
    unsigned cap = q->cap ? 2 * q->cap : SPANS_FIRST;
    struct span *v = xmalloc(cap * sizeof *v);
    for (unsigned i = 0; i < q->count; i++) v[i] = q->v[(q->first + i) & (q->cap - 1)];
    free(q->v);
    *q = (struct h3_spans){ v, 0, q->count, cap };
}

void h3_spans_push(struct h3_spans *q, struct span *span)
{
    CHECK(q->count < H3_SPANS_MAX);
    if (q->count == q->cap) spans_grow(q);
    q->v[(q->first + q->count++) & (q->cap - 1)] = *span;
    *span = (struct span){ 0 };
}

void h3_spans_pop(struct h3_spans *q)
{
    q->first = (q->first + 1) & (q->cap - 1);
    q->count--;
}

void h3_spans_free(struct h3_spans *q)
{
    for (struct span *s; (s = h3_spans_first(q)); h3_spans_pop(q)) span_release(s);
    free(q->v);
    *q = (struct h3_spans){ 0 };
}

/* ---- a stream's life ---- */

void h3_stream_free(struct h3_stream *s)
{
    struct h3_session *session = s->session;
    session->held_bytes -= s->out_bytes;
    timer_cancel(&s->timer);
    inbox_consume(&s->in, s->x.worker, inbox_unread(&s->in).n);
    h3_spans_free(&s->out);
    list_remove(&s->link);
    list_remove(&s->full_link);
    h3_session_forget(session, s);
    struct arena own = s->x.arena;
    arena_free(&own);
    session->stream_count--;
    session->transport->released(session);
}

static void on_exchange_idle(struct scope *scope)
{
    struct h3_stream *s = container_of(scope, struct h3_stream, x.scope);
    struct scope *connection = s->session->scope;
    s->idle = true;
    metric_add(METRIC_EXCHANGES_LIVE, -1);
    if (s->closed) h3_stream_free(s);
    scope_leave(connection);
}

static void on_timer(struct timer *t)
{
    struct h3_stream *s = container_of(t, struct h3_stream, timer);
    if (!s->begun) {
        h3_stream_begin(s, -E_HEADER_TIMEOUT);
        return;
    }
    if (s->in_waiting && h3_now_ms(s) - s->pace_in.began_ms >= h3_limits(s)->body_timeout_ms)
        h3_fail_request_body(s, -E_BODY_TIMEOUT);
    if (!s->answering || timer_armed(&s->timer)) return; /* armed: it has just been answered */
    if (h3_client_keeps_up(s))
        h3_watch_client(s);
    else
        h3_stream_break_off(s, -E_CLIENT_SLOW, NGHTTP3_H3_REQUEST_CANCELLED);
}

struct h3_stream *h3_stream_new(struct h3_session *session, int64_t id)
{
    struct arena own;
    arena_init(&own, ARENA_CHUNK_BYTES);
    struct h3_stream *s = arena_new(&own, struct h3_stream); /* which lives in its own arena */
    struct worker *w = session->client->service->worker;
    s->session = session;
    s->id = id;
    s->x.ops = &h3_exchange_ops;
    s->x.handler = session->client->service->handler;
    s->x.peer = &session->client->peer;
    s->x.worker = w;
    s->x.began_us = w->now_us;
    s->x.request.length = LENGTH_NONE;
    s->x.arena = own;
    list_init(&s->written_link);
    timer_init(&s->timer, on_timer);
    timer_set(&w->wheel, &s->timer, worker_now_ms(w) + h3_limits(s)->header_timeout_ms);
    list_append(&session->streams, &s->link);
    list_init(&s->full_link);
    h3_session_remember(session, s);
    session->stream_count++;
    return s;
}

/* As in HTTP/2: the streams of a client that has given no priority share the connection. nghttp3
 * lets it change that of a later stream only. */
static void choose_priority(struct h3_stream *s)
{
    struct h3_session *session = s->session;
    const nghttp3_pri shared = { .urgency = NGHTTP3_DEFAULT_URGENCY, .inc = 1 };
    nghttp3_pri told;
    int rc = nghttp3_conn_get_stream_priority(session->http, &told, s->id);
    bool updated = rc == 0 && (told.urgency != NGHTTP3_DEFAULT_URGENCY || told.inc);
    session->prioritises |= s->head->has_priority || updated;
    if (!session->prioritises)
        nghttp3_conn_set_server_stream_priority(session->http, s->id, &shared);
}

static void take_head(struct h3_stream *s)
{
    choose_priority(s);
    s->x.request = s->head->request;
    s->x.te_trailers = s->head->te_trailers;
    s->continue_owed = s->head->expect_continue && !s->in_ended;
    if (!s->in_ended || s->x.request.length >= 0) h3_open_request_body(s);
}

void h3_stream_begin(struct h3_stream *s, int error)
{
    struct exchange *x = &s->x;
    s->begun = true;
    s->session->requests++;
    timer_cancel(&s->timer);
    scope_init(&x->scope, x->worker, on_exchange_idle);
    scope_enter(s->session->scope);
    metric_add(METRIC_EXCHANGES_LIVE, 1);
    x->early = s->session->early;
    if (error == 0)
        take_head(s);
    else if (s->head)
        x->refused_line = pseudo_line(s->head, EXCHANGE_LINE_BYTES);
    s->head = NULL;
    x->request.version = HTTP_3;
    if (error)
        x->handler->reject(x, error);
    else
        x->handler->begin(x);
}

static void drop_input(struct h3_stream *s)
{
    size_t n = inbox_unread(&s->in).n;
    if (n == 0) return;
    s->session->transport->consumed(s->session, s->id, n);
    inbox_consume(&s->in, s->x.worker, n);
}

void h3_stream_end(struct h3_stream *s, int error)
{
    struct exchange *x = &s->x;
    if (s->ended) return;
    s->ended = true;
    s->answering = s->in_waiting = false;
    list_remove(&s->written_link);
    if (!x->ended_us) x->ended_us = x->worker->now_us;
    if (error && !x->error) x->error = error;
    timer_cancel(&s->timer);
    body_close(&s->body);
    h3_refuse_request_body(s);
    x->handler->end(x);
    scope_close(&x->scope);
}

void h3_refuse_request_body(struct h3_stream *s)
{
    if (s->closed) return;
    drop_input(s);
    if (s->in_ended || s->in_refused) return;
    s->in_refused = true;
    s->session->transport->stop(s->session, s->id, NGHTTP3_H3_NO_ERROR);
    nghttp3_conn_shutdown_stream_read(s->session->http, s->id);
}

void h3_stream_break_off(struct h3_stream *s, int error, uint64_t code)
{
    struct h3_session *session = s->session;
    if (!s->closed) {
        session->transport->reset(session, s->id, code);
        nghttp3_conn_shutdown_stream_write(session->http, s->id);
    }
    if (!s->closed && !s->in_ended && !s->in_refused) {
        s->in_refused = true;
        session->transport->stop(session, s->id, code);
        nghttp3_conn_shutdown_stream_read(session->http, s->id);
    }
    timer_cancel(&s->timer);
    if (s->begun) h3_stream_end(s, error);
}

/* While a request is being answered, its exchange says so in the log. */
void h3_stream_refuse(struct h3_stream *s, int error)
{
    h3_session_waste(s->session, FLOOD_ERROR);
    if (!s->begun) metric_add_by(METRIC_ERRORS, -error, 1);
    h3_stream_break_off(s, error, NGHTTP3_H3_MESSAGE_ERROR);
}
