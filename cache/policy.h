/* policy: RFC 9111 as pure functions: what may be stored, for how long, and what a stored response
 * may still answer.
 *
 * No clock, no memory of its own, no I/O: times are passed in, results are values. Any thread. A
 * shared cache's rules throughout. What a route configures is in struct cache_policy; what was
 * decided when a response was stored is in struct freshness, kept with the object for good. */
#ifndef VERGE_CACHE_POLICY_H
#define VERGE_CACHE_POLICY_H

#include "protocols/http/message.h"

struct ttl_rule {
    int status;     /* 0: any that is heuristically cacheable (RFC 9110 section 15.1) */
    int64_t ttl_ms; /* used where the response itself says nothing */
    bool override;  /* used in any case; no-store, private and no-cache stand nevertheless */
};

/* A route's caching directives; immutable with the configuration generation. */
struct cache_policy {
    const struct ttl_rule *ttls; /* first match wins */
    size_t ttl_count;
    int64_t stale_while_revalidate_ms; /* where the response does not say; 0: none */
    int64_t stale_if_error_ms;
    int64_t ttl_max_ms; /* cap on any lifetime; 0: none */
    bool bypass;        /* nothing is looked up or stored */
    bool heuristic;     /* section 4.2.2: a tenth of the time since Last-Modified, at most a day */
    bool honor_request; /* request's Cache-Control counts (5.2.1); only-if-cached always does */
    bool store_set_cookie;  /* store responses that carry Set-Cookie, without that field */
    bool surrogate_control; /* honour and strip Surrogate-Control */
};

/* Why a response was not stored, in the order they are checked; each has a metric. */
enum store_reason {
    STORE_OK,
    STORE_METHOD,        /* neither GET nor HEAD; what a HEAD may do is freshen a stored GET */
    STORE_STATUS,        /* not 2xx to 5xx; must-understand and not understood; 304, 412, 416; 206
                            without strong entity tag and Content-Range */
    STORE_NO_STORE,      /* no-store on either side that counts */
    STORE_PRIVATE,       /* private, unqualified */
    STORE_AUTHORIZATION, /* section 3.5 */
    STORE_SET_COOKIE,    /* has Set-Cookie, which neither the route nor no-cache="..." takes away */
    STORE_VARY_STAR,     /* or Vary names what each hop writes by itself */
    STORE_ENDLESS,       /* of a media type that has no end: each client gets its own from now on */
    STORE_NO_FRESHNESS,  /* nothing says how long; or it is stale at once, without a validator and
                            without a window of stale use */
    STORE_BYPASS,
    STORE_REASON_COUNT
};

const char *store_reason_name(enum store_reason reason); /* "no_store": metric label */

