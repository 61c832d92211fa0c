#include "edge/deliver.h"

#include "cache/reader.h"
#include "edge/base/check.h"
#include "edge/forward.h"
#include "edge/listener.h"
#include "edge/mended.h"
#include "edge/multipart.h"
#include "edge/sliced.h"
#include "edge/trailers.h"
#include "protocols/http/date.h"
#include "protocols/http/etag.h"
#include "protocols/http/range.h"

/* ---- fields ---- */

/* The stored fields as a list of the response's own, to be changed. */
static void unfold(struct response *r, struct arena *a)
{
    const struct fields *stored = r->stored;
    if (!stored) return;
    struct fields own = { arena_alloc(a, (stored->n + 8) * sizeof *own.v), stored->n,
                          stored->n + 8 };
    memcpy(own.v, stored->v, stored->n * sizeof *own.v);
    for (uint32_t i = 0; i < r->fields.n; i++)
        fields_add_named(&own, a, r->fields.v[i].name, r->fields.v[i].value);
    r->fields = own;
    r->stored = NULL;
    r->lines = SLICE_NONE;
}

static void set(struct response *r, struct arena *a, enum field_id id, struct slice value)
{
    unfold(r, a);
    fields_set(&r->fields, a, id, value);
}

static void drop(struct response *r, struct arena *a, enum field_id id)
{
    if (!fields_has(r->stored ? r->stored : &r->fields, id)) return;
    unfold(r, a);
    fields_remove(&r->fields, id);
}

/* Without printf: every hit has an age. */
static struct slice decimal(int64_t n, struct arena *a)
{
    enum { DIGITS = 20 };
    char *end = (char *)arena_alloc(a, DIGITS) + DIGITS, *at = end;
    do *--at = (char)('0' + n % 10);
    while (n /= 10);
    return slice_of(at, (size_t)(end - at));
}

static void add_age(const struct exchange *x, struct delivery *d, struct response *r,
                    struct arena *a)
{
    int64_t age_s = freshness_age_ms(&d->object->freshness, x->worker->wall_ms) / 1000;
    if (d->status.fwd != FWD_NONE && !d->status.collapsed && age_s == 0) return;
    fields_add(&r->fields, a, FIELD_AGE, decimal(age_s, a));
}

/* Appended to what caches behind this one have said. */
static void add_cache_status(const struct exchange *x, struct delivery *d, struct response *r,
                             struct arena *a)
{
    if (d->cached) {
        int64_t ttl_ms = freshness_ttl_ms(&d->object->freshness, x->worker->wall_ms);
        d->status.has_ttl = true;
        d->status.ttl_s = ttl_ms >= 0 ? (ttl_ms + 999) / 1000 : ttl_ms / 1000;
    }
    struct slice ours = cache_status_text(&d->status, a);
    if (!fields_has(&d->object->head.fields, FIELD_CACHE_STATUS)) {
        fields_add(&r->fields, a, FIELD_CACHE_STATUS, ours);
        return;
    }
    struct slice before = fields_joined(&d->object->head.fields, FIELD_CACHE_STATUS, a);
    set(r, a, FIELD_CACHE_STATUS,
        arena_concat(a, (struct slice[]){ before, SLICE(", "), ours }, 3));
}

/* In place of the origin's own, if it has one. */
static void set_own(struct response *r, enum field_id id, struct slice value, struct arena *a)
{
    if (r->stored && fields_has(r->stored, id))
        set(r, a, id, value);
    else
        fields_set(&r->fields, a, id, value);
}

/* RFC 6797 section 8.1 makes clients heed only the first Strict-Transport-Security. */
static void add_fields_of_tls(struct exchange *x, const struct delivery *d, struct response *r)
{
    struct slice alt_svc = d->route->alt_svc ? listener_alt_svc(x->peer) : SLICE_NONE;
    if (d->route->hsts.n && slice_eq(x->request.scheme, SLICE("https")))
        set_own(r, FIELD_STRICT_TRANSPORT_SECURITY, d->route->hsts, &x->arena);
    if (alt_svc.n) set_own(r, FIELD_ALT_SVC, alt_svc, &x->arena);
}

/* RFC 9110 section 15.4.5: what tells of the representation's body, the client has. */
static bool belongs_to_304(enum field_id id)
{
    switch (id) {
    case FIELD_CONTENT_ENCODING:
    case FIELD_CONTENT_LANGUAGE:
    case FIELD_CONTENT_RANGE:
    case FIELD_CONTENT_TYPE: return false;
    default: return true;
    }
}

static void make_not_modified(struct response *r, struct arena *a)
{
    unfold(r, a);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->fields.n; i++) {
        if (belongs_to_304(r->fields.v[i].id)) r->fields.v[kept++] = r->fields.v[i];
    }
    r->fields.n = kept;
    r->status = 304;
    r->length = LENGTH_NONE;
}

/* A response of the node's own, in place of the object's. */
static void make_own(const struct exchange *x, struct response *r, int status, struct arena *a)
{
    *r = (struct response){ .status = status, .length = 0 };
    char *date = arena_alloc(a, HTTP_DATE_BYTES);
    http_date_format(x->worker->wall_ms / 1000, date);
    fields_add(&r->fields, a, FIELD_DATE, slice_of(date, HTTP_DATE_BYTES));
}

/* ---- bodies ---- */

