/* What directives make of a configuration, and what is found in it. Messages are in tests/config.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "edge/config_builder.h"

#define ORIGIN "origin app { server 127.0.0.1:8000; }\n"

/* A configuration that must be right. */
static struct config *load(const char *text)
{
    struct config *c = config_parse(slice_str(text), "test", stderr);
    assert_non_null(c);
    return c;
}

/* The same, with directives that go into its only site. */
static struct config *load_site(const char *directives)
{
    char text[2048];
    snprintf(text, sizeof text, ORIGIN "site * { listen 8080; origin app; %s }", directives);
    return load(text);
}

static void assert_refused(const char *text)
{
    char message[1024] = "";
    FILE *out = fmemopen(message, sizeof message, "w");
    assert_null(config_parse(slice_str(text), "test", out));
    fclose(out);
    assert_non_null(strstr(message, "error: "));
}

#define assert_slice(s, text) assert_true(slice_eq((s), slice_str(text)))

static void test_defaults(void **state)
{
    (void)state;
    struct config *c = load(ORIGIN "site * { listen 8080; route * { origin app; } }");
    const struct config_origin *o = c->origins;
    const struct config_route *r = c->sites->routes;
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->shutdown_timeout_ms, 30000);
    assert_int_equal(c->cache.memory_bytes, 256 << 20);
    assert_int_equal(c->cache.object_max_bytes, 32 << 20);
    assert_int_equal(c->cache.variants_max, 16);
    assert_int_equal(c->cache.uncacheable_ms, 120000);
    assert_int_equal(c->limits.line_bytes, 8192);
    assert_int_equal(c->limits.connections, 16384);
    assert_int_equal(c->limits.connections_per_client, 0);
    assert_int_equal(c->limits.requests_per_connection, 100000);
    assert_int_equal(c->limits.rate_min_bytes, 256);
    assert_false(c->admin.enabled);
    assert_int_equal(c->log.access_path.n, 0);
    assert_int_equal(c->log.error_path.n, 0);
    assert_int_equal(o->keepalive, 64);
    assert_int_equal(o->lifetime_ms, 600000);
    assert_int_equal(o->servers->weight, 1);
    assert_int_equal(o->host.n, 0);
    assert_false(r->cache.bypass || r->cache.heuristic || r->cache.honor_request);
    assert_false(r->cache.store_set_cookie || r->cache_status_key || r->key.sort_query);
    assert_true(r->cache.surrogate_control);
    assert_int_equal(r->cache.ttl_count, 0);
    assert_int_equal(r->key.query, KEY_QUERY_ALL);
    assert_int_equal(r->body_size_bytes, (int64_t)4 << 30);
    config_drop(&c);
    assert_null(c);
}

/* Every bound of the table fits its member, and every default lies within its bounds: the default
 * is read in any case, so here the bounds are. */
static void test_bounds_can_be_set(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_directive_count; i++) {
        const struct config_directive *d = &config_directives[i];
        if (!d->min || !d->min[0]) continue;
        _Alignas(16) char target[sizeof(struct config)] = { 0 };
        struct config c = { 0 };
        struct config_builder b = { .config = &c };
        const char *bounds[] = { d->min, d->max, d->fallback };
        for (size_t j = 0; j < 3; j++) {
            struct conf_word word = { .text = slice_str(bounds[j]) };
            struct conf_item item = { .args = &word, .arg_count = 1 };
            d->apply(&b, d, &item, target);
            assert_int_equal(b.report.count, 0);
        }
    }
}

static void test_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value; /* -1: wrong */
    } sizes[] = {
        { "0", 0 },          { "17", 17 },         { "4K", 4096 },  { "4k", 4096 },
        { "16M", 16 << 20 }, { "1G", 1 << 30 },    { "", -1 },      { "K", -1 },
        { "1KB", -1 },       { "1.5M", -1 },       { "-1", -1 },    { "1 K", -1 },
        { "1T", 1LL << 40 }, { "8388607T", 8388607LL << 40 },       { "8388608T", -1 },
        { "9223372036854775807", INT64_MAX },      { "9223372036854775808", -1 },
    }, durations[] = {
        { "0", 0 },     { "100ms", 100 }, { "5s", 5000 },     { "10m", 600000 }, { "2h", 7200000 },
        { "60", -1 },   { "s", -1 },      { "1d", 86400000 }, { "1w", -1 },      { "", -1 },
        { "1s ", -1 },  { "106751991167d", 106751991167LL * 86400000 },          { "106751991168d", -1 },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t got;
        bool wrong = config_read_size(slice_str(sizes[i].text), &got);
        assert_int_equal(wrong ? -1 : got, sizes[i].value);
    }
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        int64_t got;
        bool wrong = config_read_duration(slice_str(durations[i].text), &got);
        assert_int_equal(wrong ? -1 : got, durations[i].value);
    }
}

