/* sender: what a body looks like on the wire, and that one which is not as announced is an error.
 * The sender is on a worker, the one it sends to on the thread that runs the tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/list.h"
#include "edge/io/worker.h"
#include "protocols/h1/sender.h"

enum { TEXT_BYTES = 4 << 20, HUGE_BYTES = 300000 };

static char text[TEXT_BYTES];

/* ---- a body that follows a script ---- */

/* Each character is what a pull gives: 's', 'm', 'l' and 'h' pieces of 100, 4096, 5000 and 300000
 * bytes, 'w' nothing yet, '.' the end, '!' a failure. */
struct scripted {
    struct body body; /* first */
    const char *script;
    size_t at;
    bool waiting;
    struct note wake;
    unsigned closed;
};

static size_t piece_bytes(char c)
{
    return c == 's' ? 100 : c == 'm' ? 4096 : c == 'l' ? 5000 : c == 'h' ? HUGE_BYTES : 0;
}

static size_t script_bytes(const char *script)
{
    size_t n = 0;
    for (; *script; script++) n += piece_bytes(*script);
    return n;
}

static struct span piece_of_text(size_t at, size_t n)
{
    CHECK(at + n <= TEXT_BYTES);
    struct block *b = block_new(n);
    CHECK(b);
    memcpy(b->data, text + at, n);
    struct span s = span_of(b, 0, n);
    block_release(b);
    return s;
}

static enum body_result pull(struct body *b, struct span *out)
{
    struct scripted *s = (struct scripted *)b;
    CHECK(!s->closed && !s->waiting);
    char c = *s->script++;
    if (c == '.') return BODY_END;
    if (c == 'w') {
        s->waiting = true;
        worker_defer(worker_self(), &s->wake);
        return BODY_WAIT;
    }
    if (c == '!') {
        b->error = -E_ORIGIN_RESET;
        return BODY_FAIL;
    }
    size_t n = piece_bytes(c);
    CHECK(n);
    *out = piece_of_text(s->at, n);
    s->at += n;
    return BODY_DATA;
}

static void close_scripted(struct body *b)
{
    ((struct scripted *)b)->closed++;
}

static void wake(struct note *n)
{
    struct scripted *s = container_of(n, struct scripted, wake);
    s->waiting = false;
    s->body.ready(&s->body);
}

/* ---- the sender on its worker ---- */

static bool takes_trailers; /* the one it sends to */

static struct {
    struct worker worker;
    struct scope scope;
    struct conn conn;
    struct h1_sender sender;
    struct scripted body;
    enum h1_body framing;
    int64_t length;
    bool with_body;
    int result; /* 1: not yet */
    unsigned woken;
} t;

static void on_idle(struct scope *s)
{
    CHECK(s == &t.scope);
    conn_close(&t.conn);
    worker_stop(&t.worker);
}

static void finish(void)
{
    h1_sender_stop(&t.sender);
    h1_sender_stop(&t.sender);
    conn_shutdown(&t.conn);
    scope_close(&t.scope);
}

/* Ends when all is sent, or all that came before a failure. */
static void send_on(void)
{
    if (t.result > 0) t.result = h1_sender_pump(&t.sender);
    CHECK(t.result <= 0 || t.sender.body);
    CHECK(conn_queued_bytes(&t.conn) < CONN_SEND_BYTES + HUGE_BYTES + 100);
    conn_flush(&t.conn);
    if (t.result <= 0 && conn_queued_bytes(&t.conn) == 0) finish();
}

static void on_more(struct h1_sender *s)
{
    CHECK(s == &t.sender && s->ready);
    t.woken++;
    send_on();
}

static void on_drained(struct conn *c)
{
    CHECK(!c->broken);
    send_on();
}

static void on_start(struct worker *w)
{
    CHECK(w == &t.worker);
    struct body *body = t.with_body ? &t.body.body : NULL;
    h1_sender_start(&t.sender, &t.conn, body, t.framing, t.length, on_more);
    t.sender.trailers = takes_trailers;
    send_on();
}

/* ---- what came ---- */

static char came[TEXT_BYTES + TEXT_BYTES / 4], decoded[TEXT_BYTES];
static size_t came_bytes, decoded_bytes;

