#include "cache/disk_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "edge/base/clock.h"
#include "edge/base/log.h"
#include "edge/base/metrics.h"

#define CATALOG_SHARE       16 /* of the size, and at least */
#define CATALOG_BYTES_LEAST (4u << 20)
#define BATCH_SHARE         128 /* of the size, between */
#define BATCH_BYTES_LEAST   (256u << 10)
#define BATCH_BYTES_MOST    (4u << 20)
#define ROLLED_BYTES        (4 * BATCH_BYTES_MOST) /* more than two batches with what they move */
#define BATCHES_FREE        4 /* what two transactions have freed is not to be used yet */

static const char *const files[] = { "log", "catalog", "stamp" };

static void path_of(const struct disk *d, const char *file, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s", d->settings.path, file);
}

/* ---- the folder ---- */

static int make_folder(const char *path)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s", path);
    for (char *at = part + 1; *at; at++) {
        if (*at != '/') continue;
        *at = 0;
        if (mkdir(part, 0755) < 0 && errno != EEXIST) return errno;
        *at = '/';
    }
    return mkdir(part, 0700) < 0 && errno != EEXIST ? errno : 0;
}

/* Two processes in one store would destroy it. */
static int lock_folder(struct disk *d)
{
    char path[PATH_MAX];
    if (d->lock_fd >= 0) return 0;
    path_of(d, "lock", path);
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0) return errno;
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0) return 0;
    int rc = errno;
    close(d->lock_fd);
    d->lock_fd = -1;
    return rc;
}

void disk_store_unlock(struct disk *d)
{
    if (d->lock_fd >= 0) close(d->lock_fd);
    d->lock_fd = -1;
}

static void delete_files(const struct disk *d)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        path_of(d, files[i], path);
        unlink(path);
    }
}

static void set_aside(const struct disk *d, unsigned format)
{
    char from[PATH_MAX], name[64], to[PATH_MAX];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(name, sizeof name, "%s.format-%u", files[i], format);
        path_of(d, files[i], from);
        path_of(d, name, to);
        rename(from, to);
    }
}

/* ---- what is there ---- */

static uint64_t size_on_disk(const struct disk *d)
{
    uint64_t bytes = 0;
    char path[PATH_MAX];
    struct stat s;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        path_of(d, files[i], path);
        if (stat(path, &s) == 0) bytes += (uint64_t)s.st_size;
    }
    return bytes;
}

/* A file never shrinks: a store that was to be larger begins anew. */
static bool has_outgrown(const struct disk *d)
{
    return size_on_disk(d) > d->settings.size_bytes / 100 * 105;
}

static void examine(struct disk *d, bool keep)
{
    const char *path = d->settings.path;
    struct disk_stamp found;
    enum disk_stamp_state state = disk_stamp_read(path, &found);
    if (state == STAMP_FOREIGN) {
        log_always(LOG_WARNING, "disk cache %s: set aside what is there, its format is %u", path,
                   found.format);
        set_aside(d, found.format);
    } else if (state == STAMP_UNTRUSTED) {
        log_always(LOG_WARNING,
                   "disk cache %s: begun anew, the machine went down while it was in use", path);
    } else if (state == STAMP_TRUSTED && keep && has_outgrown(d)) {
        log_always(LOG_WARNING, "disk cache %s: begun anew, it was larger than its size now", path);
    } else if (state == STAMP_TRUSTED && keep) {
        d->stamp = found;
        return;
    }
    delete_files(d);
}

/* ---- opening ---- */

static uint64_t catalog_bytes(const struct disk *d)
{
    uint64_t share = d->settings.size_bytes / CATALOG_SHARE;
    return share > CATALOG_BYTES_LEAST ? share : CATALOG_BYTES_LEAST;
}

static int open_files(struct disk *d)
{
    char path[PATH_MAX];
    path_of(d, "log", path);
    int rc = disk_log_open(&d->log, path, d->settings.size_bytes - catalog_bytes(d));
    if (rc) return rc;
    path_of(d, "catalog", path);
    rc = disk_catalog_open(&d->catalog, path, catalog_bytes(d));
    if (rc) disk_log_close(&d->log);
    return rc;
}

/* What LMDB cannot read is not worth keeping. */
static int open_or_begin_anew(struct disk *d)
{
    int rc = open_files(d);
    if (!disk_log_is_corrupt(rc)) return rc;
    log_always(LOG_WARNING, "disk cache %s: begun anew, its files are damaged: %s",
               d->settings.path, disk_log_error(rc));
    delete_files(d);
    return open_files(d);
}

struct load {
    struct disk *disk;
    uint64_t count, highest_purge_seq;
};

static void on_count(void *context, size_t n)
{
    struct load *l = context;
    directory_reserve(&l->disk->directory, n);
}

static void on_record(void *context, uint64_t id, const struct disk_record *r,
                      const uint32_t *pages)
{
    struct load *l = context;
    struct disk *d = l->disk;
    struct stored *s = stored_new(&d->directory, r->hash, id, r->slice);
    s->variant = r->variant;
    s->body_bytes = r->body_bytes;
    s->head_page = r->head_page;
    s->head_size_bytes = r->head_size_bytes;
    for (uint32_t i = 0; i < r->page_count; i++) stored_append_page(&d->directory, s, pages[i]);
    directory_add(&d->directory, s, 0);
    stored_drop(&d->directory, &s);
    if (r->purge_seq > l->highest_purge_seq) l->highest_purge_seq = r->purge_seq;
    if (id >= d->next_id) d->next_id = id + 1;
    l->count++;
}

