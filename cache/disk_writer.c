#include "cache/disk_writer.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cache/disk_batch.h"
#include "cache/disk_store.h"
#include "cache/index.h"
#include "edge/base/clock.h"
#include "edge/base/log.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/io/worker.h"

#define LINGER_MS    5 /* so that small objects share a commit */
#define RETRY_MS     1000
#define RETRY_MAX_MS 30000
#define GROW_MS      60000
#define SQUEEZES_MAX 32
#define DAMAGES_MAX  3 /* stores abandoned in one process: each keeps its file and map open */
#define LOOK_MS      30000
/* Beside LMDB's errors and errno's. */
#define PAGE_DAMAGED (-1) /* a page of the map could not be read */
#define FILES_GONE   (-2) /* who looks for the store by its name finds another, or none */

struct writer {
    struct disk *disk;
    struct disk_batch batch;
    bool open;
    bool failing;
    bool is_tried_out; /* since it failed */
    int64_t retry_at_ms, retry_ms;
    unsigned damages, squeezes;
    int64_t look_at_ms; /* whether the files are still there */
    int lost_fd;        /* of a log that is not: it gives its room back then. -1: none */
    int64_t lost_until_ms;
    uint64_t limit_bytes; /* of the log, where the file system has room for it */
    int64_t grow_at_ms;   /* towards it */
    uint64_t *forgetting; /* taken from the disk, not yet out of the catalog */
    size_t forgetting_count, forgetting_capacity;
    uint64_t forgetting_upto;   /* settled once they are */
    uint64_t highest_purge_seq; /* of what was found at start */
};

/* ---- pages that cannot be read ---- */

/* LMDB reads its tree through a map and believes what it says. What the disk cannot give ends a
 * process by SIGBUS, a page number that was changed on the disk by SIGSEGV. Here they end what the
 * writer does just now. */
static _Thread_local sigjmp_buf *guard;

static void on_damage(int number, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    if (guard) siglongjmp(*guard, PAGE_DAMAGED);
    signal(number, SIG_DFL);
    raise(number);
}

static void catch_damage(void)
{
    struct sigaction a = { .sa_sigaction = on_damage, .sa_flags = SA_SIGINFO | SA_NODEFER };
    sigemptyset(&a.sa_mask);
    sigaction(SIGBUS, &a, NULL);
    sigaction(SIGSEGV, &a, NULL);
}

static int guarded(struct writer *wr, int (*work)(struct writer *wr))
{
    sigjmp_buf here;
    int rc = sigsetjmp(here, 1);
    if (rc == 0) {
        guard = &here;
        rc = work(wr);
    }
    guard = NULL;
    return rc;
}

/* ---- a batch ---- */

static int collect(struct disk *d, struct disk_batch *b)
{
    struct disk_write *w;
    int rc = 0;
    while (!rc && !disk_batch_is_full(d, b) && (w = disk_dequeue(d))) {
        struct object *o = w->object;
        bool more = false;
        if (!atomic_load(&w->over))
            rc = disk_batch_put(d, b, w, &more);
        else if (w->stored && !w->head_only)
            directory_forget(&d->directory, w->stored);
        if (more && !rc) disk_requeue(d, w);
        object_drop(&o);
    }
    return rc;
}

static void add_forgetting(struct writer *wr, const uint64_t *ids, size_t n)
{
    if (wr->forgetting_count + n > wr->forgetting_capacity) {
        wr->forgetting_capacity = 2 * (wr->forgetting_count + n);
        wr->forgetting = xrealloc(wr->forgetting, wr->forgetting_capacity * sizeof *wr->forgetting);
    }
    if (n) memcpy(wr->forgetting + wr->forgetting_count, ids, n * sizeof *ids);
    wr->forgetting_count += n;
}

static void take_forgotten(struct writer *wr)
{
    struct disk *d = wr->disk;
    pthread_mutex_lock(&d->lock);
    add_forgetting(wr, d->forgotten, d->forgotten_count);
    wr->forgetting_upto = d->forgotten_ever;
    d->forgotten_count = 0;
    pthread_mutex_unlock(&d->lock);
}

