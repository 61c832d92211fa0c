/* admit: whether a request is taken, and by which route. The first step of every request; no state
 * of its own. */
#ifndef VERGE_EDGE_ADMIT_H
#define VERGE_EDGE_ADMIT_H

#include "edge/config.h"
#include "protocols/http/exchange.h"

struct admitted {
    const struct config_route *route; /* NULL: the node itself is asked, or what follows */
    bool ambiguous;                   /* an origin may read its path as another route's */
    int64_t body_size_bytes;          /* most that the request's body may have */
    struct slice location;            /* not empty: where to ask instead (308) */
};

/* 0 with *out: a route; or neither that nor a location, where the node itself is asked (OPTIONS *,
 * RFC 9110 section 9.3.7). Else why not: -E_METHOD, -E_SCHEME, -E_LOOP, -E_EXPECTATION,
 * -E_BAD_PATH, -E_NO_SITE, -E_BAD_HOST, -E_MISDIRECTED, -E_TOO_EARLY, -E_NO_ROUTE,
 * -E_TRACE, -E_BODY_TOO_LARGE, the last two with a route. Gives the target's path the form of
 * path_key. Settles what the request says of its connection: its scheme, which a client decides by
 * the connection, and a trusted proxy tells; Early-Data; Client-Cert; and with a route all that
 * only trusted proxies may say (claims.h). */
int admit_request(const struct config *c, struct exchange *x, struct admitted *out);

#endif
