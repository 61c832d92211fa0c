/* What becomes of a request on its way to an origin, and who is taken to have asked: lines in,
 * lines out, as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <cmocka.h>

#include "edge/base/error.h"
#include "edge/claims.h"
#include "edge/forward.h"
#include "tests/unit/broken_rule.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))
#define STRANGER    "192.0.2.7"
#define PROXY       "10.0.0.1"
#define NODE        0x0123456789abcdefu
#define LOOP        "verge; node=0123456789abcdef"
#define FORWARDED   "for=192.0.2.7;host=\"shop.example\";proto=http"
#define TRUSTED     "for=10.0.0.1;host=\"shop.example\";proto=http"

/* What every request of a stranger gets. */
#define CLAIMS                                                                                     \
    "X-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop.example\n"        \
    "Forwarded: " FORWARDED "\n"
#define ADDED "Via: 1.1 verge\n" CLAIMS "CDN-Loop: " LOOP "\n"

static const struct config_cidr nets[] = {
    { { [10] = 0xff, [11] = 0xff, [12] = 10 }, 104 }, /* 10.0.0.0/8 */
    { { 0xfd }, 8 },                                  /* fd00::/8 */
};
static struct config config = { .trusted = nets, .trusted_count = COUNT(nets) };
static const struct config_origin plain_origin, named_origin = { .host = { "inner.example", 13 } };
static const struct config_route plain_route = { .origin = &plain_origin };
static struct arena arena;

static struct peer peer_of(const char *text)
{
    struct peer peer = { .address = { [10] = 0xff, [11] = 0xff } };
    int done = strchr(text, ':') ? inet_pton(AF_INET6, text, peer.address)
                                 : inet_pton(AF_INET, text, peer.address + 12);
    assert_int_equal(done, 1);
    return peer;
}

/* From "Name: value\n" for each. */
static struct fields fields_of(const char *lines)
{
    struct fields f = { 0 };
    struct slice rest = slice_str(lines);
    while (rest.n) {
        struct slice line = slice_of(rest.p, slice_find(rest, '\n'));
        rest = slice_skip(rest, line.n + 1);
        size_t colon = slice_find(line, ':');
        fields_add_named(&f, &arena, slice_of(line.p, colon),
                         slice_trim(slice_skip(line, colon + 1)));
    }
    return f;
}

static void assert_lines(const struct fields *f, const char *expected)
{
    struct slice text = SLICE("");
    for (uint32_t i = 0; i < f->n; i++) {
        const struct field *line = &f->v[i];
        assert_int_equal(line->id, field_lookup(line->name));
        text = arena_printf(&arena, "%.*s%.*s: %.*s\n", SLICE_ARGS(text), SLICE_ARGS(line->name),
                            SLICE_ARGS(line->value));
    }
    assert_string_equal(arena_copy(&arena, text).p, expected);
}

static void assert_slice(struct slice s, const char *text)
{
    assert_string_equal(arena_copy(&arena, s).p, text);
}

static struct request request_of(const char *lines)
{
    return (struct request){
        .method = METHOD_GET,
        .method_text = SLICE("GET"),
        .scheme = SLICE("http"),
        .authority = SLICE("shop.example"),
        .target = SLICE("/a?b&c"),
        .version = HTTP_1_1,
        .length = 7,
        .fields = fields_of(lines),
    };
}

struct row {
    const char *peer, *lines, *expected;
    enum { ALONE, SHARED, SHARED_RANGE } mode;
};

static void assert_row(const struct row *row)
{
    struct peer peer = peer_of(row->peer);
    struct request from = request_of(row->lines), out;
    struct forward f = { .config = &config,
                         .route = &plain_route,
                         .peer = &peer,
                         .target = SLICE("/a"),
                         .shared = row->mode != ALONE,
                         .keep_range = row->mode == SHARED_RANGE };
    forward_request(&f, &from, &arena, &out);
    assert_lines(&out.fields, row->expected);
    assert_lines(&from.fields, row->lines);
}

