/* key: the hash against published vectors; primary keys, rewritten targets, references and
 * secondary keys as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "cache/key.h"

static struct arena arena;

static int start(void **state)
{
    (void)state;
    arena_init(&arena, 4096);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static void assert_text(struct slice s, const char *text)
{
    if (!slice_eq(s, slice_str(text))) fail_msg("got \"%.*s\", not \"%s\"", SLICE_ARGS(s), text);
}

static struct request request(const char *authority, const char *target)
{
    return (struct request){ .method = METHOD_GET,
                             .scheme = SLICE("http"),
                             .authority = slice_str(authority),
                             .target = slice_str(target) };
}

static void add(struct request *r, const char *name, const char *value)
{
    fields_add_named(&r->fields, &arena, slice_str(name), slice_str(value));
}

/* SipHash-1-3 of 00, 00 01, ... with key 00..0f: from the tests of the Rust standard library's
 * SipHasher13. */
static void hash_matches_published_vectors(void **state)
{
    (void)state;
    static const uint64_t expected[] = {
        0xabac0158050fc4dc, 0xc9f49bf37d57ca93, 0x82cb9b024dc7d44d,
        0x8bf80ab8e7ddf7fb, 0xcf75576088d38328, 0xdef9d52f49533b67,
        0xc50d2b50c59f22a7, 0xd3927d989bb11140, 0x369095118d299a8e
    };
    char bytes[16];
    for (int i = 0; i < 16; i++) bytes[i] = (char)i;
    key_seed(0x0706050403020100, 0x0f0e0d0c0b0a0908);
    for (size_t n = 0; n < sizeof expected / sizeof *expected; n++) {
        assert_true(key_hash(slice_of(bytes, n)) == expected[n]);
    }
}

