/* tls_connector: the inside of a connector. Seen by edge/io/tls*.c only; tls.h is the interface. */
#ifndef VERGE_IO_TLS_CONNECTOR_H
#define VERGE_IO_TLS_CONNECTOR_H

#include "edge/io/tls_certificate.h"

#define TLS_DIGEST_BYTES 32

struct tls_connector {
    SSL_CTX *settings;
    struct tls_certificate certificate;
    uint8_t roots[TLS_DIGEST_BYTES]; /* of what is trusted */
    bool verifies;
};

/* The session that a server gave last, for the connection after this one: kept by the struct tls
 * that is the session's application data. */
int tls_keep_session(SSL *ssl, SSL_SESSION *session);

#endif
