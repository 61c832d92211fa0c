#include "edge/node.h"

#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>

#include "edge/base/error.h"
#include "edge/base/mem.h"

/* ---- starting ---- */

unsigned node_edges(const struct config *c)
{
    cpu_set_t set;
    if (c->workers) return c->workers;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* The nth core this process may use, round and round; -1 where that is not known. */
static int nth_cpu(unsigned n)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0) return -1;
    n %= (unsigned)CPU_COUNT(&set);
    int cpu = 0;
    while (!CPU_ISSET((size_t)cpu, &set) || n--) cpu++;
    return cpu;
}

static void run_stop(struct note *note)
{
    edge_stop(container_of(note, struct edge, stop_note));
}

static void run_abort(struct note *note)
{
    edge_abort(container_of(note, struct edge, abort_note));
}

static int start_edge(struct node *n, unsigned i, unsigned count)
{
    struct edge *e = &n->edges[i];
    e->node = n;
    e->stop_note.run = run_stop;
    e->abort_note.run = run_abort;
    worker_init(&e->worker, i);
    e->worker.workers = count;
    return worker_start(&e->worker, nth_cpu(i), edge_start);
}

/* What the workers and the disk's writer need for themselves comes out of the budget, up to an
 * eighth of it: who sets memory means the process. */
static size_t cache_bytes(const struct config *c)
{
    size_t own = (size_t)node_edges(c) * WORKER_OWN_BYTES, eighth = c->cache.memory_bytes / 8;
    if (c->cache.disk_path.n) own += DISK_OWN_BYTES;
    return c->cache.memory_bytes - (own < eighth ? own : eighth);
}

/* What is queued for the disk is not evicted, so it must not be most of what there is.
 *
 * What is on the disk is found before the first request comes. Purges go on from where they were.
 */
static void open_disk(struct node *n, const struct config *c)
{
    uint64_t highest_purge_seq = 0;
    if (c->cache.disk_path.n == 0) return;
    size_t queue = c->cache.disk_queue_bytes, quarter = c->cache.memory_bytes / 4;
    struct disk_settings settings = { .path = c->cache.disk_path.p,
                                      .size_bytes = c->cache.disk_bytes,
                                      .queue_bytes = queue < quarter ? queue : quarter };
    n->disk = n->index.disk = disk_open(&settings, &n->index, &highest_purge_seq);
    if (highest_purge_seq > atomic_load(&n->index.purge_seq))
        atomic_store(&n->index.purge_seq, highest_purge_seq);
}

int node_start(struct node *n, const struct config *c)
{
    unsigned count = node_edges(c);
    index_init(&n->index, cache_bytes(c), c->cache.variants_max, c->cache.window_bytes);
    n->index.object_memory_max_bytes = c->cache.object_memory_max_bytes;
    open_disk(n, c);
    origin_limits_init(&n->origin_limits);
    client_limits_init(&n->clients);
    quic_node_init(&n->quic, count);
    n->main_thread = pthread_self();
    n->edges = xcalloc(count, sizeof *n->edges);
    for (; n->edge_count < count; n->edge_count++) {
        if (start_edge(n, n->edge_count, count) == 0) {
            atomic_fetch_add(&n->running, 1);
            continue;
        }
        node_abort(n);
        node_join(n);
        node_free(n);
        return -E_SYSTEM;
    }
    return 0;
}

/* ---- configuring ---- */

struct delivery {
    struct note note;
    struct edge *edge;
    struct config *config;
    struct listen_sockets *sockets;
    struct sink *access_log;
    sem_t *done;
};

static void run_delivery(struct note *note)
{
    struct delivery *d = container_of(note, struct delivery, note);
    edge_configure(d->edge, d->config, d->sockets, d->access_log);
    sem_post(d->done); /* d is gone from here on */
}

static void wait_for(sem_t *s)
{
    while (sem_wait(s) < 0) {
    } /* interrupted */
}

void node_configure(struct node *n, struct config *c, struct listen_sockets *sockets,
                    struct sink *access_log)
{
    struct delivery *v = xcalloc(n->edge_count, sizeof *v);
    sem_t done;
    sem_init(&done, 0, 0);
    n->index.budget.limit_bytes = cache_bytes(c);
    n->index.variants_max = c->cache.variants_max;
    n->index.window_bytes = c->cache.window_bytes;
    n->index.object_memory_max_bytes = c->cache.object_memory_max_bytes;
    for (unsigned i = 0; i < n->edge_count; i++) {
        v[i] = (struct delivery){
            { .run = run_delivery }, &n->edges[i], c, &sockets[i], access_log, &done
        };
        worker_post(&n->edges[i].worker, &v[i].note);
    }
    for (unsigned i = 0; i < n->edge_count; i++) wait_for(&done);
    sem_destroy(&done);
    free(v);
}

/* ---- stopping ---- */

void node_stop(struct node *n)
{
    if (atomic_exchange(&n->stopping, true)) return;
    for (unsigned i = 0; i < n->edge_count; i++)
        worker_post(&n->edges[i].worker, &n->edges[i].stop_note);
}

void node_abort(struct node *n)
{
    if (n->aborting) return;
    n->aborting = true;
    atomic_store(&n->stopping, true);
    for (unsigned i = 0; i < n->edge_count; i++)
        worker_post(&n->edges[i].worker, &n->edges[i].abort_note);
}

void node_join(struct node *n)
{
    for (unsigned i = 0; i < n->edge_count; i++) worker_wait(&n->edges[i].worker);
}

void node_free(struct node *n)
{
    node_join(n);
    if (n->disk) disk_stop(n->disk); /* its writer may be ringing at a worker that has ended */
    for (unsigned i = 0; i < n->edge_count; i++) {
        worker_join(&n->edges[i].worker);
        quic_worker_free(&n->edges[i].quic);
    }
    index_free(&n->index);
    disk_free(&n->disk);
    client_limits_free(&n->clients);
    quic_node_free(&n->quic);
    origin_limits_free(&n->origin_limits);
    free(n->edges);
}
