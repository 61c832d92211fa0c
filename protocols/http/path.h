/* path: the two forms of a request's path. Pure functions into an arena, any thread.
 *
 * path_key is RFC 3986 section 6.2.2 and nothing else: two spellings that every origin has to take
 * for one resource become one text. It is keyed, and the origin is sent exactly that.
 *
 * path_match is coarser: it joins all spellings that some origin may take for one resource. A route
 * is chosen by it, so that a spelling which an origin reads as "/account" meets the rules of
 * "/account"; nothing is keyed by it, and nobody is sent it. */
#ifndef VERGE_PROTOCOLS_HTTP_PATH_H
#define VERGE_PROTOCOLS_HTTP_PATH_H

#include "edge/base/arena.h"

/* For a path that begins with '/': unreserved octets decoded, hex digits of the other escapes in
 * upper case, then dot segments removed (sections 6.2.2.1 to 6.2.2.3, 5.2.4). *out borrows path if
 * nothing changes. False if a '%' does not begin an escape: what follows it can be read in two
 * ways. */
bool path_key(struct slice path, struct arena *a, struct slice *out);

/* The same for a path and its query, which stays as it is. */
bool target_key(struct slice target, struct arena *a, struct slice *out);

/* For what path_key gave: '/', '\', ';' and '.' decoded, also if they were escaped twice; '\' taken
 * for '/'; each segment cut at its first ';'; empty segments merged; dot segments removed again.
 * Borrows key if nothing changes. */
struct slice path_match(struct slice key, struct arena *a);

#endif
