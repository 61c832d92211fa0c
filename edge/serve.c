#include "edge/serve.h"

#include "cache/disk.h"
#include "cache/key_text.h"
#include "cache/load.h"
#include "edge/admit.h"
#include "edge/claims.h"
#include "edge/base/error.h"
#include "edge/base/log.h"
#include "edge/deliver.h"
#include "edge/forward.h"
#include "edge/mended.h"
#include "edge/miss.h"
#include "edge/node.h"
#include "edge/ranged.h"
#include "edge/share.h"
#include "edge/tally.h"
#include "edge/trailers.h"
#include "edge/upload.h"
#include "protocols/http/etag.h"

/* A request on its way; in its exchange's arena.
 *
 *     begin -> admit -> key -> choose -> look up
 *       HIT, STALE      deliver
 *       LEAD, VALIDATE  start a miss, wait for its object's head
 *       JOIN            wait for somebody else's
 *       PASS            start a miss of its own, wait for that
 *     a range of what is not stored: see ranged
 *     head is there -> deliver; a joiner for whom it is not: look up again, or pass */
struct serve {
    struct exchange *x;
    struct edge *edge;
    struct config *config; /* the edge's, which may change whenever the loop turns, */
    bool held;             /* so that what waits holds it */
    const struct config_route *route;
    int64_t body_size_bytes; /* most that the request's body may have */
    struct key key;
    struct cache_status status;
    enum verdict verdict;
    struct object *object; /* waited for, or delivered; joined while waited for */
    struct wait wait;
    struct body *body; /* the request's, while it is not known whether there is anything in it */
    struct ranged *ranged; /* NULL: no range, or of what is stored */
    bool waiting, joiner, opaque;
    bool all;       /* whatever its Range says */
    bool ambiguous; /* its path may be another route's: nothing is looked up or stored */
    unsigned lookups;
    struct miss_watch watch;
};

static struct serve *serve_of(struct exchange *x)
{
    return x->edge;
}

static struct index *index_of(const struct serve *s)
{
    return &s->edge->node->index;
}

static int64_t wall_ms(const struct serve *s)
{
    return s->edge->worker.wall_ms;
}

static void hold_config(struct serve *s)
{
    if (!s->held) config_hold(s->config);
    s->held = true;
}

/* ---- answers of the node's own ---- */

static void log_failure(const struct serve *s, int error)
{
    const struct error_info *info = error_info(error);
    const struct request *r = &s->x->request;
    if (info->blame == BLAME_CLIENT) return;
    log_event(LOG_WARNING, "%s: %.*s %.*s%.*s: %s%s%.*s", info->name, SLICE_ARGS(r->method_text),
              SLICE_ARGS(r->authority), SLICE_ARGS(s->x->received_target), info->text,
              s->watch.upstream.n ? ": " : "", SLICE_ARGS(s->watch.upstream));
}

/* For OPTIONS *, and what a 405 has to say (RFC 9110 section 15.5.6). */
static void tell_methods(struct serve *s, struct response *r)
{
    fields_add(&r->fields, &s->x->arena, FIELD_ALLOW,
               SLICE("GET, HEAD, POST, PUT, DELETE, PATCH, QUERY, OPTIONS"));
}

static void answer_with_error(struct serve *s, int error)
{
    struct exchange *x = s->x;
    struct response r;
    struct body *body;
    x->error = error;
    s->verdict = VERDICT_ERROR;
    log_failure(s, error);
    if (error_info(error)->status == 0) {
        x->ops->abort(x, error);
        return;
    }
    answer_error(error, wall_ms(s) / 1000, &x->arena, &r, &body);
    if (s->route && slice_eq(x->request.scheme, SLICE("https")) && s->route->hsts.n)
        fields_add(&r.fields, &x->arena, FIELD_STRICT_TRANSPORT_SECURITY, s->route->hsts);
    if (s->route)
        fields_add(&r.fields, &x->arena, FIELD_CACHE_STATUS,
                   cache_status_text(&s->status, &x->arena));
    if (error == -E_TRACE) tell_methods(s, &r);
    x->ops->respond(x, &r, body);
}