static size_t slice_bytes(const char *cache)
{
    char text[512];
    snprintf(text, sizeof text, "cache { %s }%s", cache,
             ORIGIN "site * { listen 8080; route * { origin app; } }");
    struct config *c = load(text);
    size_t bytes = c->cache.slice_bytes;
    config_drop(&c);
    return bytes;
}

static void test_slices(void **state)
{
    (void)state;
    assert_int_equal(slice_bytes(""), 1 << 20);
    assert_int_equal(slice_bytes("slice 64K;"), 64 << 10);
    assert_int_equal(slice_bytes("slice 64M;"), 64 << 20);
    assert_int_equal(slice_bytes("slice off;"), 0);
    assert_int_equal(slice_bytes("slice 0;"), 0);
}

static void test_top_level(void **state)
{
    (void)state;
    struct config *c = load("workers 3; access_log /var/log/a json; error_log e.log;"
                            "cache { object_max memory/4; memory 8M; }"
                            "limits { header_timeout 3s; connections_per_client 9; }"
                            "admin { listen [::1]:9145; }" ORIGIN
                            "site * { listen 8080; route * { origin app; } }");
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&c->admin.listen.address;
    assert_int_equal(c->workers, 3);
    assert_string_equal(c->log.access_path.p, "/var/log/a");
    assert_int_equal(c->log.access_format, LOG_JSON);
    assert_string_equal(c->log.error_path.p, "e.log");
    assert_int_equal(c->cache.memory_bytes, 8 << 20);
    assert_int_equal(c->cache.object_max_bytes, 2 << 20);
    assert_int_equal(c->limits.header_timeout_ms, 3000);
    assert_int_equal(c->limits.connections_per_client, 9);
    assert_true(c->admin.enabled);
    assert_int_equal(in6->sin6_family, AF_INET6);
    assert_int_equal(in6->sin6_port, htons(9145));
    assert_int_equal(c->admin.listen.address_bytes, sizeof *in6);
    config_drop(&c);
}

static void test_origins(void **state)
{
    (void)state;
    struct config *c = load("site * { listen 8080; route /b { origin b; } route * { origin a; } }"
                            "origin a { server a.example:80 weight=7; server [::1]:81 backup;"
                            "           server 10.0.0.1:82 down backup; host x.example:8080; }"
                            "origin b { server b:1; keepalive 0; lifetime 1h; }");
    const struct config_origin *a = &c->origins[0], *b = &c->origins[1];
    assert_int_equal(c->origin_count, 2);
    assert_int_equal(a->server_count, 3);
    assert_string_equal(a->servers[0].host.p, "a.example");
    assert_int_equal(a->servers[0].port, 80);
    assert_int_equal(a->servers[0].weight, 7);
    assert_false(a->servers[0].backup || a->servers[0].down);
    assert_string_equal(a->servers[1].host.p, "::1");
    assert_true(a->servers[1].backup && !a->servers[1].down);
    assert_true(a->servers[2].backup && a->servers[2].down);
    assert_slice(a->host, "x.example:8080");
    assert_int_equal(b->keepalive, 0);
    assert_int_equal(b->lifetime_ms, 3600000);
    assert_int_equal(b->index, 1);
    assert_ptr_equal(c->sites->routes[0].origin, b);
    assert_ptr_equal(c->sites->routes[1].origin, a);
    config_drop(&c);
}

static void test_values_are_inherited(void **state)
{
    (void)state;
    /* What the site says after a route holds for it all the same. */
    struct config *c = load_site("heuristic on; route /a { heuristic off; body_size 1K; }"
                                 "route /b { cache off; key_query keep x; } route * { }"
                                 "stale_if_error 1h; key_query drop utm_*; surrogate_control off;");
    const struct config_route *r = c->sites->routes;
    assert_false(r[0].cache.heuristic);
    assert_int_equal(r[0].body_size_bytes, 1024);
    assert_int_equal(r[0].cache.stale_if_error_ms, 3600000);
    assert_true(r[1].cache.heuristic && r[1].cache.bypass && !r[2].cache.bypass);
    assert_int_equal(r[1].key.query, KEY_QUERY_KEEP);
    assert_slice(r[1].key.params[0], "x");
    assert_int_equal(r[1].key.param_count, 1);
    assert_int_equal(r[2].key.query, KEY_QUERY_DROP);
    assert_slice(r[2].key.params[0], "utm_*");
    assert_false(r[2].cache.surrogate_control);
    config_drop(&c);
}

