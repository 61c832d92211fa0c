/* path: a table of spellings, and ten thousand more from a grammar with a seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "protocols/http/path.h"
#include "with_arena.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static const struct row {
    const char *path;
    const char *key;   /* NULL: refused */
    const char *match; /* NULL: as key */
} rows[] = {
    /* nothing to do */
    { "/", "/", NULL },
    { "/account/me", "/account/me", NULL },
    { "/a/", "/a/", NULL },
    { "/.well-known/x", "/.well-known/x", NULL },
    { "/a..b/...", "/a..b/...", NULL },
    { "/-._~!$&'()*+,=:@", "/-._~!$&'()*+,=:@", NULL },
    { "/[x]{y}|z^\"<>`", "/[x]{y}|z^\"<>`", NULL },

    /* unreserved octets are decoded */
    { "/%61ccount/me", "/account/me", NULL },
    { "/%41%5A%61%7a%30%39", "/AZaz09", NULL },
    { "/%2D%2e%5f%7E", "/-._~", NULL },
    { "/%7Euser", "/~user", NULL },
    { "/a%2Ehtml", "/a.html", NULL },

    /* others keep their escape, in upper case */
    { "/%c3%a9", "/%C3%A9", NULL },
    { "/%C3%a9", "/%C3%A9", NULL },
    { "/a%20b", "/a%20b", NULL },
    { "/%3f", "/%3F", NULL },
    { "/%23", "/%23", NULL },
    { "/%2b", "/%2B", NULL },
    { "/%2a", "/%2A", NULL },
    { "/%3a%40", "/%3A%40", NULL },
    { "/%00", "/%00", NULL },
    { "/%7f%ff", "/%7F%FF", NULL },
    { "/100%25", "/100%25", NULL },
    { "/%2561ccount", "/%2561ccount", NULL },
    { "/%25%36%31", "/%2561", NULL },

    /* dot segments are removed, after that */
    { "/.", "/", NULL },
    { "/..", "/", NULL },
    { "/./", "/", NULL },
    { "/../", "/", NULL },
    { "/../../..", "/", NULL },
    { "/a/.", "/a/", NULL },
    { "/a/..", "/", NULL },
    { "/a/../", "/", NULL },
    { "/a/b/../c", "/a/c", NULL },
    { "/a/b/../../c", "/c", NULL },
    { "/a/../../c", "/c", NULL },
    { "/./a/./b", "/a/b", NULL },
    { "/static/../account/me", "/account/me", NULL },
    { "/static/%2e%2e/account/me", "/account/me", NULL },
    { "/static/%2E./account/me", "/account/me", NULL },
    { "/static/.%2e/account/me", "/account/me", NULL },
    { "/%2e%2e/account", "/account", NULL },
    { "/a/%2e", "/a/", NULL },
    { "/a/b/%2E%2E", "/a/", NULL },

    /* empty segments count in a key, not for a route */
    { "//account/me", "//account/me", "/account/me" },
    { "/account//me", "/account//me", "/account/me" },
    { "///", "///", "/" },
    { "/a//", "/a//", "/a/" },
    { "/static//../account/me", "/static/account/me", NULL },
    { "/static///../account/me", "/static//account/me", "/static/account/me" },
    { "/a//../..", "/", NULL },

    /* an escaped slash is no slash in a key */
    { "/a%2Fb", "/a%2Fb", "/a/b" },
    { "/a%2fb", "/a%2Fb", "/a/b" },
    { "/account%2fme", "/account%2Fme", "/account/me" },
    { "/%2Faccount", "/%2Faccount", "/account" },
    { "/%2F", "/%2F", "/" },
    { "/static/..%2faccount/me", "/static/..%2Faccount/me", "/account/me" },
    { "/static%2f..%2faccount", "/static%2F..%2Faccount", "/account" },
    { "/static/%2e%2e%2faccount/me", "/static/..%2Faccount/me", "/account/me" },
    { "/static/.%2e%2F.%2e/account", "/static/..%2F../account", "/account" },

    /* backslashes */
    { "/static\\..\\account", "/static\\..\\account", "/account" },
    { "/static/..\\account", "/static/..\\account", "/account" },
    { "/\\account", "/\\account", "/account" },
    { "/account%5cme", "/account%5Cme", "/account/me" },
    { "/static/..%5Caccount", "/static/..%5Caccount", "/account" },

    /* parameters of segments */
    { "/account;x=1/me", "/account;x=1/me", "/account/me" },
    { "/account;/me", "/account;/me", "/account/me" },
    { "/;x/account", "/;x/account", "/account" },
    { "/static/..;/account/me", "/static/..;/account/me", "/account/me" },
    { "/static/..;a=b;c/account", "/static/..;a=b;c/account", "/account" },
    { "/static/.;x/a", "/static/.;x/a", "/static/a" },
    { "/a/..;", "/a/..;", "/" },
    { "/a;b", "/a;b", "/a" },
    { "/a/;b", "/a/;b", "/a/" },
    { "/account%3bx/me", "/account%3Bx/me", "/account/me" },
    { "/static/..%3b/account", "/static/..%3B/account", "/account" },
    { "/static/%2e%2e;/account", "/static/..;/account", "/account" },

    /* escaped twice */
    { "/static/%252e%252e/account/me", "/static/%252e%252e/account/me", "/account/me" },
    { "/static/%252E./account", "/static/%252E./account", "/account" },
    { "/static/..%252faccount", "/static/..%252faccount", "/account" },
    { "/static/..%255Caccount", "/static/..%255Caccount", "/account" },
    { "/static/..%253b/account", "/static/..%253b/account", "/account" },
    { "/static/%25%32%65./account", "/static/%252e./account", "/account" },
    { "/a%252fb", "/a%252fb", "/a/b" },
    { "/a%25252fb", "/a%25252fb", NULL },
    { "/a%252", "/a%252", NULL },
    { "/a%25", "/a%25", NULL },
    { "/a%25%2F", "/a%25%2F", "/a%25/" },

    /* no escape */
    { "/%", NULL, NULL },
    { "/100%", NULL, NULL },
    { "/%2", NULL, NULL },
    { "/%zz", NULL, NULL },
    { "/%2g", NULL, NULL },
    { "/%%32e", NULL, NULL },
    { "/%2%65", NULL, NULL },
    { "/%u002e", NULL, NULL },
};

