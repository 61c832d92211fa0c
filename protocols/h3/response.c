#include "edge/base/check.h"
#include "edge/base/error.h"
#include "protocols/h3/stream.h"

/* Of responses that the client has not acknowledged: of one, and of all on a connection. Most of it
 * is the cache's own memory, held a little longer. A connection's throughput is at most this in a
 * round trip. */
#define STREAM_HELD_MAX  (2 * 1024 * 1024)
#define SESSION_HELD_MAX (4 * 1024 * 1024)
/* Of body for one DATA frame; a single piece may be more. */
#define FRAME_BYTES (32 * 1024)

/* ---- the head ---- */

static nghttp3_nv *as_pairs(struct arena *a, const struct fields *f)
{
    nghttp3_nv *v = arena_alloc(a, (f->n + 1) * sizeof *v);
    for (uint32_t i = 0; i < f->n; i++) {
        struct slice name = f->v[i].name, value = f->v[i].value;
        v[i] = (nghttp3_nv){ .name = (uint8_t *)name.p,
                             .value = (uint8_t *)value.p,
                             .namelen = name.n,
                             .valuelen = value.n,
                             .flags = NGHTTP3_NV_FLAG_NONE };
    }
    return v;
}

static void interim(struct exchange *x, const struct response *r)
{
    struct h3_stream *s = container_of(x, struct h3_stream, x);
    if (s->closed) return;
    struct fields f = pseudo_response(&x->arena, r, LENGTH_NONE);
    nghttp3_conn_submit_info(s->session->http, s->id, as_pairs(&x->arena, &f), f.n);
    s->session->transport->wake(s->session);
}

void h3_send_continue(struct h3_stream *s)
{
    static const struct response response = { .status = 100 };
    s->continue_owed = false;
    interim(&s->x, &response);
}

static void on_ready(struct body *b)
{
    struct h3_stream *s = b->puller;
    s->body_waiting = false;
    if (s->closed) return;
    nghttp3_conn_resume_stream(s->session->http, s->id);
    s->session->transport->wake(s->session);
}

static int submit(struct h3_stream *s, const struct response *r)
{
    static const nghttp3_data_reader reader = { h3_read_response };
    struct arena *a = &s->x.arena;
    int64_t length = pseudo_length(s->x.request.method, r, s->body != NULL);
    struct fields f = pseudo_response(a, r, length);
    return nghttp3_conn_submit_response(s->session->http, s->id, as_pairs(a, &f), f.n,
                                        s->body ? &reader : NULL);
}

static void respond(struct exchange *x, const struct response *r, struct body *body)
{
    struct h3_stream *s = container_of(x, struct h3_stream, x);
    CHECK(!s->answering && !s->ended);
    if (body && !status_has_body(x->request.method, r->status)) body_close(&body);
    if (body) body->ready = on_ready, body->puller = s;
    s->body = body;
    s->length_left = r->length >= 0 ? r->length : LENGTH_UNKNOWN;
    s->answering = true;
    s->continue_owed = false;
    x->status = r->status;
    timer_cancel(&s->timer);
    if (submit(s, r) != 0) {
        h3_stream_break_off(s, -E_NO_MEMORY, NGHTTP3_H3_INTERNAL_ERROR);
        return;
    }
    h3_watch_client(s);
    s->session->transport->wake(s->session);
}

static void abort_exchange(struct exchange *x, int error)
{
    struct h3_stream *s = container_of(x, struct h3_stream, x);
    CHECK(!s->answering);
    h3_stream_break_off(s, error, NGHTTP3_H3_INTERNAL_ERROR);
}

const struct exchange_ops h3_exchange_ops = { interim, respond, abort_exchange };

/* ---- the body ---- */

/* Later, when nghttp3 has returned. */
static nghttp3_ssize fail(struct h3_stream *s, int error)
{
    s->failed = error;
    list_remove(&s->link);
    list_append(&s->session->broken, &s->link);
    return NGHTTP3_ERR_WOULDBLOCK;
}

/* A body longer than announced must not be sent, nor a shorter one seem whole. */
static bool fits_length(struct h3_stream *s, const struct span *piece)
{
    if (s->length_left == LENGTH_UNKNOWN) return true;
    if (s->length_left < piece->n) return false;
    s->length_left -= piece->n;
    return true;
}

static void hold(struct h3_stream *s, struct span *piece, nghttp3_vec *v)
{
    struct slice bytes = span_slice(piece);
    h3_spans_push(&s->out, piece);
    s->out_bytes += bytes.n;
    s->session->held_bytes += bytes.n;
    s->x.body_sent_bytes += bytes.n;
    *v = (nghttp3_vec){ (uint8_t *)bytes.p, bytes.n };
}

