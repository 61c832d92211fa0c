/* key_text: what a key is shown as, and that it is found again by that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cache/key_text.h"
#include "tests/unit/with_arena.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static void assert_slice(struct slice s, const char *text)
{
    assert_string_equal(arena_copy(&arena, s).p, text);
}

#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static void test_readable_keys(void **state)
{
    (void)state;
    static const struct {
        struct slice key;
        const char *text;
    } rows[] = {
        { TEXT("4:http3:a.b2:/p-"), "http://a.b/p" },
        { TEXT("5:https3:a.b1:/3:c=d"), "https://a.b/?c=d" },
        { TEXT("4:http3:a.b1:/0:"), "http://a.b/?" },
        { TEXT("4:http0:1:*-"), "http://*" },
        { TEXT("4:http3:a.b1:/-h3:x-k1:vc4:lang-"), "http://a.b/ header x-k=v cookie lang" },
        { TEXT("4:http3:a.b1:/-h3:x-k0:c4:lang2:de"), "http://a.b/ header x-k= cookie lang=de" },
        { TEXT("4:http3:a.b7:/\"\\\0\x1f\x7f\xff-"), "http://a.b/\"\\%00%1F%7F%FF" },
        { TEXT("4:http3:a.b3:/ ~-"), "http://a.b/ ~" },
        /* What key_build does not write. */
        { TEXT(""), "" },
        { TEXT("----"), "" },
        { TEXT(":"), ":" },
        { TEXT("4:htt"), "4:htt" },
        { TEXT("4:http3:a.b9:/p-"), "http://a.b9:/p-" },
        { TEXT("4:http"), "http" },
        { TEXT("99999999999999999999:a"), "99999999999999999999:a" },
        { TEXT("-1:a"), "://a" },
        { TEXT("----x1:a"), "x1:a" },
        { TEXT("----h1:a"), " header a" },
        { TEXT("----h"), "h" },
        { TEXT("----h0:\xff"), " header %FF" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_slice(key_readable(rows[i].key, &arena), rows[i].text);
    }
}

static void test_readable_keys_of_requests(void **state)
{
    (void)state;
    static const struct slice headers[] = { TEXT("X-Kind"), TEXT("X-None") },
                              cookies[] = { TEXT("lang") };
    const struct key_policy plain = { 0 }, extended = {
        .headers = headers, .header_count = 2, .cookies = cookies, .cookie_count = 1
    };
    struct request req = { .scheme = SLICE("http"),
                           .authority = SLICE("Shop.example:8080"),
                           .target = SLICE("/a?b=\"c") };
    struct key key;
    fields_add(&req.fields, &arena, FIELD_COOKIE, SLICE("lang=de"));
    fields_add_named(&req.fields, &arena, SLICE("x-kind"), SLICE("\xe9"));
    key_build(&plain, &req, &arena, &key);
    assert_slice(key_readable(key.text, &arena), "http://shop.example:8080/a?b=\"c");
    key_build(&extended, &req, &arena, &key);
    assert_slice(key_readable(key.text, &arena),
                 "http://shop.example:8080/a?b=\"c header x-kind=%E9 header x-none cookie lang=de");
}

/* Whatever the bytes, the text is printable. They are drawn from those the format gives a meaning,
 * and the arena's chunks are so small that each text is a block of its own, whose end a sanitizer
 * watches. */
static void test_readable_keys_of_any_bytes(void **state)
{
    (void)state;
    static const char alphabet[] = "0123hc:- %=\"\\a\xff";
    uint32_t random = 1;
    for (int round = 0; round < 20000; round++) {
        struct arena own;
        arena_init(&own, 1);
        char *bytes = arena_alloc(&own, 32);
        for (int i = 0; i < 32; i++) {
            random = random * 1664525 + 1013904223;
            bytes[i] = alphabet[(random >> 16) % (sizeof alphabet - 1)];
        }
        struct slice text = key_readable(slice_of(bytes, random % 33), &own);
        for (size_t i = 0; i < text.n; i++) assert_in_range(text.p[i], 0x20, 0x7e);
        arena_free(&own);
    }
}

/* ---- and back ---- */

/* Values that could be taken for something else. */
static const char *const values[] = { "1",   "",       "a b",      "a%20b",  "x header y=1",
                                      "a=b", " for c", "\xc3\xa4", "%C3%A4", "\t",
                                      "-" };

static struct key key_with(const char *target, const char *authority, const char *value)
{
    static const struct slice headers[] = { TEXT("X-Kind"), TEXT("X-None") },
                              cookies[] = { TEXT("lang") };
    const struct key_policy policy = {
        .headers = headers, .header_count = 2, .cookies = cookies, .cookie_count = 1
    };
    struct request req = { .scheme = SLICE("https"), .target = slice_str(target) };
    if (authority) req.authority = slice_str(authority);
    struct key key;
    fields_add_named(&req.fields, &arena, SLICE("x-kind"), slice_str(value));
    key_build(&policy, &req, &arena, &key);
    return key;
}