static void receive(int fd)
{
    came_bytes = 0;
    for (ssize_t n;; came_bytes += (size_t)n) {
        CHECK(came_bytes < sizeof came - 1);
        n = recv(fd, came + came_bytes, sizeof came - 1 - came_bytes, 0);
        assert_true(n >= 0);
        if (n == 0) break;
    }
    came[came_bytes] = 0;
    close(fd);
}

/* What stands behind the chunks: the last one's line and all after it. NULL where it breaks off
 * before. */
static const char *decode_chunks(void)
{
    const char *at = came, *end = came + came_bytes;
    decoded_bytes = 0;
    while (at < end && *at != '0') {
        char *line_end;
        size_t n = strtoul(at, &line_end, 16);
        assert_true(n > 0 && memcmp(line_end, "\r\n", 2) == 0);
        at = line_end + 2;
        assert_true(n <= (size_t)(end - at) && decoded_bytes + n <= sizeof decoded);
        memcpy(decoded + decoded_bytes, at, n);
        decoded_bytes += n;
        at += n;
        assert_memory_equal(at, "\r\n", 2);
        at += 2;
    }
    return at < end ? at : NULL;
}

static void run(const char *script, enum h1_body framing, int64_t length,
                const struct fields *trailers)
{
    static const struct body_ops body_ops = { .pull = pull, .close = close_scripted };
    static const struct conn_ops conn_ops = { .drained = on_drained };
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    memset(&t, 0, sizeof t);
    t.body = (struct scripted){ .body = { .ops = &body_ops, .trailers = trailers },
                                .script = script,
                                .wake = { .run = wake } };
    t.with_body = script;
    t.framing = framing;
    t.length = length;
    t.result = 1;
    worker_init(&t.worker, 0);
    scope_init(&t.scope, &t.worker, on_idle);
    conn_init(&t.conn, &t.worker, &t.scope, &conn_ops, ends[0]);
    assert_int_equal(worker_start(&t.worker, -1, on_start), 0);
    receive(ends[1]);
    worker_join(&t.worker);
    assert_int_equal(t.body.closed, script ? 1 : 0);
}

static void assert_is_text(const char *p, size_t n, size_t expected)
{
    assert_int_equal(n, expected);
    assert_memory_equal(p, text, expected);
}

/* ---- whole bodies ---- */

static const char *const scripts[] = {
    ".",
    "s.",
    "m.",
    "l.",
    "h.",
    "slmhslmh.",
    "ssssssssssssssssssssssssssssssssssssssss.",
    "llllllllllllllllllllllllllllllllllllllll.", /* more than the queue has places for */
    "mlmlmlmlmlmlmlmlmlmlmlmlmlmlmlmlmlmlmlml.",
    "hhhhhhhhhh.",
    "w.",
    "wsw.",
    "wwslwmhwswwlsssw.",
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static unsigned waits_in(const char *script)
{
    unsigned n = 0;
    for (; *script; script++) n += *script == 'w';
    return n;
}

static void test_bodies_of_known_length(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(scripts); i++) {
        size_t n = script_bytes(scripts[i]);
        run(scripts[i], H1_BODY_LENGTH, (int64_t)n, NULL);
        assert_int_equal(t.result, 0);
        assert_is_text(came, came_bytes, n);
        assert_int_equal(t.sender.body_bytes, n);
        assert_int_equal(t.woken, waits_in(scripts[i]));
    }
}

static void test_bodies_that_end_with_the_connection(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(scripts); i++) {
        run(scripts[i], H1_BODY_UNTIL_CLOSE, LENGTH_UNKNOWN, NULL);
        assert_int_equal(t.result, 0);
        assert_is_text(came, came_bytes, script_bytes(scripts[i]));
    }
}

static void test_bodies_in_chunks(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(scripts); i++) {
        run(scripts[i], H1_BODY_CHUNKED, LENGTH_UNKNOWN, NULL);
        assert_int_equal(t.result, 0);
        const char *end = decode_chunks();
        assert_non_null(end);
        assert_string_equal(end, "0\r\n\r\n");
        assert_is_text(decoded, decoded_bytes, script_bytes(scripts[i]));
        assert_int_equal(t.sender.body_bytes, decoded_bytes); /* without the framing */
    }
}

