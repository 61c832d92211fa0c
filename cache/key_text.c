#include "cache/key_text.h"

#include "protocols/http/path.h"
#include "protocols/http/value.h"

/* What stands before a slice's key, and between a key and the host that a trusted proxy names. */
#define SLICE_PREFIX SLICE("slice ")
#define HOST_INFIX   SLICE(" for ")

/* ---- for people ---- */

static char *put(char *at, struct slice s)
{
    return s.n ? mempcpy(at, s.p, s.n) : at;
}

/* Takes one part off a key's text: its length in decimal, ':' and its bytes, or '-' for one that is
 * absent, which gives p == NULL. False, and nothing taken, where the text does not go on like that.
 */
static bool take_part(struct slice *rest, struct slice *part)
{
    if (rest->n && rest->p[0] == '-') {
        *part = SLICE_NONE;
        *rest = slice_skip(*rest, 1);
        return true;
    }
    size_t colon = slice_find(*rest, ':');
    int64_t n = value_int64(slice_of(rest->p, colon));
    if (colon == rest->n || n < 0 || (uint64_t)n > rest->n - colon - 1) return false;
    *part = slice_of(rest->p + colon + 1, (size_t)n);
    *rest = slice_skip(*rest, colon + 1 + part->n);
    return true;
}

/* reserved: what has a meaning here, beside what is not printable. Three bytes at most for each. */
static char *put_escaped(char *at, struct slice s, const char *reserved)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c <= 0x7e && !strchr(reserved, c)) {
            *at++ = (char)c;
            continue;
        }
        *at++ = '%';
        *at++ = "0123456789ABCDEF"[c >> 4];
        *at++ = "0123456789ABCDEF"[c & 15];
    }
    return at;
}

/* Takes a part and puts it, behind separator where it is present. False where there is none. */
static bool put_part(char **at, struct slice *rest, struct slice separator, const char *reserved)
{
    struct slice part;
    if (!take_part(rest, &part)) return false;
    if (part.p) *at = put_escaped(put(*at, separator), part, reserved);
    return true;
}

static bool begins_extra(struct slice s)
{
    return s.n && (s.p[0] == 'h' || s.p[0] == 'c');
}

/* " header NAME=VALUE", for each field and cookie that joined the key. */
static void put_extras(char **at, struct slice *rest, struct slice header, struct slice cookie)
{
    while (begins_extra(*rest)) {
        struct slice extra = slice_skip(*rest, 1);
        if (!put_part(at, &extra, rest->p[0] == 'h' ? header : cookie, " %=")) return;
        *rest = extra;
        if (!put_part(at, rest, SLICE("="), " %")) return;
    }
}

/* Takes the words before a slice's key. */
static struct slice take_slice_prefix(struct slice *rest)
{
    size_t n = SLICE_PREFIX.n;
    if (!slice_starts(*rest, SLICE_PREFIX)) return SLICE("");
    while (n < rest->n && rest->p[n] >= '0' && rest->p[n] <= '9') n++;
    if (n == SLICE_PREFIX.n || n == rest->n || rest->p[n] != ' ') return SLICE("");
    struct slice prefix = slice_of(rest->p, n + 1);
    *rest = slice_skip(*rest, n + 1);
    return prefix;
}

static void put_host(char **at, struct slice *rest)
{
    if (!slice_starts(*rest, HOST_INFIX)) return;
    struct slice host = slice_skip(*rest, HOST_INFIX.n);
    *at = put_escaped(put(*at, HOST_INFIX), host, " %");
    rest->n = 0;
}

/* Three times the key's bytes are room enough: a byte of text puts at most three; "://" and '?'
 * stand for the length before their part, " header " and '=' (nine) for the kind and two lengths.
 */
struct slice key_readable(struct slice key_text, struct arena *a)
{
    char *text = arena_alloc(a, 3 * key_text.n), *at = text;
    struct slice rest = key_text;
    at = put(at, take_slice_prefix(&rest));
    bool whole = put_part(&at, &rest, SLICE(""), "") && put_part(&at, &rest, SLICE("://"), "") &&
                 put_part(&at, &rest, SLICE(""), "") && put_part(&at, &rest, SLICE("?"), "");
    if (whole) put_extras(&at, &rest, SLICE(" header "), SLICE(" cookie "));
    if (whole) put_host(&at, &rest);
    at = put_escaped(at, rest, ""); /* of another form: shown as it is */
    return slice_of(text, (size_t)(at - text));
}

