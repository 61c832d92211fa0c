/* flood: frames that cost work and lead nowhere, counted against a connection's budget.
 *
 * HTTP/2 and HTTP/3 let a client make a server work for next to nothing: requests that are reset at
 * once (CVE-2023-44487), mistakes that make the server reset them (CVE-2025-8671), pings, settings,
 * priorities, empty frames (CVE-2019-9511 and its siblings). A few are ordinary, so each connection
 * has a budget of limits.wasted_frames, of which a tenth comes back each second. Embedded in the
 * connection, on its worker. */
#ifndef VERGE_PROTOCOLS_HTTP_FLOOD_H
#define VERGE_PROTOCOLS_HTTP_FLOOD_H

#include <stdbool.h>

#include "protocols/http/limits.h"

/* Members of METRIC_FLOODS. */
enum flood_kind {
    FLOOD_RESET, /* the client resets what it asked for */
    FLOOD_ERROR, /* it makes mistakes for which its streams are reset */
    FLOOD_PING,
    FLOOD_SETTINGS,
    FLOOD_PRIORITY,
    FLOOD_EMPTY,   /* frames that carry nothing */
    FLOOD_HEADERS, /* heads beyond all limits */
    FLOOD_KINDS
};

struct flood {
    unsigned spent;
    int64_t spent_ms; /* when some of it was last given back */
};

/* One more. False, counted under that kind, where the budget is spent: the connection has to end.
 */
bool flood_allows(struct flood *f, enum flood_kind kind, const struct http_limits *limits,
                  int64_t now_ms);

#endif
