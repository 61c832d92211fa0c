#include "edge/miss.h"

#include <stdlib.h>

#include "cache/disk.h"
#include "cache/slices.h"
#include "edge/base/error.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/forward.h"
#include "edge/node.h"
#include "edge/piece.h"
#include "protocols/http/accept.h"
#include "protocols/http/date.h"
#include "protocols/http/etag.h"

/* A response may take the place of something on the disk: nobody sees it before that is forgotten
 * for good, but a disk that does not answer is not waited for. */
#define SETTLE_PATIENCE_MS 1000

/* The origin's response, and what was decided about it. */
struct judged {
    struct response response;
    enum http_version version;
    struct body *body; /* NULL: it is the fill's, or closed */
    struct freshness freshness;
    struct slice vary, vary_key;
    enum store_reason reason;
    bool stored, kept, admitted;
};

struct miss {
    struct list link; /* of the edge's */
    struct edge *edge;
    struct scope scope;
    struct arena arena;
    enum miss_kind kind;
    struct config *config;
    const struct config_route *route;
    struct request client;  /* as it was asked for: policy and Vary look at it */
    struct request request; /* as the origin is asked */
    struct key key;
    struct object *object;
    struct object *base;
    struct miss_watch *watch;
    struct fetch fetch;
    struct fill fill;
    struct judged judged;
    struct disk_wait settling;
    struct timer settle_patience;
    bool forgot;          /* something on the disk, for this response */
    struct object *asked; /* a slice's, where object is the whole; NULL: it is object */
    bool ending;
    int64_t requested_ms;
};

static struct index *index_of(const struct miss *m)
{
    return &m->edge->node->index;
}

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

static void end(struct miss *m)
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
    if (m->kind == MISS_SHARED) index_release(index_of(m), m->object, 0);
    object_fail(m->object, error);
    if (m->asked) object_fail(m->asked, error);
    end(m);
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
    if (m->kind != MISS_SHARED && !m->fill.stored) abort_miss(m, -E_CANCELED);
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

static void drop_conditions(struct miss *m)
{
    fields_remove(&m->request.fields, FIELD_IF_NONE_MATCH);
    fields_remove(&m->request.fields, FIELD_IF_MODIFIED_SINCE);
    object_drop(&m->base);
}

static const struct fetch_ops fetch_ops;
static void on_settle_patience_over(struct timer *t);

static void ask(struct miss *m, struct body *request_body, bool te_trailers)
{
    struct origin *o = origins_get(&m->edge->origins, m->config, m->route->origin);
    m->requested_ms = m->edge->worker.wall_ms;
    fetch_start(&m->fetch, &m->scope, o, &m->request, request_body, te_trailers, &fetch_ops);
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
    timer_init(&m->settle_patience, on_settle_patience_over);
    prepare(m, order);
    m->watch = watch;
    if (watch) watch->miss = m;
    if (m->key.slice) metric_add(METRIC_SLICES_FETCHED, 1);
    ask(m, order->request_body, order->te_trailers);
}

/* ---- the response is there ---- */

static void tell_watch(struct miss *m, int status)
{
    if (!m->watch) return;
    m->watch->status = status;
    if (!m->fetch.server) return;
    const struct config_server *s = m->fetch.server->config;
    m->watch->upstream =
        arena_printf(&m->watch->exchange->arena, "%.*s:%u", SLICE_ARGS(s->host), (unsigned)s->port);
}

static enum store_reason judge(struct miss *m, const struct response *r, struct freshness *fresh)
{
    enum store_reason reason = policy_store(&m->route->cache, &m->client, r, m->requested_ms,
                                            m->edge->worker.wall_ms, fresh);
    if (m->kind != MISS_OPAQUE) metric_add_by(METRIC_STORED, reason, 1);
    return reason;
}

/* What this node adds to any response it forwards: its name in Via (RFC 9110 section 7.6.3), and
 * Date where the origin has none (section 6.6.1). */
