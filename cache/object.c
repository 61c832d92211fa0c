#include "cache/object.h"

#include <stdlib.h>

#include "cache/disk.h"
#include "cache/reader.h"
#include "cache/tags.h"
#include "edge/base/check.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/io/worker.h"

#define WINDOW_LEAST (64 * 1024) /* while the budget is exceeded */

/* ---- accounting ---- */

void budget_charge(struct budget *b, size_t bytes)
{
    atomic_fetch_add_explicit(&b->used_bytes, bytes, memory_order_relaxed);
    metric_add(METRIC_CACHE_BYTES, (int64_t)bytes);
}

void budget_refund(struct budget *b, size_t bytes)
{
    atomic_fetch_sub_explicit(&b->used_bytes, bytes, memory_order_relaxed);
    metric_add(METRIC_CACHE_BYTES, -(int64_t)bytes);
}

static void charge(struct object *o, size_t bytes)
{
    if (bytes) budget_charge(o->budget, bytes);
}

static void refund(struct object *o, size_t bytes)
{
    if (bytes) budget_refund(o->budget, bytes);
}

static size_t fixed_cost(const struct object *o)
{
    return block_cost(sizeof *o) + block_cost(sizeof *o->payload) + block_cost(o->key.text.n) +
           (o->head_memory ? block_cost(o->head_bytes) : 0);
}

/* ---- life ---- */

struct object *object_new(const struct key *key, struct budget *budget, uint64_t purge_seq,
                          size_t window_bytes)
{
    struct object *o = xcalloc(1, sizeof *o);
    atomic_init(&o->references, 1);
    o->budget = budget;
    o->key = *key;
    o->key.text = slice_of(xmalloc(key->text.n), key->text.n);
    memcpy((char *)o->key.text.p, key->text.p, key->text.n);
    o->key.target = SLICE_NONE;
    o->purge_seq = purge_seq;
    o->payload = payload_new();
    o->window_bytes = window_bytes;
    o->held_max_bytes = UINT64_MAX;
    pthread_mutex_init(&o->lock, NULL);
    list_init(&o->waits);
    list_init(&o->readers);
    charge(o, fixed_cost(o));
    metric_add(METRIC_OBJECTS_LIVE, 1);
    return o;
}

struct object *object_hold(struct object *o)
{
    atomic_fetch_add_explicit(&o->references, 1, memory_order_relaxed);
    return o;
}

void object_drop(struct object **drop)
{
    struct object *o = *drop;
    *drop = NULL;
    if (!o || atomic_fetch_sub_explicit(&o->references, 1, memory_order_acq_rel) != 1) return;
    CHECK(list_empty(&o->waits) && list_empty(&o->readers) && !o->room && !o->abandoned);
    refund(o, fixed_cost(o));
    refund(o, payload_drop(o->payload));
    struct disk_write *write = atomic_load(&o->write);
    disk_write_free(&write);
    object_drop(&o->successor);
    arena_free(&o->trailer_arena);
    pthread_mutex_destroy(&o->lock);
    free((char *)o->key.text.p);
    free(o->head_memory);
    free(o);
    metric_add(METRIC_OBJECTS_LIVE, -1);
}

size_t object_cost(struct object *o)
{
    return fixed_cost(o) + o->payload->cost_bytes;
}

/* ---- waits ---- */

static void run_wait(struct note *n)
{
    struct wait *w = container_of(n, struct wait, note);
    struct scope *scope = w->scope;
    if (!w->cancelled) w->ready(w);
    scope_leave(scope);
}

void wait_init(struct wait *w, struct scope *scope, void (*ready)(struct wait *))
{
    *w = (struct wait){ .note = { .run = run_wait }, .scope = scope, .ready = ready };
    list_init(&w->link);
}

void object_park_locked(struct object *o, struct wait *w)
{
    CHECK(!w->parked);
    w->parked = true;
    w->cancelled = false;
    list_append(&o->waits, &w->link);
    scope_enter(w->scope);
}

static void take_off_locked(struct wait *w)
{
    list_remove(&w->link);
    w->parked = false;
    worker_post(w->scope->worker, &w->note);
}

