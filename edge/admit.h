/* admit: whether a request is taken, and by which route. The first step of every request; no state
 * of its own. */
#ifndef VERGE_EDGE_ADMIT_H
#define VERGE_EDGE_ADMIT_H

#include "edge/config.h"
#include "protocols/http/exchange.h"

/* 0 with *route; 0 with *route NULL where the node itself is asked (OPTIONS *, RFC 9110
 * section 9.3.7). Else why not: -E_METHOD, -E_SCHEME, -E_LOOP, -E_EXPECTATION, -E_NO_SITE,
 * -E_NO_ROUTE, -E_BODY_TOO_LARGE, the last with *route. Settles the request's scheme: a client
 * decides it by its connection, a trusted proxy tells what its own client spoke. */
int admit_request(const struct config *c, struct exchange *x, const struct config_route **route);

#endif
