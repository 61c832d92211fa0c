/* tls_context: the inside of a context, and the settings that all sessions of servers share. Seen
 * by files that open sessions only (edge/io/tls*.c, QUIC's); tls.h is the interface. */
#ifndef VERGE_IO_TLS_CONTEXT_H
#define VERGE_IO_TLS_CONTEXT_H

#include <openssl/ssl.h>

#include "edge/io/tls.h"
#include "edge/io/tls_certificate.h"

#define TLS_CERTIFICATES 2 /* one with an ECDSA key, one with an RSA key */

struct tls_context {
    _Atomic unsigned references;
    uint8_t site[TLS_SITE_BYTES];
    struct tls_certificate certificates[TLS_CERTIFICATES]; /* the ECDSA one first */
    size_t certificate_count;
    X509_STORE *client_roots;               /* NULL: nobody is asked for a certificate */
    STACK_OF(CRYPTO_BUFFER) * client_names; /* of the roots, told to who is asked */
    bool client_required, client_shown, early_data;
};

/* Of TLS 1.2, in the server's order of preference; TLS 1.3's own suites are always on. */
extern const char tls_ciphers[];

/* What every session of a server has in common: versions, ciphers, the choice of protocol and of
 * context by the client's hello, tickets. A new one, the caller's; make one for the process. */
SSL_CTX *tls_settings_new(void);

/* The hello that a server's session, made of such settings, is to fill in; before its handshake. It
 * stays for as long as the session. */
void tls_hello_attach(struct tls_hello *h, SSL *ssl);

#endif
