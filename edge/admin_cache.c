#include "edge/admin_cache.h"

#include <inttypes.h>

#include "cache/index_walk.h"
#include "cache/key_text.h"
#include "edge/admin_reply.h"
#include "edge/admin_row.h"
#include "edge/base/error.h"
#include "edge/base/json.h"
#include "edge/base/metrics.h"
#include "edge/node.h"
#include "edge/query.h"
#include "protocols/http/value.h"

#define LIMIT_DEFAULT  100
#define LIMIT_MAX      1000
#define LOOK_MAX       4096 /* steps for one page: objects looked at, or empty stretches */
#define PAGE_BYTES_MAX (512u << 10)
#define CHAIN_MAX      64 /* of the directory's bucket */

static struct index *index_of(struct exchange *x)
{
    return &edge_of(x->worker)->node->index;
}

/* ---- figures ---- */

static void put_memory(FILE *out, struct index *ix)
{
    fprintf(out,
            "{\"memory\":{\"budget\":%zu,\"used\":%zu,\"objects\":%" PRId64 ",\"pending\":%" PRId64
            "}",
            (size_t)ix->budget.limit_bytes, (size_t)ix->budget.used_bytes,
            metric_sum(METRIC_CACHE_OBJECTS), metric_sum(METRIC_CACHE_PENDING));
}

static size_t queued_bytes(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    size_t n = d->queued_bytes;
    pthread_mutex_unlock(&d->lock);
    return n;
}

static int64_t dropped(void)
{
    int64_t n = 0;
    for (unsigned i = 0; i < METRIC_DISK_DROPS; i++) n += metric_sum_by(METRIC_DISK_DROPPED, i);
    return n;
}

static void put_disk(FILE *out, struct disk *d)
{
    fputs(",\n\"disk\":{\"path\":", out);
    json_put_string(out, slice_str(d->settings.path));
    fprintf(out, ",\"up\":%s,\"size\":%" PRIu64 ",\"used\":%" PRIu64 ",\"objects\":%" PRId64,
            atomic_load(&d->up) ? "true" : "false", d->settings.size_bytes,
            atomic_load(&d->used_bytes), metric_sum(METRIC_DISK_OBJECTS));
    fprintf(out, ",\"queue\":%zu,\"read\":%" PRId64 ",\"written\":%" PRId64 ",\"dropped\":%" PRId64,
            queued_bytes(d), metric_sum(METRIC_DISK_READ_BYTES),
            metric_sum(METRIC_DISK_WRITTEN_BYTES), dropped());
    fputs("}}\n", out);
}

void admin_cache_stat(struct exchange *x)
{
    struct admin_page page;
    struct disk *disk = index_of(x)->disk;
    const char *wrong = query_read(target_query(x->request.target), NULL, 0, &x->arena);
    if (wrong) {
        admin_refuse(x, wrong);
        return;
    }
    if (!admin_page_open(&page)) {
        admin_send_error(x, -E_NO_MEMORY);
        return;
    }
    put_memory(page.out, index_of(x));
    if (disk)
        put_disk(page.out, disk);
    else
        fputs(",\n\"disk\":null}\n", page.out);
    admin_page_send(x, &page, ADMIN_JSON);
}

/* ---- memory ---- */

void admin_cache_evict(struct exchange *x)
{
    const char *wrong = query_read(target_query(x->request.target), NULL, 0, &x->arena);
    unsigned queued, evicted;
    if (wrong) {
        admin_refuse(x, wrong);
        return;
    }
    evicted = index_evict_stored(index_of(x), &queued);
    admin_send_json(x,
                    arena_printf(&x->arena, "{\"evicted\":%u,\"queued\":%u}\n", evicted, queued));
}

/* ---- the list ---- */

/* Where a page ends and the next one begins. item: how many of the directory's bucket were listed.
 */
struct cursor {
    bool disk;
    struct index_place memory;
    struct directory_place directory;
    unsigned item;
};

struct listing {
    struct index *index;
    struct slice prefix;
    unsigned limit, rows, looked;
    struct cursor at;
    bool over;
    int64_t now_ms;
    struct arena arena; /* for one row */
    struct admin_page page;
};

static bool is_full(struct listing *l)
{
    return l->rows == l->limit || l->looked >= LOOK_MAX ||
           admin_page_bytes(&l->page) >= PAGE_BYTES_MAX;
}

static void begin_row(struct listing *l)
{
    fputs(l->rows++ ? ",\n" : "\n", l->page.out);
}