static void sign(struct miss *m, struct response *r, enum http_version version)
{
    struct slice before = fields_joined(&r->fields, FIELD_VIA, &m->arena);
    struct slice name = version == HTTP_1_0 ? SLICE("1.0 verge") : SLICE("1.1 verge");
    struct slice parts[] = { before, SLICE(", "), name };
    fields_set(&r->fields, &m->arena, FIELD_VIA,
               before.n ? arena_concat(&m->arena, parts, 3) : name);
    if (fields_has(&r->fields, FIELD_DATE)) return;
    char *date = arena_alloc(&m->arena, HTTP_DATE_BYTES);
    http_date_format(m->edge->worker.wall_ms / 1000, date);
    fields_add(&r->fields, &m->arena, FIELD_DATE, slice_of(date, HTTP_DATE_BYTES));
}

static void vary_of(struct miss *m, const struct response *r, struct slice *vary,
                    struct slice *vary_key)
{
    *vary = fields_joined(&r->fields, FIELD_VARY, &m->arena);
    *vary_key = SLICE_NONE;
    if (vary->n) key_vary(*vary, &m->client, &m->arena, vary_key);
}

static void on_fill_ended(struct fill *f, int error)
{
    (void)error;
    end(container_of(f, struct miss, fill));
}

static bool is_asked_slice(const struct miss *m, const struct response *r)
{
    struct representation of;
    return m->key.slice && slices_read(r, m->key.slice - 1, piece_slice_bytes(m->config), &of);
}

/* What was asked for with a Range says nothing of the whole unless it is the whole; of parts only
 * slices are stored. */
static bool may_be_stored(const struct miss *m, const struct response *r)
{
    bool ranged =
        m->key.slice || (m->kind == MISS_PRIVATE && fields_has(&m->client.fields, FIELD_RANGE));
    if (m->kind == MISS_OPAQUE || m->client.method != METHOD_GET) return false;
    if (r->length > 0 && (uint64_t)r->length > m->config->cache.object_max_bytes) return false;
    if (r->status == 206) return is_asked_slice(m, r);
    return !ranged || r->status == 200;
}

static bool is_too_large_for_memory(const struct miss *m)
{
    int64_t length = m->judged.response.length;
    return length > 0 && (uint64_t)length > m->edge->node->index.object_memory_max_bytes;
}

/* Set-Cookie, or what private="..." names: taken out of what is stored, but the one who asked gets
 * it. */
static void tell_unstored(struct miss *m, const struct fields *all, const struct fields *stored)
{
    if (!m->watch || all->n == stored->n) return;
    struct arena *a = &m->watch->exchange->arena;
    for (uint32_t i = 0, kept = 0; i < all->n; i++) {
        const struct field *f = &all->v[i];
        if (kept < stored->n && stored->v[kept].value.p == f->value.p)
            kept++;
        else if (f->id != FIELD_AGE && f->id != FIELD_SURROGATE_CONTROL)
            fields_add_named(&m->watch->unstored, a, arena_copy(a, f->name),
                             arena_copy(a, f->value));
    }
}

static void prepare_stored(struct miss *m, struct response *r)
{
    struct fields all = r->fields;
    all.v = arena_alloc(&m->arena, all.n * sizeof *all.v);
    memcpy(all.v, r->fields.v, all.n * sizeof *all.v);
    policy_prepare_stored(&m->route->cache, r);
    tell_unstored(m, &all, &r->fields);
}

/* The head is final: whoever waits may read. Stored or not was decided; a purge may have overtaken
 * it. */
static void publish(struct miss *m)
{
    struct judged *j = &m->judged;
    struct index *ix = index_of(m);
    object_set_head(m->object, &j->response, &j->freshness, j->vary, j->vary_key, j->kept);
    if (j->stored && !index_publish(ix, m->object)) {
        j->stored = j->kept = false;
        object_stop_retaining(m->object, 2 * ix->object_memory_max_bytes);
    }
}

