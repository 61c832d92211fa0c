/* record: an object's head as bytes, for the disk: key, head, freshness, what varies, purge
 * sequence and trailers. Tags are among the fields.
 *
 * Pure functions. What is read may be anything: every length is checked, and what does not fit is
 * refused as a whole. Integers are the machine's; a store does not move between machines of
 * different kinds. */
#ifndef VERGE_CACHE_RECORD_H
#define VERGE_CACHE_RECORD_H

#include "cache/object.h"

#define RECORD_FIELDS_MAX 1024

/* A head as read: slices point into what was read, the field arrays into the arena. */
struct record {
    struct slice key;
    struct response head;
    struct freshness freshness;
    uint64_t purge_seq;
    struct slice vary, vary_key;
    struct fields trailers;
};

/* Bytes that record_write writes for an object whose head is set. */
size_t record_size(const struct object *o);
/* to has room for record_size. */
void record_write(const struct object *o, char *to);
/* False where the bytes are not a record. */
bool record_read(struct slice bytes, struct arena *a, struct record *out);

#endif
