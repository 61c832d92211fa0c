/* pseudo: message heads as HTTP/2 and HTTP/3 carry them, pseudo-fields first, to and from messages
 * without a wire format (RFC 9113 section 8, RFC 9114 section 4).
 *
 * The libraries below decode, and refuse what is no field at all: names with upper case or other
 * than token characters, values with control characters, fields of one connection. What the fields
 * mean together is checked here, once for both. A pseudo lives as long as one field section is
 * read; what it gathers is in the arena. One thread. */
#ifndef VERGE_PROTOCOLS_HTTP_PSEUDO_H
#define VERGE_PROTOCOLS_HTTP_PSEUDO_H

#include "protocols/http/limits.h"
#include "protocols/http/message.h"

struct pseudo {
    struct arena *arena;
    const struct http_limits *limits;
    struct request request; /* what was read so far */
    struct fields crumbs;   /* Cookie, in pieces (RFC 9113 section 8.2.3) */
    struct slice host;
    int64_t content_length; /* or LENGTH_NONE */
    uint64_t seen[2];       /* a set of enum field_id */
    size_t bytes;
    unsigned lines;
    bool trailers; /* this is a trailer section */
    bool regular;  /* a field that is no pseudo-field was seen */
    bool te_trailers, expect_continue, has_priority;
    int error; /* the first mistake; what comes after it is not kept */
};

/* A request's head. */
void pseudo_begin(struct pseudo *p, const struct http_limits *limits, struct arena *arena);
/* A trailer section. */
void pseudo_begin_trailers(struct pseudo *p, const struct http_limits *limits, struct arena *arena);

/* The next field of the section; copies what it keeps. */
void pseudo_field(struct pseudo *p, struct slice name, struct slice value);

/* The section has ended; ended: so has the message. The request is in p->request, its version left
 * to the caller. 0; -E_URI_TOO_LONG or -E_HEADER_TOO_LARGE, which can be answered; -E_BAD_REQUEST,
 * -E_BAD_HOST or -E_BAD_FRAMING: the message is malformed, an error of the stream. */
int pseudo_finish(struct pseudo *p, bool ended);
/* What a request whose head was refused asked for, method and path as far as they were kept, for
 * the log; at most max bytes. */
struct slice pseudo_line(const struct pseudo *p, size_t max);
/* The same as pseudo_finish for trailers, whose fields are in p->request.fields. */
int pseudo_finish_trailers(struct pseudo *p);

/* The length that a response tells, of a representation or of nothing: LENGTH_NONE or
 * LENGTH_UNKNOWN where it tells none. has_body: one is at hand. */
int64_t pseudo_length(enum method m, const struct response *r, bool has_body);
/* A response's head, names in lower case and :status first; length as it is told, negative where it
 * is not. The list and what is not in the response itself is in the arena. */
struct fields pseudo_response(struct arena *arena, const struct response *r, int64_t length);
/* Trailers, likewise. */
struct fields pseudo_trailers(struct arena *arena, const struct fields *trailers);

#endif
