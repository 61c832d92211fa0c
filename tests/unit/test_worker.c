/* worker and scope: what runs when. What a worker finds wrong is a failed CHECK, since cmocka's
 * assertions belong to the thread that runs the tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/base/list.h"
#include "edge/io/worker.h"
#include "tests/unit/broken_rule.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct worker worker;

static void run_worker(void (*first)(struct worker *w))
{
    worker_init(&worker, 7);
    assert_int_equal(worker_start(&worker, -1, first), 0);
    worker_join(&worker);
}

/* ---- a worker's life ---- */

static bool ran;

static void look_around(struct worker *w)
{
    CHECK(w == &worker && worker_self() == w);
    CHECK(w->index == 7 && w->now_us > 0 && w->wall_ms > 0);
    ran = true;
    worker_stop(w);
}

static void test_starts_and_stops(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) { /* the same memory may start again */
        ran = false;
        run_worker(look_around);
        assert_true(ran);
    }
    assert_null(worker_self());
}

static void test_this_kernel_will_do(void **state)
{
    (void)state;
    assert_int_equal(worker_probe(), 0);
}

/* ---- notes of one's own ---- */

struct step {
    struct note note;
    int number;
};

static struct step steps[3];
static int order[16];
static unsigned ordered;
static bool inside;

static void record(int number)
{
    CHECK(ordered < COUNT(order));
    order[ordered++] = number;
}

static void later(struct note *n)
{
    CHECK(!inside);
    record(container_of(n, struct step, note)->number);
    worker_stop(&worker);
}

/* What it defers runs behind what was deferred before it, and not from inside. */
static void defer_another(struct note *n)
{
    inside = true;
    struct step *s = container_of(n, struct step, note);
    record(s->number);
    steps[2].note.run = later;
    worker_defer(&worker, &steps[2].note);
    inside = false;
}

static void record_step(struct note *n)
{
    CHECK(!inside);
    record(container_of(n, struct step, note)->number);
}

static void defer_from_start(struct worker *w)
{
    for (int i = 0; i < 3; i++) steps[i].number = i;
    steps[0].note.run = defer_another;
    steps[1].note.run = record_step;
    worker_defer(w, &steps[0].note);
    worker_post(w, &steps[1].note); /* to oneself it is the same */
    CHECK(ordered == 0);
}

static void test_deferred_notes_run_in_order(void **state)
{
    (void)state;
    ordered = 0;
    run_worker(defer_from_start);
    assert_int_equal(ordered, 3);
    for (int i = 0; i < 3; i++) assert_int_equal(order[i], i);
}

static struct worker driven; /* by hand, without a thread */

static void ignore(struct note *n)
{
    (void)n;
}

static void defer_twice(void)
{
    struct note note = { .run = ignore };
    worker_defer(&driven, &note);
    worker_defer(&driven, &note);
}

static void post_twice(void)
{
    struct note note = { .run = ignore };
    worker_post(&driven, &note);
    worker_post(&driven, &note);
}

static void defer_on_another(struct worker *w)
{
    struct note note = { .run = ignore };
    (void)w;
    worker_defer(&driven, &note);
}

static void defer_from_another_thread(void)
{
    run_worker(defer_on_another);
}

static void test_a_note_is_posted_once_and_by_its_worker(void **state)
{
    (void)state;
    worker_init(&driven, 0);
    assert_true(check_fires(defer_twice, "!n->posted"));
    assert_true(check_fires(post_twice, "!n->posted"));
    assert_true(check_fires(defer_from_another_thread, "self == w"));
    struct note note = { .run = ignore };
    for (int i = 0; i < 2; i++) { /* free again, once it has run */
        worker_defer(&driven, &note);
        worker_run_notes(&driven);
    }
}

static int64_t turn_us;
static unsigned chained;

/* The clock is read once per turn, so a chain within one turn sees it stand still. */
static void chain(struct note *n)
{
    CHECK(worker.now_us == turn_us);
    if (++chained == 100)
        worker_stop(&worker);
    else
        worker_defer(&worker, n);
}

static void begin_chain(struct timer *t)
{
    (void)t;
    turn_us = worker.now_us;
    steps[0].note.run = chain;
    worker_defer(&worker, &steps[0].note);
}

