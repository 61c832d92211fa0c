/* A start with a full catalog. */
#include <malloc.h>
#include <stdio.h>
#include <sys/stat.h>

#include "bench/disk.h"
#include "cache/disk_catalog.h"
#include "edge/base/clock.h"

#define BATCH 10000
/* The limit: the files are as large as what is in them. */
#define STORE_BYTES ((uint64_t)64 << 30)

/* Objects of one value each, as most are. */
static void put_records(struct disk_catalog *c, uint64_t from, uint64_t to, uint64_t *random)
{
    int rc = disk_catalog_begin(c);
    for (uint64_t id = from; id < to && !rc; id++) {
        struct disk_record r = { .hash = random_next(random),
                                 .body_bytes = 20000,
                                 .head_page = (uint32_t)id * 5,
                                 .head_size_bytes = 20400 };
        rc = disk_catalog_put(c, id, &r, NULL);
    }
    if (!rc) rc = disk_catalog_commit(c);
    if (rc) die("the catalog: %s", disk_log_error(rc));
}

static void make_catalog(const char *folder, size_t count)
{
    struct disk_catalog c;
    struct disk_stamp stamp = { .format = DISK_FORMAT, .seed = { { 1, 2 } } };
    uint64_t random = 1;
    char path[4096];
    mkdir(folder, 0700);
    snprintf(path, sizeof path, "%s/catalog", folder);
    if (disk_catalog_open(&c, path, STORE_BYTES / 16)) die("the catalog does not open");
    for (uint64_t id = 1; id <= count; id += BATCH)
        put_records(&c, id, id + BATCH <= count ? id + BATCH : count + 1, &random);
    disk_catalog_close(&c);
    if (disk_stamp_write(folder, &stamp, false)) die("the stamp cannot be written");
}

static double allocated_bytes(void)
{
    struct mallinfo2 m = mallinfo2();
    return (double)(m.uordblks + m.hblkhd);
}

void bench_index(const struct bench *b)
{
    static struct store store;
    store_delete(b->folder);
    make_catalog(b->folder, b->index_objects);
    double before = allocated_bytes();
    int64_t began_us = clock_monotonic_us();
    store_open(&store, b->folder, STORE_BYTES, (size_t)1 << 30);
    double s = (double)(clock_monotonic_us() - began_us) / 1e6;
    double memory = allocated_bytes() - before, count = (double)store.disk->directory.count;
    if (count != (double)b->index_objects) die("%.0f objects were found", count);
    print_title("a start with %zu objects on the disk", b->index_objects);
    print_row("time until the store is open", s * 1e3, "ms", NULL, false);
    print_row("objects loaded", count / s / 1e6, "M/s", ">= 1", count / s >= 1e6);
    print_row("memory for each", memory / count, "bytes", NULL, false);
    print_row("  as the budget has it", (double)store.index.budget.used_bytes / count, "bytes",
              NULL, false);
    store_close(&store);
    store_delete(b->folder);
}
