#include "edge/base/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum kind { KIND_COUNTER, KIND_GAUGE, KIND_COUNTER_BY, KIND_HISTOGRAM };

struct info {
    enum metric id;
    enum kind kind;
    const char *name, *label;
    unsigned members;
    const char *(*namer)(unsigned index);
    const char *help;
    bool left_out;
};

static const char *name_error(unsigned index)
{
    return error_info((int)index)->name;
}

static const char *name_verdict(unsigned index)
{
    return verdict_name((enum verdict)index);
}

static const char *name_protocol(unsigned index)
{
    static const char *const names[METRIC_PROTOCOLS] = { "http/1.0", "http/1.1", "h2", "h3" };
    return names[index];
}

static const char *name_flood(unsigned index)
{
    static const char *const names[METRIC_FLOOD_KINDS] = { "reset",    "error",    "ping",
                                                           "settings", "priority", "empty",
                                                           "headers" };
    return names[index];
}

static const char *name_disk_drop(unsigned index)
{
    static const char *const names[METRIC_DISK_DROPS] = { "queue", "down", "failed" };
    return names[index];
}

static const char *name_status_class(unsigned index)
{
    static const char *const names[METRIC_STATUS_CLASSES] = { "none", "1xx", "2xx",
                                                              "3xx",  "4xx", "5xx" };
    return names[index];
}

static struct info table[] = {
#define COUNTER(id, name, help) { METRIC_##id, KIND_COUNTER, name, NULL, 1, NULL, help, false },
#define GAUGE(id, name, help)   { METRIC_##id, KIND_GAUGE, name, NULL, 1, NULL, help, false },
#define COUNTER_BY(id, name, label, count, namer, help)                                            \
    { METRIC_##id, KIND_COUNTER_BY, name, label, count, namer, help, false },
#define HISTOGRAM(id, name, help) { METRIC_##id, KIND_HISTOGRAM, name, NULL, 1, NULL, help, false },
#include "edge/base/metrics.def"
#undef COUNTER
#undef GAUGE
#undef COUNTER_BY
#undef HISTOGRAM
};

#define TABLE_LINES (sizeof table / sizeof *table)

_Thread_local struct metric_cells *metric_cells;

/* The list of all threads' cells, and what ended threads counted. A thread's own counting does not
 * take the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list attached = { &attached, &attached };
static uint64_t ended[METRIC_CELLS];

static pthread_key_t thread_end;
static pthread_once_t thread_end_once = PTHREAD_ONCE_INIT;

static void at_thread_end(void *mine)
{
    (void)mine;
    metrics_detach();
}

static void make_thread_end(void)
{
    CHECK(pthread_key_create(&thread_end, at_thread_end) == 0);
}

struct metric_cells *metrics_attach(void)
{
    if (metric_cells) return metric_cells;
    struct metric_cells *mine = aligned_alloc(_Alignof(struct metric_cells), sizeof *mine);
    CHECK(mine != NULL);
    memset(mine, 0, sizeof *mine);
    pthread_once(&thread_end_once, make_thread_end);
    pthread_setspecific(thread_end, mine);
    pthread_mutex_lock(&lock);
    list_append(&attached, &mine->link);
    pthread_mutex_unlock(&lock);
    return metric_cells = mine;
}

static uint64_t read_cell(struct metric_cells *of, unsigned cell)
{
    return atomic_load_explicit(&of->cells[cell], memory_order_relaxed);
}

void metrics_detach(void)
{
    struct metric_cells *mine = metric_cells;
    if (!mine) return;
    pthread_mutex_lock(&lock);
    list_remove(&mine->link);
    for (unsigned i = 0; i < METRIC_CELLS; i++) ended[i] += read_cell(mine, i);
    pthread_mutex_unlock(&lock);
    pthread_setspecific(thread_end, NULL);
    metric_cells = NULL;
    free(mine);
}

static void sum_cells(unsigned first, unsigned count, uint64_t *sums)
{
    pthread_mutex_lock(&lock);
    memcpy(sums, ended + first, count * sizeof *sums);
    list_each (node, &attached) {
        struct metric_cells *of = container_of(node, struct metric_cells, link);
        for (unsigned i = 0; i < count; i++) sums[i] += read_cell(of, first + i);
    }
    pthread_mutex_unlock(&lock);
}

int64_t metric_sum(enum metric id)
{
    uint64_t sum;
    sum_cells(id, 1, &sum);
    return (int64_t)sum;
}

static struct histogram histogram_from(const uint64_t *cells)
{
    struct histogram h;
    memcpy(h.counts, cells, sizeof h.counts);
    h.sum_us = cells[HISTOGRAM_BUCKETS];
    return h;
}

struct histogram metric_histogram(enum metric id)
{
    uint64_t cells[METRIC_HISTOGRAM_CELLS];
    sum_cells(id, METRIC_HISTOGRAM_CELLS, cells);
    return histogram_from(cells);
}

static struct info *info_of(enum metric id)
{
    struct info *m = table;
    while (m->id != id) CHECK(++m < table + TABLE_LINES);
    return m;
}

void metric_set_namer(enum metric id, const char *(*namer)(unsigned index))
{
    CHECK(info_of(id)->kind == KIND_COUNTER_BY);
    info_of(id)->namer = namer;
}

void metric_leave_out(enum metric id)
{
    info_of(id)->left_out = true;
}

static void print_member(FILE *out, const struct info *m, unsigned index, uint64_t sum)
{
    const char *name = m->namer ? m->namer(index) : NULL;
    if (name) {
        fprintf(out, "%s{%s=\"%s\"} %" PRIu64 "\n", m->name, m->label, name, sum);
    } else if (!m->namer || sum) {
        fprintf(out, "%s{%s=\"%u\"} %" PRIu64 "\n", m->name, m->label, index, sum);
    }
}

/* Buckets are cumulative; _count is their total, so that the three always agree. */
static void print_histogram(FILE *out, const struct info *m, const struct histogram *h)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
        count += h->counts[i];
        fprintf(out, "%s_bucket{le=\"%.10g\"} %" PRIu64 "\n", m->name,
                (double)histogram_limit_us(i) / 1e6, count);
    }
    count += h->counts[HISTOGRAM_BUCKETS - 1];
    fprintf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", m->name, count);
    fprintf(out, "%s_sum %.6f\n", m->name, (double)h->sum_us / 1e6);
    fprintf(out, "%s_count %" PRIu64 "\n", m->name, count);
}

static void print_metric(FILE *out, const struct info *m, const uint64_t *cells)
{
    static const char *const types[] = { "counter", "gauge", "counter", "histogram" };
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, types[m->kind]);
    switch (m->kind) {
    case KIND_COUNTER: fprintf(out, "%s %" PRIu64 "\n", m->name, cells[0]); break;
    case KIND_GAUGE: fprintf(out, "%s %" PRId64 "\n", m->name, (int64_t)cells[0]); break;
    case KIND_COUNTER_BY:
        for (unsigned i = 0; i < m->members; i++) print_member(out, m, i, cells[i]);
        break;
    case KIND_HISTOGRAM: {
        struct histogram h = histogram_from(cells);
        print_histogram(out, m, &h);
        break;
    }
    }
}

void metrics_print(FILE *out)
{
    uint64_t cells[METRIC_CELLS];
    sum_cells(0, METRIC_CELLS, cells);
    for (unsigned i = 0; i < TABLE_LINES; i++) {
        if (!table[i].left_out) print_metric(out, &table[i], cells + table[i].id);
    }
}