static void set_chain(struct worker *w)
{
    static struct timer timer;
    timer_init(&timer, begin_chain);
    timer_set(&w->wheel, &timer, 0);
}

static void test_what_is_deferred_runs_within_the_turn(void **state)
{
    (void)state;
    chained = 0;
    run_worker(set_chain);
    assert_int_equal(chained, 100);
}

/* What a turn deferred before it stopped the worker is run before the end. */
static void stop_first(struct worker *w)
{
    worker_stop(w);
    for (int i = 0; i < 2; i++) {
        steps[i] = (struct step){ { .run = record_step }, i };
        worker_defer(w, &steps[i].note);
    }
}

static void test_stopping_ends_after_the_turn(void **state)
{
    (void)state;
    ordered = 0;
    run_worker(stop_first);
    assert_int_equal(ordered, 2);
}

/* ---- notes from everywhere ---- */

enum { SENDERS = 4, LETTERS = 3000 };

struct letter {
    struct note note;
    unsigned sender, number;
};

static struct letter letters[SENDERS][LETTERS];
static unsigned next_of[SENDERS], arrived;

static void take_letter(struct note *n)
{
    struct letter *l = container_of(n, struct letter, note);
    CHECK(worker_self() == &worker);
    CHECK(l->number == next_of[l->sender]++);
    if (++arrived == SENDERS * LETTERS) worker_stop(&worker);
}

static void *send_letters(void *index)
{
    unsigned sender = *(unsigned *)index;
    for (unsigned i = 0; i < LETTERS; i++) {
        letters[sender][i] = (struct letter){ { .run = take_letter }, sender, i };
        worker_post(&worker, &letters[sender][i].note);
        if (i % 100 == 0) usleep(1); /* so that the receiver sleeps now and then */
    }
    return NULL;
}

static void nothing(struct worker *w)
{
    (void)w;
}

static void test_notes_come_in_the_order_of_each_sender(void **state)
{
    (void)state;
    pthread_t threads[SENDERS];
    unsigned index[SENDERS];
    memset(next_of, 0, sizeof next_of);
    arrived = 0;
    worker_init(&worker, 0);
    assert_int_equal(worker_start(&worker, -1, nothing), 0);
    for (unsigned i = 0; i < SENDERS; i++) {
        index[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, send_letters, &index[i]), 0);
    }
    for (unsigned i = 0; i < SENDERS; i++) pthread_join(threads[i], NULL);
    worker_join(&worker);
    assert_int_equal(arrived, SENDERS * LETTERS);
}

/* A note that goes to and fro between two workers, and at its end takes both down. */
struct ball {
    struct note note;
    struct worker *players;
    unsigned hits;
};

enum { HITS = 2001 };

static void stop_player(struct note *n)
{
    (void)n;
    worker_stop(worker_self());
}

static void hit(struct note *n)
{
    static struct note last = { .run = stop_player };
    struct ball *b = container_of(n, struct ball, note);
    CHECK(worker_self() == &b->players[b->hits % 2]);
    struct worker *other = &b->players[++b->hits % 2];
    if (b->hits < HITS) {
        worker_post(other, n);
        return;
    }
    worker_post(other, &last);
    worker_stop(worker_self());
}

static void test_workers_post_to_each_other(void **state)
{
    (void)state;
    struct worker players[2];
    struct ball ball = { .note.run = hit, .players = players };
    for (unsigned i = 0; i < 2; i++) {
        worker_init(&players[i], i);
        assert_int_equal(worker_start(&players[i], -1, nothing), 0);
    }
    worker_post(&players[0], &ball.note);
    for (unsigned i = 0; i < 2; i++) worker_join(&players[i]);
    assert_int_equal(ball.hits, HITS);
}

/* ---- timers ---- */

struct alarm {
    struct timer timer;
    int64_t due_ms;
    int number;
};

static struct alarm alarms[4];

static void on_alarm(struct timer *t)
{
    struct alarm *a = container_of(t, struct alarm, timer);
    CHECK(worker_now_ms(&worker) >= a->due_ms);
    record(a->number);
    if (a->number == 2) worker_stop(&worker);
}

