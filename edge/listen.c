#include "edge/listen.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/base/log.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/node.h"

#define BACKLOG         4096 /* the kernel caps it at net.core.somaxconn */
#define PROBES          50   /* looks whether an address is free */
#define PROBE_EVERY_US  20000
#define ACCEPT_RETRY_MS 100 /* after accepting has failed for want of something */

/* ---- addresses ---- */

size_t listen_count(const struct config *c)
{
    return c->listen_count + c->admin.enabled;
}

const struct config_listen *listen_at(const struct config *c, size_t i)
{
    return i < c->listen_count ? &c->listens[i] : &c->admin.listen;
}

static bool same_address(const struct config_listen *a, const struct config_listen *b)
{
    return a->address_bytes == b->address_bytes &&
           memcmp(&a->address, &b->address, a->address_bytes) == 0;
}

/* The port stands at the same place for both families. */
static bool same_port(const struct config_listen *a, const struct config_listen *b)
{
    return ((const struct sockaddr_in *)&a->address)->sin_port ==
           ((const struct sockaddr_in *)&b->address)->sin_port;
}

static bool any_address(const struct config *c, const struct config_listen *address,
                        bool (*matches)(const struct config_listen *, const struct config_listen *))
{
    for (size_t i = 0; c && i < listen_count(c); i++) {
        if (matches(listen_at(c, i), address)) return true;
    }
    return false;
}

bool listen_is_named(const struct config *c, const struct config_listen *address)
{
    return any_address(c, address, same_address);
}

/* ---- opening, on the main thread ---- */

static void set_option(int fd, int level, int option)
{
    int on = 1;
    CHECK(setsockopt(fd, level, option, &on, sizeof on) == 0);
}

/* A bound socket, or the negative errno. */
static int bind_socket(const struct config_listen *at, bool shared)
{
    int family = at->address.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR); /* connections in TIME_WAIT do not matter */
    if (shared) set_option(fd, SOL_SOCKET, SO_REUSEPORT);
    if (family == AF_INET6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (bind(fd, (const struct sockaddr *)&at->address, at->address_bytes) == 0) return fd;
    int error = errno;
    close(fd);
    return -error;
}

/* SO_REUSEPORT would share an address with any other program of the same user that sets it too, an
 * older Verge first of all: so it must be free to a socket that shares with nobody. Kernel-side,
 * the sockets of a process that was killed a moment ago live on a little, until its rings are taken
 * down; that is waited for. */
static int probe(const struct config_listen *at)
{
    int fd = bind_socket(at, false);
    for (int i = 1; fd == -EADDRINUSE && i < PROBES; i++) {
        usleep(PROBE_EVERY_US);
        fd = bind_socket(at, false);
    }
    if (fd < 0) return fd;
    close(fd);
    return 0;
}

static int open_socket(const struct config_listen *at)
{
    int fd = bind_socket(at, true);
    if (fd < 0) return fd;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY); /* inherited by what is accepted */
    if (listen(fd, BACKLOG) == 0) return fd;
    int error = errno;
    close(fd);
    return -error;
}

static struct listen_sockets *sockets_new(size_t count, unsigned worker_count)
{
    struct listen_sockets *v = xcalloc(worker_count, sizeof *v);
    for (unsigned w = 0; w < worker_count; w++) {
        v[w] = (struct listen_sockets){ xcalloc(count, sizeof *v->fds), count };
        for (size_t i = 0; i < count; i++) v[w].fds[i] = -1;
    }
    return v;
}

void listen_sockets_free(struct listen_sockets *v, unsigned worker_count)
{
    for (unsigned w = 0; w < worker_count; w++) {
        for (size_t i = 0; i < v[w].count; i++) {
            if (v[w].fds[i] >= 0) close(v[w].fds[i]);
        }
        free(v[w].fds);
    }
    free(v);
}

static int open_for_all(const struct config_listen *at, size_t i, struct listen_sockets *v,
                        unsigned worker_count)
{
    for (unsigned w = 0; w < worker_count; w++) {
        int fd = open_socket(at);
        if (fd < 0) return fd;
        v[w].fds[i] = fd;
    }
    return 0;
}

/* All are probed before one is opened: 0.0.0.0:80 and 127.0.0.1:80 would be in each other's way,
 * and sharing they are not. For the same reason a port that we have already is not probed. */
static int open_all(const struct config *c, const struct config *before, struct listen_sockets *v,
                    unsigned worker_count, size_t *i)
{
    int rc = 0;
    for (*i = 0; *i < listen_count(c); ++*i) {
        if (any_address(before, listen_at(c, *i), same_port)) continue;
        if ((rc = probe(listen_at(c, *i))) < 0) return rc;
    }
    for (*i = 0; *i < listen_count(c); ++*i) {
        const struct config_listen *at = listen_at(c, *i);
        if (listen_is_named(before, at)) continue;
        if ((rc = open_for_all(at, *i, v, worker_count)) < 0) return rc;
    }
    return 0;
}

struct listen_sockets *listen_open(const struct config *config, const struct config *before,
                                   unsigned worker_count)
{
    struct listen_sockets *v = sockets_new(listen_count(config), worker_count);
    size_t at;
    int rc = open_all(config, before, v, worker_count, &at);
    if (rc == 0) return v;
    listen_sockets_free(v, worker_count);
    log_event(LOG_ERROR, "cannot listen on %.*s: %s", SLICE_ARGS(listen_at(config, at)->text),
              strerror(-rc));
    return NULL;
}