/* OPTIONS * asks about the node as a whole (RFC 9110 section 9.3.7). */
static void answer_options(struct serve *s)
{
    struct response r = { .status = 204, .length = LENGTH_NONE };
    s->verdict = VERDICT_LOCAL;
    answer_date(&r, wall_ms(s) / 1000, &s->x->arena);
    tell_methods(s, &r);
    s->x->ops->respond(s->x, &r, NULL);
}

/* 308 keeps the method, and clients may remember it. */
static void answer_redirect(struct serve *s, struct slice location)
{
    struct exchange *x = s->x;
    struct response r = { .status = 308, .length = 0 };
    s->verdict = VERDICT_LOCAL;
    answer_date(&r, wall_ms(s) / 1000, &x->arena);
    fields_add(&r.fields, &x->arena, FIELD_LOCATION, location);
    x->ops->respond(x, &r, NULL);
}

/* ---- delivering ---- */

static struct piece_source source_of(struct serve *s)
{
    struct exchange *x = s->x;
    bool stored_only = policy_only_if_cached(&x->request);
    return (struct piece_source){ s->edge, s->config, s->route,  &x->request,
                                  x->peer, s->key,    &x->scope, stored_only };
}

/* Where the disk fails once the head is sent, slices may go on. */
static const struct piece_source *mending_source(struct serve *s, const struct object *o)
{
    struct index *ix = index_of(s);
    if (!ix->disk || !mended_is_needed(o, ix->object_memory_max_bytes)) return NULL;
    struct piece_source *from = arena_alloc(&s->x->arena, sizeof *from);
    *from = source_of(s);
    return from;
}

static void deliver_object(struct serve *s, struct object *o, bool cached)
{
    bool is_slice = s->ranged && s->ranged->answer == RANGED_SLICES;
    struct delivery d = { .object = o,
                          .route = s->route,
                          .status = s->status,
                          .cached = cached,
                          .unstored = &s->watch.unstored,
                          .of = is_slice ? &s->ranged->of : NULL,
                          .slices = is_slice ? &s->ranged->from : mending_source(s, o),
                          .evaluate = !s->opaque,
                          .judges_trailers = s->x->te_trailers && s->route->response_header_count };
    if (d.judges_trailers) hold_config(s);
    if (s->route->cache_status_key) d.status.key = key_readable(s->key.text, &s->x->arena);
    deliver(s->x, &d);
}

static void fetch_alone(struct serve *s, enum miss_kind kind, enum forward_reason reason,
                        enum verdict verdict);

/* What was begun for this request goes on without it. */
static void leave_fetch(struct serve *s)
{
    miss_leave(&s->watch);
    s->watch = (struct miss_watch){ 0 };
}

/* Whether If-Match or If-Unmodified-Since holds, a cache does not say (RFC 9111 section 4.3.2):
 * where they do for what is stored, it is what the origin would answer with. */
static bool is_for_origin(const struct serve *s, const struct object *o)
{
    return !s->opaque &&
           (!o || precondition_evaluate(&s->x->request, &o->head) == PRECONDITION_FAILED);
}

static void ask_origin(struct serve *s)
{
    leave_fetch(s);
    s->status.collapsed = false;
    if (policy_only_if_cached(&s->x->request))
        answer_with_error(s, -E_ONLY_IF_CACHED);
    else
        fetch_alone(s, MISS_OPAQUE, FWD_REQUEST, VERDICT_PASS);
}

/* One that still fills may turn out not to be stored, and be gone at its start already. */
static void deliver_stored(struct serve *s, struct object *o, enum verdict verdict)
{
    bool fills = object_state(o) != OBJECT_COMPLETE;
    if (fills ? !object_join(o) : !object_is_readable_now(o)) {
        fetch_alone(s, MISS_PRIVATE, FWD_URI_MISS, VERDICT_PASS);
        return;
    }
    if (is_for_origin(s, o)) {
        if (fills) object_leave(o);
        ask_origin(s);
        return;
    }
    s->verdict = verdict;
    s->status.hit = true;
    if (verdict == VERDICT_STALE) s->watch.error = atomic_load(&o->refresh_error);
    index_touch(index_of(s), o);
    deliver_object(s, o, true);
    if (fills) object_leave(o);
}

/* ---- waiting for an object's head ---- */

static void use_object(struct serve *s);