static void test_lists_merge(void **state)
{
    (void)state;
    struct config *c = load_site(
        "ttl 200 301 1h; ttl any 1m; key_header A B; response_header set S 1; request_header "
        "remove R;"
        "route /a { ttl 404 5s override; key_header C; response_header add S \"\"; key_cookie k; }"
        "route * { response_header remove T; }");
    const struct config_route *a = &c->sites->routes[0], *b = &c->sites->routes[1];
    static const int statuses[] = { 404, 200, 301, 0 };
    assert_int_equal(a->cache.ttl_count, 4);
    for (size_t i = 0; i < 4; i++) assert_int_equal(a->cache.ttls[i].status, statuses[i]);
    assert_true(a->cache.ttls[0].override && !a->cache.ttls[1].override);
    assert_int_equal(a->cache.ttls[0].ttl_ms, 5000);
    assert_int_equal(a->cache.ttls[2].ttl_ms, 3600000);
    assert_int_equal(b->cache.ttl_count, 3);

    assert_int_equal(a->key.header_count, 3);
    assert_slice(a->key.headers[0], "A");
    assert_slice(a->key.headers[2], "C");
    assert_int_equal(b->key.header_count, 2);
    assert_int_equal(a->key.cookie_count, 1);
    assert_int_equal(b->key.cookie_count, 0);

    assert_int_equal(a->response_header_count, 2);
    assert_int_equal(a->response_headers[0].action, HEADER_SET);
    assert_slice(a->response_headers[0].value, "1");
    assert_int_equal(a->response_headers[1].action, HEADER_ADD);
    assert_int_equal(a->response_headers[1].value.n, 0);
    assert_int_equal(b->response_header_count, 2);
    assert_int_equal(b->response_headers[1].action, HEADER_REMOVE);
    assert_slice(b->response_headers[1].name, "T");
    assert_int_equal(b->request_header_count, 1);
    config_drop(&c);
}

/* More of everything than fits where an array begins. */
static void test_many_sites(void **state)
{
    (void)state;
    enum { SITES = 3000 };
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    fputs(ORIGIN, out);
    for (int i = 0; i < SITES; i++)
        fprintf(out, "site s%d.example *.s%d.example { listen %d; route * { origin app; } }\n", i,
                i, 8080 + i % 3);
    fclose(out);
    struct config *c = load(text);
    assert_int_equal(c->site_count, SITES);
    assert_int_equal(c->route_total, SITES);
    assert_int_equal(c->listen_count, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_ptr_equal(config_first_site(c, &c->listens[i]), &c->sites[i]);
    for (unsigned i = 0; i < SITES; i++) {
        char host[64];
        const struct config_listen *here = &c->listens[i % 3], *there = &c->listens[(i + 1) % 3];
        snprintf(host, sizeof host, "S%u.example", i);
        assert_ptr_equal(config_find_site(c, here, slice_str(host)), &c->sites[i]);
        assert_null(config_find_site(c, there, slice_str(host)));
        snprintf(host, sizeof host, "a.b.s%u.example.", i);
        assert_ptr_equal(config_find_site(c, here, slice_str(host)), &c->sites[i]);
        assert_int_equal(c->sites[i].index, i);
        assert_int_equal(c->sites[i].routes->index, i);
        assert_int_equal(c->sites[i].routes->line, i + 2);
    }
    config_drop(&c);
    free(text);
}

static void test_find_site(void **state)
{
    (void)state;
    struct config *c =
        load(ORIGIN "site a.example { listen 1; listen 127.0.0.1:2; route * { origin app; } }\n"
                    "site *.example [::1] { listen 1; route * { origin app; } }\n"
                    "site *.a.example { listen 1; route * { origin app; } }\n"
                    "site * { listen 127.0.0.1:2; route * { origin app; } }\n");
    static const struct {
        const char *host;
        int first, second; /* on the listener 1, on 2; -1: none */
    } cases[] = {
        { "a.example", 0, 0 },
        { "A.Example.", 0, 0 },
        { "b.example", 1, 3 },
        { "x.a.example", 2, 3 },
        { "y.x.a.example", 2, 3 },
        { "y.b.example", 1, 3 },
        { "example", -1, 3 },
        { "", -1, 3 },
        { ".", -1, 3 },
        { "[::1]", 1, 3 },
        { "[::2]", -1, 3 },
        { "aa.example.org", -1, 3 },
        { "xa.example", 1, 3 },
        { ".example", 1, 3 },
    };
    /* The listener may come from an older generation: another object with the same address. */
    struct config_listen first = c->listens[0], second = c->listens[1], other;
    assert_null(config_read_listen(SLICE("127.0.0.1:1"), &other));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice host = slice_str(cases[i].host);
        const struct config_site *a = config_find_site(c, &first, host);
        const struct config_site *b = config_find_site(c, &second, host);
        assert_int_equal(a ? (int)a->index : -1, cases[i].first);
        assert_int_equal(b ? (int)b->index : -1, cases[i].second);
        assert_null(config_find_site(c, &other, host));
    }
    char longest[1000];
    memset(longest, 'a', sizeof longest);
    assert_null(config_find_site(c, &first, slice_of(longest, sizeof longest)));
    assert_int_equal(config_find_site(c, &second, slice_of(longest, sizeof longest))->index, 3);
    config_drop(&c);
}

