#include "cache/parts.h"

#include "cache/reader.h"
#include "edge/base/check.h"
#include "protocols/http/etag.h"

void parts_key(const struct key *key, struct arena *a, struct key *out)
{
    struct slice text[] = { SLICE("parts "), key->text }; /* a request's key begins with a length */
    *out = *key;
    out->text = arena_concat(a, text, 2);
    out->hash = key_hash(out->text);
}

static bool part_told(const struct response *r, struct content_range *out)
{
    struct slice value = fields_value(&r->fields, FIELD_CONTENT_RANGE);
    return value.n && content_range_parse(value, out) && out->first >= 0 && out->length >= 0;
}

static bool part_of(const struct object *o, struct content_range *out)
{
    return part_told(&o->head, out);
}

bool parts_accepts(const struct response *r)
{
    struct content_range part;
    return part_told(r, &part) && r->length == part.last - part.first + 1;
}

/* ---- finding ---- */

static bool holds(const struct object *o, const struct request *req, struct content_range *part)
{
    struct ranges ranges;
    if (!part_of(o, part) || !range_condition_holds(req, &o->head)) return false;
    struct slice asked = fields_value(&req->fields, FIELD_RANGE);
    if (range_parse(asked, part->length, &ranges) != RANGE_SATISFIABLE || ranges.count != 1)
        return false;
    return ranges.v[0].first >= part->first && ranges.v[0].last <= part->last;
}

struct object *parts_find(struct index *ix, const struct key *key,
                          const struct cache_policy *policy, const struct request *req,
                          int64_t now_ms, struct arena *a, struct content_range *part)
{
    struct key own;
    parts_key(key, a, &own);
    struct object *o = index_peek(ix, &own, req, a);
    if (!o) return NULL;
    bool usable =
        policy_reuse(policy, req, &o->freshness, now_ms) == REUSE_FRESH && holds(o, req, part);
    if (!usable) object_drop(&o);
    return o;
}

/* ---- putting together ---- */

static bool fit_together(const struct object *a, const struct content_range *in_a,
                         const struct object *b, const struct content_range *in_b)
{
    struct etag one, other;
    if (!etag_of(&a->head.fields, &one) || !etag_of(&b->head.fields, &other)) return false;
    if (!etag_equal_strong(one, other) || in_a->length != in_b->length) return false;
    return in_a->first <= in_b->last + 1 && in_b->first <= in_a->last + 1;
}

static uint64_t bytes_together(const struct content_range *a, const struct content_range *b)
{
    int64_t first = a->first < b->first ? a->first : b->first;
    return (uint64_t)((a->last > b->last ? a->last : b->last) - first + 1);
}

/* The bytes [first, end) of the representation, by reference. */
static void append_bytes(struct object *to, struct object *from, const struct content_range *part,
                         int64_t first, int64_t end, struct scope *scope)
{
    struct reader reader;
    struct span s = { 0 };
    if (first >= end) return;
    reader_open(&reader, from, scope, (uint64_t)(first - part->first),
                (uint64_t)(end - part->first));
    struct body *body = &reader.body;
    enum body_result result;
    while ((result = body_pull(body, &s)) == BODY_DATA) object_append(to, &s);
    CHECK(result == BODY_END); /* a complete object never waits */
    body_close(&body);
}

/* The newer response's fields (section 3.4), with what there is now. */
static void set_head(struct object *o, const struct object *newer, struct content_range now,
                     struct arena *a)
{
    struct response head = newer->head;
    head.fields.v = arena_alloc(a, newer->head.fields.n * sizeof *head.fields.v);
    memcpy(head.fields.v, newer->head.fields.v, newer->head.fields.n * sizeof *head.fields.v);
    head.fields.cap = newer->head.fields.n;
    bool whole = now.first == 0 && now.last == now.length - 1;
    head.status = whole ? 200 : 206;
    head.length = now.last - now.first + 1;
    if (whole)
        fields_remove(&head.fields, FIELD_CONTENT_RANGE);
    else
        fields_set(&head.fields, a, FIELD_CONTENT_RANGE, content_range_format(now, a));
    object_set_head(o, &head, &newer->freshness, newer->vary, newer->vary_key, true);
}

struct piece {
    struct object *object;
    struct content_range range;
};

static struct object *put_together(const struct piece *old, const struct piece *new,
                                   const struct key *own, const struct key *whole_key,
                                   struct scope *scope, struct arena *a)
{
    const struct content_range *o = &old->range, *n = &new->range;
    struct content_range now = { o->first < n->first ? o->first : n->first,
                                 o->last > n->last ? o->last : n->last, n->length };
    bool whole = now.first == 0 && now.last == now.length - 1;
    struct object *out = object_new(whole ? whole_key : own, new->object->budget,
                                    new->object->purge_seq, new->object->window_bytes);
    set_head(out, new->object, now, a);
    append_bytes(out, old->object, o, o->first, n->first, scope);
    append_bytes(out, new->object, n, n->first, n->last + 1, scope);
    append_bytes(out, old->object, o, n->last + 1, o->last + 1, scope);
    object_complete(out, NULL);
    return out;
}

void parts_store(struct index *ix, const struct key *key, struct object *o,
                 const struct request *req, size_t object_max_bytes, struct scope *scope,
                 struct arena *a)
{
    struct key own;
    struct piece new = { .object = o }, old = { 0 };
    if (!part_of(o, &new.range) || new.range.last - new.range.first + 1 != (int64_t)o->payload->end)
        return;
    parts_key(key, a, &own);
    old.object = index_peek(ix, &own, req, a);
    bool fits = old.object && part_of(old.object, &old.range) &&
                fit_together(old.object, &old.range, o, &new.range) &&
                bytes_together(&old.range, &new.range) <= object_max_bytes;
    struct piece nothing = { o, { new.range.first, new.range.first - 1, new.range.length } };
    struct object *stored = put_together(fits ? &old : &nothing, &new, &own, key, scope, a);
    index_publish(ix, stored);
    if (stored->head.status == 200 && old.object) index_remove(ix, old.object);
    object_drop(&stored);
    object_drop(&old.object);
}
