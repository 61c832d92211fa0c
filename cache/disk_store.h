/* disk_store: a store's files below its folder (log, catalog, stamp, lock), opened and closed. For
 * the writer, and for who starts it. */
#ifndef VERGE_CACHE_DISK_STORE_H
#define VERGE_CACHE_DISK_STORE_H

#include "cache/disk.h"

/* Opens what is there, or makes it, and reads the catalog into the directory, unless keep is false:
 * then what was there is deleted. What cannot be trusted is deleted, what has another format is set
 * aside, and the log says so. 0, or an error as disk_log's; nothing is open then. */
int disk_store_open(struct disk *d, bool keep, uint64_t *highest_purge_seq);
/* Tells workers and metrics what the log takes now. */
void disk_store_tell_used(struct disk *d);
/* clean: all is synchronised, so that it is good after a restart of the machine. */
void disk_store_close(struct disk *d, bool clean);
/* Lets go of files that have failed, without touching them again: what is open of them stays. */
void disk_store_abandon(struct disk *d);

/* Whether somebody has removed or replaced the files of one that is open. */
bool disk_store_is_gone(const struct disk *d);
/* Lets another process have the folder. */
void disk_store_unlock(struct disk *d);
/* Whether the file system has no room for a batch. */
bool disk_store_is_full(const struct disk *d);

#endif
