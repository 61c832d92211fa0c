/* load: what the disk has of a key, brought back into the index: every variant's head, and the body
 * where both are one value. The rest of a body is read when it is asked for.
 *
 * Stands in the index as a fetch does: a pending object, for which others wait. It ends as LOADED
 * whatever was found, and who waited looks again. Belongs to the worker that began it, and frees
 * itself. */
#ifndef VERGE_CACHE_LOAD_H
#define VERGE_CACHE_LOAD_H

#include "cache/index.h"

struct worker;

/* pending: as index_lookup gave it, with LOOKUP_LOAD; a reference is taken. ended is called when
 * nothing of it is left. */
void load_start(struct index *ix, struct worker *w, struct object *pending,
                void (*ended)(void *owner), void *owner);

#endif