static void test_table(void **state)
{
    (void)state;
    _Static_assert(COUNT(rows) >= 80, "a table of at least 80 cases");
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct row *row = &rows[i];
        struct slice key;
        bool good = path_key(slice_str(row->path), &arena, &key);
        if (good != !!row->key) fail_msg("%s: taken %d", row->path, good);
        if (!good) continue;
        struct slice match = path_match(key, &arena);
        if (!slice_eq(key, slice_str(row->key)))
            fail_msg("%s: key %.*s", row->path, SLICE_ARGS(key));
        if (!slice_eq(match, slice_str(row->match ? row->match : row->key)))
            fail_msg("%s: match %.*s", row->path, SLICE_ARGS(match));
    }
}

/* ---- ten thousand spellings ---- */

#define SPELLINGS 10000
#define SEED      0x9e3779b97f4a7c15u

static uint64_t random_state;

static unsigned below(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % n);
}

static char *put_text(char *at, const char *text)
{
    return stpcpy(at, text);
}

static const char *pick(const char *const *of, size_t count)
{
    return of[below((unsigned)count)];
}

/* An octet as it is, or escaped, in either case of the digits. */
static char *put_octet(char *at, char c)
{
    const char *const forms[] = { "%c", "%c", "%%%02x", "%%%02X" };
    if (c == '~' || c == '-' || c == '.') /* have a letter in their escape */
        return at + sprintf(at, forms[below(4)], (unsigned char)c);
    return at + sprintf(at, forms[below(3)], (unsigned char)c);
}

static const char *const words[] = { "account", "me", "static", "a", "x-1", "~u", "b.css" };

static char *put_word(char *at, const char *word)
{
    while (*word) at = put_octet(at, *word++);
    return at;
}

