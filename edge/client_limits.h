/* client_limits: how many client connections there may be, in the whole process and from one
 * address.
 *
 * The process's, any thread. Each connection keeps its admission, so that leaving undoes what
 * entering did, whatever a reload has changed in between. */
#ifndef VERGE_EDGE_CLIENT_LIMITS_H
#define VERGE_EDGE_CLIENT_LIMITS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/http/limits.h"

/* How a connection came in, and so what it counts in. */
enum client_admission {
    ADMISSION_PLAIN,      /* counts in connections */
    ADMISSION_BY_ADDRESS, /* and with its address */
    ADMISSION_REFUSED,    /* beyond a limit, but may be told so: counts in refused */
    ADMISSION_NONE,       /* not even that: counts in nothing */
    ADMISSION_EXEMPT,     /* the administrator's: counts in nothing */
    ADMISSION_COUNT
};

/* Addresses with connections. Bounded, since it is by the number of connections. */
struct client_table {
    struct client **buckets; /* chains */
    size_t bucket_count;     /* a power of two, or 0 */
    size_t count;
};

struct client_limits {
    _Atomic unsigned connections;
    _Atomic unsigned refused;
    pthread_mutex_t lock; /* of addresses; taken only where connections_per_client is set */
    struct client_table addresses;
};

void client_limits_init(struct client_limits *l);
void client_limits_free(struct client_limits *l);

/* How many may be told that there are too many, at a time: an error page costs a connection too. */
unsigned client_limits_refused_max(const struct http_limits *limits);
/* One more connection, from an IPv6 or mapped IPv4 address of 16 bytes. PLAIN, BY_ADDRESS, REFUSED
 * or NONE. Beyond the limit make_room (NULL: nobody can) is asked to have another one closed; until
 * that has gone there may be as many more as client_limits_refused_max. */
enum client_admission client_limits_enter(struct client_limits *l, const struct http_limits *limits,
                                          const uint8_t address[16], bool (*make_room)(void *user),
                                          void *user);
/* It is gone. */
void client_limits_leave(struct client_limits *l, enum client_admission admission,
                         const uint8_t address[16]);

#endif