/* What must be gone from the catalog before anything else changes: also what was forgotten for an
 * object that is in this batch already, or the catalog had both for a moment. */
static int remove_records(struct writer *wr)
{
    struct disk *d = wr->disk;
    struct disk_batch *b = &wr->batch;
    take_forgotten(wr);
    if (!b->dropped_count && !wr->forgetting_count) return 0;
    int rc = disk_catalog_begin(&d->catalog);
    for (size_t i = 0; i < b->dropped_count && !rc; i++)
        rc = disk_catalog_remove(&d->catalog, b->dropped[i]);
    for (size_t i = 0; i < wr->forgetting_count && !rc; i++)
        rc = disk_catalog_remove(&d->catalog, wr->forgetting[i]);
    if (rc)
        disk_catalog_abort(&d->catalog);
    else
        rc = disk_catalog_commit(&d->catalog);
    return rc;
}

static int write_records(struct writer *wr)
{
    struct disk *d = wr->disk;
    int rc = disk_catalog_begin(&d->catalog);
    if (rc) return rc;
    rc = disk_batch_record(d, &wr->batch);
    if (rc) {
        disk_catalog_abort(&d->catalog);
        return rc;
    }
    rc = disk_catalog_commit(&d->catalog);
    if (!rc) metric_add(METRIC_DISK_STORED, (int64_t)wr->batch.recorded_count);
    return rc;
}

static void settle(struct writer *wr);

/* After a failure nothing is queued. First what is too much goes, a batch at a time and nothing
 * appended again: pages can only be used two commits later. Then a value that is nobody's tells
 * whether the disk takes any. */
static int try_out(struct writer *wr)
{
    struct disk *d = wr->disk;
    uint64_t used = d->log.used_bytes, excess = used + d->batch_bytes;
    char *at;
    uint32_t page;
    excess = excess > d->log.limit_bytes ? excess - d->log.limit_bytes : 0;
    wr->is_tried_out = excess == 0;
    if (excess) return disk_batch_give_up(d, &wr->batch, excess);
    int rc = disk_log_append(&d->log, DISK_VALUE_BYTES, &at, &page);
    if (!rc) memset(at, 0, DISK_VALUE_BYTES);
    return rc;
}

static int write_log(struct writer *wr)
{
    struct disk *d = wr->disk;
    int rc = disk_log_begin(&d->log);
    if (rc) return rc;
    if (d->log.used_bytes + d->batch_bytes > d->log.limit_bytes)
        disk_log_prefetch(&d->log, d->batch_bytes);
    if (wr->failing) rc = try_out(wr);
    if (!rc) rc = collect(d, &wr->batch);
    if (!rc) rc = remove_records(wr);
    if (rc) {
        disk_log_abort(&d->log);
        return rc;
    }
    settle(wr);
    rc = disk_log_commit(&d->log);
    disk_store_tell_used(d);
    return rc;
}

static bool has_queue(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    bool has = !list_empty(&d->queue);
    pthread_mutex_unlock(&d->lock);
    return has;
}

static int write_batch(struct writer *wr)
{
    struct disk *d = wr->disk;
    int64_t began_us = clock_monotonic_us();
    if (!has_queue(d) && !wr->failing) {
        int rc = remove_records(wr);
        if (!rc) settle(wr);
        return rc;
    }
    int rc = write_log(wr);
    if (rc) return rc;
    disk_batch_apply(d, &wr->batch);
    rc = write_records(wr);
    metric_observe_us(METRIC_DISK_COMMIT, (uint64_t)(clock_monotonic_us() - began_us));
    return rc;
}

/* ---- who waits for what is forgotten ---- */

static void tell_waiting_locked(struct disk *d, uint64_t upto)
{
    list_each_safe (link, &d->waits) {
        struct disk_wait *w = container_of(link, struct disk_wait, link);
        if (w->upto > upto) continue;
        list_remove(link);
        worker_post(w->worker, &w->note);
    }
}