static void text_is_scheme_authority_path_query(void **state)
{
    (void)state;
    static const struct {
        const char *scheme, *authority, *target, *text;
    } rows[] = {
        { "http", "Example.COM", "/A?B", "4:http11:example.com2:/A1:B" },
        { "http", "example.com:80", "/", "4:http11:example.com1:/-" },
        { "http", "example.com:", "/", "4:http11:example.com1:/-" },
        { "http", "example.com:443", "/", "4:http15:example.com:4431:/-" },
        { "https", "example.com:443", "/", "5:https11:example.com1:/-" },
        { "https", "example.com:80", "/", "5:https14:example.com:801:/-" },
        { "http", "[::1]:80", "/?", "4:http5:[::1]1:/0:" },
        { "http", "a", "/?a?b", "4:http1:a1:/3:a?b" },
        { "http", "a", "*", "4:http1:a1:*-" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct request r = request(rows[i].authority, rows[i].target);
        r.scheme = slice_str(rows[i].scheme);
        struct key k;
        key_build(&(struct key_policy){ 0 }, &r, &arena, &k);
        assert_text(k.text, rows[i].text);
        assert_ptr_equal(k.target.p, r.target.p);
        assert_true(k.hash == key_hash(k.text));
    }
}

/* Callers give memory that nobody has cleared. */
static void nothing_of_the_callers_memory_stays_in_a_key(void **state)
{
    (void)state;
    struct request r = request("h", "/a");
    struct key whole, slice, again, reference;
    memset(&whole, 0xa5, sizeof whole);
    memset(&slice, 0xa5, sizeof slice);
    memset(&again, 0xa5, sizeof again);
    memset(&reference, 0xa5, sizeof reference);
    key_build(&(struct key_policy){ 0 }, &r, &arena, &whole);
    assert_int_equal(whole.slice, 0);
    key_slice(&whole, 3, &arena, &slice);
    assert_int_equal(slice.slice, 4);
    key_whole(&slice, &again);
    assert_int_equal(again.slice, 0);
    assert_true(again.hash == whole.hash && slice_eq(again.text, whole.text));
    assert_true(
        key_build_reference(&(struct key_policy){ 0 }, &r, SLICE("/b"), &arena, &reference));
    assert_int_equal(reference.slice, 0);
}

static void the_policy_rewrites_the_query(void **state)
{
    (void)state;
    static const struct slice names[] = { SLICE("a"), SLICE("utm_*") };
    static const struct {
        enum key_query query;
        bool sort;
        const char *target, *rewritten;
    } rows[] = {
        { KEY_QUERY_ALL, true, "/?b=2&a=1", "/?a=1&b=2" },
        { KEY_QUERY_ALL, true, "/?b=1&a&b=0&ab", "/?a&ab&b=1&b=0" },
        { KEY_QUERY_ALL, true, "/?&&b&&a&", "/?a&b" },
        { KEY_QUERY_ALL, true, "/?", "/" },
        { KEY_QUERY_ALL, true, "/p", "/p" },
        { KEY_QUERY_NONE, false, "/p?a=1", "/p" },
        { KEY_QUERY_NONE, true, "/p", "/p" },
        { KEY_QUERY_KEEP, false, "/?b=2&a=1&utm_x=9&utm=1&A=1", "/?a=1&utm_x=9" },
        { KEY_QUERY_KEEP, false, "/?b=2", "/" },
        { KEY_QUERY_DROP, false, "/?b=2&a=1&utm_x=9&utm=1&a", "/?b=2&utm=1" },
        { KEY_QUERY_DROP, true, "/?c&utm_x=9&b=2&a=1", "/?b=2&c" },
        { KEY_QUERY_DROP, false, "/?a=1", "/" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct key_policy p = {
            .query = rows[i].query, .sort_query = rows[i].sort, .params = names, .param_count = 2
        };
        struct request r = request("h", rows[i].target), sent = request("h", rows[i].rewritten);
        struct key k, plain;
        key_build(&p, &r, &arena, &k);
        key_build(&(struct key_policy){ 0 }, &sent, &arena, &plain);
        assert_text(k.target, rows[i].rewritten);
        assert_true(slice_eq(k.text, plain.text));
    }
}

static void fields_and_cookies_join_the_key(void **state)
{
    (void)state;
    static const struct slice headers[] = { SLICE("X-Device"), SLICE("accept-encoding"),
                                            SLICE("X-None") };
    static const struct slice cookies[] = { SLICE("lang"), SLICE("None") };
    struct key_policy p = {
        .headers = headers, .header_count = 3, .cookies = cookies, .cookie_count = 2
    };
    struct request r = request("h", "/");
    add(&r, "x-device", "phone");
    add(&r, "Accept-Encoding", "gzip;q=0.5, deflate , br");
    add(&r, "Cookie", "a=b; langx=1;lang=de=at; c=fr");
    struct key k;
    key_build(&p, &r, &arena, &k);
    assert_text(k.text, "4:http1:h1:/-h8:x-device5:phoneh15:accept-encoding8:br, gziph6:x-none-"
                        "c4:lang5:de=atc4:None-");
}

static struct slice key_text(const struct key_policy *p, const struct request *r)
{
    struct key k;
    key_build(p, r, &arena, &k);
    return k.text;
}

/* What of a Cookie field is clear is keyed by name, and the rest is keyed whole. */
static void cookies_are_keyed_as_origins_read_them(void **state)
{
    (void)state;
    static const struct slice names[] = { SLICE("cur"), SLICE("wp_in_*") };
    static const struct {
        const char *cookie, *keyed;
    } rows[] = {
        { NULL, "c3:cur-" },
        { "a=b", "c3:cur-" },
        { "cur=EUR", "c3:cur3:EUR" },
        { "a=b;cur=EUR;c=d", "c3:cur3:EUR" },
        { "a=b;  cur=EUR ; c=d", "c3:cur4:EUR " },
        { "cur=", "c3:cur0:" },
        { "cur= EUR", "c3:cur4: EUR" },
        { "cur=a=b", "c3:cur3:a=b" },
        { "cur=\"EUR\"", "c3:cur5:\"EUR\"" },
        { "cur=EUR foo", "c3:cur7:EUR foo" },
        { "xcur=1; cur_=2; cur-=3; a=cur", "c3:cur-" },
        { "a={\"b\":1}; cur=EUR", "c3:cur3:EUR" },
        { "a=\"x", "c3:cur-" },
        { "wp_in_1=a; cur=b; wp_in_2=c; wp_out=d", "c3:cur1:bc7:wp_in_11:ac7:wp_in_21:c" },
        { "wp_in_=a", "c3:cur-c6:wp_in_1:a" },
        /* In two ways. */
        { "cur = USD", "c1:;10:cur = USD\n" },
        { "cur\t=USD", "c1:;9:cur\t=USD\n" },
        { "cur=EUR; cur=USD", "c1:;17:cur=EUR; cur=USD\n" },
        { "cur=EUR; CUR=USD", "c1:;17:cur=EUR; CUR=USD\n" },
        { "CUR=USD", "c1:;8:CUR=USD\n" },
        { "cur", "c1:;4:cur\n" },
        { "cur[x]=1", "c1:;9:cur[x]=1\n" },
        { "a=b,cur=USD", "c1:;12:a=b,cur=USD\n" },
        { "a=b cur=USD", "c1:;12:a=b cur=USD\n" },
        { "a=\"b; cur=USD\"", "c1:;15:a=\"b; cur=USD\"\n" },
        { "a=\"b; cur=USD", "c1:;14:a=\"b; cur=USD\n" },
        { "a=\"\\\"; cur=USD", "c1:;15:a=\"\\\"; cur=USD\n" },
        { "\"cur=USD", "c1:;9:\"cur=USD\n" },
        { "%63ur=USD", "c1:;10:%63ur=USD\n" },
        { "wp.in_1=a", "c1:;10:wp.in_1=a\n" },
        { "wp in_1=a", "c1:;10:wp in_1=a\n" },
        { "wp_in_1 =a", "c1:;11:wp_in_1 =a\n" },
        { "wp_in_1", "c1:;8:wp_in_1\n" },
        { "wp_in_1=a; wp_in_1=b", "c1:;21:wp_in_1=a; wp_in_1=b\n" },
    };
    struct key_policy p = { .cookies = names, .cookie_count = 2 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct request r = request("h", "/");
        if (rows[i].cookie) add(&r, "Cookie", rows[i].cookie);
        assert_text(slice_skip(key_text(&p, &r), strlen("4:http1:h1:/-")), rows[i].keyed);
    }
}

static void two_lines_of_cookies_are_keyed_whole(void **state)
{
    (void)state;
    static const struct slice names[] = { SLICE("a") };
    struct key_policy p = { .cookies = names, .cookie_count = 1 };
    struct request r = request("h", "/");
    add(&r, "Cookie", "a=1");
    add(&r, "Cookie", "b=2");
    assert_text(key_text(&p, &r), "4:http1:h1:/-c1:;8:a=1\nb=2\n");
}

static void a_crowd_of_cookies_is_keyed_whole(void **state)
{
    (void)state;
    static const struct slice names[] = { SLICE("a*") };
    struct key_policy p = { .cookies = names, .cookie_count = 1 };
    struct slice crowd = SLICE("");
    for (unsigned i = 0; i < 65; i++) {
        struct request r = request("h", "/");
        crowd = arena_printf(&arena, "%.*sa%u=1;", SLICE_ARGS(crowd), i);
        fields_add(&r.fields, &arena, FIELD_COOKIE, crowd);
        bool by_name = slice_starts(key_text(&p, &r), SLICE("4:http1:h1:/-c2:a01:1"));
        assert_int_equal(by_name, i < 64);
    }
}

static void lines_of_one_name_are_told_apart(void **state)
{
    (void)state;
    static const struct slice names[] = { SLICE("X-Lang"), SLICE("Accept-Language"),
                                          SLICE("X-In*") };
    struct key_policy p = { .headers = names, .header_count = 3 };
    struct request r = request("h", "/");
    add(&r, "x-lang", "de");
    add(&r, "Accept-Language", "DE ,en");
    add(&r, "X-Ink", "red");
    add(&r, "X-LANG", "en");
    add(&r, "accept-language", "fr");
    add(&r, "x-in", "1");
    add(&r, "x-ink", "blue");
    add(&r, "x-i", "2");
    assert_text(key_text(&p, &r), "4:http1:h1:/-h6:x-lang5:de\nenh15:accept-language8:de,en\nfr"
                                  "h5:x-ink8:red\nblueh4:x-in1:1");
}

static void a_field_and_a_cookie_of_one_name_differ(void **state)
{
    (void)state;
    static const struct slice name[] = { SLICE("x") };
    struct request r = request("h", "/");
    add(&r, "x", "1");
    add(&r, "Cookie", "x=1");
    struct key field, cookie;
    key_build(&(struct key_policy){ .headers = name, .header_count = 1 }, &r, &arena, &field);
    key_build(&(struct key_policy){ .cookies = name, .cookie_count = 1 }, &r, &arena, &cookie);
    assert_false(slice_eq(field.text, cookie.text));
}

static void references_resolve_within_the_origin(void **state)
{
    (void)state;
    static const struct {
        const char *reference, *target; /* NULL: none */
    } rows[] = {
        { "http://example.com/x?y", "/x?y" },
        { "HTTP://EXAMPLE.com:80/x", "/x" },
        { "http://example.com", "/" },
        { "http://example.com?q", "/?q" },
        { "http://example.com/a/./b/../c", "/a/c" },
        { "//example.com/x", "/x" },
        { "/x", "/x" },
        { "/x#fragment", "/x" },
        { "/../x/", "/x/" },
        { "/x/..", "/" },
        { "/x/.", "/x/" },
        { "/x//y", "/x//y" },
        { "/%7Eu/%2e%2E/%61%2fb?%61", "/a%2Fb?%61" },
        { "%2E%2e/x", "/x" },
        { "/100%", NULL },
        { "?100%", "/dir/file?100%" },
        { "x", "/dir/x" },
        { "../x", "/x" },
        { "./", "/dir/" },
        { "..", "/" },
        { "x?y=/../z", "/dir/x?y=/../z" },
        { "?new", "/dir/file?new" },
        { "", "/dir/file?old" },
        { "#f", "/dir/file?old" },
        { "x:y", NULL },
        { "https://example.com/x", NULL },
        { "http://example.com:8080/x", NULL },
        { "http://other.example/x", NULL },
        { "//other.example/x", NULL },
        { "http:/x", NULL },
        { "http:///x", NULL },
        { "http://user@example.com/x", NULL },
        { "/a b", NULL },
        { "/\x80", NULL },
    };
    struct request r = request("Example.com", "/dir/file?old");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct key k;
        bool ok = key_build_reference(&(struct key_policy){ 0 }, &r, slice_str(rows[i].reference),
                                      &arena, &k);
        if (ok != (rows[i].target != NULL)) fail_msg("%s", rows[i].reference);
        if (ok) assert_text(k.target, rows[i].target);
    }
    struct request star = request("example.com", "*");
    struct key k;
    assert_false(key_build_reference(&(struct key_policy){ 0 }, &star, SLICE("x"), &arena, &k));
}

static void vary_makes_a_secondary_key(void **state)
{
    (void)state;
    static const struct {
        const char *vary, *key; /* NULL: matches nothing */
    } rows[] = {
        { "", "" },
        { "X-A", "h3:x-a6:1,  2 " },
        { "x-a", "h3:x-a6:1,  2 " },
        { "X-Absent", "h8:x-absent-" },
        { "X-Empty", "h7:x-empty0:" },
        { ",X-Absent,, X-Empty ,", "h8:x-absent-h7:x-empty0:" },
        { "Accept-Encoding", "h15:accept-encoding8:zstd, br" },
        { "accept-language", "h15:accept-language8:de,en-gb" },
        { "User-Agent", "h10:user-agent8:A (b, c)" },
        { "Host", "h4:host1:h" },
        { "*", NULL },
        { "X-A, *", NULL },
        { "*, X-A", NULL },
        { ",*", NULL },
        { "X-A X-B", NULL },
        { "X-A, \"q\"", NULL },
    };
    struct request r = request("h", "/");
    add(&r, "X-A", "1");
    add(&r, "Accept-Encoding", "br, zstd;q=0.1, gzip;q=0");
    add(&r, "x-a", " 2 ");
    add(&r, "X-Empty", "");
    add(&r, "Accept-Language", "de ,, en-GB");
    add(&r, "User-Agent", "A (b, c)");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice key;
        bool ok = key_vary(slice_str(rows[i].vary), &r, &arena, &key);
        if (ok != (rows[i].key != NULL)) fail_msg("%s", rows[i].vary);
        if (ok) assert_text(key, rows[i].key);
    }
}

