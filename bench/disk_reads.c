/* Reads as a worker makes them, beside a plain pread of the same place. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/disk.h"
#include "cache/disk_read.h"
#include "edge/base/clock.h"
#include "edge/base/mem.h"
#include "edge/io/worker.h"

#define SAMPLES 2000

enum way { WAY_VERGE, WAY_RAW, WAYS };

struct sample {
    struct stored *stored;
    uint32_t chunk;
};

struct reads {
    struct disk *disk;
    struct scope scope;
    struct disk_read read;
    struct sample samples[SAMPLES];
    size_t count, at;
    bool cold;
    enum way way;
    int64_t began_ns;
    double took_us[WAYS][SAMPLES];
    size_t done[WAYS], warm; /* warm: what was to be cold and was not */
    long major_faults;
    char *buffer, *map; /* of the file; only to be asked what of it is in memory */
};

static struct reads reads;
static struct worker worker;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* ---- one place ---- */

static uint64_t offset_of(struct reads *r, uint32_t *page)
{
    uint32_t size;
    const struct sample *s = &r->samples[r->at];
    if (!stored_locate(&r->disk->directory, s->stored, s->chunk, page, &size))
        die("a value is not where it was");
    return disk_log_offset(*page);
}

/* Out of the page cache, or into it. */
static void prepare(struct reads *r)
{
    uint32_t page;
    unsigned char resident;
    uint64_t at = offset_of(r, &page);
    int fd = atomic_load(&r->disk->fd);
    if (!r->cold) {
        if (pread(fd, r->buffer, DISK_VALUE_BYTES, (off_t)at) < 0) die("pread failed");
        return;
    }
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* all: the system caches in large pieces */
    if (mincore(r->map + (at - 16), 1, &resident) == 0 && resident & 1) r->warm++;
}

static void record(struct reads *r, enum way way)
{
    r->took_us[way][r->done[way]++] = (double)(now_ns() - r->began_ns) / 1e3;
}

static void read_raw(struct reads *r)
{
    uint32_t page;
    uint64_t at = offset_of(r, &page);
    prepare(r);
    r->began_ns = now_ns();
    if (pread(atomic_load(&r->disk->fd), r->buffer, DISK_VALUE_BYTES, (off_t)at) !=
        DISK_VALUE_BYTES)
        die("pread failed");
    record(r, WAY_RAW);
}

/* ---- all of them, on the worker ---- */

static void go_on(struct reads *r);

static void on_value(struct disk_read *read, struct block *value)
{
    struct reads *r = container_of(read, struct reads, read);
    if (!value) die("a value could not be read");
    record(r, WAY_VERGE);
    block_release(value);
    if (r->at % 2 == 0) read_raw(r); /* who comes first takes turns */
    r->at++;
    go_on(r);
}

static long major_faults(void)
{
    struct rusage mine;
    getrusage(RUSAGE_THREAD, &mine);
    return mine.ru_majflt;
}

static void go_on(struct reads *r)
{
    if (r->at == r->count) {
        r->major_faults += major_faults();
        worker_stop(r->scope.worker);
        return;
    }
    if (r->at % 2) read_raw(r);
    prepare(r);
    const struct sample *s = &r->samples[r->at];
    r->began_ns = now_ns();
    disk_read_start(&r->read, r->disk, s->stored, s->chunk, &r->scope, on_value);
}

static void never_idle(struct scope *s)
{
    (void)s;
}

static void start(struct worker *w)
{
    scope_init(&reads.scope, w, never_idle);
    reads.major_faults = -major_faults();
    go_on(&reads);
}

static void run(bool cold)
{
    reads.cold = cold;
    reads.at = reads.done[WAY_VERGE] = reads.done[WAY_RAW] = reads.warm = 0;
    worker_init(&worker, 0);
    if (worker_start(&worker, -1, start) < 0) die("no io_uring");
    worker_join(&worker);
}

/* ---- which ---- */

/* Whole chunks of objects from all over the store. */
static void choose(struct reads *r)
{
    struct directory *d = &r->disk->directory;
    struct directory_place place = { 0 };
    struct stored *found[64];
    uint64_t random = 1;
    for (unsigned n; (n = directory_walk(d, &place, found, 64));) {
        for (unsigned i = 0; i < n; i++) {
            for (unsigned k = 0; k < 4 && found[i]->page_count > 1 && r->count < SAMPLES; k++) {
                uint32_t chunk = (uint32_t)(random_next(&random) % (found[i]->page_count - 1));
                r->samples[r->count++] = (struct sample){ stored_hold(found[i]), chunk };
            }
            stored_drop(d, &found[i]);
        }
    }
    for (size_t i = r->count; i > 1; i--) {
        size_t k = random_next(&random) % i;
        struct sample s = r->samples[i - 1];
        r->samples[i - 1] = r->samples[k];
        r->samples[k] = s;
    }
}

/* ---- the table ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(struct reads *r, enum way way, double q)
{
    qsort(r->took_us[way], r->done[way], sizeof(double), by_size);
    return r->took_us[way][(size_t)(q * (double)(r->done[way] - 1))];
}

static void print(struct reads *r, const char *goal)
{
    double verge = quantile(r, WAY_VERGE, 0.5), raw = quantile(r, WAY_RAW, 0.5);
    print_title("%s reads of 64 KiB, one at a time", r->cold ? "cold" : "warm");
    print_row("a worker's read, p50", verge, "us", NULL, false);
    print_row("  p99", quantile(r, WAY_VERGE, 0.99), "us", NULL, false);
    print_row("a plain pread, p50", raw, "us", NULL, false);
    print_row("  p99", quantile(r, WAY_RAW, 0.99), "us", NULL, false);
    print_row("p50 over that of a pread", verge / raw, "", goal, verge / raw <= 1.2);
    print_row("major faults on the worker", (double)r->major_faults, "", "0", r->major_faults == 0);
    if (r->warm) print_row("reads that were not cold", (double)r->warm, "", NULL, false);
}

/* Of the store that bench_fill has left; nobody writes to it meanwhile. */
void bench_reads(const struct bench *b)
{
    static struct store store;
    store_open(&store, b->folder, b->size_bytes, 256 << 20);
    reads.disk = store.disk;
    reads.buffer = xmalloc(DISK_VALUE_BYTES);
    choose(&reads);
    if (!reads.count) die("%s has nothing to read: fill first", b->folder);
    int fd = atomic_load(&store.disk->fd);
    fdatasync(fd);
    reads.map = mmap(NULL, b->size_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (reads.map == MAP_FAILED) die("the log cannot be mapped");
    run(true);
    print(&reads, "<= 1.2");
    run(false);
    print(&reads, NULL);
    for (size_t i = 0; i < reads.count; i++)
        stored_drop(&store.disk->directory, &reads.samples[i].stored);
    munmap(reads.map, b->size_bytes);
    free(reads.buffer);
    store_close(&store);
}
