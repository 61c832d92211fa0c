#include "edge/resend.h"

#include "edge/base/check.h"

static void drop_kept(struct resend *r)
{
    for (unsigned i = 0; i < r->kept_count; i++) span_release(&r->kept[i]);
    r->kept_count = r->next = 0;
    r->lost = true;
}

static void keep(struct resend *r, const struct span *s)
{
    if (r->lost) return;
    if (r->kept_count == RESEND_PIECES || r->kept_bytes + s->n > RESEND_BYTES) {
        drop_kept(r);
        return;
    }
    r->kept_bytes += s->n;
    r->kept[r->kept_count++] = span_of(s->block, s->at, s->n);
    r->next = r->kept_count;
}

static enum body_result wait_for_inner(struct resend *r)
{
    r->waiting = r->owing = true;
    return BODY_WAIT;
}

static enum body_result end_of_inner(struct resend *r)
{
    r->ended = true;
    r->body.trailers = r->inner->trailers;
    return BODY_END;
}

static enum body_result pull(struct body *b, struct span *out)
{
    struct resend *r = (struct resend *)b;
    if (r->next < r->kept_count) {
        const struct span *s = &r->kept[r->next++];
        *out = span_of(s->block, s->at, s->n);
        return BODY_DATA;
    }
    if (r->ended) return end_of_inner(r);
    if (r->waiting) return wait_for_inner(r);
    enum body_result result = body_pull(r->inner, out);
    r->body.error = r->inner->error;
    switch (result) {
    case BODY_DATA: keep(r, out); break;
    case BODY_WAIT: return wait_for_inner(r);
    case BODY_END: return end_of_inner(r);
    case BODY_FAIL: drop_kept(r); break; /* nor is it pulled again */
    }
    return result;
}

static void on_inner_ready(struct body *inner)
{
    struct resend *r = inner->puller;
    bool owed = r->owing;
    r->waiting = r->owing = false;
    if (owed) r->body.ready(&r->body);
}

static void close_sent(struct body *b)
{
    struct resend *r = (struct resend *)b;
    r->open = r->owing = false;
    if (!r->settled) return;
    drop_kept(r);
    body_close(&r->inner);
}

struct body *resend_open(struct resend *r, struct body *inner)
{
    static const struct body_ops ops = { .pull = pull, .close = close_sent };
    *r = (struct resend){ .body.ops = &ops, .inner = inner, .open = true };
    inner->ready = on_inner_ready;
    inner->puller = r;
    return &r->body;
}

bool resend_may(const struct resend *r)
{
    return r->inner && !r->lost;
}

struct body *resend_again(struct resend *r)
{
    CHECK(resend_may(r) && !r->open);
    r->open = true;
    r->next = 0;
    return &r->body;
}

void resend_settle(struct resend *r)
{
    if (!r->inner) return;
    r->settled = true;
    if (r->next == r->kept_count) drop_kept(r); /* or else they are still on their way out */
    if (!r->open) body_close(&r->inner);
}

void resend_close(struct resend *r)
{
    if (!r->inner) return;
    CHECK(!r->open);
    drop_kept(r);
    body_close(&r->inner);
}
