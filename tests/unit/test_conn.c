/* conn: bytes arrive whole and in order, both ways, whatever the pieces. The conn is on a worker,
 * its peer on the thread that runs the tests. What the worker finds wrong is a failed CHECK, since
 * cmocka's assertions belong to that thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/base/list.h"
#include "edge/io/conn.h"
#include "edge/io/outbox.h"
#include "edge/io/worker.h"

#define DEADLINE_S 60

enum { TEXT_BYTES = 3 << 20 };

static char text[TEXT_BYTES], got[TEXT_BYTES + 1];

/* ---- two ends ---- */

static void open_tcp(int ends[2])
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, bytes), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &bytes), 0);
    ends[1] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(ends[1], (struct sockaddr *)&at, bytes), 0);
    ends[0] = accept(listener, NULL, NULL);
    assert_true(ends[0] >= 0);
    close(listener);
}

/* It takes little before its peer reads. */
static void open_narrow(int ends[2])
{
    int bytes = 4096;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
}

static void await(sem_t *s)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_S;
    assert_int_equal(sem_timedwait(s, &until), 0);
}

/* ---- the worker's end ---- */

/* What a test does when something has happened; NULL: nothing. */
struct script {
    void (*start)(void);
    void (*data)(void);
    void (*filled)(void);
    void (*ended)(void);
    void (*drained)(void);
};

static struct {
    struct worker worker;
    struct scope scope;
    struct conn conn;
    int peer;
    sem_t go; /* the peer's turn */
    const struct script *script;
    struct timer timer;
    void (*next)(void);
    size_t got_bytes, queued_bytes;
    unsigned data, ended, drained;
    bool reset, closed;
} t;

static void call(void (*step)(void))
{
    if (step) step();
}

static void on_data(struct conn *c, struct slice bytes)
{
    CHECK(c == &t.conn && bytes.n && !t.ended && t.got_bytes + bytes.n <= TEXT_BYTES);
    memcpy(got + t.got_bytes, bytes.p, bytes.n);
    t.got_bytes += bytes.n;
    t.data++;
    call(t.script->data);
}

static void on_filled(struct conn *c, size_t n)
{
    CHECK(c == &t.conn && n && !t.ended);
    t.got_bytes += n;
    call(t.script->filled);
}

static void on_ended(struct conn *c, bool reset)
{
    CHECK(c->read_ended && !t.ended);
    t.ended++;
    t.reset = reset;
    call(t.script->ended);
}

static void on_drained(struct conn *c)
{
    CHECK(conn_queued_bytes(c) == 0 && conn_has_room(c));
    t.drained++;
    if (!t.scope.closing) call(t.script->drained);
}

static const struct conn_ops ops = {
    .data = on_data,
    .filled = on_filled,
    .ended = on_ended,
    .drained = on_drained,
};

static void on_idle(struct scope *s)
{
    CHECK(s == &t.scope && !conn_recv_armed(&t.conn));
    conn_close(&t.conn);
    t.closed = true;
    worker_stop(&t.worker);
}

static void finish(void)
{
    timer_cancel(&t.timer);
    conn_cancel(&t.conn);
    scope_close(&t.scope);
}

static void on_timer(struct timer *timer)
{
    (void)timer;
    t.next();
}

/* Some turns later. */
static void then(void (*next)(void))
{
    t.next = next;
    timer_set(&t.worker.wheel, &t.timer, worker_now_ms(&t.worker) + 5);
}

static void on_start(struct worker *w)
{
    CHECK(w == &t.worker);
    t.script->start();
}

static void run(void (*open)(int ends[2]), const struct script *script, void (*peer)(void))
{
    int ends[2];
    memset(&t, 0, sizeof t);
    memset(got, 0, sizeof got);
    open(ends);
    sem_init(&t.go, 0, 0);
    t.script = script;
    t.peer = ends[1];
    worker_init(&t.worker, 0);
    scope_init(&t.scope, &t.worker, on_idle);
    timer_init(&t.timer, on_timer);
    conn_init(&t.conn, &t.worker, &t.scope, &ops, ends[0]);
    assert_int_equal(worker_start(&t.worker, -1, on_start), 0);
    call(peer);
    worker_join(&t.worker);
    if (t.peer >= 0) close(t.peer);
    sem_destroy(&t.go);
    assert_true(t.closed);
}

