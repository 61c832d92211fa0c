/* value: the pieces that field values are made of (RFC 9110 section 5.6): characters, tokens,
 * quoted strings, lists, parameters, numbers.
 *
 * Pure functions on slices, any thread. They walk a value from the left by shortening the slice
 * they are given, and hand out slices of it; nothing is copied. What a particular field means is
 * its own file's business. */
#ifndef VERGE_PROTOCOLS_HTTP_VALUE_H
#define VERGE_PROTOCOLS_HTTP_VALUE_H

#include "edge/base/arena.h"

enum char_class {
    CHAR_TOKEN = 1, /* tchar */
    CHAR_VALUE = 2, /* field-vchar, obs-text, SP, HTAB: what a field value may hold */
    CHAR_DIGIT = 4,
    CHAR_HEX = 8,
    CHAR_UNRESERVED = 16, /* RFC 3986: unreserved */
    CHAR_SUB_DELIM = 32,  /* RFC 3986: sub-delims */
    CHAR_ETAG = 64,       /* etagc */
};

extern const uint8_t char_classes[256];

static inline bool char_is(char c, unsigned classes)
{
    return char_classes[(unsigned char)c] & classes;
}

/* Length of the longest prefix of s whose characters are all in one of the classes. */
size_t value_span(struct slice s, unsigned classes);

/* Not empty, and nothing but tchar (RFC 9110 section 5.6.2). */
bool value_is_token(struct slice s);
/* No control character but HTAB, so neither NUL nor CR nor LF (section 5.5). Empty is valid. */
bool value_is_field_value(struct slice s);

/* Next member of a comma-separated list, trimmed; commas within quoted strings do not separate,
 * empty members are skipped (section 5.6.1.2). False at the end. An unterminated quoted string ends
 * with the value. */
bool value_next(struct slice *rest, struct slice *member);
/* Does a quoted string begin in it and not end? */
bool value_ends_open(struct slice s);
/* The same where members are tokens, as in Connection: every comma separates. */
bool value_next_plain(struct slice *rest, struct slice *member);
/* As value_next with another separator, such as ';'. */
bool value_next_split(struct slice *rest, char separator, struct slice *member);
/* Is member, a token, in the list? Without case. */
bool value_list_has(struct slice list, struct slice member);

/* Takes the token at the front; an empty slice where there is none. */
struct slice value_take_token(struct slice *rest);
/* Takes the quoted string at the front and gives its inside, escapes untouched; false, and nothing
 * taken, where there is none that is well-formed (section 5.6.4). */
bool value_take_quoted(struct slice *rest, struct slice *inside);
/* Resolves the escapes of a quoted string's inside into out, which has room for inside.n bytes;
 * returns the length. */
size_t value_unquote(struct slice inside, char *out);
/* A member of the form name[=value], the value a token or a quoted string, no white space around
 * '=' (section 5.6.6). Without '=', *value has p == NULL. False where it is anything else. */
bool value_parse_parameter(struct slice member, struct slice *name, struct slice *value);

#define DELTA_SECONDS_MAX ((int64_t)1 << 31)

/* delta-seconds (RFC 9111 section 1.2.2): what is larger than 2^31 is 2^31; -1 where it is not all
 * digits. */
int64_t value_delta_seconds(struct slice s);
/* Percent-escapes decoded (RFC 3986 section 2.1), with a NUL behind the result; false where one is
 * not whole. */
bool value_percent_decode(struct slice s, struct arena *a, struct slice *out);
/* Digits only, no sign, no overflow (a Content-Length); -1 otherwise. */
int64_t value_int64(struct slice s);
/* qvalue (RFC 9110 section 12.4.2) in thousandths; -1 where it is malformed. */
int value_quality(struct slice s);

#endif
