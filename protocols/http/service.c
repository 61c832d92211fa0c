#include "protocols/http/service.h"

#include "edge/base/metrics.h"

void http_service_init(struct http_service *service, struct worker *w,
                       const struct exchange_handler *handler, const struct http_limits *limits,
                       void (*closed)(struct http_service *service, const struct peer *peer))
{
    *service = (struct http_service){
        .worker = w, .handler = handler, .limits = limits, .closed = closed
    };
    list_init(&service->connections);
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

void http_connection_hand_over(struct http_connection *c)
{
    list_remove(&c->link);
    c->service->connection_count--;
    metric_add(METRIC_CONNECTIONS_LIVE, -1);
}

void http_connection_leave(struct http_connection *c)
{
    http_connection_hand_over(c);
    c->service->closed(c->service, &c->peer);
}
