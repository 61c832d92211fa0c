/* object and reader. What is posted to a worker that has no thread lies in its mailbox until the
 * test runs it, so that a random schedule decides about that as well; the last test has real ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cache/object.h"
#include "cache/reader.h"
#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/metrics.h"
#include "edge/io/worker.h"

#define CONTENT_BYTES (512 * 1024)
#define KIB           1024

static struct worker worker;
static struct scope scope;
static struct budget budget;
static char content[CONTENT_BYTES];
static uint64_t seed;
static const struct freshness fresh = { .lifetime_ms = 1000 };
static const struct key key = { .hash = 1, .text = { "a key", 5 }, .target = { "/", 1 } };

static uint32_t random_below(uint32_t n) /* LCG, high bits */
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % n);
}

static void never_idle(struct scope *s)
{
    (void)s;
    fail_msg("the scope was never closed");
}

static int start(void **state)
{
    (void)state;
    for (size_t i = 0; i < CONTENT_BYTES; i++) content[i] = (char)random_below(256);
    worker_init(&worker, 0);
    scope_init(&scope, &worker, never_idle);
    atomic_store(&budget.limit_bytes, (size_t)1 << 40);
    return 0;
}

static void assert_nothing_left(void)
{
    assert_int_equal(scope.pending, 0);
    assert_int_equal(budget.used_bytes, 0);
    assert_int_equal(metric_sum(METRIC_CACHE_BYTES), 0);
    assert_int_equal(metric_sum(METRIC_OBJECTS_LIVE), 0);
    assert_int_equal(metric_sum(METRIC_READERS_LIVE), 0);
}

static struct object *new_object(size_t window_bytes, bool retain)
{
    struct response head = { .status = 200, .length = LENGTH_UNKNOWN };
    struct object *o = object_new(&key, &budget, 1, window_bytes);
    object_set_head(o, &head, &fresh, SLICE_NONE, SLICE_NONE,
                    retain ? AUDIENCE_REUSE : AUDIENCE_ONE);
    return o;
}

/* The content's next n bytes, in a block with some slack. */
static void append(struct object *o, size_t n)
{
    struct span s = { block_new(n + random_below(2000)), 0, (uint32_t)n };
    memcpy(s.block->data, content + o->payload->end, n);
    object_append(o, &s);
    assert_null(s.block);
}

/* ---- waits that count ---- */

struct counted {
    struct wait wait; /* first */
    unsigned called;
};

static void count(struct wait *w)
{
    ((struct counted *)w)->called++;
}

static void counted_init(struct counted *c)
{
    c->called = 0;
    wait_init(&c->wait, &scope, count);
}

/* ---- readers that compare ---- */

struct client {
    struct reader reader;
    bool open, owed, ended;
    bool settling; /* closed, but its note may still be on its way: not to be used again */
    uint64_t at, end;
    unsigned trailers; /* at END */
};

static void on_ready(struct body *b)
{
    struct client *c = b->puller;
    assert_true(c->open && c->owed);
    c->owed = false;
}

static void open_client(struct client *c, struct object *o, uint64_t first, uint64_t end)
{
    *c = (struct client){ .open = true, .at = first, .end = end };
    reader_open(&c->reader, o, &scope, first, end);
    c->reader.body.ready = on_ready;
    c->reader.body.puller = c;
}

static void close_client(struct client *c)
{
    struct body *b = &c->reader.body;
    c->open = false;
    c->settling = true;
    body_close(&b);
}

static enum body_result pull(struct client *c)
{
    struct span s = { 0 };
    assert_true(c->open && !c->owed && !c->ended);
    enum body_result result = body_pull(&c->reader.body, &s);
    if (result == BODY_DATA) {
        assert_true(s.n > 0 && c->at + s.n <= c->end && c->at + s.n <= CONTENT_BYTES);
        assert_memory_equal(span_slice(&s).p, content + c->at, s.n);
        c->at += s.n;
    } else {
        assert_null(s.block);
    }
    if (result == BODY_END && c->reader.body.trailers) c->trailers = c->reader.body.trailers->n;
    c->owed = result == BODY_WAIT;
    c->ended = result == BODY_END || result == BODY_FAIL;
    span_release(&s);
    return result;
}