struct slice vary_readable(struct slice vary_key, struct arena *a)
{
    char *text = arena_alloc(a, 3 * vary_key.n), *at = text;
    struct slice rest = vary_key;
    put_extras(&at, &rest, SLICE(" "), SLICE(" "));
    at = put_escaped(at, rest, "");
    struct slice all = slice_of(text, (size_t)(at - text));
    return slice_starts(all, SLICE(" ")) ? slice_skip(all, 1) : all;
}

/* ---- and back ---- */

struct writer {
    struct arena *arena;
    struct slice text;
};

static void add(struct writer *w, struct slice s)
{
    w->text = arena_concat(w->arena, (struct slice[]){ w->text, s }, 2);
}

static void add_part(struct writer *w, struct slice s)
{
    if (!s.p)
        add(w, SLICE("-"));
    else
        add(w, arena_printf(w->arena, "%zu:%.*s", s.n, SLICE_ARGS(s)));
}

static struct slice take_word(struct slice *rest)
{
    struct slice word = slice_of(rest->p, slice_find(*rest, ' '));
    *rest = slice_skip(*rest, word.n + (word.n < rest->n));
    return word;
}

/* What key_build makes of a request: scheme, authority, path, query. */
static bool add_url(struct writer *w, struct slice url)
{
    size_t colon = slice_find(url, ':'), slash = slice_find(url, '/');
    struct slice scheme = slice_of(url.p, colon < slash ? colon : slash);
    struct slice rest = slice_skip(url, scheme.n);
    if (!slice_eq(scheme, SLICE("http")) && !slice_eq(scheme, SLICE("https"))) return false;
    struct slice authority = SLICE_NONE; /* HTTP/1.0 may do without */
    if (slice_starts(rest, SLICE("://"))) {
        rest = slice_skip(rest, 3);
        authority = slice_of(rest.p, slice_find(rest, '/'));
        rest = slice_skip(rest, authority.n);
    }
    if (rest.n == 0 || rest.p[0] != '/' || (authority.n && !authority_is_valid(authority)))
        return false;
    for (size_t i = 0; i < rest.n; i++) {
        if (rest.p[i] <= ' ' || rest.p[i] > '~' || rest.p[i] == '#') return false;
    }
    if (!target_key(rest, w->arena, &rest)) return false;
    add_part(w, scheme);
    add_part(w, authority.p ? key_authority_text(scheme, authority, w->arena) : authority);
    add_part(w, target_path(rest));
    add_part(w, target_query(rest));
    return true;
}

static bool add_extra(struct writer *w, struct slice kind, struct slice word)
{
    size_t equals = slice_find(word, '=');
    struct slice name, value = SLICE_NONE;
    if (!value_percent_decode(slice_of(word.p, equals), w->arena, &name) || name.n == 0)
        return false;
    if (equals < word.n && !value_percent_decode(slice_skip(word, equals + 1), w->arena, &value))
        return false;
    add(w, slice_of(kind.p, 1));
    add_part(w, name);
    add_part(w, value);
    return true;
}

static bool add_rest(struct writer *w, struct slice rest)
{
    while (rest.n) {
        struct slice kind = take_word(&rest), word = take_word(&rest), host;
        if (slice_eq(kind, SLICE("header")) || slice_eq(kind, SLICE("cookie"))) {
            if (!add_extra(w, kind, word)) return false;
            continue;
        }
        bool is_host = slice_eq(kind, SLICE("for")) && word.n && rest.n == 0;
        if (!is_host || !value_percent_decode(word, w->arena, &host)) return false;
        add(w, HOST_INFIX);
        add(w, host);
    }
    return true;
}

bool key_from_readable(struct slice readable, struct arena *a, struct key *out)
{
    struct slice rest = readable, prefix = take_slice_prefix(&rest);
    int64_t number =
        prefix.n ? value_int64(slice_of(prefix.p + SLICE_PREFIX.n, prefix.n - SLICE_PREFIX.n - 1))
                 : -1;
    struct writer w = { a, prefix };
    if (number >= UINT32_MAX || (prefix.n && number < 0)) return false;
    if (!add_url(&w, take_word(&rest)) || !add_rest(&w, rest)) return false;
    *out =
        (struct key){ .text = w.text, .hash = key_hash(w.text), .slice = (uint32_t)(number + 1) };
    return true;
}
