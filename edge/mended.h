/* mended: a stored object as a body that goes on where the disk fails.
 *
 * Of a large object the head has long been sent when a chunk turns out to be unreadable. What is
 * left is then fetched in slices, if those are of the same representation beyond doubt (sliced.h);
 * else the body fails, and with it the response, as one that an origin broke off. Belongs to its
 * exchange's worker. */
#ifndef VERGE_EDGE_MENDED_H
#define VERGE_EDGE_MENDED_H

#include "cache/object.h"
#include "edge/piece.h"
#include "protocols/http/body.h"

/* Does its reader need the disk, or may it come to that while it fills? Larger bodies than
 * memory_max_bytes do. Then it is worth the trouble. */
bool mended_is_needed(const struct object *o, size_t memory_max_bytes);
/* The bytes [first, end) of o, UINT64_MAX for all there are; *from is borrowed until close, and
 * names what o is. The body lives in the arena. */
struct body *mended_open(struct object *o, const struct piece_source *from, uint64_t first,
                         uint64_t end, struct arena *a);

#endif