static enum body_result pull_all(struct client *c)
{
    enum body_result result;
    while ((result = pull(c)) == BODY_DATA) {
    }
    return result;
}

/* ---- a random schedule ---- */

#define CLIENTS 6

/* The fill's side: what object is asked to do, and what may be expected of it. */
struct scene {
    struct object *object;
    struct client clients[CLIENTS];
    struct wait room, abandoned;
    uint64_t length, wanted, held_max; /* of the body; furthest reader; see held_max_bytes */
    bool retain, room_owed, given_up;
    bool complete, failed;
    unsigned joined; /* that are no readers */
};

static struct scene scene;

static unsigned open_clients(void)
{
    unsigned n = 0;
    for (int i = 0; i < CLIENTS; i++) n += scene.clients[i].open;
    return n;
}

static bool is_over(void)
{
    return scene.complete || scene.failed;
}

/* As fill does at its end. */
static void end_waits(void)
{
    object_cancel_wait(scene.object, &scene.room);
    object_cancel_wait(scene.object, &scene.abandoned);
    scene.room_owed = false;
}

static void fail_scene(void)
{
    end_waits();
    object_fail(scene.object, -E_ORIGIN_RESET);
    scene.failed = true;
}

static void on_room(struct wait *w)
{
    assert_ptr_equal(w, &scene.room);
    assert_true(scene.room_owed);
    scene.room_owed = false;
}

static void on_abandoned(struct wait *w)
{
    assert_false(scene.retain || is_over());
    assert_int_equal(object_is_wanted(scene.object), open_clients() + scene.joined > 0);
    if (object_is_wanted(scene.object))
        object_on_abandoned(scene.object, w);
    else
        fail_scene();
}

static void open_scene(uint64_t number)
{
    static const size_t windows[] = { 1, 1000, 20 * KIB, 100 * KIB, 1 << 30 };
    seed = number;
    memset(&scene, 0, sizeof scene);
    scene.retain = random_below(2);
    scene.held_max = UINT64_MAX;
    scene.length = random_below(4) ? random_below(CONTENT_BYTES / 2) : 0;
    scene.object = new_object(windows[random_below(5)], scene.retain);
    wait_init(&scene.room, &scope, on_room);
    wait_init(&scene.abandoned, &scope, on_abandoned);
    /* Without the first one, what is not stored would be given up at once. */
    assert_true(object_join(scene.object));
    scene.joined = 1;
    object_on_abandoned(scene.object, &scene.abandoned);
}

static bool expect_room(void)
{
    const struct payload *p = scene.object->payload;
    if (scene.retain && scene.joined + open_clients() == 0) return true;
    if (!scene.retain && p->end - p->first >= scene.held_max) return false;
    return p->end < scene.wanted + scene.object->window_bytes;
}

static void complete_scene(void)
{
    struct field line = { SLICE("X-Sum"), SLICE("12345"), FIELD_OTHER };
    struct fields trailers = { &line, 1, 1 };
    end_waits();
    object_complete(scene.object, &trailers);
    memset(&line, 0, sizeof line); /* it was copied */
    scene.complete = true;
    assert_int_equal(object_state(scene.object) == OBJECT_COMPLETE, scene.retain);
}

static bool produce(void)
{
    if (is_over() || scene.room_owed) return false;
    bool expected = expect_room(), room = object_has_room(scene.object, &scene.room);
    assert_int_equal(room, expected);
    scene.room_owed = !room;
    if (!room) return false;
    uint64_t left = scene.length - scene.object->payload->end;
    if (left == 0) {
        complete_scene();
        return true;
    }
    uint32_t n = 1 + random_below(random_below(2) ? 900 : 20000);
    append(scene.object, n < left ? n : left);
    return true;
}

static void deliver(void)
{
    worker_run_notes(&worker);
    for (int i = 0; i < CLIENTS; i++) scene.clients[i].settling = false;
}

/* Whoever joins while the start is there gets everything, also when it begins to read later. */
static bool join(void)
{
    bool joined = object_join(scene.object);
    assert_int_equal(joined, scene.object->payload->first == 0);
    return joined;
}

