#include "protocols/greeting.h"

#include <stdlib.h>

#include "edge/base/mem.h"
#include "edge/io/conn.h"
#include "protocols/h1/server.h"
#include "protocols/h2/server.h"

struct greeting {
    struct http_connection client;
    struct conn conn; /* knows nothing of the session */
    struct scope scope;
    struct timer timer;
    struct tls *tls; /* NULL: handed over */
    int refuse;
};

static void on_scope_idle(struct scope *scope)
{
    struct greeting *g = container_of(scope, struct greeting, scope);
    conn_close(&g->conn);
    if (g->tls) {
        tls_free(&g->tls);
        http_connection_leave(&g->client);
    }
    free(g);
}

static void give_up(struct greeting *g)
{
    if (g->scope.closing) return;
    timer_cancel(&g->timer);
    conn_cancel(&g->conn);
    scope_close(&g->scope);
}

/* What is unread of the hello's packet lies in a receive buffer: the protocol's connection reads it
 * before this returns. */
static void hand_over(struct greeting *g)
{
    struct http_service *service = g->client.service;
    struct tls *tls = g->tls;
    int fd = conn_take_fd(&g->conn);
    g->tls = NULL;
    g->client.peer.tls = tls_hello(tls);
    timer_cancel(&g->timer);
    http_connection_hand_over(&g->client);
    scope_close(&g->scope);
    if (tls_protocol(tls) == TLS_H2)
        h2_server_start(service, fd, &g->client.peer, tls, g->refuse);
    else
        h1_server_start(service, fd, &g->client.peer, tls, g->refuse);
}

static void on_data(struct conn *c, struct slice bytes)
{
    struct greeting *g = container_of(c, struct greeting, conn);
    if (g->scope.closing) return;
    tls_feed(g->tls, bytes);
    if (tls_take_hello(g->tls) == TLS_MORE)
        conn_recv_once(c);
    else
        hand_over(g); /* also where it failed: that one tells the client */
}

static void on_ended(struct conn *c, bool reset)
{
    (void)reset;
    give_up(container_of(c, struct greeting, conn));
}

static const struct conn_ops conn_ops = { .data = on_data, .ended = on_ended };

static void on_timer(struct timer *t)
{
    give_up(container_of(t, struct greeting, timer));
}

static void end(struct http_connection *c)
{
    give_up(container_of(c, struct greeting, client));
}

static const struct http_connection_ops client_ops = { .drain = end, .abort = end };

void greeting_start(struct http_service *service, int fd, const struct peer *peer, struct tls *tls,
                    int refuse)
{
    struct greeting *g = xcalloc(1, sizeof *g);
    struct worker *w = service->worker;
    g->tls = tls;
    g->refuse = refuse;
    http_connection_enter(&g->client, &client_ops, service, peer);
    scope_init(&g->scope, w, on_scope_idle);
    conn_init(&g->conn, w, &g->scope, &conn_ops, fd);
    timer_init(&g->timer, on_timer);
    timer_set(&w->wheel, &g->timer, worker_now_ms(w) + service->limits->header_timeout_ms);
    conn_recv_once(&g->conn);
}
