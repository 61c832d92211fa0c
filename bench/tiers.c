#include "bench/tiers.h"

#include <stdlib.h>
#include <string.h>

/* ---- queues ---- */

void queues_init(struct queues *q, const struct requests *r)
{
    *q = (struct queues){ .id_count = r->id_count, .sizes = r->sizes };
    q->links = calloc(r->id_count + QUEUES, sizeof *q->links);
    q->where = malloc(r->id_count);
    if (!q->links || !q->where) abort();
    memset(q->where, QUEUE_NONE, r->id_count);
    for (uint32_t end = r->id_count; end < r->id_count + QUEUES; end++)
        q->links[end] = (struct link){ end, end };
}

void queues_free(struct queues *q)
{
    free(q->links);
    free(q->where);
}

void queues_add(struct queues *q, enum queue which, uint32_t id)
{
    uint32_t end = q->id_count + which, newest = q->links[end].older;
    q->links[id] = (struct link){ .newer = end, .older = newest };
    q->links[newest].newer = q->links[end].older = id;
    q->where[id] = (uint8_t)which;
    q->used_bytes[which] += q->sizes[id];
    q->counts[which]++;
}

void queues_remove(struct queues *q, uint32_t id)
{
    struct link l = q->links[id];
    q->links[l.newer].older = l.older;
    q->links[l.older].newer = l.newer;
    q->used_bytes[q->where[id]] -= q->sizes[id];
    q->counts[q->where[id]]--;
    q->where[id] = QUEUE_NONE;
}

uint32_t queues_oldest(const struct queues *q, enum queue which)
{
    return q->links[q->id_count + which].newer;
}

/* ---- what they have in common ---- */

void queue_tier_init(struct queue_tier *t, const struct requests *r, uint64_t limit_bytes)
{
    *t = (struct queue_tier){ .tier = { .sizes = r->sizes, .limit_bytes = limit_bytes } };
    queues_init(&t->queues, r);
    t->hits = calloc(r->id_count, 1);
    if (!t->hits) abort();
}

void queue_tier_free(struct queue_tier *t)
{
    queues_free(&t->queues);
    free(t->hits);
}

/* ---- LRU, FIFO ---- */

static bool fifo_hit(struct tier *tier, uint32_t id)
{
    struct queue_tier *t = (struct queue_tier *)tier;
    return t->queues.where[id] == QUEUE_FIRST;
}

static bool lru_hit(struct tier *tier, uint32_t id)
{
    struct queue_tier *t = (struct queue_tier *)tier;
    if (t->queues.where[id] != QUEUE_FIRST) return false;
    queues_remove(&t->queues, id);
    queues_add(&t->queues, QUEUE_FIRST, id);
    return true;
}

static void fifo_offer(struct tier *tier, uint32_t id)
{
    struct queue_tier *t = (struct queue_tier *)tier;
    if (tier->sizes[id] > tier->limit_bytes) return;
    while (t->queues.used_bytes[QUEUE_FIRST] + tier->sizes[id] > tier->limit_bytes)
        queues_remove(&t->queues, queues_oldest(&t->queues, QUEUE_FIRST));
    queues_add(&t->queues, QUEUE_FIRST, id);
    tier->written_bytes += tier->sizes[id];
}

void fifo_init(struct queue_tier *t, const struct requests *r, uint64_t limit_bytes)
{
    queue_tier_init(t, r, limit_bytes);
    t->tier.hit = fifo_hit;
    t->tier.offer = fifo_offer;
}

void lru_init(struct queue_tier *t, const struct requests *r, uint64_t limit_bytes)
{
    fifo_init(t, r, limit_bytes);
    t->tier.hit = lru_hit;
}

/* ---- S3-FIFO ---- */

enum {
    S3_HITS_MAX = 3,
    S3_HITS_TO_MAIN = 2,
    S3_NEW_SHARE = 10, /* one in ten bytes */
};

static bool s3fifo_hit(struct tier *tier, uint32_t id)
{
    struct queue_tier *t = (struct queue_tier *)tier;
    if (t->queues.where[id] > QUEUE_SECOND) return false;
    if (t->hits[id] < S3_HITS_MAX) t->hits[id]++;
    return true;
}

static void to_ghosts(struct queue_tier *t, uint32_t id)
{
    struct queues *q = &t->queues;
    queues_add(q, QUEUE_GHOST, id);
    uint64_t most = t->tier.limit_bytes - t->tier.limit_bytes / S3_NEW_SHARE;
    while (q->used_bytes[QUEUE_GHOST] > most) queues_remove(q, queues_oldest(q, QUEUE_GHOST));
}

static void leave_new(struct queue_tier *t)
{
    uint32_t id = queues_oldest(&t->queues, QUEUE_FIRST);
    bool wanted = t->hits[id] >= S3_HITS_TO_MAIN;
    queues_remove(&t->queues, id);
    t->hits[id] = 0;
    if (wanted)
        queues_add(&t->queues, QUEUE_SECOND, id);
    else
        to_ghosts(t, id);
}

static void leave_main(struct queue_tier *t)
{
    uint32_t id = queues_oldest(&t->queues, QUEUE_SECOND);
    queues_remove(&t->queues, id);
    if (t->hits[id] > 0) {
        t->hits[id]--;
        queues_add(&t->queues, QUEUE_SECOND, id);
    }
}

static void s3fifo_offer(struct tier *tier, uint32_t id)
{
    struct queue_tier *t = (struct queue_tier *)tier;
    const uint64_t *used = t->queues.used_bytes;
    if (tier->sizes[id] > tier->limit_bytes) return;
    bool known = t->queues.where[id] == QUEUE_GHOST;
    if (known) queues_remove(&t->queues, id);
    while (used[QUEUE_FIRST] + used[QUEUE_SECOND] + tier->sizes[id] > tier->limit_bytes) {
        if (used[QUEUE_FIRST] > tier->limit_bytes / S3_NEW_SHARE || used[QUEUE_SECOND] == 0)
            leave_new(t);
        else
            leave_main(t);
    }
    t->hits[id] = 0;
    queues_add(&t->queues, known ? QUEUE_SECOND : QUEUE_FIRST, id);
}

void s3fifo_init(struct queue_tier *t, const struct requests *r, uint64_t limit_bytes)
{
    queue_tier_init(t, r, limit_bytes);
    t->tier.hit = s3fifo_hit;
    t->tier.offer = s3fifo_offer;
}