static void list_members_with_quoted_commas_stay_whole(void **state)
{
    (void)state;
    struct request one = request("h", "/"), two = request("h", "/");
    add(&one, "X-A", "\"1, 2\"");
    add(&two, "X-A", "\"1,2\"");
    struct slice a, b;
    assert_true(key_vary(SLICE("X-A"), &one, &arena, &a) &&
                key_vary(SLICE("X-A"), &two, &arena, &b));
    assert_false(slice_eq(a, b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_matches_published_vectors),
        cmocka_unit_test(text_is_scheme_authority_path_query),
        cmocka_unit_test(nothing_of_the_callers_memory_stays_in_a_key),
        cmocka_unit_test(the_policy_rewrites_the_query),
        cmocka_unit_test(fields_and_cookies_join_the_key),
        cmocka_unit_test(cookies_are_keyed_as_origins_read_them),
        cmocka_unit_test(two_lines_of_cookies_are_keyed_whole),
        cmocka_unit_test(a_crowd_of_cookies_is_keyed_whole),
        cmocka_unit_test(lines_of_one_name_are_told_apart),
        cmocka_unit_test(a_field_and_a_cookie_of_one_name_differ),
        cmocka_unit_test(references_resolve_within_the_origin),
        cmocka_unit_test(vary_makes_a_secondary_key),
        cmocka_unit_test(list_members_with_quoted_commas_stay_whole),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
