#include "edge/client_limits.h"

#include <stdlib.h>
#include <string.h>

#include "cache/key.h"
#include "edge/base/check.h"
#include "edge/base/mem.h"

#define BUCKETS_FIRST 256

struct client {
    struct client *next;
    uint8_t address[16];
    unsigned connections;
};

/* ---- addresses ---- */

/* The seeded hash: clients choose their IPv6 addresses, and must not choose one long chain. */
static struct client **bucket_of(const struct client_table *t, const uint8_t address[16])
{
    uint64_t hash = key_hash(slice_of((const char *)address, 16));
    return &t->buckets[hash & (t->bucket_count - 1)];
}

/* Where the address is, or would be, linked. */
static struct client **find(const struct client_table *t, const uint8_t address[16])
{
    struct client **at = bucket_of(t, address);
    while (*at && memcmp((*at)->address, address, 16) != 0) at = &(*at)->next;
    return at;
}

static void grow(struct client_table *t)
{
    struct client_table old = *t;
    t->bucket_count = old.bucket_count ? 2 * old.bucket_count : BUCKETS_FIRST;
    t->buckets = xcalloc(t->bucket_count, sizeof *t->buckets);
    for (size_t i = 0; i < old.bucket_count; i++) {
        for (struct client *c = old.buckets[i], *next; c; c = next) {
            struct client **bucket = bucket_of(t, c->address);
            next = c->next;
            c->next = *bucket;
            *bucket = c;
        }
    }
    free(old.buckets);
}

static bool table_enter(struct client_table *t, const uint8_t address[16], unsigned limit)
{
    if (t->count == t->bucket_count) grow(t);
    struct client **at = find(t, address);
    if (!*at) {
        *at = xcalloc(1, sizeof **at);
        memcpy((*at)->address, address, 16);
        t->count++;
    } else if ((*at)->connections >= limit) {
        return false;
    }
    (*at)->connections++;
    return true;
}

static void table_leave(struct client_table *t, const uint8_t address[16])
{
    struct client **at = find(t, address), *c = *at;
    CHECK(c);
    if (--c->connections) return;
    *at = c->next;
    t->count--;
    free(c);
}

/* ---- all of them ---- */

void client_limits_init(struct client_limits *l)
{
    *l = (struct client_limits){ 0 };
    pthread_mutex_init(&l->lock, NULL);
}

void client_limits_free(struct client_limits *l)
{
    CHECK(l->addresses.count == 0);
    free(l->addresses.buckets);
    pthread_mutex_destroy(&l->lock);
}

unsigned client_limits_refused_max(const struct http_limits *limits)
{
    return limits->connections / 8 + 64;
}

static bool count_in(_Atomic unsigned *count, unsigned limit)
{
    if (atomic_fetch_add(count, 1) < limit) return true;
    atomic_fetch_sub(count, 1);
    return false;
}

/* Apart from the others, so that those that are being refused keep nobody out. */
static enum client_admission refuse(struct client_limits *l, const struct http_limits *limits)
{
    bool told = count_in(&l->refused, client_limits_refused_max(limits));
    return told ? ADMISSION_REFUSED : ADMISSION_NONE;
}

static bool enter_address(struct client_limits *l, const struct http_limits *limits,
                          const uint8_t address[16])
{
    pthread_mutex_lock(&l->lock);
    bool fits = table_enter(&l->addresses, address, limits->connections_per_client);
    pthread_mutex_unlock(&l->lock);
    return fits;
}

static void leave_address(struct client_limits *l, const uint8_t address[16])
{
    pthread_mutex_lock(&l->lock);
    table_leave(&l->addresses, address);
    pthread_mutex_unlock(&l->lock);
}

/* The address first: a client with too many has none of others closed. */
enum client_admission client_limits_enter(struct client_limits *l, const struct http_limits *limits,
                                          const uint8_t address[16], bool (*make_room)(void *user),
                                          void *user)
{
    bool by_address = limits->connections_per_client;
    unsigned most = limits->connections + client_limits_refused_max(limits);
    if (by_address && !enter_address(l, limits, address)) return refuse(l, limits);
    if (count_in(&l->connections, limits->connections) ||
        (make_room && make_room(user) && count_in(&l->connections, most)))
        return by_address ? ADMISSION_BY_ADDRESS : ADMISSION_PLAIN;
    if (by_address) leave_address(l, address);
    return refuse(l, limits);
}

void client_limits_leave(struct client_limits *l, enum client_admission admission,
                         const uint8_t address[16])
{
    if (admission == ADMISSION_REFUSED) atomic_fetch_sub(&l->refused, 1);
    if (admission == ADMISSION_PLAIN || admission == ADMISSION_BY_ADDRESS)
        atomic_fetch_sub(&l->connections, 1);
    if (admission == ADMISSION_BY_ADDRESS) leave_address(l, address);
}
