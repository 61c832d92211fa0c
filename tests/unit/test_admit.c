/* admit: which requests are taken, by which route, as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "edge/admit.h"
#include "edge/base/error.h"
#include "edge/forward.h"
#include "edge/listener.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))
#define STRANGER    "192.0.2.7"
#define PROXY       "10.0.0.1"
#define SECURE      true
#define PLAIN       false

/* Stands in for the one of edge/listener.c: here a peer's listener is its address. */
const struct config_listen *listener_address(const void *listener)
{
    return listener;
}

static const char config_text[] = "trusted_proxy 10.0.0.0/8;\n"
                                  "origin app { server a:80; }\n"
                                  "site shop.example {\n"
                                  "    listen 127.0.0.1:8080;\n"
                                  "    origin app;\n"
                                  "    route /small/* { body_size 10; }\n"
                                  "    route /traced/* { trace pass; }\n"
                                  "    route /any/* { }\n"
                                  "}\n"
                                  "site secure.example {\n"
                                  "    listen 127.0.0.1:8080;\n"
                                  "    https_redirect 8443;\n"
                                  "    origin app;\n"
                                  "    route /any/* { }\n"
                                  "    route /.well-known/* { }\n"
                                  "}\n"
                                  "site usual.example {\n"
                                  "    listen 127.0.0.1:8080;\n"
                                  "    https_redirect on;\n"
                                  "    early_data on;\n"
                                  "    origin app;\n"
                                  "    route /any/* { }\n"
                                  "}\n"
                                  "site free.example {\n"
                                  "    listen 127.0.0.1:8080;\n"
                                  "    origin app;\n"
                                  "    untrusted_fields pass X-Real-IP X-Forwarded-P*;\n"
                                  "    underscores_in_fields pass;\n"
                                  "    route /any/* { }\n"
                                  "    route /all/* { untrusted_fields pass *; }\n"
                                  "    route /none/* { untrusted_fields drop; }\n"
                                  "}\n"
                                  "site only.example {\n"
                                  "    listen 127.0.0.1:8081;\n"
                                  "    origin app;\n"
                                  "    route * { }\n"
                                  "}\n";

static struct config *config;
static struct arena arena;

/* ---- a request ---- */

struct asked {
    const char *method, *target;    /* NULL: GET, /any/ */
    const char *authority, *scheme; /* NULL: shop.example, the connection's */
    const char *fields;             /* "Name: value\n" for each */
    const char *from;               /* NULL: STRANGER */
    bool secure;
    bool early;
    int64_t length; /* of the body; 0: none */
};

static struct fields fields_of(const char *lines)
{
    struct fields f = { 0 };
    struct slice rest = slice_str(lines ? lines : "");
    while (rest.n) {
        struct slice line = slice_of(rest.p, slice_find(rest, '\n'));
        rest = slice_skip(rest, line.n + 1);
        size_t colon = slice_find(line, ':');
        fields_add_named(&f, &arena, slice_of(line.p, colon),
                         slice_trim(slice_skip(line, colon + 1)));
    }
    return f;
}

static struct slice text_or(const char *text, const char *otherwise)
{
    return slice_str(text ? text : otherwise);
}

static struct peer peer_of(const struct asked *a)
{
    struct peer peer = { .address = { [10] = 0xff, [11] = 0xff },
                         .secure = a->secure,
                         .listener = &config->listens[0] };
    assert_int_equal(inet_pton(AF_INET, a->from ? a->from : STRANGER, peer.address + 12), 1);
    return peer;
}

static struct request request_of(const struct asked *a)
{
    struct slice method = text_or(a->method, "GET");
    return (struct request){
        .method = method_lookup(method),
        .method_text = method,
        .scheme = text_or(a->scheme, a->secure ? "https" : "http"),
        .authority = text_or(a->authority, "shop.example"),
        .target = text_or(a->target, "/any/"),
        .version = HTTP_1_1,
        .length = a->length ? a->length : LENGTH_NONE,
        .fields = fields_of(a->fields),
    };
}

static const struct config_route *route;
static struct slice scheme, location, target; /* as settled */
static bool ambiguous;
static int64_t body_size_bytes;
static struct fields fields;

