/* tiers: the policies that others evict by, for bench-cache to compare with: LRU, FIFO, S3-FIFO.
 *
 * Models of a cache's bookkeeping, over the ids of a trace: what it holds and in which order,
 * within a budget of bytes. No bytes are stored. The node's own RAM tier is no such model, see
 * cache.c. */
#ifndef VERGE_BENCH_TIERS_H
#define VERGE_BENCH_TIERS_H

#include <stdbool.h>

#include "bench/requests.h"

struct tier {
    /* Is it here? Counts as a request for it. */
    bool (*hit)(struct tier *t, uint32_t id);
    /* It is not here, and was just fetched: to be taken or not. */
    void (*offer)(struct tier *t, uint32_t id);
    /* It is not here, and was a hit in the tier above. NULL: nothing is done about it. */
    void (*wanted)(struct tier *t, uint32_t id);
    const uint64_t *sizes; /* of each id */
    uint64_t limit_bytes, written_bytes;
};

/* Ids in circles, newest first; each id in one queue at most. */
enum queue { QUEUE_FIRST, QUEUE_SECOND, QUEUE_GHOST, QUEUES, QUEUE_NONE = QUEUES };

struct queues {
    struct link {
        uint32_t newer, older;
    } * links;      /* of each id, then the queues' ends */
    uint8_t *where; /* enum queue of each id */
    uint32_t id_count;
    const uint64_t *sizes;
    uint64_t used_bytes[QUEUES], counts[QUEUES];
};

void queues_init(struct queues *q, const struct requests *r);
void queues_free(struct queues *q);
void queues_add(struct queues *q, enum queue which, uint32_t id);
void queues_remove(struct queues *q, uint32_t id);
/* There must be one. */
uint32_t queues_oldest(const struct queues *q, enum queue which);

/* A tier of ids in queues, and what each id needs besides. */
struct queue_tier {
    struct tier tier;
    struct queues queues;
    uint8_t *hits; /* of each id, since it was last looked at; at most HITS_MAX */
};

enum { HITS_MAX = 255 };

void queue_tier_init(struct queue_tier *t, const struct requests *r, uint64_t limit_bytes);
void queue_tier_free(struct queue_tier *t);

void lru_init(struct queue_tier *t, const struct requests *r, uint64_t limit_bytes);
void fifo_init(struct queue_tier *t, const struct requests *r, uint64_t limit_bytes);
/* S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): a tenth for
 * what is new, a ghost queue as long as the main one. */
void s3fifo_init(struct queue_tier *t, const struct requests *r, uint64_t limit_bytes);

#endif