static void enter(struct client *c)
{
    if (scene.joined && random_below(2))
        scene.joined--;
    else if (!join())
        return;
    uint32_t first = random_below(2) ? 0 : random_below((uint32_t)scene.length + 1);
    uint32_t n = random_below((uint32_t)scene.length - first + 1);
    open_client(c, scene.object, first, random_below(2) ? UINT64_MAX : first + n);
    object_leave(scene.object);
    if (object_state(scene.object) != OBJECT_COMPLETE && first > scene.wanted) scene.wanted = first;
}

static bool read_some(struct client *c)
{
    if (!c->open || c->owed || c->ended) return false;
    enum body_result result = pull(c);
    uint64_t whole = c->end < scene.length ? c->end : scene.length;
    if (c->at > scene.wanted) scene.wanted = c->at;
    if (result == BODY_END) {
        assert_int_equal(c->at, whole);
        assert_true(c->at == c->end || scene.complete);
        assert_int_equal(c->trailers, c->end == UINT64_MAX);
    } else if (result == BODY_FAIL) {
        assert_true(scene.failed && c->at >= scene.object->payload->end);
        assert_int_equal(c->reader.body.error, -E_ORIGIN_RESET);
    } else {
        assert_true(result == BODY_DATA || !is_over());
    }
    return true;
}

static void stop_retaining(void)
{
    if (!scene.retain || is_over()) return;
    scene.retain = false;
    scene.held_max = random_below(2) ? UINT64_MAX : random_below(200 * KIB) + 1;
    object_stop_retaining(scene.object, scene.held_max);
}

static void come_or_go(struct client *c)
{
    if (!c->open && !c->settling)
        enter(c);
    else if (c->open && random_below(4) == 0)
        close_client(c);
}

static void join_or_leave(void)
{
    if (random_below(2) && join()) {
        scene.joined++;
    } else if (scene.joined) {
        scene.joined--;
        object_leave(scene.object);
    }
}

static void step(void)
{
    struct client *c = &scene.clients[random_below(CLIENTS)];
    switch (random_below(10)) {
    case 0:
    case 1:
    case 2: produce(); break;
    case 3:
    case 4:
    case 5: read_some(c); break;
    case 6: come_or_go(c); break;
    case 7: deliver(); break;
    case 8: join_or_leave(); break;
    default:
        if (random_below(40) == 0) stop_retaining();
        if (random_below(100) == 0 && !is_over()) fail_scene();
    }
}

/* Reads on to the end, and then lets go. */
static bool finish_client(struct client *c)
{
    if (!c->open || !c->ended) return read_some(c);
    close_client(c);
    return true;
}

/* Everybody who is still there goes on as fast as possible: nobody may be left waiting. */
static void finish_scene(void)
{
    while (scene.joined) scene.joined--, object_leave(scene.object);
    for (bool moved = true; moved;) {
        deliver();
        moved = produce();
        for (int i = 0; i < CLIENTS; i++) moved |= finish_client(&scene.clients[i]);
    }
    assert_true(is_over() && open_clients() == 0);
}

static void test_every_reader_gets_the_right_bytes(void **state)
{
    (void)state;
    for (uint64_t number = 1; number <= 1500; number++) {
        open_scene(number);
        for (unsigned steps = random_below(2000); steps > 0; steps--) step();
        finish_scene();
        object_drop(&scene.object);
        worker_run_notes(&worker); /* those that were cancelled on their way */
        assert_nothing_left();
    }
}

/* ---- room ---- */

static void test_room_is_what_readers_need(void **state)
{
    (void)state;
    struct counted room;
    struct client a;
    struct object *o = new_object(1000, true);
    counted_init(&room);
    append(o, 5000);
    assert_true(object_has_room(o, &room.wait)); /* stored, nobody reads: at full speed */
    open_client(&a, o, 0, UINT64_MAX);
    assert_false(object_has_room(o, &room.wait));
    assert_int_equal(pull(&a), BODY_DATA); /* all there is */
    append(o, 10);
    worker_run_notes(&worker);
    assert_int_equal(room.called, 1);
    assert_true(object_has_room(o, &room.wait));
    append(o, 5000);
    assert_false(object_has_room(o, &room.wait));
    close_client(&a); /* the last one */
    worker_run_notes(&worker);
    assert_int_equal(room.called, 2);
    object_drop(&o);
    assert_nothing_left();
}