static struct body *open_body(struct exchange *x, const struct delivery *d, uint64_t first,
                              uint64_t end)
{
    if (d->of) return sliced_open(d->slices, d->of, first, end, d->object, &x->arena);
    if (d->slices) return mended_open(d->object, d->slices, first, end, &x->arena);
    struct reader *reader = arena_new(&x->arena, struct reader);
    reader_open(reader, d->object, &x->scope, first, end);
    return &reader->body;
}

static struct body *one_range(struct exchange *x, const struct delivery *d, struct response *r,
                              struct range range)
{
    struct content_range told = { range.first, range.last, r->length };
    set(r, &x->arena, FIELD_CONTENT_RANGE, content_range_format(told, &x->arena));
    r->status = 206;
    r->length = range.last - range.first + 1;
    return open_body(x, d, (uint64_t)range.first, (uint64_t)range.last + 1);
}

static struct body *several_ranges(struct exchange *x, struct object *o, struct response *r,
                                   const struct ranges *ranges)
{
    struct multipart m;
    uint64_t random = key_hash(slice_of((const char *)&x->began_us, sizeof x->began_us));
    multipart_open(&m, o, ranges, r->length, &x->scope, &x->arena, random);
    set(r, &x->arena, FIELD_CONTENT_TYPE, m.content_type);
    drop(r, &x->arena, FIELD_CONTENT_RANGE); /* of a 200, where it says nothing: here it would */
    r->status = 206;
    r->length = m.length;
    return m.body;
}

static struct body *unsatisfiable(struct exchange *x, struct response *r)
{
    struct content_range told = { -1, -1, r->length };
    make_own(x, r, 416, &x->arena);
    fields_add(&r->fields, &x->arena, FIELD_CONTENT_RANGE, content_range_format(told, &x->arena));
    return NULL;
}

static struct body *whole_or_ranges(struct exchange *x, const struct delivery *d,
                                    struct response *r)
{
    struct object *o = d->object;
    const struct field *range = fields_get(&x->request.fields, FIELD_RANGE);
    bool asked = d->evaluate && range && x->request.method == METHOD_GET && r->status == 200 &&
                 r->length >= 0 && range_condition_holds(&x->request, &o->head);
    struct ranges ranges;
    switch (asked ? range_parse(range->value, r->length, &ranges) : RANGE_NONE) {
    case RANGE_UNSATISFIABLE: return unsatisfiable(x, r);
    case RANGE_SATISFIABLE:
        if (ranges.count == 1) return one_range(x, d, r, ranges.v[0]);
        if (object_state(o) == OBJECT_COMPLETE) return several_ranges(x, o, r, &ranges);
        break; /* of what may not stay, nothing can be read out of order: all of it, then */
    case RANGE_NONE: break;
    }
    bool has_body = status_has_body(x->request.method, r->status) && r->length != 0;
    return has_body ? open_body(x, d, 0, UINT64_MAX) : NULL;
}

/* ---- the answer ---- */

/* What came in chunks has a length once it is whole; trailers need the chunks all the same. */
static int64_t length_of(const struct exchange *x, struct object *o)
{
    bool whole = o->head.length == LENGTH_UNKNOWN && object_state(o) == OBJECT_COMPLETE;
    return whole && !(o->trailers.n && x->te_trailers) ? (int64_t)o->payload->end : o->head.length;
}

static enum precondition evaluate(const struct exchange *x, const struct delivery *d)
{
    return d->evaluate ? precondition_evaluate(&x->request, &d->object->head) : PRECONDITION_PASS;
}

static void judge_trailers(const void *by, struct fields *trailers)
{
    const struct config_route *route = by;
    header_rules_prune(route->response_headers, route->response_header_count, trailers);
}

void deliver(struct exchange *x, struct delivery *d)
{
    struct object *o = d->object;
    struct response r = o->head;
    r.length = d->of ? d->of->length : length_of(x, o);
    if (d->of) r.status = 200; /* as if it were whole: what was asked for begins in the slice */
    r.stored = &o->head.fields;
    r.fields = (struct fields){ 0 };
    struct body *body = NULL;
    switch (evaluate(x, d)) {
    case PRECONDITION_NOT_MODIFIED: make_not_modified(&r, &x->arena); break;
    case PRECONDITION_FAILED: CHECK(!"412 is the origin's to say"); break;
    case PRECONDITION_PASS: body = whole_or_ranges(x, d, &r); break;
    }
    bool may_have_trailers = x->te_trailers && r.length == LENGTH_UNKNOWN;
    if (!may_have_trailers) drop(&r, &x->arena, FIELD_TRAILER);
    if (body && d->judges_trailers)
        body = trailers_judged(body, judge_trailers, d->route, &x->arena);
    for (uint32_t i = 0; d->unstored && i < d->unstored->n; i++) {
        const struct field *f = &d->unstored->v[i];
        fields_add_named(&r.fields, &x->arena, f->name, f->value);
    }
    if (d->cached && r.status != 416) add_age(x, d, &r, &x->arena);
    add_cache_status(x, d, &r, &x->arena);
    add_fields_of_tls(x, d, &r);
    if (d->route->response_header_count) {
        unfold(&r, &x->arena);
        header_rules_apply(d->route->response_headers, d->route->response_header_count, &r.fields,
                           &x->arena);
    }
    x->ops->respond(x, &r, body);
}
