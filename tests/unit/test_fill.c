/* fill: a scripted body flows into an object, and every reader compares what it gets. The worker
 * has no thread: what is posted to it lies in its mailbox until the test runs it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cache/fill.h"
#include "cache/reader.h"
#include "edge/base/error.h"
#include "edge/base/metrics.h"
#include "edge/io/worker.h"

#define CONTENT_BYTES (64 * 1024)
#define WINDOW_BYTES  10000
#define PIECE_BYTES   2000
#define OBJECT_MAX    20000
#define ENDLESS_MS    500

static struct worker worker;
static struct scope scope;
static struct index ix;
static struct arena arena;
static char content[CONTENT_BYTES];
static const struct key key = { .hash = 1, .text = { "a key", 5 }, .target = { "/", 1 } };

static void never_idle(struct scope *s)
{
    (void)s;
    fail_msg("the scope was never closed");
}

/* ---- the body: a letter for each pull, then its end ---- */

struct script {
    struct body body; /* first */
    const char *at;   /* d: a piece; w: wait; e: end; f: fail; with d*: pieces for ever */
    uint64_t sent;
    unsigned pulls;
    bool waiting, closed;
    struct fields trailers;
};

static enum body_result send_piece(struct script *s, struct span *out)
{
    assert_true(s->sent + PIECE_BYTES <= CONTENT_BYTES);
    *out = (struct span){ block_new(PIECE_BYTES), 0, PIECE_BYTES };
    memcpy(out->block->data, content + s->sent, PIECE_BYTES);
    s->sent += PIECE_BYTES;
    return BODY_DATA;
}

static enum body_result pull_script(struct body *b, struct span *out)
{
    struct script *s = (struct script *)b;
    assert_false(s->waiting || s->closed);
    s->pulls++;
    switch (*s->at) {
    case 'd': s->at += s->at[1] == '*' ? 0 : 1; return send_piece(s, out);
    case 'w':
        s->at++;
        s->waiting = true;
        return BODY_WAIT;
    case 'e':
        s->at = "";
        if (s->trailers.n) b->trailers = &s->trailers;
        return BODY_END;
    case 'f':
        s->at = "";
        b->error = -E_ORIGIN_RESET;
        return BODY_FAIL;
    default: fail_msg("pulled after its end"); return BODY_FAIL;
    }
}

static void close_script(struct body *b)
{
    struct script *s = (struct script *)b;
    assert_false(s->closed);
    s->closed = true;
}

static const struct body_ops script_ops = { .pull = pull_script, .close = close_script };

static void script_ready(struct script *s)
{
    assert_true(s->waiting);
    s->waiting = false;
    s->body.ready(&s->body);
}

/* ---- what reads ---- */

struct client {
    struct reader reader;
    uint64_t at;
};

static void on_ready(struct body *b)
{
    (void)b;
}

static void open_client(struct client *c, struct object *o)
{
    *c = (struct client){ 0 };
    reader_open(&c->reader, o, &scope, 0, UINT64_MAX);
    c->reader.body.ready = on_ready;
}

static enum body_result read_piece(struct client *c)
{
    struct span s = { 0 };
    enum body_result result = body_pull(&c->reader.body, &s);
    if (result == BODY_DATA) {
        assert_true(c->at + s.n <= CONTENT_BYTES);
        assert_memory_equal(span_slice(&s).p, content + c->at, s.n);
        c->at += s.n;
    }
    span_release(&s);
    return result;
}

static enum body_result read_all(struct client *c)
{
    enum body_result result;
    while ((result = read_piece(c)) == BODY_DATA) worker_run_notes(&worker);
    return result;
}

static void close_client(struct client *c)
{
    struct body *b = &c->reader.body;
    body_close(&b);
}

/* ---- the scene ---- */

static struct scene {
    struct fill fill;
    struct script script;
    struct object *object;
    unsigned ended;
    int error;
} scene;

static void on_ended(struct fill *f, int error)
{
    assert_ptr_equal(f, &scene.fill);
    assert_true(scene.script.closed);
    assert_null(f->object);
    scene.ended++;
    scene.error = error;
}

static int open_scene(void **state)
{
    (void)state;
    for (size_t i = 0; i < CONTENT_BYTES; i++) content[i] = (char)(i * 31 + i / 256);
    arena_init(&arena, 1024);
    worker_init(&worker, 0);
    scope_init(&scope, &worker, never_idle);
    index_init(&ix, (size_t)1 << 30, 4, WINDOW_BYTES);
    scene = (struct scene){ .script.body.ops = &script_ops };
    return 0;
}

