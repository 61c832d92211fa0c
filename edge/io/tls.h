/* tls: TLS for connections, by BoringSSL: certificates as contexts, and a session as a filter
 * between a connection's bytes and its owner's.
 *
 * A context is what a site's sessions differ in; it is immutable once made, and counted. A session
 * belongs to its connection and knows no socket: what arrived is fed to it, what it has to say is
 * taken from it. TLS 1.2 and 1.3, ciphers with forward secrecy and AEAD only. No renegotiation, no
 * compression (BoringSSL has neither). */
#ifndef VERGE_IO_TLS_H
#define VERGE_IO_TLS_H

#include <sys/types.h>

#include "edge/base/block.h"

#define TLS_RECORD_BYTES 16384       /* most plaintext in one record */
#define TLS_OUTPUT_BYTES (64 * 1024) /* of ciphertext that is made before it is sent */
#define TLS_SITE_BYTES   32

struct tls_context;
struct tls;
struct ssl_session_st;

/* ---- contexts, any thread ---- */

/* Without a certificate: one must be added before it is used. While it is made it belongs to one
 * thread. Texts are NULL, or what is wrong with the file, to be read after its name; valid until
 * the next of the calling thread. */
struct tls_context *tls_context_new(void);
/* From PEM files, which may be one, the certificate's chain behind it, for those hosts. *doubt:
 * NULL, or what about it will hardly be meant (its time, its names). One with an ECDSA key and one
 * with an RSA key may stand side by side: a client is shown one it can verify. */
const char *tls_context_add(struct tls_context *c, const char *certificate_path,
                            const char *key_path, const struct slice *hosts, size_t host_count,
                            const char **doubt);
/* A new key, and a certificate by itself for those hosts, for development. Valid for 30 days. */
const char *tls_context_add_self_signed(struct tls_context *c, const struct slice *hosts,
                                        size_t host_count);
/* Asks clients for a certificate that one of the file's roots vouches for. Where it is required, a
 * handshake without one fails; with a wrong one it fails always. */
const char *tls_context_ask_clients(struct tls_context *c, const char *roots_path, bool required);
/* The client's certificate is wanted afterwards (tls_client_certificate), so sessions keep it. */
void tls_context_show_clients(struct tls_context *c);
/* Requests may come with the client's first message. Where clients are asked for a certificate
 * this changes nothing. */
void tls_context_allow_early_data(struct tls_context *c);
/* Whose it is: sessions of one site are not resumed at another. */
void tls_context_name(struct tls_context *c, const struct slice *hosts, size_t host_count);
/* The site's hosts and whom it trusts, as a digest of TLS_SITE_BYTES: equal over generations and
 * nodes where those are. */
const uint8_t *tls_context_site(const struct tls_context *c);
bool tls_context_asks_clients(const struct tls_context *c);

struct tls_context *tls_context_hold(struct tls_context *c);
void tls_context_drop(struct tls_context **c);

/* ---- connectors: what connections to the servers of one origin have in common ---- */

struct tls_connector;

/* Trusts anybody, and shows no certificate. While it is made it belongs to one thread, then it is
 * constant. Texts as those of contexts. */
struct tls_connector *tls_connector_new(void);
/* Takes only servers that one of the file's roots, or of the system's (SSL_CERT_FILE, or where
 * distributions put them), vouches for, under the name that was asked for. */
const char *tls_connector_trust(struct tls_connector *c, const char *roots_path);
const char *tls_connector_trust_system(struct tls_connector *c);
/* As that other one does; reads no file. */
void tls_connector_trust_same(struct tls_connector *c, const struct tls_connector *other);
/* Shows servers that ask for one this certificate; at most once. */
const char *tls_connector_show(struct tls_connector *c, const char *certificate_path,
                               const char *key_path, const char **doubt);
/* Would a connection of one do for the other? Both may be NULL. */
bool tls_connector_eq(const struct tls_connector *a, const struct tls_connector *b);
/* Sessions may go on. */
void tls_connector_free(struct tls_connector **c);

/* ---- sessions ---- */

/* Called once in a handshake: the context for the name the client asks for (empty: it names none),
 * borrowed; NULL: none, the handshake fails. */
typedef struct tls_context *(*tls_select)(const void *user, struct slice host);

/* What is spoken above it (ALPN, RFC 7301); a set of these is what the server offers, h2 first;
 * h3 has sessions of its own (QUIC). */
enum tls_protocol { TLS_H1 = 1, TLS_H2 = 2, TLS_H3 = 4 };

/* A server's session before its client's hello, and what was chosen by it: part of struct tls, or
 * of what else carries a session (QUIC). Lives as long as that. */
struct tls_hello {
    unsigned protocols; /* offered */
    tls_select select;
    const void *user;

    /* Filled in. */
    struct ssl_st *ssl;
    bool taken;                   /* the rest is known */
    bool asks_client;             /* the site does, for a certificate */
    uint8_t site[TLS_SITE_BYTES]; /* tls_context_site of the one that was chosen */
    bool ecdsa_cipher;            /* the client has some for TLS 1.2 */
};

/* The client has not finished its handshake: what it said came with its first message, which
 * somebody else may have sent again (0-RTT, RFC 8446 section 8). */
bool tls_is_early(const struct tls_hello *h);
/* The client's certificate (DER), where its site's context shows clients and it has one; valid as
 * long as the session. */
struct slice tls_client_certificate(const struct tls_hello *h);

/* A server's session, in the client's handshake. NULL when memory is out. */
struct tls *tls_accept(unsigned protocols, tls_select select, const void *user);
/* Stays as long as the session. */
const struct tls_hello *tls_hello(const struct tls *t);
/* A client's session with the server of that name (NUL-terminated) or address, which may go on from
 * an earlier one (NULL: none). NULL when memory is out. */
struct tls *tls_connect(const struct tls_connector *c, const char *name,
                        const struct ssl_session_st *earlier);
void tls_free(struct tls **t);

/* A client's, once the server has given it: for another connection to that server, the caller's.
 * NULL where there is none, or it was taken. */
struct ssl_session_st *tls_take_session(struct tls *t);
void tls_session_free(struct ssl_session_st **s);
/* After TLS_FAILED: why, in a few words. *distrust: the server's certificate was not accepted. */
const char *tls_failure(const struct tls *t, bool *distrust);

/* What arrived; stays until tls_read has returned 0 or less, or tls_keep was called. */
void tls_feed(struct tls *t, struct slice ciphertext);
/* Copies what of it is unread. False when memory is out. */
bool tls_keep(struct tls *t);
/* There is something that tls_read has not looked at yet. */
bool tls_has_unread(const struct tls *t);

enum { TLS_MORE = 0, TLS_END = -1, TLS_FAILED = -2 };

/* A client's first step, after which there is output. */
void tls_begin(struct tls *t);
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
 * time: small ones at first, and after a second without any, so that the client can begin; full
 * ones later. -1: failed for good. */
ssize_t tls_write(struct tls *t, struct slice bytes, int64_t now_ms);
/* Says that no more will be written. */
void tls_close(struct tls *t);

/* Ciphertext to be sent, in all, and the next piece, whose block stays until tls_sent. */
size_t tls_output_bytes(const struct tls *t);
struct slice tls_output(struct tls *t);
/* So many bytes of the piece were sent. */
void tls_sent(struct tls *t, size_t n);

#endif