static void test_no_body(void **state)
{
    (void)state;
    static const enum h1_body framings[] = { H1_BODY_NONE, H1_BODY_LENGTH };
    for (size_t i = 0; i < COUNT(framings); i++) {
        run(NULL, framings[i], 0, NULL);
        assert_int_equal(t.result, 0);
        assert_int_equal(came_bytes, 0);
    }
}

/* ---- trailers ---- */

static void test_trailers_for_who_takes_them(void **state)
{
    (void)state;
    struct field v[] = { { SLICE("X-Sum"), SLICE("abc"), FIELD_OTHER },
                         { SLICE("X-Empty"), SLICE(""), FIELD_OTHER } };
    struct fields trailers = { v, 2, 2 };
    for (int takes = 0; takes < 2; takes++) {
        takes_trailers = takes;
        run("sls.", H1_BODY_CHUNKED, LENGTH_UNKNOWN, &trailers);
        assert_int_equal(t.result, 0);
        const char *end = decode_chunks();
        assert_non_null(end);
        assert_string_equal(end, takes ? "0\r\nX-Sum: abc\r\nX-Empty: \r\n\r\n" : "0\r\n\r\n");
    }
    run("sls.", H1_BODY_LENGTH, 5200, &trailers); /* no place for them */
    assert_is_text(came, came_bytes, 5200);
    takes_trailers = false;
}

/* ---- what is not as announced ---- */

static const struct bad {
    const char *script;
    enum h1_body framing;
    int64_t length;
    int error;
    size_t bytes; /* of the body that come nevertheless */
} bad[] = {
    { ".", H1_BODY_LENGTH, 1, -E_RESPONSE_INCOMPLETE, 0 },
    { "ss.", H1_BODY_LENGTH, 201, -E_RESPONSE_INCOMPLETE, 200 },
    { "wlwsw.", H1_BODY_LENGTH, 1 << 20, -E_RESPONSE_INCOMPLETE, 5100 },
    { "s.", H1_BODY_LENGTH, 0, -E_RESPONSE_INCOMPLETE, 0 },
    { "ss.", H1_BODY_LENGTH, 199, -E_RESPONSE_INCOMPLETE, 100 },
    { "ssl.", H1_BODY_LENGTH, 200, -E_RESPONSE_INCOMPLETE, 200 },
    { "hhwhh.", H1_BODY_LENGTH, 4 * HUGE_BYTES - 1, -E_RESPONSE_INCOMPLETE, 3 * HUGE_BYTES },
    { "!", H1_BODY_LENGTH, 100, -E_ORIGIN_RESET, 0 },
    { "s!", H1_BODY_LENGTH, 100, -E_ORIGIN_RESET, 100 },
    { "swlw!", H1_BODY_LENGTH, 10000, -E_ORIGIN_RESET, 5100 },
    { "s!", H1_BODY_UNTIL_CLOSE, 0, -E_ORIGIN_RESET, 100 },
    { "!", H1_BODY_CHUNKED, 0, -E_ORIGIN_RESET, 0 },
    { "sml!", H1_BODY_CHUNKED, 0, -E_ORIGIN_RESET, 9196 },
    { "hhhwh!", H1_BODY_CHUNKED, 0, -E_ORIGIN_RESET, 4 * HUGE_BYTES },
};

static void test_what_is_not_whole_is_an_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        const struct bad *b = &bad[i];
        run(b->script, b->framing, b->length, NULL);
        assert_int_equal(t.result, b->error);
        if (b->framing == H1_BODY_CHUNKED) {
            assert_null(decode_chunks()); /* the last chunk would say that it is whole */
            assert_is_text(decoded, decoded_bytes, b->bytes);
        } else {
            assert_is_text(came, came_bytes, b->bytes);
        }
    }
}

static int start(void **state)
{
    (void)state;
    srandom(1);
    for (size_t i = 0; i < TEXT_BYTES; i++) text[i] = (char)random();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies_of_known_length),
        cmocka_unit_test(test_bodies_that_end_with_the_connection),
        cmocka_unit_test(test_bodies_in_chunks),
        cmocka_unit_test(test_no_body),
        cmocka_unit_test(test_trailers_for_who_takes_them),
        cmocka_unit_test(test_what_is_not_whole_is_an_error),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