static int admit(const struct asked *a)
{
    struct peer peer = peer_of(a);
    static struct exchange x; /* what is looked at afterwards is in its arena */
    arena_free(&x.arena);
    x = (struct exchange){ .peer = &peer, .request = request_of(a), .early = a->early };
    arena_init(&x.arena, 1024);
    struct admitted admitted;
    int rc = admit_request(config, &x, &admitted);
    route = admitted.route;
    ambiguous = admitted.ambiguous;
    body_size_bytes = admitted.body_size_bytes;
    target = x.request.target;
    location = admitted.location;
    fields = x.request.fields;
    scheme = x.request.scheme;
    return rc;
}

/* ---- what is taken, and what is not ---- */

#define NODE_ITSELF "" /* no route, and no error */

static const struct row {
    struct asked asked;
    int error;
    const char *pattern; /* of the route; NULL: none */
} rows[] = {
    { { 0 }, 0, "/any/*" },
    { { .method = "POST", .target = "/any/x?y" }, 0, "/any/*" },
    { { .method = "BREW" }, 0, "/any/*" },

    /* methods */
    { { .method = "CONNECT", .authority = "shop.example:443", .target = "" }, -E_METHOD, NULL },
    { { .method = "TRACE" }, -E_TRACE, "/any/*" },
    { { .method = "TRACE", .target = "/traced/x" }, 0, "/traced/*" },
    { { .method = "TRACE", .target = "/traced/x", .fields = "Max-Forwards: 1\n" }, 0, "/traced/*" },
    { { .method = "TRACE", .target = "/traced/x", .fields = "Max-Forwards: 0\n" }, -E_TRACE, NULL },
    { { .method = "OPTIONS" }, 0, "/any/*" },
    { { .method = "OPTIONS", .target = "*" }, 0, NODE_ITSELF },
    { { .method = "OPTIONS", .target = "*", .authority = "other.example" }, 0, NODE_ITSELF },
    { { .method = "OPTIONS", .fields = "Max-Forwards: 0\n" }, 0, NODE_ITSELF },
    { { .method = "OPTIONS", .fields = "Max-Forwards: 1\n" }, 0, "/any/*" },
    { { .method = "OPTIONS", .fields = "Max-Forwards: many\n" }, 0, "/any/*" },
    { { .method = "GET", .fields = "Max-Forwards: 0\n" }, 0, "/any/*" }, /* not for GET */

    /* schemes */
    { { .secure = true }, 0, "/any/*" },
    { { .scheme = "https", .secure = PLAIN }, -E_SCHEME, NULL },
    { { .scheme = "http", .secure = SECURE }, -E_SCHEME, NULL },
    { { .method = "OPTIONS", .target = "*", .scheme = "https" }, -E_SCHEME, NULL },
    { { .fields = "X-Forwarded-Proto: https\n" }, 0, "/any/*" }, /* a stranger's word */
    { { .scheme = "https", .fields = "X-Forwarded-Proto: https\n" }, -E_SCHEME, NULL },
    { { .scheme = "https", .from = PROXY }, 0, "/any/*" },

    /* expectations */
    { { .fields = "Expect: 100-continue\n" }, 0, "/any/*" },
    { { .fields = "Expect: 100-Continue\n" }, 0, "/any/*" },
    { { .fields = "Expect: the-unexpected\n" }, -E_EXPECTATION, NULL },
    { { .fields = "Expect: 100-continue, x\n" }, -E_EXPECTATION, NULL },
    { { .fields = "Expect: 100-continue\nExpect: x\n" }, -E_EXPECTATION, NULL },

    /* sites and routes */
    { { .authority = "SHOP.example:8080" }, 0, "/any/*" },
    { { .authority = "shop.example." }, 0, "/any/*" },
    { { .authority = "other.example" }, -E_NO_SITE, NULL },
    { { .authority = "only.example" }, -E_NO_SITE, NULL }, /* not on that address */
    { { .authority = "[2001:db8::1]:80" }, -E_NO_SITE, NULL },
    { { .authority = "" }, -E_NO_SITE, NULL }, /* HTTP/1.0 needs none */
    { { .target = "/" }, -E_NO_ROUTE, NULL },
    { { .target = "/other?/any/" }, -E_NO_ROUTE, NULL },
    { { .target = "/any" }, 0, "/any/*" },
    { { .target = "/anybody" }, -E_NO_ROUTE, NULL },

    /* paths */
    { { .target = "/%61ny/x" }, 0, "/any/*" },
    { { .target = "//any/x" }, -E_NO_ROUTE, NULL }, /* an origin may not merge slashes */
    { { .target = "/any/../small/%2e./any/x" }, 0, "/any/*" },
    { { .target = "/any/100%" }, -E_BAD_PATH, NULL },
    { { .target = "/any/?100%" }, 0, "/any/*" },
    { { .target = "/small/..%2fany/", .length = 10 }, 0, "/any/*" },
    { { .target = "/small/..%2fany/", .length = 11 }, -E_BODY_TOO_LARGE, "/any/*" },
    { { .target = "/any/..;/small/", .length = 11 }, -E_BODY_TOO_LARGE, "/small/*" },

    /* bodies */
    { { .method = "PUT", .target = "/small/", .length = 10 }, 0, "/small/*" },
    { { .method = "PUT", .target = "/small/", .length = 11 }, -E_BODY_TOO_LARGE, "/small/*" },
    { { .method = "PUT", .target = "/small/", .length = LENGTH_UNKNOWN }, 0, "/small/*" },
    { { .method = "PUT", .target = "/any/", .length = 11 }, 0, "/any/*" },
    { { .method = "PUT", .length = INT64_MAX }, -E_BODY_TOO_LARGE, "/any/*" },
};

