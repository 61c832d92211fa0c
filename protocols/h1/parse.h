/* parse: the head of an HTTP/1.x message, from bytes to a message without a wire format (RFC 9112
 * sections 2 to 6).
 *
 * Pure functions: no state but what the caller passes in, no I/O, no clock; any thread. The results
 * are slices into the caller's buffer, which must stay unmoved as long as the message; the field
 * array comes from the arena.
 *
 * Strict. Whatever two parties might read differently is an error, never a guess: both lengths or
 * several of them, any transfer coding but one lone chunked, obs-fold, bare CR or LF, white space
 * around a name, control bytes. Bodies and trailers are frame.h's business; whether a message makes
 * sense to the edge is the edge's. */
#ifndef VERGE_PROTOCOLS_H1_PARSE_H
#define VERGE_PROTOCOLS_H1_PARSE_H

#include "protocols/http/message.h"

/* Bytes are counted from the start of the buffer, line ends included. */
struct h1_limits {
    size_t line_bytes;    /* request line or status line */
    size_t head_bytes;    /* whole head, or a whole trailer section */
    unsigned field_count; /* field lines */
};

#define H1_FAULT_BYTES 100

/* The rule that a response breaks, and where. Slices are views into what was parsed. */
struct h1_fault {
    const char *rule;   /* NULL: the error's name says it all */
    unsigned line;      /* 1 is the status line; 0: it is not in a head */
    struct slice field; /* the name that begins the line; empty: none does */
    struct slice bytes; /* H1_FAULT_BYTES at most of the line, the faulty one among them */
};

/* How the end of a body is found (RFC 9112 section 6.3). */
enum h1_body { H1_BODY_NONE, H1_BODY_LENGTH, H1_BODY_CHUNKED, H1_BODY_UNTIL_CLOSE };

struct h1_request {
    /* scheme is "http" or "https" for a target in absolute-form, else empty: the connection knows
     * it. authority is empty only for HTTP/1.0 without Host. target is empty for CONNECT, whose
     * authority is in authority. version is 1.0 or 1.1, also for a higher minor version. */
    struct request msg;
    enum h1_body body;    /* never H1_BODY_UNTIL_CLOSE; msg.length has the length */
    bool keep_alive;      /* as the client asked, by version and Connection */
    bool expect_continue; /* it waits for 100 (Continue) before it sends the body. Expect stays in
                             the fields. */
    bool te_trailers;     /* TE: trailers, so trailer fields may be sent to it */
    struct slice upgrade; /* protocols offered; empty unless Connection names Upgrade too */
};

struct h1_response {
    struct response msg;
    enum http_version version; /* 1.0 or 1.1, for Via */
    enum h1_body body;         /* of this message: H1_BODY_NONE for HEAD, 1xx, 204 and 304 */
    bool keep_alive;           /* the connection may carry another response after this one */
    bool interim;              /* 1xx but 101: another response follows */
    struct slice upgrade;      /* as in the request; tells the new protocol of a 101 */
    struct h1_fault fault;     /* after an error, instead of all that */
};

/* Parses one request head at the start of buf, after at most one empty line (RFC 9112 section 2.2).
 *
 * Returns the bytes consumed (> 0) with *out filled; 0 when the head is not complete, to be called
 * again with the same bytes and more; or -E_BAD_REQUEST, -E_BAD_HOST, -E_BAD_FRAMING, -E_VERSION,
 * -E_URI_TOO_LONG, -E_HEADER_TOO_LARGE. An error is final: what follows on the connection cannot be
 * trusted.
 *
 * *scanned is 0 for a new message and then belongs to the parser: it makes a head that arrives byte
 * by byte cost O(n) in all. A limit is enforced as soon as it is passed, also before a line has
 * ended. Host, Content-Length and Transfer-Encoding are not in out->msg.fields, nor is any
 * hop-by-hop field or one that Connection names. limits->head_bytes must be below 2 GiB. */
int h1_parse_request(struct slice buf, size_t *scanned, const struct h1_limits *limits,
                     struct arena *arena, struct h1_request *out);

/* As above, for one response (also an interim one) to a request with that method. No empty line may
 * precede it, and a status outside 100 to 599 is malformed (RFC 9110 section 15). A body that is
 * not there has msg.length as announced (HEAD, 304) or LENGTH_NONE. Returns bytes, 0,
 * -E_RESPONSE_MALFORMED, -E_RESPONSE_HEADER_TOO_LARGE or -E_RESPONSE_CODING. */
int h1_parse_response(struct slice buf, size_t *scanned, const struct h1_limits *limits,
                      enum method request_method, struct arena *arena, struct h1_response *out);

/* Parses field lines up to and including the empty line that ends them: a trailer section (RFC 9112
 * section 7.1.2). Drops hop-by-hop and framing fields, which mean nothing there. Returns bytes
 * consumed, 0 when the empty line is not in buf, -E_BAD_REQUEST or -E_HEADER_TOO_LARGE. */
int h1_parse_trailers(struct slice buf, const struct h1_limits *limits, struct arena *arena,
                      struct fields *out);

#endif