/* The pattern language in its plainest form. */
static bool matches_by_trying(const char *pattern, const char *path)
{
    if (!*pattern) return !*path;
    if (*pattern != '*') return *pattern == *path && matches_by_trying(pattern + 1, path + 1);
    return matches_by_trying(pattern + 1, path) || (*path && matches_by_trying(pattern, path + 1));
}

static bool matches_or_is_folder(const char *pattern, const char *path)
{
    size_t n = strlen(pattern);
    char folder[16];
    if (matches_by_trying(pattern, path)) return true;
    if (n < 3 || strcmp(pattern + n - 2, "/*") != 0) return false;
    memcpy(folder, pattern, n - 2);
    folder[n - 2] = 0;
    return matches_by_trying(folder, path);
}

/* The n-th word over an alphabet, shortest first. */
static void word(unsigned n, const char *alphabet, char *out)
{
    unsigned base = (unsigned)strlen(alphabet);
    for (; n; n = (n - 1) / base) *out++ = alphabet[(n - 1) % base];
    *out = 0;
}

static void test_patterns_match_as_tried(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1365; i++) { /* all patterns of up to five characters */
        char pattern[16], path[16];
        word(i, "/ab*", pattern);
        struct config_pattern p = config_pattern_of(slice_str(pattern));
        for (unsigned j = 0; j < 364; j++) {
            word(j, "/ab", path);
            assert_int_equal(config_pattern_matches(&p, slice_str(path)),
                             matches_or_is_folder(pattern, path));
        }
    }
}

static void test_first_route_in_file_order(void **state)
{
    (void)state;
    struct config *c = load_site("route /a/b { } route /a/* { } route *.css { } route /x*y*z { }");
    const struct config_site *s = c->sites;
    assert_ptr_equal(config_find_route(s, SLICE("/a/b")), &s->routes[0]);
    assert_ptr_equal(config_find_route(s, SLICE("/a/b.css")), &s->routes[1]);
    assert_ptr_equal(config_find_route(s, SLICE("/b.css")), &s->routes[2]);
    assert_ptr_equal(config_find_route(s, SLICE("/x/y/y/z")), &s->routes[3]);
    assert_ptr_equal(config_find_route(s, SLICE("/a")), &s->routes[1]);
    assert_null(config_find_route(s, SLICE("/ab")));
    assert_null(config_find_route(s, SLICE("")));
    assert_string_equal(s->routes[3].patterns[0].text.p, "/x*y*z");
    config_drop(&c);
}

static bool trusts(const struct config *c, const char *address)
{
    struct config_cidr host;
    assert_null(config_read_cidr(slice_str(address), &host));
    return config_is_trusted(c, host.bytes);
}