static void assert_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) assert_row(&rows[i]);
}

static void test_what_passes(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { STRANGER, "", ADDED, ALONE },
        { STRANGER, "b: 2\nA: 1\nB: 3\n", "b: 2\nA: 1\nB: 3\n" ADDED, ALONE },
        { STRANGER, "Expect: 100-continue\nA: 1\n", "A: 1\n" ADDED, ALONE },
        { STRANGER, "Proxy-Authorization: x\nMax-Forwards: 3\nEarly-Data: 1\n",
          "Proxy-Authorization: x\nMax-Forwards: 3\nEarly-Data: 1\n" ADDED, SHARED },
        { STRANGER, "Cookie: a\nAuthorization: b\n", "Cookie: a\nAuthorization: b\n" ADDED,
          SHARED },
    };
    assert_rows(rows, COUNT(rows));
}

#define CONDITIONS                                                                                 \
    "If-Match: \"a\"\nIf-None-Match: \"b\"\nIf-None-Match: \"c\"\nIf-Modified-Since: d\n"          \
    "If-Unmodified-Since: e\n"
#define RANGES "Range: bytes=0-1\nIf-Range: \"f\"\n"

static void test_what_the_cache_does_itself(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { STRANGER, CONDITIONS RANGES "A: 1\n", CONDITIONS RANGES "A: 1\n" ADDED, ALONE },
        { STRANGER, CONDITIONS RANGES "A: 1\n", "A: 1\n" ADDED, SHARED },
        { STRANGER, CONDITIONS RANGES "A: 1\n", RANGES "A: 1\n" ADDED, SHARED_RANGE },
    };
    assert_rows(rows, COUNT(rows));
}

#define CODINGS(value) "Accept-Encoding: " value "\n"

static void test_accept_encoding(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { STRANGER, "A: 1\n", "A: 1\n" ADDED, SHARED },
        { STRANGER, CODINGS("deflate, gzip;q=0.5"), CODINGS("deflate, gzip;q=0.5") ADDED, ALONE },
        { STRANGER, CODINGS("deflate, gzip;q=0.5"), CODINGS("gzip") ADDED, SHARED },
        { STRANGER, CODINGS("identity"), CODINGS("identity") ADDED, SHARED },
        { STRANGER, CODINGS(""), CODINGS("identity") ADDED, SHARED },
        { STRANGER, CODINGS("*"), CODINGS("zstd, br, gzip") ADDED, SHARED },
        { STRANGER, "accept-encoding: gzip\nA: 1\n" CODINGS("br"),
          "accept-encoding: br, gzip\nA: 1\n" ADDED, SHARED },
    };
    assert_rows(rows, COUNT(rows));
}

/* The secondary key says of two requests that they are alike only where the origin is sent the
 * same. */
static void test_accept_encoding_is_sent_as_keyed(void **state)
{
    (void)state;
    static const char *const lines[] = { "",
                                         CODINGS(""),
                                         CODINGS("identity"),
                                         CODINGS("gzip, deflate, br"),
                                         CODINGS("br;q=0.9") CODINGS("x-gzip"),
                                         CODINGS("*;q=0, gzip") };
    struct peer peer = peer_of(STRANGER);
    struct forward f = { .config = &config, .route = &plain_route, .peer = &peer, .shared = true };
    struct slice keys[COUNT(lines)];
    struct request out[COUNT(lines)];
    for (size_t i = 0; i < COUNT(lines); i++) {
        struct request from = request_of(lines[i]);
        assert_true(key_vary(SLICE("Accept-Encoding"), &from, &arena, &keys[i]));
        forward_request(&f, &from, &arena, &out[i]);
        struct slice sent = fields_value(&out[i].fields, FIELD_ACCEPT_ENCODING);
        for (size_t j = 0; j < i; j++) {
            struct slice other = fields_value(&out[j].fields, FIELD_ACCEPT_ENCODING);
            bool same = slice_eq(sent, other) && !sent.p == !other.p;
            assert_int_equal(slice_eq(keys[i], keys[j]), same);
        }
    }
}