static void settle(struct writer *wr)
{
    struct disk *d = wr->disk;
    wr->forgetting_count = 0;
    pthread_mutex_lock(&d->lock);
    d->settled = wr->forgetting_upto;
    tell_waiting_locked(d, d->settled);
    pthread_mutex_unlock(&d->lock);
}

/* ---- a disk that fails ---- */

static int64_t now_ms(void)
{
    return clock_monotonic_us() / 1000;
}

/* The catalog has what should be forgotten, and cannot be changed: without its stamp the store is
 * begun anew at the next start, should the process end before it can. */
static void distrust(struct writer *wr)
{
    struct disk *d = wr->disk;
    disk_stamp_remove(d->settings.path);
    atomic_store(&d->is_distrusted, true);
    pthread_mutex_lock(&d->lock);
    tell_waiting_locked(d, UINT64_MAX);
    pthread_mutex_unlock(&d->lock);
}

static bool owes_anything(struct writer *wr)
{
    struct disk *d = wr->disk;
    pthread_mutex_lock(&d->lock);
    bool owes = wr->forgetting_count || d->forgotten_count;
    pthread_mutex_unlock(&d->lock);
    return owes;
}

static bool owes_forgetting(struct writer *wr)
{
    return wr->open && !atomic_load(&wr->disk->is_distrusted) && owes_anything(wr);
}

/* Nobody waits for a disk that does not work. */
static void give_up_queue(struct writer *wr)
{
    struct disk *d = wr->disk;
    struct disk_write *w;
    while ((w = disk_dequeue(d))) {
        struct object *o = w->object;
        disk_write_fail(d, w);
        object_drop(&o);
    }
    if (owes_forgetting(wr)) distrust(wr);
    pthread_mutex_lock(&d->lock);
    tell_waiting_locked(d, UINT64_MAX);
    pthread_mutex_unlock(&d->lock);
}

static void set_limit(struct disk *d, uint64_t bytes)
{
    d->log.limit_bytes = bytes;
    atomic_store(&d->limit_bytes, bytes);
}

/* A file system that somebody else fills: from now on the log makes do with what it has, and asks
 * for more from time to time. LMDB calls a write that was cut short EIO. */
static void make_do(struct writer *wr, int rc)
{
    struct disk *d = wr->disk;
    uint64_t slack = 4 * d->batch_bytes;
    if (!wr->open || (rc != ENOSPC && rc != EIO && rc != EDQUOT)) return;
    if (d->log.used_bytes < 2 * slack || d->log.used_bytes - slack > d->log.limit_bytes) return;
    set_limit(d, d->log.used_bytes - slack);
    wr->grow_at_ms = now_ms() + GROW_MS;
}

static void grow(struct writer *wr)
{
    struct disk *d = wr->disk;
    uint64_t limit = d->log.limit_bytes + wr->limit_bytes / 16;
    if (d->log.limit_bytes >= wr->limit_bytes || now_ms() < wr->grow_at_ms) return;
    set_limit(d, limit < wr->limit_bytes ? limit : wr->limit_bytes);
    wr->grow_at_ms = now_ms() + GROW_MS;
}

static const char *reason_of(const struct writer *wr, int rc)
{
    switch (rc) {
    case PAGE_DAMAGED: return "a page cannot be read";
    case FILES_GONE: return "its files were removed";
    case EWOULDBLOCK: return "another process uses the folder";
    case EIO: /* what LMDB says of a write that was cut short */
        return disk_log_error(disk_store_is_full(wr->disk) ? ENOSPC : EIO);
    default: return disk_log_error(rc);
    }
}

