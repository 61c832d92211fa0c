/* slices: a representation cut into aligned pieces of one size, the last one shorter, each fetched
 * and stored by itself (RFC 9111 sections 3.3 and 3.4).
 *
 * Pure functions: which slice holds a byte, how one is asked for, and whether a response is the one
 * that was asked for. What may be put together is what has the same strong entity tag, length and
 * coding; a Last-Modified does not count. */
#ifndef VERGE_CACHE_SLICES_H
#define VERGE_CACHE_SLICES_H

#include "protocols/http/range.h"

#define SLICES_MAX                                                                                 \
    (UINT32_MAX - 1) /* of one representation: their numbers are keyed in 32 bits                  \
                      */

/* What a slice is one of. Borrows from the head it was read from. */
struct representation {
    struct slice etag; /* strong; between the quotes */
    struct slice coding;
    int64_t length; /* of the whole */
};

static inline uint64_t slices_number(uint64_t offset, size_t slice_bytes)
{
    return offset / slice_bytes;
}
/* The offset behind slice n, of a representation of that length or longer. */
uint64_t slices_end(uint32_t n, size_t slice_bytes, uint64_t length);

/* Turns a request into one for slice n alone: other ranges and conditions on them go. The fields
 * are a copy in the arena. */
void slices_ask(const struct request *from, uint32_t n, size_t slice_bytes, struct arena *a,
                struct request *out);
/* Is this response exactly slice n, and can be told what of? */
bool slices_read(const struct response *r, uint32_t n, size_t slice_bytes,
                 struct representation *out);
/* The same of a response with all of it. */
bool slices_read_whole(const struct response *r, struct representation *out);
bool representation_equal(const struct representation *a, const struct representation *b);
struct representation representation_copy(const struct representation *of, struct arena *a);

#endif
