/* structured: structured field dictionaries (RFC 9651, which includes RFC 8941), as far as a cache
 * reads them.
 *
 * Pure functions on slices, any thread. Parameters and the members of inner lists are checked for
 * form and dropped. */
#ifndef VERGE_PROTOCOLS_HTTP_STRUCTURED_H
#define VERGE_PROTOCOLS_HTTP_STRUCTURED_H

#include "edge/base/arena.h"
#include "edge/base/slice.h"

enum structured_type {
    STRUCTURED_BOOLEAN,
    STRUCTURED_INTEGER,
    STRUCTURED_DECIMAL,
    STRUCTURED_STRING,
    STRUCTURED_TOKEN,
    STRUCTURED_BYTES,
    STRUCTURED_DATE,
    STRUCTURED_DISPLAY_STRING,
    STRUCTURED_INNER_LIST,
};

struct structured_member {
    struct slice key;
    enum structured_type type;
    int64_t integer;   /* of an integer; of a boolean 0 or 1 */
    struct slice text; /* of a string (between the quotes, escapes untouched) or token */
};

/* Takes the next member off a dictionary's text: 1, or 0 at the end, or -1 where it is malformed,
 * whereupon the whole field has to be ignored. A key that comes twice is given twice: the last one
 * counts. */
int structured_dictionary_next(struct slice *rest, struct structured_member *out);

/* A byte sequence (RFC 9651 section 3.3.5): base64 between colons. */
struct slice structured_bytes(struct slice bytes, struct arena *a);

#endif
