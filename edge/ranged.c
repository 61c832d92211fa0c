#include "edge/ranged.h"

#include "edge/base/error.h"
#include "edge/node.h"
#include "edge/sliced.h"

#define ROUNDS_MAX 4    /* slices asked for before the first byte is sent */
#define PROBES_MAX 1024 /* slices looked for on behalf of only-if-cached */

static size_t slice_bytes(const struct ranged *r)
{
    return piece_slice_bytes(r->from.config);
}

/* ---- whether ---- */

/* That responses are not shared, or do not come in slices, is remembered at the whole's key and at
 * its first slice's. */
static bool is_refused(const struct piece_source *from)
{
    struct index *ix = &from->edge->node->index;
    int64_t now_ms = from->edge->worker.wall_ms;
    struct arena arena;
    struct key first;
    arena_init(&arena, ARENA_CHUNK_BYTES);
    key_slice(&from->key, 0, &arena, &first);
    bool refused = index_passes(ix, &from->key, now_ms) || index_passes(ix, &first, now_ms);
    arena_free(&arena);
    return refused;
}

static uint64_t first_asked(const struct range_spec *asked, size_t slice_bytes)
{
    return asked->first < 0 ? 0 : slices_number((uint64_t)asked->first, slice_bytes);
}

bool ranged_applies(const struct piece_source *from, struct range_spec *asked)
{
    const struct request *req = from->request;
    size_t size = piece_slice_bytes(from->config);
    const struct field *range = fields_get(&req->fields, FIELD_RANGE);
    if (!size || !range || req->method != METHOD_GET) return false;
    if (fields_has(&req->fields, FIELD_EARLY_DATA)) return false; /* 425 is for this client alone */
    return range_parse_single(range->value, asked) && first_asked(asked, size) < SLICES_MAX &&
           !is_refused(from);
}

/* ---- what the object in hand means ---- */

static bool read_slice(const struct ranged *r, const struct piece *p, struct representation *out)
{
    return p->object->key.slice && p->object->audience == AUDIENCE_REUSE &&
           slices_read(&p->object->head, p->n, slice_bytes(r), out);
}

/* For only-if-cached: the others are looked up as well before the answer begins. */
static bool rest_is_stored(struct ranged *r, uint64_t next, uint64_t last)
{
    if (last >= next + PROBES_MAX) return false;
    while (next <= last && piece_is_stored(&r->from, (uint32_t)next, &r->of)) next++;
    return next > last;
}

static enum ranged_answer ask(struct ranged *r, uint32_t n)
{
    if (r->rounds++ >= ROUNDS_MAX) return RANGED_ALONE;
    piece_get(&r->piece, n);
    return RANGED_ASKING;
}

/* The slice told the length, and so where a suffix begins. */
static enum ranged_answer go_on_to(struct ranged *r, uint32_t n)
{
    r->of = representation_copy(&r->of, r->arena);
    r->known = true;
    return ask(r, n);
}

static enum ranged_answer judge_slice(struct ranged *r, const struct representation *of)
{
    const struct request *req = r->from.request;
    struct ranges ranges;
    if (r->known && !representation_equal(of, &r->of)) {
        sliced_forget(&r->from, r->piece.object);
        r->known = false;
        return ask(r, (uint32_t)first_asked(&r->asked, slice_bytes(r)));
    }
    r->of = *of;
    if (!range_condition_holds(req, &r->piece.object->head)) return RANGED_WHOLE;
    if (range_parse(fields_value(&req->fields, FIELD_RANGE), of->length, &ranges) !=
        RANGE_SATISFIABLE)
        return RANGED_SLICES; /* of which it has none: 416, and the length is known */
    uint64_t n = slices_number((uint64_t)ranges.v[0].first, slice_bytes(r)),
             last = slices_number((uint64_t)ranges.v[0].last, slice_bytes(r));
    if (last >= SLICES_MAX) return RANGED_ALONE;
    if (n != r->piece.n) return go_on_to(r, (uint32_t)n);
    bool here = !r->from.stored_only || rest_is_stored(r, n + 1, last);
    return here ? RANGED_SLICES : RANGED_ALONE;
}

/* What the origin said instead of a slice. A 206 of other bytes answers nobody, and what a 416 says
 * counts only where the range does. */
static enum ranged_answer judge_other(const struct ranged *r)
{
    const struct object *o = r->piece.object;
    bool conditional = fields_has(&r->from.request->fields, FIELD_IF_RANGE);
    bool unusable =
        o->key.slice && (o->head.status == 206 || (o->head.status == 416 && conditional));
    return unusable ? RANGED_ALONE : RANGED_OBJECT;
}

static enum ranged_answer judge(struct ranged *r)
{
    struct piece *p = &r->piece;
    struct representation of;
    if (p->error) return RANGED_FAILED;
    if (!p->object) return RANGED_ALONE;
    if (read_slice(r, p, &of)) return judge_slice(r, &of);
    bool stored = p->way == PIECE_STORED || p->way == PIECE_STALE;
    if (!stored) return judge_other(r);
    if (r->rounds++ >= ROUNDS_MAX) return RANGED_ALONE;
    piece_get_again(p); /* of slices of another size */
    return RANGED_ASKING;
}

/* ---- the steps ---- */

static void finish(struct ranged *r, enum ranged_answer answer)
{
    bool fetches = answer == RANGED_ALONE || answer == RANGED_WHOLE;
    r->error = r->piece.error;
    if (r->from.stored_only && fetches) {
        r->error = -E_ONLY_IF_CACHED;
        answer = RANGED_FAILED;
    }
    r->answer = answer;
    r->done(r);
}

static void go_on(struct ranged *r)
{
    enum ranged_answer answer = RANGED_ASKING;
    while (r->piece.settled && answer == RANGED_ASKING) answer = judge(r);
    if (answer != RANGED_ASKING) finish(r, answer);
}

static void on_piece(struct piece *p)
{
    go_on(p->owner);
}

void ranged_begin(struct ranged *r, struct miss_watch *watch)
{
    piece_init(&r->piece, &r->from, watch, on_piece, r);
    ask(r, (uint32_t)first_asked(&r->asked, slice_bytes(r)));
    go_on(r);
}

void ranged_close(struct ranged *r)
{
    piece_close(&r->piece);
}

/* ---- what is told of it ---- */

static enum verdict verdict_of(const struct piece *p, int64_t now_ms)
{
    switch (p->way) {
    case PIECE_STORED: return VERDICT_HIT;
    case PIECE_STALE: return VERDICT_STALE;
    case PIECE_JOINED: return VERDICT_COLLAPSED;
    case PIECE_FETCHED: return VERDICT_MISS;
    case PIECE_VALIDATED: break;
    }
    bool stale = freshness_ttl_ms(&p->object->freshness, now_ms) < 0;
    return stale ? VERDICT_STALE : VERDICT_REVALIDATED;
}

enum verdict ranged_verdict(const struct ranged *r, struct cache_status *status)
{
    const struct piece *p = &r->piece;
    bool fetched = p->way == PIECE_FETCHED || p->way == PIECE_VALIDATED;
    status->hit = p->way == PIECE_STORED || p->way == PIECE_STALE;
    status->collapsed = p->way == PIECE_JOINED;
    status->fwd = status->hit ? FWD_NONE : p->fwd;
    if (fetched && p->watch) {
        status->fwd_status = p->watch->status;
        status->stored = p->watch->stored;
        status->detail = p->watch->reason;
    }
    return verdict_of(p, r->from.edge->worker.wall_ms);
}
