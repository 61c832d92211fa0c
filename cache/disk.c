#include "cache/disk.h"

#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "cache/disk_writer.h"
#include "cache/index.h"
#include "edge/base/check.h"
#include "edge/base/clock.h"
#include "edge/base/log.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/io/worker.h"

uint64_t disk_hash(const struct disk *d, const struct key *key)
{
    return key_hash_with(&d->stamp.seed, key_whole_text(key));
}

uint32_t disk_variant(const struct disk *d, struct slice vary, struct slice vary_key)
{
    if (!vary.n) return 0;
    uint64_t names = key_hash_with(&d->stamp.seed, vary),
             values = key_hash_with(&d->stamp.seed, vary_key);
    return (uint32_t)(31 * names + values) | 1;
}

/* ---- what is to be written ---- */

static void enqueue_locked(struct disk *d, struct disk_write *w)
{
    if (w->queued) return;
    w->queued = true;
    object_hold(w->object);
    list_append(&d->queue, &w->link);
    pthread_cond_signal(&d->bell);
}

size_t disk_spill_bytes(const struct disk *d)
{
    size_t half = d->settings.queue_bytes / 2;
    return half < DISK_SPILL_BYTES ? half : DISK_SPILL_BYTES;
}

/* One that still fills takes room for what may wait of it. */
static struct disk_write *begin_write(struct disk *d, struct object *o, bool head_only)
{
    bool whole = object_state(o) == OBJECT_COMPLETE;
    size_t bytes = whole ? o->payload->end : disk_spill_bytes(d);
    if (head_only) bytes = 0;
    if (!atomic_load(&d->up)) return NULL;
    struct disk_write *w = NULL;
    pthread_mutex_lock(&d->lock);
    if (d->queued_bytes + bytes <= d->settings.queue_bytes && !d->stopping) {
        w = xcalloc(1, sizeof *w);
        list_init(&w->link);
        w->disk = d;
        w->object = o;
        w->counted_bytes = bytes;
        w->head_only = head_only;
        d->queued_bytes += bytes;
    }
    pthread_mutex_unlock(&d->lock);
    return w;
}

/* Hangs it on the object, unless another worker was faster; then that one's. */
static struct disk_write *claim_write(struct disk *d, struct object *o, bool head_only)
{
    struct disk_write *w = begin_write(d, o, head_only), *first = NULL;
    if (!w || atomic_compare_exchange_strong(&o->write, &first, w)) return w;
    disk_write_free(&w);
    return first;
}

static void count_drop(const struct disk *d)
{
    enum disk_drop why = atomic_load(&d->up) ? DISK_DROP_QUEUE : DISK_DROP_DOWN;
    metric_add_by(METRIC_DISK_DROPPED, why, 1);
}

bool disk_write(struct disk *d, struct object *o)
{
    struct disk_write *w = atomic_load(&o->write);
    if (!w) {
        w = claim_write(d, o, payload_stored(o->payload));
        if (!w) count_drop(d);
    }
    if (!w || atomic_load(&w->over)) return false;
    pthread_mutex_lock(&d->lock);
    enqueue_locked(d, w);
    pthread_mutex_unlock(&d->lock);
    return true;
}

void disk_want(struct disk *d, struct object *o)
{
    bool waits = object_state(o) == OBJECT_COMPLETE && !atomic_load(&o->write);
    if (waits && atomic_load(&d->up)) disk_write(d, o);
}

void disk_write_end(struct disk *d, struct disk_write *w)
{
    if (atomic_exchange(&w->over, true)) return;
    pthread_mutex_lock(&d->lock);
    d->queued_bytes -= w->counted_bytes;
    pthread_mutex_unlock(&d->lock);
}

/* The writer clears away what there is of it. */
void disk_write_abort(struct disk *d, struct object *o)
{
    struct disk_write *w = atomic_load(&o->write);
    if (!w || atomic_load(&w->over)) return;
    disk_write_end(d, w);
    if (object_is_spilling(o)) object_stop_retaining(o, disk_spill_bytes(d));
    pthread_mutex_lock(&d->lock);
    enqueue_locked(d, w);
    pthread_mutex_unlock(&d->lock);
}

void disk_write_fail(struct disk *d, struct disk_write *w)
{
    disk_write_end(d, w);
    if (w->stored && !w->head_only) directory_forget(&d->directory, w->stored);
    if (object_is_spilling(w->object)) {
        index_remove(d->index, w->object);
        object_stop_retaining(w->object, disk_spill_bytes(d));
    }
    metric_add_by(METRIC_DISK_DROPPED, DISK_DROP_FAILED, 1);
}

void disk_write_free(struct disk_write **w)
{
    if (!*w) return;
    CHECK(!(*w)->queued);
    disk_write_end((*w)->disk, *w);
    stored_drop(&(*w)->disk->directory, &(*w)->stored);
    free(*w);
    *w = NULL;
}

struct disk_write *disk_dequeue(struct disk *d)
{
    struct disk_write *w = NULL;
    pthread_mutex_lock(&d->lock);
    if (!list_empty(&d->queue)) {
        w = container_of(d->queue.next, struct disk_write, link);
        list_remove(&w->link);
        w->queued = false;
    }
    pthread_mutex_unlock(&d->lock);
    return w;
}

void disk_requeue(struct disk *d, struct disk_write *w)
{
    pthread_mutex_lock(&d->lock);
    if (!w->queued) {
        w->queued = true;
        object_hold(w->object);
        list_prepend(&d->queue, &w->link);
    }
    pthread_mutex_unlock(&d->lock);
}

/* ---- what is to be forgotten ---- */

