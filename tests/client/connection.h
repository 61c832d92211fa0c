/*
 * One QUIC connection of the test client: ngtcp2 and BoringSSL, a UDP socket, and streams of bytes.
 * It knows nothing of HTTP; what is written on which stream is the scenario's business, so that it
 * can be anything.
 *
 * All functions run on the program's one thread. A connection belongs to main.c, which polls its
 * socket and its expiry, and frees it once it is closed. It reports by emit(), which main.c has.
 */
#ifndef TESTS_CLIENT_CONNECTION_H
#define TESTS_CLIENT_CONNECTION_H

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Bytes to send. ngtcp2 refers to them until they are acknowledged. */
struct chunk {
    struct chunk *next;
    size_t length;
    uint8_t bytes[];
};

/* A stream that was begun here. Those of the node need no state: what arrives is reported. */
struct stream {
    struct stream *next;
    int64_t id;
    struct chunk *first, **last; /* not acknowledged yet */
    struct chunk *sending;       /* the first not wholly sent, `sent` bytes of it are */
    size_t sent;
    size_t acked; /* bytes of `first` that are acknowledged */
    bool opened, fin, fin_sent, blocked, over;
};

struct connection_options {
    int port;
    char name[256], alpn[64];
    char session[1024];            /* the file a ticket is taken from and left in; "" for none */
    uint64_t window, total_window; /* of each stream, and of all: no more comes than was credited */
    uint64_t idle_ms;
    uint32_t version;
    unsigned loss_percent, seed; /* of what is sent and of what is received */
};

struct connection {
    struct connection *next;
    unsigned number;
    int fd;
    struct connection_options options;
    struct sockaddr_storage local, remote;
    ngtcp2_conn *quic;
    ngtcp2_crypto_conn_ref reference;
    SSL_CTX *context;
    SSL *tls;
    struct stream *streams, **last_stream;
    int64_t next_id[2]; /* the first that was never begun here: of both ways, of one */
    unsigned random;
    bool closed, stateless_reset;
};

/* Begins a handshake; NULL where even that is not possible. */
struct connection *connection_open(unsigned number, const struct connection_options *options);
void connection_free(struct connection *c);

/* Takes `data`, a chunk of malloc(), or NULL where only an end is to be sent; opens the stream
 * where it is new. */
void connection_send(struct connection *c, int64_t stream, struct chunk *data, bool fin);
void connection_reset(struct connection *c, int64_t stream, uint64_t code);
void connection_stop(struct connection *c, int64_t stream, uint64_t code);
void connection_credit(struct connection *c, int64_t stream, uint64_t bytes);

/* Goes on from another port: `migrate` says so to QUIC, else it is as if an address translator did
 * it. */
void connection_rebind(struct connection *c, bool migrate);
void connection_update_key(struct connection *c);
void connection_close(struct connection *c, uint64_t code);

/* What is there to read, what is due, what is to be written. */
void connection_read(struct connection *c);
void connection_expire(struct connection *c);
void connection_write(struct connection *c);
uint64_t connection_expiry_ns(const struct connection *c);

uint64_t now_ns(void);

/* Reports an event, see main.c. */
void emit(const char *verb, unsigned connection, int64_t stream, uint64_t number,
          const void *payload, size_t length);

#endif
