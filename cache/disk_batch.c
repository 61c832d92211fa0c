#include "cache/disk_batch.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cache/index.h"
#include "cache/record.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"

/* ---- the rows ---- */

static void *push(void **v, size_t *count, size_t *capacity, size_t size)
{
    if (*count == *capacity) {
        *capacity = *capacity ? *capacity * 2 : 64;
        *v = xrealloc(*v, *capacity * size);
    }
    return (char *)*v + (*count)++ * size;
}

#define PUSH(b, row)                                                                               \
    push((void **)&(b)->row, &(b)->row##_count, &(b)->row##_capacity, sizeof *(b)->row)

static void add_write(struct disk_batch *b, struct disk_write *w)
{
    for (size_t i = b->write_count; i-- > 0;) {
        if (b->writes[i] == w) return;
    }
    object_hold(w->object);
    *(struct disk_write **)push((void **)&b->writes, &b->write_count, &b->write_capacity,
                                sizeof w) = w;
}

void disk_batch_init(struct disk_batch *b)
{
    *b = (struct disk_batch){ .buffer = xmalloc(DISK_VALUE_BYTES) };
}

void disk_batch_reset(struct disk *d, struct disk_batch *b)
{
    for (size_t i = 0; i < b->write_count; i++) {
        struct object *o = b->writes[i]->object;
        object_drop(&o);
    }
    for (size_t i = 0; i < b->moved_count; i++) stored_drop(&d->directory, &b->moved[i].stored);
    b->write_count = b->placed_count = b->moved_count = b->dropped_count = 0;
    b->recorded_count = 0;
    b->put_bytes = b->moved_bytes = 0;
    b->sparing = false;
}

void disk_batch_free(struct disk_batch *b)
{
    free(b->writes);
    free(b->placed);
    free(b->moved);
    free(b->dropped);
    free(b->buffer);
}

bool disk_batch_is_full(const struct disk *d, const struct disk_batch *b)
{
    return b->put_bytes + b->moved_bytes >= d->batch_bytes;
}

/* ---- the oldest end ---- */

static bool read_all(int fd, char *to, size_t n, uint64_t at)
{
    while (n) {
        ssize_t got = pread(fd, to, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        to += got, at += (uint64_t)got, n -= (size_t)got;
    }
    return true;
}

static bool read_value(struct disk *d, struct disk_batch *b, uint32_t page, uint32_t size_bytes,
                       struct disk_value *v)
{
    return size_bytes <= DISK_VALUE_BYTES &&
           read_all(d->log.fd, b->buffer, size_bytes, disk_log_offset(page)) &&
           disk_value_read(slice_of(b->buffer, size_bytes), v);
}

/* Through the buffer: what is appended may come to lie anywhere. */
static int append_again(struct disk *d, struct disk_batch *b, struct stored *s, uint32_t chunk,
                        const struct disk_log_oldest *old)
{
    struct disk_moved moved = { stored_hold(s), chunk, old->page, 0, old->size_bytes };
    char *at;
    int rc = disk_log_append(&d->log, old->size_bytes, &at, &moved.to);
    if (rc) {
        stored_drop(&d->directory, &moved.stored);
        return rc;
    }
    memcpy(at, b->buffer, old->size_bytes);
    b->moved_bytes += disk_log_cost(old->size_bytes);
    *(struct disk_moved *)PUSH(b, moved) = moved;
    metric_add(METRIC_DISK_REAPPENDED_BYTES, old->size_bytes);
    return 0;
}

/* Most values go unread. What is to be kept and cannot be read is not: its reader would find the
 * same. */
/* A batch appends no more than twice its size again: who reads what then goes, or fills it, goes on
 * without the disk. */
static enum stored_keeping keeping(const struct disk *d, const struct disk_batch *b)
{
    if (b->moved_bytes >= 2 * d->batch_bytes) return KEEP_NOTHING;
    return b->sparing || b->moved_bytes >= d->batch_bytes ? KEEP_PINNED : KEEP_WANTED;
}

static int judge(struct disk *d, struct disk_batch *b, struct stored *s, uint32_t chunk,
                 const struct disk_log_oldest *old)
{
    struct disk_value v;
    switch (stored_judge(&d->directory, s, chunk, old->page, keeping(d, b))) {
    case FATE_GONE: return 0;
    case FATE_KEPT:
        if (read_value(d, b, old->page, old->size_bytes, &v))
            return append_again(d, b, s, chunk, old);
        if (!directory_forget(&d->directory, s)) return 0;
        break;
    case FATE_DROPPED: break;
    }
    *(uint64_t *)PUSH(b, dropped) = s->id;
    metric_add(METRIC_DISK_EVICTIONS, 1);
    return 0;
}

/* The value's own header tells whose it is. */
static int give_up_oldest(struct disk *d, struct disk_batch *b)
{
    struct disk_log_oldest old;
    struct disk_value v;
    if (!disk_log_oldest(&d->log, &old)) return EINVAL; /* it counts more than it has */
    int rc = 0;
    if (read_all(d->log.fd, (char *)&v, sizeof v, disk_log_offset(old.page)) &&
        v.magic == DISK_MAGIC) {
        struct stored *s = directory_get(&d->directory, v.hash, v.id);
        if (s) rc = judge(d, b, s, v.chunk, &old);
        stored_drop(&d->directory, &s);
    }
    return rc ? rc : disk_log_remove_oldest(&d->log);
}

int disk_batch_give_up(struct disk *d, struct disk_batch *b, uint64_t bytes)
{
    if (bytes > d->batch_bytes) bytes = d->batch_bytes;
    uint64_t least = d->log.used_bytes > bytes ? d->log.used_bytes - bytes : 0;
    int rc = 0;
    b->sparing = true;
    while (!rc && d->log.used_bytes > least && !disk_batch_is_full(d, b)) rc = give_up_oldest(d, b);
    return rc;
}

/* What is known of the disk must not take more than half of the memory. */
static bool is_directory_large(const struct disk *d)
{
    uint64_t bytes = atomic_load(&d->directory.count) * (block_cost(sizeof(struct stored)) + 8);
    return bytes > atomic_load(&d->index->budget.limit_bytes) / 2;
}

/* Gives up oldest values until the log has room for that much. */
static int make_room(struct disk *d, struct disk_batch *b, uint64_t bytes)
{
    int rc = 0;
    while (!rc && d->log.used_bytes + bytes > d->log.limit_bytes) rc = give_up_oldest(d, b);
    for (int i = 0; i < 4 && !rc && is_directory_large(d); i++) rc = give_up_oldest(d, b);
    return rc;
}

/* ---- the newest end ---- */

static void begin(struct disk *d, struct disk_write *w)
{
    struct object *o = w->object;
    w->stored = stored_new(&d->directory, disk_hash(d, &o->key), d->next_id++, o->key.slice);
    w->stored->variant = disk_variant(d, o->vary, o->vary_key);
    w->stored->body_bytes = UINT64_MAX; /* until the last chunk is written, each is a full one */
    directory_add(&d->directory, w->stored, STORED_FILLING);
}

/* body: NULL where the object has it in memory. */
static int put_value(struct disk *d, struct disk_batch *b, struct disk_write *w, uint32_t chunk,
                     const char *body, size_t body_bytes, bool with_head)
{
    struct object *o = w->object;
    size_t head_bytes = with_head ? record_size(o) : 0;
    size_t size = sizeof(struct disk_value) + body_bytes + head_bytes;
    struct disk_placed placed = { w, chunk, 0, (uint32_t)size, with_head };
    char *at;
    int rc = make_room(d, b, disk_log_cost(size));
    if (!rc) rc = disk_log_append(&d->log, size, &at, &placed.page);
    if (rc) return rc;
    struct disk_value v = { .magic = DISK_MAGIC,
                            .chunk = chunk,
                            .id = w->stored->id,
                            .hash = w->stored->hash,
                            .body_bytes = (uint32_t)body_bytes,
                            .head_bytes = (uint32_t)head_bytes };
    char *to = mempcpy(at, &v, sizeof v);
    b->put_bytes += disk_log_cost(size);
    if (body) {
        memcpy(to, body, body_bytes);
    } else if (!object_copy(o, w->put_bytes, body_bytes, to)) {
        memset(at, 0, size); /* its fill has just given it up, and the value is nobody's */
        return 0;
    }
    if (with_head) record_write(o, to + body_bytes);
    disk_value_seal(at);
    w->put_bytes += body_bytes;
    *(struct disk_placed *)PUSH(b, placed) = placed;
    return 0;
}

static bool fits_one_value(const struct object *o, uint64_t body_bytes)
{
    return sizeof(struct disk_value) + body_bytes + record_size(o) <= DISK_VALUE_BYTES;
}

/* The body is on the disk already: only the head is another, and with it what of the body is in one
 * value with it. One that has no room there any more stays as it was. */
static int put_head_again(struct disk *d, struct disk_batch *b, struct disk_write *w)
{
    struct disk_value old;
    struct stored *s = w->stored;
    uint32_t page, size;
    bool there = stored_locate(&d->directory, s, STORED_HEAD, &page, &size) &&
                 read_value(d, b, page, size, &old) && old.id == s->id;
    if (!there || !fits_one_value(w->object, old.body_bytes)) {
        disk_write_end(d, w);
        return 0;
    }
    char *body = memcpy(xmalloc(old.body_bytes + 1u), b->buffer + sizeof old, old.body_bytes);
    int rc = put_value(d, b, w, old.chunk, body, old.body_bytes, true); /* buffer is for room */
    free(body);
    return rc;
}

/* Up to what goes into one value with the head. */
static int put_chunks(struct disk *d, struct disk_batch *b, struct disk_write *w, uint64_t end,
                      bool whole)
{
    int rc = 0;
    while (!rc && !disk_batch_is_full(d, b) && !atomic_load(&w->over)) {
        uint64_t left = end - w->put_bytes;
        uint32_t chunk = (uint32_t)(w->put_bytes / DISK_CHUNK_BYTES);
        if (whole ? fits_one_value(w->object, left) : left < DISK_CHUNK_BYTES) break;
        if (left > DISK_CHUNK_BYTES) left = DISK_CHUNK_BYTES;
        rc = put_value(d, b, w, chunk, NULL, left, false);
    }
    return rc;
}

static int put_last(struct disk *d, struct disk_batch *b, struct disk_write *w, uint64_t left)
{
    bool has_body = left || w->put_bytes == 0;
    uint32_t chunk = has_body ? (uint32_t)(w->put_bytes / DISK_CHUNK_BYTES) : STORED_HEAD;
    return put_value(d, b, w, chunk, NULL, left, true);
}

static int put_body(struct disk *d, struct disk_batch *b, struct disk_write *w, bool *more)
{
    struct object *o = w->object;
    uint64_t end;
    bool whole = object_is_whole(o, &end);
    if (!w->stored) begin(d, w);
    if (whole) w->stored->body_bytes = end;
    if (!stored_is_listed(w->stored) || (whole && !fits_one_value(o, 0))) {
        disk_write_fail(d, w); /* given up for others, or its head is too large */
        return 0;
    }
    int rc = put_chunks(d, b, w, end, whole);
    uint64_t left = end - w->put_bytes;
    bool ready = whole && fits_one_value(o, left);
    *more = whole ? !ready : left >= DISK_CHUNK_BYTES;
    return rc || !ready ? rc : put_last(d, b, w, left);
}

int disk_batch_put(struct disk *d, struct disk_batch *b, struct disk_write *w, bool *more)
{
    *more = false;
    add_write(b, w);
    if (!w->head_only) return put_body(d, b, w, more);
    if (!w->stored) w->stored = stored_hold(payload_stored(w->object->payload));
    return put_head_again(d, b, w);
}

/* ---- after the commit ---- */

/* An object that was displaced or purged while it was written is nobody's. */
static void finish(struct disk *d, struct disk_write *w)
{
    bool is_new = !w->head_only;
    if (is_new && !index_attach(d->index, w->object, w->stored))
        directory_forget(&d->directory, w->stored);
    if (is_new) object_written(w->object, &d->directory, w->stored, UINT64_MAX);
    disk_write_end(d, w);
}

void disk_batch_apply(struct disk *d, struct disk_batch *b)
{
    for (size_t i = 0; i < b->moved_count; i++) {
        const struct disk_moved *m = &b->moved[i];
        stored_move(&d->directory, m->stored, m->chunk, m->from, m->to);
    }
    for (size_t i = 0; i < b->placed_count; i++) {
        const struct disk_placed *p = &b->placed[i];
        struct disk_write *w = p->write;
        if (p->with_head)
            stored_set_head(&d->directory, w->stored, p->page, p->size_bytes,
                            disk_variant(d, w->object->vary, w->object->vary_key));
        else
            stored_append_page(&d->directory, w->stored, p->page);
    }
    for (size_t i = 0; i < b->write_count; i++) {
        struct disk_write *w = b->writes[i];
        w->kept_bytes = w->put_bytes;
        if (!w->head_only) object_written(w->object, &d->directory, w->stored, w->kept_bytes);
    }
    for (size_t i = 0; i < b->placed_count; i++) {
        if (b->placed[i].with_head) finish(d, b->placed[i].write);
    }
    metric_add(METRIC_DISK_WRITTEN_BYTES, (int64_t)(b->put_bytes + b->moved_bytes));
}

static int record_new(struct disk *d, const struct disk_write *w)
{
    const struct stored *s = w->stored;
    struct disk_record r = { .hash = s->hash,
                             .body_bytes = s->body_bytes,
                             .purge_seq = w->object->purge_seq,
                             .head_page = s->head_page,
                             .head_size_bytes = s->head_size_bytes,
                             .slice = s->slice,
                             .variant = s->variant,
                             .page_count = s->page_count };
    return disk_catalog_put(&d->catalog, s->id, &r, s->pages);
}

/* What was forgotten meanwhile is left out; what is forgotten from now on is removed after this. */
int disk_batch_record(struct disk *d, struct disk_batch *b)
{
    int rc = 0;
    for (size_t i = 0; i < b->moved_count && !rc; i++) {
        const struct disk_moved *m = &b->moved[i];
        if (stored_is_listed(m->stored) && !stored_is_filling(m->stored))
            rc = disk_catalog_move(&d->catalog, m->stored->id, m->chunk, m->to, m->size_bytes);
    }
    for (size_t i = 0; i < b->placed_count && !rc; i++) {
        const struct disk_placed *p = &b->placed[i];
        if (!p->with_head || !stored_is_listed(p->write->stored)) continue;
        rc = record_new(d, p->write);
        b->recorded_count++;
    }
    return rc;
}

void disk_batch_undo(struct disk *d, struct disk_batch *b, bool failed)
{
    for (size_t i = 0; i < b->write_count; i++) {
        struct disk_write *w = b->writes[i];
        w->put_bytes = w->kept_bytes;
        if (failed) disk_write_fail(d, w);
    }
}
