/* trailers: a body whose trailers are judged before anybody sees them, as the fields of its head
 * were: by the same names, by the same rules.
 *
 * Lives in the arena given and passes everything else through: it adds no buffer and no wait. The
 * thread is that of the body inside. */
#ifndef VERGE_EDGE_TRAILERS_H
#define VERGE_EDGE_TRAILERS_H

#include "edge/base/arena.h"
#include "protocols/http/body.h"

/* Takes out of the list what may not pass. by is the judge's own, and outlives the body. */
typedef void (*trailers_judge)(const void *by, struct fields *trailers);

/* Takes inner over: closing this closes it. */
struct body *trailers_judged(struct body *inner, trailers_judge judge, const void *by,
                             struct arena *a);

#endif
