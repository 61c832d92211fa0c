/* admin_row: an object of the cache as a line of JSON, with what is known of it.
 *
 * Members: key (key_readable); slice (its number, where it is one); tier (memory, disk or both:
 * where the bytes of the body are); state; status; size (bytes of the body, so far); age, ttl,
 * lifetime, stale_while_revalidate, stale_if_error (seconds); hits (since it is in memory); tags
 * (how many); variant (vary_readable). In full: vary, and fields as pairs of name and value. What
 * is not known is not there. */
#ifndef VERGE_EDGE_ADMIN_ROW_H
#define VERGE_EDGE_ADMIN_ROW_H

#include <stdio.h>

#include "cache/object.h"
#include "cache/record.h"

/* For what only the disk has, before its head is read: instead of its key, the hash that the disk
 * finds it by, in 16 hexadecimal digits. */
#define ADMIN_DISK_PREFIX "disk:"

/* One that is in the index. a: for scratch, like below. */
void admin_row_object(FILE *out, struct object *o, int64_t now_ms, bool full, struct arena *a);
/* What the directory knows. */
void admin_row_stored(FILE *out, const struct stored *s);
/* One of the disk, with its head; in full. */
void admin_row_record(FILE *out, const struct stored *s, const struct record *r, int64_t now_ms,
                      struct arena *a);

#endif