/* ---- accepting, on a worker ---- */

/* What a peer points to: over which listener it came in, and as what. */
struct door {
    struct listener *listener;
    enum admission admission;
};

struct listener {
    struct list link; /* in listeners.open, while it is not closed */
    struct listeners *owner;
    struct config_listen address; /* text is below */
    struct scope scope;           /* the accept, and each connection that came in */
    struct op accept;
    struct timer retry;
    int fd;
    bool admin, tls, closed;
    bool failing; /* the last accept did, which was logged */
    struct door doors[ADMISSION_COUNT];
    char text[];
};

const struct config_listen *listener_address(const void *listener)
{
    return &((const struct door *)listener)->listener->address;
}

static bool read_peer(int fd, struct peer *out)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    struct sockaddr_storage from;
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

static struct tls_context *first_certificate(const struct listener *l)
{
    const struct config *c = l->owner->edge->config;
    for (size_t i = 0; i < c->site_count; i++) {
        const struct config_site *site = &c->sites[i];
        for (size_t k = 0; site->certificate && k < site->listen_count; k++) {
            if (same_address(&site->listens[k], &l->address)) return site->certificate;
        }
    }
    return NULL;
}

/* A client that names nobody gets the listener's first certificate, as one that connects to an
 * address does. */
static struct tls_context *choose_certificate(const void *door, struct slice host)
{
    const struct listener *l = ((const struct door *)door)->listener;
    const struct config_site *site = config_find_site(l->owner->edge->config, &l->address, host);
    if (host.n == 0) return first_certificate(l);
    return site ? site->certificate : NULL;
}

/* False where it should be encrypted and cannot be. */
static bool open_session(const struct listener *l, struct peer *peer, struct tls **tls)
{
    struct tls_context *first = l->tls ? first_certificate(l) : NULL;
    peer->secure = l->tls;
    *tls = first ? tls_accept(first, choose_certificate, peer->listener) : NULL;
    return *tls || !l->tls;
}

static enum admission admit(const struct listener *l, const struct peer *peer)
{
    struct edge *e = l->owner->edge;
    if (l->admin) return ADMISSION_EXEMPT;
    return client_limits_enter(&e->node->clients, &e->config->limits, peer->address);
}

static void take_connection(struct listener *l, int fd)
{
    struct edge *e = l->owner->edge;
    struct peer peer;
    metric_add(METRIC_CONNECTIONS_ACCEPTED, 1);
    if (l->closed || !read_peer(fd, &peer)) { /* the client is gone again, or we are */
        close(fd);
        return;
    }
    enum admission admission = admit(l, &peer);
    bool refused = admission == ADMISSION_REFUSED || admission == ADMISSION_NONE;
    if (refused) metric_add_by(METRIC_CONNECTIONS_REFUSED, E_CONN_LIMIT, 1);
    if (admission == ADMISSION_NONE) {
        close(fd);
        return;
    }
    struct tls *tls;
    peer.listener = &l->doors[admission];
    scope_enter(&l->scope);
    if (!open_session(l, &peer, &tls)) {
        close(fd);
        listener_leave(&peer);
        return;
    }
    h1_server_start(l->admin ? &e->admin : &e->sites, fd, &peer, tls, refused ? -E_CONN_LIMIT : 0);
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

static void listener_open(struct listeners *owner, const struct config_listen *at, int fd)
{
    struct listener *l = xcalloc(1, sizeof *l + at->text.n + 1);
    struct worker *w = &owner->edge->worker;
    l->owner = owner;
    l->fd = fd;
    l->address = *at;
    l->address.text = slice_of(memcpy(l->text, at->text.p, at->text.n), at->text.n);
    for (int i = 0; i < ADMISSION_COUNT; i++) l->doors[i] = (struct door){ l, (enum admission)i };
    scope_init(&l->scope, w, on_listener_idle);
    op_init(&l->accept, &l->scope, on_accept);
    timer_init(&l->retry, on_retry);
    scope_enter(&owner->scope);
    list_append(&owner->open, &l->link);
    accept_on(l);
}

/* Closing the descriptor would not end the accept: that goes first. */
static void listener_close(struct listener *l)
{
    list_remove(&l->link);
    l->closed = true;
    timer_cancel(&l->retry);
    if (l->accept.armed)
        op_cancel(&l->owner->edge->worker, &l->accept);
    else
        close(l->fd);
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
    return c->admin.enabled && same_address(&c->admin.listen, address);
}

static bool is_tls(const struct config *c, const struct config_listen *address)
{
    for (size_t i = 0; i < c->listen_count; i++) {
        if (same_address(&c->listens[i], address)) return c->listens[i].tls;
    }
    return false;
}

void listeners_configure(struct listeners *l, struct listen_sockets *sockets)
{
    const struct config *c = l->edge->config;
    for (size_t i = 0; i < sockets->count; i++) {
        if (sockets->fds[i] < 0) continue;
        listener_open(l, listen_at(c, i), sockets->fds[i]);
        sockets->fds[i] = -1;
    }
    list_each_safe (link, &l->open) {
        struct listener *one = container_of(link, struct listener, link);
        one->admin = is_admin(c, &one->address);
        one->tls = is_tls(c, &one->address);
        if (!listen_is_named(c, &one->address)) listener_close(one);
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
