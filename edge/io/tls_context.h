/* tls_context: the inside of a context. Seen by edge/io/tls*.c only; tls.h is the interface. */
#ifndef VERGE_IO_TLS_CONTEXT_H
#define VERGE_IO_TLS_CONTEXT_H

#include <openssl/ssl.h>

#include "edge/io/tls.h"

struct tls_context {
    _Atomic unsigned references;
    SSL_CTX *ssl;
};

/* The protocols that a session offers: a set of enum tls_protocol. */
unsigned tls_offered(const SSL *ssl);
/* The name the client asks for decides the context (SSL_CTX_set_tlsext_servername_callback). */
int tls_choose(SSL *ssl, int *alert, void *user);

#endif