/* ---- its peer ---- */

static void close_peer(void)
{
    close(t.peer);
    t.peer = -1;
}

static void reset_peer(void)
{
    struct linger at_once = { .l_onoff = 1 };
    assert_int_equal(setsockopt(t.peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close_peer();
}

static size_t random_up_to(size_t max)
{
    return 1 + (size_t)random() % max;
}

static void send_bytes(size_t from, size_t n)
{
    while (n) {
        ssize_t sent = send(t.peer, text + from, n, MSG_NOSIGNAL);
        assert_true(sent > 0);
        from += (size_t)sent;
        n -= (size_t)sent;
    }
}

/* In pieces, most of them small. */
static void send_text(size_t total)
{
    for (size_t at = 0, n; at < total; at += n) {
        n = random_up_to(random() % 4 ? 3000 : 100000);
        if (n > total - at) n = total - at;
        send_bytes(at, n);
    }
}

static void send_all(void)
{
    send_text(TEXT_BYTES);
    close_peer();
}

static void send_some(void)
{
    send_text(200000);
    close_peer();
}

/* Everything up to the end, which the worker's side makes by shutdown. */
static size_t receive_all(void)
{
    size_t at = 0;
    for (ssize_t n;; at += (size_t)n) {
        size_t room = sizeof got - at, want = random_up_to(50000);
        n = recv(t.peer, got + at, want < room ? want : room, 0);
        assert_true(n >= 0);
        if (n == 0) return at;
    }
}

static size_t received;

static void receive(void)
{
    received = receive_all();
}

/* First when the worker's side says so. */
static void receive_later(void)
{
    await(&t.go);
    receive();
}

/* ---- receiving ---- */

static void start_receiving(void)
{
    conn_recv_start(&t.conn);
    CHECK(conn_recv_armed(&t.conn));
}

static void assert_got(size_t n)
{
    assert_int_equal(t.ended, 1);
    assert_false(t.reset);
    assert_int_equal(t.got_bytes, n);
    assert_int_equal(t.conn.received_bytes, n);
    assert_memory_equal(got, text, n);
}

static void test_bytes_come_whole_and_in_order(void **state)
{
    (void)state;
    static const struct script script = { .start = start_receiving, .ended = finish };
    run(open_tcp, &script, send_all);
    assert_got(TEXT_BYTES);
}

/* Stops at random, and starts again at once or later. */
static void stop_and_start(void)
{
    if (random() % 3 == 0) conn_recv_stop(&t.conn);
    if (t.conn.reading) return;
    if (random() % 2)
        conn_recv_start(&t.conn);
    else
        then(start_receiving);
}

static void test_stopping_and_starting_loses_nothing(void **state)
{
    (void)state;
    static const struct script script = { start_receiving, stop_and_start, .ended = finish };
    run(open_tcp, &script, send_some);
    assert_got(200000);
}

static unsigned data_before;

/* More has come, and lies there. */
static void check_still(void)
{
    char byte;
    if (recv(t.conn.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 1) {
        then(check_still);
        return;
    }
    CHECK(t.data == data_before && !t.ended);
    finish();
}

static void let_more_come(void)
{
    CHECK(!conn_recv_armed(&t.conn));
    data_before = t.data;
    sem_post(&t.go);
    then(check_still);
}

static void stop_at_once(void)
{
    conn_recv_stop(&t.conn);
    then(let_more_come);
}

static void send_twice(void)
{
    send_bytes(0, 1);
    await(&t.go);
    send_bytes(1, 1);
}

static void test_nothing_is_read_after_a_stop(void **state)
{
    (void)state;
    static const struct script script = { .start = start_receiving, .data = stop_at_once };
    run(open_tcp, &script, send_twice);
    assert_int_equal(t.ended, 0);
}

static void receive_once(void)
{
    conn_recv_once(&t.conn);
}

static void receive_once_more(void)
{
    CHECK(t.data == data_before + 1); /* although there is more */
    data_before = t.data;
    conn_recv_once(&t.conn);
}

static void check_one(void)
{
    CHECK(!t.conn.reading && t.data == data_before + 1);
    then(receive_once_more);
}

static void test_once_is_one_data(void **state)
{
    (void)state;
    static const struct script script = { receive_once, check_one, .ended = finish };
    data_before = 0;
    run(open_tcp, &script, send_some);
    assert_got(200000);
    assert_int_equal(t.data, data_before);
}

/* From data() itself, as a protocol that wants more does. */
static void test_once_again_from_inside(void **state)
{
    (void)state;
    static const struct script script = { receive_once, receive_once, .ended = finish };
    run(open_tcp, &script, send_all);
    assert_got(TEXT_BYTES);
}

static void fill_more(void)
{
    size_t n = random_up_to(30000), room = TEXT_BYTES + 1 - t.got_bytes;
    conn_recv_into(&t.conn, got + t.got_bytes, n < room ? n : room);
}

static void test_straight_into_memory(void **state)
{
    (void)state;
    static const struct script script = { fill_more, .filled = fill_more, .ended = finish };
    run(open_tcp, &script, send_all);
    assert_got(TEXT_BYTES);
    assert_int_equal(t.data, 0);
}

/* The kernel may end a receive without a byte and without an end. */
static const int vain[] = { -EINTR, -EAGAIN, -ENOBUFS };
static size_t failed;
static void (*real_done)(struct op *op, const struct op_result *r);

static void fail_next(void);

static void fail_once(struct op *op, const struct op_result *r)
{
    CHECK(r->result == -ECANCELED);
    real_done(op, &(struct op_result){ .result = vain[failed++] });
    if (failed < sizeof vain / sizeof *vain)
        fail_next();
    else
        sem_post(&t.go);
}

static void fail_next(void)
{
    real_done = t.conn.recv_op.done;
    t.conn.recv_op.done = fail_once;
    op_cancel(&t.worker, &t.conn.recv_op);
}

static void fill_in_vain(void)
{
    fill_more();
    fail_next();
}

static void send_some_later(void)
{
    await(&t.go);
    send_some();
}

static void test_a_receive_that_came_to_nothing_is_begun_again(void **state)
{
    (void)state;
    static const struct script script = { fill_in_vain, .filled = fill_more, .ended = finish };
    failed = 0;
    run(open_tcp, &script, send_some_later);
    assert_got(200000);
}

static unsigned taken;

/* What came by the ring is taken further by hand. */
static void take_now(void)
{
    if (t.conn.nonempty) {
        size_t n = conn_recv_now(&t.conn, got + t.got_bytes, random_up_to(20000));
        t.got_bytes += n;
        taken += n > 0;
    }
    conn_recv_once(&t.conn);
}

/* When more is there than one of the worker's buffers takes. */
static void start_once_late(void)
{
    if (recv(t.conn.fd, got, 20000, MSG_PEEK | MSG_DONTWAIT) < 20000)
        then(start_once_late);
    else
        conn_recv_once(&t.conn);
}

static void test_what_is_there_now(void **state)
{
    (void)state;
    static const struct script script = { start_once_late, take_now, .ended = finish };
    taken = 0;
    run(open_tcp, &script, send_some);
    assert_got(200000);
    assert_true(taken > 0);
}

/* ---- more messages than the worker has buffers, which take one each ---- */

enum { CROWD = 12, MESSAGES = 60, MESSAGE_BYTES = 100 };

static struct {
    struct worker worker;
    struct scope scope;
    struct conn conns[CROWD];
    int ends[CROWD][2];
    unsigned ended;
} crowd;

static void on_crowd_data(struct conn *c, struct slice bytes)
{
    size_t at = c->received_bytes - bytes.n;
    CHECK(bytes.n == MESSAGE_BYTES && memcmp(bytes.p, text + at, bytes.n) == 0);
}

static void on_crowd_ended(struct conn *c, bool reset)
{
    CHECK(!reset && c->received_bytes == (uint64_t)MESSAGES * MESSAGE_BYTES);
    if (++crowd.ended == CROWD) scope_close(&crowd.scope);
}

static void on_crowd_idle(struct scope *s)
{
    (void)s;
    for (int i = 0; i < CROWD; i++) conn_close(&crowd.conns[i]);
    worker_stop(&crowd.worker);
}

static void start_crowd(struct worker *w)
{
    static const struct conn_ops crowd_ops = { .data = on_crowd_data, .ended = on_crowd_ended };
    scope_init(&crowd.scope, w, on_crowd_idle);
    for (int i = 0; i < CROWD; i++) {
        conn_init(&crowd.conns[i], w, &crowd.scope, &crowd_ops, crowd.ends[i][0]);
        conn_recv_start(&crowd.conns[i]);
    }
}

static void test_more_than_the_buffers_hold(void **state)
{
    (void)state;
    crowd.ended = 0;
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, crowd.ends[i]), 0);
        for (size_t k = 0; k < MESSAGES; k++) {
            const char *message = text + k * MESSAGE_BYTES;
            assert_int_equal(send(crowd.ends[i][1], message, MESSAGE_BYTES, 0), MESSAGE_BYTES);
        }
        close(crowd.ends[i][1]);
    }
    worker_init(&crowd.worker, 0);
    assert_int_equal(worker_start(&crowd.worker, -1, start_crowd), 0);
    worker_join(&crowd.worker);
    assert_int_equal(crowd.ended, CROWD);
}