static void test_the_window_shrinks_while_memory_is_tight(void **state)
{
    (void)state;
    struct counted room;
    struct client a;
    struct object *o = new_object(1 << 20, true);
    counted_init(&room);
    open_client(&a, o, 0, UINT64_MAX);
    append(o, 100 * KIB);
    assert_true(object_has_room(o, &room.wait));
    size_t limit = atomic_exchange(&budget.limit_bytes, 100 * KIB);
    assert_false(object_has_room(o, &room.wait));
    while (a.at < 40 * KIB) assert_int_equal(pull(&a), BODY_DATA);
    worker_run_notes(&worker);
    assert_int_equal(room.called, 1);
    atomic_store(&budget.limit_bytes, limit);
    close_client(&a);
    object_drop(&o);
    assert_nothing_left();
}

/* Two readers of what is not stored: the slow one may hold so much and no more, and when it goes,
 * the other goes on. */
static void test_a_slow_reader_holds_so_much(void **state)
{
    (void)state;
    struct counted room;
    struct client slow, fast;
    struct object *o = new_object(1 << 20, true);
    counted_init(&room);
    open_client(&slow, o, 0, UINT64_MAX);
    open_client(&fast, o, 0, UINT64_MAX);
    object_stop_retaining(o, 20000);
    append(o, 15000);
    assert_int_equal(pull_all(&fast), BODY_WAIT);
    assert_true(object_has_room(o, &room.wait));
    append(o, 15000);
    worker_run_notes(&worker);
    assert_int_equal(pull_all(&fast), BODY_WAIT);
    assert_false(object_has_room(o, &room.wait));
    assert_int_equal(o->payload->first, 0);
    close_client(&slow);
    worker_run_notes(&worker);
    assert_int_equal(room.called, 1);
    assert_int_equal(o->payload->first, 30000);
    close_client(&fast);
    object_drop(&o);
    assert_nothing_left();
}

static void test_a_slow_reader_is_left_behind_by_a_faster_one_only(void **state)
{
    (void)state;
    struct client slow, fast;
    struct object *o = new_object(1 << 20, true);
    open_client(&slow, o, 0, UINT64_MAX);
    open_client(&fast, o, 0, UINT64_MAX);
    assert_false(object_leave_slow_readers(o)); /* retained: nobody waits for anybody */
    object_stop_retaining(o, 20000);
    append(o, 10000);
    assert_int_equal(pull_all(&fast), BODY_WAIT);
    assert_false(object_is_held_up(o) || object_leave_slow_readers(o));
    append(o, 15000);
    worker_run_notes(&worker);
    assert_true(object_is_held_up(o));
    assert_false(object_leave_slow_readers(o)); /* the fastest has not read all that there is */
    assert_int_equal(pull_all(&fast), BODY_WAIT);
    assert_true(object_join(o));
    assert_false(object_leave_slow_readers(o)); /* who has joined may begin at the start */
    object_leave(o);
    assert_int_equal(o->payload->first, 0);
    assert_true(object_leave_slow_readers(o));
    assert_int_equal(o->payload->first, 25000);
    assert_int_equal(pull(&slow), BODY_FAIL);
    assert_int_equal(slow.reader.body.error, -E_CLIENT_SLOW);
    append(o, 5000);
    worker_run_notes(&worker);
    assert_int_equal(pull_all(&fast), BODY_WAIT);
    assert_int_equal(o->payload->first, 30000); /* who was left behind holds nothing any more */
    close_client(&slow);
    close_client(&fast);
    object_drop(&o);
    assert_nothing_left();
}

/* ---- who comes too late ---- */

static void test_what_has_gone_is_never_an_end(void **state)
{
    (void)state;
    struct client first, late;
    struct object *o = new_object(1000, false);
    open_client(&first, o, 0, UINT64_MAX);
    append(o, 3000);
    assert_int_equal(pull_all(&first), BODY_WAIT);
    assert_false(object_join(o));
    assert_true(object_has_readers(o));
    open_client(&late, o, 0, UINT64_MAX);
    assert_int_equal(pull(&late), BODY_FAIL);
    assert_int_equal(late.reader.body.error, -E_RESPONSE_INCOMPLETE);
    close_client(&late);
    close_client(&first);
    assert_false(object_has_readers(o));
    object_drop(&o);
    assert_nothing_left();
}

