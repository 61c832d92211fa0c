/* disk_stamp: the small file that says what the two others of a store are: their format, and
 * whether they can be trusted.
 *
 * Nothing is synchronised while the store is in use. So a store that was not closed is whole if the
 * machine still runs that wrote it, and anything at all if it does not: the stamp has the machine's
 * boot. Errors are errno's. For one thread. */
#ifndef VERGE_CACHE_DISK_STAMP_H
#define VERGE_CACHE_DISK_STAMP_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/key.h"

enum disk_stamp_state {
    STAMP_NONE,      /* no store is there */
    STAMP_TRUSTED,   /* closed, or left behind since this machine has started */
    STAMP_UNTRUSTED, /* left behind by a machine that went down */
    STAMP_FOREIGN,   /* of another format */
};

struct disk_stamp {
    unsigned format;
    struct key_seed seed; /* of the keys' hashes */
};

/* Reads PATH/stamp. */
enum disk_stamp_state disk_stamp_read(const char *path, struct disk_stamp *out);
/* Writes it, so that it is on the disk when this returns: clean, or in use since this boot. */
int disk_stamp_write(const char *path, const struct disk_stamp *stamp, bool clean);
/* The store is not to be trusted any more. */
void disk_stamp_remove(const char *path);

#endif