static void on_head(struct wait *w)
{
    struct serve *s = container_of(w, struct serve, wait);
    s->waiting = false;
    use_object(s);
}

static void wait_for(struct serve *s, struct object *o)
{
    if (!object_join(o)) {
        fetch_alone(s, MISS_PRIVATE, FWD_URI_MISS, VERDICT_PASS);
        return;
    }
    s->object = object_hold(o);
    hold_config(s);
    wait_init(&s->wait, &s->x->scope, on_head);
    s->waiting = object_wait_head(o, &s->wait);
    if (!s->waiting) use_object(s);
}

static void let_go(struct serve *s)
{
    if (!s->object) return;
    if (s->waiting) object_cancel_wait(s->object, &s->wait);
    s->waiting = false;
    object_leave(s->object);
    object_drop(&s->object);
}

/* ---- going to the origin ---- */

static void judge_request_trailers(const void *by, struct fields *trailers)
{
    const struct serve *s = by;
    claims_drop(s->route, config_is_trusted(s->config, s->x->peer->address), trailers);
    header_rules_prune(s->route->request_headers, s->route->request_header_count, trailers);
}

static struct body *open_upload(struct serve *s)
{
    return upload_limit(s->x->request_body, (uint64_t)s->body_size_bytes, &s->x->arena);
}

/* NULL: there is none, or nothing in it, so that the request may be sent again. */
static struct body *request_body(struct serve *s)
{
    struct body *body = s->body;
    if (!s->x->request_body) return NULL;
    if (!body) body = open_upload(s);
    s->body = NULL;
    if (s->x->request.length != 0)
        return trailers_judged(body, judge_request_trailers, s, &s->x->arena);
    body_close(&body);
    return NULL;
}

static struct miss_order order_of(struct serve *s, enum miss_kind kind, struct object *object)
{
    return (struct miss_order){
        .kind = kind,
        .config = s->config,
        .route = s->route,
        .request = &s->x->request,
        .peer = s->x->peer,
        .key = &s->key,
        .object = object,
        .te_trailers = s->x->te_trailers,
    };
}

static void start_miss(struct serve *s, const struct miss_order *order)
{
    s->watch.exchange = s->x;
    miss_start(s->edge, order, &s->watch);
    wait_for(s, order->object);
}

/* What a 304 may make fresh, and what may stand in where the origin fails. */
static bool is_base(const struct object *o)
{
    return o && object_state(o) == OBJECT_COMPLETE && object_is_readable_now(o);
}

/* The same for a fetch for this request alone, whatever of it is asked for; NULL: nothing. */
static struct object *find_base(struct serve *s)
{
    struct object *o = index_peek(index_of(s), &s->key, &s->x->request, &s->x->arena);
    if (!is_base(o)) object_drop(&o);
    return o;
}

static void fetch_alone(struct serve *s, enum miss_kind kind, enum forward_reason reason,
                        enum verdict verdict)
{
    if (kind == MISS_PRIVATE && policy_only_if_cached(&s->x->request)) {
        answer_with_error(s, -E_ONLY_IF_CACHED); /* also if it was stored until just now */
        return;
    }
    struct index *ix = index_of(s);
    struct object *o =
        object_new(&s->key, &ix->budget, atomic_load(&ix->purge_seq), ix->window_bytes);
    struct miss_order order = order_of(s, kind, o);
    struct object *base = kind == MISS_PRIVATE ? find_base(s) : NULL;
    order.base = base;
    s->opaque = kind == MISS_OPAQUE;
    s->joiner = false;
    s->status.fwd = base ? FWD_STALE : reason;
    s->verdict = verdict;
    if (s->opaque) order.request_body = request_body(s);
    order.keep_range = s->opaque || s->x->request.method == METHOD_GET;
    start_miss(s, &order);
    object_drop(&base);
    object_drop(&o);
}

static void fetch_for_all(struct serve *s, const struct lookup_result *found)
{
    struct miss_order order = order_of(s, MISS_SHARED, found->pending);
    if (is_base(found->object)) order.base = found->object;
    s->joiner = false;
    s->status.fwd = found->reload      ? FWD_REQUEST
                    : found->stale     ? FWD_STALE
                    : found->vary_miss ? FWD_VARY_MISS
                                       : FWD_URI_MISS;
    s->verdict = VERDICT_MISS;
    start_miss(s, &order);
}

