/* server: an HTTP/2 client connection (RFC 9113) over nghttp2, many exchanges at a time.
 *
 * Allocated when a client has chosen h2, frees itself when it has ended; belongs to one worker.
 * nghttp2 knows frames, HPACK, flow control and priorities (RFC 9218); here are its connection to
 * the bytes below and the exchanges above, limits and timeouts. */
#ifndef VERGE_PROTOCOLS_H2_SERVER_H
#define VERGE_PROTOCOLS_H2_SERVER_H

#include "edge/io/tls.h"
#include "protocols/http/service.h"

/* Takes an accepted descriptor and its session, in which h2 was chosen. refuse: not 0, the first
 * request is answered with that error, and no other. */
void h2_server_start(struct http_service *service, int fd, const struct peer *peer, struct tls *tls,
                     int refuse);

#endif