/* Nothing is in flight, nothing is held, nothing is charged. */
static int close_scene(void **state)
{
    (void)state;
    worker_run_notes(&worker);
    object_drop(&scene.object);
    index_free(&ix);
    arena_free(&arena);
    bool clean = scope.pending == 0 && ix.budget.used_bytes == 0 && scene.ended == 1 &&
                 metric_sum(METRIC_FILLS_LIVE) == 0 && metric_sum(METRIC_OBJECTS_LIVE) == 0 &&
                 metric_sum(METRIC_READERS_LIVE) == 0;
    return clean ? 0 : -1;
}

/* A stored one is published with its head, as for a response that may be shared at once. */
static void begin(const char *script, bool stored)
{
    struct response head = { .status = 200, .length = LENGTH_UNKNOWN };
    struct freshness fresh = { .lifetime_ms = 60000 };
    scene.script.at = script;
    scene.object = object_new(&key, &ix.budget, ix.purge_seq, WINDOW_BYTES);
    object_set_head(scene.object, &head, &fresh, SLICE_NONE, SLICE_NONE,
                    stored ? AUDIENCE_REUSE : AUDIENCE_ONE);
    if (stored) assert_true(index_publish(&ix, scene.object));
}

static const struct fill_limits limits = { .object_max_bytes = OBJECT_MAX,
                                           .endless_ms = ENDLESS_MS,
                                           .pass_ms = 1000 };

static void start(bool stored)
{
    fill_start(&scene.fill, &ix, scene.object, stored, false, &scene.script.body, &limits, &scope,
               on_ended);
}

static bool is_in_index(void)
{
    struct request req = { .method = METHOD_GET };
    struct object *o = index_peek(&ix, &key, &req, &arena);
    bool there = o == scene.object;
    object_drop(&o);
    return there;
}

static void expect_end(int error)
{
    assert_int_equal(scene.ended, 1);
    assert_int_equal(scene.error, error);
    assert_true(scene.script.closed);
}

/* ---- tests ---- */

static void test_stored_at_full_speed(void **state)
{
    (void)state;
    struct client c;
    begin("ddddddddde", true); /* more than the window, and nobody reads */
    start(true);
    expect_end(0);
    assert_true(scene.fill.stored && is_in_index());
    assert_int_equal(object_state(scene.object), OBJECT_COMPLETE);
    open_client(&c, scene.object);
    assert_int_equal(read_all(&c), BODY_END);
    assert_int_equal(c.at, 9 * PIECE_BYTES);
    close_client(&c);
}

static void test_waiting_goes_on(void **state)
{
    (void)state;
    struct client c;
    begin("wdwdde", true);
    start(true);
    open_client(&c, scene.object);
    assert_int_equal(read_all(&c), BODY_WAIT);
    assert_int_equal(scene.script.pulls, 1);
    script_ready(&scene.script);
    worker_run_notes(&worker);
    assert_int_equal(read_all(&c), BODY_WAIT);
    assert_int_equal(c.at, PIECE_BYTES);
    assert_int_equal(scene.ended, 0);
    script_ready(&scene.script);
    worker_run_notes(&worker);
    assert_int_equal(read_all(&c), BODY_END);
    assert_int_equal(c.at, 3 * PIECE_BYTES);
    expect_end(0);
    close_client(&c);
}

static void test_an_empty_body_is_whole(void **state)
{
    (void)state;
    begin("e", true);
    start(true);
    expect_end(0);
    assert_int_equal(object_state(scene.object), OBJECT_COMPLETE);
    assert_int_equal(scene.object->payload->end, 0);
}

static void test_trailers_reach_the_reader(void **state)
{
    (void)state;
    struct client c;
    begin("de", true);
    fields_add_named(&scene.script.trailers, &arena, SLICE("X-Sum"), SLICE("12"));
    start(true);
    expect_end(0);
    open_client(&c, scene.object);
    assert_int_equal(read_all(&c), BODY_END);
    const struct field *sum = fields_get_named(c.reader.body.trailers, SLICE("X-Sum"));
    assert_non_null(sum);
    assert_true(slice_eq(sum->value, SLICE("12")));
    close_client(&c);
}

static void test_failing_fails_the_readers(void **state)
{
    (void)state;
    struct client c;
    begin("ddwf", true);
    start(true);
    open_client(&c, scene.object);
    assert_int_equal(read_all(&c), BODY_WAIT);
    assert_true(is_in_index());
    script_ready(&scene.script);
    worker_run_notes(&worker);
    expect_end(-E_ORIGIN_RESET);
    assert_false(is_in_index());
    assert_int_equal(read_all(&c), BODY_FAIL);
    assert_int_equal(c.at, 2 * PIECE_BYTES);
    assert_int_equal(c.reader.body.error, -E_ORIGIN_RESET);
    close_client(&c);
    object_drop(&scene.object);
    assert_int_equal(ix.budget.used_bytes, 0); /* nor does the index hold it */
}