static void join(struct serve *s, const struct lookup_result *found)
{
    s->joiner = true;
    s->status.collapsed = true;
    s->status.fwd = found->stale ? FWD_STALE : found->vary_miss ? FWD_VARY_MISS : FWD_URI_MISS;
    s->verdict = VERDICT_COLLAPSED;
    wait_for(s, found->pending);
}

/* Behind the client's back: what is stale is served, and nobody waits for the new one. */
static void refresh(struct serve *s, struct lookup_result *found)
{
    struct miss_order order = order_of(s, MISS_SHARED, found->pending);
    struct request get = s->x->request; /* also where this one is a HEAD */
    get.method = METHOD_GET;
    get.method_text = SLICE("GET");
    order.request = &get;
    order.background = true;
    if (is_base(found->object)) order.base = found->object;
    miss_start(s->edge, &order, NULL);
}

/* Not to be fetched for all: not at all, or not all of it, or a response that is no GET's, or one
 * that may be 425 for this client alone. */
static bool is_special(const struct request *req)
{
    return req->method == METHOD_HEAD || policy_only_if_cached(req) ||
           fields_has(&req->fields, FIELD_RANGE) || fields_has(&req->fields, FIELD_EARLY_DATA);
}

static void serve_special(struct serve *s);

/* What could have answered a moment ago has gone. */
static void decline_to_lead(struct serve *s, const struct lookup_result *found)
{
    index_release(index_of(s), found->pending, 0);
    object_fail(found->pending, -E_CANCELED);
    serve_special(s);
}

/* ---- lookup ---- */

static void look_up(struct serve *s)
{
    struct lookup_result found;
    s->lookups++;
    index_lookup(index_of(s), &s->key, &s->route->cache, &s->x->request, wall_ms(s), &s->x->arena,
                 &found);
    if (found.refresh) refresh(s, &found);
    switch (found.verdict) {
    case LOOKUP_HIT: deliver_stored(s, found.object, VERDICT_HIT); break;
    case LOOKUP_STALE: deliver_stored(s, found.object, VERDICT_STALE); break;
    case LOOKUP_VALIDATE:
    case LOOKUP_LEAD:
        if (is_special(&s->x->request) && !s->all)
            decline_to_lead(s, &found);
        else
            fetch_for_all(s, &found);
        break;
    case LOOKUP_LOAD:
        load_start(index_of(s), &s->edge->worker, found.pending, edge_load_ended, s->edge);
        s->edge->loads++;
        wait_for(s, found.pending);
        break;
    case LOOKUP_JOIN: join(s, &found); break;
    case LOOKUP_PASS: fetch_alone(s, MISS_PRIVATE, FWD_URI_MISS, VERDICT_PASS); break;
    }
    object_drop(&found.object);
    object_drop(&found.pending);
}

/* Whether something stored can answer, without effect: the lookup that follows touches and
 * refreshes it. */
static bool stored_can_answer(struct serve *s)
{
    const struct request *req = &s->x->request;
    struct object *o = index_peek(index_of(s), &s->key, req, &s->x->arena);
    bool can = o && object_may_answer(o, &s->route->cache, req, false, wall_ms(s), &s->x->arena);
    object_drop(&o);
    return can;
}

/* What only the disk has is to be loaded first. */
static bool disk_may_answer(struct serve *s)
{
    struct disk *disk = index_of(s)->disk;
    return disk && s->lookups < SHARE_LOOKUPS_MAX && disk_has_unloaded(disk, &s->key);
}

static void on_ranged(struct ranged *r)
{
    struct serve *s = r->owner;
    switch (r->answer) {
    case RANGED_ASKING: return;
    case RANGED_SLICES:
    case RANGED_OBJECT:
        if (is_for_origin(s, r->piece.object)) {
            s->ranged = NULL; /* what it answers is no slice */
            ask_origin(s);
            break;
        }
        s->verdict = ranged_verdict(r, &s->status);
        deliver_object(s, r->piece.object, r->piece.object->audience == AUDIENCE_REUSE);
        break;
    case RANGED_FAILED: answer_with_error(s, r->error); break;
    case RANGED_ALONE:
        leave_fetch(s);
        fetch_alone(s, MISS_PRIVATE, FWD_URI_MISS, VERDICT_PASS);
        break;
    case RANGED_WHOLE:
        leave_fetch(s);
        s->all = true;
        look_up(s);
        break;
    }
    ranged_close(r);
}

