#include "edge/base/error.h"
#include "protocols/h3/stream.h"

static enum body_result failed(struct h3_stream *s, int error)
{
    s->request_body.error = error;
    return BODY_FAIL;
}

static enum body_result ended(struct h3_stream *s)
{
    if (s->trailers.n) s->request_body.trailers = &s->trailers;
    return BODY_END;
}

static enum body_result wait_for_more(struct h3_stream *s)
{
    if (pace_in_is_slow(&s->pace_in, h3_limits(s), s->x.body_received_bytes))
        return failed(s, -E_BODY_TIMEOUT);
    s->in_waiting = true;
    pace_in_wait(&s->pace_in, h3_now_ms(s));
    if (!timer_armed(&s->timer))
        timer_set(&s->x.worker->wheel, &s->timer, h3_now_ms(s) + h3_limits(s)->body_timeout_ms);
    return BODY_WAIT;
}

/* What the edge has taken, the client may send again: that is the backpressure. */
static enum body_result pull(struct body *b, struct span *out)
{
    struct h3_stream *s = container_of(b, struct h3_stream, request_body);
    struct slice data = inbox_unread(&s->in);
    if (s->in_error) return failed(s, s->in_error);
    if (data.n == 0 && s->continue_owed) h3_send_continue(s);
    if (data.n == 0) return s->in_ended ? ended(s) : wait_for_more(s);
    *out = inbox_span(&s->in, data);
    inbox_consume(&s->in, s->x.worker, data.n);
    s->x.body_received_bytes += data.n;
    s->session->transport->consumed(s->session, s->id, data.n);
    return BODY_DATA;
}

/* What is left of it is dealt with when the exchange ends. */
static void close_body(struct body *b)
{
    container_of(b, struct h3_stream, request_body)->in_waiting = false;
}

static const struct body_ops request_body_ops = { .pull = pull, .close = close_body };

void h3_open_request_body(struct h3_stream *s)
{
    s->request_body = (struct body){ .ops = &request_body_ops };
    s->x.request_body = &s->request_body;
}

bool h3_take_body(struct h3_stream *s, struct slice bytes)
{
    if (!inbox_append(&s->in, s->x.worker, bytes)) return false;
    h3_wake_request_body(s);
    return true;
}

void h3_wake_request_body(struct h3_stream *s)
{
    if (!s->in_waiting) return;
    s->in_waiting = false;
    pace_in_go_on(&s->pace_in, h3_now_ms(s));
    if (!s->answering) timer_cancel(&s->timer);
    s->request_body.ready(&s->request_body);
}

void h3_fail_request_body(struct h3_stream *s, int error)
{
    if (!s->in_error) s->in_error = error;
    h3_wake_request_body(s);
}