/* ---- the end of what is received ---- */

static void test_a_reset_is_told_from_an_end(void **state)
{
    (void)state;
    static const struct script script = { .start = start_receiving, .ended = finish };
    run(open_tcp, &script, reset_peer);
    assert_int_equal(t.ended, 1);
    assert_true(t.reset);
    run(open_tcp, &script, close_peer);
    assert_int_equal(t.ended, 1);
    assert_false(t.reset);
}

static void start_again_in_vain(void)
{
    conn_recv_start(&t.conn);
    conn_recv_once(&t.conn);
    CHECK(!conn_recv_armed(&t.conn));
    finish();
}

static void test_nothing_is_read_after_the_end(void **state)
{
    (void)state;
    static const struct script script = { .start = start_receiving, .ended = start_again_in_vain };
    run(open_tcp, &script, close_peer);
    assert_int_equal(t.ended, 1);
}

static void fill_then_finish(void)
{
    conn_recv_into(&t.conn, got, 10);
    then(finish);
}

static void send_one(void)
{
    send_bytes(0, 1);
}

static void test_cancelling_is_no_end(void **state)
{
    (void)state;
    static const struct script into = { .start = fill_then_finish };
    run(open_tcp, &into, NULL);
    assert_int_equal(t.ended, 0);
    static const struct script start = { .start = start_receiving, .data = finish };
    run(open_tcp, &start, send_one);
    assert_int_equal(t.ended, 0);
}

