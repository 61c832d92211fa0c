/* certificate: which one a client is shown.
 *
 * Looked up on the listener's worker, in that worker's configuration; what is found belongs to the
 * configuration. */
#ifndef VERGE_EDGE_CERTIFICATE_H
#define VERGE_EDGE_CERTIFICATE_H

#include "edge/config.h"

/* That of the site that answers for the host (SNI); with an empty one, as where a client connects
 * to an address, that of the first site there. NULL where there is none. */
struct tls_context *certificate_choose(const struct config *c, const struct config_listen *listen,
                                       struct slice host);

#endif
