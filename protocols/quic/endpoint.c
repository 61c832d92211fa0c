#include "protocols/quic/endpoint.h"

#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "protocols/quic/connection.h"

/* Packets on their way to another worker. */
#define INBOX_MAX 1024

enum drop { DROP_MALFORMED, DROP_UNKNOWN, DROP_REFUSED, DROP_INBOX_FULL };

static const char *drop_name(unsigned index)
{
    static const char *const names[] = { [DROP_MALFORMED] = "malformed",
                                         [DROP_UNKNOWN] = "unknown",
                                         [DROP_REFUSED] = "refused",
                                         [DROP_INBOX_FULL] = "inbox_full" };
    return index < sizeof names / sizeof names[0] ? names[index] : NULL;
}

static void drop(enum drop why)
{
    metric_add_by(METRIC_QUIC_DROPPED, why, 1);
}

/* ---- new connections ---- */

/* A listener may have been closed and opened again, and connections of its former socket may still
 * be there: new ones are the new one's, whichever of the two the kernel chooses. */
static struct quic_endpoint *open_endpoint(struct quic_worker *q, const struct udp_address *bound)
{
    list_each (link, &q->endpoints) {
        struct quic_endpoint *e = container_of(link, struct quic_endpoint, link);
        if (!e->closing && udp_address_equal(&e->udp.bound, bound)) return e;
    }
    return NULL;
}

static bool is_long(struct slice packet)
{
    return packet.p[0] & 0x80;
}

/* A version that ngtcp2 knows and we do not speak; as with those that it does not know, only what
 * is as long as a first packet is answered (RFC 9000 section 5.2.2). */
static bool is_of_another_version(const ngtcp2_version_cid *v, struct slice packet)
{
    return is_long(packet) && v->version && v->version != NGTCP2_PROTO_VER_V1 &&
           packet.n >= NGTCP2_MAX_UDP_PAYLOAD_SIZE;
}

static void receive_first(struct quic_endpoint *e, const struct udp_path *path, uint8_t ecn,
                          struct slice packet, struct slice id)
{
    struct quic_initial i = { 0 };
    if (ngtcp2_accept(&i.header, (const uint8_t *)packet.p, packet.n) != 0) {
        drop(DROP_UNKNOWN);
        if (!is_long(packet)) quic_answer_unknown(e, id, path, packet.n);
        return;
    }
    bool open = !e->closing && !e->service->draining;
    if (open && !quic_judge_initial(e, &i, path)) return;
    struct quic_connection *c = open ? quic_connection_new(e, &i, path) : NULL;
    if (c) {
        quic_connection_receive(c, path, ecn, packet);
        /* The hello's beginning was not in it: the client is to send it all again. */
        if (c->error.type == NGTCP2_CCERR_TYPE_RETRY) quic_send_retry(e, &i.header, path);
    } else {
        drop(DROP_REFUSED);
        quic_refuse(e, &i.header, path, NGTCP2_CONNECTION_REFUSED);
    }
}

/* ---- packets for another worker ---- */

struct handed {
    struct note link;
    struct udp_address bound;
    struct udp_path path;
    uint8_t ecn;
    size_t n;
    char bytes[];
};

static void hand_over(struct quic_endpoint *e, struct quic_worker *to, const struct udp_path *path,
                      uint8_t ecn, struct slice packet)
{
    unsigned waiting = atomic_load_explicit(&to->inbox_count, memory_order_relaxed);
    if (waiting >= INBOX_MAX) {
        drop(DROP_INBOX_FULL);
        return;
    }
    struct handed *h = xmalloc(sizeof *h + packet.n);
    *h = (struct handed){ .bound = e->udp.bound, .path = *path, .ecn = ecn, .n = packet.n };
    memcpy(h->bytes, packet.p, packet.n);
    atomic_fetch_add_explicit(&to->inbox_count, 1, memory_order_relaxed);
    metric_add(METRIC_QUIC_HANDED_OVER, 1);
    if (note_push(&to->inbox, &h->link)) worker_post(to->worker, &to->inbox_note);
}

static void receive(struct quic_worker *q, struct quic_endpoint *e, const struct udp_path *path,
                    uint8_t ecn, struct slice packet, bool handed);

static void on_inbox(struct note *n)
{
    struct quic_worker *q = container_of(n, struct quic_worker, inbox_note);
    for (struct note *link = note_take_all(&q->inbox), *next; link; link = next) {
        struct handed *h = container_of(link, struct handed, link);
        next = link->next;
        atomic_fetch_sub_explicit(&q->inbox_count, 1, memory_order_relaxed);
        struct quic_endpoint *e = open_endpoint(q, &h->bound);
        receive(q, e, &h->path, h->ecn, slice_of(h->bytes, h->n), true);
        free(h);
    }
}

/* ---- packets ---- */

/* e is NULL for what was handed over and has no endpoint here. While the node stops, whoever gets a
 * new client's packet says so: the worker that it belongs to may have closed already. */
