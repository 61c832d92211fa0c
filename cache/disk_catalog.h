/* disk_catalog: what the log's values are, in an LMDB environment of its own: a record for each
 * object, by its number. It is written when an object is stored, moved or forgotten, never for a
 * reader, and read once, at start.
 *
 * It is apart from the log because small records punch holes into the log's runs of free pages. The
 * two are committed one after the other: a record is removed before its values are, and written
 * after them; so a value may be nobody's, but every record has its values. Belongs to one thread;
 * errors as disk_log's. */
#ifndef VERGE_CACHE_DISK_CATALOG_H
#define VERGE_CACHE_DISK_CATALOG_H

#include "cache/disk_log.h"
#include "edge/base/checksum.h"

struct disk_catalog {
    struct MDB_env *env;
    struct MDB_txn *txn;
    unsigned dbi;
    uint64_t least_bytes; /* the file has had */
};

/* An object on the disk, as it is written; the numbers of its chunks' pages follow it. */
struct disk_record {
    struct checksum checksum; /* of what follows it; the catalog's */
    uint64_t hash;            /* of its primary key, with the store's seed */
    uint64_t body_bytes;
    uint64_t purge_seq;                  /* current when its origin request began */
    uint32_t head_page, head_size_bytes; /* the value with its head */
    uint32_t slice;                      /* as in struct key */
    uint32_t page_count;                 /* of the chunks before those in the value with the head */
    uint32_t variant, unused;            /* as in struct stored */
};

int disk_catalog_open(struct disk_catalog *c, const char *path, uint64_t size_bytes);
void disk_catalog_close(struct disk_catalog *c);
int disk_catalog_sync(struct disk_catalog *c);
/* Of its file; -1 where it has none. */
int disk_catalog_fd(const struct disk_catalog *c);

int disk_catalog_begin(struct disk_catalog *c);
int disk_catalog_commit(struct disk_catalog *c);
void disk_catalog_abort(struct disk_catalog *c);

int disk_catalog_put(struct disk_catalog *c, uint64_t id, const struct disk_record *r,
                     const uint32_t *pages);
/* A value has moved; with STORED_HEAD the one with the head, which now has size_bytes. Where there
 * is no such record, that is well. */
int disk_catalog_move(struct disk_catalog *c, uint64_t id, uint32_t chunk, uint32_t page,
                      uint32_t size_bytes);
/* Likewise. */
int disk_catalog_remove(struct disk_catalog *c, uint64_t id);

/* Every record, in the order of their numbers; those that are malformed are left out. count is
 * called before, with how many there are. */
int disk_catalog_load(struct disk_catalog *c, void (*count)(void *context, size_t n),
                      void (*record)(void *context, uint64_t id, const struct disk_record *r,
                                     const uint32_t *pages),
                      void *context);

#endif