/* Its number goes out of the catalog with the writer's next commit. */
static void forget_for_good(struct disk *d, uint64_t id)
{
    pthread_mutex_lock(&d->lock);
    if (d->forgotten_count == d->forgotten_capacity) {
        d->forgotten_capacity = d->forgotten_capacity ? d->forgotten_capacity * 2 : 64;
        d->forgotten = xrealloc(d->forgotten, d->forgotten_capacity * sizeof *d->forgotten);
    }
    d->forgotten[d->forgotten_count++] = id;
    d->forgotten_ever++;
    pthread_cond_signal(&d->bell);
    pthread_mutex_unlock(&d->lock);
}

void disk_forget(struct disk *d, struct stored *s)
{
    if (directory_forget(&d->directory, s)) forget_for_good(d, s->id);
}

struct forgetting {
    struct disk *disk;
    unsigned others; /* than those for which variants in memory stand */
};

static void on_gone(void *context, struct stored *s)
{
    struct forgetting *f = context;
    forget_for_good(f->disk, s->id);
    f->others += (s->slice || !stored_is_loaded(s)) && !stored_is_filling(s);
}

unsigned disk_forget_key(struct disk *d, const struct key *key)
{
    struct forgetting f = { d, 0 };
    directory_forget_all(&d->directory, disk_hash(d, key), FORGET_ALL, 0, 0, on_gone, &f);
    return f.others;
}

unsigned disk_forget_superseded(struct disk *d, const struct key *key, struct slice vary,
                                struct slice vary_key)
{
    struct forgetting f = { d, 0 };
    uint64_t hash = disk_hash(d, key);
    unsigned n = directory_forget_all(&d->directory, hash, FORGET_SUPERSEDED, key->slice,
                                      disk_variant(d, vary, vary_key), on_gone, &f);
    if (key->slice) return n;
    return n + directory_forget_all(&d->directory, hash, FORGET_SLICES, 0, 0, on_gone, &f);
}

bool disk_has_unloaded(struct disk *d, const struct key *key)
{
    return !disk_is_silent(d) &&
           directory_has_unloaded(&d->directory, disk_hash(d, key), key->slice);
}

bool disk_is_settled(struct disk *d, struct disk_wait *w, struct worker *worker)
{
    pthread_mutex_lock(&d->lock);
    bool given_up = !atomic_load(&d->up) && atomic_load(&d->is_distrusted);
    bool settled = d->settled >= d->forgotten_ever || given_up;
    if (!settled) {
        w->worker = worker;
        w->upto = d->forgotten_ever;
        list_append(&d->waits, &w->link);
    }
    pthread_mutex_unlock(&d->lock);
    return settled;
}

void disk_read_failed(struct disk *d, struct stored *s, const char *why)
{
    if (!stored_is_listed(s)) return; /* it went while it was read */
    metric_add(METRIC_DISK_READ_ERRORS, 1);
    log_event(LOG_WARNING, "disk cache %s: an object is forgotten: %s", d->settings.path, why);
    disk_forget(d, s);
}

/* ---- a disk that does not answer ---- */

#define UNANSWERED_MAX 3
#define SILENT_MS      5000

bool disk_is_silent(const struct disk *d)
{
    int64_t until_ms = atomic_load_explicit(&d->silent_until_ms, memory_order_relaxed);
    return until_ms && clock_monotonic_us() / 1000 < until_ms;
}

void disk_read_answered(struct disk *d)
{
    if (!atomic_load_explicit(&d->unanswered, memory_order_relaxed)) return;
    atomic_store(&d->unanswered, 0);
    atomic_store(&d->silent_until_ms, 0);
}

/* The count stays: when the time is over, one more read without an answer is enough. */
void disk_read_unanswered(struct disk *d)
{
    metric_add(METRIC_DISK_READ_TIMEOUTS, 1);
    if (atomic_fetch_add(&d->unanswered, 1) + 1 < UNANSWERED_MAX || disk_is_silent(d)) return;
    atomic_store(&d->silent_until_ms, clock_monotonic_us() / 1000 + SILENT_MS);
    log_event(LOG_WARNING, "disk cache %s: left alone for %d s, it does not answer",
              d->settings.path, SILENT_MS / 1000);
}

/* ---- opening and closing ---- */

/* For a store that is begun; one that is there brings its own. */
static void choose_seed(struct disk *d)
{
    d->stamp.format = DISK_FORMAT;
    CHECK(getrandom(&d->stamp.seed, sizeof d->stamp.seed, 0) == sizeof d->stamp.seed);
}

static void init_bell(pthread_cond_t *bell)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(bell, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

struct disk *disk_open(const struct disk_settings *settings, struct index *ix,
                       uint64_t *highest_purge_seq)
{
    struct disk *d = xcalloc(1, sizeof *d);
    d->index = ix;
    d->settings = *settings;
    d->settings.path = xstrdup(settings->path);
    d->lock_fd = -1;
    d->next_id = 1; /* of this process, however often its store is begun anew: who still reads of an
                       old one must not find another's value */
    atomic_init(&d->fd, -1);
    pthread_mutex_init(&d->lock, NULL);
    init_bell(&d->bell);
    list_init(&d->queue);
    list_init(&d->waits);
    directory_init(&d->directory, &ix->budget);
    admission_init(&d->admission, settings->size_bytes);
    choose_seed(d);
    disk_writer_start(d, highest_purge_seq);
    return d;
}

void disk_stop(struct disk *d)
{
    disk_writer_stop(d);
}

void disk_free(struct disk **freed)
{
    struct disk *d = *freed;
    *freed = NULL;
    if (!d) return;
    directory_free(&d->directory);
    admission_free(&d->admission);
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->bell);
    if (d->lock_fd >= 0) close(d->lock_fd);
    free(d->forgotten);
    free((char *)d->settings.path);
    free(d);
}
