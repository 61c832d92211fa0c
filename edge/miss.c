#include "edge/miss_state.h"

#include <stdlib.h>

#include "edge/base/error.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/forward.h"

/* ---- life ---- */

static void on_scope_idle(struct scope *scope)
{
    struct miss *m = container_of(scope, struct miss, scope);
    arena_free(&m->arena);
    config_drop(&m->config);
    list_remove(&m->link);
    struct edge *e = m->edge;
    free(m);
    edge_miss_ended(e);
}

void miss_end(struct miss *m)
{
    if (m->ending) return;
    m->ending = true;
    timer_cancel(&m->settle_patience);
    body_close(&m->judged.body);
    fetch_close(&m->fetch);
    if (m->watch) m->watch->miss = NULL;
    object_drop(&m->object);
    object_drop(&m->asked);
    object_drop(&m->base);
    scope_close(&m->scope);
}

static void fail(struct miss *m, int error)
{
    if (m->kind == MISS_SHARED) index_release(miss_index(m), m->object, 0);
    object_fail(m->object, error);
    if (m->asked) object_fail(m->asked, error);
    miss_end(m);
}

static void abort_miss(struct miss *m, int error)
{
    if (m->ending) return;
    if (m->fill.object)
        fill_abort(&m->fill, error); /* ends the miss */
    else
        fail(m, error);
}

void miss_leave(struct miss_watch *watch)
{
    struct miss *m = watch->miss;
    if (!m) return;
    watch->miss = NULL;
    m->watch = NULL;
    bool for_it_alone = m->kind != MISS_SHARED && !m->fill.object; /* nobody else can know of it */
    if (m->kind == MISS_OPAQUE || for_it_alone) abort_miss(m, -E_CANCELED);
}

void misses_abandon(struct edge *e)
{
    list_each_safe (link, &e->misses) {
        struct miss *m = container_of(link, struct miss, link);
        if (!m->ending && !object_has_readers(m->object)) abort_miss(m, -E_SHUTDOWN);
    }
}

void misses_abort(struct edge *e)
{
    list_each_safe (link, &e->misses) {
        abort_miss(container_of(link, struct miss, link), -E_SHUTDOWN);
    }
}

/* ---- what is asked ---- */

static struct slice take_copy(char **at, struct slice s)
{
    struct slice copy = slice_of(*at, s.n);
    *at = s.n ? mempcpy(*at, s.p, s.n) : *at;
    return copy;
}

/* In one piece: the client's connection may end before its request does. */
static void copy_request(struct arena *a, const struct request *from, struct request *to)
{
    size_t n = from->method_text.n + from->scheme.n + from->authority.n + from->target.n;
    for (uint32_t i = 0; i < from->fields.n; i++)
        n += from->fields.v[i].name.n + from->fields.v[i].value.n;
    char *at = arena_alloc(a, n);
    *to = *from;
    to->method_text = take_copy(&at, from->method_text);
    to->scheme = take_copy(&at, from->scheme);
    to->authority = take_copy(&at, from->authority);
    to->target = take_copy(&at, from->target);
    to->fields.v = arena_alloc(a, from->fields.n * sizeof *to->fields.v);
    to->fields.cap = from->fields.n;
    for (uint32_t i = 0; i < from->fields.n; i++) {
        const struct field *f = &from->fields.v[i];
        to->fields.v[i] =
            (struct field){ take_copy(&at, f->name), take_copy(&at, f->value), f->id };
    }
}

/* RFC 9111 section 4.3.1. */
static void make_conditional(struct miss *m)
{
    const struct fields *stored = &m->base->head.fields;
    struct slice etag = fields_value(stored, FIELD_ETAG),
                 date = fields_value(stored, FIELD_LAST_MODIFIED);
    if (etag.n) fields_set(&m->request.fields, &m->arena, FIELD_IF_NONE_MATCH, etag);
    if (date.n) fields_set(&m->request.fields, &m->arena, FIELD_IF_MODIFIED_SINCE, date);
}

static bool is_conditional(const struct miss *m)
{
    return fields_has(&m->request.fields, FIELD_IF_NONE_MATCH) ||
           fields_has(&m->request.fields, FIELD_IF_MODIFIED_SINCE);
}

static void drop_conditions(struct miss *m)
{
    fields_remove(&m->request.fields, FIELD_IF_NONE_MATCH);
    fields_remove(&m->request.fields, FIELD_IF_MODIFIED_SINCE);
}

static const struct fetch_ops fetch_ops;

static void ask(struct miss *m, struct body *request_body)
{
    struct origin *o = origins_get(&m->edge->origins, m->config, m->route->origin);
    m->requested_ms = m->edge->worker.wall_ms;
    fetch_start(&m->fetch, &m->scope, o, &m->request, request_body, m->te_trailers, &fetch_ops);
    origin_drop(&o);
}