/* ---- sending ---- */

static struct span span_of_text(size_t at, size_t n)
{
    struct block *b = block_new(n + 20);
    CHECK(b);
    memcpy(b->data + 10, text + at, n);
    struct span s = span_of(b, 10, n);
    block_release(b);
    return s;
}

static void queue_span(size_t n)
{
    struct span s = span_of_text(t.queued_bytes, n);
    conn_push(&t.conn, &s);
    CHECK(!s.block);
    t.queued_bytes += n;
}

static void queue_write(size_t n)
{
    CHECK(conn_write(&t.conn, slice_of(text + t.queued_bytes, n)));
    t.queued_bytes += n;
}

/* Writes less than it has reserved. */
static void queue_reserved(size_t n)
{
    char *to = conn_reserve(&t.conn, n + 100);
    CHECK(to);
    memcpy(to, text + t.queued_bytes, n);
    conn_commit(&t.conn, n);
    t.queued_bytes += n;
}

static size_t at_most_left(size_t n)
{
    size_t left = TEXT_BYTES - t.queued_bytes;
    return n < left ? n : left;
}

/* Pieces of all kinds and sizes as long as they fit; at the end, the end. */
static void send_more(void)
{
    while (t.queued_bytes < TEXT_BYTES && conn_has_room(&t.conn)) {
        switch (random() % 4) {
        case 0: queue_span(at_most_left(random_up_to(400000))); break;
        case 1: queue_reserved(at_most_left(random_up_to(WORKER_BLOCK_BYTES + 5000))); break;
        default: queue_write(at_most_left(random_up_to(300))); break;
        }
        if (random() % 3 == 0) conn_flush(&t.conn);
    }
    conn_flush(&t.conn);
    if (conn_queued_bytes(&t.conn)) return;
    conn_shutdown(&t.conn);
    finish();
}

