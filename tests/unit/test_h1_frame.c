/* The chunked decoder: every body is decoded whole, cut at every place, and byte by byte, always to
 * the same end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "edge/base/error.h"
#include "protocols/h1/frame.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define S(text)                                                                                    \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static const struct h1_limits limits = { .line_bytes = 100, .head_bytes = 100, .field_count = 3 };

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 4096);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

struct decoded {
    int rc;
    char body[1024];
    size_t body_bytes, rest_bytes;
    struct fields trailers;
};

/* Feeds one piece, in a block of exactly its size. */
static void feed(struct h1_chunked *c, struct decoded *d, struct slice piece)
{
    char *block = malloc(piece.n ? piece.n : 1);
    memcpy(block, piece.p, piece.n);
    struct slice in = slice_of(block, piece.n), data;
    while ((d->rc = h1_chunked_next(c, &in, &data)) == H1_CHUNK_DATA) {
        assert_true(data.n > 0 && d->body_bytes + data.n <= sizeof d->body);
        memcpy(d->body + d->body_bytes, data.p, data.n);
        d->body_bytes += data.n;
    }
    if (d->rc == H1_CHUNK_MORE) assert_int_equal(in.n, 0);
    d->rest_bytes = in.n;
    free(block);
}

/* In pieces of step bytes, the first one of first bytes. */
static struct decoded decode(struct slice text, size_t first, size_t step)
{
    struct h1_chunked c;
    struct decoded d = { .rc = H1_CHUNK_MORE };
    h1_chunked_init(&c, &limits, &arena);
    for (size_t at = 0, n = first; at < text.n && d.rc == H1_CHUNK_MORE; at += n, n = step) {
        if (n > text.n - at) n = text.n - at;
        feed(&c, &d, slice_of(text.p + at, n));
        d.rest_bytes += text.n - at - n;
    }
    d.trailers = c.trailers;
    return d;
}

struct good {
    struct slice text; /* with "rest" behind the end */
    struct slice body;
    const char *trailer; /* value of the trailer X, NULL for none */
};

static const struct good good[] = {
    { S("0\r\n\r\nrest"), S(""), NULL },
    { S("3\r\nabc\r\n0\r\n\r\nrest"), S("abc"), NULL },
    { S("1\r\na\r\n00\r\n\r\nrest"), S("a"), NULL },
    { S("000000000000003\r\nabc\r\n000000000000000\r\n\r\nrest"), S("abc"), NULL },
    { S("1\r\n\r\r\n2\r\n\r\n\r\n0\r\n\r\nrest"), S("\r\r\n"), NULL },
    { S("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\nrest"), S("01234567890123456789"), NULL },
    { S("1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\nrest"), S("abcdefghijklmnopqrstuvwxyz"),
      NULL },
    { S("3;a;b=c;d=\"\t; \xff\"\r\nabc\r\n0;x\r\n\r\nrest"), S("abc"), NULL },
    { S("3 ;a\t ; b = c ;\td=\"\"\r\nabc\r\n0;a=\"x\\\"; y\";b\r\n\r\nrest"), S("abc"), NULL },
    { S("3\r\nabc\r\n0\r\nX: y\r\n\r\nrest"), S("abc"), "y" },
    { S("0\r\nA: b\r\nx:\tlong value \r\nContent-Length: 5\r\n\r\nrest"), S(""), "long value" },
};

static void check_good(const struct good *g, const struct decoded *d)
{
    assert_int_equal(d->rc, H1_CHUNK_END);
    assert_int_equal(d->rest_bytes, 4);
    assert_true(slice_eq(slice_of(d->body, d->body_bytes), g->body));
    const struct field *x = fields_get_named(&d->trailers, SLICE("X"));
    assert_int_equal(x != NULL, g->trailer != NULL);
    if (x) assert_true(slice_eq(x->value, slice_str(g->trailer)));
    assert_false(fields_has(&d->trailers, FIELD_CONTENT_LENGTH));
}

static void test_good_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct decoded d = decode(good[i].text, 1, 1);
        check_good(&good[i], &d);
        for (size_t cut = 1; cut <= good[i].text.n; cut++) {
            d = decode(good[i].text, cut, good[i].text.n);
            check_good(&good[i], &d);
        }
    }
}

/* Every beginning of a good body is merely not complete. */
static void test_beginnings(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        for (size_t n = 0; n < good[i].text.n - 4; n++) {
            struct decoded d = decode(slice_of(good[i].text.p, n), n, 1);
            assert_int_equal(d.rc, H1_CHUNK_MORE);
        }
    }
}

