#include "edge/sliced.h"

#include "cache/reader.h"
#include "edge/base/error.h"
#include "edge/base/metrics.h"
#include "edge/node.h"

struct sliced {
    struct body body; /* first: a body is a sliced */
    const struct piece_source *from;
    struct config *config; /* from's, held: a body may be closed after its exchange's end */
    struct representation of;
    size_t slice_bytes;
    uint64_t at, end;
    uint64_t read_end;      /* where reader stops */
    struct piece pieces[2]; /* the slice that is read and the one behind it, by even and odd */
    struct reader *reader;
    struct arena *arena;
    bool reading;
    bool replaced; /* the current slice's stored object was no good: the next one counts */
    bool resumed;  /* the current slice broke off once */
    bool waiting;  /* for the current piece; a ready is owed */
};

static uint32_t number_at(const struct sliced *s, uint64_t offset)
{
    return (uint32_t)slices_number(offset, s->slice_bytes);
}

static struct piece *current(struct sliced *s)
{
    return &s->pieces[number_at(s, s->at) & 1];
}

static enum body_result fail(struct sliced *s, int error)
{
    s->body.error = error;
    return BODY_FAIL;
}

/* ---- is it the one? ---- */

/* The slice, or, of an origin that knows no ranges, the whole. */
static bool is_ours(const struct sliced *s, const struct piece *p)
{
    struct representation told;
    const struct response *head = &p->object->head;
    bool is_known = p->object->key.slice ? slices_read(head, p->n, s->slice_bytes, &told)
                                         : slices_read_whole(head, &told);
    return is_known && representation_equal(&told, &s->of);
}

/* Once for those who learn it from one response. */
void sliced_forget(const struct piece_source *from, const struct object *o)
{
    struct index *ix = &from->edge->node->index;
    metric_add(METRIC_SLICES_MISMATCHED, 1);
    if (o->purge_seq >= index_purged(ix, &from->key)) index_invalidate(ix, &from->key);
}

/* Another representation, or none. Any other status says nothing of it: the origin is in trouble,
 * or wants something else of this client. */
static int refusal(const struct sliced *s, const struct object *o)
{
    switch (o->head.status) {
    case 200:
    case 206:
    case 404:
    case 410:
    case 416: sliced_forget(s->from, o); return -E_REPRESENTATION_CHANGED;
    default: return -E_RESPONSE_INCOMPLETE;
    }
}

static bool is_stored(const struct piece *p)
{
    return p->way == PIECE_STORED || p->way == PIECE_STALE;
}

/* Asks until the current piece is the slice that belongs here. BODY_DATA: it is. */
static enum body_result obtain(struct sliced *s)
{
    struct piece *p = current(s);
    uint32_t n = number_at(s, s->at);
    if (!p->asked || p->n != n) piece_get(p, n);
    for (;;) {
        if (!p->settled) {
            s->waiting = true;
            return BODY_WAIT;
        }
        if (p->error) return fail(s, p->error);
        if (p->object && is_ours(s, p)) return BODY_DATA;
        bool again = !s->replaced && (p->object ? is_stored(p) : !s->from->stored_only);
        if (!again) return fail(s, p->object ? refusal(s, p->object) : -E_RESPONSE_INCOMPLETE);
        s->replaced = true;
        if (p->object)
            piece_get_again(p);
        else
            piece_get_alone(p);
    }
}

/* ---- reading ---- */

static void on_reader_ready(struct body *b)
{
    struct sliced *s = b->puller;
    s->body.ready(&s->body);
}

/* So that the origin is at work while the client reads. */
static void look_ahead(struct sliced *s)
{
    uint32_t next = number_at(s, s->at) + 1;
    struct piece *p = &s->pieces[next & 1];
    if ((uint64_t)next * s->slice_bytes < s->end) piece_get(p, next);
}

static void open_object(struct sliced *s, struct object *o)
{
    uint32_t n = number_at(s, s->at);
    uint64_t first = o->key.slice ? (uint64_t)n * s->slice_bytes : 0;
    s->read_end = o->key.slice ? slices_end(n, s->slice_bytes, s->end) : s->end;
    reader_open(s->reader, o, s->from->scope, s->at - first, s->read_end - first);
    s->reader->body.ready = on_reader_ready;
    s->reader->body.puller = s;
    s->reading = true;
}

/* The reader takes over from the piece. */
static void begin(struct sliced *s, struct object *o)
{
    bool goes_on = o->key.slice; /* by slices */
    open_object(s, o);
    piece_close(current(s));
    if (goes_on) look_ahead(s);
}

static void close_reader(struct sliced *s)
{
    struct body *reader = &s->reader->body;
    s->reading = false;
    body_close(&reader);
}

/* Its fetch broke off, or it cannot be read any more: the rest of it is in another copy. */
static bool resume(struct sliced *s)
{
    if (s->resumed || s->body.error == -E_SHUTDOWN) return false;
    s->resumed = true;
    index_remove(&s->from->edge->node->index, s->reader->object);
    close_reader(s);
    s->reader = arena_new(s->arena, struct reader); /* the disk may not be done with the old one */
    return true;
}

static void end_object(struct sliced *s)
{
    close_reader(s);
    s->replaced = s->resumed = false;
}

/* ---- the body ---- */

/* The object's bytes, BODY_END where the next one begins, and nothing short of it. */
static enum body_result read_on(struct sliced *s, struct span *out)
{
    enum body_result result = body_pull(&s->reader->body, out);
    if (result == BODY_DATA) s->at += out->n;
    if (result == BODY_FAIL) return fail(s, s->reader->body.error);
    bool is_short = result == BODY_END && s->at != s->read_end;
    return is_short ? fail(s, -E_RESPONSE_INCOMPLETE) : result;
}

static enum body_result pull(struct body *b, struct span *out)
{
    struct sliced *s = (struct sliced *)b;
    while (s->at < s->end) {
        enum body_result result = s->reading ? BODY_DATA : obtain(s);
        if (result != BODY_DATA) return result;
        if (!s->reading) begin(s, current(s)->object);
        result = read_on(s, out);
        if (result == BODY_END)
            end_object(s);
        else if (result != BODY_FAIL || !resume(s))
            return result;
    }
    return BODY_END;
}

static void close_sliced(struct body *b)
{
    struct sliced *s = (struct sliced *)b;
    if (s->reading) close_reader(s);
    piece_close(&s->pieces[0]);
    piece_close(&s->pieces[1]);
    config_drop(&s->config);
}

static void on_piece(struct piece *p)
{
    struct sliced *s = p->owner;
    if (!s->waiting || p != current(s)) return;
    s->waiting = false;
    s->body.ready(&s->body);
}

struct body *sliced_open(const struct piece_source *from, const struct representation *of,
                         uint64_t first, uint64_t end, struct object *o, struct arena *a)
{
    static const struct body_ops ops = { .pull = pull, .close = close_sliced };
    struct sliced *s = arena_new(a, struct sliced);
    s->body.ops = &ops;
    s->from = from;
    s->arena = a;
    s->reader = arena_new(a, struct reader);
    s->config = config_hold(from->config);
    s->of = representation_copy(of, a);
    s->slice_bytes = piece_slice_bytes(from->config);
    s->at = first;
    s->end = end;
    for (int i = 0; i < 2; i++) piece_init(&s->pieces[i], from, NULL, on_piece, s);
    if (o) begin(s, o);
    return &s->body;
}
