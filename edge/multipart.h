/* multipart: several ranges of an object as one body, multipart/byteranges (RFC 9110 section 14.6).
 */
#ifndef VERGE_EDGE_MULTIPART_H
#define VERGE_EDGE_MULTIPART_H

#include "cache/object.h"
#include "protocols/http/body.h"
#include "protocols/http/range.h"

struct multipart {
    struct body *body;
    int64_t length;            /* of all, delimiters included */
    struct slice content_type; /* with the boundary */
};

/* Everything lives in the arena; object's length is total_bytes. random: what the boundary is made
 * of. */
void multipart_open(struct multipart *m, struct object *o, const struct ranges *ranges,
                    int64_t total_bytes, struct scope *scope, struct arena *a, uint64_t random);

#endif