static void test_via_and_loop_are_extended(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { STRANGER, "Via: 1.0 outer\nA: 1\n",
          "Via: 1.0 outer, 1.1 verge\nA: 1\n" CLAIMS "CDN-Loop: " LOOP "\n", ALONE },
        { STRANGER, "via: 1.0 a\nA: 1\nVia: 1.1 b, 2 c\n",
          "via: 1.0 a, 1.1 b, 2 c, 1.1 verge\nA: 1\n" CLAIMS "CDN-Loop: " LOOP "\n", SHARED },
        { STRANGER, "Via: \n", "Via: 1.1 verge\n" CLAIMS "CDN-Loop: " LOOP "\n", ALONE },
        { STRANGER, "CDN-Loop: other; a=b\nCDN-Loop: verge; node=0123456789abcde0\n",
          "CDN-Loop: other; a=b, verge; node=0123456789abcde0, " LOOP "\nVia: 1.1 verge\n" CLAIMS,
          ALONE },
    };
    assert_rows(rows, COUNT(rows));
}

#define SPOOFED                                                                                    \
    "X-Forwarded-For: 6.6.6.6\nX-Forwarded-Proto: https\nX-Forwarded-Host: evil.example\n"         \
    "Forwarded: for=6.6.6.6\nX-Real-IP: 6.6.6.6\n"

static void test_what_was_taken_of_proxies_is_extended(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { PROXY, SPOOFED "Via: 1.1 a\nCDN-Loop: b\nA: 1\n",
          "X-Forwarded-For: 6.6.6.6, 10.0.0.1\nX-Forwarded-Proto: http\n"
          "X-Forwarded-Host: evil.example\nForwarded: for=6.6.6.6, " TRUSTED "\n"
          "X-Real-IP: 6.6.6.6\nVia: 1.1 a, 1.1 verge\nCDN-Loop: b, " LOOP "\nA: 1\n",
          ALONE },
        { PROXY, "x-forwarded-for: 1.1.1.1\nA: 1\nX-Forwarded-For: 2.2.2.2\n",
          "x-forwarded-for: 1.1.1.1, 2.2.2.2, 10.0.0.1\nA: 1\nVia: 1.1 verge\n"
          "X-Forwarded-Proto: http\nX-Forwarded-Host: shop.example\nForwarded: " TRUSTED "\n"
          "CDN-Loop: " LOOP "\n",
          SHARED },
        { PROXY, "X-Forwarded-Proto: \nX-Forwarded-Host: \n",
          "X-Forwarded-Proto: http\nX-Forwarded-Host: shop.example\nVia: 1.1 verge\n"
          "X-Forwarded-For: 10.0.0.1\nForwarded: " TRUSTED "\nCDN-Loop: " LOOP "\n",
          ALONE },
    };
    assert_rows(rows, COUNT(rows));
}

static void forward_a_claim(void)
{
    struct peer peer = peer_of(STRANGER);
    struct request from = request_of("X-Forwarded-For: 6.6.6.6\n"), out;
    struct forward f = { .config = &config, .route = &plain_route, .peer = &peer };
    forward_request(&f, &from, &arena, &out);
}

static void test_no_claim_of_a_stranger_comes_here(void **state)
{
    (void)state;
    assert_true(check_fires(forward_a_claim, "config_is_trusted"));
}

static void test_no_authority(void **state)
{
    (void)state;
    struct peer peer = peer_of(STRANGER);
    struct request from = request_of(""), out;
    from.authority = SLICE_NONE;
    from.version = HTTP_1_0;
    struct forward f = { .config = &config, .route = &plain_route, .peer = &peer };
    forward_request(&f, &from, &arena, &out);
    assert_lines(&out.fields, "Via: 1.0 verge\nX-Forwarded-For: 192.0.2.7\n"
                              "X-Forwarded-Proto: http\nForwarded: for=192.0.2.7;proto=http\n"
                              "CDN-Loop: " LOOP "\n");
}

