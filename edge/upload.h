/* upload: a request's body that may not grow beyond what its route allows. */
#ifndef VERGE_EDGE_UPLOAD_H
#define VERGE_EDGE_UPLOAD_H

#include "edge/base/arena.h"
#include "protocols/http/body.h"

/* A body in the arena over another, which it closes with itself. Beyond limit_bytes it fails with
 * -E_BODY_TOO_LARGE. */
struct body *upload_limit(struct body *inner, uint64_t limit_bytes, struct arena *a);

#endif
