/* tls_tickets: the keys of session tickets, the process's: whichever worker gave a ticket out, any
 * other can resume its session, and after a reload too.
 *
 * By themselves they are random and change: the one before the present one still opens what it has
 * sealed, for as long again. An operator whose nodes stand for one another gives them all the same
 * files instead; then the first key seals and any of them opens. Any thread; behind a mutex. */
#ifndef VERGE_IO_TLS_TICKETS_H
#define VERGE_IO_TLS_TICKETS_H

#include "edge/base/slice.h"

#define TLS_TICKET_NAME_BYTES 16

/* As the files of ssl_session_ticket_key that nginx and others read: the name of the key, which
 * stands in front of each ticket, and the keys of HMAC-SHA256 and AES-CBC. */
struct tls_ticket_key {
    uint8_t name[TLS_TICKET_NAME_BYTES];
    uint8_t hmac[32], aes[32];
    uint8_t secret_bytes; /* of hmac and of aes each: 16 (48 bytes of file) or 32 (80 bytes) */
};

/* NULL, or what is wrong with the file, to be read after its name. */
const char *tls_ticket_key_load(struct tls_ticket_key *key, const char *path);

/* From now on these, or with count 0 random ones that change every so often. Random ones that are
 * in use already stay. */
void tls_tickets_configure(const struct tls_ticket_key *keys, size_t count, int64_t rotation_ms);

/* The key for a new ticket. now_ms: monotonic. */
void tls_tickets_seal(int64_t now_ms, struct tls_ticket_key *key);
/* The key of that name; false where it is not known, or no longer. *newest: it is the one that
 * tls_tickets_seal gives. */
bool tls_tickets_open(int64_t now_ms, const uint8_t name[TLS_TICKET_NAME_BYTES],
                      struct tls_ticket_key *key, bool *newest);
/* Forgets them all. */
void tls_tickets_forget(void);

#endif