static void test_bytes_go_whole_and_in_order(void **state)
{
    (void)state;
    static const struct script script = { .start = send_more, .drained = send_more };
    void (*const opens[])(int ends[2]) = { open_tcp, open_narrow };
    for (int i = 0; i < 2; i++) {
        run(opens[i], &script, receive);
        assert_int_equal(received, TEXT_BYTES);
        assert_int_equal(t.conn.sent_bytes, TEXT_BYTES);
        assert_memory_equal(got, text, TEXT_BYTES);
        assert_false(t.conn.broken);
    }
}

/* What was queued, was sent, and nothing else. */
static void end_sending(void)
{
    conn_shutdown(&t.conn);
    finish();
}

static void assert_sent(void)
{
    assert_int_equal(received, t.queued_bytes);
    assert_int_equal(t.conn.sent_bytes, t.queued_bytes);
    assert_memory_equal(got, text, t.queued_bytes);
    assert_int_equal(t.drained, 1);
}

/* While nobody reads, the send cannot end; what is written meanwhile shares a span. */
static void write_behind_a_send(void)
{
    queue_span(100000);
    conn_flush(&t.conn);
    for (int i = 0; i < 1000; i++) {
        queue_write(1 + (size_t)i % 13);
        conn_flush(&t.conn);
    }
    CHECK(conn_queued_bytes(&t.conn) == t.queued_bytes && conn_has_room(&t.conn));
    CHECK(t.drained == 0);
    sem_post(&t.go);
}

static void test_small_writes_behind_a_send_share_a_span(void **state)
{
    (void)state;
    static const struct script script = { .start = write_behind_a_send, .drained = end_sending };
    run(open_narrow, &script, receive_later);
    assert_sent();
}

/* The bytes of a send stay as they were given, also where the next are put right behind them. */
static void write_more(void)
{
    queue_write(300);
    conn_flush(&t.conn);
    if (t.queued_bytes < 16000) {
        then(write_more);
        return;
    }
    CHECK(t.drained == 0);
    sem_post(&t.go);
}

static void write_on(void)
{
    queue_write(13000); /* more than the narrow end takes */
    conn_flush(&t.conn);
    then(write_more);
}

static void test_a_send_in_flight_is_not_extended(void **state)
{
    (void)state;
    static const struct script script = { .start = write_on, .drained = end_sending };
    run(open_narrow, &script, receive_later);
    assert_sent();
}

/* ---- the queue's bounds ---- */

static void fill_with_spans(void)
{
    unsigned n = 0;
    for (; conn_has_room(&t.conn); n++) queue_span(10);
    CHECK(n == OUTBOX_SPANS - 3); /* room stays for what goes around a span */
    for (; n < OUTBOX_SPANS; n++) queue_span(10);
    CHECK(!conn_reserve(&t.conn, 1) && !conn_write(&t.conn, SLICE("x")));
    CHECK(conn_queued_bytes(&t.conn) == (size_t)OUTBOX_SPANS * 10);
    conn_flush(&t.conn);
    CHECK(!conn_reserve(&t.conn, 1)); /* while it is in flight, too */
}

