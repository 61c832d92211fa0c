#include "edge/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "edge/base/log.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/certificate.h"
#include "edge/io/conn.h"
#include "edge/node.h"
#include "edge/room.h"
#include "protocols/greeting.h"
#include "protocols/h1/server.h"

#define ALT_SVC_BYTES   32
#define ACCEPT_RETRY_MS 100 /* after accepting has failed for want of something */

/* What a peer points to: over which listener it came in, and as what. */
struct door {
    struct listener *listener;
    enum client_admission admission;
};

struct listener {
    struct list link; /* in listeners.open, while it is not closed */
    struct listeners *owner;
    struct config_listen address; /* text is below */
    struct scope scope;           /* the accept, and each connection that came in */
    enum listen_transport transport;
    struct op accept; /* of TCP, with what follows */
    struct timer retry;
    int fd;
    struct quic_endpoint quic; /* of UDP */
    bool admin, closed;
    bool failing; /* the last accept did, which was logged */
    struct door doors[ADMISSION_COUNT];
    char alt_svc[ALT_SVC_BYTES];
    char text[];
};

const struct config_listen *listener_address(const void *listener)
{
    return &((const struct door *)listener)->listener->address;
}

struct slice listener_alt_svc(const struct peer *peer)
{
    const struct listener *l = ((const struct door *)peer->listener)->listener;
    bool told = peer->secure && l->transport == LISTEN_TCP && l->address.h3;
    return told ? slice_str(l->alt_svc) : SLICE_NONE;
}

static bool read_peer(int fd, struct peer *out)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    struct sockaddr_storage from = { 0 };
    socklen_t bytes = sizeof from;
    *out = (struct peer){ 0 };
    if (getpeername(fd, (struct sockaddr *)&from, &bytes) < 0) return false;
    if (from.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&from;
        memcpy(out->address, mapped, sizeof mapped);
        memcpy(out->address + sizeof mapped, &v4->sin_addr, 4);
        out->port = ntohs(v4->sin_port);
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&from;
        memcpy(out->address, &v6->sin6_addr, 16);
        out->port = ntohs(v6->sin6_port);
    }
    return true;
}

static struct tls_context *choose_certificate(const void *door, struct slice host)
{
    const struct listener *l = ((const struct door *)door)->listener;
    return certificate_choose(l->owner->edge->config, &l->address, host);
}

/* NULL where none can be had. */
static struct tls *open_session(const struct listener *l, const struct peer *peer)
{
    unsigned protocols = (l->address.h1 ? TLS_H1 : 0) | (l->address.h2 ? TLS_H2 : 0);
    return tls_accept(protocols, choose_certificate, peer->listener);
}

/* To whatever speaks its protocol. */
static void start_connection(struct listener *l, int fd, struct peer *peer, int refuse)
{
    struct edge *e = l->owner->edge;
    peer->secure = l->address.tls;
    scope_enter(&l->scope);
    if (!peer->secure) {
        h1_server_start(l->admin ? &e->admin : &e->sites, fd, peer, NULL, refuse);
        return;
    }
    struct tls *tls = open_session(l, peer);
    if (tls) {
        greeting_start(&e->sites, fd, peer, tls, refuse);
    } else {
        close(fd);
        listener_leave(peer);
    }
}

static bool make_room(void *edge)
{
    return room_make(edge);
}

static enum client_admission admit(const struct listener *l, const struct peer *peer)
{
    struct edge *e = l->owner->edge;
    if (l->admin) return ADMISSION_EXEMPT;
    return client_limits_enter(&e->node->clients, &e->config->limits, peer->address, make_room, e);
}

/* Descriptors are used up but for those that are kept for the administrator and the like. An idle
 * connection makes room for the next one. */
static void turn_away(struct listener *l, int fd)
{
    close(fd);
    metric_add_by(METRIC_CONNECTIONS_REFUSED, E_SYSTEM, 1);
    log_event(LOG_ERROR, "cannot accept on %s: %s", l->text, strerror(EMFILE));
    room_make(l->owner->edge);
}

