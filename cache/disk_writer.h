/* disk_writer: the one thread that writes the store, and what is only for it. See disk.h. */
#ifndef VERGE_CACHE_DISK_WRITER_H
#define VERGE_CACHE_DISK_WRITER_H

#include "cache/disk.h"

/* Opens the store and starts the thread. */
void disk_writer_start(struct disk *d, uint64_t *highest_purge_seq);
/* Writes what is queued, synchronises and closes the store; ends the thread. */
void disk_writer_stop(struct disk *d);

#endif
