#include "cache/disk_log.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

/* A smaller value would share a page with others, and move with them: LMDB keeps values of up to
 * half a page in the leaves of its tree. */
#define LEAST_BYTES (DISK_PAGE_BYTES / 2)

#define PREFETCH_GAP_PAGES 4

/* LMDB's page header, of which the layout above needs these (mdb.c of 0.9: struct MDB_page). */
#define PAGE_HEADER_BYTES 16
#define PAGE_FLAGS_AT     10
#define PAGE_OVERFLOW     0x04

/* Pages at the file's end that a transaction took and gave back are never written. */
#define UNWRITTEN_BYTES (1u << 20)

/* ---- opening ---- */

/* Sequence of the newest value, and what all take. */
static int read_extent(struct disk_log *l)
{
    MDB_val key, value;
    MDB_stat stat;
    int rc = mdb_stat(l->txn, l->dbi, &stat);
    if (rc) return rc;
    if (stat.ms_psize != DISK_PAGE_BYTES) return MDB_VERSION_MISMATCH;
    l->used_bytes = (uint64_t)stat.ms_overflow_pages * DISK_PAGE_BYTES;
    rc = mdb_cursor_get(l->cursor, &key, &value, MDB_LAST);
    l->next = 1;
    if (rc == MDB_NOTFOUND) return 0;
    if (rc) return rc;
    memcpy(&l->next, key.mv_data, sizeof l->next);
    l->next++;
    return 0;
}

/* What is known of LMDB's file is true of the version that this was written for. One that is full
 * was begun by it. */
static int check_layout(struct disk_log *l)
{
    char *at;
    uint32_t page;
    int rc = disk_log_append(l, DISK_VALUE_BYTES, &at, &page);
    if (rc) return rc == MDB_MAP_FULL ? 0 : rc;
    uint16_t flags;
    memcpy(&flags, at - PAGE_HEADER_BYTES + PAGE_FLAGS_AT, sizeof flags);
    return flags & PAGE_OVERFLOW && page ? 0 : MDB_VERSION_MISMATCH;
}

static int open_database(struct disk_log *l)
{
    if (disk_log_is_cut(l->env, &l->least_bytes)) return MDB_CORRUPTED;
    int rc = mdb_env_get_fd(l->env, &l->fd);
    if (!rc) rc = mdb_txn_begin(l->env, NULL, 0, &l->txn);
    if (rc) return rc;
    rc = mdb_dbi_open(l->txn, NULL, MDB_INTEGERKEY, &l->dbi);
    if (!rc) rc = mdb_cursor_open(l->txn, l->dbi, &l->cursor);
    if (!rc) rc = read_extent(l);
    if (!rc && l->used_bytes < l->limit_bytes) rc = check_layout(l);
    disk_log_abort(l);
    if (rc) return rc;
    rc = mdb_txn_begin(l->env, NULL, 0, &l->txn); /* so that the handle stays */
    if (!rc) rc = mdb_dbi_open(l->txn, NULL, MDB_INTEGERKEY, &l->dbi);
    return rc ? rc : disk_log_commit(l);
}

int disk_log_open(struct disk_log *l, const char *path, uint64_t size_bytes)
{
    *l = (struct disk_log){ .limit_bytes = size_bytes / 100 * 95, .fd = -1 };
    /* Not MDB_NOMEMINIT: what others have left in memory is not for the disk. */
    const unsigned flags = MDB_NOSUBDIR | MDB_NOSYNC | MDB_NORDAHEAD | MDB_NOTLS | MDB_NOLOCK;
    int rc = mdb_env_create(&l->env);
    if (!rc) rc = mdb_env_set_assert(l->env, disk_log_on_assert);
    if (!rc) rc = mdb_env_set_mapsize(l->env, size_bytes / DISK_PAGE_BYTES * DISK_PAGE_BYTES);
    if (!rc) rc = mdb_env_open(l->env, path, flags, 0600);
    if (!rc) rc = open_database(l);
    if (rc) disk_log_close(l);
    return rc;
}

void disk_log_close(struct disk_log *l)
{
    disk_log_abort(l);
    if (l->env) mdb_env_close(l->env);
    l->env = NULL;
}

int disk_log_sync(struct disk_log *l)
{
    return mdb_env_sync(l->env, 1);
}

/* ---- transactions ---- */

static void close_cursor(struct disk_log *l)
{
    if (l->cursor) mdb_cursor_close(l->cursor);
    l->cursor = NULL;
}

/* Where the map begins LMDB does not tell; a page of it that knows its number does. Before anything
 * is put: what is new is not in the map. */
static void find_map(struct disk_log *l)
{
    MDB_val key, value;
    size_t number;
    if (l->map || mdb_cursor_get(l->cursor, &key, &value, MDB_FIRST)) return;
    const char *page = (const char *)value.mv_data - PAGE_HEADER_BYTES;
    memcpy(&number, page, sizeof number);
    l->map = page - number * DISK_PAGE_BYTES;
}

bool disk_log_is_cut(struct MDB_env *env, uint64_t *least_bytes)
{
    int fd;
    struct stat file;
    MDB_envinfo info;
    if (mdb_env_get_fd(env, &fd) || fstat(fd, &file) < 0 || mdb_env_info(env, &info)) return true;
    uint64_t size = (uint64_t)file.st_size;
    uint64_t pages = ((uint64_t)info.me_last_pgno + 1) * DISK_PAGE_BYTES;
    bool cut = *least_bytes ? size < *least_bytes : size + UNWRITTEN_BYTES < pages;
    *least_bytes = size;
    return cut;
}

