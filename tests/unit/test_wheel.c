#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "edge/base/wheel.h"

#define DAY_MS (24 * 3600 * 1000ll)

/* ---- against a model: an array of deadlines ---- */

#define TIMERS 200

struct model {
    struct timer timer;
    bool armed;
    int64_t deadline_ms;
};

static struct wheel wheel;
static struct model models[TIMERS];
static int64_t now;
static uint64_t random_state;
static unsigned fired;

static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

/* Mostly near, now and then up to twice the wheel's horizon, sometimes in the past. */
static int64_t random_span_ms(void)
{
    uint64_t bits = random_below(34);
    return (int64_t)random_below((1ull << bits) + 1) - (int64_t)random_below(20);
}

static uint64_t tick_of(int64_t ms)
{
    return ms <= wheel.start_ms
               ? 0
               : (uint64_t)(ms - wheel.start_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;
}

static void model_set(struct model *m, int64_t deadline_ms)
{
    m->armed = true;
    m->deadline_ms = deadline_ms;
    timer_set(&wheel, &m->timer, deadline_ms);
}

static void model_cancel(struct model *m)
{
    m->armed = false;
    timer_cancel(&m->timer);
}

static void random_operation(void)
{
    struct model *m = &models[random_below(TIMERS)];
    switch (random_below(4)) {
    case 0: model_cancel(m); break;
    case 1: model_set(m, m->armed ? m->deadline_ms + random_span_ms() : now + 1); break;
    default: model_set(m, now + random_span_ms()); break;
    }
}

static void on_fire(struct timer *t)
{
    struct model *m = container_of(t, struct model, timer);
    assert_true(m->armed);
    assert_false(timer_armed(t));
    assert_true(m->deadline_ms <= now);
    m->armed = false;
    fired++;
    for (uint64_t i = random_below(4); i; i--) random_operation();
}

static size_t count_armed(void)
{
    size_t count = 0;
    for (unsigned i = 0; i < TIMERS; i++) {
        assert_int_equal(timer_armed(&models[i].timer), models[i].armed);
        count += models[i].armed;
    }
    return count;
}

/* Nothing that was due by the last tick stays behind, but what fire callbacks set for a time that
 * had passed. */
static void check_nothing_late(void)
{
    uint64_t tick = (uint64_t)(now - wheel.start_ms) / WHEEL_TICK_MS;
    for (unsigned i = 0; i < TIMERS; i++) {
        if (models[i].armed && tick_of(models[i].deadline_ms) <= tick) {
            assert_int_equal(wheel_next_ms(&wheel), 0);
        }
    }
}

/* The wait is never longer than to the first deadline's tick. */
static void check_next(void)
{
    uint64_t first = UINT64_MAX;
    for (unsigned i = 0; i < TIMERS; i++) {
        if (models[i].armed && tick_of(models[i].deadline_ms) < first)
            first = tick_of(models[i].deadline_ms);
    }
    int64_t wait_ms = wheel_next_ms(&wheel);
    if (first == UINT64_MAX) {
        assert_int_equal(wait_ms, -1);
        return;
    }
    int64_t until_ms = wheel.start_ms + (int64_t)first * WHEEL_TICK_MS - now;
    assert_true(wait_ms >= 0);
    assert_true(wait_ms <= (until_ms > 0 ? until_ms : 0));
}

static void advance_by(int64_t ms)
{
    now += ms;
    wheel_advance(&wheel, now);
    check_nothing_late();
}

static void run_model(uint64_t seed, int64_t start_ms)
{
    random_state = seed;
    now = start_ms;
    fired = 0;
    wheel_init(&wheel, now);
    for (unsigned i = 0; i < TIMERS; i++) {
        models[i] = (struct model){ 0 };
        timer_init(&models[i].timer, on_fire);
    }
    for (unsigned step = 0; step < 4000; step++) {
        for (uint64_t i = random_below(8); i; i--) random_operation();
        check_next();
        /* Either as the loop does, or a jump of any size. */
        int64_t wait_ms = wheel_next_ms(&wheel);
        bool jump = wait_ms < 0 || random_below(3) == 0;
        advance_by(jump ? (int64_t)random_below(1ull << random_below(36)) : wait_ms);
        assert_int_equal(wheel.live, count_armed());
    }
    assert_true(fired > 1000);
}

static void test_model(void **state)
{
    (void)state;
    run_model(0x9e3779b97f4a7c15, 0);
    run_model(42, 1);
    run_model(7, 1234567891);
    run_model(99, -5000);
    run_model(3, INT64_MAX / 4);
}

/* ---- single properties ---- */

static unsigned count_fired;

static void on_count(struct timer *t)
{
    (void)t;
    count_fired++;
}

static void start(struct timer *t, void (*fire)(struct timer *t))
{
    count_fired = 0;
    wheel_init(&wheel, 1000);
    timer_init(t, fire);
}

/* Waits as the loop does until the timer fires: how many turns did it take, and when was it? */
static unsigned turns_until_fired(int64_t *at_ms)
{
    unsigned turns = 0;
    for (*at_ms = 1000; wheel_next_ms(&wheel) >= 0 && !count_fired; turns++) {
        assert_true(turns < 1000);
        *at_ms += wheel_next_ms(&wheel);
        wheel_advance(&wheel, *at_ms);
    }
    return turns;
}

static void test_every_distance_fires_in_time(void **state)
{
    (void)state;
    struct timer t;
    for (int64_t ms = 1; ms < 400 * DAY_MS; ms += 1 + ms / 7) {
        start(&t, on_count);
        timer_set(&wheel, &t, 1000 + ms);
        int64_t at_ms;
        unsigned turns = turns_until_fired(&at_ms);
        assert_int_equal(count_fired, 1);
        assert_in_range(at_ms, 1000 + ms, 1000 + ms + WHEEL_TICK_MS - 1);
        /* One turn for each level, and for each horizon that lies in between. */
        assert_in_range(turns, 1, WHEEL_LEVELS + 1 + ms / (40 * DAY_MS) * WHEEL_LEVELS);
    }
}

static void test_never_is_a_deadline(void **state)
{
    (void)state;
    struct timer t;
    start(&t, on_count);
    timer_set(&wheel, &t, INT64_MAX);
    wheel_advance(&wheel, 1000 + 100000 * DAY_MS);
    assert_int_equal(count_fired, 0);
    assert_true(wheel_next_ms(&wheel) > DAY_MS);
    timer_cancel(&t);
    assert_int_equal(wheel_next_ms(&wheel), -1);
}

static void test_the_clock_may_not_go_back(void **state)
{
    (void)state;
    struct timer t;
    start(&t, on_count);
    wheel_advance(&wheel, 2000);
    timer_set(&wheel, &t, 1500);
    wheel_advance(&wheel, 1200);
    assert_int_equal(count_fired, 1);
    assert_int_equal(wheel.now_ms, 2000);
}

static void test_pushing_out_moves_nothing(void **state)
{
    (void)state;
    struct timer t;
    start(&t, on_count);
    timer_set(&wheel, &t, 1100);
    unsigned slot = t.slot;
    for (int64_t ms = 1101; ms < 20000; ms++) timer_set(&wheel, &t, ms);
    assert_int_equal(t.slot, slot);
    wheel_advance(&wheel, 19000);
    assert_int_equal(count_fired, 0);
    assert_true(timer_armed(&t));
    wheel_advance(&wheel, 20003);
    assert_int_equal(count_fired, 1);
}

static void test_pulling_in_takes_effect(void **state)
{
    (void)state;
    struct timer t;
    start(&t, on_count);
    timer_set(&wheel, &t, 1000 + DAY_MS);
    timer_set(&wheel, &t, 1008);
    assert_int_equal(wheel_next_ms(&wheel), 8);
    assert_int_equal(wheel.live, 1);
    wheel_advance(&wheel, 1008);
    assert_int_equal(count_fired, 1);
    assert_int_equal(wheel_next_ms(&wheel), -1);
}

/* ---- what a fire callback may do ---- */

static struct timer other;

static void on_fire_set_passed(struct timer *t)
{
    count_fired++;
    timer_set(&wheel, t, 0);
}

static void test_setting_itself_does_not_loop(void **state)
{
    (void)state;
    struct timer t;
    start(&t, on_fire_set_passed);
    timer_set(&wheel, &t, 1001);
    for (unsigned passes = 1; passes < 5; passes++) {
        wheel_advance(&wheel, 1004);
        assert_int_equal(count_fired, passes);
        assert_int_equal(wheel_next_ms(&wheel), 0);
    }
}

static void on_fire_cancel_other(struct timer *t)
{
    (void)t;
    timer_cancel(&other);
}

static void on_fire_postpone_other(struct timer *t)
{
    (void)t;
    timer_set(&wheel, &other, 2000);
}

static void test_a_due_timer_can_be_cancelled(void **state)
{
    (void)state;
    struct timer t;
    start(&t, on_fire_cancel_other);
    timer_init(&other, on_count);
    timer_set(&wheel, &t, 1004);
    timer_set(&wheel, &other, 1004);
    wheel_advance(&wheel, 1004);
    assert_int_equal(count_fired, 0);
    assert_false(timer_armed(&other));
    assert_int_equal(wheel.live, 0);
}

static void test_a_due_timer_can_be_postponed(void **state)
{
    (void)state;
    struct timer t;
    start(&t, on_fire_postpone_other);
    timer_init(&other, on_count);
    timer_set(&wheel, &t, 1004);
    timer_set(&wheel, &other, 1008);
    wheel_advance(&wheel, 1010);
    assert_int_equal(count_fired, 0);
    wheel_advance(&wheel, 2000);
    assert_int_equal(count_fired, 1);
}

static void on_fire_pull_other(struct timer *t)
{
    (void)t;
    timer_set(&wheel, &other, 0);
}

static void test_a_due_timer_keeps_its_turn(void **state)
{
    (void)state;
    struct timer t;
    start(&t, on_fire_pull_other);
    timer_init(&other, on_count);
    timer_set(&wheel, &t, 1004);
    timer_set(&wheel, &other, 1008);
    wheel_advance(&wheel, 1010);
    assert_int_equal(count_fired, 1);
    assert_int_equal(wheel.live, 0);
}

static struct timer *order[3];

static void on_order(struct timer *t)
{
    order[count_fired++] = t;
}

/* Also where one jump takes them from different levels. */
static void test_order_is_by_tick(void **state)
{
    (void)state;
    struct timer t[3];
    start(&t[0], on_order);
    timer_init(&t[1], on_order);
    timer_init(&t[2], on_order);
    timer_set(&wheel, &t[2], 1000 + DAY_MS);
    timer_set(&wheel, &t[1], 1000 + DAY_MS - 1000);
    timer_set(&wheel, &t[0], 1020);
    wheel_advance(&wheel, 1000 + 2 * DAY_MS);
    assert_int_equal(count_fired, 3);
    for (unsigned i = 0; i < 3; i++) assert_ptr_equal(order[i], &t[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_every_distance_fires_in_time),
        cmocka_unit_test(test_never_is_a_deadline),
        cmocka_unit_test(test_the_clock_may_not_go_back),
        cmocka_unit_test(test_pushing_out_moves_nothing),
        cmocka_unit_test(test_pulling_in_takes_effect),
        cmocka_unit_test(test_setting_itself_does_not_loop),
        cmocka_unit_test(test_a_due_timer_can_be_cancelled),
        cmocka_unit_test(test_a_due_timer_can_be_postponed),
        cmocka_unit_test(test_a_due_timer_keeps_its_turn),
        cmocka_unit_test(test_order_is_by_tick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
