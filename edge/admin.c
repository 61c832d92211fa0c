#include "edge/admin.h"

#include <stdlib.h>

#include "edge/answer.h"
#include "edge/base/metrics.h"
#include "edge/node.h"
#include "protocols/http/date.h"

#define TEXT_TYPE    SLICE("text/plain; charset=utf-8")
#define METRICS_TYPE SLICE("text/plain; version=0.0.4; charset=utf-8")

static void add(struct exchange *x, struct response *r, enum field_id id, struct slice value)
{
    fields_add(&r->fields, &x->arena, id, value);
}

/* What every answer has; the rest of its fields may follow. */
static struct response answer(struct exchange *x, int status, struct slice type)
{
    struct response r = { .status = status };
    char *date = arena_alloc(&x->arena, HTTP_DATE_BYTES);
    http_date_format(x->worker->wall_ms / 1000, date);
    add(x, &r, FIELD_DATE, slice_of(date, HTTP_DATE_BYTES));
    add(x, &r, FIELD_CONTENT_TYPE, type);
    add(x, &r, FIELD_CACHE_CONTROL, SLICE("no-store"));
    return r;
}

/* text must live as long as the exchange. */
static void respond(struct exchange *x, struct response *r, struct slice text)
{
    r->length = (int64_t)text.n;
    x->ops->respond(x, r, text_body(text, &x->arena));
}

static void send_text(struct exchange *x, int status, struct slice text)
{
    struct response r = answer(x, status, TEXT_TYPE);
    respond(x, &r, text);
}

static void send_error(struct exchange *x, int error)
{
    struct response r = { 0 };
    struct body *body = NULL;
    answer_error(error, x->worker->wall_ms / 1000, &x->arena, &r, &body);
    x->ops->respond(x, &r, body);
}

/* ---- what there is to ask for ---- */

static void send_metrics(struct exchange *x)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    if (out) metrics_print(out);
    if (!out || fclose(out) != 0) {
        free(text);
        send_error(x, -E_NO_MEMORY);
        return;
    }
    struct slice copy = arena_copy(&x->arena, slice_of(text, n));
    free(text);
    struct response r = answer(x, 200, METRICS_TYPE);
    respond(x, &r, copy);
}

static void send_health(struct exchange *x)
{
    if (edge_of(x->worker)->node->stopping)
        send_text(x, 503, SLICE("stopping\n"));
    else
        send_text(x, 200, SLICE("ok\n"));
}

/* A copy: a reload may take the configuration away while its text is being sent. */
static void send_config(struct exchange *x)
{
    send_text(x, 200, arena_copy(&x->arena, edge_of(x->worker)->config->text));
}

static const struct resource {
    struct slice path;
    void (*send)(struct exchange *x);
} resources[] = {
    { SLICE("/metrics"), send_metrics },
    { SLICE("/healthz"), send_health },
    { SLICE("/config"), send_config },
};

static const struct resource *find_resource(struct slice path)
{
    for (size_t i = 0; i < sizeof resources / sizeof *resources; i++) {
        if (slice_eq(resources[i].path, path)) return &resources[i];
    }
    return NULL;
}

static void refuse_method(struct exchange *x)
{
    struct response r = answer(x, 405, TEXT_TYPE);
    add(x, &r, FIELD_ALLOW, SLICE("GET, HEAD"));
    respond(x, &r, SLICE("method not allowed\n"));
}

/* ---- the handler ---- */

static void begin(struct exchange *x)
{
    const struct resource *resource = find_resource(target_path(x->request.target));
    enum method method = x->request.method;
    if (!resource)
        send_text(x, 404, SLICE("not found\n"));
    else if (method != METHOD_GET && method != METHOD_HEAD)
        refuse_method(x);
    else
        resource->send(x);
}

/* Everything an answer took is in the exchange's arena. */
static void end(struct exchange *x)
{
    (void)x;
}

const struct exchange_handler admin_handler = { begin, send_error, end };
