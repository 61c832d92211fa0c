/* greeting: a TLS connection until its client has said hello, which decides the certificate and
 * the protocol; then that protocol's connection takes over.
 *
 * Allocated on accept, frees itself; belongs to one worker. It sends nothing: the session's answer
 * to the hello is the first that the protocol's connection sends. A client that speaks HTTP without
 * TLS is told so, by a connection of HTTP/1.1. */
#ifndef VERGE_PROTOCOLS_GREETING_H
#define VERGE_PROTOCOLS_GREETING_H

#include "edge/io/tls.h"
#include "protocols/http/service.h"

/* Takes an accepted descriptor and its session. refuse: not 0, the connection is answered with that
 * error, whatever it was going to ask. Gives up after header_timeout. */
void greeting_start(struct http_service *service, int fd, const struct peer *peer, struct tls *tls,
                    int refuse);

#endif