static const char *pattern_of(const struct row *row)
{
    if (route) return arena_copy(&arena, route->patterns[0].text).p;
    return row->error ? NULL : NODE_ITSELF;
}

static void test_what_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int error = admit(&rows[i].asked);
        const char *pattern = pattern_of(&rows[i]);
        bool same = rows[i].pattern ? pattern && strcmp(pattern, rows[i].pattern) == 0 : !pattern;
        if (error == rows[i].error && same) continue;
        fail_msg("row %zu: %s, route %s", i, error_info(error)->name, pattern ? pattern : "none");
    }
}

static void test_whose_path_is_ambiguous(void **state)
{
    (void)state;
    assert_int_equal(admit(&(struct asked){ .target = "/small/..%2fany/x" }), 0);
    assert_true(ambiguous);
    assert_string_equal(pattern_of(&rows[0]), "/any/*");
    assert_string_equal(arena_copy(&arena, target).p, "/small/..%2Fany/x");
    assert_int_equal(body_size_bytes, 10);
    assert_int_equal(admit(&(struct asked){ .target = "/any/..;/any/%7ex?%7e" }), 0);
    assert_false(ambiguous); /* one route, however it is read */
    assert_string_equal(arena_copy(&arena, target).p, "/any/..;/any/~x?%7e");
}

/* ---- loops ---- */

static void test_what_has_been_here_before(void **state)
{
    (void)state;
    struct request sent, plain = request_of(&(struct asked){ 0 });
    struct peer peer = peer_of(&(struct asked){ 0 });
    struct forward f = { .config = config,
                         .route = &config->sites[0].routes[0],
                         .peer = &peer,
                         .target = plain.target };
    forward_request(&f, &plain, &arena, &sent);
    struct slice loop = fields_value(&sent.fields, FIELD_CDN_LOOP);
    const char *line = arena_printf(&arena, "CDN-Loop: %.*s\n", SLICE_ARGS(loop)).p;
    assert_int_equal(admit(&(struct asked){ .fields = line }), -E_LOOP);
    assert_null(route);
    assert_int_equal(admit(&(struct asked){ .fields = "CDN-Loop: verge; node=1\n" }), 0);
}

/* ---- the scheme ---- */

