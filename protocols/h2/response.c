#include "edge/base/check.h"
#include "edge/base/error.h"
#include "protocols/h2/connection.h"

/* ---- the head ---- */

/* In the arena; nghttp2 copies what it keeps. */
static nghttp2_nv *as_pairs(struct h2_stream *st, const struct fields *f)
{
    nghttp2_nv *pairs = arena_alloc(&st->x.arena, f->n * sizeof *pairs);
    for (uint32_t i = 0; i < f->n; i++) {
        const struct field *from = &f->v[i];
        pairs[i] = (nghttp2_nv){ .name = (uint8_t *)from->name.p,
                                 .namelen = from->name.n,
                                 .value = (uint8_t *)from->value.p,
                                 .valuelen = from->value.n };
    }
    return pairs;
}

static void interim(struct exchange *x, const struct response *r)
{
    struct h2_stream *st = container_of(x, struct h2_stream, x);
    struct fields f = pseudo_response(&x->arena, r, LENGTH_NONE);
    if (!st->id) return;
    nghttp2_submit_headers(st->server->session, NGHTTP2_FLAG_NONE, st->id, NULL, as_pairs(st, &f),
                           f.n, NULL);
    h2_update(st->server);
}

void h2_send_continue(struct h2_stream *st)
{
    static const struct response response = { .status = 100 };
    st->continue_owed = false;
    interim(&st->x, &response);
}

static nghttp2_ssize read_response(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                                   uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)to, (void)user;
    struct h2_stream *st = nghttp2_session_get_stream_user_data(session, id);
    if (!st || st->ended) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    CHECK(st == source->ptr);
    return h2_response_read(st, room, flags);
}

static void on_ready(struct body *b)
{
    struct h2_stream *st = b->puller;
    st->out_waiting = false;
    if (!st->id) return;
    nghttp2_session_resume_data(st->server->session, st->id);
    h2_update(st->server);
}

static void start_body(struct h2_stream *st, struct body *body, int64_t length)
{
    st->body = body;
    st->length_left = length;
    if (!body) return;
    body->ready = on_ready;
    body->puller = st;
}

static void start_timer(struct h2_stream *st)
{
    struct h2_server *s = st->server;
    pace_out_look(&st->pace_out, h2_now_ms(s), st->x.body_sent_bytes);
    timer_set(&h2_worker(s)->wheel, &st->timer, h2_now_ms(s) + h2_limits(s)->send_timeout_ms);
}

static void respond(struct exchange *x, const struct response *r, struct body *body)
{
    struct h2_stream *st = container_of(x, struct h2_stream, x);
    struct h2_server *s = st->server;
    CHECK(!st->answering && !st->ended);
    int64_t length = pseudo_length(x->request.method, r, body != NULL);
    struct fields f = pseudo_response(&x->arena, r, length);
    st->answering = true;
    st->continue_owed = false;
    x->status = r->status;
    if (body && !status_has_body(x->request.method, r->status)) body_close(&body);
    start_body(st, body, length);
    start_timer(st);
    nghttp2_data_provider2 provider = { { .ptr = st }, read_response };
    int rc = nghttp2_submit_response2(s->session, st->id, as_pairs(st, &f), f.n,
                                      body ? &provider : NULL);
    if (rc) {
        h2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
        h2_stream_end(st, -E_NO_MEMORY);
    }
    h2_update(s);
}

static void abort_exchange(struct exchange *x, int error)
{
    struct h2_stream *st = container_of(x, struct h2_stream, x);
    h2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
    h2_stream_end(st, error);
    h2_update(st->server);
}

const struct exchange_ops h2_exchange_ops = { interim, respond, abort_exchange };

/* ---- the body ---- */

/* A body longer or shorter than announced is not whole. */
static bool length_is_wrong(const struct h2_stream *st, const struct span *piece)
{
    if (st->length_left < 0) return false;
    return piece ? (int64_t)piece->n > st->length_left : st->length_left > 0;
}

/* Into next, one piece; or waits, or ends. */
static void pull_ahead(struct h2_stream *st)
{
    if (st->next.block || st->out_waiting || st->out_ended || st->out_error) return;
    enum body_result result = body_pull(st->body, &st->next);
    switch (result) {
    case BODY_DATA:
        if (length_is_wrong(st, &st->next)) st->out_error = -E_RESPONSE_INCOMPLETE;
        if (st->length_left >= 0) st->length_left -= st->next.n;
        break;
    case BODY_WAIT: st->out_waiting = true; break;
    case BODY_END:
        if (length_is_wrong(st, NULL)) st->out_error = -E_RESPONSE_INCOMPLETE;
        st->out_ended = true;
        break;
    case BODY_FAIL: st->out_error = st->body->error; break;
    }
}