/* Set out of order; the one that was cancelled would have come between them. */
static void set_alarms(struct worker *w)
{
    static const int after_ms[4] = { 100, 40, 160, 130 }, number[4] = { 1, 0, 2, 9 };
    for (int i = 0; i < 4; i++) {
        alarms[i].number = number[i];
        alarms[i].due_ms = worker_now_ms(w) + after_ms[i];
        timer_init(&alarms[i].timer, on_alarm);
        timer_set(&w->wheel, &alarms[i].timer, alarms[i].due_ms);
    }
    timer_cancel(&alarms[3].timer);
}

static void test_timers_fire_in_order_and_not_early(void **state)
{
    (void)state;
    ordered = 0;
    run_worker(set_alarms);
    assert_int_equal(ordered, 3);
    for (int i = 0; i < 3; i++) assert_int_equal(order[i], i);
}

/* ---- ops ---- */

static struct {
    struct op op;
    struct scope scope;
    int ends[2];
    char bytes[8];
    int result;
    unsigned idles;
} reading;

static void on_reading_idle(struct scope *s)
{
    CHECK(s == &reading.scope && s->pending == 0 && !reading.op.armed);
    reading.idles++;
    worker_stop(&worker);
}

static void on_read(struct op *op, const struct op_result *r)
{
    CHECK(op == &reading.op && !op->armed && reading.idles == 0);
    CHECK(reading.scope.pending == 1); /* it holds its scope until it has been called */
    reading.result = r->result;
    if (!reading.scope.closing) scope_close(&reading.scope);
}

static void begin_reading(struct worker *w)
{
    scope_init(&reading.scope, w, on_reading_idle);
    op_init(&reading.op, &reading.scope, on_read);
    op_read(w, &reading.op, reading.ends[0], reading.bytes, sizeof reading.bytes);
    CHECK(reading.op.armed && reading.scope.pending == 1);
}

static void run_reading(void (*first)(struct worker *w))
{
    memset(&reading, 0, sizeof reading);
    assert_int_equal(pipe(reading.ends), 0);
    assert_int_equal(write(reading.ends[1], "abc", 3), 3);
    run_worker(first);
    close(reading.ends[0]);
    close(reading.ends[1]);
    assert_int_equal(reading.idles, 1);
}

static void test_an_op_holds_its_scope(void **state)
{
    (void)state;
    run_reading(begin_reading);
    assert_int_equal(reading.result, 3);
    assert_memory_equal(reading.bytes, "abc", 3);
}

static void cancel_reading(struct note *n)
{
    (void)n;
    op_cancel(&worker, &reading.op);
    scope_close(&reading.scope);
    CHECK(reading.idles == 0);
}

static void begin_and_cancel(struct worker *w)
{
    char had[3];
    static struct note note = { .run = cancel_reading };
    CHECK(read(reading.ends[0], had, sizeof had) == 3); /* nothing will ever come */
    begin_reading(w);
    worker_defer(w, &note);
}

static void test_a_cancelled_op_still_completes(void **state)
{
    (void)state;
    run_reading(begin_and_cancel);
    assert_true(reading.result < 0);
}

/* More than the ring's queue takes before it is handed to the kernel. */
enum { OPS = 5000 };

static struct {
    struct op ops[OPS];
    char bytes[OPS];
    struct scope scope;
    int fd;
    unsigned done;
} crowd;

static void on_crowd_idle(struct scope *s)
{
    (void)s;
    worker_stop(&worker);
}

static void on_crowd_read(struct op *op, const struct op_result *r)
{
    CHECK(r->result == 1 && crowd.bytes[op - crowd.ops] == 0);
    crowd.done++;
}

static void begin_crowd(struct worker *w)
{
    scope_init(&crowd.scope, w, on_crowd_idle);
    memset(crowd.bytes, 1, sizeof crowd.bytes);
    for (int i = 0; i < OPS; i++) {
        op_init(&crowd.ops[i], &crowd.scope, on_crowd_read);
        op_read(w, &crowd.ops[i], crowd.fd, &crowd.bytes[i], 1);
    }
    scope_close(&crowd.scope);
}

static void test_more_ops_than_the_ring_has_places(void **state)
{
    (void)state;
    crowd.done = 0;
    crowd.fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_true(crowd.fd >= 0);
    run_worker(begin_crowd);
    close(crowd.fd);
    assert_int_equal(crowd.done, OPS);
}

/* ---- scopes ---- */

static struct scope scope;
static unsigned idles;
static struct note leave_note;

