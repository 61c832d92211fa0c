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

/* What a worker tells of its idle connections, which may be a moment old. */
struct offer {
    unsigned idle, owed;
    int64_t since_ms; /* of the longest idle one, before it has closed those that are owed */
};

static struct offer offer_of(struct edge *e)
{
    return (struct offer){
        .idle = atomic_load_explicit(&e->sites.idle_count, memory_order_relaxed),
        .owed = atomic_load_explicit(&e->room_owed, memory_order_relaxed),
        .since_ms = atomic_load_explicit(&e->sites.idle_since_ms, memory_order_relaxed),
    };
}

/* Where some are owed already, the next one there has not been idle for as long as it says. */
static bool is_better(const struct offer *a, const struct offer *b)
{
    return a->owed != b->owed ? a->owed < b->owed : a->since_ms < b->since_ms;
}

static struct edge *find_longest(struct node *n)
{
    struct edge *longest = NULL;
    struct offer best = { 0 };
    for (unsigned i = 0; i < n->edge_count; i++) {
        struct offer offer = offer_of(&n->edges[i]);
        if (offer.idle <= offer.owed || (longest && !is_better(&offer, &best))) continue;
        longest = &n->edges[i];
        best = offer;
    }
    return longest;
}

bool room_make(struct edge *e)
{
    struct node *n = e->node;
    struct edge *longest = atomic_load(&n->stopping) ? NULL : find_longest(n);
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