static void receive(struct quic_worker *q, struct quic_endpoint *e, const struct udp_path *path,
                    uint8_t ecn, struct slice packet, bool handed)
{
    ngtcp2_version_cid v;
    int rc = ngtcp2_pkt_decode_version_cid(&v, (const uint8_t *)packet.p, packet.n, QUIC_ID_BYTES);
    if (rc == 0 && is_of_another_version(&v, packet)) rc = NGTCP2_ERR_VERSION_NEGOTIATION;
    if (rc == NGTCP2_ERR_VERSION_NEGOTIATION && e) {
        quic_answer_version(e, &v, path);
        return;
    }
    if (rc != 0) {
        drop(DROP_MALFORMED);
        return;
    }
    struct slice id = slice_of((const char *)v.dcid, v.dcidlen);
    struct quic_connection *c = quic_ids_find(&q->ids, id);
    struct quic_endpoint *open = e && e->closing ? open_endpoint(q, &e->udp.bound) : e;
    unsigned worker =
        id.n >= QUIC_ID_BYTES ? quic_route_of(&q->node->route, v.dcid) : q->worker->index;
    bool elsewhere = e && !handed && worker != q->worker->index;
    if (c)
        quic_connection_receive(c, path, ecn, packet);
    else if (elsewhere && (open || !is_long(packet)))
        hand_over(e, q->node->workers[worker], path, ecn, packet);
    else if (e)
        receive_first(open ? open : e, path, ecn, packet, id);
    else
        drop(DROP_UNKNOWN);
}

static void on_train(struct udp *u, const struct udp_train *t)
{
    struct quic_endpoint *e = container_of(u, struct quic_endpoint, udp);
    metric_add(METRIC_CLIENT_BYTES_IN, (int64_t)t->bytes.n);
    for (struct slice rest = t->bytes; rest.n;) {
        size_t n = rest.n < t->segment_bytes ? rest.n : t->segment_bytes;
        metric_add(METRIC_QUIC_PACKETS_IN, 1);
        receive(e->quic, e, &t->path, t->ecn, slice_of(rest.p, n), false);
        rest = slice_skip(rest, n);
    }
}

/* ---- endpoints ---- */

static const struct udp_ops udp_ops = { on_train, quic_endpoint_writable };

static void on_scope_idle(struct scope *scope)
{
    struct quic_endpoint *e = container_of(scope, struct quic_endpoint, scope);
    udp_close(&e->udp);
    list_remove(&e->link);
    if (e->unsent_block) block_release(e->unsent_block);
    e->ops->closed(e);
}

bool quic_endpoint_open(struct quic_endpoint *e, struct quic_worker *q,
                        const struct quic_endpoint_ops *ops, struct http_service *service, int fd)
{
    *e = (struct quic_endpoint){ .quic = q, .ops = ops, .service = service };
    scope_init(&e->scope, q->worker, on_scope_idle);
    if (!udp_init(&e->udp, q->worker, &e->scope, &udp_ops, fd)) return false;
    list_init(&e->remains);
    list_append(&q->endpoints, &e->link);
    return true;
}

void quic_endpoint_left(struct quic_endpoint *e)
{
    if (!e->closing || e->connection_count || e->scope.closing) return;
    udp_cancel(&e->udp);
    scope_close(&e->scope);
}

void quic_endpoint_close(struct quic_endpoint *e)
{
    e->closing = true;
    list_each_safe (link, &e->remains) {
        quic_remains_free(container_of(link, struct quic_connection, write_link));
    }
    quic_endpoint_left(e);
}

/* ---- workers and the node ---- */

void quic_worker_init(struct quic_worker *q, struct quic_node *n, struct worker *w)
{
    *q = (struct quic_worker){ .node = n,
                               .worker = w,
                               .write_note = { .run = quic_write_all },
                               .inbox_note = { .run = on_inbox } };
    list_init(&q->endpoints);
    list_init(&q->writers);
    quic_ids_init(&q->ids, &q->random);
    q->packets = xmalloc(UDP_TRAIN_BYTES);
    n->workers[w->index] = q;
}

void quic_worker_free(struct quic_worker *q)
{
    CHECK(list_empty(&q->endpoints) && list_empty(&q->writers));
    for (struct note *link = note_take_all(&q->inbox), *next; link; link = next) {
        next = link->next;
        free(container_of(link, struct handed, link));
    }
    quic_ids_free(&q->ids);
    free(q->packets);
}

void quic_node_init(struct quic_node *n, unsigned workers)
{
    struct quic_random random = { .left = 0 };
    *n = (struct quic_node){ .workers = xcalloc(workers, sizeof(struct quic_worker *)) };
    quic_random_fill(&random, n->secret, sizeof n->secret);
    quic_route_init(&n->route, workers);
    metric_set_namer(METRIC_QUIC_DROPPED, drop_name);
}

void quic_node_free(struct quic_node *n)
{
    free(n->workers);
}
