/* The writer at full rate: a store that is full and stays so, rewritten several times over. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/disk.h"
#include "edge/base/clock.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"

#define MEMORY_BYTES ((size_t)256 << 20)
#define PIECE_BYTES  (256u << 10) /* of a body, as it would be received */
#define RECENT       512          /* written objects that may yet be hit */
#define FLOOR_BYTES  ((size_t)1 << 20)
#define GB           1e9

struct kind {
    const char *name;
    uint64_t (*size)(uint64_t *random);
    unsigned hit_percent; /* of the objects are hit before the log comes round: appended again */
};

static uint64_t of_64k(uint64_t *random)
{
    (void)random;
    return 64 << 10;
}

static uint64_t of_1m(uint64_t *random)
{
    (void)random;
    return 1 << 20;
}

/* Log-normal, half of them below 12 KiB and 51 KiB on average, none above 16 MiB. */
static uint64_t of_web(uint64_t *random)
{
    double a = (double)(random_next(random) >> 11) * 0x1p-53 + 0x1p-54;
    double b = (double)(random_next(random) >> 11) * 0x1p-53;
    double normal = sqrt(-2 * log(a)) * cos(2 * M_PI * b);
    double size = 12288 * exp(1.7 * normal);
    return size < 100 ? 100 : size > 16 << 20 ? 16 << 20 : (uint64_t)size;
}

static const struct kind kinds[] = {
    { "objects of 64 KiB", of_64k, 0 },
    { "web-like objects, a tenth kept", of_web, 10 },
    { "objects of 1 MiB", of_1m, 0 },
};

/* ---- objects ---- */

struct filler {
    struct store *store;
    const struct kind *kind;
    uint64_t random, number, bytes;
    struct object *recent[RECENT];
};

static void append_body(struct object *o, uint64_t size_bytes, uint64_t number)
{
    for (uint64_t at = 0; at < size_bytes; at += PIECE_BYTES) {
        size_t n = size_bytes - at < PIECE_BYTES ? size_bytes - at : PIECE_BYTES;
        struct span s = { block_new(n), 0, (uint32_t)n };
        if (!s.block) die("memory is out");
        memset(s.block->data, (int)number, n);
        object_append(o, &s);
    }
}

/* As a fill does: in the index as soon as its head is known. */
static struct object *make_object(struct filler *f)
{
    static struct field fields[] = {
        { { "content-type", 12 }, { "application/octet-stream", 24 }, 0 },
        { { "etag", 4 }, { "\"0123456789abcdef\"", 18 }, 0 },
        { { "cache-control", 13 }, { "max-age=86400", 13 }, 0 },
    };
    char text[64];
    int n = snprintf(text, sizeof text, "4:http7:a.local%lu", f->number);
    struct slice s = slice_of(text, (size_t)n);
    struct key key = { .hash = key_hash(s), .text = s };
    uint64_t size = f->kind->size(&f->random);
    struct response head = { .status = 200, .length = (int64_t)size, .fields = { fields, 3, 3 } };
    struct freshness fresh = { .received_ms = clock_wall_ms(), .lifetime_ms = 86400000 };
    struct object *o = object_new(&key, &f->store->index.budget, 0, 1 << 20);
    object_set_head(o, &head, &fresh, SLICE_NONE, SLICE_NONE, AUDIENCE_REUSE);
    if (!index_publish(&f->store->index, o)) die("an object was not stored");
    append_body(o, size, f->number);
    f->bytes += size;
    return o;
}

/* The hits of a popular one; then nobody but the index holds it. */
static void let_go(struct filler *f, struct object **o, uint64_t number)
{
    struct stored *place = *o ? payload_stored((*o)->payload) : NULL;
    if (place && number % 100 < f->kind->hit_percent) {
        stored_hit(place);
        stored_hit(place);
    }
    object_drop(o);
}

static bool has_room(struct disk *d, uint64_t bytes)
{
    pthread_mutex_lock(&d->lock);
    bool room = d->queued_bytes + bytes <= d->settings.queue_bytes;
    pthread_mutex_unlock(&d->lock);
    return room;
}

static void write_one(struct filler *f)
{
    struct disk *d = f->store->disk;
    struct object *o = make_object(f);
    while (!has_room(d, o->payload->end)) usleep(500);
    object_complete(o, NULL);
    if (!disk_write(d, o)) die("the writer has given up");
    struct object **recent = &f->recent[f->number % RECENT];
    let_go(f, recent, f->number);
    *recent = o;
    f->number++;
}

static void write_bytes(struct filler *f, uint64_t bytes)
{
    uint64_t until = f->bytes + bytes;
    while (f->bytes < until) write_one(f);
}

static void wait_for_writer(struct disk *d)
{
    for (bool idle = false; !idle; usleep(1000)) {
        pthread_mutex_lock(&d->lock);
        idle = d->queued_bytes == 0;
        pthread_mutex_unlock(&d->lock);
    }
}

/* ---- what it cost ---- */

struct usage {
    double user_s, system_s;
    int64_t at_us;
};

