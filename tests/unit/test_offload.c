#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "edge/base/check.h"
#include "edge/base/metrics.h"
#include "edge/io/offload.h"
#include "edge/io/worker.h"
#include "tests/unit/broken_rule.h"

/* What a worker or the pool finds wrong is a failed CHECK: cmocka's assertions belong to the thread
 * that runs the tests. */

#define DEADLINE_S 60

static void await(sem_t *s)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_S;
    CHECK(sem_timedwait(s, &until) == 0);
}

static void open_workers(struct worker *w, unsigned count, void (*start)(struct worker *w))
{
    for (unsigned i = 0; i < count; i++) {
        worker_init(&w[i], i);
        assert_int_equal(worker_start(&w[i], -1, start), 0);
    }
}

static void join_workers(struct worker *w, unsigned count)
{
    for (unsigned i = 0; i < count; i++) worker_join(&w[i]);
}

/* ---- there and back ---- */

#define WORKERS 2
#define JOBS    50
#define ROUNDS  20

struct task {
    struct job job;
    unsigned worked, done;
};

struct crew {
    struct worker worker; /* first */
    struct task tasks[JOBS];
    unsigned ended;
};

static void count_work(struct job *j)
{
    CHECK(!worker_self());
    container_of(j, struct task, job)->worked++;
}

/* The job is free again, so it goes another round. */
static void count_done(struct job *j)
{
    struct task *t = container_of(j, struct task, job);
    struct crew *c = (struct crew *)worker_self();
    CHECK(t >= c->tasks && t < c->tasks + JOBS);
    CHECK(t->worked == ++t->done);
    if (t->done < ROUNDS) {
        CHECK(offload_submit(j));
    } else if (++c->ended == JOBS) {
        worker_stop(&c->worker);
    }
}

static void submit_all(struct worker *w)
{
    struct crew *c = (struct crew *)w;
    for (unsigned i = 0; i < JOBS; i++) {
        c->tasks[i].job = (struct job){ .work = count_work, .done = count_done };
        CHECK(offload_submit(&c->tasks[i].job));
    }
}

static void test_jobs_return_to_their_worker(void **state)
{
    (void)state;
    static struct crew crews[WORKERS];
    assert_int_equal(offload_start(3, WORKERS * JOBS), 0);
    for (unsigned i = 0; i < WORKERS; i++) open_workers(&crews[i].worker, 1, submit_all);
    for (unsigned i = 0; i < WORKERS; i++) join_workers(&crews[i].worker, 1);
    offload_stop();
    for (unsigned i = 0; i < WORKERS * JOBS; i++) {
        assert_int_equal(crews[i / JOBS].tasks[i % JOBS].worked, ROUNDS);
    }
}

/* ---- the queue ---- */

#define QUEUE_MAX 3

static sem_t begun, gate;
static char order[16];
static unsigned ordered;

/* A job that the pool's only thread is busy with until the gate opens. */
static void wait_at_gate(struct job *j)
{
    (void)j;
    sem_post(&begun);
    await(&gate);
}

static void nothing(struct job *j)
{
    (void)j;
}

static struct job blocker, queued[QUEUE_MAX], refused;

static void note_order(struct job *j)
{
    order[ordered++] = (char)('a' + (j - queued));
}

static void never(struct job *j)
{
    (void)j;
    CHECK(!"a job that must not run or return");
}

static void stop_after_last(struct job *j)
{
    if (j == &queued[QUEUE_MAX - 1]) worker_stop(worker_self());
}

static void overfill(struct worker *w)
{
    (void)w;
    blocker = (struct job){ .work = wait_at_gate, .done = nothing };
    refused = (struct job){ .work = never, .done = never };
    CHECK(offload_submit(&blocker));
    await(&begun);
    for (unsigned i = 0; i < QUEUE_MAX; i++) {
        queued[i] = (struct job){ .work = note_order, .done = stop_after_last };
        CHECK(offload_submit(&queued[i]));
    }
    CHECK(!offload_submit(&refused));
    CHECK(!offload_submit(&refused));
    sem_post(&gate);
}

static void test_a_full_queue_refuses(void **state)
{
    (void)state;
    struct worker w;
    int64_t before = metric_sum(METRIC_OFFLOAD_REFUSED);
    sem_init(&begun, 0, 0);
    sem_init(&gate, 0, 0);
    ordered = 0;
    assert_int_equal(offload_start(1, QUEUE_MAX), 0);
    open_workers(&w, 1, overfill);
    join_workers(&w, 1);
    offload_stop();
    assert_int_equal(metric_sum(METRIC_OFFLOAD_REFUSED) - before, 2);
    order[ordered] = '\0';
    assert_string_equal(order, "abc");
}

