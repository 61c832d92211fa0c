/* print: messages as HTTP/1.1 bytes (RFC 9112). The inverse of parse.h; what is sent is always
 * printed from a message.
 *
 * Pure functions, total: messages were validated when they were parsed or built, so nothing is
 * refused here. Each comes as a pair, the exact size and the printing into that many bytes; both
 * return the same number, and no NUL follows. The version is always HTTP/1.1, whatever the peer's
 * (RFC 9110 section 6.2). */
#ifndef VERGE_PROTOCOLS_H1_PRINT_H
#define VERGE_PROTOCOLS_H1_PRINT_H

#include "protocols/h1/parse.h"

enum h1_connection {
    H1_CONNECTION_PERSIST,    /* no line: it is the default between HTTP/1.1 parties */
    H1_CONNECTION_CLOSE,      /* Connection: close */
    H1_CONNECTION_KEEP_ALIVE, /* Connection: keep-alive, which HTTP/1.0 clients want to see */
};

/* What only this hop knows and the message therefore does not have. */
struct h1_framing {
    enum h1_body body; /* LENGTH: Content-Length; CHUNKED: Transfer-Encoding; else neither */
    int64_t length;    /* for H1_BODY_LENGTH, also where only the length is told (HEAD, 304) */
    enum h1_connection connection;
    bool te_trailers;     /* TE: trailers, with its Connection option */
    struct slice upgrade; /* when not empty: Upgrade, with its Connection option */
    struct slice lines;   /* ready field lines with their CRLFs (h1_print_fields), put before the
                             message's own */
};

/* Status line, framing->lines, fields, framing, empty line. */
size_t h1_response_size(const struct response *r, const struct h1_framing *framing);
size_t h1_print_response(char *out, const struct response *r, const struct h1_framing *framing);

/* Request line with r->target as it is, Host, framing->lines, fields, framing, empty line. */
size_t h1_request_size(const struct request *r, const struct h1_framing *framing);
size_t h1_print_request(char *out, const struct request *r, const struct h1_framing *framing);

/* "Name: value" CRLF for each. An object that is sent often keeps its lines ready this way. */
size_t h1_fields_size(const struct fields *f);
size_t h1_print_fields(char *out, const struct fields *f);

/* The line before a chunk's data, which CRLF must follow. size_bytes is not 0; out holds
 * H1_CHUNK_LINE_BYTES. */
#define H1_CHUNK_LINE_BYTES 18
size_t h1_print_chunk_line(char *out, uint64_t size_bytes);

/* The last chunk with trailers and the end of the body; trailers may be NULL. */
size_t h1_last_chunk_size(const struct fields *trailers);
size_t h1_print_last_chunk(char *out, const struct fields *trailers);

#endif