static void test_trusted(void **state)
{
    (void)state;
    struct config *c =
        load("trusted_proxy 10.0.0.0/8 192.0.2.7; trusted_proxy 2001:db8::/33 172.16.0.0/12;" ORIGIN
             "site * { listen 8080; route * { origin app; } }");
    assert_int_equal(c->trusted_count, 4);
    assert_int_equal(c->trusted[0].bits, 104);
    assert_true(trusts(c, "10.255.0.1") && !trusts(c, "11.0.0.1"));
    assert_true(trusts(c, "192.0.2.7") && !trusts(c, "192.0.2.6"));
    assert_true(trusts(c, "172.31.255.255") && !trusts(c, "172.32.0.0"));
    assert_true(trusts(c, "2001:db8:7fff::") && !trusts(c, "2001:db8:8000::"));
    assert_true(trusts(c, "::ffff:10.0.0.1") && !trusts(c, "::10.0.0.1"));
    config_drop(&c);

    c = load("trusted_proxy ::/0;" ORIGIN "site * { listen 8080; route * { origin app; } }");
    assert_true(trusts(c, "10.0.0.1") && trusts(c, "fe80::1"));
    config_drop(&c);
}

static void test_a_file_beyond_all_bounds(void **state)
{
    (void)state;
    char *text = malloc(CONF_TEXT_MAX + 2);
    memset(text, ' ', CONF_TEXT_MAX + 1);
    text[CONF_TEXT_MAX + 1] = 0;
    assert_refused(text);
    free(text);
}

static void test_a_generation_lives_as_long_as_its_last_holder(void **state)
{
    (void)state;
    struct config *a = load_site("route * { }"), *b = load_site("route * { }"),
                  *again = config_hold(a);
    assert_true(b->generation > a->generation);
    config_drop(&a);
    assert_null(a);
    assert_string_equal(again->origins->name.p, "app");
    config_drop(&again);
    config_drop(&b);
    config_drop(&b); /* nothing is dropped twice */
}

static void test_built_in(void **state)
{
    (void)state;
    static const struct {
        const char *origin, *host, *field;
        uint16_t port;
    } cases[] = {
        { "http://127.0.0.1:8000", "127.0.0.1", "127.0.0.1:8000", 8000 },
        { "http://example.com/", "example.com", "example.com", 80 },
        { "example.com:80", "example.com", "example.com", 80 },
        { "http://[::1]:81/", "::1", "[::1]:81", 81 },
        { "https://127.0.0.1", "127.0.0.1", "127.0.0.1", 443 },
        { "https://127.0.0.1:80", "127.0.0.1", "127.0.0.1:80", 80 },
        { "[::1]", "::1", "[::1]", 80 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena a;
        arena_init(&a, 1024);
        struct config *c =
            config_parse(config_default_text(&a, cases[i].origin, NULL), "built-in", stderr);
        assert_non_null(c);
        assert_slice(c->origins->servers->host, cases[i].host);
        assert_int_equal(c->origins->servers->port, cases[i].port);
        assert_slice(c->origins->host, cases[i].field);
        bool tls = strncmp(cases[i].origin, "https:", 6) == 0;
        assert_int_equal(c->origins->connector != NULL, tls);
        assert_true(c->admin.enabled);
        config_drop(&c);
        arena_free(&a);
    }
}

/* Whatever an argument says, it stays one argument. */
static void test_built_in_with_a_wrong_origin(void **state)
{
    (void)state;
    static const char *const origins[] = { "",      "/",   "https://", "a:1; } x {",
                                           "a\":1", "a\\", "a\nb",     "http://a/b" };
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
        struct arena a;
        arena_init(&a, 1024);
        struct slice text = config_default_text(&a, origins[i], NULL);
        assert_refused(text.p);
        arena_free(&a);
    }
}

static void test_built_in_with_a_disk(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1024);
    struct slice text = config_default_text(&a, "localhost:1", "a \"folder\";");
    struct config *c = config_parse(text, "built-in", stderr);
    assert_non_null(c);
    assert_string_equal(c->cache.disk_path.p, "a \"folder\";");
    assert_int_equal(c->cache.disk_bytes, 1 << 30);
    config_drop(&c);
    arena_free(&a);
}

static void collect(const struct conf_item *item, enum config_context context, bool *seen)
{
    for (; item; item = item->next) {
        const struct config_directive *d = config_directive_find(item->name.text, context);
        assert_non_null(d);
        seen[d - config_directives] = true;
        if (!item->has_block) continue;
        static const struct {
            const char *name;
            enum config_context context;
        } blocks[] = { { "cache", CONTEXT_CACHE }, { "limits", CONTEXT_LIMITS },
                       { "admin", CONTEXT_ADMIN }, { "origin", CONTEXT_ORIGIN },
                       { "site", CONTEXT_SITE },   { "route", CONTEXT_ROUTE } };
        for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
            if (slice_eq(item->name.text, slice_str(blocks[i].name)))
                collect(item->children, blocks[i].context, seen);
        }
    }
}

