/* tls_certificate: a chain of certificates with its key, as a server or a client shows it.
 *
 * Belongs to a context; constant once loaded. Seen by edge/io/tls*.c only. */
#ifndef VERGE_IO_TLS_CERTIFICATE_H
#define VERGE_IO_TLS_CERTIFICATE_H

#include <openssl/ssl.h>

#include "edge/base/slice.h"

struct tls_certificate {
    CRYPTO_BUFFER **chain; /* NULL: there is none */
    size_t chain_count;
    EVP_PKEY *key;
    uint16_t signature; /* TLS's number for what an ECDSA key signs with; 0: an RSA key */
};

/* From PEM files, which may be one. NULL, or what is wrong with them, to be read after the
 * certificate's name, valid until the next such text; nothing is left then. */
const char *tls_certificate_load(struct tls_certificate *c, const char *certificate_path,
                                 const char *key_path);
/* A new key, and a certificate by itself for those hosts. Valid for 30 days. */
void tls_certificate_self_signed(struct tls_certificate *c, const struct slice *hosts,
                                 size_t host_count);
/* What about it will hardly be meant, likewise: its time, and which of a site's hosts it is not
 * for. NULL: nothing. */
const char *tls_certificate_doubt(const struct tls_certificate *c, const struct slice *hosts,
                                  size_t host_count);
void tls_certificate_free(struct tls_certificate *c);

/* The certificates of a PEM file as they are encoded, appended to chain and counted, also where
 * there is something wrong with it: NULL, or that, as above. Keys in it are left alone. */
const char *tls_certificates_read(const char *path, CRYPTO_BUFFER ***chain, size_t *count);

#endif
