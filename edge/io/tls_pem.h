/* tls_pem: certificates and keys in a PEM file (RFC 7468), strictly: what is cut, or is no block of
 * those, is refused with its line, since a server that shows half of a chain is noticed by its
 * clients first.
 *
 * Text may stand before a block, as tools write it there, but not behind the last one. Seen by
 * edge/io/tls*.c only; one thread at a time for each file. */
#ifndef VERGE_IO_TLS_PEM_H
#define VERGE_IO_TLS_PEM_H

#include <stddef.h>
#include <stdint.h>

enum tls_pem_kind { TLS_PEM_CERTIFICATE, TLS_PEM_KEY, TLS_PEM_ENCRYPTED_KEY, TLS_PEM_PARAMETERS };

struct tls_pem_block {
    enum tls_pem_kind kind;
    unsigned line; /* where it begins, from 1 */
    uint8_t *der;
    size_t der_bytes;
};

struct tls_pem {
    struct tls_pem_block *blocks;
    size_t count;
};

/* Reads a file. NULL, or what is wrong with it, to be read after its name; tls_pem_free in any
 * case. */
const char *tls_pem_read(struct tls_pem *pem, const char *path);
void tls_pem_free(struct tls_pem *pem);
/* A sentence of that form; valid until the next one of the calling thread. */
const char *tls_pem_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
