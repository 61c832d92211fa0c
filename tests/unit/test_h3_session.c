/* An HTTP/3 session over streams that are only memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "edge/base/error.h"
#include "protocols/h3/session.h"
#include "protocols/h3/stream.h"
#include "tests/unit/broken_rule.h"

/* ---- a transport ---- */

static int64_t next_uni;

static bool open_uni(struct h3_session *s, int64_t *id)
{
    (void)s;
    *id = next_uni;
    next_uni += 4;
    return true;
}

static void on_received(struct h3_session *s, size_t n)
{
    (void)s, (void)n;
}

static void on_consumed(struct h3_session *s, int64_t id, size_t n)
{
    (void)s, (void)id, (void)n;
}

static void on_code(struct h3_session *s, int64_t id, uint64_t code)
{
    (void)s, (void)id, (void)code;
    fail_msg("no stream is reset here");
}

static void nothing(struct h3_session *s)
{
    (void)s;
}

static const struct h3_transport_ops transport = { .open = open_uni,
                                                   .received = on_received,
                                                   .consumed = on_consumed,
                                                   .reset = on_code,
                                                   .stop = on_code,
                                                   .released = nothing,
                                                   .wake = nothing };

/* ---- an edge that answers with single bytes ---- */

#define BODY_BYTES 20000

struct trickle {
    struct body body;
    unsigned left;
};

static enum body_result pull(struct body *b, struct span *out)
{
    struct trickle *t = container_of(b, struct trickle, body);
    if (t->left == 0) return BODY_END;
    struct block *block = block_new(1);
    block->data[0] = 'x';
    *out = span_of(block, 0, 1);
    block_release(block);
    t->left--;
    return BODY_DATA;
}

static void close_body(struct body *b)
{
    (void)b;
}

static const struct body_ops ops = { pull, close_body };
static int ended_with;
static unsigned ended;

static void begin(struct exchange *x)
{
    struct trickle *t = arena_new(&x->arena, struct trickle);
    t->body.ops = &ops;
    t->left = BODY_BYTES;
    x->ops->respond(x, &(struct response){ .status = 200, .length = LENGTH_UNKNOWN }, &t->body);
}

static void on_reject(struct exchange *x, int error)
{
    (void)x, (void)error;
    fail_msg("the request is one");
}

static void end(struct exchange *x)
{
    ended++;
    ended_with = x->error;
}

static const struct exchange_handler handler = { begin, on_reject, end };

static void on_closed(struct http_service *service, const struct peer *peer)
{
    (void)service, (void)peer;
}

/* ---- a session ---- */

static const struct http_limits limits = { .line_bytes = 256,
                                           .head_bytes = 2048,
                                           .field_count = 16,
                                           .requests_per_connection = 50,
                                           .streams = 8,
                                           .stream_window_bytes = 65536,
                                           .wasted_frames = 40,
                                           .header_timeout_ms = 1000,
                                           .send_timeout_ms = 2000 };
static const struct http_connection_ops no_ops;
static struct worker worker;
static struct http_service service;
static struct http_connection client;
static struct h3_session session;
static struct scope scope;
static bool idle;

static void on_idle(struct scope *s)
{
    (void)s;
    idle = true;
}

static int set_up(void **state)
{
    (void)state;
    next_uni = 3;
    ended = 0;
    idle = false;
    worker_init(&worker, 0);
    http_service_init(&service, &worker, &handler, &limits, on_closed);
    http_connection_enter(&client, &no_ops, &service, &(struct peer){ 0 });
    scope_init(&scope, &worker, on_idle);
    h3_session_init(&session, &transport, &client, &scope);
    if (h3_session_start(&session)) return -1;
    h3_session_streams(&session, limits.streams);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    h3_session_abort(&session, -E_CLIENT_GONE);
    scope_close(&scope);
    worker_run_notes(&worker);
    if (!idle) return -1;
    h3_session_free(&session);
    http_connection_leave(&client);
    return 0;
}

/* All that the stream has to say now; how many bytes. */
static uint64_t write_stream(int64_t id, bool *fin)
{
    uint64_t bytes = 0;
    for (struct h3_piece p; h3_session_next(&session, &p) == 0 && p.stream >= 0;) {
        if (p.stream == id) bytes += p.bytes, *fin |= p.fin;
        assert_int_equal(h3_session_wrote(&session, &p, p.bytes), 0);
    }
    return bytes;
}

/* HEADERS with GET, https, / and an authority, of QPACK's static table. */
#define GET                                                                                        \
    "\x01\x08\0\0\xd1\xd7\xc1\x50\x01"                                                             \
    "a"

static void test_a_response_of_many_pieces_waits_for_acknowledgements(void **state)
{
    (void)state;
    uint64_t bytes = 0;
    unsigned waits = 0;
    bool fin = false;
    assert_int_equal(h3_session_receive(&session, 0, slice_of(GET, sizeof GET - 1), true), 0);
    while (!fin) {
        uint64_t n = write_stream(0, &fin);
        assert_true(n > 0);
        bytes += n;
        waits += !fin;
        h3_session_sent(&session);
        assert_int_equal(h3_session_acked(&session, 0, n), 0);
    }
    assert_true(bytes > BODY_BYTES && waits >= BODY_BYTES / H3_SPANS_MAX);
    assert_int_equal(ended, 1);
    assert_int_equal(ended_with, 0);
}

static void hold_too_many(void)
{
    struct h3_spans q = { 0 };
    for (unsigned i = 0; i <= H3_SPANS_MAX; i++) {
        struct block *block = block_new(1);
        struct span piece = span_of(block, 0, 1);
        block_release(block);
        h3_spans_push(&q, &piece);
    }
}

static void remember_twice(void)
{
    struct h3_stream streams[2] = { { .id = 4 }, { .id = 4 } };
    for (int i = 0; i < 2; i++) h3_session_remember(&session, &streams[i]);
}

static void test_rules(void **state)
{
    (void)state;
    assert_true(check_fires(hold_too_many, "q->count < H3_SPANS_MAX"));
    assert_true(check_fires(remember_twice, "!*at"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_response_of_many_pieces_waits_for_acknowledgements,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rules, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