/* For ten bytes of a large file nobody should wait for all of it. */
static bool serve_slices(struct serve *s)
{
    struct piece_source from = source_of(s);
    struct range_spec asked;
    if (!ranged_applies(&from, &asked)) return false;
    s->ranged = arena_new(&s->x->arena, struct ranged);
    *s->ranged = (struct ranged){
        .from = from, .asked = asked, .arena = &s->x->arena, .done = on_ranged, .owner = s
    };
    s->watch.exchange = s->x;
    hold_config(s);
    ranged_begin(s->ranged, &s->watch);
    return true;
}

/* What is stored whole, and stale, is validated for any part of it, and for its head. */
static void serve_special(struct serve *s)
{
    bool stored_only = policy_only_if_cached(&s->x->request);
    struct object *base = stored_only ? NULL : find_base(s);
    bool slices = !base && serve_slices(s);
    object_drop(&base);
    if (!slices) fetch_alone(s, MISS_PRIVATE, FWD_URI_MISS, VERDICT_PASS);
}

/* Before anything is asked for: also what is stale and holds is validated first. */
static bool must_ask_origin(struct serve *s)
{
    const struct request *req = &s->x->request;
    bool asks = fields_has(&req->fields, FIELD_IF_MATCH) ||
                fields_has(&req->fields, FIELD_IF_UNMODIFIED_SINCE);
    if (!asks || disk_may_answer(s)) return false;
    struct piece_source from = source_of(s);
    struct range_spec range;
    struct object *o = index_peek(index_of(s), &s->key, req, &s->x->arena);
    bool must =
        is_for_origin(s, o) && (o || !ranged_applies(&from, &range)); /* slices tell later */
    object_drop(&o);
    return must;
}

static void choose(struct serve *s);

static void probe_body(struct serve *s)
{
    int error;
    switch (upload_probe(s->body)) {
    case BODY_WAIT: break;
    case BODY_DATA: fetch_alone(s, MISS_OPAQUE, FWD_METHOD, VERDICT_PASS); break;
    case BODY_END:
        body_close(&s->body);
        s->x->request_body = NULL;
        s->x->request.length = LENGTH_NONE;
        choose(s);
        break;
    case BODY_FAIL:
        error = s->body->error;
        body_close(&s->body);
        answer_with_error(s, error);
        break;
    }
}

static void on_body_ready(struct body *b)
{
    probe_body(b->puller);
}

/* A GET whose body is empty is a GET without one. */
static void look_into_body(struct serve *s)
{
    hold_config(s);
    s->body = open_upload(s);
    s->body->ready = on_body_ready;
    s->body->puller = s;
    probe_body(s);
}

static void choose(struct serve *s)
{
    const struct request *req = &s->x->request;
    bool cached = req->method == METHOD_GET || req->method == METHOD_HEAD;
    if (s->ambiguous) s->status.detail = "ambiguous_path";
    if (s->route->cache.bypass || s->ambiguous)
        fetch_alone(s, MISS_OPAQUE, FWD_BYPASS, VERDICT_BYPASS);
    else if (!cached)
        fetch_alone(s, MISS_OPAQUE, FWD_METHOD, VERDICT_PASS);
    else if (s->x->request_body)
        look_into_body(s);
    else if (must_ask_origin(s))
        ask_origin(s);
    else if (!is_special(req) || disk_may_answer(s) || stored_can_answer(s))
        look_up(s);
    else
        serve_special(s);
}

/* ---- the head is there ---- */

static void deliver_waited(struct serve *s, struct object *o)
{
    if (is_for_origin(s, o)) {
        let_go(s);
        ask_origin(s);
        return;
    }
    s->status.fwd_status = s->watch.status;
    s->status.stored = s->watch.stored;
    if (s->watch.reason) s->status.detail = s->watch.reason;
    deliver_object(s, o, o->audience == AUDIENCE_REUSE);
    let_go(s);
}

