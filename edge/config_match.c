/* What a request is compared with: route patterns and trusted networks. */
#define _GNU_SOURCE
#include <string.h>

#include "edge/config.h"

static bool ends_with(struct slice s, struct slice end)
{
    return s.n >= end.n && (end.n == 0 || memcmp(s.p + s.n - end.n, end.p, end.n) == 0);
}

/* The part of path behind the literal that pattern begins with, wherever that is found first;
 * pattern moves to the star after it. False where it is not found. */
static bool skip_literal(struct slice *path, struct slice *pattern)
{
    size_t n = slice_find(*pattern, '*');
    const char *at = n ? memmem(path->p, path->n, pattern->p, n) : path->p;
    if (!at) return false;
    *path = slice_skip(*path, (size_t)(at - path->p) + n);
    *pattern = slice_skip(*pattern, n);
    return true;
}

/* pattern begins with a star. Taking each literal between two stars where it comes first leaves
 * most for the rest, so nothing needs to be tried twice. */
static bool matches_stars(struct slice path, struct slice pattern)
{
    for (;;) {
        pattern = slice_skip(pattern, 1);
        if (slice_find(pattern, '*') == pattern.n) return ends_with(path, pattern);
        if (!skip_literal(&path, &pattern)) return false;
    }
}

struct config_pattern config_pattern_of(struct slice text)
{
    return (struct config_pattern){ text, slice_find(text, '*') };
}

static bool matches(struct slice pattern, size_t literal, struct slice path)
{
    if (!slice_starts(path, slice_of(pattern.p, literal))) return false;
    if (literal == pattern.n) return path.n == literal;
    if (literal + 1 == pattern.n) return true;
    return matches_stars(slice_skip(path, literal), slice_skip(pattern, literal));
}

bool config_pattern_matches(const struct config_pattern *p, struct slice path)
{
    struct slice text = p->text, end = SLICE("/*");
    if (matches(text, p->literal_bytes, path)) return true;
    if (text.n <= end.n || !ends_with(text, end)) return false;
    text.n -= end.n; /* what is below a folder is matched, and the folder itself */
    return matches(text, p->literal_bytes < text.n ? p->literal_bytes : text.n, path);
}

static bool route_matches(const struct config_route *r, struct slice path)
{
    for (size_t i = 0; i < r->pattern_count; i++) {
        if (config_pattern_matches(&r->patterns[i], path)) return true;
    }
    return false;
}

const struct config_route *config_find_route(const struct config_site *site, struct slice path)
{
    for (size_t i = 0; i < site->route_count; i++) {
        if (route_matches(&site->routes[i], path)) return &site->routes[i];
    }
    return NULL;
}

static bool contains(const struct config_cidr *net, const uint8_t address[16])
{
    unsigned whole = net->bits / 8, rest = net->bits % 8;
    if (memcmp(net->bytes, address, whole) != 0) return false;
    uint8_t mask = (uint8_t)(0xff00 >> rest);
    return rest == 0 || ((net->bytes[whole] ^ address[whole]) & mask) == 0;
}

bool config_is_trusted(const struct config *c, const uint8_t address[16])
{
    for (size_t i = 0; i < c->trusted_count; i++) {
        if (contains(&c->trusted[i], address)) return true;
    }
    return false;
}
