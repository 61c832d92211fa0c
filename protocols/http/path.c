#define _GNU_SOURCE
#include "protocols/http/path.h"

#include "protocols/http/message.h"
#include "protocols/http/value.h"

static int hex_digit(char c)
{
    return c <= '9' ? c - '0' : ascii_lower(c) - 'a' + 10;
}

/* The octet of the escape that s begins with; -1 if it begins with none. */
static int escaped_octet(struct slice s)
{
    if (s.n < 3 || s.p[0] != '%' || !char_is(s.p[1], CHAR_HEX) || !char_is(s.p[2], CHAR_HEX))
        return -1;
    return hex_digit(s.p[1]) << 4 | hex_digit(s.p[2]);
}

static char *put_escape(char *at, int octet)
{
    *at++ = '%';
    *at++ = "0123456789ABCDEF"[octet >> 4];
    *at++ = "0123456789ABCDEF"[octet & 15];
    return at;
}

/* Takes the next segment and the '/' before it off the path. */
static struct slice take_segment(struct slice *path)
{
    *path = slice_skip(*path, 1);
    struct slice segment = slice_of(path->p, slice_find(*path, '/'));
    *path = slice_skip(*path, segment.n);
    return segment;
}

static bool is_dot(struct slice segment)
{
    return slice_eq(segment, SLICE("."));
}

static bool is_up(struct slice segment)
{
    return slice_eq(segment, SLICE(".."));
}

/* Back to before the last segment of n bytes of path; returns the new length. */
static size_t without_last(const char *path, size_t n)
{
    while (n && path[--n] != '/') continue;
    return n;
}

/* In place, since nothing gets longer (RFC 3986 section 5.2.4). Empty segments count. */
static size_t remove_dot_segments(char *out, size_t bytes)
{
    struct slice path = slice_of(out, bytes);
    size_t n = 0;
    while (path.n) {
        struct slice segment = take_segment(&path);
        bool dots = is_dot(segment) || is_up(segment);
        if (is_up(segment)) n = without_last(out, n);
        if (dots && path.n) continue;
        out[n++] = '/';
        if (dots) continue;
        memmove(out + n, segment.p, segment.n);
        n += segment.n;
    }
    return n;
}

bool path_key(struct slice path, struct arena *a, struct slice *out)
{
    *out = path;
    if (slice_find(path, '%') == path.n && !memmem(path.p, path.n, "/.", 2)) return true;
    char *text = arena_alloc(a, path.n), *at = text;
    for (struct slice rest = path; rest.n;) {
        int octet = escaped_octet(rest);
        if (octet < 0 && rest.p[0] == '%') return false;
        if (octet < 0)
            *at++ = rest.p[0];
        else if (char_is((char)octet, CHAR_UNRESERVED))
            *at++ = (char)octet;
        else
            at = put_escape(at, octet);
        rest = slice_skip(rest, octet < 0 ? 1 : 3);
    }
    *out = slice_of(text, remove_dot_segments(text, (size_t)(at - text)));
    return true;
}

bool target_key(struct slice target, struct arena *a, struct slice *out)
{
    struct slice path = target_path(target), key;
    if (!path_key(path, a, &key)) return false;
    *out = target;
    if (key.p == path.p) return true;
    *out = arena_concat(a, (struct slice[]){ key, slice_skip(target, path.n) }, 2);
    return true;
}

/* ---- for routes ---- */

/* The character that s begins with, as an origin that decodes once or twice may read it, and its
 * length in s. */
static char loosely_decoded(struct slice s, size_t *bytes)
{
    int octet = escaped_octet(s);
    *bytes = 3;
    if (octet == '%' && s.n >= 5) {
        char twice[] = { '%', s.p[3], s.p[4] };
        octet = escaped_octet(slice_of(twice, 3));
        *bytes = 5;
    }
    if (octet > 0 && strchr("./\\;", octet)) return (char)octet;
    *bytes = 1;
    return s.p[0];
}

/* In place. Without parameters, empty segments and dot segments; a '/' at the end stays. */
static size_t merge_segments(char *out, size_t bytes)
{
    struct slice path = slice_of(out, bytes);
    size_t n = 0;
    while (path.n) {
        struct slice segment = take_segment(&path);
        segment.n = slice_find(segment, ';');
        bool ordinary = segment.n && !is_dot(segment) && !is_up(segment);
        if (is_up(segment)) n = without_last(out, n);
        if (!ordinary && path.n) continue;
        out[n++] = '/';
        if (!ordinary) continue;
        memmove(out + n, segment.p, segment.n);
        n += segment.n;
    }
    return n;
}

struct slice path_match(struct slice key, struct arena *a)
{
    bool plain = slice_find(key, '%') == key.n && slice_find(key, '\\') == key.n &&
                 slice_find(key, ';') == key.n && !memmem(key.p, key.n, "//", 2);
    if (plain) return key;
    char *text = arena_alloc(a, key.n), *at = text;
    for (struct slice rest = key; rest.n;) {
        size_t bytes;
        char c = loosely_decoded(rest, &bytes);
        *at++ = c == '\\' ? '/' : c;
        rest = slice_skip(rest, bytes);
    }
    return slice_of(text, merge_segments(text, (size_t)(at - text)));
}
