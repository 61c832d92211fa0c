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
    if (end > f->object_max_bytes)
        stop_storing(f);
    else if (!held || index_over_budget(f->index))
        spill(f);
}

/* A disk that takes nothing must not hold up those who read: it is done without. */
static void on_stall(struct timer *t)
{
    struct fill *f = container_of(t, struct fill, stall);
    if (object_waits_for_disk(f->object)) stop_storing(f);
}

static bool has_room(struct fill *f)
{
    struct worker *w = f->room.scope->worker;
    if (object_has_room(f->object, &f->room)) return true;
    if (f->spills && f->stored)
        timer_set(&w->wheel, &f->stall, worker_now_ms(w) + STALL_PATIENCE_MS);
    return false;
}

static void flow(struct fill *f)
{
    while (f->ready && has_room(f)) {
        struct span s = { 0 };
        switch (body_pull(f->body, &s)) {
        case BODY_DATA: take(f, &s); break;
        case BODY_WAIT: f->ready = false; break;
        case BODY_END: complete(f); return;
        case BODY_FAIL: end(f, f->body->error); return;
        }
    }
}

static void on_body_ready(struct body *b)
{
    struct fill *f = b->puller;
    f->ready = true;
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
                struct body *body, uint64_t object_max_bytes, struct scope *scope,
                void (*ended)(struct fill *f, int error))
{
    *f = (struct fill){ .index = ix,
                        .object = object_hold(object),
                        .body = body,
                        .stored = stored,
                        .admitted = stored && admitted && ix->disk,
                        .object_max_bytes = object_max_bytes,
                        .ready = true,
                        .ended = ended };
    timer_init(&f->stall, on_stall);
    wait_init(&f->room, scope, on_room);
    wait_init(&f->abandoned, scope, on_abandoned);
    body->ready = on_body_ready;
    body->puller = f;
    metric_add(METRIC_FILLS_LIVE, 1);
    object_on_abandoned(object, &f->abandoned);
    flow(f);
}