static void list_object(struct listing *l, struct object *o)
{
    bool listed = slice_starts(key_readable(o->key.text, &l->arena), l->prefix);
    if (listed && index_is_valid(l->index, o)) {
        begin_row(l);
        admin_row_object(l->page.out, o, l->now_ms, false, &l->arena);
    }
    arena_reset(&l->arena);
}

static void list_memory(struct listing *l)
{
    while (!is_full(l)) {
        struct object *o;
        if (!index_walk(l->index, &l->at.memory, &o)) {
            l->at.disk = true;
            return;
        }
        l->looked++;
        if (o) list_object(l, o);
        object_drop(&o);
    }
}

/* Of those the directory gives from a place on, as many as the page has room for. What stands for
 * one in memory has been listed there. Returns whether all were. */
static bool list_bucket(struct listing *l, struct stored **found, unsigned n)
{
    unsigned i = l->at.item;
    for (; i < n && !is_full(l); i++) {
        l->looked++;
        if (atomic_load(&found[i]->flags) & STORED_LOADED) continue;
        begin_row(l);
        admin_row_stored(l->page.out, found[i]);
    }
    l->at.item = i < n ? i : 0;
    return i >= n;
}

static void list_disk(struct listing *l)
{
    struct directory *d = &l->index->disk->directory;
    while (!is_full(l)) {
        struct stored *found[CHAIN_MAX];
        struct directory_place next = l->at.directory;
        unsigned n = directory_walk(d, &next, found, CHAIN_MAX);
        l->over = n == 0;
        if (l->over) return;
        if (list_bucket(l, found, n)) l->at.directory = next;
        for (unsigned i = 0; i < n; i++) stored_drop(d, &found[i]);
    }
}

static void put_cursor(FILE *out, const struct cursor *c)
{
    if (c->disk)
        fprintf(out, "\"d-%zu-%zu-%u\"", c->directory.shard, c->directory.bucket, c->item);
    else
        fprintf(out, "\"m-%u-%zu-%u\"", c->memory.shard, c->memory.bucket, c->memory.item);
}

/* Any numbers will do: a place that is none is the end of something. */
static bool read_cursor(struct slice text, struct cursor *c)
{
    int n = 0;
    sscanf(text.p, "m-%u-%zu-%u%n", &c->memory.shard, &c->memory.bucket, &c->memory.item, &n);
    if (n) return (size_t)n == text.n;
    c->disk = true;
    sscanf(text.p, "d-%zu-%zu-%u%n", &c->directory.shard, &c->directory.bucket, &c->item, &n);
    return n && (size_t)n == text.n;
}

static const char *read_parameters(struct exchange *x, struct listing *l)
{
    struct query_param p[] = { { .name = SLICE("limit") },
                               { .name = SLICE("cursor") },
                               { .name = SLICE("prefix") } };
    const char *wrong = query_read(target_query(x->request.target), p, 3, &x->arena);
    int64_t limit = p[0].value.p ? value_int64(p[0].value) : LIMIT_DEFAULT;
    if (wrong) return wrong;
    if (limit < 1 || limit > LIMIT_MAX) return "limit is a number from 1 to 1000";
    if (p[1].value.p && !read_cursor(p[1].value, &l->at))
        return "cursor is none that a page before ended with";
    l->limit = (unsigned)limit;
    l->prefix = p[2].value;
    return NULL;
}

/* What only the disk has has no key here that could begin with the prefix. */
static void put_list(struct listing *l)
{
    FILE *out = l->page.out;
    bool disk = l->index->disk, disk_listed = !disk || l->prefix.n == 0;
    fputs("{\"objects\":[", out);
    if (!l->at.disk) list_memory(l);
    if (l->at.disk && disk && disk_listed)
        list_disk(l);
    else
        l->over = l->at.disk;
    fprintf(out, "\n],\"disk_listed\":%s,\"cursor\":", disk_listed ? "true" : "false");
    if (l->over)
        fputs("null", out);
    else
        put_cursor(out, &l->at);
    fputs("}\n", out);
}

void admin_cache_list(struct exchange *x)
{
    struct listing l = { .index = index_of(x), .now_ms = x->worker->wall_ms };
    const char *wrong = read_parameters(x, &l);
    if (wrong) {
        admin_refuse(x, wrong);
        return;
    }
    if (!admin_page_open(&l.page)) {
        admin_send_error(x, -E_NO_MEMORY);
        return;
    }
    arena_init(&l.arena, ARENA_CHUNK_BYTES);
    put_list(&l);
    arena_free(&l.arena);
    admin_page_send(x, &l.page, ADMIN_JSON);
}