static void end_with_trailers(struct h2_stream *st, uint32_t *flags)
{
    const struct fields *trailers = st->x.te_trailers ? st->body->trailers : NULL;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!trailers || !trailers->n) return;
    struct fields f = pseudo_trailers(&st->x.arena, trailers);
    if (nghttp2_submit_trailer(st->server->session, st->id, as_pairs(st, &f), f.n) == 0)
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
}

ssize_t h2_response_read(struct h2_stream *st, size_t room, uint32_t *flags)
{
    if (!st->piece.block) {
        pull_ahead(st);
        if (st->out_error) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        st->piece = st->next;
        st->next = (struct span){ 0 };
        if (!st->piece.block && !st->out_ended) return NGHTTP2_ERR_DEFERRED;
    }
    size_t n = st->piece.n < room ? st->piece.n : room;
    if (n == st->piece.n) pull_ahead(st);
    if (n == st->piece.n && st->out_ended && !st->out_error) end_with_trailers(st, flags);
    if (n) *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    return (ssize_t)n;
}

/* TLS encrypts what lies in one piece: so header and bytes are brought together, behind what other
 * streams have queued. */
bool h2_response_write(struct h2_stream *st, const uint8_t *head, size_t n)
{
    struct h2_server *s = st->server;
    enum { HEAD_BYTES = 9 };
    char *to = h2_may_queue(s) ? conn_reserve(&s->conn, HEAD_BYTES + n) : NULL;
    if (!to) return false;
    memcpy(to, head, HEAD_BYTES);
    memcpy(to + HEAD_BYTES, span_slice(&st->piece).p, n);
    conn_commit(&s->conn, HEAD_BYTES + n);
    st->x.body_sent_bytes += n;
    st->piece.at += (uint32_t)n;
    st->piece.n -= (uint32_t)n;
    if (st->piece.n == 0) span_release(&st->piece);
    return true;
}

static void on_head_sent(struct conn_mark *m)
{
    struct h2_stream *st = container_of(m, struct h2_stream, head_sent);
    st->x.first_byte_us = h2_worker(st->server)->now_us;
}

static void on_all_sent(struct conn_mark *m)
{
    h2_stream_end(container_of(m, struct h2_stream, all_sent), 0);
}

static void mark(struct h2_stream *st, struct conn_mark *m, void (*passed)(struct conn_mark *m))
{
    m->passed = passed;
    if (!conn_mark(&st->server->conn, m)) passed(m);
}

/* The client need not send the rest of its request any more (RFC 9113 section 8.1). Whether it
 * takes what is queued is the connection's concern. */
void h2_response_queued(struct h2_stream *st)
{
    if (st->ended) return;
    if (!st->x.first_byte_us && list_empty(&st->head_sent.link))
        mark(st, &st->head_sent, on_head_sent);
    if (!st->queued) return;
    if (!st->in_ended) h2_stream_reset(st, NGHTTP2_NO_ERROR);
    timer_cancel(&st->timer);
    h2_response_release(st);
    mark(st, &st->all_sent, on_all_sent);
}

void h2_response_release(struct h2_stream *st)
{
    span_release(&st->piece);
    span_release(&st->next);
    body_close(&st->body);
}

/* ---- the client's pace ---- */

/* Only what the client's windows hold back is its doing here: other streams may be before this one,
 * and whether it takes anything at all is seen by the connection. */
static bool client_holds_back(const struct h2_stream *st)
{
    nghttp2_session *session = st->server->session;
    if (!st->id || (!st->piece.block && st->out_waiting)) return false;
    return nghttp2_session_get_remote_window_size(session) <= 0 ||
           nghttp2_session_get_stream_remote_window_size(session, st->id) <= 0;
}

bool h2_client_keeps_up(struct h2_stream *st)
{
    struct h2_server *s = st->server;
    if (!client_holds_back(st))
        st->pace_out = (struct pace_out){ 0 };
    else if (!pace_out_keeps_up(&st->pace_out, h2_limits(s), h2_now_ms(s), st->x.body_sent_bytes))
        return false;
    start_timer(st);
    return true;
}
