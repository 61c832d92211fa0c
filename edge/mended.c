#include "edge/mended.h"

#include "cache/reader.h"
#include "edge/base/error.h"
#include "edge/base/metrics.h"
#include "edge/sliced.h"

struct mended {
    struct body body; /* first: a body is a mended */
    const struct piece_source *from;
    struct config *config; /* from's, held */
    struct arena *arena;
    struct representation of;
    bool is_known; /* of: it can be gone on with */
    struct reader reader;
    struct body *source; /* the reader, or what goes on after it */
    uint64_t at, end;
};

bool mended_is_needed(const struct object *o, size_t memory_max_bytes)
{
    if (object_state(o) == OBJECT_COMPLETE) return !payload_is_resident(o->payload);
    return o->head.length > 0 && (uint64_t)o->head.length > memory_max_bytes;
}

static void on_ready(struct body *source)
{
    struct mended *m = source->puller;
    m->body.ready(&m->body);
}

static void use(struct mended *m, struct body *source)
{
    m->source = source;
    source->ready = on_ready;
    source->puller = m;
}

/* The disk failed, or this client was too slow for those who read the same. */
static bool may_be_mended(int error)
{
    return error == -E_DISK || error == -E_CLIENT_SLOW;
}

static bool may_mend(const struct mended *m)
{
    return m->source == &m->reader.body && m->is_known && may_be_mended(m->source->error) &&
           m->at < m->end && piece_slice_bytes(m->config);
}

static void mend(struct mended *m)
{
    body_close(&m->source);
    metric_add(METRIC_DISK_MENDED, 1);
    use(m, sliced_open(m->from, &m->of, m->at, m->end, NULL, m->arena));
}

static enum body_result pull(struct body *b, struct span *out)
{
    struct mended *m = (struct mended *)b;
    enum body_result result = body_pull(m->source, out);
    if (result == BODY_FAIL && may_mend(m)) {
        mend(m);
        result = body_pull(m->source, out);
    }
    if (result == BODY_DATA) m->at += out->n;
    if (result == BODY_END) b->trailers = m->source->trailers;
    b->error = m->source->error;
    return result;
}

static void close_mended(struct body *b)
{
    struct mended *m = (struct mended *)b;
    body_close(&m->source);
    config_drop(&m->config);
}

struct body *mended_open(struct object *o, const struct piece_source *from, uint64_t first,
                         uint64_t end, struct arena *a)
{
    static const struct body_ops ops = { .pull = pull, .close = close_mended };
    struct mended *m = arena_new(a, struct mended);
    m->body.ops = &ops;
    m->from = from;
    m->config = config_hold(from->config);
    m->arena = a;
    m->is_known = slices_read_whole(&o->head, &m->of);
    if (m->is_known) m->of = representation_copy(&m->of, a);
    m->at = first;
    m->end = end == UINT64_MAX && m->is_known ? (uint64_t)m->of.length : end;
    reader_open(&m->reader, o, from->scope, first, end);
    use(m, &m->reader.body);
    return &m->body;
}
