/* upload: a request's body that may not grow beyond what its route allows, and that tells whether
 * there is anything in it before it is used. */
#ifndef VERGE_EDGE_UPLOAD_H
#define VERGE_EDGE_UPLOAD_H

#include "edge/base/arena.h"
#include "protocols/http/body.h"

/* A body in the arena over another, which it closes with itself. Beyond limit_bytes it fails with
 * -E_BODY_TOO_LARGE. */
struct body *upload_limit(struct body *inner, uint64_t limit_bytes, struct arena *a);
/* Whether it has a byte: pulls its first piece, which the next pull hands out. BODY_DATA: it has;
 * BODY_END: it is empty; BODY_WAIT and BODY_FAIL as body_pull. Not after a pull. */
enum body_result upload_probe(struct body *upload);

#endif