static void wake_all_locked(struct object *o)
{
    while (!list_empty(&o->waits)) take_off_locked(container_of(o->waits.next, struct wait, link));
}

/* The fill's waits are not on the list: they are woken by other causes than the readers'. */
static void wake_locked(struct wait **w)
{
    struct wait *waking = *w;
    *w = NULL;
    if (!waking) return;
    waking->parked = false;
    worker_post(waking->scope->worker, &waking->note);
}

void object_cancel_wait(struct object *o, struct wait *w)
{
    pthread_mutex_lock(&o->lock);
    bool was_parked = w->parked;
    if (was_parked) {
        list_remove(&w->link);
        if (o->room == w) o->room = NULL;
        if (o->abandoned == w) o->abandoned = NULL;
        w->parked = false;
    }
    pthread_mutex_unlock(&o->lock);
    if (was_parked)
        scope_leave(w->scope);
    else
        w->cancelled = true;
}

/* ---- the fill's side ---- */

static void set_state_locked(struct object *o, enum object_state state)
{
    atomic_store_explicit(&o->state, (int)state, memory_order_release);
}

/* All of the head in one piece: field array, then tags, vary and its key, then the field lines the
 * slices point into. */
static void copy_head(struct object *o, const struct response *head, struct slice vary,
                      struct slice vary_key)
{
    const struct fields *from = &head->fields;
    size_t lines = 0, array = from->n * sizeof *from->v;
    for (uint32_t i = 0; i < from->n; i++) lines += from->v[i].name.n + from->v[i].value.n + 4;
    uint64_t tags[TAGS_MAX];
    o->tag_count = tags_of(from, tags);
    size_t tag_bytes = o->tag_count * sizeof *tags;
    o->head_bytes = array + tag_bytes + vary.n + vary_key.n + lines;
    o->head_memory = xmalloc(o->head_bytes);
    struct field *v = (struct field *)o->head_memory;
    char *at = o->head_memory + array;
    o->tags = (const uint64_t *)at;
    at = mempcpy(at, tags, tag_bytes);
    o->vary = slice_of(at, vary.n);
    at = mempcpy(at, vary.p ? vary.p : "", vary.n);
    o->vary_key = slice_of(at, vary_key.n);
    at = mempcpy(at, vary_key.p ? vary_key.p : "", vary_key.n);
    o->head = *head;
    o->head.lines = slice_of(at, lines);
    for (uint32_t i = 0; i < from->n; i++) {
        const struct field *f = &from->v[i];
        v[i] = (struct field){ slice_of(at, f->name.n), slice_of(at + f->name.n + 2, f->value.n),
                               f->id };
        at = mempcpy(at, f->name.p, f->name.n);
        at = mempcpy(at, ": ", 2);
        at = mempcpy(at, f->value.p ? f->value.p : "", f->value.n);
        at = mempcpy(at, "\r\n", 2);
    }
    o->head.fields = (struct fields){ v, from->n, from->n };
    charge(o, block_cost(o->head_bytes));
}

void object_set_head(struct object *o, const struct response *head,
                     const struct freshness *freshness, struct slice vary, struct slice vary_key,
                     enum audience audience)
{
    copy_head(o, head, vary, vary_key);
    o->freshness = *freshness;
    o->audience = audience;
    pthread_mutex_lock(&o->lock);
    CHECK(object_state(o) == OBJECT_PENDING);
    o->retain = audience != AUDIENCE_ONE;
    set_state_locked(o, OBJECT_FILLING);
    wake_all_locked(o);
    pthread_mutex_unlock(&o->lock);
}

static bool waits_for_disk_locked(const struct object *o)
{
    return o->spilling && o->payload->end - o->payload->first >= o->spill_bytes;
}

static bool is_held_up_locked(const struct object *o)
{
    return !o->retain && o->payload->end - o->payload->first >= o->held_max_bytes;
}

