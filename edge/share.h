/* share: what becomes of a request that has waited for a response which another request caused.
 * Those who wait for a whole representation and those who wait for a slice of one ask it alike. */
#ifndef VERGE_EDGE_SHARE_H
#define VERGE_EDGE_SHARE_H

#include "cache/object.h"

/* Of one request: it may be left with nothing again, or with another variant. */
#define SHARE_LOOKUPS_MAX 3

enum share {
    SHARE_USE,   /* answer with it, or with its successor */
    SHARE_AGAIN, /* look up again: it is another variant, or it failed, and one of those who waited
                    tries once more */
    SHARE_ALONE, /* it is not for this request: ask the origin for this one alone, at once */
    SHARE_FAIL,  /* a second failure is this request's own: the object's error */
};

/* o: as it was waited for, neither PENDING nor LOADED. lookups: how many the request has made, this
 * one included. The arena is for its Vary key. */
enum share share_judge(const struct object *o, const struct cache_policy *p,
                       const struct request *req, int64_t now_ms, unsigned lookups,
                       struct arena *a);

#endif