static void test_a_full_queue_takes_no_more(void **state)
{
    (void)state;
    static const struct script script = { .start = fill_with_spans, .drained = end_sending };
    run(open_tcp, &script, receive);
    assert_sent();
}

/* The last span grows to the end of its block, and no further. */
static void fill_with_writes(void)
{
    for (unsigned i = 0; i < OUTBOX_SPANS - 1; i++) queue_span(10);
    size_t before = t.queued_bytes, n = 1000;
    while (conn_write(&t.conn, slice_of(text + t.queued_bytes, n))) t.queued_bytes += n;
    CHECK(t.queued_bytes - before == WORKER_BLOCK_BYTES / n * n);
    CHECK(!conn_write(&t.conn, SLICE("x")));
    conn_flush(&t.conn);
}

static void test_the_last_span_grows_within_its_block(void **state)
{
    (void)state;
    static const struct script script = { .start = fill_with_writes, .drained = end_sending };
    run(open_tcp, &script, receive);
    assert_sent();
}

static void fill_with_bytes(void)
{
    queue_span(CONN_SEND_BYTES - 1);
    CHECK(conn_has_room(&t.conn));
    queue_span(1);
    CHECK(!conn_has_room(&t.conn));
    queue_span(300000); /* one send will not do */
    conn_flush(&t.conn);
}

static void test_many_bytes_are_enough(void **state)
{
    (void)state;
    static const struct script script = { .start = fill_with_bytes, .drained = end_sending };
    run(open_tcp, &script, receive);
    assert_sent();
}

/* ---- what is told about sending ---- */

static void check_silent(void)
{
    CHECK(t.drained == 0);
    finish();
}

static void flush_nothing(void)
{
    conn_flush(&t.conn);
    CHECK(conn_has_room(&t.conn) && conn_queued_bytes(&t.conn) == 0);
    CHECK(conn_reserve(&t.conn, 10)); /* not committed: nothing is queued */
    conn_flush(&t.conn);
    then(check_silent);
}

static void test_nothing_queued_nothing_drained(void **state)
{
    (void)state;
    static const struct script script = { .start = flush_nothing };
    run(open_tcp, &script, NULL);
}

static struct block *shared;

/* Each time, until it fails: the first sends may still find the peer's kernel willing. */
static void send_shared(void)
{
    if (t.conn.broken) {
        CHECK(conn_queued_bytes(&t.conn) == 0);
        finish();
        return;
    }
    struct span s = span_of(shared, 0, shared->size_bytes);
    conn_push(&t.conn, &s);
    CHECK(conn_write(&t.conn, SLICE("and some more")));
    conn_flush(&t.conn);
}

static void open_shared(void)
{
    shared = block_new(500000);
    assert_non_null(shared);
    memset(shared->data, 'x', shared->size_bytes);
}

/* Nothing of the queue is left behind. */
static void assert_shared_is_sole(void)
{
    assert_true(block_sole(shared));
    block_release(shared);
}

static void test_a_failed_send_breaks(void **state)
{
    (void)state;
    static const struct script script = { .start = send_shared, .drained = send_shared };
    open_shared();
    run(open_tcp, &script, reset_peer);
    assert_true(t.conn.broken);
    assert_shared_is_sole();
    open_shared();
    run(open_narrow, &script, close_peer);
    assert_true(t.conn.broken);
    assert_shared_is_sole();
}

/* ---- marks ---- */

static struct conn_mark head_mark, end_mark;
static unsigned passed;

/* The peer reads only now: so what is behind the head has not left. */
static void on_head_mark(struct conn_mark *m)
{
    CHECK(m == &head_mark && passed == 0 && conn_queued_bytes(&t.conn));
    passed++;
    sem_post(&t.go);
}

static void on_end_mark(struct conn_mark *m)
{
    CHECK(m == &end_mark && passed == 1 && t.drained == 0);
    passed++;
    CHECK(!conn_mark(&t.conn, &end_mark)); /* all has left: it is not called for that */
}