static void fail(struct writer *wr, int rc)
{
    struct disk *d = wr->disk;
    if (!wr->failing)
        log_always(LOG_ERROR, "disk cache %s: nothing is written for now: %s", d->settings.path,
                   reason_of(wr, rc));
    metric_add(METRIC_DISK_WRITE_ERRORS, 1);
    wr->retry_ms = wr->failing ? wr->retry_ms * 2 : RETRY_MS;
    if (wr->retry_ms > RETRY_MAX_MS) wr->retry_ms = RETRY_MAX_MS;
    wr->retry_at_ms = now_ms() + wr->retry_ms;
    wr->failing = true;
    if (atomic_exchange(&d->up, false)) metric_add(METRIC_DISK_UP, -1);
    disk_batch_undo(d, &wr->batch, true);
    give_up_queue(wr);
    make_do(wr, rc);
}

static void recover(struct writer *wr)
{
    struct disk *d = wr->disk;
    if (wr->failing) log_always(LOG_INFO, "disk cache %s: writing again", d->settings.path);
    if (atomic_load(&d->is_distrusted) && !owes_anything(wr) &&
        disk_stamp_write(d->settings.path, &d->stamp, false) == 0)
        atomic_store(&d->is_distrusted, false);
    wr->failing = false;
    if (!atomic_exchange(&d->up, true)) metric_add(METRIC_DISK_UP, 1);
}

/* A store that is damaged is let go of, and another one begun in its place: whatever the directory
 * knows of the old one is forgotten. */
static void abandon(struct writer *wr)
{
    struct disk *d = wr->disk;
    directory_clear(&d->directory);
    disk_store_abandon(d);
    wr->open = false;
    wr->damages++;
}

/* Readers that are at it get half a minute to end: they need no name. */
static void let_go_of_lost(struct writer *wr)
{
    if (wr->lost_fd >= 0 && ftruncate(wr->lost_fd, 0) < 0)
        log_event(LOG_WARNING, "disk cache %s: the removed log keeps its room: %s",
                  wr->disk->settings.path, strerror(errno));
    wr->lost_fd = -1;
}

static bool are_files_gone(struct writer *wr)
{
    if (now_ms() >= wr->lost_until_ms) let_go_of_lost(wr);
    wr->look_at_ms = now_ms() + LOOK_MS;
    return disk_store_is_gone(wr->disk);
}

static void lose_files(struct writer *wr)
{
    let_go_of_lost(wr);
    wr->lost_fd = wr->disk->log.fd;
    wr->lost_until_ms = now_ms() + LOOK_MS;
    disk_store_unlock(wr->disk);
    abandon(wr);
}

/* MDB_MAP_FULL: fragments, or a catalog of very many small objects. What is oldest makes room, and
 * all of the batch is put again. */
static void squeeze(struct writer *wr)
{
    struct disk *d = wr->disk;
    wr->squeezes++;
    disk_batch_undo(d, &wr->batch, false);
    for (size_t i = 0; i < wr->batch.write_count; i++) disk_requeue(d, wr->batch.writes[i]);
    uint64_t share = d->log.limit_bytes / 32, batches = 8 * d->batch_bytes;
    set_limit(d, d->log.limit_bytes - (share < batches ? share : batches));
    wr->limit_bytes = d->log.limit_bytes;
}

/* What was given up by a batch that failed is not in the directory any more, so nobody would forget
 * it when another takes its place: its records have to go all the same. */
static void keep_dropped(struct writer *wr)
{
    const struct disk_batch *b = &wr->batch;
    add_forgetting(wr, b->dropped, b->dropped_count);
}

static int open_anew(struct writer *wr)
{
    uint64_t highest;
    return disk_store_open(wr->disk, false, &highest);
}

static void reopen(struct writer *wr)
{
    if (wr->damages > DAMAGES_MAX) {
        log_always(LOG_ERROR, "disk cache %s: left alone until a restart", wr->disk->settings.path);
        wr->retry_at_ms = INT64_MAX;
        return;
    }
    directory_clear(&wr->disk->directory); /* of what a start that failed has found */
    int rc = guarded(wr, open_anew);
    if (rc) {
        fail(wr, rc);
        if (rc == PAGE_DAMAGED) abandon(wr);
        return;
    }
    wr->open = true;
    wr->limit_bytes = wr->disk->log.limit_bytes;
    wr->squeezes = 0;
    wr->forgetting_count = 0;
    recover(wr);
}

