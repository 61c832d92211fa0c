#include "edge/room.h"

#include "edge/base/metrics.h"
#include "edge/node.h"

static void close_idle(struct edge *e, unsigned count)
{
    metric_add(METRIC_CONNECTIONS_EXPIRED, http_service_expire(&e->sites, count));
}

static void on_note(struct note *n)
{
    struct edge *e = container_of(n, struct edge, room_note);
    close_idle(e, atomic_exchange(&e->room_owed, 0));
}

/* Another worker's view of it may be a moment old. */
static bool has_idle(struct edge *e, int64_t *since_ms)
{
    unsigned count = atomic_load_explicit(&e->sites.idle_count, memory_order_relaxed);
    *since_ms = atomic_load_explicit(&e->sites.idle_since_ms, memory_order_relaxed);
    return count > atomic_load_explicit(&e->room_owed, memory_order_relaxed);
}

bool room_make(struct edge *e)
{
    struct node *n = e->node;
    struct edge *longest = NULL;
    int64_t least_ms = INT64_MAX, since_ms;
    if (atomic_load(&n->stopping)) return false;
    for (unsigned i = 0; i < n->edge_count; i++) {
        if (!has_idle(&n->edges[i], &since_ms) || since_ms >= least_ms) continue;
        longest = &n->edges[i];
        least_ms = since_ms;
    }
    if (longest == e)
        close_idle(e, 1);
    else if (longest && atomic_fetch_add(&longest->room_owed, 1) == 0)
        worker_post(&longest->worker, &longest->room_note);
    return longest;
}

void room_init(struct edge *e)
{
    e->room_note.run = on_note;
}
