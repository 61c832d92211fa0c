/* verdict: what the cache had to say about a request, a closed list: access log, Cache-Status and
 * metric label. */
#ifndef VERGE_BASE_VERDICT_H
#define VERGE_BASE_VERDICT_H

enum verdict {
    VERDICT_HIT,         /* fresh, from the cache */
    VERDICT_STALE,       /* stale, from the cache: being refreshed, or the origin failed */
    VERDICT_REVALIDATED, /* from the cache, after the origin said 304 */
    VERDICT_MISS,        /* fetched, as the first to ask */
    VERDICT_COLLAPSED,   /* read from what another request was fetching */
    VERDICT_PASS, /* fetched for this request alone: its method, or a response that is not shared */
    VERDICT_BYPASS, /* the route does not cache */
    VERDICT_ERROR,  /* answered with an error of the node's own making */
    VERDICT_LOCAL,  /* answered by the node itself: OPTIONS *, admin */
    VERDICT_COUNT
};

/* "hit", "revalidated", ... Any thread. */
const char *verdict_name(enum verdict v);

#endif