/* With nobody reading, what is to be stored is fetched at full speed. */
static bool has_room_locked(const struct object *o)
{
    bool tight = atomic_load_explicit(&o->budget->used_bytes, memory_order_relaxed) >
                 atomic_load_explicit(&o->budget->limit_bytes, memory_order_relaxed);
    uint64_t window = tight && o->window_bytes > WINDOW_LEAST ? WINDOW_LEAST : o->window_bytes;
    if (waits_for_disk_locked(o)) return false;
    if (o->retain && o->reader_count == 0) return true;
    if (is_held_up_locked(o)) return false;
    return o->payload->end < o->wanted + window;
}

bool object_has_room(struct object *o, struct wait *room)
{
    pthread_mutex_lock(&o->lock);
    bool may = has_room_locked(o);
    if (!may) {
        CHECK(!o->room && !room->parked);
        room->parked = true;
        room->cancelled = false;
        o->room = room;
        scope_enter(room->scope);
    }
    pthread_mutex_unlock(&o->lock);
    return may;
}

void object_append(struct object *o, struct span *s)
{
    pthread_mutex_lock(&o->lock);
    charge(o, payload_append(o->payload, s));
    wake_all_locked(o);
    pthread_mutex_unlock(&o->lock);
}

/* What the slowest reader still needs, but for those who were left behind; whoever has joined may
 * yet begin at the start. */
static uint64_t slowest_locked(struct object *o)
{
    uint64_t at = UINT64_MAX;
    unsigned reading = 0;
    list_each (link, &o->readers) {
        const struct reader *r = container_of(link, struct reader, link);
        uint64_t its = atomic_load_explicit(&r->at, memory_order_relaxed);
        if (its < at && its >= o->left_behind) at = its;
        reading++;
    }
    return reading < o->reader_count ? o->payload->first : at;
}

static void trim_locked(struct object *o)
{
    struct payload *p = o->payload;
    uint64_t keep = slowest_locked(o);
    while (p->count && p->first + p->segments[0].n <= keep) {
        size_t before = p->cost_bytes;
        payload_drop_first(p);
        refund(o, before - p->cost_bytes);
    }
}

void object_stop_retaining(struct object *o, uint64_t held_max_bytes)
{
    pthread_mutex_lock(&o->lock);
    o->retain = o->spilling = false;
    o->held_max_bytes = held_max_bytes;
    trim_locked(o);
    if (o->reader_count == 0) wake_locked(&o->abandoned);
    if (has_room_locked(o)) wake_locked(&o->room);
    pthread_mutex_unlock(&o->lock);
}

bool object_is_held_up(struct object *o)
{
    pthread_mutex_lock(&o->lock);
    bool is = is_held_up_locked(o);
    pthread_mutex_unlock(&o->lock);
    return is;
}

bool object_leave_slow_readers(struct object *o)
{
    pthread_mutex_lock(&o->lock);
    uint64_t before = o->left_behind;
    bool held_up = is_held_up_locked(o), goes_on = false;
    if (held_up && o->wanted >= o->payload->end) {
        o->left_behind = o->wanted;
        trim_locked(o);
        goes_on = !is_held_up_locked(o);
    }
    if (goes_on)
        wake_locked(&o->room);
    else
        o->left_behind = before;
    pthread_mutex_unlock(&o->lock);
    return goes_on;
}

void object_set_trailers(struct object *o, const struct fields *trailers)
{
    struct arena *a = &o->trailer_arena;
    if (trailers->n) arena_init(a, 512);
    for (uint32_t i = 0; i < trailers->n; i++) {
        const struct field *f = &trailers->v[i];
        fields_add_named(&o->trailers, a, arena_copy(a, f->name), arena_copy(a, f->value));
    }
}

void object_complete(struct object *o, const struct fields *trailers)
{
    pthread_mutex_lock(&o->lock);
    if (trailers) object_set_trailers(o, trailers);
    o->ended = true;
    if (o->retain && !o->spilling) {
        refund(o, payload_compact(o->payload));
        set_state_locked(o, OBJECT_COMPLETE);
    }
    wake_all_locked(o);
    pthread_mutex_unlock(&o->lock);
}

