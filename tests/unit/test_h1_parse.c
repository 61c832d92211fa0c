/* Heads as tables. Each is parsed twice, whole and arriving byte by byte, and both must end the
 * same way. Every input lies in a block of exactly its size, so that a sanitizer sees a read past
 * the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "edge/base/error.h"
#include "protocols/h1/parse.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define H        "Host: a.example\r\n"
#define GET      "GET / HTTP/1.1\r\n" H
#define POST     "POST / HTTP/1.1\r\n" H
#define OK       "HTTP/1.1 200 OK\r\n"

static const struct h1_limits usual = { .line_bytes = 1024, .head_bytes = 4096, .field_count = 20 };

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

/* A message of either kind, so that the same loops serve both. */
struct message {
    bool is_response;
    enum method method;
    struct h1_request request;
    struct h1_response response;
};

static int parse(struct message *m, struct slice buf, size_t *scanned,
                 const struct h1_limits *limits)
{
    if (m->is_response)
        return h1_parse_response(buf, scanned, limits, m->method, &arena, &m->response);
    return h1_parse_request(buf, scanned, limits, &arena, &m->request);
}

/* The bytes stay in the arena for the sake of the slices; what is parsed is a block of exactly n
 * bytes. */
static struct slice exact(struct slice s)
{
    char *block = malloc(s.n ? s.n : 1);
    memcpy(block, s.p, s.n);
    return slice_of(block, s.n);
}

static int parse_whole(struct message *m, struct slice text, const struct h1_limits *limits)
{
    size_t scanned = 0;
    struct slice block = exact(text);
    int rc = parse(m, block, &scanned, limits);
    free((char *)block.p);
    return rc;
}

static int parse_bytewise(struct message *m, struct slice text, const struct h1_limits *limits)
{
    size_t scanned = 0;
    for (size_t n = 0; n <= text.n; n++) {
        struct slice block = exact(slice_of(text.p, n));
        int rc = parse(m, block, &scanned, limits);
        free((char *)block.p);
        if (rc) return rc;
        assert_int_equal(scanned, n);
    }
    return 0;
}

struct wrong {
    const char *name;
    struct slice head;
    int error;
};

static void check_wrong(const struct wrong *table, size_t count, struct message *m)
{
    for (size_t i = 0; i < count; i++) {
        int whole = parse_whole(m, table[i].head, &usual);
        int bytewise = parse_bytewise(m, table[i].head, &usual);
        if (whole == -table[i].error && bytewise == whole) continue;
        fail_msg("%s: whole %s, bytewise %s", table[i].name,
                 whole < 0 ? error_info(whole)->name : "accepted",
                 bytewise < 0 ? error_info(bytewise)->name : "accepted");
    }
}

#define W(name, error, head)                                                                       \
    {                                                                                              \
        name, { head, sizeof(head) - 1 }, E_##error                                                \
    }