static void test_ipv6_and_https(void **state)
{
    (void)state;
    struct peer peer = peer_of("2001:db8::1");
    struct request from = request_of(""), out;
    from.authority = SLICE("[::1]:8443");
    from.scheme = SLICE("https");
    from.version = HTTP_2;
    struct forward f = { .config = &config, .route = &plain_route, .peer = &peer };
    forward_request(&f, &from, &arena, &out);
    assert_lines(&out.fields, "Via: 2.0 verge\nX-Forwarded-For: 2001:db8::1\n"
                              "X-Forwarded-Proto: https\nX-Forwarded-Host: [::1]:8443\n"
                              "Forwarded: for=\"[2001:db8::1]\";host=\"[::1]:8443\";proto=https\n"
                              "CDN-Loop: " LOOP "\n");
}

static void test_what_is_no_field(void **state)
{
    (void)state;
    struct config_route routes[] = { { .origin = &plain_origin }, { .origin = &named_origin } };
    struct peer peer = peer_of(STRANGER);
    struct request from = request_of(""), out;
    for (size_t i = 0; i < COUNT(routes); i++) {
        struct forward f = {
            .config = &config, .route = &routes[i], .peer = &peer, .target = SLICE("/a?c")
        };
        forward_request(&f, &from, &arena, &out);
        assert_slice(out.target, "/a?c");
        assert_slice(out.authority, i ? "inner.example" : "shop.example");
        assert_slice(out.scheme, "http");
        assert_slice(out.method_text, "GET");
        assert_int_equal(out.method, METHOD_GET);
        assert_int_equal(out.length, 7);
        assert_slice(fields_value(&out.fields, FIELD_X_FORWARDED_HOST), "shop.example");
    }
}

static void test_loops(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        bool loop;
    } rows[] = {
        { "", false },
        { "CDN-Loop: \n", false },
        { "CDN-Loop: verge\n", false },
        { "CDN-Loop: verge; node=0123456789abcde\n", false },
        { "CDN-Loop: verge; node=fedcba9876543210\n", false },
        { "X-Loop: " LOOP "\n", false },
        { "CDN-Loop: " LOOP "\n", true },
        { "CDN-Loop: a, " LOOP ", b\n", true },
        { "cdn-loop: a\nCDN-Loop: verge;node=\"0123456789abcdef\" ; x=y\n", true },
        { "CDN-Loop: \"a, " LOOP "\n", true },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct request from = request_of(rows[i].lines);
        assert_int_equal(forward_is_loop(&from), rows[i].loop);
    }
}

/* A request that was forwarded comes back. */
static void test_nodes_know_themselves_only(void **state)
{
    (void)state;
    static const uint64_t nodes[] = { 0, 1, 0x8000000000000000, UINT64_MAX };
    struct peer peer = peer_of(STRANGER);
    struct forward f = { .config = &config, .route = &plain_route, .peer = &peer };
    struct request from = request_of("CDN-Loop: \"\n"), out;
    for (size_t i = 0; i < COUNT(nodes); i++) {
        forward_init(nodes[i]);
        forward_request(&f, &from, &arena, &out);
        assert_true(forward_is_loop(&out));
        forward_init(NODE);
        assert_false(forward_is_loop(&out));
    }
}

