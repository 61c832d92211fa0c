/* The rules that ARCHITECTURE.md lists: each broken on purpose, and its CHECK seen to fire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "broken_rule.h"
#include "cache/disk_read.h"
#include "cache/object.h"
#include "edge/base/error.h"
#include "edge/base/metrics.h"
#include "edge/base/verdict.h"
#include "edge/base/wheel.h"
#include "edge/io/conn.h"
#include "edge/io/offload.h"
#include "edge/io/outbox.h"
#include "edge/io/worker.h"
#include "protocols/h1/frame.h"
#include "protocols/h1/print.h"

static struct worker worker;
static struct scope scope;

static void never_idle(struct scope *s)
{
    (void)s;
}

static void never_run(struct note *n)
{
    (void)n;
}

static void open_worker(void)
{
    worker_init(&worker, 0);
    scope_init(&scope, &worker, never_idle);
}

/* ---- lists, notes, timers, operations ---- */

static void append_twice(void)
{
    struct list one, other, node = { 0 };
    list_init(&one);
    list_init(&other);
    list_append(&one, &node);
    list_append(&other, &node);
}

static void defer_twice(void)
{
    struct note note = { .run = never_run };
    open_worker();
    worker_defer(&worker, &note);
    worker_defer(&worker, &note);
}

static void post_twice(void)
{
    struct note note = { .run = never_run };
    open_worker();
    worker_post(&worker, &note);
    worker_post(&worker, &note);
}

static void never_fire(struct timer *t)
{
    (void)t;
}

static void set_on_two_wheels(void)
{
    struct wheel one, other;
    struct timer timer;
    wheel_init(&one, 0);
    wheel_init(&other, 0);
    timer_init(&timer, never_fire);
    timer_set(&one, &timer, 5);
    timer_set(&other, &timer, 5);
}

static void never_done(struct op *op, const struct op_result *r)
{
    (void)op, (void)r;
}

static void arm_twice(void)
{
    struct op op;
    open_worker();
    io_uring_queue_init(8, &worker.ring, 0);
    op_init(&op, &scope, never_done);
    op.armed = true;
    op_read(&worker, &op, 0, &op, 1);
}

static void leave_without_entering(void)
{
    open_worker();
    scope_leave(&scope);
}

static void close_scope_twice(void)
{
    open_worker();
    scope_enter(&scope);
    scope_close(&scope);
    scope_close(&scope);
}

static void submit_to_nobody(void)
{
    struct job job = { 0 };
    offload_submit(&job);
}

/* ---- connections ---- */

static struct conn conn;
static const struct conn_ops no_ops;

static void open_conn(void)
{
    open_worker();
    conn_init(&conn, &worker, &scope, &no_ops, -1);
}

static void close_armed(void)
{
    open_conn();
    conn.recv_op.armed = true;
    conn_close(&conn);
}

static void give_away_armed(void)
{
    open_conn();
    conn.send_op.armed = true;
    conn_take_fd(&conn);
}

static void close_marked(void)
{
    static struct conn_mark mark;
    open_conn();
    if (conn_write(&conn, SLICE("queued")) && conn_mark(&conn, &mark)) conn_close(&conn);
}

static void receive_twice(void)
{
    char to[8];
    open_conn();
    conn.recv_op.armed = true;
    conn_recv_into(&conn, to, sizeof to);
}

static void queue_too_many(void)
{
    struct outbox *o = outbox_new();
    struct block *b = block_new(1);
    for (unsigned i = 0; i <= OUTBOX_SPANS; i++) {
        struct span s = span_of(b, 0, 1);
        outbox_push(o, &s);
    }
}

/* ---- objects and the disk ---- */

static struct budget budget;

static struct object *new_object(void)
{
    static const struct key key = { .hash = 1, .text = { "a key", 5 }, .target = { "/", 1 } };
    atomic_store(&budget.limit_bytes, (size_t)1 << 30);
    return object_new(&key, &budget, 1, 1 << 20);
}

static void never_ready(struct wait *w)
{
    (void)w;
}

static void wait_twice(void)
{
    struct wait wait;
    struct object *o = new_object();
    open_worker();
    wait_init(&wait, &scope, never_ready);
    object_wait_head(o, &wait);
    object_wait_head(o, &wait);
}

static void free_waited_for(void)
{
    struct wait wait;
    struct object *o = new_object();
    open_worker();
    wait_init(&wait, &scope, never_ready);
    object_wait_head(o, &wait);
    object_drop(&o);
}

