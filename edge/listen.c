#include "edge/listen.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/base/log.h"
#include "edge/base/mem.h"
#include "edge/io/udp.h"

#define BACKLOG        4096 /* the kernel caps it at net.core.somaxconn */
#define PROBES         50   /* looks whether an address is free */
#define PROBE_EVERY_US 20000

/* ---- addresses ---- */

size_t listen_count(const struct config *c)
{
    return c->listen_count + c->admin.enabled;
}

const struct config_listen *listen_at(const struct config *c, size_t i)
{
    return i < c->listen_count ? &c->listens[i] : &c->admin.listen;
}

/* The port stands at the same place for both families. */
static bool same_port(const struct config_listen *a, const struct config_listen *b)
{
    return ((const struct sockaddr_in *)&a->address)->sin_port ==
           ((const struct sockaddr_in *)&b->address)->sin_port;
}

/* The admin's listener says nothing of what it speaks. */
static bool speaks_over(const struct config_listen *l, enum listen_transport transport)
{
    return transport == LISTEN_UDP ? l->h3 : l->h1 || l->h2 || !l->tls;
}

static bool any_address(const struct config *c, const struct config_listen *address,
                        enum listen_transport transport,
                        bool (*matches)(const struct config_listen *, const struct config_listen *))
{
    for (size_t i = 0; c && i < listen_count(c); i++) {
        const struct config_listen *l = listen_at(c, i);
        if (speaks_over(l, transport) && matches(l, address)) return true;
    }
    return false;
}

bool listen_is_named(const struct config *c, const struct config_listen *address,
                     enum listen_transport transport)
{
    return any_address(c, address, transport, config_listen_eq);
}

/* ---- opening, on the main thread ---- */

static void set_option(int fd, int level, int option)
{
    int on = 1;
    CHECK(setsockopt(fd, level, option, &on, sizeof on) == 0);
}

/* A bound socket, or the negative errno. */
static int bind_socket(const struct config_listen *at, enum listen_transport transport, bool shared)
{
    int type = transport == LISTEN_TCP ? SOCK_STREAM : SOCK_DGRAM;
    int family = at->address.ss_family;
    int fd = socket(family, type | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    /* Connections in TIME_WAIT do not matter; for UDP the option would share the address. */
    if (type == SOCK_STREAM) set_option(fd, SOL_SOCKET, SO_REUSEADDR);
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
static int probe(const struct config_listen *at, enum listen_transport transport)
{
    int fd = bind_socket(at, transport, false);
    for (int i = 1; fd == -EADDRINUSE && i < PROBES; i++) {
        usleep(PROBE_EVERY_US);
        fd = bind_socket(at, transport, false);
    }
    if (fd < 0) return fd;
    close(fd);
    return 0;
}

static int open_tcp(const struct config_listen *at)
{
    int fd = bind_socket(at, LISTEN_TCP, true);
    if (fd < 0) return fd;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY); /* inherited by what is accepted */
    if (listen(fd, BACKLOG) == 0) return fd;
    int error = errno;
    close(fd);
    return -error;
}

static int open_socket(const struct config_listen *at, enum listen_transport transport)
{
    return transport == LISTEN_TCP
               ? open_tcp(at)
               : udp_open((const struct sockaddr *)&at->address, at->address_bytes);
}

static int *no_sockets(size_t count)
{
    int *fds = xcalloc(count, sizeof *fds);
    for (size_t i = 0; i < count; i++) fds[i] = -1;
    return fds;
}

static struct listen_sockets *sockets_new(size_t count, unsigned worker_count)
{
    struct listen_sockets *v = xcalloc(worker_count, sizeof *v);
    for (unsigned w = 0; w < worker_count; w++)
        v[w] = (struct listen_sockets){ { no_sockets(count), no_sockets(count) }, count };
    return v;
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0) close(fds[i]);
    }
    free(fds);
}

void listen_sockets_free(struct listen_sockets *v, unsigned worker_count)
{
    for (unsigned w = 0; w < worker_count; w++) {
        for (int t = 0; t < LISTEN_TRANSPORTS; t++) close_all(v[w].fds[t], v[w].count);
    }
    free(v);
}

/* In the workers' order: the kernel numbers those of UDP by it (quic_route_attach). */
static int open_for_all(const struct config_listen *at, enum listen_transport transport, size_t i,
                        struct listen_sockets *v, unsigned worker_count)
{
    for (unsigned w = 0; w < worker_count; w++) {
        int fd = open_socket(at, transport);
        if (fd < 0) return fd;
        v[w].fds[transport][i] = fd;
    }
    return 0;
}

/* All are probed before one is opened: 0.0.0.0:80 and 127.0.0.1:80 would be in each other's way,
 * and sharing they are not. For the same reason a port that we have already is not probed. */
static int open_all(const struct config *c, const struct config *before,
                    enum listen_transport transport, struct listen_sockets *v,
                    unsigned worker_count, size_t *i)
{
    int rc = 0;
    for (*i = 0; *i < listen_count(c); ++*i) {
        const struct config_listen *at = listen_at(c, *i);
        if (!speaks_over(at, transport) || any_address(before, at, transport, same_port)) continue;
        if ((rc = probe(at, transport)) < 0) return rc;
    }
    for (*i = 0; *i < listen_count(c); ++*i) {
        const struct config_listen *at = listen_at(c, *i);
        if (!speaks_over(at, transport) || listen_is_named(before, at, transport)) continue;
        if ((rc = open_for_all(at, transport, *i, v, worker_count)) < 0) return rc;
    }
    return 0;
}

struct listen_sockets *listen_open(const struct config *config, const struct config *before,
                                   unsigned worker_count)
{
    struct listen_sockets *v = sockets_new(listen_count(config), worker_count);
    size_t at;
    int rc = open_all(config, before, LISTEN_TCP, v, worker_count, &at);
    if (rc == 0) rc = open_all(config, before, LISTEN_UDP, v, worker_count, &at);
    if (rc == 0) return v;
    listen_sockets_free(v, worker_count);
    log_event(LOG_ERROR, "cannot listen on %.*s: %s", SLICE_ARGS(listen_at(config, at)->text),
              strerror(-rc));
    return NULL;
}
