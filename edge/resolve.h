/* resolve: the addresses behind the names of origin servers, one worker's view.
 *
 * A name is looked up by the offload pool, kept for its TTL (RESOLVE_TTL_MIN_S at least) and after
 * that refreshed behind: whoever asks gets the last good answer at once, until a new one is there.
 * A name that never resolved makes its askers wait, and its failure is remembered for
 * RESOLVE_RETRY_S. Literal addresses never wait. Names come from the configuration, so their number
 * is bounded by it; when one is added, those that nobody asked for in an hour are dropped. Belongs
 * to one worker. */
#ifndef VERGE_EDGE_RESOLVE_H
#define VERGE_EDGE_RESOLVE_H

#include "edge/base/list.h"
#include "edge/io/resolve_job.h"
#include "edge/io/worker.h"

#define RESOLVE_TTL_MIN_S 1
#define RESOLVE_RETRY_S   1

struct resolver {
    struct worker *worker;
    struct list names;
    struct scope scope; /* of lookups under way */
    void (*idle)(struct resolver *r);
};

/* One asker, embedded. */
struct resolve_wait {
    struct list link; /* on its name while it waits; points to itself otherwise, from the asker's
                         list_init on */
    void (*ready)(struct resolve_wait *w,
                  int error); /* error: 0, or -E_DNS_ERROR, -E_DNS_TIMEOUT, -E_QUEUE_FULL */
};

void resolver_init(struct resolver *r, struct worker *w);
/* Calls idle once no lookup is under way any more, and frees the names. Nobody may be waiting. */
void resolver_close(struct resolver *r, void (*idle)(struct resolver *r));

/* host: without brackets and port; case does not matter. 1: *out points to the addresses (at least
 * one), valid until the caller returns to the loop. 0: w is parked and ready will be called, not
 * from inside; then ask again. Negative: as ready's error, remembered from a moment ago. */
int resolve_lookup(struct resolver *r, struct slice host, const struct resolve_result **out,
                   struct resolve_wait *w);
/* Harmless where w does not wait. */
void resolve_cancel(struct resolve_wait *w);

#endif
