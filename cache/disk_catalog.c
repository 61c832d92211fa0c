#include "cache/disk_catalog.h"

#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

#include "cache/directory.h"
#include "edge/base/mem.h"

#define RESERVED_BYTES (16u << 20)

static int open_database(struct disk_catalog *c)
{
    if (disk_log_is_cut(c->env, &c->least_bytes)) return MDB_CORRUPTED;
    int rc = mdb_txn_begin(c->env, NULL, 0, &c->txn);
    if (rc) return rc;
    rc = mdb_dbi_open(c->txn, NULL, MDB_INTEGERKEY, &c->dbi);
    if (!rc) return disk_catalog_commit(c);
    disk_catalog_abort(c);
    return rc;
}

/* On a file system that somebody else has filled, objects can still be given up for others as long
 * as that can be recorded. Where the file system cannot do this, it is done without. */
static void reserve(struct disk_catalog *c, uint64_t size_bytes)
{
    int fd;
    uint64_t quarter = size_bytes / 4;
    off_t bytes = (off_t)(quarter < RESERVED_BYTES ? quarter : RESERVED_BYTES);
    if (mdb_env_get_fd(c->env, &fd) == 0) fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, bytes);
}

int disk_catalog_open(struct disk_catalog *c, const char *path, uint64_t size_bytes)
{
    *c = (struct disk_catalog){ 0 };
    int rc = mdb_env_create(&c->env);
    if (!rc) rc = mdb_env_set_assert(c->env, disk_log_on_assert);
    if (!rc) rc = mdb_env_set_mapsize(c->env, size_bytes / DISK_PAGE_BYTES * DISK_PAGE_BYTES);
    if (!rc)
        rc = mdb_env_open(c->env, path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOTLS | MDB_NOLOCK, 0600);
    if (!rc) rc = open_database(c);
    if (rc)
        disk_catalog_close(c);
    else
        reserve(c, size_bytes);
    return rc;
}

void disk_catalog_close(struct disk_catalog *c)
{
    disk_catalog_abort(c);
    if (c->env) mdb_env_close(c->env);
    c->env = NULL;
}

int disk_catalog_fd(const struct disk_catalog *c)
{
    int fd;
    return c->env && mdb_env_get_fd(c->env, &fd) == 0 ? fd : -1;
}

int disk_catalog_sync(struct disk_catalog *c)
{
    return mdb_env_sync(c->env, 1);
}

int disk_catalog_begin(struct disk_catalog *c)
{
    if (disk_log_is_cut(c->env, &c->least_bytes)) return MDB_CORRUPTED;
    int rc = mdb_txn_begin(c->env, NULL, 0, &c->txn);
    if (rc) c->txn = NULL;
    return rc;
}

int disk_catalog_commit(struct disk_catalog *c)
{
    int rc = mdb_txn_commit(c->txn);
    c->txn = NULL;
    return rc;
}

void disk_catalog_abort(struct disk_catalog *c)
{
    if (c->txn) mdb_txn_abort(c->txn);
    c->txn = NULL;
}

/* ---- records ---- */

/* What they say decides where memory ends, so they are looked at like everything from a disk. */
static struct checksum checksum_of_record(const char *value, size_t size_bytes)
{
    size_t skipped = sizeof(struct checksum);
    return checksum_of(slice_of(value + skipped, size_bytes - skipped));
}

static void seal(char *value, size_t size_bytes)
{
    struct checksum sum = checksum_of_record(value, size_bytes);
    memcpy(value, &sum, sizeof sum);
}

static bool is_intact(const MDB_val *value)
{
    if (value->mv_size < sizeof(struct disk_record)) return false;
    struct checksum sum = checksum_of_record(value->mv_data, value->mv_size);
    return memcmp(&sum, value->mv_data, sizeof sum) == 0;
}

int disk_catalog_put(struct disk_catalog *c, uint64_t id, const struct disk_record *r,
                     const uint32_t *pages)
{
    size_t tail = r->page_count * sizeof *pages;
    MDB_val key = { sizeof id, &id }, value = { sizeof *r + tail, NULL };
    int rc = mdb_put(c->txn, c->dbi, &key, &value, MDB_RESERVE);
    if (rc) return rc;
    char *at = mempcpy(value.mv_data, r, sizeof *r);
    if (tail) memcpy(at, pages, tail);
    seal(value.mv_data, value.mv_size);
    return 0;
}

int disk_catalog_move(struct disk_catalog *c, uint64_t id, uint32_t chunk, uint32_t page,
                      uint32_t size_bytes)
{
    struct disk_record r;
    MDB_val key = { sizeof id, &id }, old, value;
    int rc = mdb_get(c->txn, c->dbi, &key, &old);
    if (rc) return rc == MDB_NOTFOUND ? 0 : rc;
    if (!is_intact(&old)) return 0;
    char *copy = memcpy(xmalloc(old.mv_size), old.mv_data, old.mv_size);
    memcpy(&r, copy, sizeof r);
    if (chunk >= r.page_count) {
        r.head_page = page;
        r.head_size_bytes = size_bytes;
        memcpy(copy, &r, sizeof r);
    } else if (chunk < r.page_count) {
        memcpy(copy + sizeof r + chunk * sizeof page, &page, sizeof page);
    }
    seal(copy, old.mv_size);
    value = (MDB_val){ old.mv_size, copy };
    rc = mdb_put(c->txn, c->dbi, &key, &value, 0);
    free(copy);
    return rc;
}

int disk_catalog_remove(struct disk_catalog *c, uint64_t id)
{
    MDB_val key = { sizeof id, &id };
    int rc = mdb_del(c->txn, c->dbi, &key, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Records lie in the map as they are, but not where a struct may. */
struct loading {
    void (*record)(void *context, uint64_t id, const struct disk_record *r, const uint32_t *pages);
    void *context;
    uint32_t *pages;
    size_t page_capacity;
};

static void load_one(struct loading *l, const MDB_val *key, const MDB_val *value)
{
    struct disk_record r;
    uint64_t id;
    if (key->mv_size != sizeof id || !is_intact(value)) return;
    memcpy(&id, key->mv_data, sizeof id);
    memcpy(&r, value->mv_data, sizeof r);
    size_t tail = value->mv_size - sizeof r;
    if (tail != r.page_count * sizeof *l->pages) return;
    if (r.page_count > l->page_capacity) {
        l->page_capacity = r.page_count;
        l->pages = xrealloc(l->pages, tail);
    }
    if (tail) memcpy(l->pages, (char *)value->mv_data + sizeof r, tail);
    l->record(l->context, id, &r, l->pages);
}

static int load_all(struct disk_catalog *c, struct loading *l)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(c->txn, c->dbi, &cursor);
    if (rc) return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) load_one(l, &key, &value);
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int disk_catalog_load(struct disk_catalog *c, void (*count)(void *context, size_t n),
                      void (*record)(void *context, uint64_t id, const struct disk_record *r,
                                     const uint32_t *pages),
                      void *context)
{
    struct loading l = { .record = record, .context = context };
    MDB_stat stat;
    MDB_envinfo info;
    int rc = mdb_txn_begin(c->env, NULL, MDB_RDONLY, &c->txn);
    if (rc) return rc;
    rc = mdb_stat(c->txn, c->dbi, &stat);
    if (!rc) rc = mdb_env_info(c->env, &info);
    if (!rc) {
        size_t most = info.me_mapsize / sizeof(struct disk_record);
        count(context, stat.ms_entries < most ? stat.ms_entries : most);
        rc = load_all(c, &l);
    }
    disk_catalog_abort(c);
    free(l.pages);
    return rc;
}