static int submit_trailers(struct h3_stream *s, uint32_t *flags)
{
    const struct fields *trailers = s->x.te_trailers ? s->body->trailers : NULL;
    if (!trailers || trailers->n == 0) return 0;
    struct fields f = pseudo_trailers(&s->x.arena, trailers);
    *flags |= NGHTTP3_DATA_FLAG_NO_END_STREAM;
    return nghttp3_conn_submit_trailers(s->session->http, s->id, as_pairs(&s->x.arena, &f), f.n);
}

static bool finish(struct h3_stream *s, uint32_t *flags)
{
    if (s->length_left > 0) return false;
    *flags |= NGHTTP3_DATA_FLAG_EOF;
    bool submitted = submit_trailers(s, flags) == 0;
    body_close(&s->body);
    return submitted;
}

static bool has_room(const struct h3_stream *s)
{
    return s->out_bytes < STREAM_HELD_MAX && s->out.count < H3_SPANS_MAX &&
           s->session->held_bytes < SESSION_HELD_MAX;
}

/* Called by nghttp3 when the stream has nothing left to write and could. */
nghttp3_ssize h3_read_response(nghttp3_conn *http, int64_t id, nghttp3_vec *v, size_t count,
                               uint32_t *flags, void *session, void *stream)
{
    struct h3_stream *s = stream;
    size_t n = 0, bytes = 0;
    (void)http, (void)id, (void)session;
    list_remove(&s->full_link);
    while (s->body && !s->body_waiting && has_room(s) && n < count && bytes < FRAME_BYTES) {
        struct span piece = { 0 };
        enum body_result result = body_pull(s->body, &piece);
        bytes += piece.n;
        if (result == BODY_WAIT) {
            s->body_waiting = true;
        } else if (result == BODY_FAIL) {
            return fail(s, s->body->error);
        } else if (result == BODY_END) {
            return finish(s, flags) ? (nghttp3_ssize)n : fail(s, -E_RESPONSE_INCOMPLETE);
        } else if (fits_length(s, &piece)) {
            hold(s, &piece, &v[n++]);
        } else {
            span_release(&piece);
            return fail(s, -E_RESPONSE_INCOMPLETE);
        }
    }
    if (s->body && !s->body_waiting && !has_room(s)) list_append(&s->session->full, &s->full_link);
    return n ? (nghttp3_ssize)n : NGHTTP3_ERR_WOULDBLOCK;
}

static void resume_full(struct h3_session *session)
{
    list_each_safe (link, &session->full) {
        struct h3_stream *s = container_of(link, struct h3_stream, full_link);
        if (!has_room(s)) continue;
        list_remove(link);
        nghttp3_conn_resume_stream(session->http, s->id);
    }
}

void h3_response_written(struct h3_stream *s, bool all)
{
    if (all) s->all_written = true;
    if (all) timer_cancel(&s->timer);
    bool listed = !list_empty(&s->written_link);
    if (!listed && (all || !s->x.first_byte_us))
        list_append(&s->session->written, &s->written_link);
}

void h3_response_sent(struct h3_stream *s, int64_t now_us)
{
    if (!s->x.first_byte_us) s->x.first_byte_us = now_us;
    if (!s->all_written) return;
    s->x.ended_us = now_us;
    h3_stream_end(s, 0);
}

void h3_response_acked(struct h3_stream *s, uint64_t n)
{
    s->acked_bytes += n;
    s->out_bytes -= n;
    s->session->acked_bytes += n;
    s->session->held_bytes -= n;
    for (struct span *first; n && (first = h3_spans_first(&s->out));) {
        uint32_t left = first->n - s->out_acked;
        if (n < left) {
            s->out_acked += (uint32_t)n;
            break;
        }
        n -= left;
        s->out_acked = 0;
        span_release(first);
        h3_spans_pop(&s->out);
    }
    if (s->session->held_bytes < SESSION_HELD_MAX) resume_full(s->session);
}

/* ---- the client's pace ---- */

void h3_watch_client(struct h3_stream *s)
{
    pace_out_look(&s->pace_out, h3_now_ms(s), s->acked_bytes);
    s->session_looked_bytes = s->session->acked_bytes;
    timer_set(&s->x.worker->wheel, &s->timer, h3_now_ms(s) + h3_limits(s)->send_timeout_ms);
}

/* A stream that waits for its turn behind others of its client is not slow, nor is one whose body
 * does not come: only one that gets no credit, or a connection on which nothing moves. */
bool h3_client_keeps_up(struct h3_stream *s)
{
    bool waits_for_origin = s->body_waiting && s->out_bytes == 0;
    bool connection_stands = s->session->acked_bytes == s->session_looked_bytes;
    bool held_back = s->blocked || s->session->blocked || connection_stands;
    if (waits_for_origin || !held_back) {
        s->pace_out = (struct pace_out){ 0 };
        return true;
    }
    return pace_out_keeps_up(&s->pace_out, h3_limits(s), h3_now_ms(s), s->acked_bytes);
}
