#include "protocols/http/service.h"

#include "edge/base/check.h"
#include "edge/base/metrics.h"

void http_service_init(struct http_service *service, struct worker *w,
                       const struct exchange_handler *handler, const struct http_limits *limits,
                       void (*closed)(struct http_service *service, const struct peer *peer))
{
    *service = (struct http_service){
        .worker = w, .handler = handler, .limits = limits, .closed = closed
    };
    list_init(&service->connections);
    list_init(&service->idle);
}

void http_service_drain(struct http_service *service)
{
    service->draining = true;
    list_each_safe (link, &service->connections) {
        struct http_connection *c = container_of(link, struct http_connection, link);
        c->ops->drain(c);
    }
}

void http_service_abort(struct http_service *service)
{
    service->draining = true;
    list_each_safe (link, &service->connections) {
        struct http_connection *c = container_of(link, struct http_connection, link);
        c->ops->abort(c);
    }
}

void http_connection_enter(struct http_connection *c, const struct http_connection_ops *ops,
                           struct http_service *service, const struct peer *peer)
{
    *c = (struct http_connection){ .ops = ops, .service = service, .peer = *peer };
    list_append(&service->connections, &c->link);
    service->connection_count++;
    metric_add(METRIC_CONNECTIONS_LIVE, 1);
}

/* Of the service's idle ones, for other workers. */
static void tell_idle(struct http_service *service, int change)
{
    unsigned count = atomic_load_explicit(&service->idle_count, memory_order_relaxed);
    atomic_store_explicit(&service->idle_count, count + (unsigned)change, memory_order_relaxed);
    if (list_empty(&service->idle)) return;
    const struct http_connection *longest =
        container_of(service->idle.next, struct http_connection, idle_link);
    atomic_store_explicit(&service->idle_since_ms, longest->idle_since_ms, memory_order_relaxed);
}

void http_connection_set_idle(struct http_connection *c, bool idle)
{
    if (c->idle == idle) return;
    c->idle = idle;
    c->idle_since_ms = worker_now_ms(c->service->worker);
    if (idle)
        list_append(&c->service->idle, &c->idle_link);
    else
        list_remove(&c->idle_link);
    tell_idle(c->service, idle ? 1 : -1);
}

unsigned http_service_expire(struct http_service *service, unsigned count)
{
    unsigned n = 0;
    for (; n < count && !list_empty(&service->idle); n++) {
        struct http_connection *c =
            container_of(service->idle.next, struct http_connection, idle_link);
        http_connection_set_idle(c, false);
        c->ops->expire(c);
        CHECK(!c->idle);
    }
    return n;
}

void http_connection_hand_over(struct http_connection *c)
{
    http_connection_set_idle(c, false);
    list_remove(&c->link);
    c->service->connection_count--;
    metric_add(METRIC_CONNECTIONS_LIVE, -1);
}

void http_connection_leave(struct http_connection *c)
{
    http_connection_hand_over(c);
    c->service->closed(c->service, &c->peer);
}
