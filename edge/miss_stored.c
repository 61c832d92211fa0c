/* What an origin's response says of what is stored: that it is still right, or no longer. See
 * miss_state.h. */
#include "edge/miss_state.h"

/* Where the disk has the body, or is about to, it gets the new head. The old one goes, or it would
 * go on answering those whom a Vary that is new does not send here. */
static void publish_generation(struct miss *m, struct object *old, struct object *o)
{
    struct index *ix = miss_index(m);
    bool written = payload_stored(o->payload) || atomic_load(&old->write);
    if (index_replace(ix, old, o) && ix->disk && written) disk_write(ix->disk, o);
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
    if (asked == &m->client) /* who is answered with this generation */
        miss_prepare_for_others(m, &merged);
    else
        policy_prepare_stored(&m->route->cache, &merged);
    struct slice vary, vary_key;
    miss_vary(m, &merged, &vary, &vary_key);
    struct object *o =
        object_with_payload(stored, &merged, &fresh, vary, vary_key, m->object->purge_seq);
    atomic_store_explicit(&o->hits, atomic_load(&stored->hits), memory_order_relaxed);
    o->audience = reason == STORE_OK ? AUDIENCE_REUSE : AUDIENCE_ONE;
    if (reason == STORE_OK)
        publish_generation(m, stored, o);
    else if (reason != STORE_AUTHORIZATION) /* which speaks of the one who asked only */
        index_remove(miss_index(m), stored);
    return o;
}

void miss_use_validated(struct miss *m, const struct h1_response *from, struct body *body)
{
    struct response r = from->msg;
    miss_sign(m, &r, from->version);
    struct object *o = freshen(m, m->base, &r, &m->client);
    body_close(&body);
    if (m->watch) m->watch->stored = o->audience == AUDIENCE_REUSE;
    index_release(miss_index(m), m->object, 0);
    object_replace(m->object, o, 0);
    object_drop(&o);
    miss_end(m);
}

bool miss_may_use_stale(const struct miss *m)
{
    return m->base && policy_stale_if_error(&m->route->cache, &m->client, &m->base->freshness,
                                            m->edge->worker.wall_ms);
}

void miss_use_stale(struct miss *m, int error)
{
    if (m->watch) m->watch->error = error;
    index_release(miss_index(m), m->object, 0);
    object_replace(m->object, m->base, error);
    miss_end(m);
}

/* RFC 9111 section 4.3.5: what a HEAD says about the GET that is stored. One that fills has the
 * length that its head tells. */
void miss_apply_head(struct miss *m, const struct response *r)
{
    struct object *stored = index_peek(miss_index(m), &m->key, &m->client, &m->arena);
    if (!stored) return;
    bool whole = object_state(stored) == OBJECT_COMPLETE;
    int64_t bytes = whole ? (int64_t)stored->payload->end : stored->head.length;
    enum head_says says = policy_head_says(r, &stored->head, bytes);
    struct request get = m->client;
    get.method = METHOD_GET;
    if (says == HEAD_REFUTES) {
        index_remove(miss_index(m), stored);
        if (miss_index(m)->disk) m->forgot = true;
    } else if (says == HEAD_CONFIRMS && whole) {
        struct object *o = freshen(m, stored, r, &get);
        object_drop(&o);
    }
    object_drop(&stored);
}

void miss_apply_part(struct miss *m, const struct response *r)
{
    struct object *stored = m->base;
    if (!policy_part_refutes(r, &stored->head, (int64_t)stored->payload->end)) return;
    index_remove(miss_index(m), stored);
    if (miss_index(m)->disk) m->forgot = true;
}

/* And what there is of it in slices. */
static void invalidate_key(struct miss *m, const struct key *key)
{
    index_invalidate(miss_index(m), key); /* slices are not among what it counts */
    if (miss_index(m)->disk) m->forgot = true;
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
void miss_invalidate(struct miss *m, const struct response *r)
{
    invalidate_key(m, &m->key);
    invalidate_reference(m, r, FIELD_LOCATION);
    invalidate_reference(m, r, FIELD_CONTENT_LOCATION);
}