/* Why it is not stored, for who reads Cache-Status. */
static void tell_reason(struct miss *m)
{
    const struct judged *j = &m->judged;
    if (!m->watch) return;
    m->watch->stored = j->stored;
    m->watch->reason = j->stored || m->kind == MISS_OPAQUE || m->client.method != METHOD_GET ? NULL
                       : j->reason != STORE_OK ? store_reason_name(j->reason)
                                               : "too_large";
}

static bool is_server_error(int status)
{
    return status == 500 || (status >= 502 && status <= 504);
}

/* Too large for memory, and asked for the first time. */
static bool is_only_not_admitted(const struct miss *m)
{
    const struct judged *j = &m->judged;
    return j->reason == STORE_OK && may_be_stored(m, &j->response) && !j->admitted;
}

static int64_t uncacheable_until_ms(const struct miss *m)
{
    return m->edge->worker.wall_ms + m->config->cache.uncacheable_ms;
}

/* At the first slice's key, where those who want any slice look. */
static void refuse_slices(struct miss *m, const struct key *whole)
{
    struct key first;
    key_slice(whole, 0, &m->arena, &first);
    index_pass(index_of(m), &first, uncacheable_until_ms(m));
}

/* That its responses are not shared is remembered, but not of an origin in trouble: those who ask
 * meanwhile must not ask it all at once. Of a slice it is that there are none. */
static void release(struct miss *m)
{
    int status = m->judged.response.status;
    bool may_be_next_time = is_server_error(status) || is_only_not_admitted(m) || m->key.slice;
    struct key whole;
    if (m->key.slice && status == 206) {
        key_whole(&m->key, &whole);
        refuse_slices(m, &whole);
    }
    if (m->kind != MISS_SHARED) return;
    index_release(index_of(m), m->object, may_be_next_time ? 0 : uncacheable_until_ms(m));
}

/* An error that nothing forbids to share is given to all who wait for it, though it is fresh for
 * nobody else. */
static bool is_shared_error(const struct miss *m, const struct response *r,
                            enum store_reason reason)
{
    return m->kind == MISS_SHARED && reason == STORE_NO_FRESHNESS && is_server_error(r->status) &&
           r->length >= 0 && (uint64_t)r->length <= m->config->cache.window_bytes;
}

/* Whether it is written to the disk. What is too large for memory is, also where nobody has asked
 * for it before, when several wait for it: only so can they share it. */
static bool admit_to_disk(struct miss *m)
{
    struct disk *disk = index_of(m)->disk;
    if (!disk || !atomic_load(&disk->up)) return false;
    int64_t length = m->judged.response.length;
    struct admission_store store = { atomic_load(&disk->used_bytes),
                                     atomic_load(&disk->limit_bytes),
                                     atomic_load(&disk->directory.count) };
    return admission_admits(&disk->admission, m->key.hash,
                            length < 0 ? ADMISSION_SIZE_UNKNOWN : (uint64_t)length, &store) ||
           (is_too_large_for_memory(m) && object_has_company(m->object));
}

static void judge_storing(struct miss *m)
{
    struct judged *j = &m->judged;
    struct response *r = &j->response;
    j->stored = j->reason == STORE_OK && may_be_stored(m, r);
    j->admitted = j->stored && admit_to_disk(m);
    if (is_too_large_for_memory(m) && !j->admitted) j->stored = false;
    j->kept = j->stored || is_shared_error(m, r, j->reason);
    if (j->stored)
        prepare_stored(m, r);
    else if (m->route->cache.surrogate_control)
        fields_remove(&r->fields, FIELD_SURROGATE_CONTROL);
}

/* The origin knows no ranges and sends all of it: that is another object than the one asked for,
 * under another key. */
