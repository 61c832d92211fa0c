#include "protocols/http/value.h"

#define V CHAR_VALUE
#define T (CHAR_VALUE | CHAR_TOKEN | CHAR_ETAG)
#define E (CHAR_VALUE | CHAR_ETAG)
#define U CHAR_UNRESERVED
#define S CHAR_SUB_DELIM

const uint8_t char_classes[256] = {
    ['\t'] = V,
    [' '] = V,
    ['"'] = V,
    ['!'] = T | S,
    ['#'] = T,
    ['$'] = T | S,
    ['%'] = T,
    ['&'] = T | S,
    ['\''] = T | S,
    ['('] = E | S,
    [')'] = E | S,
    ['*'] = T | S,
    ['+'] = T | S,
    [','] = E | S,
    ['-'] = T | U,
    ['.'] = T | U,
    ['/'] = E,
    ['0' ... '9'] = T | U | CHAR_DIGIT | CHAR_HEX,
    [':'] = E,
    [';'] = E | S,
    ['<'] = E,
    ['='] = E | S,
    ['>'] = E,
    ['?'] = E,
    ['@'] = E,
    ['A' ... 'F'] = T | U | CHAR_HEX,
    ['G' ... 'Z'] = T | U,
    ['['] = E,
    ['\\'] = E,
    [']'] = E,
    ['^'] = T,
    ['_'] = T | U,
    ['`'] = T,
    ['a' ... 'f'] = T | U | CHAR_HEX,
    ['g' ... 'z'] = T | U,
    ['{'] = E,
    ['|'] = T,
    ['}'] = E,
    ['~'] = T | U,
    [0x80 ... 0xff] = E, /* obs-text */
};

#undef V
#undef T
#undef E
#undef U
#undef S

size_t value_span(struct slice s, unsigned classes)
{
    size_t n = 0;
    while (n < s.n && char_is(s.p[n], classes)) n++;
    return n;
}

bool value_is_token(struct slice s)
{
    return s.n && value_span(s, CHAR_TOKEN) == s.n;
}

bool value_is_field_value(struct slice s)
{
    return value_span(s, CHAR_VALUE) == s.n;
}

/* Position after the quoted string that begins at s.p[at]; beyond s.n if it does not end. */
static size_t skip_quoted(struct slice s, size_t at)
{
    for (at++; at < s.n; at++) {
        if (s.p[at] == '\\')
            at++;
        else if (s.p[at] == '"')
            return at + 1;
    }
    return s.n + 1;
}

static size_t find_separator(struct slice s, char separator)
{
    size_t at = 0;
    while (at < s.n && s.p[at] != separator) at = s.p[at] == '"' ? skip_quoted(s, at) : at + 1;
    return at < s.n ? at : s.n;
}

bool value_ends_open(struct slice s)
{
    size_t at = 0;
    while (at < s.n) at = s.p[at] == '"' ? skip_quoted(s, at) : at + 1;
    return at > s.n;
}

/* Takes what ends before end, with its separator, which may be missing at the end. */
static struct slice take_member(struct slice *rest, size_t end)
{
    struct slice member = slice_trim(slice_of(rest->p, end));
    *rest = slice_skip(*rest, end < rest->n ? end + 1 : end);
    return member;
}

bool value_next_split(struct slice *rest, char separator, struct slice *member)
{
    while (rest->n) {
        *member = take_member(rest, find_separator(*rest, separator));
        if (member->n) return true;
    }
    return false;
}

bool value_next_plain(struct slice *rest, struct slice *member)
{
    while (rest->n) {
        *member = take_member(rest, slice_find(*rest, ','));
        if (member->n) return true;
    }
    return false;
}

bool value_next(struct slice *rest, struct slice *member)
{
    return value_next_split(rest, ',', member);
}

bool value_list_has(struct slice list, struct slice member)
{
    struct slice each;
    while (value_next(&list, &each)) {
        if (slice_eq_nocase(each, member)) return true;
    }
    return false;
}

struct slice value_take_token(struct slice *rest)
{
    struct slice token = slice_of(rest->p, value_span(*rest, CHAR_TOKEN));
    *rest = slice_skip(*rest, token.n);
    return token;
}

bool value_take_quoted(struct slice *rest, struct slice *inside)
{
    if (rest->n < 2 || rest->p[0] != '"') return false;
    for (size_t at = 1; at < rest->n; at++) {
        if (rest->p[at] == '"') {
            *inside = slice_of(rest->p + 1, at - 1);
            *rest = slice_skip(*rest, at + 1);
            return true;
        }
        if (rest->p[at] == '\\') at++;
        if (at == rest->n || !char_is(rest->p[at], CHAR_VALUE)) return false;
    }
    return false;
}

size_t value_unquote(struct slice inside, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < inside.n; i++) {
        if (inside.p[i] == '\\' && i + 1 < inside.n) i++;
        out[n++] = inside.p[i];
    }
    return n;
}

bool value_parse_parameter(struct slice member, struct slice *name, struct slice *value)
{
    *value = SLICE_NONE;
    *name = value_take_token(&member);
    if (name->n == 0) return false;
    if (member.n == 0) return true;
    if (member.p[0] != '=') return false;
    member = slice_skip(member, 1);
    if (!value_take_quoted(&member, value)) {
        *value = value_take_token(&member);
        if (value->n == 0) return false;
    }
    return member.n == 0;
}

int64_t value_delta_seconds(struct slice s)
{
    if (s.n == 0 || value_span(s, CHAR_DIGIT) != s.n) return -1;
    int64_t v = 0;
    for (size_t i = 0; i < s.n && v < DELTA_SECONDS_MAX; i++) v = v * 10 + (s.p[i] - '0');
    return v < DELTA_SECONDS_MAX ? v : DELTA_SECONDS_MAX;
}

int64_t value_int64(struct slice s)
{
    if (s.n == 0) return -1;
    int64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (!char_is(s.p[i], CHAR_DIGIT)) return -1;
        if (__builtin_mul_overflow(v, 10, &v)) return -1;
        if (__builtin_add_overflow(v, s.p[i] - '0', &v)) return -1;
    }
    return v;
}

/* ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] ) */
int value_quality(struct slice s)
{
    if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1')) return -1;
    if (s.n > 1 && s.p[1] != '.') return -1;
    int v = s.p[0] - '0';
    for (size_t i = 2; i < 5; i++) {
        char digit = i < s.n ? s.p[i] : '0';
        if (!char_is(digit, CHAR_DIGIT)) return -1;
        v = v * 10 + (digit - '0');
    }
    return v <= 1000 ? v : -1;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, ascii_lower(c)) : NULL;
    return at ? (int)(at - digits) : -1;
}

bool value_percent_decode(struct slice s, struct arena *a, struct slice *out)
{
    char *text = arena_alloc(a, s.n + 1), *at = text;
    while (s.n) {
        bool escape = s.p[0] == '%';
        if (escape && (s.n < 3 || hex_digit(s.p[1]) < 0 || hex_digit(s.p[2]) < 0)) return false;
        *at++ = escape ? (char)(hex_digit(s.p[1]) * 16 + hex_digit(s.p[2])) : s.p[0];
        s = slice_skip(s, escape ? 3 : 1);
    }
    *at = 0;
    *out = slice_of(text, (size_t)(at - text));
    return true;
}
