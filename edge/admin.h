/* admin: what the administrative listener answers, an exchange handler like the sites' own.
 *
 * GET /metrics (Prometheus text 0.0.4), /healthz ("ok", or 503 "stopping" while the node drains),
 * /config (the running configuration, byte for byte). Everything else 404, another method 405 with
 * Allow. Runs on the workers like everything. */
#ifndef VERGE_EDGE_ADMIN_H
#define VERGE_EDGE_ADMIN_H

#include "protocols/http/exchange.h"

extern const struct exchange_handler admin_handler;

#endif
