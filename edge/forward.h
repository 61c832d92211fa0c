/* forward: the request as an origin gets it, a pure function of the client's request.
 *
 * Pure functions, any thread, but for forward_init. Fields keep their order and case; hop-by-hop
 * fields have gone already, and Expect goes, which is met or refused here. Extended, each to one
 * line: Via (RFC 9110 section 7.6.3) and CDN-Loop (RFC 8586). X-Forwarded-For and Forwarded (RFC
 * 7239) are extended, X-Forwarded-Host is added where there is none, X-Forwarded-Proto is the
 * request's scheme: what came of those has been judged by claims.h. The host is sent as the key has
 * it. */
#ifndef VERGE_EDGE_FORWARD_H
#define VERGE_EDGE_FORWARD_H

#include "edge/config.h"
#include "protocols/http/exchange.h"

struct forward {
    const struct config *config;
    const struct config_route *route;
    const struct peer *peer;
    struct slice target; /* path and query to ask for (struct key's) */
    bool shared; /* the response may be stored or shared: Accept-Encoding, where there is one, is
                    normalised as in key_vary(), and the client's preconditions, Range and If-Range
                    go, since the cache evaluates them itself */
    bool keep_range;      /* with shared: Range and If-Range stay nevertheless */
    bool keep_conditions; /* with shared: and so do the client's preconditions */
};

/* Chooses this node's identity for CDN-Loop, random and different for every process. Once, at
 * start. */
void forward_init(uint64_t random);
/* CDN-Loop names this very process (RFC 8586): the request has been through it. To be asked before
 * a request may wait for another one, which could be itself. */
bool forward_is_loop(const struct request *req);
/* Fills *out; its slices live in the arena or in *from. Applies the route's request_header rules
 * last. The length stays. */
void forward_request(const struct forward *f, const struct request *from, struct arena *a,
                     struct request *out);

/* Applies rules to the fields of a head. */
void header_rules_apply(const struct header_rule *rules, size_t count, struct fields *f,
                        struct arena *a);
/* The same behind the body and in what comes before the response: what a rule sets or removes, only
 * the head has. */
void header_rules_prune(const struct header_rule *rules, size_t count, struct fields *f);

#endif
