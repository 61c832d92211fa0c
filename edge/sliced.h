/* sliced: bytes of a representation as a body, out of its slices.
 *
 * Walks them one after the other, each found in the index, shared with whoever fetches it, or
 * fetched; the next one is asked for while one is read. It holds two objects at a time and what
 * readers hold, however long the representation is. Every slice must be of the representation it
 * was opened for: a stored one that is not goes, and is fetched; where what the origin has now is
 * another one, all stored slices of the old one go, and the body fails with
 * -E_REPRESENTATION_CHANGED. A slice that breaks off is asked for once more, and the body goes on
 * where it was. Belongs to its exchange's worker. */
#ifndef VERGE_EDGE_SLICED_H
#define VERGE_EDGE_SLICED_H

#include "cache/slices.h"
#include "edge/piece.h"
#include "protocols/http/body.h"

/* The bytes [first, end) of what *from names, as long as it is *of; at any place, whatever they
 * follow: 0 <= first < end <= of->length, which has SLICES_MAX slices at most. *from is borrowed
 * until close; *of is copied. o: the object of the slice that has first, where the caller has it,
 * else NULL. Slices must not be off in from's configuration (piece_slice_bytes). The body lives in
 * the arena. */
struct body *sliced_open(const struct piece_source *from, const struct representation *of,
                         uint64_t first, uint64_t end, struct object *o, struct arena *a);
/* All slices of what *from names are taken for gone: o, the newest one known, is of another
 * representation than those stored before. */
void sliced_forget(const struct piece_source *from, const struct object *o);

#endif