static void take_connection(struct listener *l, int fd)
{
    struct peer peer;
    metric_add(METRIC_CONNECTIONS_ACCEPTED, 1);
    if (!l->admin && !conn_may_have(fd)) {
        turn_away(l, fd);
        return;
    }
    if (l->closed || !read_peer(fd, &peer)) { /* the client is gone again, or we are */
        close(fd);
        return;
    }
    enum client_admission admission = admit(l, &peer);
    bool refused = admission == ADMISSION_REFUSED || admission == ADMISSION_NONE;
    if (refused) metric_add_by(METRIC_CONNECTIONS_REFUSED, E_CONN_LIMIT, 1);
    if (admission == ADMISSION_NONE) {
        close(fd);
        return;
    }
    peer.listener = &l->doors[admission];
    start_connection(l, fd, &peer, refused ? -E_CONN_LIMIT : 0);
}

void listener_leave(const struct peer *peer)
{
    const struct door *d = peer->listener;
    struct edge *e = d->listener->owner->edge;
    client_limits_leave(&e->node->clients, d->admission, peer->address);
    scope_leave(&d->listener->scope);
}

static void accept_on(struct listener *l)
{
    op_accept_multishot(&l->owner->edge->worker, &l->accept, l->fd);
}

static void on_retry(struct timer *t)
{
    accept_on(container_of(t, struct listener, retry));
}

/* Descriptors or memory are out: trying at once would only fail again. */
static void accept_failed(struct listener *l, int error)
{
    struct worker *w = &l->owner->edge->worker;
    if (!l->failing) log_event(LOG_ERROR, "cannot accept on %s: %s", l->text, strerror(error));
    l->failing = true;
    timer_set(&w->wheel, &l->retry, worker_now_ms(w) + ACCEPT_RETRY_MS);
}

/* A multishot accept ends when it fails, and when completions overflow the ring. */
static void on_accept(struct op *op, const struct op_result *r)
{
    struct listener *l = container_of(op, struct listener, accept);
    if (r->result >= 0) {
        l->failing = false;
        take_connection(l, r->result);
    }
    if (r->more) return;
    if (l->closed)
        close(l->fd);
    else if (r->result >= 0)
        accept_on(l);
    else
        accept_failed(l, -r->result);
}

static void on_listener_idle(struct scope *scope)
{
    struct listener *l = container_of(scope, struct listener, scope);
    struct listeners *owner = l->owner;
    free(l);
    scope_leave(&owner->scope);
}

/* At the same place for both families. */
static unsigned port_of(const struct config_listen *at)
{
    return ntohs(((const struct sockaddr_in *)&at->address)->sin_port);
}

static struct listener *listener_new(struct listeners *owner, const struct config_listen *at,
                                     enum listen_transport transport)
{
    struct listener *l = xcalloc(1, sizeof *l + at->text.n + 1);
    l->owner = owner;
    l->transport = transport;
    l->address = *at;
    l->address.text = slice_of(memcpy(l->text, at->text.p, at->text.n), at->text.n);
    snprintf(l->alt_svc, sizeof l->alt_svc, "h3=\":%u\"; ma=86400", port_of(at));
    for (int i = 0; i < ADMISSION_COUNT; i++)
        l->doors[i] = (struct door){ l, (enum client_admission)i };
    scope_init(&l->scope, &owner->edge->worker, on_listener_idle);
    op_init(&l->accept, &l->scope, on_accept);
    timer_init(&l->retry, on_retry);
    scope_enter(&owner->scope);
    return l;
}

/* ---- QUIC ---- */

/* A client that is too much is told so in one packet, by the endpoint. */
static bool admit_quic(struct quic_endpoint *e, struct peer *peer)
{
    struct listener *l = container_of(e, struct listener, quic);
    enum client_admission admission = admit(l, peer);
    metric_add(METRIC_CONNECTIONS_ACCEPTED, 1);
    if (admission == ADMISSION_REFUSED || admission == ADMISSION_NONE) {
        client_limits_leave(&l->owner->edge->node->clients, admission, peer->address);
        metric_add_by(METRIC_CONNECTIONS_REFUSED, E_CONN_LIMIT, 1);
        return false;
    }
    peer->listener = &l->doors[admission];
    scope_enter(&l->scope);
    return true;
}

