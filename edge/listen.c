#include "edge/listen.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/base/log.h"
#include "edge/base/mem.h"

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
    return any_address(c, address, config_listen_eq);
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
