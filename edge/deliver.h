/* deliver: answering a request with an object: conditions, ranges, and the fields that only now are
 * known. */
#ifndef VERGE_EDGE_DELIVER_H
#define VERGE_EDGE_DELIVER_H

#include "cache/object.h"
#include "cache/slices.h"
#include "edge/answer.h"
#include "edge/config.h"
#include "edge/piece.h"
#include "protocols/http/exchange.h"
#include "protocols/http/range.h"

struct delivery {
    struct object *object; /* its head is there; a reader takes references of its own */
    const struct config_route *route;
    struct cache_status status;      /* ttl is filled in here */
    const struct fields *unstored;   /* for this client alone, besides the object's; NULL: none */
    const struct representation *of; /* the object is its slice with the first byte asked for; NULL:
                                        all of it */
    const struct piece_source *slices; /* of's others; or, of is NULL, what may stand in for the
                                          object where the disk fails. NULL: nothing */
    bool cached;          /* Age is generated: it comes from the cache, or went into it */
    bool judges_trailers; /* by response_header: the route stays until the exchange ends */
    bool evaluate;        /* conditions and ranges are the node's to answer: the origin saw none */
};

/* Calls x->ops->respond. */
void deliver(struct exchange *x, struct delivery *d);

#endif
