/* certificate: which one a client is shown.
 *
 * Looked up on the listener's worker, in that worker's configuration; what is found belongs to the
 * configuration. */
#ifndef VERGE_EDGE_CERTIFICATE_H
#define VERGE_EDGE_CERTIFICATE_H

#include "edge/config.h"

/* The first of the sites that listen there: for a client that names nobody, as one does that
 * connects to an address. NULL where the listener has none. */
struct tls_context *certificate_first(const struct config *c, const struct config_listen *listen);
/* That of the site that answers for the host (SNI, empty: none); NULL where there is none. */
struct tls_context *certificate_choose(const struct config *c, const struct config_listen *listen,
                                       struct slice host);

#endif
