/* policy: RFC 9111 as pure functions: what may be stored, for how long, and what a stored response may still answer.
 *
 * No clock, no memory of its own, no I/O: times are passed in, results are values. Any thread. A shared cache's rules
 * throughout. What a route configures is in struct cache_policy; what was decided when a response was stored is in
 * struct freshness, kept with the object for good. */
#ifndef VERGE_CACHE_POLICY_H
#define VERGE_CACHE_POLICY_H

#include "protocols/http/message.h"

struct ttl_rule {
    int status;     /* 0: any status */
    int64_t ttl_ms; /* used where the response itself says nothing; with override, in any case */
    bool override;
};

/* A route's caching directives; immutable with the configuration generation. */
struct cache_policy {
    const struct ttl_rule *ttls; /* first match wins */
    size_t ttl_count;
    int64_t stale_while_revalidate_ms; /* where the response does not say; 0: none */
    int64_t stale_if_error_ms;
    int64_t ttl_max_ms;       /* cap on any lifetime; 0: none */
    bool bypass;              /* nothing is looked up or stored */
    bool heuristic;           /* RFC 9111 section 4.2.2: a tenth of the time since Last-Modified, at most a day */
    bool honor_request;       /* request's Cache-Control counts (section 5.2.1); only-if-cached always does */
    bool store_set_cookie;    /* store responses that carry Set-Cookie, without that field */
    bool surrogate_control;   /* honour and strip Surrogate-Control */
};

/* Why a response was not stored, in the order they are checked; each has a metric. */
enum store_reason {
    STORE_OK,
    STORE_METHOD,          /* neither GET nor (by a stored GET's freshening) HEAD */
    STORE_STATUS,          /* not a status this cache understands, or 206/304 without a base */
    STORE_NO_STORE,        /* no-store on either side that counts */
    STORE_PRIVATE,         /* private, unqualified */
    STORE_AUTHORIZATION,   /* section 3.5 */
    STORE_SET_COOKIE,
    STORE_VARY_STAR,
    STORE_NO_FRESHNESS,    /* nothing says how long, and it has no validator worth keeping it for */
    STORE_BYPASS,
    STORE_REASON_COUNT
};

const char *store_reason_name(enum store_reason reason); /* "no_store": metric label */

enum freshness_flags {
    FRESH_NO_CACHE = 1,         /* validate before every use (no-cache, unqualified) */
    FRESH_MUST_REVALIDATE = 2,  /* must-revalidate, proxy-revalidate, s-maxage: never stale */
    FRESH_IMMUTABLE = 4,        /* RFC 8246 */
    FRESH_EXPLICIT = 8,         /* the origin said how long, not configuration or heuristic */
};

/* What was decided for a stored response. All times in milliseconds; received_ms is wall clock. */
struct freshness {
    int64_t received_ms;    /* response_time of section 4.2.3 */
    int64_t initial_age_ms; /* corrected_initial_age of section 4.2.3 */
    int64_t lifetime_ms;    /* freshness_lifetime, capped so that no sum can overflow */
    int64_t stale_while_revalidate_ms;
    int64_t stale_if_error_ms;
    unsigned flags; /* enum freshness_flags */
};

/* May this response to this request be stored, and how fresh is it? requested_ms and received_ms are wall-clock times
 * of the request's sending and the response head's arrival (section 4.2.3). Fills *f in every case, so that a
 * response that is shared with collapsed requests but not stored still has an age. Reads targeted fields first
 * (RFC 9213: CDN-Cache-Control; then Surrogate-Control where the route says so), then Cache-Control, Expires, the
 * route's TTLs, heuristics. */
enum store_reason policy_store(const struct cache_policy *p, const struct request *req,
                               const struct response *res, int64_t requested_ms, int64_t received_ms,
                               struct freshness *f);

/* current_age of section 4.2.3, never negative; saturates instead of overflowing. */
int64_t freshness_age_ms(const struct freshness *f, int64_t now_ms);
/* lifetime - age: negative once stale. */
int64_t freshness_ttl_ms(const struct freshness *f, int64_t now_ms);

/* What a stored, selected response may do for a request. */
enum reuse {
    REUSE_FRESH,      /* answer with it */
    REUSE_STALE,      /* answer with it and refresh in the background (stale-while-revalidate, max-stale) */
    REUSE_VALIDATE,   /* ask the origin first */
    REUSE_RELOAD,     /* the client insists on the origin (honor_request: no-cache, max-age=0) and it is not immutable */
};

enum reuse policy_reuse(const struct cache_policy *p, const struct request *req,
                        const struct freshness *f, int64_t now_ms);
/* The origin failed or answered 500, 502, 503 or 504: may the stale response be used instead (RFC 5861 section 4)? */
bool policy_stale_if_error(const struct cache_policy *p, const struct request *req,
                           const struct freshness *f, int64_t now_ms);
/* Request says only-if-cached (section 5.2.1.7). */
bool policy_only_if_cached(const struct request *req);

/* Takes out of *res what may not be stored or passed on: hop-by-hop fields have gone already; here the fields named by
 * no-cache="..." and private="..." (section 5.2.2.4, 5.2.2.7; from the stored copy only), Set-Cookie where
 * the route stores such responses, Surrogate-Control once consumed, Age (replaced by our own). */
void policy_prepare_stored(const struct cache_policy *p, struct response *res);

/* section 3.2: the fields of *update (a 304, or a HEAD's 200) replace those of *stored, except Content-Length,
 * Content-Encoding, Content-Range, Transfer-Encoding, ETag where weak comparison would change meaning. The result is
 * built in the arena; both inputs stay. */
void policy_update_fields(const struct response *stored, const struct response *update, struct arena *a,
                          struct response *out);
/* section 4.3.4: does this 304 select that stored response? Strong validator, weak validator, Last-Modified, or none
 * on either side. */
bool policy_304_selects(const struct response *update, const struct response *stored);
/* section 4.3.5: a HEAD response freshens the stored GET (true) or shows that it has changed (false). */
bool policy_head_freshens(const struct response *head, const struct response *stored);
/* section 4.4: must this response to an unsafe method invalidate the target? (non-error: 2xx or 3xx) */
bool policy_invalidates(const struct request *req, const struct response *res);

#endif