/* Ways to write a '/' that RFC 3986 takes for the same, and those that only some origins do. */
static char *put_strict_slash(char *at)
{
    switch (below(6)) {
    case 0: return put_text(put_octet(put_text(at, "/"), '.'), "/");
    case 1: return put_text(put_octet(put_octet(put_text(at, "/zz/"), '.'), '.'), "/");
    default: return put_text(at, "/");
    }
}

static char *put_loose_slash(char *at)
{
    static const char *const slashes[] = { "//",   "%2f",   "%2F",  "\\",      "%5c",
                                           "%5C",  ";x/",   "%3b/", ";p=1;q/", "%252f",
                                           "/.;/", "%255c", "/;y/", "/%252e/", "/%252E%252fy/..;/",
                                           "/.%2f" };
    if (below(2)) return put_strict_slash(at);
    if (below(4) == 0) { /* down and up again */
        static const char *const ups[] = { "/q/..;/", "/q/..%2f", "/q/%252e%252e/", "/q\\..\\",
                                           "/q/.%252e;z/" };
        return put_text(at, pick(ups, COUNT(ups)));
    }
    return put_text(at, pick(slashes, COUNT(slashes)));
}

/* plain gets a path, and spelled the same in other words. */
static void spell(char *plain, char *spelled, char *(*put_slash)(char *))
{
    if (put_slash == put_loose_slash) *spelled++ = '/'; /* no path begins otherwise */
    for (unsigned left = 1 + below(4); left; left--) {
        const char *word = pick(words, COUNT(words));
        plain = put_text(put_text(plain, "/"), word);
        spelled = put_word(put_slash(spelled), word);
    }
}

static struct slice key_of(const char *path)
{
    struct slice key, again;
    if (!path_key(slice_str(path), &arena, &key)) fail_msg("%s is refused", path);
    assert_true(path_key(key, &arena, &again));
    assert_true(slice_eq(key, again)); /* the origin reads what was keyed */
    return key;
}

static void test_equivalent_spellings_are_one_key(void **state)
{
    (void)state;
    char plain[256], spelled[1024];
    random_state = SEED;
    for (unsigned i = 0; i < SPELLINGS; i++) {
        spell(plain, spelled, put_strict_slash);
        if (!slice_eq(key_of(spelled), slice_str(plain)))
            fail_msg("spelling %u: %s is not %s", i, spelled, plain);
    }
}

static void test_no_spelling_hides_its_route(void **state)
{
    (void)state;
    char plain[256], spelled[1024];
    random_state = SEED + 1;
    for (unsigned i = 0; i < SPELLINGS; i++) {
        spell(plain, spelled, put_loose_slash);
        struct slice match = path_match(key_of(spelled), &arena);
        if (!slice_eq(match, slice_str(plain)))
            fail_msg("spelling %u: %s is %.*s, not %s", i, spelled, SLICE_ARGS(match), plain);
        assert_true(slice_eq(path_match(match, &arena), match));
    }
}

/* What RFC 3986 keeps apart stays apart. */
static void test_reserved_spellings_share_no_key(void **state)
{
    (void)state;
    static const char *const pairs[][2] = { { "/", "%2F" }, { "/", "//" },   { ";", "%3B" },
                                            { "!", "%21" }, { "%2F", "\\" }, { "%25", "%2525" },
                                            { "+", "%20" }, { "a", "A" },    { "%2F", "%252F" },
                                            { ":", "%3a" }, { "/", ";/" },   { "%5c", "\\" } };
    random_state = SEED + 2;
    for (unsigned i = 0; i < SPELLINGS; i++) {
        const char *const *pair = pairs[below(COUNT(pairs))];
        const char *head = pick(words, COUNT(words)), *tail = pick(words, COUNT(words));
        char one[64], other[64];
        sprintf(one, "/%s%s%s", head, pair[0], tail);
        sprintf(other, "/%s%s%s", head, pair[1], tail);
        if (slice_eq(key_of(one), key_of(other))) fail_msg("%s and %s share a key", one, other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_table),
        TEST(test_equivalent_spellings_are_one_key),
        TEST(test_no_spelling_hides_its_route),
        TEST(test_reserved_spellings_share_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
