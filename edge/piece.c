#include "edge/piece.h"

#include "cache/disk.h"
#include "cache/load.h"
#include "edge/base/error.h"
#include "edge/node.h"
#include "edge/share.h"

size_t piece_slice_bytes(const struct config *c)
{
    return c->cache.slice_bytes <= c->cache.object_memory_max_bytes ? c->cache.slice_bytes : 0;
}

static struct index *index_of(const struct piece *p)
{
    return &p->from->edge->node->index;
}

/* ---- the object in hand ---- */

static void let_go(struct piece *p)
{
    if (!p->object) return;
    if (p->waiting) object_cancel_wait(p->object, &p->wait);
    p->waiting = false;
    if (p->joined) object_leave(p->object);
    p->joined = false;
    object_drop(&p->object);
}

/* False where it is not stored and its start has gone already, or cannot be read any more. */
static bool take(struct piece *p, struct object *o)
{
    bool fills = object_state(o) != OBJECT_COMPLETE;
    if (fills ? !object_join(o) : !object_is_readable_now(o)) return false;
    p->joined = fills;
    p->object = object_hold(o);
    return true;
}

/* It went on as another object: freshened by a 304, the stale one because the origin failed, or the
 * whole representation because the origin knows no ranges. */
static void follow(struct piece *p)
{
    struct object *o = object_hold(p->object->successor);
    let_go(p);
    take(p, o);
    bool validated = p->way == PIECE_FETCHED && o->key.slice;
    if (validated) p->way = PIECE_VALIDATED;
    object_drop(&o);
}

/* ---- waiting for its head ---- */

static void look_up(struct piece *p);

/* What the disk had of it is in the index now, unless memory is too short even for that. */
static void look_again(struct piece *p)
{
    let_go(p);
    if (p->lookups >= SHARE_LOOKUPS_MAX) return;
    p->settled = false;
    look_up(p);
}

/* Another's fetch has brought it, or failed. */
static void settle_joined(struct piece *p)
{
    const struct object *o = p->object;
    int error = o->error;
    bool replaced = object_state(o) == OBJECT_REPLACED;
    switch (share_judge(o, &p->from->route->cache, &p->request, p->from->edge->worker.wall_ms,
                        p->lookups, &p->arena)) {
    case SHARE_USE:
        if (replaced) follow(p);
        if (p->watch) p->watch->error = replaced ? error : 0;
        break;
    case SHARE_AGAIN:
        let_go(p);
        p->settled = false;
        look_up(p);
        break;
    case SHARE_ALONE: let_go(p); break;
    case SHARE_FAIL:
        p->error = error;
        let_go(p);
        break;
    }
}

static void settle_own(struct piece *p)
{
    switch (object_state(p->object)) {
    case OBJECT_REPLACED: follow(p); break;
    case OBJECT_FAILED:
        p->error = p->object->error;
        let_go(p);
        break;
    default: break;
    }
}

static void settle(struct piece *p)
{
    p->settled = true;
    if (object_state(p->object) == OBJECT_LOADED)
        look_again(p);
    else if (p->way == PIECE_JOINED)
        settle_joined(p);
    else
        settle_own(p);
}

static void on_head(struct wait *w)
{
    struct piece *p = container_of(w, struct piece, wait);
    p->waiting = false;
    settle(p);
    if (p->settled) p->ready(p);
}

static void wait_for(struct piece *p, struct object *o)
{
    p->settled = !take(p, o);
    if (p->settled) return;
    wait_init(&p->wait, p->from->scope, on_head);
    p->waiting = object_wait_head(o, &p->wait);
    if (!p->waiting) settle(p);
}

/* ---- asking ---- */

static void start(struct piece *p, enum miss_kind kind, struct object *o, struct object *base,
                  bool background)
{
    const struct piece_source *from = p->from;
    struct miss_order order = {
        .kind = kind,
        .keep_range = true,
        .config = from->config,
        .route = from->route,
        .request = &p->request,
        .peer = from->peer,
        .key = &p->key,
        .object = o,
        .base = base,
        .background = background,
    };
    miss_start(from->edge, &order, background ? NULL : p->watch);
}

static void use_stored(struct piece *p, struct object *o, enum piece_way way)
{
    p->way = way;
    p->settled = true;
    index_touch(index_of(p), o);
    take(p, o);
}

static void lead(struct piece *p, const struct lookup_result *found)
{
    p->way = PIECE_FETCHED;
    start(p, MISS_SHARED, found->pending, found->object, false);
    wait_for(p, found->pending);
}

/* In vain where only what is stored may answer. */
static void lead_or_not(struct piece *p, const struct lookup_result *found)
{
    if (!p->from->stored_only) {
        lead(p, found);
        return;
    }
    p->settled = true;
    index_release(index_of(p), found->pending, 0);
    object_fail(found->pending, -E_CANCELED);
}

