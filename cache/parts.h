/* parts: what is stored of a representation that was only asked for in ranges (RFC 9111
 * sections 3.3 and 3.4).
 *
 * One contiguous part for each key and variant: a 206 that touches or overlaps it, of the same
 * strong entity tag and length, is put together with it; any other takes its place. When it has
 * become the whole, it is stored as a 200. Parts are objects like others, under a key that no
 * request has; they count against the budget and are evicted with the rest. */
#ifndef VERGE_CACHE_PARTS_H
#define VERGE_CACHE_PARTS_H

#include "cache/index.h"
#include "protocols/http/range.h"

/* Where the part of a request's representation is kept. */
void parts_key(const struct key *key, struct arena *a, struct key *out);
/* A fresh part that holds all of the single range the request asks for; NULL where there is none. A
 * reference for the caller; *part says which bytes it is. */
struct object *parts_find(struct index *ix, const struct key *key,
                          const struct cache_policy *policy, const struct request *req,
                          int64_t now_ms, struct arena *a, struct content_range *part);
/* Is a 206 of one part, and are its place and its length known? No other can be stored. */
bool parts_accepts(const struct response *r);
/* Takes up a COMPLETE 206 object that may be stored, for the request it answered. Together with
 * what is there it may have object_max_bytes at most. */
void parts_store(struct index *ix, const struct key *key, struct object *o,
                 const struct request *req, size_t object_max_bytes, struct scope *scope,
                 struct arena *a);

#endif
