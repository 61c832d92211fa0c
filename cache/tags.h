/* tags: what a response says it belongs to, so that all of it can be purged together: the words of
 * Surrogate-Key and the members of Cache-Tag. An object keeps them as hashes (key_hash), from its
 * first moment. Pure functions, any thread. */
#ifndef VERGE_CACHE_TAGS_H
#define VERGE_CACHE_TAGS_H

#include "protocols/http/field.h"

#define TAGS_MAX 128 /* of one response; more are ignored, from the end */

/* The hashes of the tags, in the order of the lines; returns how many. Case counts. */
unsigned tags_of(const struct fields *f, uint64_t out[TAGS_MAX]);

#endif
