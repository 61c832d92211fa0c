/* admin_cache: the cache's figures, and a list of what is in it. Part of admin.
 *
 * The list comes a page at a time: the objects in memory, then those that only the disk has, each
 * page from where the one before ended. A page costs bounded work and memory, so it may be short,
 * or even empty, before the end: that is where there is no cursor any more. What changes while it
 * is listed may be missing, or twice. Of what only the disk has, key and head are on the disk and
 * not read; with a prefix it is not listed. */
#ifndef VERGE_EDGE_ADMIN_CACHE_H
#define VERGE_EDGE_ADMIN_CACHE_H

struct exchange;

/* {"memory":{budget, used, objects, pending}, "disk":null or {path, up, size, used, objects, queue,
 * read, written, dropped}}: bytes and counts. */
void admin_cache_stat(struct exchange *x);
/* {"objects":[rows of admin_row], "disk_listed":bool, "cursor":null or a string}. Parameters: limit
 * (1 to 1000; default 100), cursor (of the page before), prefix (of keys as they are shown). */
void admin_cache_list(struct exchange *x);
/* Evicts from memory all that the disk has as well. {"evicted":count, "queued":count}: the latter
 * are whole, and still on their way to the disk. */
void admin_cache_evict(struct exchange *x);

#endif