static void test_abort_ends_it_once(void **state)
{
    (void)state;
    begin("dw", true);
    start(true);
    fill_abort(&scene.fill, -E_BETWEEN_BYTES_TIMEOUT);
    expect_end(-E_BETWEEN_BYTES_TIMEOUT);
    fill_abort(&scene.fill, -E_ORIGIN_RESET);
    expect_end(-E_BETWEEN_BYTES_TIMEOUT);
    assert_false(is_in_index());
    assert_int_equal(object_state(scene.object), OBJECT_FAILED);
}

static void test_too_large_is_read_but_not_stored(void **state)
{
    (void)state;
    struct client fast, slow;
    begin("dddddddddddddddddddde", true); /* twice what may be stored */
    open_client(&fast, scene.object);
    open_client(&slow, scene.object);
    start(true);
    enum body_result one, other = BODY_WAIT;
    while ((one = read_piece(&fast)) >= BODY_DATA && one != BODY_END) {
        if (one == BODY_WAIT) other = read_piece(&slow);
        worker_run_notes(&worker);
    }
    assert_int_equal(one, BODY_END);
    while (other != BODY_END) {
        assert_true(other != BODY_FAIL);
        other = read_piece(&slow);
        worker_run_notes(&worker);
    }
    assert_int_equal(fast.at, 20 * PIECE_BYTES);
    assert_int_equal(slow.at, 20 * PIECE_BYTES);
    expect_end(0);
    assert_false(scene.fill.stored || is_in_index());
    assert_int_equal(scene.object->payload->count, 0); /* all have it */
    close_client(&fast);
    close_client(&slow);
}

static void test_exactly_what_may_be_stored(void **state)
{
    (void)state;
    begin("dddddddddde", true);
    start(true);
    expect_end(0);
    assert_int_equal(scene.object->payload->end, OBJECT_MAX);
    assert_true(scene.fill.stored && is_in_index());
}

static void pass_time(int64_t ms)
{
    worker.now_us += ms * 1000;
    wheel_advance(&worker.wheel, worker_now_ms(&worker));
    worker_run_notes(&worker);
}

/* Only what is waited for the body counts. */
static void test_what_does_not_end_is_not_stored(void **state)
{
    (void)state;
    struct client c;
    begin("dwdwdwdwe", true);
    open_client(&c, scene.object);
    start(true);
    pass_time(ENDLESS_MS - 100);
    script_ready(&scene.script);
    pass_time(50);
    assert_true(scene.fill.stored && is_in_index());
    script_ready(&scene.script); /* waits for the third time */
    pass_time(100);
    assert_false(scene.fill.stored || is_in_index());
    assert_true(index_passes(&ix, &key, worker.wall_ms));
    assert_int_equal(metric_sum(METRIC_CACHE_ENDLESS), 1);
    script_ready(&scene.script);
    pass_time(ENDLESS_MS);
    script_ready(&scene.script);
    assert_int_equal(read_all(&c), BODY_END);
    assert_int_equal(c.at, 4 * PIECE_BYTES);
    expect_end(0);
    close_client(&c);
}

static void test_what_does_not_end_ends_where_nobody_reads(void **state)
{
    (void)state;
    begin("dw", true);
    start(true);
    pass_time(ENDLESS_MS + 10);
    expect_end(-E_CANCELED);
    assert_false(is_in_index());
}

/* The fast one has waited long enough for the slow one. */
static void test_a_slow_reader_is_left_behind(void **state)
{
    (void)state;
    struct client slow, fast;
    ix.object_memory_max_bytes = 4 * PIECE_BYTES;
    begin("dddddddddddddddddddde", true);
    open_client(&slow, scene.object);
    open_client(&fast, scene.object);
    assert_int_equal(read_piece(&slow), BODY_WAIT);
    start(true);
    worker_run_notes(&worker);
    assert_int_equal(read_all(&fast), BODY_WAIT);
    assert_true(object_is_held_up(scene.object));
    pass_time(5000);
    assert_int_equal(read_all(&fast), BODY_END);
    assert_int_equal(fast.at, 20 * PIECE_BYTES);
    assert_int_equal(read_piece(&slow), BODY_FAIL);
    assert_int_equal(slow.reader.body.error, -E_CLIENT_SLOW);
    expect_end(0);
    close_client(&fast);
    close_client(&slow);
}

