/* ids: connection IDs that say which worker a connection belongs to, and to nobody else anything.
 *
 * An ID of ours is eight bytes. Which worker it means is a keyed function of all of them, and IDs
 * are drawn at random until that comes out right: so they carry the worker without a bit that an
 * observer could compare. The same function spreads the IDs that clients choose for their first
 * packets, so that each packet of a handshake finds the same worker, wherever it was sent from. It
 * is simple enough for a classic BPF program, with which the kernel itself puts a packet into the
 * right socket (RFC 9000 section 5.1, and 5.2 on what happens otherwise).
 *
 * A route is the process's, constant once workers run. A table belongs to one worker. */
#ifndef VERGE_PROTOCOLS_QUIC_IDS_H
#define VERGE_PROTOCOLS_QUIC_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/base/slice.h"

#define QUIC_ID_BYTES     8  /* of ours */
#define QUIC_ID_BYTES_MAX 20 /* of theirs (RFC 9000 section 17.2) */

/* ---- routes ---- */

struct quic_route {
    uint32_t keys[3]; /* odd, secret */
    uint32_t workers;
};

/* Random keys. */
void quic_route_init(struct quic_route *r, unsigned workers);
/* The worker that an ID of at least QUIC_ID_BYTES belongs to. */
unsigned quic_route_of(const struct quic_route *r, const uint8_t *id);
/* Has the kernel route what comes for this socket's address, among its sockets in the order in
 * which they were bound. False where it does not: each packet may come in anywhere then. */
bool quic_route_attach(const struct quic_route *r, int fd);

/* ---- random bytes ---- */

struct quic_random {
    uint8_t bytes[256];
    size_t left;
};

/* From the kernel's generator, a few hundred at a time. One thread's. */
void quic_random_fill(struct quic_random *r, void *to, size_t n);
/* A new ID for that worker. */
void quic_id_make(const struct quic_route *r, unsigned worker, struct quic_random *random,
                  uint8_t out[QUIC_ID_BYTES]);

/* ---- a worker's table ---- */

struct quic_connection;

struct quic_id {
    struct quic_id *next;  /* in its bucket */
    struct quic_id *other; /* of the same connection */
    struct quic_connection *connection;
    uint8_t n, bytes[QUIC_ID_BYTES_MAX];
};

struct quic_ids {
    struct quic_id **buckets;
    size_t bucket_count, count; /* a power of two, or 0 */
    uint64_t key;               /* odd, secret: clients choose some of the IDs */
};

void quic_ids_init(struct quic_ids *t, struct quic_random *random);
void quic_ids_free(struct quic_ids *t);

struct quic_connection *quic_ids_find(const struct quic_ids *t, struct slice id);
/* Not longer than QUIC_ID_BYTES_MAX, and not there yet. *of is the connection's list. */
void quic_ids_add(struct quic_ids *t, struct slice id, struct quic_connection *c,
                  struct quic_id **of);
/* Harmless where it is not there. */
void quic_ids_remove(struct quic_ids *t, struct slice id, struct quic_id **of);
/* All of a connection. */
void quic_ids_clear(struct quic_ids *t, struct quic_id **of);

#endif
