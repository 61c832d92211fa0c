#include "protocols/quic/ids.h"

#include <endian.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "edge/base/check.h"
#include "edge/base/mem.h"

#define BUCKETS_FIRST 256

/* ---- random bytes ---- */

void quic_random_fill(struct quic_random *r, void *to, size_t n)
{
    if (n > r->left) {
        CHECK(n <= sizeof r->bytes);
        CHECK(getrandom(r->bytes, sizeof r->bytes, 0) == sizeof r->bytes);
        r->left = sizeof r->bytes;
    }
    memcpy(to, r->bytes + sizeof r->bytes - r->left, n);
    r->left -= n;
}

/* ---- routes ---- */

void quic_route_init(struct quic_route *r, unsigned workers)
{
    struct quic_random random = { .left = 0 };
    quic_random_fill(&random, r->keys, sizeof r->keys);
    for (size_t i = 0; i < sizeof r->keys / sizeof r->keys[0]; i++) r->keys[i] |= 1;
    r->workers = workers;
}

/* What program() below says to the kernel. The key keeps an observer from reading the worker, and a
 * client from choosing one; to find it out would gain somebody no more than that. */
unsigned quic_route_of(const struct quic_route *r, const uint8_t *id)
{
    uint32_t words[2];
    memcpy(words, id, sizeof words);
    uint32_t mixed = (be32toh(words[0]) * r->keys[0]) ^ (be32toh(words[1]) * r->keys[1]);
    return ((mixed * r->keys[2]) >> 16) % r->workers;
}

/* The ID stands behind the first byte, or, where the header is long, behind version and length. */
bool quic_route_attach(const struct quic_route *r, int fd)
{
    enum { LONG_HEADER = 0x80, SHORT_AT = 1, LONG_AT = 6 };
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, LONG_HEADER, 0, 2),
        BPF_STMT(BPF_LDX | BPF_IMM, LONG_AT),
        BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
        BPF_STMT(BPF_LDX | BPF_IMM, SHORT_AT),
        BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0),
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, r->keys[0]),
        BPF_STMT(BPF_ST, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_IND, 4),
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, r->keys[1]),
        BPF_STMT(BPF_LDX | BPF_MEM, 0),
        BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, r->keys[2]),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 16),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, r->workers),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = { sizeof steps / sizeof steps[0], steps };
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) == 0;
}

void quic_id_make(const struct quic_route *r, unsigned worker, struct quic_random *random,
                  uint8_t out[QUIC_ID_BYTES])
{
    do {
        quic_random_fill(random, out, QUIC_ID_BYTES);
    } while (quic_route_of(r, out) != worker);
}

/* ---- a worker's table ---- */

void quic_ids_init(struct quic_ids *t, struct quic_random *random)
{
    *t = (struct quic_ids){ 0 };
    quic_random_fill(random, &t->key, sizeof t->key);
    t->key |= 1;
}

void quic_ids_free(struct quic_ids *t)
{
    CHECK(t->count == 0);
    free(t->buckets);
}

/* Two words multiplied by a secret: nobody can choose IDs that meet in one bucket. */
static struct quic_id **bucket_of(const struct quic_ids *t, struct slice id)
{
    uint64_t words[3] = { id.n, 0, 0 };
    memcpy(words + 1, id.p, id.n < 16 ? id.n : 16);
    uint64_t hash = ((words[0] ^ words[1]) * t->key ^ words[2]) * (t->key + 2);
    return &t->buckets[(hash >> 32) & (t->bucket_count - 1)];
}

static bool is_id(const struct quic_id *i, struct slice id)
{
    return i->n == id.n && memcmp(i->bytes, id.p, id.n) == 0;
}

struct quic_connection *quic_ids_find(const struct quic_ids *t, struct slice id)
{
    if (t->count == 0) return NULL;
    struct quic_id *i = *bucket_of(t, id);
    while (i && !is_id(i, id)) i = i->next;
    return i ? i->connection : NULL;
}

static void link_id(struct quic_ids *t, struct quic_id *i)
{
    struct quic_id **bucket = bucket_of(t, slice_of((const char *)i->bytes, i->n));
    i->next = *bucket;
    *bucket = i;
}

static void grow(struct quic_ids *t)
{
    struct quic_ids old = *t;
    t->bucket_count = old.bucket_count ? 2 * old.bucket_count : BUCKETS_FIRST;
    t->buckets = xcalloc(t->bucket_count, sizeof *t->buckets);
    for (size_t i = 0; i < old.bucket_count; i++) {
        for (struct quic_id *id = old.buckets[i], *next; id; id = next) {
            next = id->next;
            link_id(t, id);
        }
    }
    free(old.buckets);
}

void quic_ids_add(struct quic_ids *t, struct slice id, struct quic_connection *c,
                  struct quic_id **of)
{
    CHECK(id.n <= QUIC_ID_BYTES_MAX);
    if (t->count == t->bucket_count) grow(t);
    struct quic_id *i = xcalloc(1, sizeof *i);
    i->connection = c;
    i->n = (uint8_t)id.n;
    if (id.n) memcpy(i->bytes, id.p, id.n);
    i->other = *of;
    *of = i;
    t->count++;
    link_id(t, i);
}

static void unlink_id(struct quic_ids *t, struct quic_id *i)
{
    struct quic_id **at = bucket_of(t, slice_of((const char *)i->bytes, i->n));
    while (*at != i) at = &(*at)->next;
    *at = i->next;
    t->count--;
    free(i);
}

void quic_ids_remove(struct quic_ids *t, struct slice id, struct quic_id **of)
{
    while (*of && !is_id(*of, id)) of = &(*of)->other;
    struct quic_id *i = *of;
    if (!i) return;
    *of = i->other;
    unlink_id(t, i);
}

void quic_ids_clear(struct quic_ids *t, struct quic_id **of)
{
    while (*of) {
        struct quic_id *i = *of;
        *of = i->other;
        unlink_id(t, i);
    }
}