enum freshness_flags {
    FRESH_NO_CACHE = 1,        /* validate before every use (no-cache, unqualified) */
    FRESH_MUST_REVALIDATE = 2, /* must-revalidate, proxy-revalidate, s-maxage: never stale, but for
                                  a window that was written beside s-maxage */
    FRESH_IMMUTABLE = 4,       /* RFC 8246 */
    FRESH_EXPLICIT = 8,        /* the origin said how long, not configuration or heuristic */
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

/* May this response to this request be stored, and how fresh is it? requested_ms and received_ms
 * are wall-clock times of the request's sending and the response head's arrival (section 4.2.3).
 * Fills *f in every case, so that a response that is shared with collapsed requests but not stored
 * still has an age. A targeted field that can be used (RFC 9213: CDN-Cache-Control; then
 * Surrogate-Control where the route says so) stands instead of Cache-Control and Expires; where
 * these say nothing, the route's TTLs and the heuristic do. A response that is stale from the start
 * (no-cache, max-age=0) is STORE_OK if it can be validated, or used stale. */
enum store_reason policy_store(const struct cache_policy *p, const struct request *req,
                               const struct response *res, int64_t requested_ms,
                               int64_t received_ms, struct freshness *f);

/* current_age of section 4.2.3, never negative; saturates instead of overflowing. */
int64_t freshness_age_ms(const struct freshness *f, int64_t now_ms);
/* lifetime - age: negative once stale. */
int64_t freshness_ttl_ms(const struct freshness *f, int64_t now_ms);

/* What a stored, selected response may do for a request. */
enum reuse {
    REUSE_FRESH,    /* answer with it */
    REUSE_STALE,    /* answer with it, refresh behind (stale-while-revalidate, max-stale) */
    REUSE_VALIDATE, /* ask the origin first */
    REUSE_RELOAD,   /* the client insists on the origin (honor_request: no-cache, max-age=0), and
                       the response is not both fresh and immutable */
};

enum reuse policy_reuse(const struct cache_policy *p, const struct request *req,
                        const struct freshness *f, int64_t now_ms);

/* Who may be given a response besides the client whose request brought it. */
enum audience {
    AUDIENCE_ONE,     /* nobody */
    AUDIENCE_WAITING, /* those who wait for it: an error that says nothing about caching */
    AUDIENCE_REUSE,   /* whoever may use it without another word of the origin */
};

/* The audience of a response that is not stored, for that reason of policy_store. */
enum audience policy_audience_unstored(const struct cache_policy *p, const struct response *res,
                                       enum store_reason reason, const struct freshness *f);
/* Is this request one of the audience? Sections 4 and 5.2.2.4: a response that would have to be
 * validated first answers nobody but the client that caused it. stands_in: for a newer one that the
 * origin failed to give (stale-if-error). */
bool policy_may_use(const struct cache_policy *p, const struct request *req, enum audience audience,
                    const struct freshness *f, bool stands_in, int64_t now_ms);
/* It can be used without validation by somebody, if only at the moment it arrives. What cannot is
 * not worth waiting for: the next one will be the same. */
bool freshness_is_ever_reused(const struct freshness *f);
/* 500, 502, 503 or 504 (RFC 5861 section 4). */
bool policy_is_server_error(int status);
/* The origin failed or answered 500, 502, 503 or 504: may the stale response be used instead (RFC
 * 5861 section 4)? */
bool policy_stale_if_error(const struct cache_policy *p, const struct request *req,
                           const struct freshness *f, int64_t now_ms);
/* Request says only-if-cached (section 5.2.1.7). */
bool policy_only_if_cached(const struct request *req);

/* Takes out of *res, the copy to be stored, what may not be: the fields named by no-cache="..." and
 * private="..." (sections 5.2.2.4, 5.2.2.7), Set-Cookie where the route stores such responses,
 * Surrogate-Control once consumed, Age (replaced by our own). Hop-by-hop fields have gone already.
 * CDN-Cache-Control stays, for it speaks to the next CDN cache as well (RFC 9213 section 3.1). */
void policy_prepare_stored(const struct cache_policy *p, struct response *res);

/* The names that no-cache="..." and private="..." have, as a list in the arena: to be asked before
 * policy_prepare_stored, and taken out of the trailers, too. */
struct slice policy_unshared_names(const struct cache_policy *p, const struct response *res,
                                   struct arena *a);

/* Section 3.2: the fields of *update (a 304, or a HEAD's 200) replace those of *stored, except what
 * describes the stored bytes: framing, Content-Encoding, Content-Range, and an ETag that *stored
 * has. The list is built in the arena, both inputs stay; what may not be stored of the result is
 * policy_prepare_stored's. */
void policy_update_fields(const struct response *stored, const struct response *update,
                          struct arena *a, struct response *out);
/* Section 4.3.4: does this 304, to a request that was made conditional on *stored, select it? By
 * entity tag (compared weakly) where both have one, else by Last-Modified. One without any
 * validator does, if *stored has one to ask with: it can speak of nothing else. */
bool policy_304_selects(const struct response *update, const struct response *stored);
/* Section 4.3.5: what a HEAD's response says of the stored GET, whose body has stored_bytes (-1:
 * not known yet). */
enum head_says {
    HEAD_SAYS_NOTHING, /* no validator and no length in common */
    HEAD_CONFIRMS,     /* freshens it */
    HEAD_REFUTES,      /* it has changed */
};
enum head_says policy_head_says(const struct response *head, const struct response *stored,
                                int64_t stored_bytes);
/* Is this 206 a part of another version than *stored, whose body has stored_bytes? */
bool policy_part_refutes(const struct response *part, const struct response *stored,
                         int64_t stored_bytes);
/* Section 4.4: must this response invalidate its target? Method unsafe or unknown, status 2xx or
 * 3xx. */
bool policy_invalidates(const struct request *req, const struct response *res);

#endif