static const struct scheme_row {
    const char *from;
    bool secure;
    const char *told; /* X-Forwarded-Proto; NULL: none */
    const char *scheme;
    const char *fields; /* besides */
} scheme_rows[] = {
    { STRANGER, PLAIN, NULL, "http", "" },
    { STRANGER, SECURE, NULL, "https", "" },
    { STRANGER, PLAIN, "https", "http", "" },
    { STRANGER, SECURE, "http", "https", "" },
    { PROXY, PLAIN, NULL, "http", "" },
    { PROXY, SECURE, NULL, "https", "" },
    { PROXY, PLAIN, "https", "https", "" },
    { PROXY, PLAIN, "HTTPS", "https", "" },
    { PROXY, SECURE, "http", "http", "" },
    { PROXY, PLAIN, "http", "http", "" },
    { PROXY, PLAIN, "gopher", "http", "" },
    { PROXY, SECURE, "", "https", "" },
    /* Several: in one line or more, all alike, or the one of the hop that saw the client. */
    { PROXY, PLAIN, "https, https", "https", "" },
    { PROXY, PLAIN, "https", "https", "X-Forwarded-Proto: https\n" },
    { PROXY, PLAIN, "https, http", "http", "" },
    { PROXY, PLAIN, "https", "http", "X-Forwarded-Proto: http\n" },
    { PROXY, SECURE, "http, https", "https", "" },
    { PROXY, PLAIN, "https, http", "https", "X-Forwarded-For: 1.1.1.1, 10.0.0.2\n" },
    { PROXY, PLAIN, "https, http", "http", "X-Forwarded-For: 1.1.1.1, 2.2.2.2\n" },
    { PROXY, PLAIN, "\"https, http", "http", "" },
    /* Forwarded's, in its absence. */
    { PROXY, PLAIN, NULL, "https", "Forwarded: proto=https\n" },
    { PROXY, PLAIN, NULL, "https", "Forwarded: for=1.1.1.1;Proto=\"HTTPS\"\n" },
    { STRANGER, PLAIN, NULL, "http", "Forwarded: proto=https\n" },
    { PROXY, PLAIN, "http", "http", "Forwarded: proto=https\n" },
    { PROXY, PLAIN, NULL, "https",
      "Forwarded: for=1.1.1.1;proto=https, for=10.0.0.2;proto=http\n" },
    { PROXY, PLAIN, NULL, "http", "Forwarded: for=1.1.1.1;proto=https, for=2.2.2.2;proto=http\n" },
    { PROXY, PLAIN, NULL, "http", "Forwarded: proto=https;=\n" },
};

static void test_who_decides_the_scheme(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(scheme_rows); i++) {
        const struct scheme_row *row = &scheme_rows[i];
        struct asked a = { .from = row->from, .secure = row->secure };
        const char *told = "";
        if (row->told) told = arena_printf(&arena, "X-Forwarded-Proto: %s\n", row->told).p;
        a.fields = arena_printf(&arena, "%s%s", told, row->fields).p;
        assert_int_equal(admit(&a), 0);
        assert_string_equal(arena_copy(&arena, scheme).p, row->scheme);
    }
}

/* ---- to https ---- */

static const struct redirect_row {
    struct asked asked;
    const char *location; /* NULL: none */
} redirect_rows[] = {
    { { .authority = "shop.example" }, NULL },
    { { .authority = "usual.example" }, "https://usual.example/any/" },
    { { .authority = "usual.example:80" }, "https://usual.example/any/" },
    { { .authority = "usual.example", .secure = true }, NULL },
    { { .authority = "secure.example" }, "https://secure.example:8443/any/" },
    { { .authority = "SECURE.example", .target = "/p?q=%20#" },
      "https://SECURE.example:8443/p?q=%20#" },
    { { .authority = "secure.example", .method = "POST" }, "https://secure.example:8443/any/" },
    { { .authority = "secure.example", .target = "/.well-known/acme-challenge/x" }, NULL },
    { { .authority = "secure.example", .target = "/.well-known/acme-challenge/../../any/" },
      "https://secure.example:8443/any/" },
    { { .authority = "secure.example", .target = "/.well-known/acme-challenge/..%2f..%2fany/" },
      "https://secure.example:8443/.well-known/acme-challenge/..%2F..%2Fany/" },
    { { .authority = "secure.example", .target = "/.well-known/acme-challengex" },
      "https://secure.example:8443/.well-known/acme-challengex" },
    { { .authority = "secure.example", .from = PROXY, .fields = "X-Forwarded-Proto: https\n" },
      NULL },
    { { .authority = "secure.example", .fields = "X-Forwarded-Proto: https\n" },
      "https://secure.example:8443/any/" },
};

