/* tls: the TLS session inside a QUIC connection (RFC 9001).
 *
 * The only part of QUIC that knows BoringSSL. A session belongs to its connection and its worker;
 * what it has in common with those over TCP, and how the client's hello decides the rest, is
 * edge/io/tls_settings.c's. */
#ifndef VERGE_PROTOCOLS_QUIC_TLS_H
#define VERGE_PROTOCOLS_QUIC_TLS_H

#include <ngtcp2/ngtcp2_crypto.h>

#include "edge/io/tls.h"

struct quic_tls {
    struct tls_hello hello;     /* ssl is NULL where there is no session */
    ngtcp2_crypto_conn_ref ref; /* how BoringSSL's side of ngtcp2 finds the connection */
};

/* The server's side of a handshake, for conn, which it is installed in. t must not move; select is
 * called as for TCP. promised is what clients may count on in early data, as text: where it is
 * another than when their session began, theirs is refused. False when memory is out. */
bool quic_tls_accept(struct quic_tls *t, ngtcp2_conn *conn, tls_select select, const void *user,
                     struct slice promised);
/* The session was resumed, not made anew. */
bool quic_tls_resumed(const struct quic_tls *t);
void quic_tls_free(struct quic_tls *t);

#endif
