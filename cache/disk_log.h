/* disk_log: the bodies on the disk, a log of values in an LMDB environment of its own.
 *
 * A value is appended behind the newest and removed from the oldest end only: so the free pages
 * stay in long runs, and both cost the same however large the log is. Each value occupies pages of
 * its own, one behind the other in the file, and stays there until it is removed: who knows its
 * page reads it from the file, without LMDB. The page of a removed value is not written to before
 * the second transaction after that.
 *
 * Nothing is synchronised to the disk but by disk_log_sync: the log survives the end of the process
 * at any moment, not that of the machine. Belongs to one thread, but for the descriptor. Errors are
 * LMDB's, or errno's: 0 is success, disk_log_error names them. After one within a transaction that
 * is to be aborted. */
#ifndef VERGE_CACHE_DISK_LOG_H
#define VERGE_CACHE_DISK_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_PAGE_BYTES 4096
/* Of the largest value: with the page's own header it fills sixteen pages. */
#define DISK_VALUE_BYTES (16 * DISK_PAGE_BYTES - 16)

struct MDB_env;
struct MDB_txn;
struct MDB_cursor;

struct disk_log {
    struct MDB_env *env;
    struct MDB_txn *txn; /* NULL: none is open */
    struct MDB_cursor *cursor;
    unsigned dbi;
    int fd;               /* of the file, to read from */
    const char *map;      /* of the file, LMDB's; NULL: not known yet */
    uint64_t next;        /* sequence of the next value */
    uint64_t limit_bytes; /* of values, as disk_log_used counts them */
    uint64_t used_bytes;
    uint64_t least_bytes; /* the file has had */
};

/* What is at the log's oldest end. */
struct disk_log_oldest {
    uint32_t page, size_bytes;
};

/* Opens or creates the file below path, which will not grow beyond size_bytes. */
int disk_log_open(struct disk_log *l, const char *path, uint64_t size_bytes);
void disk_log_close(struct disk_log *l);
int disk_log_sync(struct disk_log *l);

int disk_log_begin(struct disk_log *l);
int disk_log_commit(struct disk_log *l);
void disk_log_abort(struct disk_log *l);

/* Appends a value of size_bytes, at most DISK_VALUE_BYTES: to be written to *at before the next
 * call. */
int disk_log_append(struct disk_log *l, size_t size_bytes, char **at, uint32_t *page);
/* The oldest value; its bytes are not looked at. False where there is none. Not to be asked for
 * where only this transaction's are left: their page is not known here. */
bool disk_log_oldest(struct disk_log *l, struct disk_log_oldest *out);
/* Begins to read the first page of the oldest values, of so many bytes of them: whoever gives them
 * up looks at each. */
void disk_log_prefetch(struct disk_log *l, uint64_t bytes);
int disk_log_remove_oldest(struct disk_log *l);
/* The first of the newest values, which take that much together or are all there are; then the one
 * behind it, up to the newest. False at the end. */
bool disk_log_newest(struct disk_log *l, uint64_t bytes, struct disk_log_oldest *out);
bool disk_log_next(struct disk_log *l, struct disk_log_oldest *out);

/* Where a value's bytes begin in the file. */
static inline uint64_t disk_log_offset(uint32_t page)
{
    return (uint64_t)page * DISK_PAGE_BYTES + 16;
}
/* What a value takes from the limit. */
static inline uint64_t disk_log_cost(size_t size_bytes)
{
    return (size_bytes + 16 + DISK_PAGE_BYTES - 1) / DISK_PAGE_BYTES * DISK_PAGE_BYTES;
}

/* Whether a file is shorter than LMDB has left it: what is missing would be read as zeros once the
 * file grows again, which LMDB does not expect. *least_bytes: of the last time, 0 at first. */
bool disk_log_is_cut(struct MDB_env *env, uint64_t *least_bytes);

/* The error's text; its pointer is good for as long as the process. */
const char *disk_log_error(int error);
/* For what LMDB finds impossible, such as a page that was changed on the disk: raises SIGBUS, like
 * one that cannot be read. */
void disk_log_on_assert(struct MDB_env *env, const char *text);
bool disk_log_is_full(int error);    /* of this file's own limit */
bool disk_log_is_corrupt(int error); /* nothing more can be done with the file */

#endif
