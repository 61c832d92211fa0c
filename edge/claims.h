/* claims: what a request says of who asked, from where, how and what for: the fields that proxies
 * write and origins believe. A trusted proxy's word is taken, and put into the one form that is
 * keyed, so that what the origin gets is what the key says; anybody else's goes no further, in the
 * head or behind the body.
 *
 * Pure functions on a request, any thread. What the node says in their stead is forward.h's. */
#ifndef VERGE_EDGE_CLAIMS_H
#define VERGE_EDGE_CLAIMS_H

#include "edge/config.h"
#include "protocols/http/exchange.h"

/* Is it a field that `untrusted_fields pass` may name: one that is dropped from who is not trusted,
 * and that the node does not write itself? */
bool claims_may_be_passed(struct slice name);

/* The scheme a trusted proxy says its client used: X-Forwarded-Proto, in its absence proto= of
 * Forwarded; of several the one of the hop that took the request from the client, and where that
 * cannot be told, what all of them say. SLICE_NONE where there is none, or none that is http or
 * https. */
struct slice claims_scheme(const struct config *c, const struct request *req, struct arena *a);

/* Takes out of fields, a request's head or its trailers, what its client may not say: claims,
 * unless it is trusted or the route passes them; and names with an underscore, which origins take
 * for others (X_Forwarded_For), unless the route passes those. */
void claims_drop(const struct config_route *r, bool trusted, struct fields *fields);

/* What a trusted proxy says of the host it was asked for, in one form: X-Forwarded-Host, in its
 * absence host= of Forwarded where that is a host of the site. Then the request has one line
 * X-Forwarded-Host in the form of a key's authority, or none where it says no more than the request
 * itself; and Forwarded keeps host= and proto= only where they say the same as the key. The scheme
 * has been settled before. */
void claims_settle_host(const struct config *c, const struct config_site *site, struct exchange *x);

/* The client's address as text, without port: the peer's, or where that is a trusted proxy, the
 * last one in X-Forwarded-For (in its absence, the last for= in Forwarded) that is not; where all
 * are, the first. What stands before something that is no address does not count. In the arena. */
struct slice claims_client(const struct config *c, const struct peer *peer,
                           const struct request *req, struct arena *a);
/* A peer's address without port, IPv4 where it is a mapped one. */
struct slice peer_text(const struct peer *peer, struct arena *a);

#endif
