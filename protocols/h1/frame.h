/* frame: the chunked transfer coding, taken apart in place (RFC 9112 section 7.1).
 *
 * A decoder belongs to one message and its thread. It allocates nothing but the trailer fields,
 * from the arena; body bytes are handed out as views into the input. It does no I/O and does not
 * know requests from responses.
 *
 * Strict: a size is 1 to 15 hexadecimal digits, behind it CRLF or extensions by their grammar,
 * which are skipped and bounded in all; every line ends in CRLF. */
#ifndef VERGE_PROTOCOLS_H1_FRAME_H
#define VERGE_PROTOCOLS_H1_FRAME_H

#include "protocols/h1/parse.h"

#define H1_CHUNK_SIZE_DIGITS     15
#define H1_CHUNK_EXTENSION_BYTES 16384 /* of one body */

enum h1_chunk { H1_CHUNK_MORE, H1_CHUNK_DATA, H1_CHUNK_END };

struct h1_chunked {
    uint64_t left_bytes;    /* of the current chunk, not yet handed out */
    struct fields trailers; /* valid after H1_CHUNK_END; live in the arena */

    /* The decoder's own. */
    int state;
    unsigned digits;
    size_t extension_bytes;
    char *trailer;
    size_t trailer_bytes, trailer_cap;
    const struct h1_limits *limits;
    struct arena *arena;
};

/* limits (head_bytes and field_count, for the trailers) and arena are borrowed and must outlive the
 * decoder. */
void h1_chunked_init(struct h1_chunked *c, const struct h1_limits *limits, struct arena *arena);

/* Takes bytes off the front of *in until something can be said:
 *
 * H1_CHUNK_DATA  *data is the next run of body bytes, not empty, a view into the input
 * H1_CHUNK_MORE  *in is used up and the body is not at its end
 * H1_CHUNK_END   the body and its trailers are complete; what remains in *in is not part of them.
 * Call no more.
 *
 * or -E_BAD_FRAMING, after which it must not be called again. The input may be cut anywhere. */
int h1_chunked_next(struct h1_chunked *c, struct slice *in, struct slice *data);

/* After an error: which rule the body breaks. in: what h1_chunked_next left of the input. */
struct h1_fault h1_chunked_fault(const struct h1_chunked *c, struct slice in);

/* The caller has read n bytes of the current chunk, at most left_bytes, straight to where they
 * belong. */
void h1_chunked_advance(struct h1_chunked *c, uint64_t n);

#endif
