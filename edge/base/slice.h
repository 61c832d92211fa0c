/* slice: a borrowed view of bytes. It owns nothing and is never NUL-terminated; whoever hands one
 * out says how long it stays valid. Small enough to pass and return by value. */
#ifndef VERGE_BASE_SLICE_H
#define VERGE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};

#define SLICE(literal) ((struct slice){ (literal), sizeof(literal) - 1 })
#define SLICE_NONE     ((struct slice){ NULL, 0 })
#define SLICE_ARGS(s)  (int)(s).n, (s).p /* for "%.*s" */

static inline struct slice slice_of(const char *p, size_t n)
{
    return (struct slice){ p, n };
}

static inline struct slice slice_str(const char *text)
{
    return (struct slice){ text, strlen(text) };
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII only, as every comparison in HTTP (RFC 9110 section 5.1). */
static inline char ascii_lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c | 0x20) : c;
}

static inline bool slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.n != b.n) return false;
    for (size_t i = 0; i < a.n; i++) {
        if (ascii_lower(a.p[i]) != ascii_lower(b.p[i])) return false;
    }
    return true;
}

static inline bool slice_starts(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

static inline struct slice slice_skip(struct slice s, size_t n)
{
    return (struct slice){ s.p + n, s.n - n };
}

/* Position of the first c, or s.n where there is none. */
static inline size_t slice_find(struct slice s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : s.n;
}

/* The first max bytes, or all. */
static inline struct slice slice_first(struct slice s, size_t max)
{
    return slice_of(s.p, s.n < max ? s.n : max);
}

/* Without SP and HTAB at both ends: optional white space of RFC 9110 section 5.6.3. */
static inline struct slice slice_trim(struct slice s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t')) s = slice_skip(s, 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

#endif