static const struct slice bad[] = {
    S("\r\nabc\r\n0\r\n\r\n"),
    S("zz\r\n"),
    S("g\r\n"),
    S("+3\r\nabc\r\n"),
    S("-3\r\nabc\r\n"),
    S("0x3\r\nabc\r\n"),
    S(" 3\r\nabc\r\n"),
    S("3 \r\nabc\r\n"),
    S("3\t\r\nabc\r\n"),
    S("3\nabc\r\n"),
    S("3\rabc\r\n"),
    S("3\r\r\nabc\r\n"),
    S(";a\r\nabc\r\n"),
    S("3;\r\nabc\r\n"),
    S("3;;\r\nabc\r\n"),
    S("3; \r\nabc\r\n"),
    S("3;a;\r\nabc\r\n"),
    S("3;a \r\nabc\r\n"),
    S("3;a b\r\nabc\r\n"),
    S("3;=b\r\nabc\r\n"),
    S("3;a=\r\nabc\r\n"),
    S("3;a= \r\nabc\r\n"),
    S("3;a=;b\r\nabc\r\n"),
    S("3;a==b\r\nabc\r\n"),
    S("3;a=b c\r\nabc\r\n"),
    S("3;a=\"x\r\nabc\r\n"),
    S("3;a=\"x\\\r\nabc\r\n"),
    S("3;a=\"x\"y\r\nabc\r\n"),
    S("3;a=\"x\0\"\r\nabc\r\n"),
    S("3;bad[=x\r\nabc\r\n"),
    S("3;a=\xff\r\nabc\r\n"),
    S("3;a\nb\r\nabc\r\n"),
    S("3;a\rb\r\nabc\r\n"),
    S("3;a\0\r\nabc\r\n"),
    S("3;\x7f\r\nabc\r\n"),
    S("3\r\nabcd\r\n"),
    S("3\r\nabc\n"),
    S("3\r\nabc\rx"),
    S("3\r\nabc0\r\n\r\n"),
    S("3\r\nabc\r\n\r\n0\r\n\r\n"),
    S("0\n\r\n"),
    S("0000000000000003\r\nabc"),
    S("10000000000000003\r\nabc"),
    S("ffffffffffffffff\r\n"),
    S("0\r\nX : y\r\n\r\n"),
    S("0\r\n X: y\r\n\r\n"),
    S("0\r\nX: y\r\n z\r\n\r\n"),
    S("0\r\nX: y\0\r\n\r\n"),
    S("0\r\nX: y\n\r\n\r\n"),
    S("0\r\n\n"),
    S("0\r\n\rX"),
    S("0\r\nX: y\n"),
    S("0\r\nX: y\r\n\n"),
    S("0\r\nX: y\rz"),
    S("0\r\nX\r\n\r\n"),
    S("0\r\nA:\r\nB:\r\nC:\r\nD:\r\n\r\n"),
};

static void test_bad_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct decoded whole = decode(bad[i], bad[i].n, 1), bytewise = decode(bad[i], 1, 1);
        if (whole.rc == -E_BAD_FRAMING && bytewise.rc == -E_BAD_FRAMING) continue;
        fail_msg("%zu: %.*s", i, SLICE_ARGS(bad[i]));
    }
}

static int decode_extension(size_t n)
{
    struct h1_chunked c;
    struct slice data, in = SLICE("0");
    h1_chunked_init(&c, &limits, &arena);
    assert_int_equal(h1_chunked_next(&c, &in, &data), H1_CHUNK_MORE);
    in = SLICE(";");
    assert_int_equal(h1_chunked_next(&c, &in, &data), H1_CHUNK_MORE);
    while (n-- > 0) {
        in = SLICE("x");
        int rc = h1_chunked_next(&c, &in, &data);
        if (rc < 0) return rc;
    }
    in = SLICE("\r\n\r\n");
    return h1_chunked_next(&c, &in, &data);
}

static const struct {
    struct slice text;
    const char *rule;
    struct slice bytes;
} faults[] = {
    { S("zz\r\n"), "its size", S("zz\r\n") },
    { S("3\r\nabc\r\n0x3\r\n"), "its size", S("x3\r\n") },
    { S("3\rabc"), "end in CRLF", S("abc") },
    { S("3\r\nabcde\r\n"), "the data of a chunk", S("de\r\n") },
    { S("3\r\nabc\rd"), "the data of a chunk", S("d") },
    { S("3;=\r\n"), "a chunk extension", S("=\r\n") },
    { S("0\r\nA: b\r\nC : d\r\n\r\n"), "trailers", S("A: b\r\nC : d\r\n\r\n") },
};