static void on_quic_closed(struct quic_endpoint *e)
{
    scope_leave(&container_of(e, struct listener, quic)->scope);
}

/* The first worker's, whose socket was bound first, tells the kernel which packet is whose. */
static bool open_quic(struct listener *l, int fd)
{
    static const struct quic_endpoint_ops ops = { admit_quic, choose_certificate, on_quic_closed };
    struct edge *e = l->owner->edge;
    if (e->worker.index == 0) quic_route_attach(&e->node->quic.route, fd);
    if (!quic_endpoint_open(&l->quic, &e->quic, &ops, &e->sites, fd)) return false;
    scope_enter(&l->scope);
    return true;
}

/* ---- opening and closing ---- */

static void listener_open(struct listeners *owner, const struct config_listen *at,
                          enum listen_transport transport, int fd)
{
    struct listener *l = listener_new(owner, at, transport);
    list_append(&owner->open, &l->link);
    if (transport == LISTEN_TCP) {
        l->fd = fd;
        accept_on(l);
    } else if (!open_quic(l, fd)) {
        log_event(LOG_ERROR, "no memory to receive on %s over UDP", l->text);
        close(fd);
        list_remove(&l->link);
        scope_close(&l->scope);
    }
}

/* Closing the descriptor would not end the accept: that goes first. */
static void close_tcp(struct listener *l)
{
    timer_cancel(&l->retry);
    if (l->accept.armed)
        op_cancel(&l->owner->edge->worker, &l->accept);
    else
        close(l->fd);
}

static void listener_close(struct listener *l)
{
    list_remove(&l->link);
    l->closed = true;
    if (l->transport == LISTEN_TCP) close_tcp(l);
    if (l->transport == LISTEN_UDP) quic_endpoint_close(&l->quic);
    scope_close(&l->scope);
}

/* ---- all of a worker's ---- */

static void on_all_idle(struct scope *scope)
{
    struct listeners *l = container_of(scope, struct listeners, scope);
    l->idle(l);
}

void listeners_init(struct listeners *l, struct edge *e)
{
    l->edge = e;
    list_init(&l->open);
    scope_init(&l->scope, &e->worker, on_all_idle);
}

static bool is_admin(const struct config *c, const struct config_listen *address)
{
    return c->admin.enabled && config_listen_eq(&c->admin.listen, address);
}

/* What is spoken there may be another with each configuration; the address's text is the
 * listener's own. */
static void update_listener(struct listener *l, const struct config *c)
{
    l->admin = is_admin(c, &l->address);
    for (size_t i = 0; i < c->listen_count; i++) {
        if (!config_listen_eq(&c->listens[i], &l->address)) continue;
        struct slice text = l->address.text;
        l->address = c->listens[i];
        l->address.text = text;
    }
}

static void open_all(struct listeners *l, struct listen_sockets *sockets,
                     enum listen_transport transport)
{
    for (size_t i = 0; i < sockets->count; i++) {
        int fd = sockets->fds[transport][i];
        sockets->fds[transport][i] = -1;
        if (fd >= 0) listener_open(l, listen_at(l->edge->config, i), transport, fd);
    }
}

void listeners_configure(struct listeners *l, struct listen_sockets *sockets)
{
    const struct config *c = l->edge->config;
    open_all(l, sockets, LISTEN_TCP);
    open_all(l, sockets, LISTEN_UDP);
    list_each_safe (link, &l->open) {
        struct listener *one = container_of(link, struct listener, link);
        update_listener(one, c);
        if (!listen_is_named(c, &one->address, one->transport)) listener_close(one);
    }
}

void listeners_close_sites(struct listeners *l)
{
    list_each_safe (link, &l->open) {
        struct listener *one = container_of(link, struct listener, link);
        if (!one->admin) listener_close(one);
    }
}

void listeners_close(struct listeners *l, void (*idle)(struct listeners *l))
{
    l->idle = idle;
    list_each_safe (link, &l->open) listener_close(container_of(link, struct listener, link));
    scope_close(&l->scope);
}