static void test_the_sample_shows_every_directive(void **state)
{
    (void)state;
    struct config *c = config_load("verge.conf", stderr);
    assert_non_null(c);
    bool seen[128] = { false };
    assert_true(config_directive_count <= 128);
    struct arena a;
    struct conf_report r;
    arena_init(&a, 16384);
    conf_report_init(&r, "error", c->text, "verge.conf", &a);
    collect(conf_parse(&r, &a)->children, CONTEXT_TOP, seen);
    for (size_t i = 0; i < config_directive_count; i++) {
        if (!seen[i]) fail_msg("verge.conf does not show \"%s\"", config_directives[i].name);
    }
    arena_free(&a);
    config_drop(&c);
}

static void test_the_reference_has_every_directive(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes, sections = 0;
    FILE *out = open_memstream(&text, &bytes);
    config_describe(out);
    fclose(out);
    for (const char *at = text; (at = strstr(at, "\n### ")); at++) sections++;
    assert_int_equal(sections, config_directive_count);
    for (size_t i = 0; i < config_directive_count; i++)
        assert_non_null(strstr(text, config_directives[i].prose));
    assert_non_null(strstr(text, "\n    object_max SIZE | memory/NUMBER | auto;\n"));
    free(text);
}

static void test_a_missing_file(void **state)
{
    (void)state;
    char message[256] = "";
    FILE *out = fmemopen(message, sizeof message, "w");
    assert_null(config_load("tests/config/there-is-none", out));
    fclose(out);
    assert_string_equal(
        message, "tests/config/there-is-none: error: cannot be read: No such file or directory\n");
}

static void test_a_port_alone_has_three_spellings(void **state)
{
    (void)state;
    static const char *const spellings[] = { "listen :8080;", "listen *:8080;" };
    struct config *bare = load_site("listen 8081; route * { }");
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        char text[512];
        snprintf(text, sizeof text, ORIGIN "site * { %s route * { origin app; } }", spellings[i]);
        struct config *c = load(text);
        assert_true(config_listen_eq(&c->listens[0], &bare->listens[0]));
        config_drop(&c);
    }
    config_drop(&bare);
}

static void test_dollars_in_values(void **state)
{
    (void)state;
    struct config *c = load_site("response_header set A '$$5 $$$$ $ $- $$'; route * { }");
    assert_slice(c->sites->routes->response_headers[0].value, "$5 $$ $ $- $");
    config_drop(&c);
    assert_refused(ORIGIN "site * { listen 1; origin app; response_header set A $a; route * { } }");
    assert_refused(ORIGIN
                   "site * { listen 1; origin app; request_header add A '${a'; route * { } }");
}

static void test_what_untrusted_clients_may_send(void **state)
{
    (void)state;
    struct config *c = load_site("untrusted_fields pass X-Real-IP X-Forwarded-*;"
                                 "route /a/* { untrusted_fields drop; underscores_in_fields pass; }"
                                 "route * { }");
    const struct config_route *r = c->sites->routes;
    assert_int_equal(r[0].passed_claim_count, 0);
    assert_true(r[0].underscores);
    assert_int_equal(r[1].passed_claim_count, 2);
    assert_false(r[1].underscores);
    config_drop(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_bounds_can_be_set),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_top_level),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_values_are_inherited),
        cmocka_unit_test(test_lists_merge),
        cmocka_unit_test(test_many_sites),
        cmocka_unit_test(test_find_site),
        cmocka_unit_test(test_patterns_match_as_tried),
        cmocka_unit_test(test_first_route_in_file_order),
        cmocka_unit_test(test_trusted),
        cmocka_unit_test(test_a_file_beyond_all_bounds),
        cmocka_unit_test(test_a_generation_lives_as_long_as_its_last_holder),
        cmocka_unit_test(test_built_in),
        cmocka_unit_test(test_built_in_with_a_wrong_origin),
        cmocka_unit_test(test_built_in_with_a_disk),
        cmocka_unit_test(test_a_port_alone_has_three_spellings),
        cmocka_unit_test(test_dollars_in_values),
        cmocka_unit_test(test_what_untrusted_clients_may_send),
        cmocka_unit_test(test_the_sample_shows_every_directive),
        cmocka_unit_test(test_the_reference_has_every_directive),
        cmocka_unit_test(test_a_missing_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