static void assert_found_again(struct slice text)
{
    struct key again;
    struct slice shown = key_readable(text, &arena);
    if (!key_from_readable(shown, &arena, &again)) fail_msg("%.*s: refused", SLICE_ARGS(shown));
    assert_slice(again.text, arena_copy(&arena, text).p);
    assert_int_equal(again.hash, key_hash(text));
}

static void test_what_is_shown_is_found_again(void **state)
{
    (void)state;
    static const char *const targets[] = { "/",         "/a/%20%C3%A4?x=%2F&y",
                                           "/?",        "/a?b?c",
                                           "/\"\\^{}|", "/=%25:" };
    static const char *const authorities[] = { "a.b", "a.b:8443", "[2001:db8::1]", "[::1]:80",
                                               NULL };
    for (size_t i = 0; i < COUNT(targets); i++) {
        for (size_t j = 0; j < COUNT(authorities); j++) {
            for (size_t k = 0; k < COUNT(values); k++)
                assert_found_again(key_with(targets[i], authorities[j], values[k]).text);
        }
    }
}

/* As a trusted proxy's X-Forwarded-Host joins the key. */
static void test_the_forwarded_host(void **state)
{
    (void)state;
    struct slice key = key_with("/", "a.b", "1").text;
    for (size_t k = 0; k < COUNT(values); k++) {
        struct slice parts[] = { key, SLICE(" for "), slice_str(values[k]) };
        if (parts[2].n == 0) continue; /* then it does not join */
        assert_found_again(arena_concat(&arena, parts, 3));
    }
    struct slice parts[] = { key, SLICE(" for w w") };
    assert_slice(key_readable(arena_concat(&arena, parts, 2), &arena),
                 "https://a.b/ header x-kind=1 header x-none cookie lang for w%20w");
}

static void test_slices(void **state)
{
    (void)state;
    struct key key;
    assert_slice(key_readable(SLICE("slice 7 4:http3:a.b2:/p-"), &arena), "slice 7 http://a.b/p");
    assert_true(key_from_readable(SLICE("slice 7 http://a.b/p"), &arena, &key));
    assert_slice(key.text, "slice 7 4:http3:a.b2:/p-");
    assert_int_equal(key.slice, 8);
    assert_true(key_from_readable(SLICE("http://a.b/p"), &arena, &key));
    assert_int_equal(key.slice, 0);
    assert_slice(key_readable(SLICE("slice x"), &arena), "slice x");
}

/* What people write and key_readable does not. */
static void test_the_host_is_normalised(void **state)
{
    (void)state;
    struct key key;
    assert_true(key_from_readable(SLICE("https://Shop.Example:443/A"), &arena, &key));
    assert_slice(key.text, "5:https12:shop.example2:/A-");
}

static void test_what_is_no_key(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "http",
        "http:",
        "http://a.b",
        "http://a b/",
        "http://user@a.b/",
        "http://a.b:0/",
        "ftp://a.b/",
        "HTTP://a.b/",
        "a.b/",
        "/a",
        "http://a.b/#x",
        "http://a.b/ä",
        "http://a.b/ x",
        "http://a.b/ header",
        "http://a.b/ header =1",
        "http://a.b/ header x=%",
        "http://a.b/ header x=%2g",
        "http://a.b/ for",
        "http://a.b/ for b header x=1",
        "http://a.b/ for b for c",
        "slice http://a.b/",
        "slice 4294967295 http://a.b/",
        "slice 1 slice 2 http://a.b/",
        "slice -1 http://a.b/",
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct key key;
        if (key_from_readable(slice_str(wrong[i]), &arena, &key)) fail_msg("%s: taken", wrong[i]);
    }
}

/* ---- variants ---- */

static void test_variants(void **state)
{
    (void)state;
    struct request req = { 0 };
    struct slice key;
    fields_add_named(&req.fields, &arena, SLICE("x-kind"), SLICE("a b"));
    assert_true(key_vary(SLICE("X-Kind, X-None"), &req, &arena, &key));
    assert_slice(vary_readable(key, &arena), "x-kind=a%20b x-none");
    assert_slice(vary_readable(SLICE_NONE, &arena), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_readable_keys),
        TEST(test_readable_keys_of_requests),
        TEST(test_readable_keys_of_any_bytes),
        TEST(test_what_is_shown_is_found_again),
        TEST(test_the_forwarded_host),
        TEST(test_slices),
        TEST(test_the_host_is_normalised),
        TEST(test_what_is_no_key),
        TEST(test_variants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