static void prepare(struct miss *m, const struct miss_order *order)
{
    copy_request(&m->arena, order->request, &m->client);
    m->key = *order->key;
    m->key.text = arena_copy(&m->arena, order->key->text);
    m->key.target = arena_copy(&m->arena, order->key->target);
    struct forward forward = {
        .config = m->config,
        .route = m->route,
        .peer = order->peer,
        .target = m->key.target,
        .shared = m->kind != MISS_OPAQUE,
        .keep_range = order->keep_range,
        /* With nothing stored to validate, only the origin can say whether they hold. */
        .keep_conditions = m->kind == MISS_PRIVATE && !m->base && !m->key.slice,
    };
    forward_request(&forward, &m->client, &m->arena, &m->request);
    if (m->base) make_conditional(m);
    if (!order->background) return;
    fields_remove(&m->request.fields, FIELD_CACHE_CONTROL);
    fields_remove(&m->request.fields, FIELD_PRAGMA);
    fields_remove(&m->request.fields, FIELD_EARLY_DATA);
}

void miss_start(struct edge *e, const struct miss_order *order, struct miss_watch *watch)
{
    struct miss *m = xcalloc(1, sizeof *m);
    m->edge = e;
    m->kind = order->kind;
    m->config = config_hold(order->config);
    m->route = order->route;
    m->object = object_hold(order->object);
    m->base = order->base ? object_hold(order->base) : NULL;
    arena_init(&m->arena, ARENA_CHUNK_BYTES);
    scope_init(&m->scope, &e->worker, on_scope_idle);
    list_append(&e->misses, &m->link);
    timer_init(&m->settle_patience, miss_on_settle_patience_over);
    prepare(m, order);
    m->watch = watch;
    if (watch) watch->miss = m;
    if (m->key.slice) metric_add(METRIC_SLICES_FETCHED, 1);
    m->te_trailers = order->te_trailers;
    ask(m, order->request_body);
}

/* ---- what the fetch says ---- */

static void tell_watch(struct miss *m, int status)
{
    if (!m->watch) return;
    m->watch->status = status;
    m->watch->error = m->fetch.error;
    if (!m->fetch.server) return;
    const struct config_server *s = m->fetch.server->config;
    m->watch->upstream =
        arena_printf(&m->watch->exchange->arena, "%.*s:%u", SLICE_ARGS(s->host), (unsigned)s->port);
}

/* For those who are answered with it meanwhile. */
static void note_failure(struct miss *m, int error)
{
    if (m->base) atomic_store_explicit(&m->base->refresh_error, error, memory_order_relaxed);
}

static void stand_in_or_fail(struct miss *m, int error)
{
    note_failure(m, error);
    if (error_info(error)->blame == BLAME_ORIGIN && miss_may_use_stale(m))
        miss_use_stale(m, error);
    else
        fail(m, error);
}

/* A 304 that does not select what was to be validated: asked again, for all of it. */
static void ask_without_conditions(struct miss *m, struct body *body)
{
    body_close(&body);
    fetch_close(&m->fetch);
    drop_conditions(m);
    ask(m, NULL);
}

/* One that answers no condition of ours would tell the client that it has what nobody knows it has.
 */
static void use_not_modified(struct miss *m, const struct h1_response *r, struct body *body)
{
    if (!is_conditional(m)) {
        struct h1_fault fault = { .rule = "304 must answer a request with conditions",
                                  .line = 1,
                                  .bytes = SLICE("304") };
        fetch_report(&m->fetch, -E_RESPONSE_MALFORMED, &fault);
        body_close(&body);
        stand_in_or_fail(m, -E_RESPONSE_MALFORMED);
    } else if (policy_304_selects(&r->msg, &m->base->head)) {
        miss_use_validated(m, r, body);
    } else {
        ask_without_conditions(m, body);
    }
}

static void on_head(struct fetch *f, const struct h1_response *from, struct body *body)
{
    struct miss *m = container_of(f, struct miss, fetch);
    struct h1_response mended = *from, *r = &mended;
    int status = r->msg.status;
    miss_mend(m, &r->msg);
    tell_watch(m, status);
    if (status == 304 && (m->base || (m->kind != MISS_OPAQUE && !is_conditional(m)))) {
        use_not_modified(m, r, body);
        return;
    }
    if (policy_is_server_error(status)) note_failure(m, -E_ORIGIN_STATUS);
    if (policy_is_server_error(status) && miss_may_use_stale(m)) {
        body_close(&body);
        miss_use_stale(m, -E_ORIGIN_STATUS);
        return;
    }
    if (policy_invalidates(&m->client, &r->msg)) miss_invalidate(m, &r->msg);
    if (m->client.method == METHOD_HEAD && status == 200) miss_apply_head(m, &r->msg);
    if (m->base && status == 206 && !m->key.slice) miss_apply_part(m, &r->msg);
    miss_use_response(m, r, body);
}

static void on_interim(struct fetch *f, const struct response *r)
{
    struct miss *m = container_of(f, struct miss, fetch);
    if (!m->watch) return;
    struct exchange *x = m->watch->exchange;
    struct response told = *r;
    told.fields.v = arena_alloc(&m->arena, (r->fields.n + 1) * sizeof *told.fields.v);
    if (r->fields.n) memcpy(told.fields.v, r->fields.v, r->fields.n * sizeof *told.fields.v);
    header_rules_prune(m->route->response_headers, m->route->response_header_count, &told.fields);
    x->ops->interim(x, &told);
}

static void on_failed(struct fetch *f, int error)
{
    struct miss *m = container_of(f, struct miss, fetch);
    tell_watch(m, 0);
    stand_in_or_fail(m, error);
}

static const struct fetch_ops fetch_ops = { on_interim, on_head, on_failed };