static void test_what_goes_to_https(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(redirect_rows); i++) {
        const struct redirect_row *row = &redirect_rows[i];
        assert_int_equal(admit(&row->asked), 0);
        assert_true(!route == !!row->location);
        struct slice wanted = text_or(row->location, "");
        if (!slice_eq(location, wanted)) fail_msg("row %zu: %.*s", i, SLICE_ARGS(location));
    }
}

/* ---- early data, certificates ---- */

static void test_what_came_early(void **state)
{
    (void)state;
    struct asked a = { .authority = "usual.example", .secure = true, .early = true };
    assert_int_equal(admit(&a), 0);
    assert_true(slice_eq(fields_value(&fields, FIELD_EARLY_DATA), SLICE("1")));
    a.method = "HEAD";
    assert_int_equal(admit(&a), 0);
    a.method = "POST";
    assert_int_equal(admit(&a), -E_TOO_EARLY);
    a.method = "GET";
    a.authority = "shop.example"; /* which has not asked for any */
    assert_int_equal(admit(&a), -E_TOO_EARLY);
    a.early = false;
    assert_int_equal(admit(&a), 0);
    assert_false(fields_has(&fields, FIELD_EARLY_DATA));
    a.fields = "Early-Data: 0\nEarly-Data: x\n";
    assert_int_equal(admit(&a), 0);
    assert_int_equal(fields_count(&fields, FIELD_EARLY_DATA), 1);
    assert_true(slice_eq(fields_value(&fields, FIELD_EARLY_DATA), SLICE("1")));
}

static void test_who_says_whose_certificate(void **state)
{
    (void)state;
    struct asked a = { .fields = "Client-Cert: :YQ==:\nClient-Cert-Chain: :YQ==:\n" };
    assert_int_equal(admit(&a), 0);
    assert_int_equal(fields.n, 0);
    a.from = PROXY;
    assert_int_equal(admit(&a), 0);
    assert_int_equal(fields.n, 2);
}

/* ---- what only proxies may say ---- */

#define CLAIMS                                                                                     \
    "Proxy: p\nX-Original-URL: /a\nx-rewrite-url: /a\nX-Forwarded: f\nTrue-Client-IP: i\n"         \
    "X-HTTP-Method-Override: PUT\nX-Forwarded-Port: 1\nX-FORWARDED-anything: 2\nX-Real-IP: i\n"
#define WRITTEN_HERE                                                                               \
    "X-Forwarded-For: 6.6.6.6\nX-Forwarded-Host: evil.example\nForwarded: for=6.6.6.6\n"           \
    "Client-Cert: :YQ==:\n"
#define UNDERSCORED "X_Forwarded_For: u\nX-Forwarded_For: u\nClient_Cert: u\nTransfer_Encoding: u\n"
#define FREE        .authority = "free.example"

