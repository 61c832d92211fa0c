/* QUIC before there is a TLS session to speak of: datagrams of any bytes, from two addresses, and
 * Initial packets whose payload is any bytes but whose protection is right (RFC 9001 section 5.2),
 * so that frames, hellos and tokens are reached. Whatever comes, at most three times as much goes
 * back to an address that has proved nothing (RFC 9000 section 8.1), and once the endpoint is
 * closed and time has passed nothing is left.
 *
 * Records: a byte that says what comes, two of length, and so many bytes. */
#include <openssl/aead.h>
#include <openssl/aes.h>
#include <openssl/digest.h>
#include <openssl/hkdf.h>
#include <stdio.h>

#include "tests/fuzz/scripted_edge.h"

#include "protocols/quic/connection.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the socket ---- */

static struct {
    struct udp *udp;
    size_t in[2], out[2]; /* bytes, by address */
    bool full;            /* the kernel takes nothing at present */
} wire;

static struct udp_path path_of(unsigned from)
{
    struct udp_path p = { .local = { .v4 = { .sin_family = AF_INET, .sin_port = htons(443) },
                                     .bytes = sizeof p.local.v4 } };
    p.remote = p.local;
    p.remote.v4.sin_port = htons((uint16_t)(1000 + from));
    return p;
}

bool udp_init(struct udp *u, struct worker *w, struct scope *scope, const struct udp_ops *ops,
              int fd)
{
    *u = (struct udp){ .worker = w, .ops = ops, .fd = fd, .bound = path_of(0).local };
    (void)scope;
    wire.udp = u;
    return true;
}

bool udp_send(struct udp *u, const struct udp_train *train)
{
    unsigned to = ntohs(train->path.remote.v4.sin_port) - 1000u;
    CHECK(u == wire.udp && train->bytes.n && train->segment_bytes && to < 2);
    if (wire.full) return false;
    wire.out[to] += train->bytes.n;
    return true;
}

void udp_cancel(struct udp *u)
{
    CHECK(u == wire.udp);
}

void udp_close(struct udp *u)
{
    CHECK(u == wire.udp);
    wire.udp = NULL;
}

bool udp_address_equal(const struct udp_address *a, const struct udp_address *b)
{
    return a->bytes == b->bytes && memcmp(&a->v4, &b->v4, sizeof a->v4) == 0;
}

static void arrive(unsigned from, struct slice datagram)
{
    struct udp_train t = { .path = path_of(from), .bytes = datagram, .segment_bytes = datagram.n };
    if (datagram.n == 0 || !wire.udp) return;
    wire.in[from] += datagram.n;
    wire.udp->ops->received(wire.udp, &t);
}

/* ---- a client's Initial packets ---- */

