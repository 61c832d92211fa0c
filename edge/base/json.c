#include "edge/base/json.h"

#include <stdlib.h>

/* ---- writing ---- */

static void put_char(FILE *out, unsigned char c)
{
    if (c == '"' || c == '\\')
        fprintf(out, "\\%c", c);
    else if (c < 0x20 || c >= 0x7f)
        fprintf(out, "\\u%04x", (unsigned)c);
    else
        putc(c, out);
}

void json_put_string(FILE *out, struct slice s)
{
    putc('"', out);
    for (size_t i = 0; i < s.n; i++) put_char(out, (unsigned char)s.p[i]);
    putc('"', out);
}

/* ---- reading ---- */

static struct slice skip_space(struct slice s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t' || *s.p == '\n' || *s.p == '\r'))
        s = slice_skip(s, 1);
    return s;
}

/* Bytes of the string that s begins with, quotes included; 0 where it does not end. */
static size_t string_bytes(struct slice s)
{
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == '"') return i + 1;
        if (s.p[i] == '\\') i++;
    }
    return 0;
}

/* Bytes of the value that s begins with: to the comma, brace or bracket behind it. Nothing is
 * checked that is not needed for that. 0 where there is none. */
static size_t value_bytes(struct slice s)
{
    unsigned depth = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool closes = c == '}' || c == ']';
        if (depth == 0 && (closes || c == ',')) return i;
        if (c == '{' || c == '[') depth++;
        if (closes && --depth == 0) return i + 1;
        if (c != '"') continue;
        size_t n = string_bytes(slice_skip(s, i));
        if (n == 0) return 0;
        i += n - 1;
    }
    return depth ? 0 : s.n;
}

/* Takes one character, and space around it. */
static bool take(struct slice *s, char c)
{
    *s = skip_space(*s);
    if (s->n == 0 || s->p[0] != c) return false;
    *s = skip_space(slice_skip(*s, 1));
    return true;
}

static bool take_value(struct slice *s, struct slice *value)
{
    size_t n = value_bytes(*s);
    *value = slice_of(s->p, n);
    *s = slice_skip(*s, n);
    while (value->n && slice_eq(skip_space(slice_skip(*value, value->n - 1)), SLICE("")))
        value->n--;
    return value->n > 0;
}

bool json_member(struct slice object, const char *name, struct slice *value)
{
    if (!take(&object, '{')) return false;
    do {
        size_t n = object.n && object.p[0] == '"' ? string_bytes(object) : 0;
        if (n == 0) return false;
        struct slice found = slice_of(object.p + 1, n - 2);
        object = slice_skip(object, n);
        if (!take(&object, ':') || !take_value(&object, value)) return false;
        if (slice_eq(found, slice_str(name))) return true;
    } while (take(&object, ','));
    return false;
}

bool json_next(struct slice *array, struct slice *value)
{
    return (take(array, '[') || take(array, ',')) && take_value(array, value);
}

static bool take_hex(struct slice *s, unsigned *out)
{
    char digits[5] = { 0 }, *end;
    if (s->n < 4) return false;
    memcpy(digits, s->p, 4);
    *out = (unsigned)strtoul(digits, &end, 16);
    *s = slice_skip(*s, 4);
    return end == digits + 4 && digits[0] != '-' && digits[0] != '+';
}

/* What follows a backslash, which is of one byte; '?' stands for what is not. */
static char take_escape(struct slice *s)
{
    static const char names[] = "bfnrt", bytes[] = "\b\f\n\r\t";
    unsigned code;
    char c = s->p[0];
    *s = slice_skip(*s, 1);
    if (c == 'u') return take_hex(s, &code) && code < 0x100 ? (char)code : '?';
    const char *at = c ? strchr(names, c) : NULL;
    return at ? bytes[at - names] : c;
}

struct slice json_string(struct slice value, struct arena *a)
{
    if (value.n < 2 || value.p[0] != '"' || string_bytes(value) != value.n) return SLICE_NONE;
    struct slice rest = slice_of(value.p + 1, value.n - 2);
    char *text = arena_alloc(a, rest.n + 1), *at = text;
    while (rest.n) {
        char c = rest.p[0];
        rest = slice_skip(rest, 1);
        *at++ = c == '\\' && rest.n ? take_escape(&rest) : c;
    }
    return slice_of(text, (size_t)(at - text));
}

int64_t json_integer(struct slice value, int64_t otherwise)
{
    char text[32], *end;
    if (value.n == 0 || value.n >= sizeof text) return otherwise;
    memcpy(text, value.p, value.n);
    text[value.n] = 0;
    long long n = strtoll(text, &end, 10);
    return end == text ? otherwise : n;
}