static const struct claims_row {
    struct asked asked;
    const char *left;
} claims_rows[] = {
    { { .fields = "A: 1\n" CLAIMS "B-b: 2\n" WRITTEN_HERE "C: 3\n" UNDERSCORED },
      "A: 1\nB-b: 2\nC: 3\n" },
    { { .fields = CLAIMS UNDERSCORED "A_b: 1\n", .from = PROXY }, CLAIMS },
    { { .fields = CLAIMS "A_b: 1\n" WRITTEN_HERE, FREE },
      "X-Forwarded-Port: 1\nX-Real-IP: i\nA_b: 1\n" },
    { { .fields = CLAIMS WRITTEN_HERE, FREE, .target = "/all/" }, CLAIMS },
    { { .fields = CLAIMS WRITTEN_HERE, FREE, .target = "/none/" }, "" },
    /* An underscore does not hide what a name is taken for. */
    { { .fields = UNDERSCORED "X_Original_URL: /a\nA_: 1\n", FREE },
      "Transfer_Encoding: u\nA_: 1\n" },
    { { .fields = UNDERSCORED, FREE, .from = PROXY }, UNDERSCORED },
    /* The host: once, and as in the key. */
    { { .fields = "X-Forwarded-Host: SHOP.example:80\n", .from = PROXY }, "" },
    { { .fields = "X-Forwarded-Host: \n", .from = PROXY }, "" },
    { { .fields = "X-Forwarded-Host: Evil.example\n", .from = PROXY },
      "X-Forwarded-Host: evil.example\n" },
    { { .fields = "X-Forwarded-Host: a\nX-Forwarded-Host: B\n", .from = PROXY },
      "X-Forwarded-Host: a, b\n" },
    /* Forwarded's is believed where it is the site's, and else not passed on. */
    { { .fields = "Forwarded: host=evil.test\n", .from = PROXY }, "" },
    { { .fields = "Forwarded: for=1.1.1.1;host=evil.test;by=x\n", .from = PROXY },
      "Forwarded: for=1.1.1.1;by=x\n" },
    { { .fields = "Forwarded: host=Shop.Example;for=1.1.1.1\n", .from = PROXY },
      "Forwarded: host=Shop.Example;for=1.1.1.1\n" },
    { { .fields = "Forwarded: host=\"shop.example:8080\"\n", .from = PROXY },
      "X-Forwarded-Host: shop.example:8080\nForwarded: host=\"shop.example:8080\"\n" },
    { { .fields = "X-Forwarded-Host: a.test\nForwarded: host=shop.example, host=A.test\n",
        .from = PROXY },
      "X-Forwarded-Host: a.test\nForwarded: host=A.test\n" },
    { { .fields = "Forwarded: for=1.1.1.1;proto=https, for=10.0.0.2;proto=http, host=\"\n",
        .from = PROXY },
      "Forwarded: for=1.1.1.1, for=10.0.0.2;proto=http\n" },
};

static struct slice lines_of(const struct fields *f)
{
    struct slice text = SLICE("");
    for (uint32_t i = 0; i < f->n; i++) {
        const struct field *line = &f->v[i];
        text = arena_printf(&arena, "%.*s%.*s: %.*s\n", SLICE_ARGS(text), SLICE_ARGS(line->name),
                            SLICE_ARGS(line->value));
    }
    return arena_copy(&arena, text);
}

static void test_what_only_proxies_may_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(claims_rows); i++) {
        assert_int_equal(admit(&claims_rows[i].asked), 0);
        assert_string_equal(lines_of(&fields).p, claims_rows[i].left);
    }
}

/* A list is as long as its writers like: it costs no more memory than its bytes, and what counts is
 * its end. */
static void test_long_lists(void **state)
{
    (void)state;
    enum { HOPS = 5000 };
    char *text = test_malloc(HOPS * 16);
    static const struct {
        const char *name, *hop, *scheme;
    } lists[] = { { "Forwarded: ", "proto=http,", "https" },
                  { "X-Forwarded-Proto: ", "http,", "http" } };
    for (size_t i = 0; i < COUNT(lists); i++) {
        char *at = stpcpy(text, lists[i].name);
        for (int n = 0; n < HOPS; n++) at = stpcpy(at, lists[i].hop);
        stpcpy(at, i ? "https\n" : "proto=https;host=evil.test\n");
        assert_int_equal(admit(&(struct asked){ .from = PROXY, .fields = text }), 0);
        assert_string_equal(arena_copy(&arena, scheme).p, lists[i].scheme);
        assert_true(fields.v[0].value.n <= strlen(text));
    }
    test_free(text);
}

static int start(void **state)
{
    (void)state;
    arena_init(&arena, 4096);
    forward_init(0x0123456789abcdefu);
    config = config_parse(slice_str(config_text), "test", stderr);
    return config ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    config_drop(&config);
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_taken),
        cmocka_unit_test(test_whose_path_is_ambiguous),
        cmocka_unit_test(test_what_has_been_here_before),
        cmocka_unit_test(test_who_decides_the_scheme),
        cmocka_unit_test(test_what_goes_to_https),
        cmocka_unit_test(test_what_came_early),
        cmocka_unit_test(test_who_says_whose_certificate),
        cmocka_unit_test(test_what_only_proxies_may_say),
        cmocka_unit_test(test_long_lists),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
