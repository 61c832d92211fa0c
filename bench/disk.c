/* disk: measures the disk tier by itself: the store's own code, without a server around it.
 *
 *     disk [-d FOLDER] [-s MIB] [-r CAPACITIES] [-n OBJECTS] [PART...]
 *
 * PART is fill, reads, index; all of them by default. FOLDER is made, and emptied of what is made
 * in it. The figures of a store smaller than the machine's memory say what the code costs; how fast
 * the disk is they tell where it is several times larger. */
#include "bench/disk.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edge/base/mem.h"
#include "edge/io/worker.h"

#define VARIANTS_MAX 8
#define WINDOW_BYTES (256 << 10)

/* ---- a store ---- */

void store_open(struct store *s, const char *folder, uint64_t size_bytes, size_t memory_bytes)
{
    struct disk_settings settings = { folder, size_bytes, 64 << 20 };
    index_init(&s->index, memory_bytes, VARIANTS_MAX, WINDOW_BYTES);
    s->disk = disk_open(&settings, &s->index, &s->highest_purge_seq);
    s->index.disk = s->disk;
    s->index.object_memory_max_bytes = memory_bytes / 8;
    if (!atomic_load(&s->disk->up)) die("%s: the store does not open", folder);
}

void store_close(struct store *s)
{
    disk_stop(s->disk);
    index_free(&s->index);
    disk_free(&s->disk);
}

void store_delete(const char *folder)
{
    static const char *const files[] = { "log", "catalog", "stamp", "lock" };
    char path[4096];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
}

uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1d;
}

/* ---- the table ---- */

void print_title(const char *format, ...)
{
    va_list arguments;
    char text[128];
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    printf("\n| %-46s |            |           |         |             |\n", text);
}

void print_row(const char *what, double figure, const char *unit, const char *goal, bool reached)
{
    int digits = figure < 10 ? 3 : figure < 1000 ? 1 : 0;
    printf("| %-46s | %10.*f | %-9s | %-7s | %-11s |\n", what, digits, figure, unit,
           goal ? goal : "",
           !goal     ? ""
           : reached ? "reached"
                     : "NOT reached");
    fflush(stdout);
}

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("disk: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* ---- the program ---- */

static const struct {
    const char *name;
    void (*run)(const struct bench *b);
} parts[] = {
    { "fill", bench_fill },
    { "reads", bench_reads },
    { "index", bench_index },
};

static bool is_wanted(const char *name, char **wanted)
{
    if (!*wanted) return true;
    for (; *wanted; wanted++) {
        if (strcmp(*wanted, name) == 0) return true;
    }
    return false;
}

static int usage(void)
{
    fputs("usage: disk [-d FOLDER] [-s MIB] [-r CAPACITIES] [-n OBJECTS] [fill] [reads] [index]\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    struct bench b = { "build/bench-disk", 512 << 20, 10, 2000000 };
    for (int option; (option = getopt(argc, argv, "d:s:r:n:")) != -1;) {
        switch (option) {
        case 'd': b.folder = optarg; break;
        case 's': b.size_bytes = strtoull(optarg, NULL, 10) << 20; break;
        case 'r': b.capacities = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'n': b.index_objects = strtoul(optarg, NULL, 10); break;
        default: return usage();
        }
    }
    if (b.size_bytes < 64 << 20 || !b.capacities || !b.index_objects) return usage();
    mallopt(M_MMAP_THRESHOLD, 4 << 20); /* as the node does */
    mallopt(M_TRIM_THRESHOLD, WORKER_OWN_BYTES);
    key_seed(1, 2);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (is_wanted(parts[i].name, argv + optind)) parts[i].run(&b);
    }
    return 0;
}