int disk_log_begin(struct disk_log *l)
{
    if (disk_log_is_cut(l->env, &l->least_bytes)) return MDB_CORRUPTED;
    int rc = mdb_txn_begin(l->env, NULL, 0, &l->txn);
    if (rc) {
        l->txn = NULL;
        return rc;
    }
    rc = mdb_cursor_open(l->txn, l->dbi, &l->cursor);
    if (!rc) rc = read_extent(l);
    if (rc)
        disk_log_abort(l);
    else
        find_map(l);
    return rc;
}

int disk_log_commit(struct disk_log *l)
{
    close_cursor(l);
    int rc = mdb_txn_commit(l->txn);
    l->txn = NULL;
    return rc;
}

void disk_log_abort(struct disk_log *l)
{
    close_cursor(l);
    if (l->txn) mdb_txn_abort(l->txn);
    l->txn = NULL;
}

/* ---- values ---- */

int disk_log_append(struct disk_log *l, size_t size_bytes, char **at, uint32_t *page)
{
    if (size_bytes < LEAST_BYTES) size_bytes = LEAST_BYTES;
    MDB_val key = { sizeof l->next, &l->next }, value = { size_bytes, NULL };
    int rc = mdb_cursor_put(l->cursor, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (rc) return rc;
    size_t number;
    memcpy(&number, (char *)value.mv_data - PAGE_HEADER_BYTES, sizeof number);
    if (number > UINT32_MAX) return MDB_MAP_FULL;
    *at = value.mv_data;
    *page = (uint32_t)number;
    l->next++;
    l->used_bytes += disk_log_cost(size_bytes);
    return 0;
}

static void prefetch(struct disk_log *l, uint32_t from, uint32_t to)
{
    uint64_t at = (uint64_t)from * DISK_PAGE_BYTES, n = (uint64_t)(to - from) * DISK_PAGE_BYTES;
    if (n) posix_fadvise(l->fd, (off_t)at, (off_t)n, POSIX_FADV_WILLNEED);
}

/* LMDB only computes where the value is: as it lies in the map, its offset there is the file's. */
static bool value_at(struct disk_log *l, MDB_cursor_op which, struct disk_log_oldest *out)
{
    MDB_val key, value;
    if (!l->map || mdb_cursor_get(l->cursor, &key, &value, which)) return false;
    size_t at = (size_t)((char *)value.mv_data - l->map);
    *out = (struct disk_log_oldest){ .page = (uint32_t)(at / DISK_PAGE_BYTES),
                                     .size_bytes = (uint32_t)value.mv_size };
    return true;
}

bool disk_log_oldest(struct disk_log *l, struct disk_log_oldest *out)
{
    return value_at(l, MDB_FIRST, out);
}

bool disk_log_newest(struct disk_log *l, uint64_t bytes, struct disk_log_oldest *out)
{
    uint64_t seen = 0;
    bool any = value_at(l, MDB_LAST, out);
    while (any && (seen += disk_log_cost(out->size_bytes)) < bytes) {
        if (!value_at(l, MDB_PREV, out)) return value_at(l, MDB_FIRST, out);
    }
    return any;
}

bool disk_log_next(struct disk_log *l, struct disk_log_oldest *out)
{
    return value_at(l, MDB_NEXT, out);
}

/* Small values lie close together, and are asked for together. */
void disk_log_prefetch(struct disk_log *l, uint64_t bytes)
{
    struct disk_log_oldest v;
    uint32_t from = 0, to = 0;
    bool any = value_at(l, MDB_FIRST, &v);
    for (uint64_t seen = 0; any && seen < bytes; any = value_at(l, MDB_NEXT, &v)) {
        seen += disk_log_cost(v.size_bytes);
        if (v.page < to || v.page - to > PREFETCH_GAP_PAGES) {
            prefetch(l, from, to);
            from = v.page;
        }
        to = v.page + 1;
    }
    prefetch(l, from, to);
}

int disk_log_remove_oldest(struct disk_log *l)
{
    struct disk_log_oldest oldest;
    if (!disk_log_oldest(l, &oldest)) return MDB_NOTFOUND;
    int rc = mdb_cursor_del(l->cursor, 0);
    if (!rc) l->used_bytes -= disk_log_cost(oldest.size_bytes);
    return rc;
}

/* ---- errors ---- */

const char *disk_log_error(int error)
{
    return mdb_strerror(error);
}

void disk_log_on_assert(struct MDB_env *env, const char *text)
{
    (void)env, (void)text;
    raise(SIGBUS);
}

bool disk_log_is_full(int error)
{
    return error == MDB_MAP_FULL;
}

/* LMDB's own errors have no other reason here: not to find a page, keys out of order. EFBIG is a
 * page number that no file has. */
bool disk_log_is_corrupt(int error)
{
    bool own = error >= MDB_KEYEXIST && error <= MDB_LAST_ERRCODE;
    return (own && error != MDB_MAP_FULL) || error == EINVAL || error == EFBIG;
}