/* ---- abandoned ---- */

static void test_abandoned_is_told_once(void **state)
{
    (void)state;
    struct counted gone;
    counted_init(&gone);
    struct object *o = new_object(1000, true);
    object_on_abandoned(o, &gone.wait);
    assert_true(object_join(o));
    object_leave(o);
    worker_run_notes(&worker);
    assert_int_equal(gone.called, 0); /* it is to be stored */
    assert_true(object_is_wanted(o));
    assert_true(object_join(o));
    object_stop_retaining(o, UINT64_MAX);
    assert_true(object_join(o));
    object_leave(o);
    worker_run_notes(&worker);
    assert_int_equal(gone.called, 0);
    object_leave(o);
    assert_true(object_join(o)); /* comes back, but it is on its way */
    object_leave(o);
    worker_run_notes(&worker);
    assert_int_equal(gone.called, 1);
    assert_false(object_is_wanted(o));
    object_on_abandoned(o, &gone.wait); /* so already */
    worker_run_notes(&worker);
    assert_int_equal(gone.called, 2);
    object_drop(&o);
    assert_nothing_left();
}

/* ---- parked requests ---- */

#define PARKED 5

static void test_the_head_wakes_everybody_once(void **state)
{
    (void)state;
    struct response head = { .status = 200, .length = LENGTH_NONE };
    struct counted parked[PARKED];
    struct object *o = object_new(&key, &budget, 1, 1000);
    for (int i = 0; i < PARKED; i++) {
        counted_init(&parked[i]);
        assert_true(object_wait_head(o, &parked[i].wait));
    }
    assert_int_equal(scope.pending, PARKED);
    object_cancel_wait(o, &parked[0].wait);
    assert_int_equal(scope.pending, PARKED - 1);
    object_set_head(o, &head, &fresh, SLICE_NONE, SLICE_NONE, AUDIENCE_REUSE);
    object_cancel_wait(o, &parked[1].wait);         /* its note is on its way */
    assert_int_equal(parked[PARKED - 1].called, 0); /* never from inside */
    worker_run_notes(&worker);
    for (int i = 0; i < PARKED; i++) assert_int_equal(parked[i].called, i >= 2);
    assert_false(object_wait_head(o, &parked[0].wait));
    object_complete(o, NULL);
    worker_run_notes(&worker);
    for (int i = 0; i < PARKED; i++) assert_int_equal(parked[i].called, i >= 2);
    object_drop(&o);
    assert_nothing_left();
}

static void test_a_failure_before_the_head_wakes(void **state)
{
    (void)state;
    struct counted parked;
    struct object *o = object_new(&key, &budget, 1, 1000);
    counted_init(&parked);
    assert_true(object_wait_head(o, &parked.wait));
    object_fail(o, -E_CONNECT_TIMEOUT);
    worker_run_notes(&worker);
    assert_int_equal(parked.called, 1);
    assert_int_equal(object_state(o), OBJECT_FAILED);
    assert_int_equal(o->error, -E_CONNECT_TIMEOUT);
    object_drop(&o);
    assert_nothing_left();
}

static void test_a_whole_object_cannot_fail(void **state)
{
    (void)state;
    for (int retain = 0; retain < 2; retain++) {
        struct client c;
        struct object *o = new_object(100000, retain);
        open_client(&c, o, 0, UINT64_MAX);
        append(o, 5000);
        object_complete(o, NULL);
        object_fail(o, -E_ORIGIN_RESET);
        assert_int_equal(pull_all(&c), BODY_END);
        assert_int_equal(c.at, 5000);
        close_client(&c);
        object_drop(&o);
    }
    assert_nothing_left();
}

static void test_replaced_leads_to_the_successor(void **state)
{
    (void)state;
    struct counted parked;
    struct object *old = new_object(1000, true), *next = object_new(&key, &budget, 1, 1000);
    append(old, 3000);
    object_complete(old, NULL);
    counted_init(&parked);
    assert_true(object_wait_head(next, &parked.wait));
    object_replace(next, old, 0);
    struct object *successor = old;
    object_drop(&old); /* next still holds it */
    worker_run_notes(&worker);
    assert_int_equal(parked.called, 1);
    assert_int_equal(object_state(next), OBJECT_REPLACED);
    assert_ptr_equal(next->successor, successor);
    assert_int_equal(next->successor->payload->end, 3000);
    object_drop(&next);
    assert_nothing_left();
}