static void test_faults_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(faults); i++) {
        struct h1_chunked c;
        struct slice in = faults[i].text, data;
        int rc;
        h1_chunked_init(&c, &limits, &arena);
        while ((rc = h1_chunked_next(&c, &in, &data)) == H1_CHUNK_DATA) continue;
        assert_int_equal(rc, -E_BAD_FRAMING);
        struct h1_fault fault = h1_chunked_fault(&c, in);
        assert_non_null(strstr(fault.rule, faults[i].rule));
        assert_true(slice_eq(fault.bytes, faults[i].bytes));
        assert_int_equal(fault.line, 0);
    }
}

static void test_a_fault_is_cut(void **state)
{
    (void)state;
    struct h1_chunked c;
    char text[2 * H1_FAULT_BYTES];
    memset(text, 'z', sizeof text);
    struct slice in = slice_of(text, sizeof text), data;
    h1_chunked_init(&c, &limits, &arena);
    assert_int_equal(h1_chunked_next(&c, &in, &data), -E_BAD_FRAMING);
    assert_int_equal(h1_chunked_fault(&c, in).bytes.n, H1_FAULT_BYTES);
}

static void test_extensions_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(decode_extension(H1_CHUNK_EXTENSION_BYTES - 1), H1_CHUNK_END);
    assert_int_equal(decode_extension(H1_CHUNK_EXTENSION_BYTES), -E_BAD_FRAMING);
    assert_int_equal(decode_extension(H1_CHUNK_EXTENSION_BYTES * 2), -E_BAD_FRAMING);
}

/* It is the sum that counts, or short extensions on many small chunks would pass. */
static void test_extensions_are_bounded_in_all(void **state)
{
    (void)state;
    struct h1_chunked c;
    h1_chunked_init(&c, &limits, &arena);
    int rc = H1_CHUNK_DATA, chunks = 0;
    for (; rc >= 0 && chunks < 10000; chunks++) {
        struct slice data, in = SLICE("1;abcdefg\r\nx\r\n");
        while ((rc = h1_chunked_next(&c, &in, &data)) == H1_CHUNK_DATA) continue;
    }
    assert_int_equal(rc, -E_BAD_FRAMING);
    assert_int_equal(chunks, H1_CHUNK_EXTENSION_BYTES / 8 + 1);
}

static void test_trailers_are_bounded(void **state)
{
    (void)state;
    struct slice fits = arena_printf(&arena, "0\r\nX: %093d\r\n\r\n", 0);
    struct slice over = arena_printf(&arena, "0\r\nX: %094d\r\n\r\n", 0);
    struct slice endless = arena_printf(&arena, "0\r\n%0101d", 0);
    assert_int_equal(decode(fits, fits.n, 1).rc, H1_CHUNK_END);
    assert_int_equal(decode(fits, 1, 1).rc, H1_CHUNK_END);
    assert_int_equal(decode(over, over.n, 1).rc, -E_BAD_FRAMING);
    assert_int_equal(decode(over, 1, 1).rc, -E_BAD_FRAMING);
    assert_int_equal(decode(endless, endless.n, 1).rc, -E_BAD_FRAMING);
    assert_int_equal(decode(endless, 1, 1).rc, -E_BAD_FRAMING);
}

/* A caller that reads a chunk's data straight to its place gets on as if it had come through here.
 */
static void test_advance(void **state)
{
    (void)state;
    struct h1_chunked c;
    struct slice data, in = SLICE("1000\r\nab");
    h1_chunked_init(&c, &limits, &arena);
    assert_int_equal(h1_chunked_next(&c, &in, &data), H1_CHUNK_DATA);
    assert_true(slice_eq(data, SLICE("ab")));
    assert_int_equal(h1_chunked_next(&c, &in, &data), H1_CHUNK_MORE);
    assert_int_equal(c.left_bytes, 0x1000 - 2);
    h1_chunked_advance(&c, 0x1000 - 3);
    assert_int_equal(c.left_bytes, 1);
    h1_chunked_advance(&c, 1);
    assert_int_equal(c.left_bytes, 0);
    in = SLICE("\r\n1\r\nc\r\n0\r\n\r\n");
    assert_int_equal(h1_chunked_next(&c, &in, &data), H1_CHUNK_DATA);
    assert_true(slice_eq(data, SLICE("c")));
    assert_int_equal(h1_chunked_next(&c, &in, &data), H1_CHUNK_END);
}

/* The largest size is taken as it is; between chunks nothing is left to read. */
static void test_sizes(void **state)
{
    (void)state;
    struct h1_chunked c;
    struct slice data, in = SLICE("fffffffffffffff\r\n");
    h1_chunked_init(&c, &limits, &arena);
    assert_int_equal(c.left_bytes, 0);
    assert_int_equal(h1_chunked_next(&c, &in, &data), H1_CHUNK_MORE);
    assert_int_equal(c.left_bytes, 0xfffffffffffffff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_beginnings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_faults_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_fault_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_extensions_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_extensions_are_bounded_in_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trailers_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_advance, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
