/* admin: what the administrative listener answers, an exchange handler like the sites' own.
 *
 * GET /metrics (Prometheus text 0.0.4), /healthz ("ok", or 503 "stopping" while the node drains),
 * /config (the running configuration, byte for byte), and what is in the cache, as JSON:
 *
 *     GET    /cache                                  figures of both tiers (admin_cache)
 *     GET    /cache/objects?limit=&cursor=&prefix=   a list, a page at a time (admin_cache)
 *     DELETE /cache/memory                          what the disk has as well goes from memory
 *     GET    /cache/object?key=                      all there is of one key (admin_object)
 *     DELETE /cache/object?key=                      and that it goes
 *
 * A host that is none of localhost, the listener's address and the configured ones 421, what is not
 * there 404, another method 405 with Allow, wrong parameters 400 and a sentence. Runs on the
 * workers like everything. */
#ifndef VERGE_EDGE_ADMIN_H
#define VERGE_EDGE_ADMIN_H

#include "protocols/http/exchange.h"

extern const struct exchange_handler admin_handler;

#endif