static void send_marked(void)
{
    head_mark.passed = on_head_mark;
    end_mark.passed = on_end_mark;
    CHECK(!conn_mark(&t.conn, &head_mark) && !conn_is_sending(&t.conn));
    CHECK(conn_write(&t.conn, SLICE("a head")) && conn_mark(&t.conn, &head_mark));
    conn_flush(&t.conn);
    struct span s = span_of(shared, 0, shared->size_bytes);
    conn_push(&t.conn, &s);
    CHECK(conn_mark(&t.conn, &end_mark));
    CHECK(conn_is_sending(&t.conn) && passed == 0);
}

static void end_marked(void)
{
    CHECK(passed == 2);
    conn_shutdown(&t.conn);
    finish();
}

static void test_a_mark_passes_when_the_kernel_has_what_is_before_it(void **state)
{
    (void)state;
    static const struct script script = { .start = send_marked, .drained = end_marked };
    passed = 0;
    open_shared();
    run(open_narrow, &script, receive_later);
    assert_int_equal(received, strlen("a head") + shared->size_bytes);
    assert_int_equal(passed, 2);
    assert_shared_is_sole();
}

static void take_mark_back(void)
{
    list_remove(&end_mark.link);
    finish();
}

static void mark_and_give_up(void)
{
    CHECK(conn_write(&t.conn, SLICE("a head")));
    struct span s = span_of(shared, 0, shared->size_bytes);
    conn_push(&t.conn, &s);
    end_mark.passed = on_end_mark;
    CHECK(conn_mark(&t.conn, &end_mark));
    conn_flush(&t.conn);
    then(take_mark_back);
}

static void test_a_mark_can_be_taken_back(void **state)
{
    (void)state;
    static const struct script script = { .start = mark_and_give_up };
    passed = 0;
    open_shared();
    run(open_narrow, &script, NULL);
    assert_int_equal(passed, 0);
    assert_shared_is_sole();
}

static void send_and_give_up(void)
{
    send_shared();
    then(finish);
}

static void test_a_send_under_way_can_be_cancelled(void **state)
{
    (void)state;
    static const struct script script = { .start = send_and_give_up };
    open_shared();
    run(open_narrow, &script, NULL);
    assert_true(t.conn.sent_bytes < shared->size_bytes);
    assert_shared_is_sole();
}

static int fill_text(void **state)
{
    (void)state;
    srandom(1);
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)random();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_come_whole_and_in_order),
        cmocka_unit_test(test_stopping_and_starting_loses_nothing),
        cmocka_unit_test(test_nothing_is_read_after_a_stop),
        cmocka_unit_test(test_once_is_one_data),
        cmocka_unit_test(test_once_again_from_inside),
        cmocka_unit_test(test_straight_into_memory),
        cmocka_unit_test(test_a_receive_that_came_to_nothing_is_begun_again),
        cmocka_unit_test(test_what_is_there_now),
        cmocka_unit_test(test_more_than_the_buffers_hold),
        cmocka_unit_test(test_a_reset_is_told_from_an_end),
        cmocka_unit_test(test_nothing_is_read_after_the_end),
        cmocka_unit_test(test_cancelling_is_no_end),
        cmocka_unit_test(test_bytes_go_whole_and_in_order),
        cmocka_unit_test(test_small_writes_behind_a_send_share_a_span),
        cmocka_unit_test(test_a_send_in_flight_is_not_extended),
        cmocka_unit_test(test_a_full_queue_takes_no_more),
        cmocka_unit_test(test_the_last_span_grows_within_its_block),
        cmocka_unit_test(test_many_bytes_are_enough),
        cmocka_unit_test(test_nothing_queued_nothing_drained),
        cmocka_unit_test(test_a_failed_send_breaks),
        cmocka_unit_test(test_a_mark_passes_when_the_kernel_has_what_is_before_it),
        cmocka_unit_test(test_a_mark_can_be_taken_back),
        cmocka_unit_test(test_a_send_under_way_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, fill_text, NULL);
}