static void on_idle(struct scope *s)
{
    CHECK(s->pending == 0 && !inside && idles == 0);
    idles++;
    worker_stop(&worker);
}

static void close_empty(struct worker *w)
{
    scope_init(&scope, w, on_idle);
    inside = true;
    scope_close(&scope);
    CHECK(idles == 0);
    inside = false;
}

static void test_an_empty_scope_is_idle_when_closed(void **state)
{
    (void)state;
    idles = 0;
    run_worker(close_empty);
    assert_int_equal(idles, 1);
}

/* Its last holder leaves, and enters again before idle could run, which then has to wait. */
static void leave_again(struct note *n)
{
    (void)n;
    CHECK(idles == 0);
    scope_leave(&scope);
}

static void leave_and_enter(struct worker *w)
{
    scope_init(&scope, w, on_idle);
    scope_enter(&scope);
    scope_enter(&scope);
    scope_leave(&scope);
    scope_close(&scope);
    leave_note = (struct note){ .run = leave_again };
    worker_defer(w, &leave_note);
    for (int i = 0; i < 3; i++) { /* idle is on its way from the first time on */
        scope_leave(&scope);
        scope_enter(&scope);
    }
}

static void test_idle_comes_once_and_only_when_all_have_left(void **state)
{
    (void)state;
    idles = 0;
    inside = false;
    run_worker(leave_and_enter);
    assert_int_equal(idles, 1);
}

static void stop_instead(struct note *n)
{
    (void)n;
    worker_stop(&worker);
}

/* Nobody asked for idle. */
static void leave_open(struct worker *w)
{
    scope_init(&scope, w, on_idle);
    scope_enter(&scope);
    scope_leave(&scope);
    leave_note = (struct note){ .run = stop_instead };
    worker_defer(w, &leave_note);
}

static void test_an_open_scope_is_never_idle(void **state)
{
    (void)state;
    idles = 0;
    run_worker(leave_open);
    assert_int_equal(idles, 0);
}

/* ---- blocks ---- */

/* What is held elsewhere does not go back to the pool; what is not does, up to a limit. */
static void use_blocks(struct worker *w)
{
    struct block *b = worker_block(w), *held = block_hold(b), *other = block_new(100);
    CHECK(b->size_bytes == WORKER_BLOCK_BYTES && other);
    worker_block_put(w, &b);
    CHECK(!b && w->free_block_count == 0 && block_sole(held));
    worker_block_put(w, &held);
    worker_block_put(w, &other);
    worker_block_put(w, &other);
    CHECK(w->free_block_count == 1);
    struct block *many[WORKER_BLOCKS_KEPT + 5];
    for (size_t i = 0; i < COUNT(many); i++) many[i] = worker_block(w);
    CHECK(w->free_block_count == 0);
    for (size_t i = 0; i < COUNT(many); i++) worker_block_put(w, &many[i]);
    CHECK(w->free_block_count == WORKER_BLOCKS_KEPT);
    worker_stop(w);
}

static void test_blocks_go_back_to_the_pool(void **state)
{
    (void)state;
    run_worker(use_blocks);
    assert_int_equal(worker.free_block_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starts_and_stops),
        cmocka_unit_test(test_this_kernel_will_do),
        cmocka_unit_test(test_deferred_notes_run_in_order),
        cmocka_unit_test(test_a_note_is_posted_once_and_by_its_worker),
        cmocka_unit_test(test_what_is_deferred_runs_within_the_turn),
        cmocka_unit_test(test_stopping_ends_after_the_turn),
        cmocka_unit_test(test_notes_come_in_the_order_of_each_sender),
        cmocka_unit_test(test_workers_post_to_each_other),
        cmocka_unit_test(test_timers_fire_in_order_and_not_early),
        cmocka_unit_test(test_an_op_holds_its_scope),
        cmocka_unit_test(test_a_cancelled_op_still_completes),
        cmocka_unit_test(test_more_ops_than_the_ring_has_places),
        cmocka_unit_test(test_an_empty_scope_is_idle_when_closed),
        cmocka_unit_test(test_idle_comes_once_and_only_when_all_have_left),
        cmocka_unit_test(test_an_open_scope_is_never_idle),
        cmocka_unit_test(test_blocks_go_back_to_the_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
