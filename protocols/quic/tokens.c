#include <ngtcp2/ngtcp2_crypto.h>

#include "edge/base/check.h"
#include "edge/base/metrics.h"
#include "protocols/quic/connection.h"

#define RETRY_TOKEN_VALID   (10 * NGTCP2_SECONDS)
#define REGULAR_TOKEN_VALID ((ngtcp2_tstamp)7 * 86400 * NGTCP2_SECONDS)
#define PACKET_BYTES        1200
#define RESET_BYTES_MIN     41 /* what is shorter may be a reset itself (RFC 9000 section 10.3.3) */

/* Tokens outlive the process and its monotonic clock. */
static ngtcp2_tstamp wall(const struct quic_endpoint *e)
{
    return (ngtcp2_tstamp)e->quic->worker->wall_ms * NGTCP2_MILLISECONDS;
}

/* ---- answers without a connection ---- */

void quic_answer_version(struct quic_endpoint *e, const ngtcp2_version_cid *v,
                         const struct udp_path *path)
{
    static const uint32_t ours[] = { NGTCP2_PROTO_VER_V1 };
    uint8_t packet[PACKET_BYTES], random;
    quic_random_fill(&e->quic->random, &random, sizeof random);
    ngtcp2_ssize n = ngtcp2_pkt_write_version_negotiation(packet, sizeof packet, random, v->scid,
                                                          v->scidlen, v->dcid, v->dcidlen, ours, 1);
    if (n <= 0) return;
    metric_add(METRIC_QUIC_VERSION_NEGOTIATIONS, 1);
    quic_send(e, path, slice_of((char *)packet, (size_t)n));
}

void quic_reset_token(const struct quic_node *n, const ngtcp2_cid *id, uint8_t *out)
{
    CHECK(ngtcp2_crypto_generate_stateless_reset_token(out, n->secret, sizeof n->secret, id) == 0);
}

/* Always shorter than what it answers, so that two who do this to each other come to an end. */
void quic_answer_unknown(struct quic_endpoint *e, struct slice id, const struct udp_path *path,
                         size_t packet_bytes)
{
    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN], packet[PACKET_BYTES], random[64];
    ngtcp2_cid cid;
    if (packet_bytes <= RESET_BYTES_MIN) return;
    ngtcp2_cid_init(&cid, (const uint8_t *)id.p, id.n);
    quic_reset_token(e->quic->node, &cid, token);
    size_t n = packet_bytes - 1 - sizeof token;
    if (n > sizeof random) n = sizeof random;
    quic_random_fill(&e->quic->random, random, n);
    ngtcp2_ssize made = ngtcp2_pkt_write_stateless_reset(packet, sizeof packet, token, random, n);
    if (made <= 0) return;
    metric_add(METRIC_QUIC_STATELESS_RESETS, 1);
    quic_send(e, path, slice_of((char *)packet, (size_t)made));
}

void quic_refuse(struct quic_endpoint *e, const ngtcp2_pkt_hd *h, const struct udp_path *path,
                 uint64_t code)
{
    uint8_t packet[PACKET_BYTES];
    ngtcp2_ssize n = ngtcp2_crypto_write_connection_close(packet, sizeof packet, h->version,
                                                          &h->scid, &h->dcid, code, NULL, 0);
    if (n > 0) quic_send(e, path, slice_of((char *)packet, (size_t)n));
}

/* ---- tokens ---- */

void quic_send_retry(struct quic_endpoint *e, const ngtcp2_pkt_hd *h, const struct udp_path *path)
{
    const struct quic_node *node = e->quic->node;
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2], packet[PACKET_BYTES];
    ngtcp2_cid id = { .datalen = QUIC_ID_BYTES };
    quic_id_make(&node->route, e->quic->worker->index, &e->quic->random, id.data);
    ngtcp2_ssize n = ngtcp2_crypto_generate_retry_token2(
        token, node->secret, sizeof node->secret, h->version, &path->remote.any, path->remote.bytes,
        &id, &h->dcid, wall(e));
    if (n <= 0) return;
    n = ngtcp2_crypto_write_retry(packet, sizeof packet, h->version, &h->scid, &id, &h->dcid, token,
                                  (size_t)n);
    if (n <= 0) return;
    metric_add(METRIC_QUIC_RETRIES, 1);
    quic_send(e, path, slice_of((char *)packet, (size_t)n));
}

static int verify_retry(struct quic_endpoint *e, struct quic_initial *i,
                        const struct udp_path *path)
{
    const struct quic_node *node = e->quic->node;
    const ngtcp2_pkt_hd *h = &i->header;
    return ngtcp2_crypto_verify_retry_token2(
        &i->original_id, h->token, h->tokenlen, node->secret, sizeof node->secret, h->version,
        &path->remote.any, path->remote.bytes, &h->dcid, RETRY_TOKEN_VALID, wall(e));
}

static bool verify_regular(struct quic_endpoint *e, const ngtcp2_pkt_hd *h,
                           const struct udp_path *path)
{
    const struct quic_node *node = e->quic->node;
    return ngtcp2_crypto_verify_regular_token(
               h->token, h->tokenlen, node->secret, sizeof node->secret, &path->remote.any,
               path->remote.bytes, REGULAR_TOKEN_VALID, wall(e)) == 0;
}

/* What the token proves: a Retry's, this connection; one of an earlier connection, the address. */
static int judge_token(struct quic_endpoint *e, struct quic_initial *i, const struct udp_path *path)
{
    const ngtcp2_pkt_hd *h = &i->header;
    uint8_t magic = h->tokenlen ? h->token[0] : 0;
    if (magic == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2) {
        int rc = verify_retry(e, i, path);
        if (rc == 0) i->token = NGTCP2_TOKEN_TYPE_RETRY;
        return rc == NGTCP2_CRYPTO_ERR_UNREADABLE_TOKEN ? 0 : rc;
    }
    if (magic == NGTCP2_CRYPTO_TOKEN_MAGIC_REGULAR && verify_regular(e, h, path))
        i->token = NGTCP2_TOKEN_TYPE_NEW_TOKEN;
    return 0;
}

bool quic_judge_initial(struct quic_endpoint *e, struct quic_initial *i,
                        const struct udp_path *path)
{
    i->token = NGTCP2_TOKEN_TYPE_UNKNOWN;
    if (judge_token(e, i, path) != 0) {
        quic_refuse(e, &i->header, path, NGTCP2_INVALID_TOKEN);
        return false;
    }
    if (i->token == NGTCP2_TOKEN_TYPE_UNKNOWN) {
        i->header.token = NULL;
        i->header.tokenlen = 0;
    }
    bool busy = atomic_load_explicit(&e->quic->node->handshakes, memory_order_relaxed) >=
                e->service->limits->handshakes;
    if (i->token != NGTCP2_TOKEN_TYPE_UNKNOWN || !busy)
        return i->token == NGTCP2_TOKEN_TYPE_RETRY ||
               i->header.dcid.datalen >= NGTCP2_MIN_INITIAL_DCIDLEN;
    quic_send_retry(e, &i->header, path);
    return false;
}

void quic_submit_token(struct quic_connection *c)
{
    const struct quic_node *node = c->quic->node;
    uint8_t token[NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN];
    const ngtcp2_path *path = ngtcp2_conn_get_path(c->conn);
    ngtcp2_ssize n = ngtcp2_crypto_generate_regular_token(token, node->secret, sizeof node->secret,
                                                          path->remote.addr, path->remote.addrlen,
                                                          wall(c->endpoint));
    if (n > 0) ngtcp2_conn_submit_new_token(c->conn, token, (size_t)n);
}
