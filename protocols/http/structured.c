#include "protocols/http/structured.h"

#include "protocols/http/value.h"

static bool starts_with(struct slice s, char c)
{
    return s.n && s.p[0] == c;
}

static bool take_char(struct slice *s, char c)
{
    if (!starts_with(*s, c)) return false;
    *s = slice_skip(*s, 1);
    return true;
}

static void skip_spaces(struct slice *s)
{
    while (take_char(s, ' ')) continue;
}

static void skip_white_space(struct slice *s)
{
    while (take_char(s, ' ') || take_char(s, '\t')) continue;
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_alpha(char c)
{
    return is_lower(ascii_lower(c));
}

/* ( lcalpha / "*" ) *( lcalpha / DIGIT / "_" / "-" / "." / "*" ) */
static bool take_key(struct slice *s, struct slice *key)
{
    if (s->n == 0 || !(is_lower(s->p[0]) || s->p[0] == '*')) return false;
    size_t n = 1;
    while (n < s->n && (is_lower(s->p[n]) || char_is(s->p[n], CHAR_DIGIT) || s->p[n] == '_' ||
                        s->p[n] == '-' || s->p[n] == '.' || s->p[n] == '*')) {
        n++;
    }
    *key = slice_of(s->p, n);
    *s = slice_skip(*s, n);
    return true;
}

/* At most 15 digits, or 12 and 1 to 3 after a '.' */
static bool take_number(struct slice *s, struct structured_member *out)
{
    bool negative = take_char(s, '-');
    struct slice whole = slice_of(s->p, value_span(*s, CHAR_DIGIT));
    if (whole.n == 0 || whole.n > 15) return false;
    *s = slice_skip(*s, whole.n);
    out->type = STRUCTURED_INTEGER;
    out->integer = negative ? -value_int64(whole) : value_int64(whole);
    if (!take_char(s, '.')) return true;
    size_t fraction = value_span(*s, CHAR_DIGIT);
    *s = slice_skip(*s, fraction);
    out->type = STRUCTURED_DECIMAL;
    return whole.n <= 12 && fraction >= 1 && fraction <= 3;
}

/* ASCII without controls; '\' escapes only '"' and itself. */
static bool take_string(struct slice *s, struct structured_member *out)
{
    out->type = STRUCTURED_STRING;
    for (size_t at = 1; at < s->n; at++) {
        char c = s->p[at];
        if (c == '"') {
            out->text = slice_of(s->p + 1, at - 1);
            *s = slice_skip(*s, at + 1);
            return true;
        }
        if (c < ' ' || c > '~') return false;
        if (c == '\\' && (++at == s->n || (s->p[at] != '"' && s->p[at] != '\\'))) return false;
    }
    return false;
}

/* After the first character: tchar, ':' and '/' */
static bool take_token(struct slice *s, struct structured_member *out)
{
    size_t n = 1;
    while (n < s->n && (char_is(s->p[n], CHAR_TOKEN) || s->p[n] == ':' || s->p[n] == '/')) n++;
    out->type = STRUCTURED_TOKEN;
    out->text = slice_of(s->p, n);
    *s = slice_skip(*s, n);
    return true;
}

static bool take_bytes(struct slice *s, struct structured_member *out)
{
    out->type = STRUCTURED_BYTES;
    *s = slice_skip(*s, 1);
    while (s->n && (is_alpha(s->p[0]) || char_is(s->p[0], CHAR_DIGIT) || s->p[0] == '+' ||
                    s->p[0] == '/' || s->p[0] == '=')) {
        *s = slice_skip(*s, 1);
    }
    return take_char(s, ':');
}

static bool take_boolean(struct slice *s, struct structured_member *out)
{
    *s = slice_skip(*s, 1);
    out->type = STRUCTURED_BOOLEAN;
    out->integer = starts_with(*s, '1');
    return take_char(s, '0') || take_char(s, '1');
}

static bool take_date(struct slice *s, struct structured_member *out)
{
    *s = slice_skip(*s, 1);
    bool whole = take_number(s, out) && out->type == STRUCTURED_INTEGER;
    out->type = STRUCTURED_DATE;
    return whole;
}

/* %"...": visible ASCII and spaces, other bytes as %xx */
static bool take_display_string(struct slice *s, struct structured_member *out)
{
    *s = slice_skip(*s, 1);
    out->type = STRUCTURED_DISPLAY_STRING;
    if (!take_char(s, '"')) return false;
    while (s->n && s->p[0] != '"') {
        if (s->p[0] < ' ' || s->p[0] > '~') return false;
        bool escape = s->p[0] == '%';
        if (escape && (s->n < 3 || value_span(slice_of(s->p + 1, 2), CHAR_HEX) != 2)) return false;
        *s = slice_skip(*s, escape ? 3 : 1);
    }
    return take_char(s, '"');
}

static bool take_bare_item(struct slice *s, struct structured_member *out)
{
    if (s->n == 0) return false;
    char c = s->p[0];
    if (c == '-' || char_is(c, CHAR_DIGIT)) return take_number(s, out);
    if (c == '*' || is_alpha(c)) return take_token(s, out);
    switch (c) {
    case '"': return take_string(s, out);
    case ':': return take_bytes(s, out);
    case '?': return take_boolean(s, out);
    case '@': return take_date(s, out);
    case '%': return take_display_string(s, out);
    }
    return false;
}

static bool skip_parameters(struct slice *s)
{
    struct slice key;
    struct structured_member ignored;
    while (take_char(s, ';')) {
        skip_spaces(s);
        if (!take_key(s, &key)) return false;
        if (take_char(s, '=') && !take_bare_item(s, &ignored)) return false;
    }
    return true;
}

static bool take_inner_list(struct slice *s, struct structured_member *out)
{
    struct structured_member ignored;
    out->type = STRUCTURED_INNER_LIST;
    *s = slice_skip(*s, 1);
    for (;;) {
        skip_spaces(s);
        if (take_char(s, ')')) return true;
        if (!take_bare_item(s, &ignored) || !skip_parameters(s)) return false;
        if (s->n == 0 || (s->p[0] != ' ' && s->p[0] != ')')) return false;
    }
}

static bool take_member(struct slice *s, struct structured_member *out)
{
    *out = (struct structured_member){ .type = STRUCTURED_BOOLEAN, .integer = 1 };
    if (!take_key(s, &out->key)) return false;
    if (take_char(s, '=')) {
        bool ok = starts_with(*s, '(') ? take_inner_list(s, out) : take_bare_item(s, out);
        if (!ok) return false;
    }
    return skip_parameters(s);
}

int structured_dictionary_next(struct slice *rest, struct structured_member *out)
{
    skip_spaces(rest);
    if (rest->n == 0) return 0;
    if (!take_member(rest, out)) return -1;
    skip_white_space(rest);
    if (rest->n == 0) return 1;
    if (!take_char(rest, ',')) return -1;
    skip_white_space(rest);
    return rest->n ? 1 : -1; /* a comma at the end */
}

/* ---- printing ---- */

static char *put_triple(char *at, const uint8_t *in, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = (uint32_t)in[0] << 16 | (n > 1 ? in[1] << 8 : 0) | (n > 2 ? in[2] : 0);
    for (size_t i = 0; i < 4; i++) *at++ = i <= n ? digits[bits >> (18 - 6 * i) & 63] : '=';
    return at;
}

struct slice structured_bytes(struct slice bytes, struct arena *a)
{
    const uint8_t *in = (const uint8_t *)bytes.p;
    char *text = arena_alloc(a, 2 + (bytes.n + 2) / 3 * 4), *at = text;
    *at++ = ':';
    for (size_t i = 0; i < bytes.n; i += 3) at = put_triple(at, in + i, bytes.n - i);
    *at++ = ':';
    return slice_of(text, (size_t)(at - text));
}
