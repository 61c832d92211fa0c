#include "cache/reader.h"

#include "cache/index.h"
#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/metrics.h"

static void on_ready(struct wait *w)
{
    struct reader *r = container_of(w, struct reader, wait);
    r->body.ready(&r->body);
}

static uint64_t offset_of(const struct reader *r)
{
    return atomic_load_explicit(&r->at, memory_order_relaxed);
}

/* Only its worker does. */
static void advance(struct reader *r, uint64_t n)
{
    atomic_store_explicit(&r->at, offset_of(r) + n, memory_order_relaxed);
}

/* Finds the segment that holds r->at: the one found last, or one behind it. Where segments are
 * dropped in front, the search begins at the first. */
static const struct span *seek(struct reader *r, const struct payload *p)
{
    uint64_t at = offset_of(r);
    if (p->first) r->segment = 0, r->segment_at = p->first;
    while (at >= r->segment_at + p->segments[r->segment].n) {
        r->segment_at += p->segments[r->segment++].n;
        CHECK(r->segment < p->count);
    }
    CHECK(at >= r->segment_at);
    return &p->segments[r->segment];
}

static void take(struct reader *r, struct span *out)
{
    const struct span *s = seek(r, r->object->payload);
    uint64_t at = offset_of(r), skip = at - r->segment_at, n = s->n - skip;
    if (n > r->end - at) n = r->end - at;
    *out = span_of(s->block, s->at + skip, n);
    advance(r, n);
}

/* ---- what only the disk has ---- */

static struct disk *disk_of(const struct payload *p)
{
    return container_of(p->directory, struct disk, directory);
}

static void let_go_of_chunk(struct reader *r)
{
    if (r->chunk) block_release(r->chunk);
    r->chunk = NULL;
}

/* Of one that was evicted while it is read, nothing: nobody would find it. */
static void keep(struct reader *r, struct block *value)
{
    struct object *o = r->object;
    if (!stored_is_loaded(payload_stored(o->payload))) return;
    size_t cost = payload_keep(o->payload, r->chunk_number, value);
    if (!cost) return;
    budget_charge(o->budget, cost);
    index_make_room(disk_of(o->payload)->index);
}

/* A body that was closed meanwhile has no object any more. */
static void on_chunk(struct disk_read *read, struct block *value)
{
    struct reader *r = container_of(read, struct reader, read);
    r->chunk = value;
    if (r->closed) {
        let_go_of_chunk(r);
        return;
    }
    if (value)
        keep(r, value);
    else
        r->body.error = -E_DISK;
    r->body.ready(&r->body);
}

/* Who began while the object was being filled pins it here. */
static enum body_result read_chunk(struct reader *r)
{
    const struct payload *p = r->object->payload;
    if (!r->pinned) r->pinned = stored_pin(p->directory, payload_stored(p));
    let_go_of_chunk(r);
    disk_read_start(&r->read, disk_of(p), payload_stored(p), r->chunk_number, r->wait.scope,
                    on_chunk);
    return BODY_WAIT;
}

/* Whether r->chunk is the value that holds r->at. */
static bool has_chunk(struct reader *r, uint32_t number)
{
    if (r->chunk && r->chunk_number == number) return true;
    struct block *value = payload_slot(r->object->payload, number);
    r->chunk_number = number;
    if (!value) return false;
    let_go_of_chunk(r);
    r->chunk = block_hold(value);
    return true;
}

static enum body_result pull_stored(struct reader *r, struct span *out)
{
    if (r->body.error) return BODY_FAIL;
    uint64_t at = offset_of(r);
    uint32_t number = (uint32_t)(at / DISK_CHUNK_BYTES);
    if (!has_chunk(r, number)) return read_chunk(r);
    struct disk_value value;
    memcpy(&value, r->chunk->data, sizeof value);
    uint64_t skip = at - (uint64_t)number * DISK_CHUNK_BYTES, n = value.body_bytes - skip;
    if (n > r->end - at) n = r->end - at;
    *out = span_of(r->chunk, sizeof value + skip, n);
    advance(r, n);
    return BODY_DATA;
}

/* ---- pulling ---- */

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
    uint64_t at = offset_of(r);
    bool stored = at < o->payload->first && payload_stored(o->payload);
    if (stored) {
        result = BODY_WAIT; /* below, without the lock */
    } else if (at < o->payload->first) {
        /* It was not kept, and this reader was too slow, or came too late. */
        r->body.error = at < o->left_behind ? -E_CLIENT_SLOW : -E_RESPONSE_INCOMPLETE;
        result = BODY_FAIL;
    } else if (at < o->payload->end) {
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
    object_advance_locked(o, offset_of(r));
    pthread_mutex_unlock(&o->lock);
    return stored ? pull_stored(r, out) : result;
}

static enum body_result pull(struct body *b, struct span *out)
{
    struct reader *r = (struct reader *)b;
    uint64_t at = offset_of(r);
    if (at >= r->end) return BODY_END;
    if (object_state(r->object) != OBJECT_COMPLETE) return pull_filling(r, out);
    if (at >= r->object->payload->end) return end_of_body(r);
    if (at < r->object->payload->first) return pull_stored(r, out);
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
    if (r->pinned) stored_unpin(payload_stored(r->object->payload));
    let_go_of_chunk(r);
    r->closed = true;
    object_drop(&r->object);
    metric_add(METRIC_READERS_LIVE, -1);
}

static const struct body_ops ops = { .pull = pull, .close = close_reader };

void reader_open(struct reader *r, struct object *o, struct scope *scope, uint64_t first,
                 uint64_t end)
{
    CHECK(r->read.state == DISK_READ_IDLE);
    *r = (struct reader){ .body.ops = &ops, .object = object_hold(o), .at = first, .end = end };
    wait_init(&r->wait, scope, on_ready);
    list_init(&r->link);
    metric_add(METRIC_READERS_LIVE, 1);
    if (object_state(o) == OBJECT_COMPLETE) {
        r->pinned = object_pin(o);
        return;
    }
    pthread_mutex_lock(&o->lock);
    o->reader_count++;
    r->linked = true;
    list_append(&o->readers, &r->link);
    object_advance_locked(o, first);
    pthread_mutex_unlock(&o->lock);
}
