/* One worker's part of the node: how it starts, changes its configuration, and stops. */
#include "edge/admin.h"
#include "edge/miss.h"
#include "edge/node.h"
#include "edge/room.h"
#include "edge/serve.h"

/* ---- stopping: each step begins when nothing of the one before is left ---- */

static void on_resolver_idle(struct resolver *r)
{
    struct edge *e = container_of(r, struct edge, resolver);
    struct node *n = e->node;
    access_log_close(&e->access_log);
    timer_cancel(&e->patience);
    config_drop(&e->config);
    worker_stop(&e->worker);
    if (atomic_fetch_sub(&n->running, 1) == 1) pthread_kill(n->main_thread, NODE_ENDED_SIGNAL);
}

static void on_origins_idle(struct origins *o)
{
    struct edge *e = container_of(o, struct edge, origins);
    resolver_close(&e->resolver, on_resolver_idle);
}

/* No connection is left, so no line will be added: what follows may take its time, but not the log.
 */
static void on_listeners_idle(struct listeners *l)
{
    struct edge *e = l->edge;
    access_log_flush(&e->access_log);
    e->finishing = true;
    if (e->aborting)
        misses_abort(e);
    else
        misses_abandon(e);
    edge_miss_ended(e);
}

/* Another worker's client may still read what this one fetches. */
void edge_miss_ended(struct edge *e)
{
    if (!e->finishing || !list_empty(&e->misses) || e->loads) return;
    e->finishing = false;
    origins_close(&e->origins, on_origins_idle);
}

void edge_load_ended(void *owner)
{
    struct edge *e = owner;
    e->loads--;
    edge_miss_ended(e);
}

/* The administrator sees /healthz say "stopping" until the last site's connection has ended. */
static void close_when_drained(struct edge *e)
{
    if (!e->draining || e->closing || e->sites.connection_count) return;
    e->closing = true;
    if (e->aborting)
        http_service_abort(&e->admin);
    else
        http_service_drain(&e->admin);
    listeners_close(&e->listeners, on_listeners_idle);
}

static void drain(struct edge *e)
{
    e->draining = true;
    listeners_close_sites(&e->listeners);
    http_service_drain(&e->sites);
}

void edge_abort(struct edge *e)
{
    if (e->aborting) return;
    e->aborting = true;
    misses_abort(e);
    if (!e->draining) drain(e);
    http_service_abort(&e->sites);
    http_service_abort(&e->admin);
    close_when_drained(e);
}

static void on_patience_over(struct timer *t)
{
    edge_abort(container_of(t, struct edge, patience));
}

void edge_stop(struct edge *e)
{
    if (e->draining) return;
    int64_t until_ms = worker_now_ms(&e->worker) + e->config->shutdown_timeout_ms;
    timer_set(&e->worker.wheel, &e->patience, until_ms);
    drain(e);
    close_when_drained(e);
}

/* ---- starting ---- */

static void on_site_closed(struct http_service *service, const struct peer *peer)
{
    listener_leave(peer);
    close_when_drained(container_of(service, struct edge, sites));
}

static void on_admin_closed(struct http_service *service, const struct peer *peer)
{
    (void)service;
    listener_leave(peer);
}

/* Without limits, which the configuration brings, before there is any connection. */
void edge_start(struct worker *w)
{
    struct edge *e = edge_of(w);
    http_service_init(&e->sites, w, &serve_handler, NULL, on_site_closed);
    http_service_init(&e->admin, w, &admin_handler, NULL, on_admin_closed);
    resolver_init(&e->resolver, w);
    origins_init(&e->origins, w, &e->resolver, &e->node->origin_limits);
    access_log_init(&e->access_log, w);
    listeners_init(&e->listeners, e);
    quic_worker_init(&e->quic, &e->node->quic, w);
    list_init(&e->misses);
    room_init(e);
    timer_init(&e->patience, on_patience_over);
}

/* What is in flight holds the generation it began with. */
void edge_configure(struct edge *e, struct config *c, struct listen_sockets *sockets,
                    struct sink *access_log)
{
    struct config *old = e->config;
    e->config = config_hold(c);
    e->sites.limits = e->admin.limits = &c->limits;
    access_log_set(&e->access_log, access_log, c->log.access_format);
    origins_configure(&e->origins, c);
    listeners_configure(&e->listeners, sockets);
    config_drop(&old);
}
