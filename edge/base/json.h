/* json: the little of RFC 8259 that is needed: strings written, and a document taken apart.
 *
 * Pure functions. What is read may be anything: what is no document has no members. Bytes beyond
 * ASCII stand for U+0080 to U+00FF: who writes knows no encoding, and what is read back is what was
 * written. */
#ifndef VERGE_BASE_JSON_H
#define VERGE_BASE_JSON_H

#include <stdio.h>

#include "edge/base/arena.h"

/* Writes s as a string, with its quotes; any bytes will do. */
void json_put_string(FILE *out, struct slice s);

/* The value of an object's member, as it is written; false where there is none. */
bool json_member(struct slice object, const char *name, struct slice *value);
/* Takes the next element off an array, which begins with its bracket at first; false at its end. */
bool json_next(struct slice *array, struct slice *value);
/* A string's bytes; p == NULL where the value is none. */
struct slice json_string(struct slice value, struct arena *a);
/* A number's whole part; otherwise where it is none. */
int64_t json_integer(struct slice value, int64_t otherwise);

#endif
