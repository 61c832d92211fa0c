/* server: an HTTP/1.1 client connection (RFC 9112), one exchange at a time.
 *
 * Allocated on accept, frees itself when it has ended; belongs to one worker. An idle one holds no
 * buffer and no arena. Pipelined requests are answered in order, the next one parsed when the one
 * before is finished. Parsing, framing, limits and timeouts are here; what a request means is the
 * handler's. */
#ifndef VERGE_PROTOCOLS_H1_SERVER_H
#define VERGE_PROTOCOLS_H1_SERVER_H

#include "edge/io/tls.h"
#include "protocols/http/service.h"

/* Takes an accepted descriptor and, where it speaks TLS, its session (else NULL). refuse: not 0,
 * the connection is answered with that error
 * (-E_CONN_LIMIT) at once, whatever it was going to ask, and closed. */
void h1_server_start(struct http_service *service, int fd, const struct peer *peer, struct tls *tls,
                     int refuse);

#endif