void object_fail(struct object *o, int error)
{
    pthread_mutex_lock(&o->lock);
    if (object_state(o) != OBJECT_COMPLETE && !o->ended) {
        o->error = error;
        set_state_locked(o, OBJECT_FAILED);
        wake_all_locked(o);
    }
    pthread_mutex_unlock(&o->lock);
}

void object_replace(struct object *o, struct object *successor, int error)
{
    pthread_mutex_lock(&o->lock);
    CHECK(object_state(o) == OBJECT_PENDING);
    o->successor = object_hold(successor);
    o->error = error;
    set_state_locked(o, OBJECT_REPLACED);
    wake_all_locked(o);
    pthread_mutex_unlock(&o->lock);
}

void object_on_abandoned(struct object *o, struct wait *w)
{
    pthread_mutex_lock(&o->lock);
    scope_enter(w->scope);
    w->parked = true;
    w->cancelled = false;
    o->abandoned = w;
    if (o->reader_count == 0 && !o->retain) wake_locked(&o->abandoned);
    pthread_mutex_unlock(&o->lock);
}

bool object_is_wanted(struct object *o)
{
    pthread_mutex_lock(&o->lock);
    bool wanted = o->reader_count || o->retain;
    pthread_mutex_unlock(&o->lock);
    return wanted;
}

bool object_has_company(struct object *o)
{
    pthread_mutex_lock(&o->lock);
    bool has = o->reader_count > 1;
    pthread_mutex_unlock(&o->lock);
    return has;
}

bool object_has_readers(struct object *o)
{
    pthread_mutex_lock(&o->lock);
    bool has = o->reader_count > 0;
    pthread_mutex_unlock(&o->lock);
    return has;
}

/* ---- the other side ---- */

bool object_join(struct object *o)
{
    pthread_mutex_lock(&o->lock);
    bool whole = o->payload->first == 0 || (o->retain && payload_stored(o->payload));
    if (whole) o->reader_count++;
    pthread_mutex_unlock(&o->lock);
    return whole;
}

void object_leave(struct object *o)
{
    pthread_mutex_lock(&o->lock);
    CHECK(o->reader_count > 0);
    o->reader_count--;
    if (!o->retain && o->reader_count == 0) wake_locked(&o->abandoned);
    if (!o->retain && o->reader_count > 0) trim_locked(o); /* what only it still needed */
    if (has_room_locked(o)) wake_locked(&o->room);
    pthread_mutex_unlock(&o->lock);
}

bool object_selects(const struct object *o, const struct request *req, struct arena *arena)
{
    struct slice key;
    if (o->vary.n == 0) return true;
    return key_vary(o->vary, req, arena, &key) && slice_eq(key, o->vary_key);
}

bool object_may_answer(const struct object *o, const struct cache_policy *p,
                       const struct request *req, bool stands_in, int64_t now_ms,
                       struct arena *arena)
{
    return object_selects(o, req, arena) &&
           policy_may_use(p, req, o->audience, &o->freshness, stands_in, now_ms);
}

bool object_wait_head(struct object *o, struct wait *w)
{
    pthread_mutex_lock(&o->lock);
    bool pending = object_state(o) == OBJECT_PENDING;
    if (pending) object_park_locked(o, w);
    pthread_mutex_unlock(&o->lock);
    return pending;
}

void object_advance_locked(struct object *o, uint64_t offset)
{
    if (offset > o->wanted) o->wanted = offset;
    if (!o->retain) trim_locked(o);
    if (has_room_locked(o)) wake_locked(&o->room);
}

struct object *object_whole(const struct key *key, struct budget *budget, size_t window_bytes,
                            struct payload *payload, const struct response *head,
                            const struct freshness *freshness, struct slice vary,
                            struct slice vary_key, uint64_t purge_seq)
{
    struct object *o = object_new(key, budget, purge_seq, window_bytes);
    payload_drop(o->payload);
    o->payload = payload_hold(payload);
    o->audience = AUDIENCE_REUSE;
    copy_head(o, head, vary, vary_key);
    o->freshness = *freshness;
    o->retain = o->ended = true;
    set_state_locked(o, OBJECT_COMPLETE);
    return o;
}

