/* room: where there are as many client connections as there may be, the one that is idle longest is
 * closed for the next.
 *
 * Each worker closes its own; any worker may ask another one, by what that tells of its idle ones,
 * which may be a moment old. */
#ifndef VERGE_EDGE_ROOM_H
#define VERGE_EDGE_ROOM_H

#include <stdbool.h>

struct edge;

void room_init(struct edge *e);
/* Has the longest idle client connection of the node closed, whichever worker's it is. False where
 * none is idle, or the node stops. On e's worker. */
bool room_make(struct edge *e);

#endif
