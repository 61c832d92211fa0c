/* resend: what was pulled of a body comes again from its start, on another connection, as long as
 * it is not too much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "edge/base/error.h"
#include "edge/resend.h"
#include "tests/unit/broken_rule.h"

#define PIECE 2000

/* Each character is what a pull gives: 'd' a piece, 'w' nothing yet, '.' the end, '!' a failure. */
static struct scripted {
    struct body body; /* first */
    const char *script;
    bool waiting;
    unsigned sent, closed;
} inner;

static struct resend resend;
static struct fields trailers;
static unsigned woken;

static enum body_result pull(struct body *b, struct span *out)
{
    assert_false(inner.waiting || inner.closed);
    switch (*inner.script) {
    case 'd':
        inner.script++;
        *out = (struct span){ block_new(PIECE), 0, PIECE };
        memset(out->block->data, (char)inner.sent++, PIECE);
        return BODY_DATA;
    case 'w': inner.waiting = true; return BODY_WAIT;
    case '!': b->error = -E_BODY_TIMEOUT; return BODY_FAIL;
    default: return BODY_END;
    }
}

static void close_inner(struct body *b)
{
    (void)b;
    inner.closed++;
}

static void wake(void)
{
    inner.script++;
    inner.waiting = false;
    inner.body.ready(&inner.body);
}

static void on_ready(struct body *b)
{
    assert_ptr_equal(b, &resend.body);
    woken++;
}

static struct body *taken(struct body *b)
{
    b->ready = on_ready;
    return b;
}

static struct body *begin(const char *script)
{
    static const struct body_ops ops = { .pull = pull, .close = close_inner };
    inner = (struct scripted){ .body = { .ops = &ops, .trailers = &trailers }, .script = script };
    woken = 0;
    return taken(resend_open(&resend, &inner.body));
}

/* Up to the next result that is no data; each piece has to be the next one. */
static enum body_result drain(struct body *b, unsigned *pieces)
{
    struct span s = { 0 };
    enum body_result result;
    while ((result = body_pull(b, &s)) == BODY_DATA) {
        assert_int_equal(span_slice(&s).p[0], (char)(*pieces)++);
        span_release(&s);
    }
    return result;
}

static void test_it_comes_again_and_goes_on(void **state)
{
    (void)state;
    unsigned first = 0, second = 0;
    struct body *b = begin("ddwdd.");
    assert_int_equal(drain(b, &first), BODY_WAIT);
    assert_int_equal(first, 2);
    body_close(&b);
    assert_int_equal(inner.closed, 0);
    assert_true(resend_may(&resend));
    b = taken(resend_again(&resend));
    assert_int_equal(drain(b, &second),
                     BODY_WAIT); /* also where what is inside waits since before */
    wake();
    assert_int_equal(woken, 1);
    assert_int_equal(drain(b, &second), BODY_END);
    assert_int_equal(second, 4);
    assert_ptr_equal(b->trailers, &trailers);
    body_close(&b);
    second = 0;
    b = taken(resend_again(&resend)); /* of what has ended, the end comes as well */
    assert_int_equal(drain(b, &second), BODY_END);
    assert_int_equal(second, 4);
    resend_settle(&resend);
    assert_int_equal(inner.closed, 0);
    body_close(&b);
    assert_int_equal(inner.closed, 1);
    resend_close(&resend);
    assert_int_equal(inner.closed, 1);
}

static void test_too_much_is_sent_once(void **state)
{
    (void)state;
    char script[40];
    unsigned pieces = 0;
    memset(script, 'd', sizeof script);
    script[RESEND_BYTES / PIECE + 1] = 0;
    struct body *b = begin(script);
    assert_int_equal(drain(b, &pieces), BODY_END);
    assert_int_equal(pieces, RESEND_BYTES / PIECE + 1);
    assert_false(resend_may(&resend));
    body_close(&b);
    resend_close(&resend);
    assert_int_equal(inner.closed, 1);
}

static void test_who_left_is_not_woken(void **state)
{
    (void)state;
    unsigned pieces = 0;
    struct body *b = begin("w.");
    assert_int_equal(drain(b, &pieces), BODY_WAIT);
    body_close(&b);
    wake();
    assert_int_equal(woken, 0);
    b = taken(resend_again(&resend));
    assert_int_equal(drain(b, &pieces), BODY_END);
    body_close(&b);
    resend_settle(&resend);
    assert_int_equal(inner.closed, 1);
}

static void test_a_failure_is_final(void **state)
{
    (void)state;
    unsigned pieces = 0;
    struct body *b = begin("d!");
    assert_int_equal(drain(b, &pieces), BODY_FAIL);
    assert_int_equal(b->error, -E_BODY_TIMEOUT);
    assert_false(resend_may(&resend));
    body_close(&b);
    resend_close(&resend);
    assert_int_equal(inner.closed, 1);
}

static void close_under_a_connection(void)
{
    begin("d.");
    resend_close(&resend);
}

static void send_twice_at_once(void)
{
    begin("d.");
    resend_again(&resend);
}

static void test_one_connection_has_it_at_a_time(void **state)
{
    (void)state;
    assert_true(check_fires(close_under_a_connection, "!r->open"));
    assert_true(check_fires(send_twice_at_once, "!r->open"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_comes_again_and_goes_on),
        cmocka_unit_test(test_too_much_is_sent_once),
        cmocka_unit_test(test_who_left_is_not_woken),
        cmocka_unit_test(test_a_failure_is_final),
        cmocka_unit_test(test_one_connection_has_it_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