struct object *object_with_payload(struct object *body, const struct response *head,
                                   const struct freshness *freshness, struct slice vary,
                                   struct slice vary_key, uint64_t purge_seq)
{
    CHECK(object_state(body) == OBJECT_COMPLETE);
    return object_whole(&body->key, body->budget, body->window_bytes, body->payload, head,
                        freshness, vary, vary_key, purge_seq);
}

void object_loaded(struct object *o)
{
    pthread_mutex_lock(&o->lock);
    CHECK(object_state(o) == OBJECT_PENDING);
    set_state_locked(o, OBJECT_LOADED);
    wake_all_locked(o);
    pthread_mutex_unlock(&o->lock);
}

/* ---- what writes it to the disk ---- */

void object_spill(struct object *o, size_t spill_bytes)
{
    pthread_mutex_lock(&o->lock);
    o->spill_bytes = spill_bytes;
    o->spilling = true;
    pthread_mutex_unlock(&o->lock);
}

bool object_is_spilling(struct object *o)
{
    pthread_mutex_lock(&o->lock);
    bool spilling = o->spilling;
    pthread_mutex_unlock(&o->lock);
    return spilling;
}

bool object_waits_for_disk(struct object *o)
{
    pthread_mutex_lock(&o->lock);
    bool waits = waits_for_disk_locked(o);
    pthread_mutex_unlock(&o->lock);
    return waits;
}

bool object_is_whole(struct object *o, uint64_t *end)
{
    pthread_mutex_lock(&o->lock);
    *end = o->payload->end;
    bool whole = o->ended;
    pthread_mutex_unlock(&o->lock);
    return whole;
}

bool object_copy(struct object *o, uint64_t from, size_t n, char *to)
{
    pthread_mutex_lock(&o->lock);
    const struct payload *p = o->payload;
    uint64_t at = p->first;
    bool there = from >= at;
    CHECK(from + n <= p->end);
    for (unsigned i = 0; there && n; at += p->segments[i++].n) {
        struct slice s = span_slice(&p->segments[i]);
        if (at + s.n <= from) continue;
        s = slice_skip(s, from - at);
        if (s.n > n) s.n = n;
        to = mempcpy(to, s.p, s.n);
        from += s.n, n -= s.n;
    }
    pthread_mutex_unlock(&o->lock);
    return there;
}

static void drop_written_locked(struct object *o, uint64_t end)
{
    struct payload *p = o->payload;
    while (p->count && p->first + p->segments[0].n <= end) {
        size_t before = p->cost_bytes;
        payload_drop_first(p);
        refund(o, before - p->cost_bytes);
    }
}

void object_written(struct object *o, struct directory *d, struct stored *s, uint64_t end)
{
    bool whole = end == UINT64_MAX;
    pthread_mutex_lock(&o->lock);
    if (o->spilling) {
        payload_set_stored(o->payload, d, s);
        drop_written_locked(o, end);
    }
    if (o->spilling && whole) {
        o->spilling = false;
        set_state_locked(o, OBJECT_COMPLETE);
        wake_all_locked(o);
    }
    if (has_room_locked(o)) wake_locked(&o->room);
    pthread_mutex_unlock(&o->lock);
}

bool object_is_readable(const struct object *o)
{
    if (object_state(o) != OBJECT_COMPLETE || payload_is_resident(o->payload)) return true;
    struct stored *s = payload_stored(o->payload);
    return s && stored_is_listed(s);
}

bool object_is_readable_now(const struct object *o)
{
    if (object_state(o) != OBJECT_COMPLETE || payload_is_resident(o->payload)) return true;
    struct stored *s = payload_stored(o->payload);
    return s && stored_is_listed(s) && !stored_is_silent(s) &&
           !disk_is_silent(container_of(o->payload->directory, struct disk, directory));
}

bool object_pin(const struct object *o)
{
    struct stored *s = payload_is_resident(o->payload) ? NULL : payload_stored(o->payload);
    return s && stored_pin(o->payload->directory, s);
}
