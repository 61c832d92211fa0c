/* requests: a trace in memory, its keys numbered in the order of their first request.
 *
 * A line of the file is `timestamp_s,key,size_bytes`, no header, plain or gzip. Only the order of
 * the lines counts. A key keeps the size of its first line: a trace of reads has no versions. */
#ifndef VERGE_BENCH_REQUESTS_H
#define VERGE_BENCH_REQUESTS_H

#include <stddef.h>
#include <stdint.h>

struct requests {
    uint32_t *ids; /* in the order of the trace */
    size_t count;
    uint64_t *sizes; /* of each id, bytes */
    uint32_t id_count;
    uint64_t footprint_bytes; /* of all distinct keys together */
    uint64_t requested_bytes;
};

/* Ends the process with one line where the file cannot be read or a line is not of that form. */
void requests_read(struct requests *r, const char *path);
void requests_free(struct requests *r);

#endif