/* ---- threads ---- */

static sem_t arrived[2];
static struct job pair[2];
static unsigned met;

/* Ends only where the other runs at the same time. */
static void meet(struct job *j)
{
    unsigned mine = (unsigned)(j - pair);
    sem_post(&arrived[mine]);
    await(&arrived[!mine]);
}

static void count_met(struct job *j)
{
    if (++met == 2) worker_stop(j->worker);
}

static void submit_pair(struct worker *w)
{
    (void)w;
    for (unsigned i = 0; i < 2; i++) {
        pair[i] = (struct job){ .work = meet, .done = count_met };
        CHECK(offload_submit(&pair[i]));
    }
}

static void test_threads_run_at_the_same_time(void **state)
{
    (void)state;
    struct worker w;
    for (unsigned i = 0; i < 2; i++) sem_init(&arrived[i], 0, 0);
    assert_int_equal(offload_start(2, 2), 0);
    open_workers(&w, 1, submit_pair);
    join_workers(&w, 1);
    offload_stop();
    assert_int_equal(met, 2);
}

/* ---- the end ---- */

#define PROBES 100000 /* a millisecond each, or more: long enough for offload_stop to begin */

static struct job probes[PROBES];
static unsigned probe_count;
static struct timer probing;
static atomic_bool stopped;

/* Until the pool is gone: what it gave back until then, this turn's notes would still run. */
static void watch_end(struct timer *t)
{
    struct worker *w = worker_self();
    if (stopped) {
        worker_stop(w);
    } else {
        timer_set(&w->wheel, t, worker_now_ms(w) + 1);
    }
}

/* That jobs are refused, with all this room, is how the end of the pool shows. */
static void probe(struct timer *t)
{
    struct job *j = &probes[probe_count++];
    CHECK(probe_count < PROBES);
    *j = (struct job){ .work = never, .done = never };
    struct worker *w = worker_self();
    if (!offload_submit(j)) {
        sem_post(&gate);
        t->fire = watch_end;
    }
    timer_set(&w->wheel, t, worker_now_ms(w) + 1);
}

static void start_probing(struct worker *w)
{
    blocker = (struct job){ .work = wait_at_gate, .done = never };
    CHECK(offload_submit(&blocker));
    await(&begun);
    queued[0] = (struct job){ .work = never, .done = never };
    CHECK(offload_submit(&queued[0]));
    timer_init(&probing, probe);
    timer_set(&w->wheel, &probing, 0);
}

static void test_stop_waits_for_what_runs_and_drops_what_waits(void **state)
{
    (void)state;
    struct worker w;
    sem_init(&begun, 0, 0);
    sem_init(&gate, 0, 0);
    assert_int_equal(offload_start(1, PROBES), 0);
    open_workers(&w, 1, start_probing);
    offload_stop();
    stopped = true;
    join_workers(&w, 1);
    int taken;
    assert_int_equal(sem_getvalue(&gate, &taken), 0);
    assert_int_equal(taken, 0);
}

static void submit_in_vain(struct worker *w)
{
    refused = (struct job){ .work = never, .done = never };
    CHECK(!offload_submit(&refused));
    worker_stop(w);
}

static void submit_twice(struct worker *w)
{
    static struct task task = { .job = { .work = count_work } };
    (void)w;
    CHECK(offload_submit(&task.job));
    offload_submit(&task.job);
}

static void break_the_rule(void)
{
    static struct worker worker;
    CHECK(offload_start(1, 4) == 0);
    open_workers(&worker, 1, submit_twice);
    join_workers(&worker, 1);
}

static void test_a_job_is_submitted_once(void **state)
{
    (void)state;
    assert_true(check_fires(break_the_rule, "!j->submitted"));
}

static void test_without_a_pool_jobs_are_refused(void **state)
{
    (void)state;
    struct worker w;
    int64_t before = metric_sum(METRIC_OFFLOAD_REFUSED);
    open_workers(&w, 1, submit_in_vain);
    join_workers(&w, 1);
    assert_int_equal(metric_sum(METRIC_OFFLOAD_REFUSED) - before, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_pool_jobs_are_refused),
        cmocka_unit_test(test_a_job_is_submitted_once),
        cmocka_unit_test(test_jobs_return_to_their_worker),
        cmocka_unit_test(test_a_full_queue_refuses),
        cmocka_unit_test(test_threads_run_at_the_same_time),
        cmocka_unit_test(test_stop_waits_for_what_runs_and_drops_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
