/* accept: which content codings a request accepts (RFC 9110 section 12.5.3), folded to those this
 * node knows.
 *
 * Pure functions, any thread. Preference between accepted codings is not kept: the same few sets
 * have to serve as variants of a cached response, and the node's own order (zstd, br, gzip) is as
 * good. */
#ifndef VERGE_PROTOCOLS_HTTP_ACCEPT_H
#define VERGE_PROTOCOLS_HTTP_ACCEPT_H

#include "edge/base/slice.h"

enum coding {
    CODING_GZIP = 1,
    CODING_BR = 2,
    CODING_ZSTD = 4,
    CODING_IDENTITY = 8, /* acceptable unless refused: identity;q=0, or *;q=0 */
};

/* Set of enum coding a joined Accept-Encoding value accepts. An absent field (p == NULL) permits
 * anything by the letter, but in practice means a client that decodes nothing: identity only.
 * Malformed members are ignored. */
unsigned accept_encoding_parse(struct slice value);
/* The field value that says the same about the codings other than identity: "zstd, br, gzip", or
 * "identity" where there is none. Static memory. This is what a shared variant's key holds and what
 * the origin should be asked with. */
struct slice accept_encoding_text(unsigned codings);

#endif