static const uint8_t client_id[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

static void expand(uint8_t *to, size_t n, const uint8_t secret[32], const char *label)
{
    uint8_t info[64] = { (uint8_t)(n >> 8), (uint8_t)n, (uint8_t)(6 + strlen(label)) };
    size_t bytes = 3 + (size_t)sprintf((char *)info + 3, "tls13 %s", label) + 1;
    CHECK(HKDF_expand(to, n, EVP_sha256(), secret, 32, info, bytes));
}

static struct {
    uint8_t key[16], iv[12], mask[16];
} keys;

static void derive_keys(void)
{
    static const uint8_t salt[20] = { 0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
                                      0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a };
    uint8_t initial[32], client[32];
    size_t n;
    CHECK(HKDF_extract(initial, &n, EVP_sha256(), client_id, sizeof client_id, salt, sizeof salt));
    expand(client, sizeof client, initial, "client in");
    expand(keys.key, sizeof keys.key, client, "quic key");
    expand(keys.iv, sizeof keys.iv, client, "quic iv");
    expand(keys.mask, sizeof keys.mask, client, "quic hp");
}

/* Writes the number of a packet into its nonce, and hides the packet's first byte and number. */
static void protect(uint8_t *packet, size_t head, size_t payload)
{
    EVP_AEAD_CTX seal;
    uint8_t nonce[12], mask[16];
    size_t n;
    AES_KEY aes;
    memcpy(nonce, keys.iv, sizeof nonce);
    for (size_t i = 0; i < 4; i++) nonce[8 + i] ^= packet[head - 4 + i];
    CHECK(EVP_AEAD_CTX_init(&seal, EVP_aead_aes_128_gcm(), keys.key, sizeof keys.key, 16, NULL));
    CHECK(EVP_AEAD_CTX_seal(&seal, packet + head, &n, payload + 16, nonce, sizeof nonce,
                            packet + head, payload, packet, head));
    EVP_AEAD_CTX_cleanup(&seal);
    AES_set_encrypt_key(keys.mask, 128, &aes);
    AES_encrypt(packet + head, mask, &aes);
    packet[0] ^= mask[0] & 0x0f;
    for (size_t i = 0; i < 4; i++) packet[head - 4 + i] ^= mask[1 + i];
}

/* What comes is the length of a token, that, and then frames, filled up with PADDING. */
static struct slice initial(struct slice in, unsigned number, uint8_t packet[1200])
{
    size_t token = in.n ? (uint8_t)in.p[0] % 64 : 0, head = 0;
    if (in.n) in = slice_skip(in, 1);
    if (token > in.n) token = in.n;
    static const uint8_t begins[] = { 0xc3, 0, 0, 0, 1, sizeof client_id };
    memcpy(packet, begins, sizeof begins);
    head = sizeof begins;
    memcpy(packet + head, client_id, sizeof client_id);
    head += sizeof client_id;
    packet[head++] = 0; /* the client's own ID is empty */
    packet[head++] = (uint8_t)token;
    if (token) memcpy(packet + head, in.p, token);
    head += token;
    size_t rest = 1200 - head - 2;
    packet[head++] = (uint8_t)(0x40 | rest >> 8);
    packet[head++] = (uint8_t)rest;
    for (int shift = 24; shift >= 0; shift -= 8) packet[head++] = (uint8_t)(number >> shift);
    size_t payload = 1200 - head - 16;
    in = slice_skip(in, token);
    if (in.n > payload) in.n = payload;
    memset(packet + head, 0, payload);
    if (in.n) memcpy(packet + head, in.p, in.n);
    protect(packet, head, payload);
    return slice_of((char *)packet, 1200);
}

/* ---- a run ---- */

static bool closed;

static bool admit(struct quic_endpoint *e, struct peer *peer)
{
    (void)e;
    peer->listener = NULL;
    return true;
}

static struct tls_context *select_none(const void *user, struct slice host)
{
    (void)user, (void)host;
    return NULL;
}

static void on_endpoint_closed(struct quic_endpoint *e)
{
    (void)e;
    closed = true;
}

static const struct quic_endpoint_ops ops = { admit, select_none, on_endpoint_closed };

enum record { DATAGRAM, INITIAL, RETRY_ALWAYS, FULL, TIME, TURN, RECORDS };

static void play_one(struct worker *w, struct http_limits *l, unsigned what, struct slice in)
{
    static unsigned number;
    uint8_t packet[1200];
    unsigned from = what >> 7;
    switch (what % RECORDS) {
    case DATAGRAM: arrive(from, in); break;
    case INITIAL: arrive(from, initial(in, number++, packet)); break;
    case RETRY_ALWAYS: l->handshakes = l->handshakes ? 0 : 1000; break;
    case FULL:
        wire.full = !wire.full;
        if (!wire.full && wire.udp) wire.udp->ops->writable(wire.udp);
        break;
    case TIME: let_time_pass(w, 10 << (what >> 4) % 8); break;
    default: edge_acts(); break;
    }
    worker_run_notes(w);
}

static void play(struct worker *w, struct http_limits *l, struct slice in)
{
    while (in.n >= 3) {
        unsigned what = (uint8_t)in.p[0];
        size_t n = (size_t)(uint8_t)in.p[1] << 8 | (uint8_t)in.p[2];
        in = slice_skip(in, 3);
        if (n > in.n) n = in.n;
        play_one(w, l, what, slice_of(in.p, n));
        in = slice_skip(in, n);
        for (unsigned i = 0; i < 2; i++) CHECK(wire.out[i] <= 3 * wire.in[i]);
    }
}

/* As a node that stops does. */
static void finish(struct worker *w, struct http_service *service, struct quic_endpoint *e)
{
    wire.full = false;
    if (wire.udp) wire.udp->ops->writable(wire.udp);
    quic_endpoint_close(e);
    http_service_abort(service);
    worker_run_notes(w);
    for (unsigned i = 0; i < 100 && !closed; i++) let_time_pass(w, 1000);
    CHECK(closed && !wire.udp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct worker w;
    struct quic_node node;
    struct quic_worker quic;
    struct quic_endpoint e;
    struct http_service service;
    struct http_limits own = limits;
    own.handshakes = 1000;
    memset(&wire, 0, sizeof wire);
    closed = false;
    begun = ended = 0;
    derive_keys();
    worker_init(&w, 0);
    w.now_us = 1000000;
    w.wall_ms = 1700000000000;
    http_service_init(&service, &w, &handler, &own, on_closed);
    quic_node_init(&node, 1);
    quic_worker_init(&quic, &node, &w);
    CHECK(quic_endpoint_open(&e, &quic, &ops, &service, -1));
    play(&w, &own, slice_of((const char *)data, size));
    finish(&w, &service, &e);
    CHECK(begun == 0 && service.connection_count == 0 && quic.ids.count == 0);
    quic_worker_free(&quic);
    quic_node_free(&node);
    while (w.free_block_count) block_release(w.free_blocks[--w.free_block_count]);
    return 0;
}