static void load(struct piece *p, struct object *pending)
{
    struct edge *e = p->from->edge;
    load_start(index_of(p), &e->worker, pending, edge_load_ended, e);
    e->loads++;
    wait_for(p, pending);
}

static void refresh(struct piece *p, const struct lookup_result *found)
{
    bool whole = object_state(found->object) == OBJECT_COMPLETE;
    start(p, MISS_SHARED, found->pending, whole ? found->object : NULL, true);
}

static void look_up(struct piece *p)
{
    struct lookup_result found;
    p->lookups++;
    index_lookup(index_of(p), &p->key, &p->from->route->cache, &p->request,
                 p->from->edge->worker.wall_ms, &p->arena, &found);
    p->fwd = found.reload ? FWD_REQUEST : found.stale ? FWD_STALE : FWD_URI_MISS;
    if (found.refresh) refresh(p, &found);
    switch (found.verdict) {
    case LOOKUP_HIT: use_stored(p, found.object, PIECE_STORED); break;
    case LOOKUP_STALE: use_stored(p, found.object, PIECE_STALE); break;
    case LOOKUP_VALIDATE:
    case LOOKUP_LEAD: lead_or_not(p, &found); break;
    case LOOKUP_LOAD: load(p, found.pending); break;
    case LOOKUP_JOIN:
        p->way = PIECE_JOINED;
        wait_for(p, found.pending);
        break;
    case LOOKUP_PASS: p->settled = true; break;
    }
    object_drop(&found.object);
    object_drop(&found.pending);
}

/* What is in memory and may answer. */
static struct object *find_stored(struct piece *p)
{
    int64_t now_ms = p->from->edge->worker.wall_ms;
    struct object *o = index_peek(index_of(p), &p->key, &p->request, &p->arena);
    bool may =
        o && object_may_answer(o, &p->from->route->cache, &p->request, false, now_ms, &p->arena);
    if (!may) object_drop(&o);
    return o;
}

static bool disk_may_answer(struct piece *p)
{
    struct disk *disk = index_of(p)->disk;
    return disk && disk_has_unloaded(disk, &p->key);
}

static void look_up_stored(struct piece *p)
{
    struct object *o = find_stored(p);
    if (o)
        use_stored(p, o, PIECE_STORED);
    else if (disk_may_answer(p))
        look_up(p);
    else
        p->settled = true;
    object_drop(&o);
}

/* ---- the owner's calls ---- */

void piece_init(struct piece *p, const struct piece_source *from, struct miss_watch *watch,
                void (*ready)(struct piece *p), void *owner)
{
    *p = (struct piece){ .from = from, .watch = watch, .ready = ready, .owner = owner };
    arena_init(&p->arena, ARENA_CHUNK_BYTES);
}

void piece_close(struct piece *p)
{
    let_go(p);
    arena_free(&p->arena);
    p->asked = p->settled = false;
    p->error = 0;
}

static void prepare(struct piece *p, uint32_t n)
{
    piece_close(p);
    p->asked = true;
    p->n = n;
    key_slice(&p->from->key, n, &p->arena, &p->key);
    slices_ask(p->from->request, n, piece_slice_bytes(p->from->config), &p->arena, &p->request);
    if (!p->watch) return;
    miss_leave(p->watch);
    *p->watch = (struct miss_watch){ .exchange = p->watch->exchange };
}

void piece_get(struct piece *p, uint32_t n)
{
    prepare(p, n);
    p->lookups = 0;
    if (p->from->stored_only)
        look_up_stored(p);
    else
        look_up(p);
}

void piece_get_again(struct piece *p)
{
    index_remove(index_of(p), p->object);
    piece_get(p, p->n);
}

void piece_get_alone(struct piece *p)
{
    struct index *ix = index_of(p);
    prepare(p, p->n);
    p->way = PIECE_FETCHED;
    struct object *o =
        object_new(&p->key, &ix->budget, atomic_load(&ix->purge_seq), ix->window_bytes);
    start(p, MISS_PRIVATE, o, NULL, false);
    wait_for(p, o);
    object_drop(&o);
}

bool piece_is_stored(const struct piece_source *from, uint32_t n, const struct representation *of)
{
    struct piece p;
    struct representation told;
    piece_init(&p, from, NULL, NULL, NULL);
    prepare(&p, n);
    struct object *o = find_stored(&p);
    size_t slice_bytes = piece_slice_bytes(from->config);
    bool stored =
        o ? slices_read(&o->head, n, slice_bytes, &told) && representation_equal(&told, of)
          : disk_may_answer(&p);
    object_drop(&o);
    piece_close(&p);
    return stored;
}