/* Another's fetch has brought it, or failed. */
static void use_joined(struct serve *s)
{
    struct object *o = s->object;
    int error = o->error;
    struct object *offered = object_state(o) == OBJECT_REPLACED ? o->successor : o;
    enum share share =
        share_judge(o, &s->route->cache, &s->x->request, wall_ms(s), s->lookups, &s->x->arena);
    if (share == SHARE_USE) {
        if (offered != o) s->watch.error = error;
        deliver_waited(s, offered);
        return;
    }
    s->status.collapsed = false;
    let_go(s);
    switch (share) {
    case SHARE_USE: break;
    case SHARE_AGAIN: look_up(s); break;
    case SHARE_ALONE: fetch_alone(s, MISS_PRIVATE, FWD_URI_MISS, VERDICT_PASS); break;
    case SHARE_FAIL: answer_with_error(s, error); break;
    }
}

/* What the disk had is in the index now, unless memory is too short even for that. */
static void look_again(struct serve *s)
{
    let_go(s);
    s->joiner = s->status.collapsed = false;
    s->status.fwd = FWD_NONE;
    if (s->lookups > SHARE_LOOKUPS_MAX)
        fetch_alone(s, MISS_PRIVATE, FWD_URI_MISS, VERDICT_PASS);
    else
        choose(s);
}

/* Our own fetch went on as another object: freshened by a 304, or the stale one because the origin
 * failed. */
static void use_successor(struct serve *s)
{
    struct object *o = s->object->successor;
    bool stale = freshness_ttl_ms(&o->freshness, wall_ms(s)) < 0;
    s->verdict = stale ? VERDICT_STALE : VERDICT_REVALIDATED;
    deliver_waited(s, o);
}

static void use_own(struct serve *s)
{
    struct object *o = s->object;
    int error = o->error;
    switch (object_state(o)) {
    case OBJECT_REPLACED: use_successor(s); break;
    case OBJECT_FAILED:
        let_go(s);
        answer_with_error(s, error);
        break;
    default: deliver_waited(s, o); break;
    }
}

static void use_object(struct serve *s)
{
    if (object_state(s->object) == OBJECT_LOADED)
        look_again(s);
    else if (s->joiner)
        use_joined(s);
    else
        use_own(s);
}

/* ---- the exchange's calls ---- */

static struct serve *open_serve(struct exchange *x)
{
    struct serve *s = arena_new(&x->arena, struct serve);
    s->x = x;
    s->edge = edge_of(x->worker);
    s->config = s->edge->config;
    x->received_target = x->request.target;
    x->edge = s;
    return s;
}

/* What a trusted proxy says the client asked for reaches the origin, which may answer by it. */
static void key_forwarded_host(struct serve *s)
{
    struct exchange *x = s->x;
    struct slice host = fields_value(&x->request.fields, FIELD_X_FORWARDED_HOST);
    if (host.n == 0 || !config_is_trusted(s->config, x->peer->address)) return;
    if (slice_eq_nocase(host, x->request.authority)) return;
    struct slice parts[] = { s->key.text, SLICE(" for "), host };
    s->key.text = arena_concat(&x->arena, parts, 3);
    s->key.hash = key_hash(s->key.text);
}

static void begin(struct exchange *x)
{
    struct serve *s = open_serve(x);
    tally_begin(x);
    struct admitted admitted;
    int rc = admit_request(s->config, x, &admitted);
    s->route = admitted.route;
    s->ambiguous = admitted.ambiguous;
    s->body_size_bytes = admitted.body_size_bytes;
    if (rc < 0) {
        answer_with_error(s, rc);
    } else if (admitted.location.n) {
        answer_redirect(s, admitted.location);
    } else if (!s->route) {
        answer_options(s);
    } else {
        key_build(&s->route->key, &x->request, &x->arena, &s->key);
        key_forwarded_host(s);
        choose(s);
    }
}

static void reject(struct exchange *x, int error)
{
    answer_with_error(open_serve(x), error);
}

static void end(struct exchange *x)
{
    struct serve *s = serve_of(x);
    let_go(s);
    body_close(&s->body);
    if (s->ranged) ranged_close(s->ranged);
    miss_leave(&s->watch);
    tally_end(s->edge, x, s->verdict, s->watch.upstream, s->watch.error);
    if (s->held) config_drop(&s->config);
}

const struct exchange_handler serve_handler = { begin, reject, end };