static void become_whole(struct miss *m)
{
    m->asked = m->object;
    if (m->kind == MISS_SHARED) index_release(index_of(m), m->asked, 0);
    key_whole(&m->key, &m->key);
    refuse_slices(m, &m->key);
    m->object = object_new(&m->key, m->asked->budget, m->asked->purge_seq, m->asked->window_bytes);
}

/* Before its bytes come, so that who waited is there to read them. */
static void hand_over(struct miss *m)
{
    if (m->asked) object_replace(m->asked, m->object);
    object_drop(&m->asked);
}

static void show_response(struct miss *m)
{
    struct judged *j = &m->judged;
    struct body *body = j->body;
    j->body = NULL;
    if (!j->stored) release(m);
    publish(m);
    hand_over(m);
    tell_reason(m);
    fill_start(&m->fill, index_of(m), m->object, j->kept, j->admitted, body,
               m->config->cache.object_max_bytes, &m->scope, on_fill_ended);
}

static void on_settle_patience_over(struct timer *t)
{
    show_response(container_of(t, struct miss, settle_patience));
}

/* The wait is the disk's until this. */
static void on_settled(struct note *n)
{
    struct miss *m = container_of(n, struct miss, settling.note);
    bool waiting = m->judged.body && !m->ending;
    timer_cancel(&m->settle_patience);
    if (waiting) show_response(m);
    scope_leave(&m->scope);
}

static bool must_settle(struct miss *m)
{
    struct worker *w = &m->edge->worker;
    if (!m->forgot) return false;
    m->settling.note.run = on_settled;
    if (disk_is_settled(index_of(m)->disk, &m->settling, w)) return false;
    scope_enter(&m->scope);
    timer_set(&w->wheel, &m->settle_patience, worker_now_ms(w) + SETTLE_PATIENCE_MS);
    return true;
}

static void use_response(struct miss *m, const struct h1_response *from, struct body *body)
{
    struct judged *j = &m->judged;
    *j = (struct judged){ .response = from->msg, .version = from->version, .body = body };
    if (m->key.slice && j->response.status == 200) become_whole(m);
    j->reason = judge(m, &j->response, &j->freshness);
    judge_storing(m);
    sign(m, &j->response, j->version);
    vary_of(m, &j->response, &j->vary, &j->vary_key);
    if (j->stored && index_of(m)->disk &&
        index_forget_stored(index_of(m), &m->key, j->vary, j->vary_key))
        m->forgot = true;
    if (!must_settle(m)) show_response(m);
}

/* ---- the response speaks of what is stored ---- */

/* Where the disk has the body, or is about to, it gets the new head. */
static void publish_generation(struct miss *m, struct object *old, struct object *o)
{
    struct index *ix = index_of(m);
    bool written = payload_stored(o->payload) || atomic_load(&old->write);
    if (index_publish(ix, o) && ix->disk && written) disk_write(ix->disk, o);
}

/* A new generation of a stored object: its body, and fields that update brings. */
static struct object *freshen(struct miss *m, struct object *stored, const struct response *update,
                              const struct request *asked)
{
    struct response merged;
    struct freshness fresh;
    policy_update_fields(&stored->head, update, &m->arena, &merged);
    enum store_reason reason = policy_store(&m->route->cache, asked, &merged, m->requested_ms,
                                            m->edge->worker.wall_ms, &fresh);
    policy_prepare_stored(&m->route->cache, &merged);
    struct slice vary, vary_key;
    vary_of(m, &merged, &vary, &vary_key);
    struct object *o =
        object_with_payload(stored, &merged, &fresh, vary, vary_key, m->object->purge_seq);
    atomic_store_explicit(&o->hits, atomic_load(&stored->hits), memory_order_relaxed);
    o->shareable = reason == STORE_OK;
    if (reason == STORE_OK)
        publish_generation(m, stored, o);
    else if (reason != STORE_AUTHORIZATION) /* which speaks of the one who asked only */
        index_remove(index_of(m), stored);
    return o;
}

