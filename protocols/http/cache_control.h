/* cache_control: the directives of Cache-Control and its relatives (RFC 9111 section 5.2, RFC 5861,
 * RFC 8246, RFC 9213).
 *
 * Pure functions on a message's fields, any thread. Says what was written; what follows from it is
 * cache/policy.h. */
#ifndef VERGE_PROTOCOLS_HTTP_CACHE_CONTROL_H
#define VERGE_PROTOCOLS_HTTP_CACHE_CONTROL_H

#include "protocols/http/field.h"

enum cache_control_flags {
    CC_NO_STORE = 1,
    CC_NO_CACHE = 2, /* unqualified: without field names */
    CC_PRIVATE = 4,  /* unqualified */
    CC_PUBLIC = 8,
    CC_MUST_REVALIDATE = 16,
    CC_PROXY_REVALIDATE = 32,
    CC_MUST_UNDERSTAND = 64,
    CC_IMMUTABLE = 128,
    CC_ONLY_IF_CACHED = 256,
    CC_NO_TRANSFORM = 512,
};

enum cache_control_seconds {
    CC_MAX_AGE,
    CC_S_MAXAGE,
    CC_STALE_WHILE_REVALIDATE,
    CC_STALE_IF_ERROR,
    CC_MAX_STALE, /* without argument: any staleness, DELTA_SECONDS_MAX */
    CC_MIN_FRESH,
    CC_SECONDS_COUNT
};

struct cache_control {
    unsigned flags;                    /* enum cache_control_flags */
    int64_t seconds[CC_SECONDS_COUNT]; /* -1 where absent, at most DELTA_SECONDS_MAX */
    struct slice no_cache_fields; /* names in no-cache="...", with commas; p == NULL where absent */
    struct slice private_fields;  /* in private="..." */
};

/* All lines of that field. Argument in token or quoted form; unknown directives are ignored; of
 * conflicting ones the most restrictive counts; max-age and s-maxage with a bad argument are 0,
 * which is stale (section 4.2.1); of a member that is malformed every restriction counts that it
 * names; two differing lists of field names for one directive make it
 * unqualified. Surrogate-Control's max-age=FRESH+STALE is understood. False where there is no such
 * line. */
bool cache_control_parse(const struct fields *f, enum field_id id, struct cache_control *out);
/* A request's: Cache-Control, or where there is none Pragma: no-cache (section 5.4). False where
 * neither is there. */
bool cache_control_parse_request(const struct fields *f, struct cache_control *out);
/* A targeted field (RFC 9213 section 2.1): a structured dictionary that counts wholly or not at
 * all. False where it is absent, empty or malformed and so has to be ignored. A directive of the
 * wrong type is as one with a bad argument. */
bool cache_control_parse_targeted(const struct fields *f, enum field_id id,
                                  struct cache_control *out);

static inline bool cache_control_has(const struct cache_control *c,
                                     enum cache_control_seconds which)
{
    return c->seconds[which] >= 0;
}

#endif