static double seconds(const struct timeval *t)
{
    return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

/* Of the writer: all that is not this thread's. */
static struct usage usage_now(void)
{
    struct rusage all, mine;
    getrusage(RUSAGE_SELF, &all);
    getrusage(RUSAGE_THREAD, &mine);
    return (struct usage){ seconds(&all.ru_utime) - seconds(&mine.ru_utime),
                           seconds(&all.ru_stime) - seconds(&mine.ru_stime), clock_monotonic_us() };
}

/* What has come since before. */
static struct histogram histogram_since(const struct histogram *before)
{
    struct histogram h = metric_histogram(METRIC_DISK_COMMIT);
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) h.counts[i] -= before->counts[i];
    return h;
}

static void print_speed(const struct usage *from, const struct usage *to, double gb)
{
    double user = (to->user_s - from->user_s) / gb, system = (to->system_s - from->system_s) / gb;
    double rate = gb * 1e3 / ((double)(to->at_us - from->at_us) / 1e6);
    print_row("admitted, at capacity", rate, "MB/s", ">= 500", rate >= 500);
    print_row("writer's CPU", user + system, "s/GB", "<= 0.2", user + system <= 0.2);
    print_row("  in user mode", user, "s/GB", NULL, false);
    print_row("  in the system", system, "s/GB", NULL, false);
}

static uint64_t file_bytes(const char *folder, const char *file)
{
    char path[4096];
    struct stat s;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    return stat(path, &s) == 0 ? (uint64_t)s.st_blocks * 512 : 0;
}

static uint64_t object_bytes(struct directory *d)
{
    struct directory_place place = { 0 };
    struct stored *found[256];
    uint64_t bytes = 0;
    for (unsigned n; (n = directory_walk(d, &place, found, 256));) {
        for (unsigned i = 0; i < n; i++) {
            bytes += found[i]->body_bytes;
            stored_drop(d, &found[i]);
        }
    }
    return bytes;
}

static void print_space(const struct bench *b, const struct disk *d, uint64_t bodies)
{
    double log = (double)file_bytes(b->folder, "log");
    double all = log + (double)file_bytes(b->folder, "catalog");
    double live = (double)atomic_load(&d->used_bytes);
    print_row("log's file over the values in it", log / live, "", "<= 1.05", log / live <= 1.05);
    print_row("both files over the bodies in them", all / (double)bodies, "", NULL, false);
    print_row("both files over the size given", all / (double)b->size_bytes, "", "<= 1.05",
              all / (double)b->size_bytes <= 1.05);
}

static void print_commits(const struct histogram *before)
{
    struct histogram h = histogram_since(before);
    double p50 = histogram_percentile_us(&h, 0.5) / 1e3,
           p99 = histogram_percentile_us(&h, 0.99) / 1e3;
    print_row("commit, p50", p50, "ms", NULL, false);
    print_row("commit, p99", p99, "ms", "<= 10", p99 <= 10);
}

static void fill(const struct bench *b, const struct kind *kind)
{
    static struct store store;
    store_delete(b->folder);
    store_open(&store, b->folder, b->size_bytes, MEMORY_BYTES);
    struct filler f = { .store = &store, .kind = kind, .random = 0x9e3779b97f4a7c15 };
    write_bytes(&f, b->size_bytes);
    struct histogram commits = metric_histogram(METRIC_DISK_COMMIT);
    struct usage before = usage_now();
    uint64_t bytes = f.bytes;
    write_bytes(&f, b->size_bytes * b->capacities);
    wait_for_writer(store.disk);
    struct usage after = usage_now();
    print_title("%s, %u x %lu MiB", kind->name, b->capacities, b->size_bytes >> 20);
    print_speed(&before, &after, (double)(f.bytes - bytes) / GB);
    print_commits(&commits);
    print_space(b, store.disk, object_bytes(&store.disk->directory));
    for (int i = 0; i < RECENT; i++) object_drop(&f.recent[i]);
    store_close(&store);
}

/* What the system takes for as many bytes that are in memory once and need no look: the least that
 * any store costs which writes through the page cache. */
static void print_floor(const struct bench *b)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/floor", b->folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) die("%s cannot be made", path);
    unlink(path);
    char *piece = memset(xmalloc(FLOOR_BYTES), 1, FLOOR_BYTES);
    struct rusage from, to;
    for (int pass = 0; pass < 2; pass++) {
        getrusage(RUSAGE_THREAD, &from);
        for (uint64_t at = 0; at < b->size_bytes; at += FLOOR_BYTES) {
            if (pwrite(fd, piece, FLOOR_BYTES, (off_t)at) < 0) die("%s cannot be written", path);
        }
        getrusage(RUSAGE_THREAD, &to);
    }
    double cpu = seconds(&to.ru_utime) + seconds(&to.ru_stime) - seconds(&from.ru_utime) -
                 seconds(&from.ru_stime);
    print_title("for comparison: a file rewritten by pwrite");
    print_row("its CPU, 1 MiB at a time", cpu / ((double)b->size_bytes / GB), "s/GB", NULL, false);
    close(fd);
    free(piece);
}

void bench_fill(const struct bench *b)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) fill(b, &kinds[i]);
    print_floor(b);
}