/* ---- heads and generations ---- */

static struct response some_head(struct arena *a)
{
    struct response head = { .status = 203, .length = 3000 };
    fields_add_named(&head.fields, a, arena_copy(a, SLICE("Server")), arena_copy(a, SLICE("x")));
    fields_add_named(&head.fields, a, arena_copy(a, SLICE("cache-tag")),
                     arena_copy(a, SLICE("one, two")));
    fields_add_named(&head.fields, a, arena_copy(a, SLICE("Empty")), SLICE(""));
    return head;
}

static void check_some_head(const struct object *o)
{
    const struct fields *f = &o->head.fields;
    assert_int_equal(o->head.status, 203);
    assert_int_equal(o->head.length, 3000);
    assert_int_equal(f->n, 3);
    assert_true(slice_eq(f->v[0].name, SLICE("Server")) && slice_eq(f->v[0].value, SLICE("x")));
    assert_true(slice_eq(fields_value(f, FIELD_CACHE_TAG), SLICE("one, two")));
    assert_true(slice_eq(f->v[2].name, SLICE("Empty")) && f->v[2].value.n == 0);
    assert_true(slice_eq(o->head.lines, SLICE("Server: x\r\ncache-tag: one, two\r\nEmpty: \r\n")));
    assert_int_equal(o->tag_count, 2);
    assert_true(o->tags[0] == key_hash(SLICE("one")) && o->tags[1] == key_hash(SLICE("two")));
    assert_true(slice_eq(o->vary, SLICE("Accept")) && slice_eq(o->vary_key, SLICE("6text/*")));
}

static void test_the_head_is_copied(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1024);
    struct object *o = object_new(&key, &budget, 1, 1000);
    struct response head = some_head(&a);
    struct slice vary = arena_copy(&a, SLICE("Accept"));
    object_set_head(o, &head, &fresh, vary, arena_copy(&a, SLICE("6text/*")), AUDIENCE_REUSE);
    memset((char *)vary.p, 'x', vary.n);
    arena_free(&a);
    check_some_head(o);
    assert_int_equal(o->freshness.lifetime_ms, fresh.lifetime_ms);
    assert_true(slice_eq(o->key.text, key.text) && o->key.text.p != key.text.p);
    object_drop(&o);
    assert_nothing_left();
}

static void test_generations_share_bytes(void **state)
{
    (void)state;
    struct arena a;
    struct client c;
    arena_init(&a, 1024);
    struct object *old = new_object(1000, true);
    append(old, 100 * KIB);
    object_complete(old, NULL);
    size_t before = budget.used_bytes, cost = object_cost(old);
    assert_int_equal(before, cost);
    struct response head = some_head(&a);
    struct object *new =
        object_with_payload(old, &head, &fresh, SLICE("Accept"), SLICE("6text/*"), 7);
    arena_free(&a);
    check_some_head(new);
    assert_int_equal(object_state(new), OBJECT_COMPLETE);
    assert_int_equal(new->purge_seq, 7);
    assert_ptr_equal(new->payload, old->payload);
    assert_true(budget.used_bytes - before < 4 * KIB); /* not the bytes again */
    object_drop(&old);
    assert_int_equal(budget.used_bytes, object_cost(new));
    open_client(&c, new, 10, 100 * KIB - 10);
    assert_int_equal(pull_all(&c), BODY_END);
    assert_int_equal(c.at, 100 * KIB - 10);
    close_client(&c);
    object_drop(&new);
    assert_nothing_left();
}

/* ---- threads ---- */

#define CREW    8 /* readers of each worker */
#define WORKERS 2

/* cmocka's assertions belong to the thread that runs the tests; here CHECK stands for them. */
struct crew {
    struct worker worker; /* first */
    struct scope scope;
    struct member {
        struct reader reader;
        uint64_t at, leave_at;
    } members[CREW];
    unsigned reading;
};

