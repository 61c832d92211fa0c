#include "cache/key_cookie.h"

#include "edge/base/check.h"

/* Cookies found by a pattern; beyond that all of them are keyed. */
#define FOUND_MAX 64

/* PHP reads all of these as '_', and some origins know no case. */
static char fold(char c)
{
    return c == '.' || c == ' ' || c == '[' ? '_' : ascii_lower(c);
}

static bool equals_folded(struct slice a, struct slice b)
{
    if (a.n != b.n) return false;
    for (size_t i = 0; i < a.n; i++) {
        if (fold(a.p[i]) != fold(b.p[i])) return false;
    }
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Behind these somebody may see a name begin. */
static bool is_break(char c)
{
    return is_blank(c) || c == ';' || c == ',' || c == '"';
}

static size_t skip_blanks(struct slice s, size_t at)
{
    while (at < s.n && is_blank(s.p[at])) at++;
    return at;
}

struct pattern {
    struct slice text; /* without its star */
    bool prefix;
};

static struct pattern pattern_of(struct slice name)
{
    bool prefix = name.n && name.p[name.n - 1] == '*';
    return (struct pattern){ slice_of(name.p, name.n - prefix), prefix };
}

/* Where a name that begins at a place ends, if anybody could take it for one of the pattern; else
 * 0.
 */
static size_t match(struct slice line, size_t at, struct pattern p)
{
    if (line.n - at < p.text.n || !equals_folded(slice_of(line.p + at, p.text.n), p.text)) return 0;
    size_t end = at + p.text.n;
    if (p.prefix) {
        while (end < line.n && !is_break(line.p[end]) && line.p[end] != '=') end++;
        return end > at ? end : 0;
    }
    size_t next = skip_blanks(line, end);
    bool ends =
        next == line.n || line.p[next] == '=' || line.p[next] == '[' || is_break(line.p[next]);
    return ends ? end : 0;
}

/* Everybody reads it alike: name=value at the beginning of a pair, spelled as it is looked for. */
static bool is_plain(struct slice line, size_t at, size_t end, struct pattern p)
{
    size_t before = at;
    while (before && is_blank(line.p[before - 1])) before--;
    return (before == 0 || line.p[before - 1] == ';') && end < line.n && line.p[end] == '=' &&
           slice_starts(slice_skip(line, at), p.text);
}

/* A pair that ends within a quoted string, for those who know such. */
static bool has_open_quote(struct slice line)
{
    bool open = false;
    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] == '"' && i && line.p[i - 1] == '\\') return true;
        if (line.p[i] == '"') open = !open;
        if (line.p[i] == ';' && open) return true;
    }
    return open;
}

/* Some decode names. */
static bool has_encoded_name(struct slice line)
{
    while (line.n) {
        struct slice pair = slice_of(line.p, slice_find(line, ';'));
        if (slice_find(pair, '%') < slice_find(pair, '=')) return true;
        line = slice_skip(line, pair.n + (pair.n < line.n));
    }
    return false;
}

struct found {
    struct key_cookie *v;
    size_t n, room;
};

static bool is_twice(const struct found *found, size_t first, struct slice name)
{
    for (size_t i = first; i < found->n; i++) {
        if (equals_folded(found->v[i].name, name)) return true;
    }
    return false;
}

/* Adds what the line has of one pattern; false where that is not clear. */
static bool find(struct slice line, struct pattern p, struct found *found)
{
    size_t first = found->n;
    for (size_t at = 0; at < line.n; at++) {
        size_t end = at == 0 || is_break(line.p[at - 1]) ? match(line, at, p) : 0;
        if (!end) continue;
        struct slice name = slice_of(line.p + at, end - at), value = slice_skip(line, end);
        bool clear = is_plain(line, at, end, p) && !has_open_quote(line);
        if (!clear || is_twice(found, first, name) || found->n - first == FOUND_MAX) return false;
        CHECK(found->n < found->room);
        value = slice_skip(value, 1);
        value.n = slice_find(value, ';');
        found->v[found->n++] = (struct key_cookie){ name, value };
        at = end;
    }
    if (found->n == first && !p.prefix)
        found->v[found->n++] = (struct key_cookie){ p.text, SLICE_NONE };
    return true;
}

/* All lines as they are sent, told from one that has the same text. */
static struct slice whole(const struct fields *f, struct arena *a)
{
    struct slice *parts = arena_alloc(a, 2 * f->n * sizeof *parts);
    size_t n = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->v[i].id != FIELD_COOKIE) continue;
        parts[n++] = f->v[i].value;
        parts[n++] = SLICE("\n");
    }
    return arena_concat(a, parts, n);
}

size_t key_cookies(const struct fields *f, const struct slice *names, size_t count, struct arena *a,
                   struct key_cookie **out)
{
    size_t room = 1;
    for (size_t i = 0; i < count; i++) room += pattern_of(names[i]).prefix ? FOUND_MAX : 1;
    struct found found = { arena_alloc(a, room * sizeof *found.v), 0, room };
    struct slice line = fields_value(f, FIELD_COOKIE);
    bool clear = fields_count(f, FIELD_COOKIE) <= 1 && !has_encoded_name(line);
    *out = found.v;
    for (size_t i = 0; clear && i < count; i++) clear = find(line, pattern_of(names[i]), &found);
    if (clear) return found.n;
    found.v[0] = (struct key_cookie){ SLICE(";"), whole(f, a) };
    return 1;
}
