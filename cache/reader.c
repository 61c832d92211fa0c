#include "cache/reader.h"

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/metrics.h"

static void on_ready(struct wait *w)
{
    struct reader *r = container_of(w, struct reader, wait);
    r->body.ready(&r->body);
}

/* Finds the segment that holds r->at: the one found last, or one behind it. Where segments are
 * dropped in front, the search begins at the first. */
static const struct span *seek(struct reader *r, const struct payload *p)
{
    if (p->first) r->segment = 0, r->segment_at = p->first;
    while (r->at >= r->segment_at + p->segments[r->segment].n) {
        r->segment_at += p->segments[r->segment++].n;
        CHECK(r->segment < p->count);
    }
    CHECK(r->at >= r->segment_at);
    return &p->segments[r->segment];
}

static void take(struct reader *r, struct span *out)
{
    const struct span *s = seek(r, r->object->payload);
    uint64_t skip = r->at - r->segment_at, n = s->n - skip;
    if (n > r->end - r->at) n = r->end - r->at;
    *out = span_of(s->block, s->at + skip, n);
    r->at += n;
}

static enum body_result end_of_body(struct reader *r)
{
    struct object *o = r->object;
    r->body.trailers = o->trailers.n && r->end == UINT64_MAX ? &o->trailers : NULL;
    return BODY_END;
}

static enum body_result pull_filling(struct reader *r, struct span *out)
{
    struct object *o = r->object;
    pthread_mutex_lock(&o->lock);
    enum body_result result = BODY_DATA;
    if (r->at < o->payload->first) {
        r->body.error = -E_RESPONSE_INCOMPLETE; /* it was not kept, and this reader came too late */
        result = BODY_FAIL;
    } else if (r->at < o->payload->end) {
        take(r, out);
    } else if (object_state(o) == OBJECT_FAILED) {
        r->body.error = o->error;
        result = BODY_FAIL;
    } else if (o->ended) {
        result = end_of_body(r);
    } else {
        object_park_locked(o, &r->wait);
        result = BODY_WAIT;
    }
    object_advance_locked(o, r->at);
    pthread_mutex_unlock(&o->lock);
    return result;
}

static enum body_result pull(struct body *b, struct span *out)
{
    struct reader *r = (struct reader *)b;
    if (r->at >= r->end) return BODY_END;
    if (object_state(r->object) != OBJECT_COMPLETE) return pull_filling(r, out);
    if (r->at >= r->object->payload->end) return end_of_body(r);
    take(r, out);
    return BODY_DATA;
}

static void unlink_reader(struct reader *r)
{
    struct object *o = r->object;
    object_cancel_wait(o, &r->wait);
    pthread_mutex_lock(&o->lock);
    list_remove(&r->link);
    pthread_mutex_unlock(&o->lock);
    object_leave(o);
}

static void close_reader(struct body *b)
{
    struct reader *r = (struct reader *)b;
    if (r->linked) unlink_reader(r);
    object_drop(&r->object);
    metric_add(METRIC_READERS_LIVE, -1);
}

static const struct body_ops ops = { .pull = pull, .close = close_reader };

void reader_open(struct reader *r, struct object *o, struct scope *scope, uint64_t first,
                 uint64_t end)
{
    *r = (struct reader){ .body.ops = &ops, .object = object_hold(o), .at = first, .end = end };
    wait_init(&r->wait, scope, on_ready);
    list_init(&r->link);
    metric_add(METRIC_READERS_LIVE, 1);
    if (object_state(o) == OBJECT_COMPLETE) return;
    pthread_mutex_lock(&o->lock);
    o->reader_count++;
    r->linked = true;
    list_append(&o->readers, &r->link);
    object_advance_locked(o, first);
    pthread_mutex_unlock(&o->lock);
}
