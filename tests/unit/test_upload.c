/* upload: a body passes as it is up to a limit, and fails with the first byte beyond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/upload.h"
#include "tests/unit/broken_rule.h"

/* ---- a body that follows a script ---- */

/* Each character is what a pull gives: '1' to '9' so many bytes, 'w' nothing yet, '.' the end,
 * '!' a failure. */
struct scripted {
    struct body body; /* first */
    const char *script;
    struct block *block;
    bool waiting;
    unsigned closed;
};

static enum body_result pull(struct body *b, struct span *out)
{
    struct scripted *s = (struct scripted *)b;
    CHECK(!s->closed && !s->waiting);
    switch (*s->script) {
    case 'w': s->waiting = true; return BODY_WAIT;
    case '.': return BODY_END;
    case '!': b->error = -E_BODY_TIMEOUT; return BODY_FAIL;
    default: *out = span_of(s->block, 0, (size_t)(*s->script++ - '0')); return BODY_DATA;
    }
}

static void close_scripted(struct body *b)
{
    ((struct scripted *)b)->closed++;
}

static void wake(struct scripted *s)
{
    s->script++;
    s->waiting = false;
    s->body.ready(&s->body);
}

/* ---- who pulls ---- */

static struct arena arena;
static struct scripted inner;
static struct fields trailers;
static unsigned woken;

static void on_ready(struct body *b)
{
    assert_ptr_equal(b->puller, &woken);
    woken++;
}

static struct body *limited(const char *script, uint64_t limit_bytes)
{
    static const struct body_ops ops = { .pull = pull, .close = close_scripted };
    inner = (struct scripted){ .body = { .ops = &ops, .trailers = &trailers }, .script = script };
    inner.block = block_new(9);
    assert_non_null(inner.block);
    woken = 0;
    struct body *b = upload_limit(&inner.body, limit_bytes, &arena);
    b->ready = on_ready;
    b->puller = &woken;
    return b;
}

struct outcome {
    enum body_result result;
    uint64_t bytes;
    unsigned waits;
};

/* To its end; no reference but the script's own is left. */
static struct outcome drain(struct body *b)
{
    struct outcome o = { .result = BODY_DATA };
    while (o.result == BODY_DATA || o.result == BODY_WAIT) {
        struct span s = { 0 };
        o.result = body_pull(b, &s);
        if (o.result == BODY_WAIT) {
            wake(&inner);
            assert_int_equal(woken, ++o.waits);
        }
        o.bytes += s.n;
        span_release(&s);
    }
    assert_true(block_sole(inner.block));
    return o;
}

static void end(struct body *b)
{
    assert_int_equal(inner.closed, 0);
    body_close(&b);
    assert_int_equal(inner.closed, 1);
    block_release(inner.block);
}

/* ---- tables ---- */

static const struct row {
    const char *script;
    uint64_t limit_bytes;
    int error;      /* 0: it ends as it should */
    uint64_t bytes; /* that come before */
} rows[] = {
    { ".", 0, 0, 0 },
    { "5.", 5, 0, 5 },
    { "5.", 6, 0, 5 },
    { "5.", 4, -E_BODY_TOO_LARGE, 0 },
    { "1.", 0, -E_BODY_TOO_LARGE, 0 },
    { "999.", 27, 0, 27 },
    { "9991.", 27, -E_BODY_TOO_LARGE, 27 },
    { "991111111119.", 27, -E_BODY_TOO_LARGE, 27 },
    { "w3ww4w.", 7, 0, 7 },
    { "w3ww4w1.", 7, -E_BODY_TOO_LARGE, 7 },
    { "3!", 100, -E_BODY_TIMEOUT, 3 },
    { "3!", 3, -E_BODY_TIMEOUT, 3 },
    { "3w!", 3, -E_BODY_TIMEOUT, 3 },
    { "99.", UINT64_MAX, 0, 18 },
};

static void test_up_to_the_limit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct body *b = limited(rows[i].script, rows[i].limit_bytes);
        struct outcome o = drain(b);
        assert_int_equal(o.result, rows[i].error ? BODY_FAIL : BODY_END);
        assert_int_equal(o.bytes, rows[i].bytes);
        if (rows[i].error) assert_int_equal(b->error, rows[i].error);
        end(b);
    }
}

static void test_trailers_pass(void **state)
{
    (void)state;
    struct body *b = limited("3.", 10);
    assert_int_equal(drain(b).result, BODY_END);
    assert_ptr_equal(b->trailers, &trailers);
    end(b);
}

/* It tells whether there is a byte, and loses none. */
static void test_a_probe_loses_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *script;
        enum body_result result;
        uint64_t bytes;
    } probes[] = {
        { ".", BODY_END, 0 },  { "3.", BODY_DATA, 3 }, { "333.", BODY_DATA, 9 },
        { "!", BODY_FAIL, 0 }, { "w.", BODY_WAIT, 0 }, { "w33.", BODY_WAIT, 6 },
    };
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        struct body *b = limited(probes[i].script, 9);
        enum body_result result = upload_probe(b);
        assert_int_equal(result, probes[i].result);
        if (result == BODY_WAIT) {
            wake(&inner);
            assert_int_equal(woken, 1);
            result = upload_probe(b);
        }
        if (result == BODY_DATA) assert_int_equal(drain(b).bytes, probes[i].bytes);
        end(b);
    }
    struct body *b = limited("5.", 4);
    assert_int_equal(upload_probe(b), BODY_FAIL);
    assert_int_equal(b->error, -E_BODY_TOO_LARGE);
    end(b);
    b = limited("5.", 5); /* probed, and never pulled */
    assert_int_equal(upload_probe(b), BODY_DATA);
    end(b);
}

static void probe_twice(void)
{
    struct body *b = limited("55.", 10);
    upload_probe(b);
    upload_probe(b);
}

static void test_a_piece_that_waits_is_not_probed_over(void **state)
{
    (void)state;
    assert_true(check_fires(probe_twice, "!u->first.block"));
}

static void test_closing_closes_both_also_while_waiting(void **state)
{
    (void)state;
    struct span s = { 0 };
    struct body *b = limited("w.", 10);
    assert_int_equal(body_pull(b, &s), BODY_WAIT);
    end(b);
    assert_int_equal(woken, 0);
    end(limited("3.", 10)); /* never pulled */
}

static int start(void **state)
{
    (void)state;
    arena_init(&arena, 1024);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up_to_the_limit),
        cmocka_unit_test(test_trailers_pass),
        cmocka_unit_test(test_a_probe_loses_nothing),
        cmocka_unit_test(test_a_piece_that_waits_is_not_probed_over),
        cmocka_unit_test(test_closing_closes_both_also_while_waiting),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
