/* tls: TLS for connections, by BoringSSL: certificates as contexts, and a session as a filter
 * between a connection's bytes and its owner's.
 *
 * A context is immutable and counted; all workers' sessions use it. A session belongs to its
 * connection and knows no socket: what arrived is fed to it, what it has to say is taken from it.
 * TLS 1.2 and 1.3, ciphers with forward secrecy and AEAD only. No renegotiation, no compression
 * (BoringSSL has neither). */
#ifndef VERGE_IO_TLS_H
#define VERGE_IO_TLS_H

#include <sys/types.h>

#include "edge/base/block.h"

#define TLS_RECORD_BYTES 16384       /* most plaintext in one record */
#define TLS_OUTPUT_BYTES (64 * 1024) /* of ciphertext that is made before it is sent */

struct tls_context;
struct tls;

/* ---- contexts, any thread ---- */

/* From PEM files, the certificate's chain behind it. NULL with *why, which lives as long as the
 * thread's next call. */
struct tls_context *tls_context_load(const char *certificate_path, const char *key_path,
                                     const char **why);
/* A new key, and a certificate by itself for those hosts, for development. Valid for 30 days. */
struct tls_context *tls_context_self_signed(const struct slice *hosts, size_t host_count);
struct tls_context *tls_context_hold(struct tls_context *c);
void tls_context_drop(struct tls_context **c);

/* ---- sessions ---- */

/* Called once in a handshake: the context for the name the client asks for (empty: it names none),
 * borrowed; NULL: none, the handshake fails. */
typedef struct tls_context *(*tls_select)(const void *user, struct slice host);

/* What is spoken above it (ALPN, RFC 7301); a set of these is what the server offers, h2 first;
 * h3 has sessions of its own (QUIC). */
enum tls_protocol { TLS_H1 = 1, TLS_H2 = 2, TLS_H3 = 4 };

/* A server's session, in the client's handshake. NULL when memory is out. */
struct tls *tls_accept(struct tls_context *first, unsigned protocols, tls_select select,
                       const void *user);
void tls_free(struct tls **t);

/* What arrived; stays until tls_read has returned 0 or less. */
void tls_feed(struct tls *t, struct slice ciphertext);

enum { TLS_MORE = 0, TLS_END = -1, TLS_FAILED = -2 };

/* Takes the client's first message from what was fed, after which context and protocol are known:
 * TLS_MORE while it is not whole, 1 when it was taken, TLS_FAILED. Output may be waiting then, and
 * input unread. */
int tls_take_hello(struct tls *t);
/* What the client chose, once its first message was taken; TLS_H1 where it did not say. */
enum tls_protocol tls_protocol(const struct tls *t);
bool tls_in_handshake(const struct tls *t);

/* Plaintext: bytes, TLS_MORE when all that was fed is used up, TLS_END after the peer's
 * close_notify, TLS_FAILED for good. In each case there may be output. */
int tls_read(struct tls *t, char *to, size_t room);
/* Encrypts from the front of bytes; how many: 0 while the handshake is under way. One record at a
 * time: small ones at first, so that the client can begin, full ones later. -1: failed for good. */
ssize_t tls_write(struct tls *t, struct slice bytes);
/* Says that no more will be written. */
void tls_close(struct tls *t);

/* Ciphertext to be sent, in all, and the next piece, whose block stays until tls_sent. */
size_t tls_output_bytes(const struct tls *t);
struct slice tls_output(struct tls *t);
/* So many bytes of the piece were sent. */
void tls_sent(struct tls *t, size_t n);

#endif
