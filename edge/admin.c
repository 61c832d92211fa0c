#include "edge/admin.h"

#include "edge/admin_cache.h"
#include "edge/admin_object.h"
#include "edge/admin_reply.h"
#include "edge/base/error.h"
#include "edge/base/metrics.h"
#include "edge/node.h"

#define METRICS_TYPE SLICE("text/plain; version=0.0.4; charset=utf-8")

/* ---- what there is to ask for ---- */

static void send_metrics(struct exchange *x)
{
    struct admin_page page;
    if (!admin_page_open(&page)) {
        admin_send_error(x, -E_NO_MEMORY);
        return;
    }
    metrics_print(page.out);
    admin_page_send(x, &page, METRICS_TYPE);
}

static void send_health(struct exchange *x)
{
    if (edge_of(x->worker)->node->stopping)
        admin_send_text(x, 503, SLICE("stopping\n"));
    else
        admin_send_text(x, 200, SLICE("ok\n"));
}

/* A copy: a reload may take the configuration away while its text is being sent. */
static void send_config(struct exchange *x)
{
    admin_send_text(x, 200, arena_copy(&x->arena, edge_of(x->worker)->config->text));
}

static const struct resource {
    struct slice path;
    void (*send)(struct exchange *x);   /* NULL: there is nothing to see */
    void (*remove)(struct exchange *x); /* NULL: it cannot be */
} resources[] = {
    { SLICE("/metrics"), send_metrics, NULL },
    { SLICE("/healthz"), send_health, NULL },
    { SLICE("/config"), send_config, NULL },
    { SLICE("/cache"), admin_cache_stat, NULL },
    { SLICE("/cache/memory"), NULL, admin_cache_evict },
    { SLICE("/cache/objects"), admin_cache_list, NULL },
    { SLICE("/cache/object"), admin_object_get, admin_object_remove },
};

static const struct resource *find_resource(struct slice path)
{
    for (size_t i = 0; i < sizeof resources / sizeof *resources; i++) {
        if (slice_eq(resources[i].path, path)) return &resources[i];
    }
    return NULL;
}

static struct slice allowed(const struct resource *resource)
{
    if (!resource->send) return SLICE("DELETE");
    return resource->remove ? SLICE("GET, HEAD, DELETE") : SLICE("GET, HEAD");
}

static void answer(struct exchange *x, const struct resource *resource)
{
    enum method method = x->request.method;
    if (resource->send && (method == METHOD_GET || method == METHOD_HEAD))
        resource->send(x);
    else if (method == METHOD_DELETE && resource->remove)
        resource->remove(x);
    else
        admin_refuse_method(x, allowed(resource));
}

/* ---- by which name ---- */

/* A foreign page can have its own name lead here (DNS rebinding), and would read what its visitor's
 * browser gets; but the browser says which name it asks. HTTP/1.0 need not say any. */
static bool may_be_asked(const struct config *c, const struct request *r)
{
    struct slice host = authority_host(r->authority);
    if (host.n == 0 || slice_eq_nocase(host, SLICE("localhost"))) return true;
    for (size_t i = 0; i < c->admin.host_count; i++) {
        if (slice_eq_nocase(host, c->admin.hosts[i])) return true;
    }
    return config_listen_has_host(&c->admin.listen, host);
}

/* ---- the handler ---- */

static void begin(struct exchange *x)
{
    const struct resource *resource = find_resource(target_path(x->request.target));
    x->edge = NULL;
    if (!may_be_asked(edge_of(x->worker)->config, &x->request))
        admin_send_text(x, 421, SLICE("not asked by this name; admin { hosts } tells which\n"));
    else if (resource)
        answer(x, resource);
    else
        admin_send_text(x, 404, SLICE("not found\n"));
}

static void reject(struct exchange *x, int error)
{
    x->edge = NULL;
    admin_send_error(x, error);
}

/* Everything an answer took is in the exchange's arena, but for what is on its way to it. */
static void end(struct exchange *x)
{
    if (x->edge) admin_object_end(x);
}

const struct exchange_handler admin_handler = { begin, reject, end };
