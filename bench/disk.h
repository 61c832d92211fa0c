/* disk: what the parts of the disk tier's bench share: a store in a scratch folder, what it cost,
 * and rows of the table. One thread, but for the worker that bench_reads runs. */
#ifndef VERGE_BENCH_DISK_H
#define VERGE_BENCH_DISK_H

#include "cache/disk.h"
#include "cache/index.h"

struct bench {
    const char *folder; /* where stores come and go */
    uint64_t size_bytes;
    unsigned capacities; /* to be rewritten */
    size_t index_objects;
};

/* A node's cache without the node. */
struct store {
    struct index index;
    struct disk *disk;
    uint64_t highest_purge_seq;
};

/* Opens what is in the folder, or begins anew. Ends the program where that does not work. */
void store_open(struct store *s, const char *folder, uint64_t size_bytes, size_t memory_bytes);
/* Keeps the files; store_delete does not. */
void store_close(struct store *s);
void store_delete(const char *folder);

/* A line: what, the figure and its unit, and, unless it is NULL, the goal and whether it is
 * reached. */
void print_row(const char *what, double figure, const char *unit, const char *goal, bool reached);
__attribute__((format(printf, 1, 2))) void print_title(const char *format, ...);
__attribute__((format(printf, 1, 2))) _Noreturn void die(const char *format, ...);

/* xorshift64*. */
uint64_t random_next(uint64_t *state);

/* Rewrites the store with objects of one kind, and leaves that of 1 MiB objects for bench_reads. */
void bench_fill(const struct bench *b);
void bench_reads(const struct bench *b);
void bench_index(const struct bench *b);

#endif
