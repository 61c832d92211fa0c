/* head: one pass over the head of an HTTP/1.x message; what requests, responses and trailers have
 * in common.
 *
 * Internal to protocols/h1. A head lives on the stack of one call of parse.h, which is the
 * interface; what it gathers ends up in the message. It knows bytes, lines, fields and framing, not
 * what starts a request or a response.
 *
 * Functions that return bool say whether to go on; where not, rc says why: 0 for "more bytes
 * needed", else -E_NAME. */
#ifndef VERGE_PROTOCOLS_H1_HEAD_H
#define VERGE_PROTOCOLS_H1_HEAD_H

#include "protocols/h1/parse.h"

/* The same mistake has another name, and another blame, in a request and in a response. */
struct h1_codes {
    int malformed, version, framing;
    int coding; /* one that nobody here knows, with chunked around it */
    int bad_coding;
    int line_too_long, head_too_large;
};

extern const struct h1_codes h1_request_codes, h1_response_codes;

#define H1_RULE_LINE_END "a line must end in CRLF, with no control byte before it"

enum { OPTION_CLOSE = 1, OPTION_KEEP_ALIVE = 2, OPTION_UPGRADE = 4 }; /* of Connection */

struct h1_head {
    const char *start, *p, *end;
    int rc;
    const char *rule, *fault_at; /* that was broken, for h1_head_fault */
    const struct h1_codes *codes;
    const struct h1_limits *limits;
    struct arena *arena;
    struct fields *fields;
    enum http_version version;
    unsigned lines, flags, options;
    uint64_t seen[2], twice[2]; /* sets of enum field_id */
    struct slice host, content_length, transfer_encoding;
    bool expect_continue, te_trailers;
};

void h1_head_init(struct h1_head *h, struct slice buf, const struct h1_codes *codes,
                  const struct h1_limits *limits, struct arena *arena, struct fields *fields);

/* HTTP-version, into h->version. */
bool h1_head_version(struct h1_head *h);
/* The first line ended at h->p; is it within its limit? */
bool h1_head_line_fits(struct h1_head *h);
/* Field lines and the empty line behind them. */
bool h1_head_fields(struct h1_head *h);
/* RFC 9112 section 6.3, without its concessions; H1_BODY_NONE where no field tells of a body. */
bool h1_head_framing(struct h1_head *h, enum h1_body *body, int64_t *length);
bool h1_head_keep_alive(const struct h1_head *h);
/* Protocols in Upgrade; empty where it does not count. */
struct slice h1_head_upgrade(const struct h1_head *h);
/* To be called last: the functions above read these fields. */
void h1_head_drop_hop_by_hop(struct h1_head *h);

/* After an error: what h1_head_broke said, and the line that it said it of. */
void h1_head_fault(const struct h1_head *h, struct h1_fault *fault);

/* For a head that was not complete, when more has come: whether its end has too (1), or not (0), or
 * that a line ends in a bare LF (codes->malformed). Looks at the bytes from scanned on only. */
int h1_head_find_end(struct slice buf, size_t scanned, const struct h1_codes *codes);
/* The head is not complete: 0 with *scanned set, or the error of the limit that buf has passed. */
int h1_head_wait(struct slice buf, size_t *scanned, const struct h1_limits *limits,
                 const struct h1_codes *codes);

/* 2 where an empty line comes first, else 0. */
static inline size_t h1_leading_line(struct slice buf)
{
    return slice_starts(buf, SLICE("\r\n")) ? 2 : 0;
}

static inline bool h1_head_has(const struct h1_head *h, enum field_id id)
{
    return h->seen[id / 64] >> id % 64 & 1;
}

static inline bool h1_head_repeats(const struct h1_head *h, enum field_id id)
{
    return h->twice[id / 64] >> id % 64 & 1;
}

/* --- bytes --- */

static inline bool h1_head_fail(struct h1_head *h, int code)
{
    h->rc = code;
    return false;
}

static inline bool h1_head_malformed(struct h1_head *h)
{
    return h1_head_fail(h, h->codes->malformed);
}

/* Tells more of a failure, which may also be that more bytes are needed. */
static inline bool h1_head_broke(struct h1_head *h, const char *rule, const char *at)
{
    h->rule = rule;
    h->fault_at = at;
    return false;
}

static inline bool h1_head_more(struct h1_head *h)
{
    return h1_head_fail(h, 0);
}

/* TOKEN: tchar of RFC 9110 section 5.6.2. TARGET: visible ASCII but '#', which never is part of a
 * request target. */
enum h1_class { H1_TOKEN = 1, H1_TARGET = 2 };

extern const uint8_t h1_class_of[256];

/* Takes what is of the class, one byte at least. */
static inline bool h1_head_take(struct h1_head *h, enum h1_class class, struct slice *out)
{
    const char *from = h->p, *p = from, *end = h->end;
    while (p < end && (h1_class_of[(unsigned char)*p] & class)) p++;
    h->p = p;
    *out = slice_of(from, (size_t)(p - from));
    return p > from || (p == end ? h1_head_more(h) : h1_head_malformed(h));
}

static inline bool h1_head_byte(struct h1_head *h, char c)
{
    if (h->p == h->end) return h1_head_more(h);
    if (*h->p != c) return h1_head_malformed(h);
    h->p++;
    return true;
}

static inline bool h1_head_crlf(struct h1_head *h)
{
    return h1_head_byte(h, '\r') && h1_head_byte(h, '\n');
}

static inline bool h1_head_digit(struct h1_head *h, int *digit)
{
    if (h->p == h->end) return h1_head_more(h);
    if (*h->p < '0' || *h->p > '9') return h1_head_malformed(h);
    *digit = *h->p++ - '0';
    return true;
}

/* Skips text without control bytes, maybe none: field-content and white space, or a reason phrase.
 */
void h1_head_text(struct h1_head *h);

#endif
