#include "cache/fill.h"

#include "cache/disk.h"
#include "edge/base/error.h"
#include "edge/base/metrics.h"
#include "edge/io/worker.h"

#define STALL_PATIENCE_MS 2000

/* ---- the end ---- */

static void end(struct fill *f, int error)
{
    struct object *o = f->object;
    timer_cancel(&f->stall);
    timer_cancel(&f->endless);
    object_cancel_wait(o, &f->room);
    object_cancel_wait(o, &f->abandoned);
    if (error) {
        if (f->stored) index_remove(f->index, o);
        if (f->admitted) disk_write_abort(f->index->disk, o);
        object_fail(o, error);
    }
    body_close(&f->body);
    object_drop(&f->object);
    metric_add(METRIC_FILLS_LIVE, -1);
    f->ended(f, error);
}

void fill_abort(struct fill *f, int error)
{
    if (f->object) end(f, error);
}

static void complete(struct fill *f)
{
    object_complete(f->object, f->body->trailers);
    if (f->stored && f->admitted) disk_write(f->index->disk, f->object);
    if (f->stored) index_completed(f->index, f->object);
    end(f, 0);
}

/* ---- the flow ---- */

/* Too large, or no room to be had: readers get the rest all the same. */
static void stop_storing(struct fill *f)
{
    f->stored = false;
    index_remove(f->index, f->object);
    if (f->admitted) disk_write_abort(f->index->disk, f->object);
    object_stop_retaining(f->object, 2 * f->index->object_memory_max_bytes);
}

/* What memory cannot hold goes to the disk as it comes. */
static void spill(struct fill *f)
{
    if (!f->admitted) {
        stop_storing(f);
        return;
    }
    if (!f->spills) object_spill(f->object, disk_spill_bytes(f->index->disk));
    f->spills = true;
    if (!disk_write(f->index->disk, f->object)) stop_storing(f);
}

static void take(struct fill *f, struct span *s)
{
    uint64_t end = f->object->payload->end + s->n;
    object_append(f->object, s);
    if (!f->stored) return;
    bool held = end <= f->index->object_memory_max_bytes && !f->spills;
    if (held) index_make_room(f->index);
    if (end > f->limits.object_max_bytes)
        stop_storing(f);
    else if (!held || index_over_budget(f->index))
        spill(f);
}

static struct worker *worker_of(const struct fill *f)
{
    return f->room.scope->worker;
}

static void be_patient(struct fill *f, struct timer *t, int64_t patience_ms)
{
    struct worker *w = worker_of(f);
    timer_set(&w->wheel, t, worker_now_ms(w) + patience_ms);
}

/* Neither a disk that takes nothing nor a slow reader must hold up those who read: they are done
 * without. */
static void on_stall(struct timer *t)
{
    struct fill *f = container_of(t, struct fill, stall);
    if (object_waits_for_disk(f->object))
        stop_storing(f);
    else if (object_is_held_up(f->object) && !object_leave_slow_readers(f->object))
        be_patient(f, &f->stall, STALL_PATIENCE_MS);
}

static bool has_room(struct fill *f)
{
    if (object_has_room(f->object, &f->room)) return true;
    if ((f->spills && f->stored) || object_is_held_up(f->object))
        be_patient(f, &f->stall, STALL_PATIENCE_MS);
    return false;
}

/* A stream of events goes on for ever. What nobody knows the length of may be one: it is given a
 * time to end in, of which the time that its readers take is no part. */
static void on_endless(struct timer *t)
{
    struct fill *f = container_of(t, struct fill, endless);
    metric_add(METRIC_CACHE_ENDLESS, 1);
    index_set_endless(f->index, &f->object->key, worker_of(f)->wall_ms + f->limits.pass_ms);
    stop_storing(f);
}

static void wait_for_body(struct fill *f)
{
    f->ready = false;
    f->waits_since_ms = worker_now_ms(worker_of(f));
    if (!f->stored || f->object->head.length != LENGTH_UNKNOWN) return;
    int64_t left_ms = f->limits.endless_ms - f->waited_ms;
    be_patient(f, &f->endless, left_ms > 0 ? left_ms : 0);
}

static void body_came(struct fill *f)
{
    f->ready = true;
    timer_cancel(&f->endless);
    f->waited_ms += worker_now_ms(worker_of(f)) - f->waits_since_ms;
}

static void flow(struct fill *f)
{
    while (f->ready && has_room(f)) {
        struct span s = { 0 };
        switch (body_pull(f->body, &s)) {
        case BODY_DATA: take(f, &s); break;
        case BODY_WAIT: wait_for_body(f); break;
        case BODY_END: complete(f); return;
        case BODY_FAIL: end(f, f->body->error); return;
        }
    }
}

static void on_body_ready(struct body *b)
{
    struct fill *f = b->puller;
    body_came(f);
    flow(f);
}

static void on_room(struct wait *w)
{
    struct fill *f = container_of(w, struct fill, room);
    timer_cancel(&f->stall);
    flow(f);
}

static void on_abandoned(struct wait *w)
{
    struct fill *f = container_of(w, struct fill, abandoned);
    if (object_is_wanted(f->object))
        object_on_abandoned(f->object, w);
    else
        end(f, -E_CANCELED);
}

void fill_start(struct fill *f, struct index *ix, struct object *object, bool stored, bool admitted,
                struct body *body, const struct fill_limits *limits, struct scope *scope,
                void (*ended)(struct fill *f, int error))
{
    *f = (struct fill){ .index = ix,
                        .object = object_hold(object),
                        .body = body,
                        .stored = stored,
                        .admitted = stored && admitted && ix->disk,
                        .limits = *limits,
                        .ready = true,
                        .ended = ended };
    timer_init(&f->stall, on_stall);
    timer_init(&f->endless, on_endless);
    wait_init(&f->room, scope, on_room);
    wait_init(&f->abandoned, scope, on_abandoned);
    body->ready = on_body_ready;
    body->puller = f;
    metric_add(METRIC_FILLS_LIVE, 1);
    object_on_abandoned(object, &f->abandoned);
    flow(f);
}
