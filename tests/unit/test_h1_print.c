/* What is printed, to the byte, and that parsing it gives the message back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "protocols/h1/frame.h"
#include "protocols/h1/print.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const struct h1_limits limits = { .line_bytes = 4096,
                                         .head_bytes = 65536,
                                         .field_count = 100 };

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

/* Printed into a block of exactly the promised size. */
static struct slice print_response(const struct response *r, const struct h1_framing *f)
{
    size_t n = h1_response_size(r, f);
    char *block = malloc(n);
    assert_int_equal(h1_print_response(block, r, f), n);
    struct slice text = arena_copy(&arena, slice_of(block, n));
    free(block);
    return text;
}

static struct slice print_request(const struct request *r, const struct h1_framing *f)
{
    size_t n = h1_request_size(r, f);
    char *block = malloc(n);
    assert_int_equal(h1_print_request(block, r, f), n);
    struct slice text = arena_copy(&arena, slice_of(block, n));
    free(block);
    return text;
}

static const struct {
    int status;
    struct h1_framing framing;
    const char *expected;
} framings[] = {
    { 200,
      { .body = H1_BODY_LENGTH, .length = 0 },
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" },
    { 200,
      { .body = H1_BODY_LENGTH, .length = 9 },
      "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" },
    { 200,
      { .body = H1_BODY_LENGTH, .length = 10 },
      "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" },
    { 404,
      { .body = H1_BODY_LENGTH, .length = INT64_MAX },
      "HTTP/1.1 404 Not Found\r\nContent-Length: 9223372036854775807\r\n\r\n" },
    { 200, { .body = H1_BODY_CHUNKED }, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" },
    { 204, { .body = H1_BODY_NONE }, "HTTP/1.1 204 No Content\r\n\r\n" },
    { 599, { .body = H1_BODY_NONE }, "HTTP/1.1 599 \r\n\r\n" },
    { 200,
      { .body = H1_BODY_UNTIL_CLOSE, .connection = H1_CONNECTION_CLOSE },
      "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" },
    { 200,
      { .body = H1_BODY_LENGTH, .length = 5, .connection = H1_CONNECTION_KEEP_ALIVE },
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n" },
    { 101,
      { .upgrade = { "websocket", 9 } },
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" },
    { 200, { .lines = { "A: b\r\nC: d\r\n", 12 } }, "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n" },
    { 200, { .te_trailers = true }, "HTTP/1.1 200 OK\r\nConnection: TE\r\nTE: trailers\r\n\r\n" },
    { 200,
      { .connection = H1_CONNECTION_CLOSE, .te_trailers = true, .upgrade = { "a/1", 3 } },
      "HTTP/1.1 200 OK\r\nConnection: close, TE, Upgrade\r\nTE: trailers\r\nUpgrade: a/1\r\n\r\n" },
    { 200,
      { .te_trailers = true, .upgrade = { "a/1", 3 } },
      "HTTP/1.1 200 OK\r\nConnection: TE, Upgrade\r\nTE: trailers\r\nUpgrade: a/1\r\n\r\n" },
};

static void test_framings(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(framings); i++) {
        struct response r = { .status = framings[i].status };
        assert_string_equal(print_response(&r, &framings[i].framing).p, framings[i].expected);
    }
}

static void test_fields_come_between_lines_and_framing(void **state)
{
    (void)state;
    struct response r = { .status = 200 };
    struct h1_framing f = { .body = H1_BODY_LENGTH, .length = 1, .lines = SLICE("A: b\r\n") };
    fields_add(&r.fields, &arena, FIELD_ETAG, SLICE("\"x\""));
    fields_add_named(&r.fields, &arena, SLICE("x-Empty"), SLICE_NONE);
    assert_string_equal(
        print_response(&r, &f).p,
        "HTTP/1.1 200 OK\r\nA: b\r\nETag: \"x\"\r\nx-Empty: \r\nContent-Length: 1\r\n\r\n");
}

static void test_ready_lines_are_the_same_as_fields(void **state)
{
    (void)state;
    struct response r = { .status = 200 };
    struct h1_framing f = { .body = H1_BODY_CHUNKED };
    fields_add(&r.fields, &arena, FIELD_AGE, SLICE("1"));
    fields_add(&r.fields, &arena, FIELD_VIA, SLICE("1.1 x"));
    struct slice plain = print_response(&r, &f);
    size_t n = h1_fields_size(&r.fields);
    char *lines = malloc(n);
    assert_int_equal(h1_print_fields(lines, &r.fields), n);
    f.lines = slice_of(lines, n);
    r.fields.n = 0;
    assert_true(slice_eq(print_response(&r, &f), plain));
    free(lines);
}

static void test_requests(void **state)
{
    (void)state;
    struct request r = { .method_text = SLICE("BREW"),
                         .target = SLICE("/pot?a=b"),
                         .authority = SLICE("a.example:80") };
    struct h1_framing f = { .body = H1_BODY_NONE };
    assert_string_equal(print_request(&r, &f).p,
                        "BREW /pot?a=b HTTP/1.1\r\nHost: a.example:80\r\n\r\n");
    r.authority = SLICE_NONE;
    fields_add(&r.fields, &arena, FIELD_ACCEPT, SLICE("*/*"));
    f = (struct h1_framing){ .body = H1_BODY_LENGTH,
                             .length = 12,
                             .connection = H1_CONNECTION_CLOSE };
    assert_string_equal(print_request(&r, &f).p,
                        "BREW /pot?a=b HTTP/1.1\r\nHost: \r\nAccept: */*\r\nContent-Length: "
                        "12\r\nConnection: close\r\n\r\n");
}

/* A request as a hop would pass it on, parsed again. */
static void test_a_request_survives_the_round_trip(void **state)
{
    (void)state;
    struct slice text = SLICE(
        "POST http://b.example?q HTTP/1.1\r\nHost: a\r\nX: y\r\nTransfer-Encoding: chunked\r\n"
        "Connection: z\r\nZ: 1\r\nX: \xff\r\n\r\n");
    struct h1_request in, out;
    size_t scanned = 0;
    assert_int_equal(h1_parse_request(text, &scanned, &limits, &arena, &in), text.n);
    struct h1_framing f = { .body = in.body, .length = in.msg.length };
    struct slice printed = print_request(&in.msg, &f);
    assert_string_equal(printed.p, "POST /?q HTTP/1.1\r\nHost: b.example\r\nX: y\r\nX: \xff\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\n");
    scanned = 0;
    assert_int_equal(h1_parse_request(printed, &scanned, &limits, &arena, &out), printed.n);
    assert_true(slice_eq(out.msg.target, in.msg.target) &&
                slice_eq(out.msg.authority, in.msg.authority));
    assert_int_equal(out.body, in.body);
    assert_int_equal(out.msg.fields.n, 2);
}

static void test_chunk_lines(void **state)
{
    (void)state;
    static const struct {
        uint64_t size;
        const char *line;
    } lines[] = {
        { 1, "1\r\n" },
        { 15, "f\r\n" },
        { 16, "10\r\n" },
        { 255, "ff\r\n" },
        { 256, "100\r\n" },
        { 65536, "10000\r\n" },
        { UINT64_MAX, "ffffffffffffffff\r\n" },
    };
    for (size_t i = 0; i < COUNT(lines); i++) {
        char out[H1_CHUNK_LINE_BYTES];
        size_t n = h1_print_chunk_line(out, lines[i].size);
        assert_true(slice_eq(slice_of(out, n), slice_str(lines[i].line)));
    }
}

static void check_last_chunk(const struct fields *trailers, const char *expected)
{
    size_t n = h1_last_chunk_size(trailers);
    char *out = malloc(n);
    assert_int_equal(h1_print_last_chunk(out, trailers), n);
    assert_true(slice_eq(slice_of(out, n), slice_str(expected)));
    free(out);
}

static void test_last_chunks(void **state)
{
    (void)state;
    struct fields f = { 0 };
    check_last_chunk(NULL, "0\r\n\r\n");
    check_last_chunk(&f, "0\r\n\r\n");
    fields_add_named(&f, &arena, SLICE("Checksum"), SLICE("1"));
    check_last_chunk(&f, "0\r\nChecksum: 1\r\n\r\n");
}

/* Chunks of many sizes, printed and taken apart again. */
static void test_chunks_survive_the_round_trip(void **state)
{
    (void)state;
    static char data[70000], text[70000 + H1_CHUNK_LINE_BYTES + 16];
    memset(data, 'x', sizeof data);
    for (size_t size = 1; size <= sizeof data; size = size * 3 + 1) {
        struct h1_chunked c;
        struct slice run, in;
        size_t n = h1_print_chunk_line(text, size);
        memcpy(text + n, data, size);
        memcpy(text + n + size, "\r\n", 2);
        in = slice_of(text, n + size + 2 + h1_print_last_chunk(text + n + size + 2, NULL));
        h1_chunked_init(&c, &limits, &arena);
        assert_int_equal(h1_chunked_next(&c, &in, &run), H1_CHUNK_DATA);
        assert_int_equal(run.n, size);
        assert_int_equal(h1_chunked_next(&c, &in, &run), H1_CHUNK_END);
        assert_int_equal(in.n, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_framings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fields_come_between_lines_and_framing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_ready_lines_are_the_same_as_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_request_survives_the_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_chunks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunks_survive_the_round_trip, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
