#include "protocols/greeting.h"

#include <stdlib.h>

#include "edge/base/error.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
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
    bool begun; /* a byte has come */
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
    http_connection_set_idle(&g->client, false);
    timer_cancel(&g->timer);
    conn_cancel(&g->conn);
    scope_close(&g->scope);
}

/* The connection and its session are somebody else's from now on. */
static int let_go(struct greeting *g)
{
    int fd = conn_take_fd(&g->conn);
    g->tls = NULL;
    timer_cancel(&g->timer);
    http_connection_hand_over(&g->client);
    scope_close(&g->scope);
    return fd;
}

/* What is unread of the hello's packet lies in a receive buffer: the protocol's connection reads it
 * before this returns. */
static void hand_over(struct greeting *g)
{
    struct http_service *service = g->client.service;
    struct tls *tls = g->tls;
    int fd = let_go(g);
    g->client.peer.tls = tls_hello(tls);
    if (tls_protocol(tls) == TLS_H2)
        h2_server_start(service, fd, &g->client.peer, tls, g->refuse);
    else
        h1_server_start(service, fd, &g->client.peer, tls, g->refuse);
}

/* A hello begins with a byte that begins no method. */
static bool is_plain_http(const struct greeting *g, struct slice bytes)
{
    return !g->begun && *bytes.p >= 'A' && *bytes.p <= 'Z';
}

/* Whoever asks without TLS understands an answer without it. */
static void refuse_plain_http(struct greeting *g)
{
    struct http_service *service = g->client.service;
    metric_add(METRIC_TLS_FAILED, 1);
    tls_free(&g->tls);
    int fd = let_go(g);
    g->client.peer.secure = false;
    h1_server_start(service, fd, &g->client.peer, NULL, g->refuse ? g->refuse : -E_PLAIN_HTTP);
}

static void on_data(struct conn *c, struct slice bytes)
{
    struct greeting *g = container_of(c, struct greeting, conn);
    if (g->scope.closing) return;
    http_connection_set_idle(&g->client, false);
    if (is_plain_http(g, bytes)) {
        refuse_plain_http(g);
        return;
    }
    g->begun = true;
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

static const struct http_connection_ops client_ops = { end, end, end };

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
    http_connection_set_idle(&g->client, !refuse);
    conn_recv_once(&g->conn);
}