static const struct wrong wrong_requests[] = {
    W("no method", BAD_REQUEST, " / HTTP/1.1\r\n" H "\r\n"),
    W("method no token", BAD_REQUEST, "G(T / HTTP/1.1\r\n" H "\r\n"),
    W("method too long", BAD_REQUEST, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n" H "\r\n"),
    W("two spaces", BAD_REQUEST, "GET  / HTTP/1.1\r\n" H "\r\n"),
    W("tab for a space", BAD_REQUEST, "GET\t/ HTTP/1.1\r\n" H "\r\n"),
    W("space at the front", BAD_REQUEST, " GET / HTTP/1.1\r\n" H "\r\n"),
    W("two empty lines before", BAD_REQUEST, "\r\n\r\n" GET "\r\n"),
    W("bare LF before", BAD_REQUEST, "\n" GET "\r\n"),
    W("bare CR before", BAD_REQUEST, "\r" GET "\r\n"),
    W("no target", BAD_REQUEST, "GET HTTP/1.1\r\n" H "\r\n"),
    W("fragment", BAD_REQUEST, "GET /a#b HTTP/1.1\r\n" H "\r\n"),
    W("non-ASCII target", BAD_REQUEST, "GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n"),
    W("DEL in the target", BAD_REQUEST, "GET /\x7f HTTP/1.1\r\n" H "\r\n"),
    W("NUL in the target", BAD_REQUEST, "GET /\0 HTTP/1.1\r\n" H "\r\n"),
    W("space in the target", BAD_REQUEST, "GET /a b HTTP/1.1\r\n" H "\r\n"),
    W("relative target", BAD_REQUEST, "GET a HTTP/1.1\r\n" H "\r\n"),
    W("asterisk for GET", BAD_REQUEST, "GET * HTTP/1.1\r\n" H "\r\n"),
    W("two asterisks", BAD_REQUEST, "OPTIONS ** HTTP/1.1\r\n" H "\r\n"),
    W("authority-form for GET", BAD_REQUEST, "GET a.example:80 HTTP/1.1\r\n" H "\r\n"),
    W("CONNECT to a path", BAD_REQUEST, "CONNECT / HTTP/1.1\r\n" H "\r\n"),
    W("CONNECT without port", BAD_REQUEST, "CONNECT a.example HTTP/1.1\r\n" H "\r\n"),
    W("CONNECT with empty port", BAD_REQUEST, "CONNECT a.example: HTTP/1.1\r\n" H "\r\n"),
    W("other scheme", BAD_REQUEST, "GET ftp://a.example/ HTTP/1.1\r\n" H "\r\n"),
    W("absolute without authority", BAD_HOST, "GET http:///a HTTP/1.1\r\n" H "\r\n"),
    W("absolute with userinfo", BAD_HOST, "GET http://u@a.example/ HTTP/1.1\r\n" H "\r\n"),
    W("no version", BAD_REQUEST, "GET /\r\n" H "\r\n"),
    W("lower-case version", BAD_REQUEST, "GET / http/1.1\r\n" H "\r\n"),
    W("one digit", BAD_REQUEST, "GET / HTTP/1\r\n" H "\r\n"),
    W("three digits", BAD_REQUEST, "GET / HTTP/1.11\r\n" H "\r\n"),
    W("two major digits", BAD_REQUEST, "GET / HTTP/11.1\r\n" H "\r\n"),
    W("HTTP/2.0", VERSION, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    W("HTTP/0.9", VERSION, "GET / HTTP/0.9\r\n" H "\r\n"),
    W("space after version", BAD_REQUEST, "GET / HTTP/1.1 \r\n" H "\r\n"),
    W("LF after request line", BAD_REQUEST, "GET / HTTP/1.1\n" H "\r\n"),
    W("CR after request line", BAD_REQUEST, "GET / HTTP/1.1\r" H "\r\n"),
    W("obs-fold first", BAD_REQUEST, "GET / HTTP/1.1\r\n " H "\r\n"),
    W("obs-fold", BAD_REQUEST, GET "A: b\r\n c\r\n\r\n"),
    W("obs-fold with tab", BAD_REQUEST, GET "A: b\r\n\tc\r\n\r\n"),
    W("space before colon", BAD_REQUEST, GET "A : b\r\n\r\n"),
    W("tab before colon", BAD_REQUEST, GET "A\t: b\r\n\r\n"),
    W("no name", BAD_REQUEST, GET ": b\r\n\r\n"),
    W("no colon", BAD_REQUEST, GET "Abc\r\n\r\n"),
    W("name no token", BAD_REQUEST, GET "A(b): c\r\n\r\n"),
    W("non-ASCII name", BAD_REQUEST, GET "\xc3\xa4: c\r\n\r\n"),
    W("NUL in name", BAD_REQUEST, GET "A\0: b\r\n\r\n"),
    W("NUL in value", BAD_REQUEST, GET "A: b\0c\r\n\r\n"),
    W("control in value", BAD_REQUEST,
      GET "A: b\x01"
          "c\r\n\r\n"),
    W("vertical tab in value", BAD_REQUEST, GET "A: \vb\r\n\r\n"),
    W("DEL in value", BAD_REQUEST, GET "A: 0123456789\x7f\r\n\r\n"),
    W("DEL after tabs", BAD_REQUEST, GET "A: \t0\t1\t2\t3\t4\t\x7f\r\n\r\n"),
    W("bare CR in value", BAD_REQUEST, GET "A: b\rc\r\n\r\n"),
    W("two CRs", BAD_REQUEST, GET "A: b\r\r\n\r\n"),
    W("bare LF after field", BAD_REQUEST, GET "A: b\n\r\n"),
    W("bare LF at the end", BAD_REQUEST, GET "\n\r\n\r\n"),
    W("CR at the end", BAD_REQUEST, GET "\rA: b\r\n\r\n"),
    W("no Host", BAD_HOST, "GET / HTTP/1.1\r\nA: b\r\n\r\n"),
    W("no Host, absolute-form", BAD_HOST, "GET http://a.example/ HTTP/1.1\r\n\r\n"),
    W("two Hosts", BAD_HOST, GET H "\r\n"),
    W("two Hosts in HTTP/1.0", BAD_HOST, "GET / HTTP/1.0\r\n" H H "\r\n"),
    W("empty Host", BAD_HOST, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    W("empty Host in HTTP/1.0", BAD_HOST, "GET / HTTP/1.0\r\nHost:\r\n\r\n"),
    W("Host with path", BAD_HOST, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    W("Host with userinfo", BAD_HOST, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    W("bad Host beside absolute-form", BAD_HOST, "GET http://a/ HTTP/1.1\r\nHost: b c\r\n\r\n"),
    W("differing Ranges", BAD_REQUEST, GET "Range: bytes=0-1\r\nRange: bytes=2-3\r\n\r\n"),
    W("differing Authorizations", BAD_REQUEST,
      GET "Authorization: a\r\nX: y\r\nauthorization: b\r\n\r\n"),
    W("both lengths", BAD_FRAMING, POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
    W("both lengths, turned", BAD_FRAMING,
      POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"),
    W("differing lengths", BAD_FRAMING, POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\n"),
    W("same lengths", BAD_FRAMING, POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\n"),
    W("lengths in a list", BAD_FRAMING, POST "Content-Length: 3, 3\r\n\r\n"),
    W("empty length", BAD_FRAMING, POST "Content-Length: \r\n\r\n"),
    W("plus", BAD_FRAMING, POST "Content-Length: +3\r\n\r\n"),
    W("minus", BAD_FRAMING, POST "Content-Length: -3\r\n\r\n"),
    W("hex", BAD_FRAMING, POST "Content-Length: 0x3\r\n\r\n"),
    W("space in length", BAD_FRAMING, POST "Content-Length: 3 0\r\n\r\n"),
    W("2^63", BAD_FRAMING, POST "Content-Length: 9223372036854775808\r\n\r\n"),
    W("2^64 + 3", BAD_FRAMING, POST "Content-Length: 18446744073709551619\r\n\r\n"),
    W("gzip, chunked", TRANSFER_CODING, POST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    W("gzip with a parameter", TRANSFER_CODING,
      POST "Transfer-Encoding: x;a=\"b,c\", Chunked\r\n\r\n"),
    W("gzip and a length", BAD_FRAMING,
      POST "Transfer-Encoding: gzip, chunked\r\nContent-Length: 3\r\n\r\n"),
    W("gzip, then chunked with a parameter", BAD_FRAMING,
      POST "Transfer-Encoding: gzip, chunked;q=1\r\n\r\n"),
    W("no coding, chunked", BAD_FRAMING, POST "Transfer-Encoding: g(zip, chunked\r\n\r\n"),
    W("gzip, chunked on two lines", BAD_FRAMING,
      POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"),
    W("chunked, chunked", BAD_FRAMING, POST "Transfer-Encoding: chunked, chunked\r\n\r\n"),
    W("chunked on two lines", BAD_FRAMING,
      POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    W("identity on another line", BAD_FRAMING,
      POST "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n"),
    W("identity", BAD_FRAMING, POST "Transfer-Encoding: identity\r\n\r\n"),
    W("empty coding", BAD_FRAMING, POST "Transfer-Encoding:\r\n\r\n"),
    W("chunked with parameter", BAD_FRAMING, POST "Transfer-Encoding: chunked;a=b\r\n\r\n"),
    W("chunked, empty member", BAD_FRAMING, POST "Transfer-Encoding: chunked,\r\n\r\n"),
    W("quoted chunked", BAD_FRAMING, POST "Transfer-Encoding: \"chunked\"\r\n\r\n"),
    W("chunked in HTTP/1.0", BAD_FRAMING, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
};

static void test_wrong_requests(void **state)
{
    (void)state;
    struct message m = { 0 };
    check_wrong(wrong_requests, COUNT(wrong_requests), &m);
}

static const struct wrong wrong_responses[] = {
    W("empty line before", RESPONSE_MALFORMED, "\r\n" OK "\r\n"),
    W("HTTP/2", RESPONSE_MALFORMED, "HTTP/2.0 200 OK\r\n\r\n"),
    W("another protocol", RESPONSE_MALFORMED, "ICY 200 OK\r\n\r\n"),
    W("two digits", RESPONSE_MALFORMED, "HTTP/1.1 20 OK\r\n\r\n"),
    W("four digits", RESPONSE_MALFORMED, "HTTP/1.1 2000 OK\r\n\r\n"),
    W("status 099", RESPONSE_MALFORMED, "HTTP/1.1 099 OK\r\n\r\n"),
    W("status 600", RESPONSE_MALFORMED, "HTTP/1.1 600 OK\r\n\r\n"),
    W("no status", RESPONSE_MALFORMED, "HTTP/1.1  OK\r\n\r\n"),
    W("status in letters", RESPONSE_MALFORMED, "HTTP/1.1 OK\r\n\r\n"),
    W("control in phrase", RESPONSE_MALFORMED, "HTTP/1.1 200 O\x01K\r\n\r\n"),
    W("LF after status line", RESPONSE_MALFORMED, "HTTP/1.1 200 OK\nA: b\r\n\r\n"),
    W("obs-fold", RESPONSE_MALFORMED, OK "A: b\r\n c\r\n\r\n"),
    W("space before colon", RESPONSE_MALFORMED, OK "A : b\r\n\r\n"),
    W("NUL in value", RESPONSE_MALFORMED, OK "A: \0\r\n\r\n"),
    W("bare CR in value", RESPONSE_MALFORMED, OK "A: b\rSet-Cookie: c\r\n\r\n"),
    W("both lengths", RESPONSE_MALFORMED,
      OK "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
    W("differing lengths", RESPONSE_MALFORMED, OK "Content-Length: 3\r\nContent-Length: 4\r\n\r\n"),
    W("length in a list", RESPONSE_MALFORMED, OK "Content-Length: 3, 3\r\n\r\n"),
    W("negative length", RESPONSE_MALFORMED, OK "Content-Length: -3\r\n\r\n"),
    W("chunked in HTTP/1.0", RESPONSE_MALFORMED,
      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    W("gzip", RESPONSE_CODING, OK "Transfer-Encoding: gzip\r\n\r\n"),
    W("gzip, chunked", RESPONSE_CODING, OK "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    W("chunked twice", RESPONSE_CODING,
      OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
};

static void test_wrong_responses(void **state)
{
    (void)state;
    struct message m = { .is_response = true, .method = METHOD_GET };
    check_wrong(wrong_responses, COUNT(wrong_responses), &m);
}

/* Line, field, rule and bytes of the fault. */
static const struct {
    const char *head, *expected;
} faults[] = {
    { "ICY 200 OK\r\n\r\n", "1||must begin with HTTP/1.x|ICY 200 OK\r\n" },
    { "HTTP/2.0 200 OK\r\n\r\n", "1||must begin with HTTP/1.x|HTTP/2.0 200 OK\r\n" },
    { "HTTP/1.1 20 OK\r\n\r\n", "1||three digits|HTTP/1.1 20 OK\r\n" },
    { "HTTP/1.1 099 OK\r\n\r\n", "1||three digits|HTTP/1.1 099 OK\r\n" },
    { "HTTP/1.1 2000 OK\r\n\r\n", "1||a space or CRLF|HTTP/1.1 2000 OK\r\n" },
    { "HTTP/1.1 200 O\x01K\r\n\r\n", "1||no control byte|HTTP/1.1 200 O\x01K\r\n" },
    { OK "A: b\nC: d\r\n\r\n", "2|A|must end in CRLF|A: b\n" },
    { OK "A: b\r\nC: d\rE: f\r\n\r\n", "3|C|must end in CRLF|C: d\rE: f\r\n" },
    { OK "A: b\r\n c\r\n\r\n", "3||fold| c\r\n" },
    { OK "A : b\r\n\r\n", "2|A|a colon right behind|A : b\r\n" },
    { OK "A: b\r\n\rC: d\r\n\r\n", "3||must end in CRLF|\rC: d\r\n" },
    { OK "A: b\r\nContent-Length: -3\r\nC: d\r\n\r\n",
      "3|Content-Length|one number|Content-Length: -3\r\n" },
    { OK "content-length: 3\r\nContent-Length: 3\r\n\r\n",
      "3|Content-Length|given once|Content-Length: 3\r\n" },
    { OK "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
      "2|Transfer-Encoding|exclude each other|Transfer-Encoding: chunked\r\n" },
    { "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      "2|Transfer-Encoding|HTTP/1.0 has no|Transfer-Encoding: chunked\r\n" },
    { OK "Transfer-Encoding: gzip\r\n\r\n",
      "2|Transfer-Encoding|nothing else|Transfer-Encoding: gzip\r\n" },
#define X25 "xxxxxxxxxxxxxxxxxxxxxxxxx"
    { OK "A: " X25 X25 "\x01" X25 X25 X25 X25 "\r\n\r\n",
      "2|A|must end in CRLF|" X25 X25 "\x01" X25 "xxxxxxxxxxxxxxxxxxxxxxxx" },
};

/* Everything must match but the rule, of which expected has a part. */
static bool fault_is(const struct h1_fault *f, const char *expected)
{
    const char *rule = strchr(strchr(expected, '|') + 1, '|') + 1, *bytes = strchr(rule, '|') + 1;
    struct slice place = slice_of(expected, (size_t)(rule - expected));
    const char *part = arena_printf(&arena, "%.*s", (int)(bytes - 1 - rule), rule).p;
    return slice_eq(arena_printf(&arena, "%u|%.*s|", f->line, SLICE_ARGS(f->field)), place) &&
           f->rule && strstr(f->rule, part) && slice_eq(f->bytes, slice_str(bytes));
}

/* Bytewise, a fault is found as soon as its byte is there, so no more than that is shown. */
static void test_faults_are_located(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(faults); i++) {
        struct h1_response r;
        struct slice all = slice_str(faults[i].head);
        size_t scanned = 0;
        assert_true(h1_parse_response(all, &scanned, &usual, METHOD_GET, &arena, &r) < 0);
        if (!fault_is(&r.fault, faults[i].expected))
            fail_msg("%s: %u, %.*s, %s, %.*s", faults[i].expected, r.fault.line,
                     SLICE_ARGS(r.fault.field), r.fault.rule, SLICE_ARGS(r.fault.bytes));
        struct h1_fault whole = r.fault;
        int rc = scanned = 0;
        for (size_t n = 0; rc == 0; n++)
            rc = h1_parse_response(slice_of(all.p, n), &scanned, &usual, METHOD_GET, &arena, &r);
        assert_int_equal(r.fault.line, whole.line);
        assert_string_equal(r.fault.rule, whole.rule);
        assert_true(whole.bytes.n == H1_FAULT_BYTES || slice_starts(whole.bytes, r.fault.bytes));
    }
}

/* A limit has a name of its own. */
static void test_a_limit_is_no_fault(void **state)
{
    (void)state;
    struct h1_limits one = { .line_bytes = 1024, .head_bytes = 4096, .field_count = 1 };
    struct h1_response r;
    size_t scanned = 0;
    assert_int_equal(
        h1_parse_response(SLICE(OK "A: b\r\nC: d\r\n\r\n"), &scanned, &one, METHOD_GET, &arena, &r),
        -E_RESPONSE_HEADER_TOO_LARGE);
    assert_null(r.fault.rule);
}

/* What a good head becomes, in one line: easier to read than eight columns. Slices of the message
 * point into text. */
static struct slice describe_request(const struct h1_request *r)
{
    static const char *const bodies[] = { "none", "length", "chunked", "close" };
    const struct request *m = &r->msg;
    return arena_printf(&arena, "%d %.*s|%.*s|%.*s|%.*s|%d %s %lld%s%s%s%s%.*s", (int)m->method,
                        SLICE_ARGS(m->method_text), SLICE_ARGS(m->scheme), SLICE_ARGS(m->authority),
                        SLICE_ARGS(m->target), (int)m->version, bodies[r->body],
                        (long long)m->length, r->keep_alive ? " keep" : " close",
                        r->expect_continue ? " expect" : "", r->te_trailers ? " trailers" : "",
                        r->upgrade.n ? " upgrade=" : "", SLICE_ARGS(r->upgrade));
}

static struct slice describe_response(const struct h1_response *r)
{
    static const char *const bodies[] = { "none", "length", "chunked", "close" };
    return arena_printf(&arena, "%d %d %s %lld%s%s%s%.*s", (int)r->version, r->msg.status,
                        bodies[r->body], (long long)r->msg.length,
                        r->keep_alive ? " keep" : " close", r->interim ? " interim" : "",
                        r->upgrade.n ? " upgrade=" : "", SLICE_ARGS(r->upgrade));
}

static struct slice describe_fields(struct slice line, const struct fields *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        line = arena_printf(&arena, "%.*s [%.*s=%.*s]", SLICE_ARGS(line), SLICE_ARGS(f->v[i].name),
                            SLICE_ARGS(f->v[i].value));
        assert_int_equal(f->v[i].id, field_lookup(f->v[i].name));
    }
    return line;
}

static struct slice describe(const struct message *m)
{
    if (m->is_response)
        return describe_fields(describe_response(&m->response), &m->response.msg.fields);
    return describe_fields(describe_request(&m->request), &m->request.msg.fields);
}

struct right {
    const char *head, *expected;
};

/* Complete at its last byte and not before; what follows it changes nothing. */
static void check_right(struct message *m, const struct right *c)
{
    struct slice text = slice_str(c->head);
    struct slice followed = arena_printf(&arena, "%sGET /next", c->head);
    size_t scanned = 0;
    assert_int_equal(parse_bytewise(m, text, &usual), text.n);
    assert_int_equal(parse_whole(m, followed, &usual), text.n);
    assert_int_equal(parse(m, followed, &scanned, &usual), text.n);
    assert_string_equal(describe(m).p, c->expected);
}

static const struct right right_requests[] = {
    { GET "\r\n", "1 GET||a.example|/|11 none -2 keep" },
    { "\r\n" GET "\r\n", "1 GET||a.example|/|11 none -2 keep" },
    { "BREW /pot?x=%20&y HTTP/1.1\r\nhost:\t[::1]:80 \r\n\r\n",
      "0 BREW||[::1]:80|/pot?x=%20&y|11 none -2 keep" },
    { "get / HTTP/1.1\r\n" H "\r\n", "0 get||a.example|/|11 none -2 keep" },
    { "GET //a\"<>\\^`{|} HTTP/1.1\r\n" H "\r\n",
      "1 GET||a.example|//a\"<>\\^`{|}|11 none -2 keep" },
    { "GET / HTTP/1.0\r\n\r\n", "1 GET|||/|10 none -2 close" },
    { "GET / HTTP/1.9\r\n" H "\r\n", "1 GET||a.example|/|11 none -2 keep" },
    { "OPTIONS * HTTP/1.1\r\n" H "\r\n", "6 OPTIONS||a.example|*|11 none -2 keep" },
    { "CONNECT b.example:443 HTTP/1.1\r\n" H "\r\n", "8 CONNECT||b.example:443||11 none -2 keep" },
    /* absolute-form: it wins over Host */
    { "GET http://b.example/c HTTP/1.1\r\n" H "\r\n", "1 GET|http|b.example|/c|11 none -2 keep" },
    { "GET HTTPS://b.example:8443?q HTTP/1.1\r\n" H "\r\n",
      "1 GET|https|b.example:8443|/?q|11 none -2 keep" },
    { "GET http://b.example HTTP/1.0\r\n\r\n", "1 GET|http|b.example|/|10 none -2 close" },
    { "OPTIONS http://b.example HTTP/1.1\r\n" H "\r\n",
      "6 OPTIONS|http|b.example|*|11 none -2 keep" },
    { "OPTIONS http://b.example/ HTTP/1.1\r\n" H "\r\n",
      "6 OPTIONS|http|b.example|/|11 none -2 keep" },
    { "GET http://b/c?http://d/ HTTP/1.1\r\n" H "\r\n",
      "1 GET|http|b|/c?http://d/|11 none -2 keep" },
    /* bodies */
    { POST "Content-Length: 0\r\n\r\n", "3 POST||a.example|/|11 length 0 keep" },
    { POST "CONTENT-LENGTH: 9223372036854775807\r\n\r\n",
      "3 POST||a.example|/|11 length 9223372036854775807 keep" },
    { POST "Content-Length: 007\r\n\r\n", "3 POST||a.example|/|11 length 7 keep" },
    { POST "transfer-encoding:  CHUNKED \r\n\r\n", "3 POST||a.example|/|11 chunked -1 keep" },
    { POST "Content-Length: 3\r\nExpect: 100-Continue\r\n\r\n",
      "3 POST||a.example|/|11 length 3 keep expect [Expect=100-Continue]" },
    { GET "Expect: 100-continue\r\n\r\n",
      "1 GET||a.example|/|11 none -2 keep [Expect=100-continue]" },
    { "POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
      "3 POST|||/|10 length 3 close [Expect=100-continue]" },
    /* fields */
    { GET "A:\r\nB: \t \r\nC:c\r\n\r\n", "1 GET||a.example|/|11 none -2 keep [A=] [B=] [C=c]" },
    { GET "!#$%&'*+-.^_`|~09azAZ: \xff\x80\ta b \t\r\n\r\n",
      "1 GET||a.example|/|11 none -2 keep [!#$%&'*+-.^_`|~09azAZ=\xff\x80\ta b]" },
    { GET "Range: bytes=0-1\r\nrange: bytes=0-1\r\n\r\n",
      "1 GET||a.example|/|11 none -2 keep [Range=bytes=0-1]" },
    { GET "Accept: a\r\nX: 1\r\nAccept: b\r\nX: 2\r\n\r\n",
      "1 GET||a.example|/|11 none -2 keep [Accept=a] [X=1] [Accept=b] [X=2]" },
    /* this hop's fields */
    { GET "Connection: close\r\n\r\n", "1 GET||a.example|/|11 none -2 close" },
    { GET "Connection: keep-alive, Close\r\nKeep-Alive: 5\r\n\r\n",
      "1 GET||a.example|/|11 none -2 close" },
    { GET "X: y\r\nConnection: , x ,\r\nZ: 1\r\n\r\n", "1 GET||a.example|/|11 none -2 keep [Z=1]" },
    { GET "X: y\r\nConnection: \"a, x, close\r\nZ: 1\r\n\r\n",
      "1 GET||a.example|/|11 none -2 close [Z=1]" },
    { "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "1 GET|||/|10 none -2 keep" },
    { "GET / HTTP/1.0\r\nProxy-Connection: Keep-Alive\r\n\r\n", "1 GET|||/|10 none -2 close" },
    { GET "TE: gzip;q=0.5, Trailers\r\n\r\n", "1 GET||a.example|/|11 none -2 keep trailers" },
    { GET "Upgrade: a/1\r\nConnection: Upgrade\r\nUpgrade: b\r\n\r\n",
      "1 GET||a.example|/|11 none -2 keep upgrade=a/1, b" },
    { GET "Upgrade: websocket\r\n\r\n", "1 GET||a.example|/|11 none -2 keep" },
    { "GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
      "1 GET|||/|10 none -2 close" },
};

static void test_right_requests(void **state)
{
    (void)state;
    struct message m = { 0 };
    for (size_t i = 0; i < COUNT(right_requests); i++) check_right(&m, &right_requests[i]);
}

static const struct {
    struct right right;
    enum method method; /* of the request */
} right_responses[] = {
    { { OK "Content-Length: 5\r\nA: b\r\n\r\n", "11 200 length 5 keep [A=b]" }, METHOD_GET },
    { { OK "Content-Length: 0\r\n\r\n", "11 200 length 0 keep" }, METHOD_GET },
    { { OK "Transfer-Encoding: chunked\r\n\r\n", "11 200 chunked -1 keep" }, METHOD_GET },
    { { OK "\r\n", "11 200 close -1 close" }, METHOD_GET },
    { { "HTTP/1.1 200\r\n\r\n", "11 200 close -1 close" }, METHOD_GET },
    { { "HTTP/1.1 200 \r\n\r\n", "11 200 close -1 close" }, METHOD_GET },
    { { "HTTP/1.1 599 \xe4h\t!\r\n\r\n", "11 599 close -1 close" }, METHOD_GET },
    { { "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "10 200 length 5 close" }, METHOD_GET },
    { { "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
        "10 200 length 5 keep" },
      METHOD_GET },
    { { OK "Connection: close\r\nContent-Length: 5\r\n\r\n", "11 200 length 5 close" },
      METHOD_GET },
    { { OK "Content-Length: 5\r\nServer: a\r\nServer: b\r\n\r\n",
        "11 200 length 5 keep [Server=a] [Server=b]" },
      METHOD_GET },
    { { OK "Content-Length: 5\r\nConnection: X\r\nX: y\r\n\r\n", "11 200 length 5 keep" },
      METHOD_GET },
    { { "HTTP/1.1 205 R\r\nContent-Length: 0\r\n\r\n", "11 205 length 0 keep" }, METHOD_POST },
    /* no body, whatever is announced */
    { { OK "Content-Length: 5\r\n\r\n", "11 200 none 5 keep" }, METHOD_HEAD },
    { { OK "Transfer-Encoding: chunked\r\n\r\n", "11 200 none -1 keep" }, METHOD_HEAD },
    { { OK "\r\n", "11 200 none -2 keep" }, METHOD_HEAD },
    { { "HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n", "11 304 none 5 keep" }, METHOD_GET },
    { { "HTTP/1.1 204 N\r\n\r\n", "11 204 none -2 keep" }, METHOD_GET },
    { { "HTTP/1.1 204 N\r\nContent-Length: 0\r\n\r\n", "11 204 none -2 keep" }, METHOD_GET },
    { { "HTTP/1.1 204 N\r\nContent-Length: 5\r\n\r\n", "11 204 none -2 close" }, METHOD_GET },
    { { "HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n", "11 204 none -2 close" },
      METHOD_GET },
    { { OK "Content-Length: 5\r\n\r\n", "11 200 none -2 close" }, METHOD_CONNECT },
    { { "HTTP/1.1 403 F\r\nContent-Length: 5\r\n\r\n", "11 403 length 5 keep" }, METHOD_CONNECT },
    { { "HTTP/1.1 100 Continue\r\n\r\n", "11 100 none -2 keep interim" }, METHOD_POST },
    { { "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", "11 103 none -2 keep interim [Link=<a>]" },
      METHOD_GET },
    { { "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "11 101 none -2 keep upgrade=websocket" },
      METHOD_GET },
};

static void test_right_responses(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(right_responses); i++) {
        struct message m = { .is_response = true, .method = right_responses[i].method };
        check_right(&m, &right_responses[i].right);
    }
}

/* Every byte, alone and with neighbours, where it may stand and where not. */
static void test_every_byte_of_a_value(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        for (int before = 0; before < 12; before++) {
            char head[64] = GET "A: ";
            struct slice text = slice_str(head);
            memset(head + text.n, 'x', 24);
            head[text.n + (size_t)before + 1] = (char)c;
            memcpy(head + text.n + 20, "\r\n\r\n", 4);
            text.n += 24;
            struct message m = { 0 };
            bool allowed = c == '\t' || (c >= 0x20 && c != 0x7f);
            assert_int_equal(parse_whole(&m, text, &usual), allowed ? (int)text.n : -E_BAD_REQUEST);
        }
    }
}

static void test_every_byte_of_a_name_and_a_target(void **state)
{
    (void)state;
    static const char token[] = "!#$%&'*+-.^_`|~";
    for (int c = 0; c < 256; c++) {
        struct message m = { 0 };
        char head[] = "GET /x HTTP/1.1\r\n" H "AxB: c\r\n\r\n";
        struct slice text = SLICE(head);
        bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        char *x = strchr(strstr(head, "AxB"), 'x');
        *x = (char)c;
        bool is_token =
            alnum || (c && strchr(token, c)) || c == ':'; /* the colon ends the name "A" */
        assert_int_equal(parse_whole(&m, text, &usual), is_token ? (int)text.n : -E_BAD_REQUEST);
        *x = 'x';
        head[5] = (char)c;
        bool is_target = c > ' ' && c < 0x7f && c != '#';
        assert_int_equal(parse_whole(&m, text, &usual), is_target ? (int)text.n : -E_BAD_REQUEST);
    }
}

/* --- limits --- */

static void test_line_limit(void **state)
{
    (void)state;
    struct message m = { 0 };
    struct slice head = SLICE(GET "\r\n"), line = SLICE("GET / HTTP/1.1\r\n");
    struct h1_limits limits = usual;
    limits.line_bytes = line.n;
    assert_int_equal(parse_whole(&m, head, &limits), head.n);
    assert_int_equal(parse_bytewise(&m, head, &limits), head.n);
    limits.line_bytes--;
    assert_int_equal(parse_whole(&m, head, &limits), -E_URI_TOO_LONG);
    assert_int_equal(parse_bytewise(&m, head, &limits), -E_URI_TOO_LONG);
}

static void test_line_limit_before_the_end_of_the_line(void **state)
{
    (void)state;
    struct message m = { 0 };
    char line[64] = "\r\nGET /";
    struct h1_limits limits = { .line_bytes = 40, .head_bytes = 50, .field_count = 1 };
    memset(line + 7, 'a', sizeof line - 7);
    assert_int_equal(parse_whole(&m, slice_of(line, 39), &limits), 0);
    assert_int_equal(parse_whole(&m, slice_of(line, 40), &limits), -E_URI_TOO_LONG);
    assert_int_equal(parse_bytewise(&m, slice_of(line, 40), &limits), -E_URI_TOO_LONG);
    assert_int_equal(parse_whole(&m, slice_of(line, 64), &limits), -E_URI_TOO_LONG);
    m.is_response = true;
    memcpy(line, "HTTP/1.1 200 ", 13);
    assert_int_equal(parse_whole(&m, slice_of(line, 39), &limits), 0);
    assert_int_equal(parse_bytewise(&m, slice_of(line, 40), &limits), -E_RESPONSE_HEADER_TOO_LARGE);
}

static void test_head_limit(void **state)
{
    (void)state;
    struct message m = { 0 };
    struct slice head = SLICE(GET "A: 0123456789\r\n\r\n");
    struct h1_limits limits = usual;
    limits.head_bytes = head.n;
    assert_int_equal(parse_whole(&m, head, &limits), head.n);
    assert_int_equal(parse_bytewise(&m, head, &limits), head.n);
    limits.head_bytes--;
    assert_int_equal(parse_whole(&m, head, &limits), -E_HEADER_TOO_LARGE);
    assert_int_equal(parse_bytewise(&m, head, &limits), -E_HEADER_TOO_LARGE);
    limits.head_bytes = head.n - 5;
    assert_int_equal(parse_whole(&m, slice_of(head.p, head.n - 6), &limits), 0);
    assert_int_equal(parse_whole(&m, slice_of(head.p, head.n - 5), &limits), -E_HEADER_TOO_LARGE);
}

/* The end of a head that arrives in two pieces, the second one beyond the limit. */
static void test_head_limit_is_not_passed_by_a_jump(void **state)
{
    (void)state;
    struct message m = { 0 };
    struct slice head = SLICE(GET "A: 0123456789\r\n\r\n");
    struct h1_limits limits = { .line_bytes = 30, .head_bytes = head.n - 1, .field_count = 9 };
    size_t scanned = 0;
    assert_int_equal(parse(&m, slice_of(head.p, 20), &scanned, &limits), 0);
    assert_int_equal(parse(&m, head, &scanned, &limits), -E_HEADER_TOO_LARGE);
}

static void test_field_count(void **state)
{
    (void)state;
    struct message m = { 0 };
    struct h1_limits limits = usual;
    limits.field_count = 3;
    struct slice three = SLICE(GET "A: b\r\nA: b\r\n\r\n"),
                 four = SLICE(GET "A: b\r\nA: b\r\nA: b\r\n\r\n");
    assert_int_equal(parse_whole(&m, three, &limits), three.n);
    assert_int_equal(parse_whole(&m, four, &limits), -E_HEADER_TOO_LARGE);
    m.is_response = true;
    struct slice response = SLICE(OK "A: b\r\nA: b\r\nA: b\r\nA: b\r\n\r\n");
    assert_int_equal(parse_whole(&m, response, &limits), -E_RESPONSE_HEADER_TOO_LARGE);
}

static void test_many_fields(void **state)
{
    (void)state;
    struct message m = { 0 };
    struct h1_limits limits = { .line_bytes = 100, .head_bytes = 1 << 20, .field_count = 1000 };
    struct slice text = SLICE(GET);
    for (int i = 0; i < 500; i++)
        text = arena_printf(&arena, "%.*sF%d: %d\r\n", SLICE_ARGS(text), i, i * i);
    text = arena_printf(&arena, "%.*s\r\n", SLICE_ARGS(text));
    size_t scanned = 0;
    assert_int_equal(parse(&m, text, &scanned, &limits), text.n);
    assert_int_equal(m.request.msg.fields.n, 500);
    assert_true(slice_eq(m.request.msg.fields.v[400].value, SLICE("160000")));
}

static void test_trailers(void **state)
{
    (void)state;
    struct fields f;
    struct slice text =
        SLICE("A: b\r\nContent-Length: 3\r\nConnection: c\r\nC: d\r\nHost: x\r\n\r\nrest");
    assert_int_equal(h1_parse_trailers(text, &usual, &arena, &f), text.n - 4);
    assert_string_equal(describe_fields(SLICE(""), &f).p, " [A=b]");
    assert_int_equal(h1_parse_trailers(SLICE("\r\n"), &usual, &arena, &f), 2);
    assert_int_equal(f.n, 0);
    assert_int_equal(h1_parse_trailers(SLICE("A: b\r\n"), &usual, &arena, &f), 0);
    assert_int_equal(h1_parse_trailers(SLICE("A : b\r\n\r\n"), &usual, &arena, &f), -E_BAD_REQUEST);
    struct h1_limits tight = { .head_bytes = 7, .field_count = 1 };
    assert_int_equal(h1_parse_trailers(SLICE("A: b\r\n\r\n"), &tight, &arena, &f),
                     -E_HEADER_TOO_LARGE);
    assert_int_equal(h1_parse_trailers(SLICE("A:\r\nB:\r\n"), &tight, &arena, &f),
                     -E_HEADER_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_wrong_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_responses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_faults_are_located, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_limit_is_no_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(test_right_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_right_responses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_byte_of_a_value, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_byte_of_a_name_and_a_target, setup, teardown),
        cmocka_unit_test_setup_teardown(test_line_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_line_limit_before_the_end_of_the_line, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_head_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_head_limit_is_not_passed_by_a_jump, setup, teardown),
        cmocka_unit_test_setup_teardown(test_field_count, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trailers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