/* ---- what the catalog had not been told when the process ended ---- */

/* The same value, or the object's newer head. */
static int roll_value(struct disk *d, const struct disk_log_oldest *at)
{
    struct disk_value v;
    uint32_t page, head_size;
    if (pread(d->log.fd, &v, sizeof v, (off_t)disk_log_offset(at->page)) != sizeof v ||
        v.magic != DISK_MAGIC)
        return 0;
    struct stored *s = directory_get(&d->directory, v.hash, v.id);
    bool moved = s && stored_locate(&d->directory, s, v.chunk, &page, &head_size) &&
                 page != at->page && !v.head_bytes == !head_size;
    uint32_t size = (uint32_t)sizeof v + v.body_bytes + v.head_bytes;
    if (moved && v.head_bytes)
        stored_set_head(&d->directory, s, at->page, size, s->variant);
    else if (moved)
        stored_move(&d->directory, s, v.chunk, page, at->page);
    int rc = moved ? disk_catalog_move(&d->catalog, v.id, v.chunk, at->page, size) : 0;
    stored_drop(&d->directory, &s);
    return rc;
}

/* The log is committed before the catalog: what its last batches have appended again may be known
 * by its old place, which will be another's. */
static int roll_forward(struct disk *d)
{
    struct disk_log_oldest at;
    int rc = disk_log_begin(&d->log);
    if (rc) return rc;
    rc = disk_catalog_begin(&d->catalog);
    bool more = !rc && disk_log_newest(&d->log, ROLLED_BYTES, &at);
    for (; more && !rc; more = disk_log_next(&d->log, &at)) rc = roll_value(d, &at);
    disk_log_abort(&d->log);
    if (!rc) return disk_catalog_commit(&d->catalog);
    disk_catalog_abort(&d->catalog);
    return rc;
}

static int load(struct disk *d, uint64_t *highest_purge_seq)
{
    struct load l = { .disk = d };
    int64_t began_us = clock_monotonic_us();
    int rc = disk_catalog_load(&d->catalog, on_count, on_record, &l);
    if (!rc) rc = roll_forward(d);
    if (rc) return rc;
    *highest_purge_seq = l.highest_purge_seq;
    log_always(LOG_INFO, "disk cache %s: %" PRIu64 " objects, found in %lld ms", d->settings.path,
               l.count, (long long)(clock_monotonic_us() - began_us) / 1000);
    return 0;
}

void disk_store_tell_used(struct disk *d)
{
    uint64_t before = atomic_exchange(&d->used_bytes, d->log.used_bytes);
    metric_add(METRIC_DISK_BYTES, (int64_t)(d->log.used_bytes - before));
}

static void set_limits(struct disk *d)
{
    uint64_t batch = d->settings.size_bytes / BATCH_SHARE;
    if (batch < BATCH_BYTES_LEAST) batch = BATCH_BYTES_LEAST;
    if (batch > BATCH_BYTES_MOST) batch = BATCH_BYTES_MOST;
    d->batch_bytes = batch;
    d->log.limit_bytes -= BATCHES_FREE * batch;
    atomic_store(&d->limit_bytes, d->log.limit_bytes);
    disk_store_tell_used(d);
    atomic_store(&d->fd, d->log.fd);
}

int disk_store_open(struct disk *d, bool keep, uint64_t *highest_purge_seq)
{
    int rc = make_folder(d->settings.path);
    if (!rc) rc = lock_folder(d);
    if (rc) return rc;
    examine(d, keep);
    rc = open_or_begin_anew(d);
    if (rc) return rc;
    rc = load(d, highest_purge_seq);
    if (!rc) rc = disk_stamp_write(d->settings.path, &d->stamp, false);
    if (rc)
        disk_store_close(d, false);
    else
        set_limits(d);
    return rc;
}

/* ---- while it is open ---- */

static bool is_named(const struct disk *d, const char *file, int fd)
{
    char path[PATH_MAX];
    struct stat named, open_;
    path_of(d, file, path);
    return stat(path, &named) == 0 && fstat(fd, &open_) == 0 && named.st_ino == open_.st_ino &&
           named.st_dev == open_.st_dev;
}

bool disk_store_is_gone(const struct disk *d)
{
    return !is_named(d, "log", d->log.fd) || !is_named(d, "catalog", disk_catalog_fd(&d->catalog));
}

bool disk_store_is_full(const struct disk *d)
{
    struct statvfs s;
    return statvfs(d->settings.path, &s) == 0 && s.f_bavail * s.f_frsize < d->batch_bytes;
}

/* ---- closing ---- */

void disk_store_close(struct disk *d, bool clean)
{
    bool synced = clean && disk_log_sync(&d->log) == 0 && disk_catalog_sync(&d->catalog) == 0;
    disk_catalog_close(&d->catalog);
    disk_log_close(&d->log);
    if (synced) disk_stamp_write(d->settings.path, &d->stamp, true);
    atomic_store(&d->fd, -1);
}

void disk_store_abandon(struct disk *d)
{
    d->log = (struct disk_log){ .fd = -1 };
    d->catalog = (struct disk_catalog){ 0 };
}