static void load_twice(void)
{
    struct object *o = new_object();
    object_loaded(o);
    object_loaded(o);
}

static void read_twice(void)
{
    struct disk_read r = { .state = DISK_READ_IDLE };
    r.op.armed = true;
    disk_read_start(&r, NULL, NULL, 0, NULL, NULL);
}

/* ---- framing ---- */

static void frame_length_unknown(void)
{
    struct response r = { .status = 200 };
    struct h1_framing f = { .body = H1_BODY_LENGTH, .length = LENGTH_UNKNOWN };
    h1_response_size(&r, &f);
}

static void send_no_status(void)
{
    struct response r = { .status = 99 };
    struct h1_framing f = { .body = H1_BODY_NONE };
    h1_response_size(&r, &f);
}

static void advance_past_a_chunk(void)
{
    struct arena arena;
    struct h1_chunked c;
    struct h1_limits limits = { 100, 100, 10 };
    arena_init(&arena, 4096);
    h1_chunked_init(&c, &limits, &arena);
    h1_chunked_advance(&c, 1);
}

/* ---- closed sets and sizes ---- */

static void name_no_error(void)
{
    error_info(E_COUNT);
}

static void name_no_verdict(void)
{
    verdict_name(VERDICT_COUNT);
}

static void limit_of_no_bucket(void)
{
    histogram_limit_us(HISTOGRAM_BUCKETS);
}

static void count_no_member(void)
{
    metric_add_by(METRIC_VERDICTS, VERDICT_COUNT, 1);
}

static void name_what_has_no_members(void)
{
    metric_set_namer(METRIC_CONNECTIONS_LIVE, NULL);
}

static void make_a_block_too_large(void)
{
    block_new((size_t)UINT32_MAX + 1);
}

/* ---- all of them ---- */

static const struct {
    const char *rule;
    void (*break_it)(void);
    const char *condition;
} rules[] = {
    { "a node is on one list", append_twice, "!node->next || node->next == node" },
    { "a note is deferred once", defer_twice, "!n->posted" },
    { "a note is posted once", post_twice, "!n->posted" },
    { "a timer belongs to one wheel", set_on_two_wheels, "!t->wheel || t->wheel == w" },
    { "an operation is armed once", arm_twice, "!op->armed" },
    { "a scope is left as often as entered", leave_without_entering, "s->pending > 0" },
    { "a scope is closed once", close_scope_twice, "!s->closing" },
    { "a job has a worker", submit_to_nobody, "j->worker" },
    { "nothing is armed at a connection's end", close_armed, "!c->recv_op.armed" },
    { "nor when its descriptor changes hands", give_away_armed, "!c->send_op.armed" },
    { "no mark outlives its connection", close_marked, "list_empty(&c->marks)" },
    { "one receive at a time", receive_twice, "!c->recv_op.armed" },
    { "a queue has so many spans", queue_too_many, "o->count < OUTBOX_SPANS" },
    { "a wait is parked once", wait_twice, "!w->parked" },
    { "who waits holds the object", free_waited_for, "list_empty(&o->waits)" },
    { "only what is pending is loaded", load_twice, "object_state(o) == OBJECT_PENDING" },
    { "a disk read is started once", read_twice, "DISK_READ_IDLE" },
    { "a length that is told is known", frame_length_unknown, "f->length >= 0" },
    { "a status has three digits", send_no_status, "r->status >= 100" },
    { "no more is taken than a chunk has", advance_past_a_chunk, "c->state == DATA" },
    { "errors are a closed set", name_no_error, "code < E_COUNT" },
    { "verdicts are", name_no_verdict, "v < VERDICT_COUNT" },
    { "buckets are", limit_of_no_bucket, "bucket < HISTOGRAM_BUCKETS" },
    { "a metric's members are", count_no_member, "index <= last - first" },
    { "only members have names", name_what_has_no_members, "KIND_COUNTER_BY" },
    { "a span can tell any place in a block", make_a_block_too_large, "size_bytes <= UINT32_MAX" },
};

static void test_each_rule_ends_in_its_check(void **state)
{
    (void)state;
    unsigned failed = 0;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (check_fires(rules[i].break_it, rules[i].condition)) continue;
        print_error("not checked: %s\n", rules[i].rule);
        failed++;
    }
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_each_rule_ends_in_its_check) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