static void test_header_rules(void **state)
{
    (void)state;
    static const struct header_rule set[] = { { HEADER_SET, { "x-one", 5 }, { "9", 1 } } },
                                    add[] = { { HEADER_ADD, { "X-One", 5 }, { "9", 1 } } },
                                    remove[] = { { HEADER_REMOVE, { "X-ONE", 5 }, { NULL, 0 } } },
                                    all[] = { { HEADER_REMOVE, { "Cookie", 6 }, { NULL, 0 } },
                                              { HEADER_ADD, { "Cookie", 6 }, { "1", 1 } },
                                              { HEADER_ADD, { "Cookie", 6 }, { "2", 1 } },
                                              { HEADER_SET, { "Age", 3 }, { "3", 1 } } };
    static const struct {
        const struct header_rule *rules;
        size_t count;
        const char *lines, *expected;
    } rows[] = {
        { NULL, 0, "A: 1\n", "A: 1\n" },
        { set, 1, "X-One: 1\nA: 1\nX-One: 2\n", "A: 1\nx-one: 9\n" },
        { set, 1, "", "x-one: 9\n" },
        { add, 1, "X-One: 1\nA: 1\n", "X-One: 1\nA: 1\nX-One: 9\n" },
        { remove, 1, "X-One: 1\nA: 1\nx-one: 2\n", "A: 1\n" },
        { remove, 1, "A: 1\n", "A: 1\n" },
        { all, 4, "cookie: 0\nAge: 1\nA: 1\n", "A: 1\nCookie: 1\nCookie: 2\nAge: 3\n" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fields f = fields_of(rows[i].lines);
        header_rules_apply(rows[i].rules, rows[i].count, &f, &arena);
        assert_lines(&f, rows[i].expected);
    }
}

static void test_rules_of_a_route_come_last(void **state)
{
    (void)state;
    static const struct header_rule rules[] = {
        { HEADER_REMOVE, { "Via", 3 }, { NULL, 0 } },
        { HEADER_SET, { "X-Forwarded-Proto", 17 }, { "https", 5 } },
        { HEADER_REMOVE, { "Forwarded", 9 }, { NULL, 0 } },
    };
    const struct config_route route = { .origin = &plain_origin,
                                        .request_headers = rules,
                                        .request_header_count = COUNT(rules) };
    struct peer peer = peer_of(STRANGER);
    struct request from = request_of("A: 1\n"), out;
    struct forward f = { .config = &config, .route = &route, .peer = &peer };
    forward_request(&f, &from, &arena, &out);
    assert_lines(&out.fields, "A: 1\nX-Forwarded-For: 192.0.2.7\nX-Forwarded-Host: shop.example\n"
                              "CDN-Loop: " LOOP "\nX-Forwarded-Proto: https\n");
}

#define XFF(value) "X-Forwarded-For: " value "\n"
#define FWD(value) "Forwarded: " value "\n"

static void test_clients(void **state)
{
    (void)state;
    static const struct {
        const char *peer, *lines, *client;
    } rows[] = {
        { STRANGER, "", STRANGER },
        { STRANGER, XFF("6.6.6.6") FWD("for=6.6.6.6"), STRANGER },
        { "2001:db8::1", "", "2001:db8::1" },
        { PROXY, "", PROXY },
        { "fd00::1", "", "fd00::1" },
        { PROXY, XFF(""), PROXY },
        { PROXY, XFF("1.1.1.1"), "1.1.1.1" },
        { "fd00::1", XFF("1.1.1.1"), "1.1.1.1" },
        { PROXY, XFF("6.6.6.6, 1.1.1.1"), "1.1.1.1" },
        { PROXY, XFF("6.6.6.6,1.1.1.1 ,10.1.1.1,,\tfd00::2"), "1.1.1.1" },
        { PROXY, XFF("6.6.6.6, 1.1.1.1") XFF("10.1.1.1"), "1.1.1.1" },
        { PROXY, XFF("10.2.2.2, 10.1.1.1"), "10.2.2.2" },
        { PROXY, XFF("10.2.2.2, 1.1.1.1"), "1.1.1.1" },
        /* With ports, in brackets, in other spellings. */
        { PROXY, XFF("1.1.1.1:80"), "1.1.1.1" },
        { PROXY, XFF("2001:DB8:0::1"), "2001:db8::1" },
        { PROXY, XFF("[2001:db8::1]"), "2001:db8::1" },
        { PROXY, XFF("[2001:db8::1]:80"), "2001:db8::1" },
        { PROXY, XFF("::ffff:1.1.1.1"), "1.1.1.1" },
        { PROXY, XFF("1.1.1.1, ::ffff:10.1.1.1"), "1.1.1.1" },
        /* What is no address, and what stands before it. */
        { PROXY, XFF("1.1.1.1, unknown"), PROXY },
        { PROXY, XFF("1.1.1.1, unknown, 10.1.1.1"), "10.1.1.1" },
        { PROXY, XFF("1.1.1.1, unknown, 2.2.2.2, 10.1.1.1"), "2.2.2.2" },
        { PROXY, XFF("unknown, 1.1.1.1"), "1.1.1.1" },
        { PROXY, XFF("1.1.1"), PROXY },
        { PROXY, XFF("1.1.1.1:"), "1.1.1.1" },
        { PROXY, XFF("1.1.1.1:x"), PROXY },
        { PROXY, XFF("1.1.1.1 2.2.2.2"), PROXY },
        { PROXY, XFF("[1.1.1.1]"), PROXY },
        { PROXY, XFF("[::1"), PROXY },
        { PROXY, XFF("::1]"), PROXY },
        { PROXY, XFF("[]"), PROXY },
        { PROXY, XFF("[::1]x"), PROXY },
        { PROXY, XFF("1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb"), PROXY },
        { PROXY, XFF("\"6.6.6.6, 1.1.1.1"), "1.1.1.1" },
        /* Forwarded, where there is no X-Forwarded-For. */
        { PROXY, XFF("1.1.1.1") FWD("for=2.2.2.2"), "1.1.1.1" },
        { PROXY, FWD("for=6.6.6.6, for=1.1.1.1;proto=http, FOR=10.1.1.1"), "1.1.1.1" },
        { PROXY, FWD("for=6.6.6.6") FWD("proto=https ; For=\"1.1.1.1:80\""), "1.1.1.1" },
        { PROXY, FWD("for=\"[2001:db8::1]\""), "2001:db8::1" },
        { PROXY, FWD("host=\"a,for=6.6.6.6\";for=1.1.1.1"), "1.1.1.1" },
        { PROXY, FWD("for=1.1.1.1, for=_hidden"), PROXY },
        { PROXY, FWD("for=1.1.1.1, proto=http"), PROXY },
        { PROXY, FWD("for=1.1.1.1, for=2.2.2.2;="), PROXY },
        { PROXY, FWD("for=1.1.1.1, for=\"2.2.2.2"), PROXY },
        { PROXY, FWD("\", for=1.1.1.1;host=\"a,for=6.6.6.6,b\""), PROXY },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct peer peer = peer_of(rows[i].peer);
        struct request req = request_of(rows[i].lines);
        assert_slice(claims_client(&config, &peer, &req, &arena), rows[i].client);
    }
}

static void test_peers(void **state)
{
    (void)state;
    static const char *const texts[] = { "0.0.0.0",     "127.0.0.1", "255.255.255.255", "::1",
                                         "2001:db8::1", "::",        "fe80::1:2:3:4" };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct peer peer = peer_of(texts[i]);
        assert_slice(peer_text(&peer, &arena), texts[i]);
    }
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 4096);
    forward_init(NODE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_passes),
        TEST(test_what_the_cache_does_itself),
        TEST(test_accept_encoding),
        TEST(test_accept_encoding_is_sent_as_keyed),
        TEST(test_via_and_loop_are_extended),
        TEST(test_what_was_taken_of_proxies_is_extended),
        TEST(test_no_claim_of_a_stranger_comes_here),
        TEST(test_no_authority),
        TEST(test_ipv6_and_https),
        TEST(test_what_is_no_field),
        TEST(test_loops),
        TEST(test_nodes_know_themselves_only),
        TEST(test_header_rules),
        TEST(test_rules_of_a_route_come_last),
        TEST(test_clients),
        TEST(test_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