/* Nobody reads and it may not be stored: there is nothing to fetch it for. */
static void test_too_large_for_nobody_is_given_up(void **state)
{
    (void)state;
    begin("d*", true);
    start(true);
    worker_run_notes(&worker);
    expect_end(-E_CANCELED);
    assert_false(is_in_index());
    assert_true(scene.script.sent <= OBJECT_MAX + PIECE_BYTES + WINDOW_BYTES);
}

/* Over the budget with nothing to evict: the same as too large. */
static void test_no_memory_is_read_but_not_stored(void **state)
{
    (void)state;
    struct client c;
    begin("ddddde", true);
    open_client(&c, scene.object);
    ix.budget.limit_bytes = 3 * PIECE_BYTES;
    start(true);
    worker_run_notes(&worker);
    assert_int_equal(read_all(&c), BODY_END);
    assert_int_equal(c.at, 5 * PIECE_BYTES);
    expect_end(0);
    assert_false(scene.fill.stored || is_in_index());
    close_client(&c);
}

static void test_room_is_the_pace(void **state)
{
    (void)state;
    struct client c;
    begin("d*", false);
    open_client(&c, scene.object);
    start(false);
    assert_int_equal(scene.script.sent, WINDOW_BYTES);
    unsigned pulls = scene.script.pulls;
    worker_run_notes(&worker);
    assert_int_equal(scene.script.pulls, pulls);
    for (int i = 1; i < 10; i++) {
        assert_int_equal(read_piece(&c), BODY_DATA);
        worker_run_notes(&worker);
        assert_int_equal(scene.script.sent, WINDOW_BYTES + c.at);
    }
    fill_abort(&scene.fill, -E_CANCELED);
    close_client(&c);
    expect_end(-E_CANCELED);
}

static void check_abandoned(const char *script)
{
    struct client c;
    begin(script, false);
    open_client(&c, scene.object);
    start(false);
    assert_int_equal(read_piece(&c), BODY_DATA);
    worker_run_notes(&worker);
    assert_int_equal(scene.ended, 0);
    close_client(&c);
    worker_run_notes(&worker);
    expect_end(-E_CANCELED);
    assert_int_equal(object_state(scene.object), OBJECT_FAILED);
}

static void test_abandoned_while_the_body_waits(void **state)
{
    (void)state;
    check_abandoned("dw");
}

static void test_abandoned_while_there_is_no_room(void **state)
{
    (void)state;
    check_abandoned("d*");
}

static void test_stored_goes_on_without_readers(void **state)
{
    (void)state;
    struct client c;
    begin("dwde", true);
    open_client(&c, scene.object);
    start(true);
    close_client(&c);
    worker_run_notes(&worker);
    assert_int_equal(scene.ended, 0);
    script_ready(&scene.script);
    expect_end(0);
    assert_true(is_in_index());
}

/* The last one has gone, but the next has come before the fill heard of it. */
static void test_who_comes_back_in_time_is_served(void **state)
{
    (void)state;
    struct client first, second;
    begin("wde", false);
    open_client(&first, scene.object);
    start(false);
    close_client(&first);
    assert_true(object_join(scene.object));
    open_client(&second, scene.object);
    object_leave(scene.object);
    worker_run_notes(&worker);
    assert_int_equal(scene.ended, 0);
    script_ready(&scene.script);
    assert_int_equal(read_all(&second), BODY_END);
    assert_int_equal(second.at, PIECE_BYTES);
    expect_end(0);
    close_client(&second);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_scene, close_scene)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stored_at_full_speed),
        TEST(test_waiting_goes_on),
        TEST(test_an_empty_body_is_whole),
        TEST(test_trailers_reach_the_reader),
        TEST(test_failing_fails_the_readers),
        TEST(test_abort_ends_it_once),
        TEST(test_too_large_is_read_but_not_stored),
        TEST(test_what_does_not_end_is_not_stored),
        TEST(test_what_does_not_end_ends_where_nobody_reads),
        TEST(test_a_slow_reader_is_left_behind),
        TEST(test_exactly_what_may_be_stored),
        TEST(test_too_large_for_nobody_is_given_up),
        TEST(test_no_memory_is_read_but_not_stored),
        TEST(test_room_is_the_pace),
        TEST(test_abandoned_while_the_body_waits),
        TEST(test_abandoned_while_there_is_no_room),
        TEST(test_stored_goes_on_without_readers),
        TEST(test_who_comes_back_in_time_is_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
