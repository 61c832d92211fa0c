/* metrics: counters, gauges and histograms, one line each in metrics.def.
 *
 * Each thread counts in cells of its own, which only it writes, by a plain load and store: no lock
 * prefix, no shared cache line. Whoever reads sums over all threads; a sum is as consistent as a
 * moment without a lock can be, and exact once the threads rest. A thread gets its cells with its
 * first count, or before by metrics_attach; when it ends, its counts are kept. Any thread may call
 * anything here. */
#ifndef VERGE_BASE_METRICS_H
#define VERGE_BASE_METRICS_H

#include <stdatomic.h>
#include <stdio.h>

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/histogram.h"
#include "edge/base/list.h"
#include "edge/base/verdict.h"

/* Members of METRIC_REQUESTS. */
enum metric_protocol {
    METRIC_HTTP_1_0,
    METRIC_HTTP_1_1,
    METRIC_HTTP_2,
    METRIC_HTTP_3,
    METRIC_PROTOCOLS
};

#define METRIC_DISK_DROPS      3 /* members of METRIC_DISK_DROPPED: enum disk_drop */
#define METRIC_FLOOD_KINDS     7 /* members of METRIC_FLOODS: enum flood_kind */
#define METRIC_STATUS_CLASSES  6 /* members of METRIC_RESPONSES: status / 100; 0: none was sent */
#define METRIC_HISTOGRAM_CELLS (HISTOGRAM_BUCKETS + 1) /* and the sum */

/* A metric's id is the number of its first cell. */
enum metric {
#define COUNTER(id, ...) METRIC_##id,
#define GAUGE(id, ...)   METRIC_##id,
#define COUNTER_BY(id, name, label, count, ...)                                                    \
    METRIC_##id, METRIC_##id##_LAST = METRIC_##id + (count)-1,
#define HISTOGRAM(id, ...)                                                                         \
    METRIC_##id, METRIC_##id##_SUM = METRIC_##id + METRIC_HISTOGRAM_CELLS - 1,
#include "edge/base/metrics.def"
#undef COUNTER
#undef GAUGE
#undef COUNTER_BY
#undef HISTOGRAM
    METRIC_CELLS
};

struct metric_cells {
    struct list link; /* of all threads' cells */
    _Alignas(64) _Atomic uint64_t cells[METRIC_CELLS];
};

extern _Thread_local struct metric_cells *metric_cells; /* NULL: this thread has not counted yet */

/* Gives the calling thread its cells; harmless the second time. The end of the thread detaches by
 * itself. */
struct metric_cells *metrics_attach(void);
/* Adds the calling thread's counts to those of ended threads and frees its cells; for a test or an
 * early end. */
void metrics_detach(void);

static inline void metric_add_cell(unsigned cell, int64_t n)
{
    struct metric_cells *mine = metric_cells;
    if (__builtin_expect(!mine, 0)) mine = metrics_attach();
    _Atomic uint64_t *at = &mine->cells[cell];
    uint64_t sum = atomic_load_explicit(at, memory_order_relaxed) + (uint64_t)n;
    atomic_store_explicit(at, sum, memory_order_relaxed);
}

/* n is negative only for gauges. */
static inline void metric_add(enum metric id, int64_t n)
{
    metric_add_cell(id, n);
}

static inline void metric_add_member(unsigned first, unsigned last, unsigned index, int64_t n)
{
    CHECK(index <= last - first);
    metric_add_cell(first + index, n);
}

/* id: the literal name of a COUNTER_BY; index: the member. */
#define metric_add_by(id, index, n) metric_add_member((id), id##_LAST, (unsigned)(index), (n))

static inline void metric_observe_us(enum metric histogram, uint64_t us)
{
    metric_add_cell(histogram + histogram_bucket(us), 1);
    metric_add_cell(histogram + HISTOGRAM_BUCKETS, (int64_t)us);
}

/* Over all threads, also ended ones: a counter or gauge; one member; the buckets. */
int64_t metric_sum(enum metric id);
#define metric_sum_by(id, index) metric_sum((enum metric)((id) + (index)))
struct histogram metric_histogram(enum metric id);

/* Names the members of a set that a higher layer owns; namer gives a static text, NULL for a member
 * that does not exist. Once, before threads start. Members of a set without namer go by their
 * number. */
void metric_set_namer(enum metric id, const char *(*namer)(unsigned index));

/* Has it not printed: there is nothing that it could be about. Once, before threads start. */
void metric_leave_out(enum metric id);

/* All of them in the Prometheus text format, version 0.0.4. */
void metrics_print(FILE *out);

#endif