/* ---- the thread ---- */

static void turn(struct writer *wr)
{
    struct disk *d = wr->disk;
    if (!wr->open) {
        reopen(wr);
        return;
    }
    if (wr->failing && owes_forgetting(wr)) distrust(wr);
    if (wr->failing && now_ms() < wr->retry_at_ms) return;
    grow(wr);
    int rc = are_files_gone(wr) ? FILES_GONE : guarded(wr, write_batch);
    bool damaged = rc == PAGE_DAMAGED || disk_log_is_corrupt(rc);
    if (rc) keep_dropped(wr);
    if (disk_log_is_full(rc) && wr->squeezes < SQUEEZES_MAX)
        squeeze(wr);
    else if (rc)
        fail(wr, rc);
    else if (wr->failing && !wr->is_tried_out)
        wr->retry_at_ms = now_ms() + LINGER_MS;
    else
        recover(wr);
    if (damaged) abandon(wr);
    if (rc == FILES_GONE) lose_files(wr);
    disk_batch_reset(d, &wr->batch);
}

static bool has_work_locked(const struct writer *wr)
{
    const struct disk *d = wr->disk;
    return !list_empty(&d->queue) || d->forgotten_count || wr->forgetting_count;
}

static void wait_until_locked(struct disk *d, int64_t at_ms)
{
    struct timespec at = { at_ms / 1000, at_ms % 1000 * 1000000 };
    pthread_cond_timedwait(&d->bell, &d->lock, &at);
}

/* False once it is to stop and there is nothing left to do. */
static bool wait_for_work(struct writer *wr)
{
    struct disk *d = wr->disk;
    bool ready = true;
    pthread_mutex_lock(&d->lock);
    while (!d->stopping && (wr->failing || !has_work_locked(wr))) {
        bool owes = d->forgotten_count && !atomic_load(&d->is_distrusted);
        if (now_ms() >= (wr->failing ? wr->retry_at_ms : wr->look_at_ms)) break;
        if (wr->failing && owes) break;
        wait_until_locked(d, wr->failing ? wr->retry_at_ms : wr->look_at_ms);
    }
    int64_t until_ms = now_ms() + LINGER_MS;
    while (!d->stopping && !wr->failing && list_empty(&d->waits) &&
           d->queued_bytes < d->batch_bytes && now_ms() < until_ms)
        wait_until_locked(d, until_ms);
    if (d->stopping) ready = wr->open && !wr->failing && has_work_locked(wr);
    pthread_mutex_unlock(&d->lock);
    return ready;
}

static void *run(void *argument)
{
    struct writer *wr = argument;
    struct disk *d = wr->disk;
    while (wait_for_work(wr)) turn(wr);
    give_up_queue(wr);
    if (wr->open) disk_store_close(d, !wr->failing);
    disk_batch_free(&wr->batch);
    free(wr->forgetting);
    free(wr);
    return NULL;
}

static int open_what_is_there(struct writer *wr)
{
    return disk_store_open(wr->disk, true, &wr->highest_purge_seq);
}

void disk_writer_start(struct disk *d, uint64_t *highest_purge_seq)
{
    struct writer *wr = xcalloc(1, sizeof *wr);
    wr->disk = d;
    wr->lost_fd = -1;
    wr->look_at_ms = now_ms() + LOOK_MS;
    disk_batch_init(&wr->batch);
    catch_damage();
    int rc = guarded(wr, open_what_is_there);
    *highest_purge_seq = wr->highest_purge_seq;
    wr->open = rc == 0;
    wr->limit_bytes = d->log.limit_bytes;
    if (rc)
        fail(wr, rc);
    else
        recover(wr);
    if (rc == PAGE_DAMAGED) abandon(wr);
    pthread_create(&d->thread, NULL, run, wr);
}

void disk_writer_stop(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    d->stopping = true;
    pthread_cond_signal(&d->bell);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
}