static struct {
    struct worker worker; /* first */
    struct scope scope;
    struct wait room;
    struct object *object;
} filler;

static struct crew crews[WORKERS];

static void stop_worker(struct scope *s)
{
    worker_stop(s->worker);
}

static void leave_crew(struct crew *c, struct member *m)
{
    struct body *b = &m->reader.body;
    body_close(&b);
    if (--c->reading == 0) scope_close(&c->scope);
}

static void read_on(struct body *b)
{
    struct crew *c = (struct crew *)worker_self();
    struct member *m = b->puller;
    enum body_result result = BODY_DATA;
    while (result == BODY_DATA && m->at < m->leave_at) {
        struct span s = { 0 };
        result = body_pull(b, &s);
        if (result != BODY_DATA) break;
        CHECK(memcmp(content + m->at, span_slice(&s).p, s.n) == 0);
        m->at += s.n;
        span_release(&s);
    }
    CHECK(result != BODY_FAIL);
    CHECK(result != BODY_END || m->at == CONTENT_BYTES);
    if (result != BODY_WAIT) leave_crew(c, m);
}

static void start_crew(struct worker *w)
{
    struct crew *c = (struct crew *)w;
    scope_init(&c->scope, w, stop_worker);
    c->reading = CREW;
    for (unsigned i = 0; i < CREW; i++) {
        struct member *m = &c->members[i];
        m->at = 0;
        m->leave_at = i % 3 ? UINT64_MAX : CONTENT_BYTES / CREW * i;
        CHECK(object_join(filler.object));
        reader_open(&m->reader, filler.object, &c->scope, 0, UINT64_MAX);
        object_leave(filler.object);
        m->reader.body.ready = read_on;
        m->reader.body.puller = m;
    }
    for (unsigned i = 0; i < CREW; i++) read_on(&c->members[i].reader.body);
}

static void fill_on(struct wait *room)
{
    struct object *o = filler.object;
    while (object_has_room(o, room)) {
        uint64_t left = CONTENT_BYTES - o->payload->end;
        if (left == 0) {
            object_complete(o, NULL);
            scope_close(&filler.scope);
            return;
        }
        append(o, left < 700 ? left : 1 + random_below(700));
    }
}

static void start_filler(struct worker *w)
{
    scope_init(&filler.scope, w, stop_worker);
    wait_init(&filler.room, &filler.scope, fill_on);
    fill_on(&filler.room);
}

/* Nobody sleeps for good, and everybody's bytes are right. */
static void test_readers_of_several_workers(void **state)
{
    (void)state;
    for (int retain = 0; retain < 2; retain++) {
        filler.object = new_object(8 * KIB, retain);
        assert_true(object_join(filler.object)); /* the start stays until all have joined */
        for (unsigned i = 0; i < WORKERS; i++) {
            worker_init(&crews[i].worker, i);
            assert_int_equal(worker_start(&crews[i].worker, -1, start_crew), 0);
        }
        object_leave(filler.object);
        worker_init(&filler.worker, WORKERS);
        assert_int_equal(worker_start(&filler.worker, -1, start_filler), 0);
        for (unsigned i = 0; i < WORKERS; i++) worker_join(&crews[i].worker);
        worker_join(&filler.worker);
        object_drop(&filler.object);
        assert_nothing_left();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_reader_gets_the_right_bytes),
        cmocka_unit_test(test_room_is_what_readers_need),
        cmocka_unit_test(test_the_window_shrinks_while_memory_is_tight),
        cmocka_unit_test(test_a_slow_reader_holds_so_much),
        cmocka_unit_test(test_a_slow_reader_is_left_behind_by_a_faster_one_only),
        cmocka_unit_test(test_what_has_gone_is_never_an_end),
        cmocka_unit_test(test_abandoned_is_told_once),
        cmocka_unit_test(test_the_head_wakes_everybody_once),
        cmocka_unit_test(test_a_failure_before_the_head_wakes),
        cmocka_unit_test(test_a_whole_object_cannot_fail),
        cmocka_unit_test(test_replaced_leads_to_the_successor),
        cmocka_unit_test(test_the_head_is_copied),
        cmocka_unit_test(test_generations_share_bytes),
        cmocka_unit_test(test_readers_of_several_workers),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