static void use_validated(struct miss *m, const struct h1_response *from, struct body *body)
{
    struct response r = from->msg;
    sign(m, &r, from->version);
    struct object *o = freshen(m, m->base, &r, &m->client);
    body_close(&body);
    if (m->watch) m->watch->stored = o->shareable;
    index_release(index_of(m), m->object, 0);
    object_replace(m->object, o);
    object_drop(&o);
    end(m);
}

static bool may_use_stale(const struct miss *m)
{
    return m->base && policy_stale_if_error(&m->route->cache, &m->client, &m->base->freshness,
                                            m->edge->worker.wall_ms);
}

static void use_stale(struct miss *m)
{
    index_release(index_of(m), m->object, 0);
    object_replace(m->object, m->base);
    end(m);
}

/* RFC 9111 section 4.3.5: what a HEAD says about the GET that is stored. */
static void apply_head(struct miss *m, const struct response *r)
{
    struct object *stored = index_peek(index_of(m), &m->key, &m->client, &m->arena);
    if (!stored) return;
    struct request get = m->client;
    get.method = METHOD_GET;
    if (!policy_head_freshens(r, &stored->head)) {
        index_remove(index_of(m), stored);
    } else if (object_state(stored) == OBJECT_COMPLETE) {
        struct object *o = freshen(m, stored, r, &get);
        object_drop(&o);
    }
    object_drop(&stored);
}

/* And what there is of it in slices. */
static void invalidate_key(struct miss *m, const struct key *key)
{
    if (index_invalidate(index_of(m), key) && index_of(m)->disk) m->forgot = true;
}

static void invalidate_reference(struct miss *m, const struct response *r, enum field_id id)
{
    struct slice reference = fields_value(&r->fields, id);
    struct key key;
    if (reference.n &&
        key_build_reference(&m->route->key, &m->client, reference, &m->arena, &key)) {
        invalidate_key(m, &key);
    }
}

/* RFC 9111 section 4.4. */
static void invalidate(struct miss *m, const struct response *r)
{
    invalidate_key(m, &m->key);
    invalidate_reference(m, r, FIELD_LOCATION);
    invalidate_reference(m, r, FIELD_CONTENT_LOCATION);
}

/* ---- what the fetch says ---- */

/* A 304 that does not select what was to be validated: asked again, for all of it. */
static void ask_without_conditions(struct miss *m, struct body *body)
{
    body_close(&body);
    fetch_close(&m->fetch);
    drop_conditions(m);
    ask(m, NULL, false);
}

static void on_head(struct fetch *f, const struct h1_response *r, struct body *body)
{
    struct miss *m = container_of(f, struct miss, fetch);
    int status = r->msg.status;
    tell_watch(m, status);
    if (status == 304 && m->base) {
        if (policy_304_selects(&r->msg, &m->base->head))
            use_validated(m, r, body);
        else
            ask_without_conditions(m, body);
        return;
    }
    if (is_server_error(status) && may_use_stale(m)) {
        body_close(&body);
        use_stale(m);
        return;
    }
    if (policy_invalidates(&m->client, &r->msg)) invalidate(m, &r->msg);
    if (m->client.method == METHOD_HEAD && status == 200) apply_head(m, &r->msg);
    use_response(m, r, body);
}

static void on_interim(struct fetch *f, const struct response *r)
{
    struct miss *m = container_of(f, struct miss, fetch);
    if (!m->watch) return;
    struct exchange *x = m->watch->exchange;
    x->ops->interim(x, r);
}

static void on_failed(struct fetch *f, int error)
{
    struct miss *m = container_of(f, struct miss, fetch);
    tell_watch(m, 0);
    if (error_info(error)->blame == BLAME_ORIGIN && may_use_stale(m))
        use_stale(m);
    else
        fail(m, error);
}

static const struct fetch_ops fetch_ops = { on_interim, on_head, on_failed };
