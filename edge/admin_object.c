#include "edge/admin_object.h"

#include <inttypes.h>

#include "cache/disk_read.h"
#include "cache/index_walk.h"
#include "cache/key_text.h"
#include "cache/record.h"
#include "edge/admin_reply.h"
#include "edge/admin_row.h"
#include "edge/base/error.h"
#include "edge/node.h"
#include "edge/query.h"

#define VARIANTS_MAX   64
#define HEADS_MAX      32    /* read from the disk for one request */
#define SLICES_LOOKED  32768 /* numbers of slices that are looked for in memory */
#define PAGE_BYTES_MAX (512u << 10)

/* In its exchange's arena; what is in flight holds the exchange's scope. */
struct inquiry {
    struct exchange *x;
    struct index *index;
    struct key key;
    bool removes, ended;
    bool naming; /* the head that is read tells the key */

    struct admin_page page;
    unsigned rows;
    bool more;
    struct stored *found[HEADS_MAX]; /* references, from next on */
    unsigned count, next;
    struct disk_read read;

    struct disk_wait settling;
    unsigned removed;
};

static const struct slice nothing = SLICE("nothing is stored under that key\n");

/* ---- what is in memory ---- */

/* Calls take for each valid object of a key, until it returns false; returns how many it took. */
static unsigned each_variant(struct inquiry *q, const struct key *key,
                             bool (*take)(struct inquiry *q, struct object *o))
{
    struct object *v[VARIANTS_MAX];
    unsigned n = index_variants(q->index, key, v, VARIANTS_MAX), taken = 0;
    if (n == VARIANTS_MAX) q->more = true;
    for (unsigned i = 0; i < n; i++) {
        bool valid = index_is_valid(q->index, v[i]);
        if (valid && take(q, v[i])) taken++;
        object_drop(&v[i]);
    }
    return taken;
}

/* Likewise of its slices. Which there are is not written anywhere: one number after the other is
 * tried until they all were found. */
static unsigned each_slice(struct inquiry *q, bool (*take)(struct inquiry *q, struct object *o))
{
    unsigned there = q->key.slice ? 0 : index_slices(q->index, &q->key), taken = 0;
    struct arena arena;
    arena_init(&arena, ARENA_CHUNK_BYTES);
    for (uint32_t n = 0; n < SLICES_LOOKED && taken < there && !q->more; n++) {
        struct key key;
        key_slice(&q->key, n, &arena, &key);
        taken += each_variant(q, &key, take);
        arena_reset(&arena);
    }
    arena_free(&arena);
    return taken;
}

/* ---- removing ---- */

static void send_removed(struct inquiry *q)
{
    struct disk *disk = q->index->disk;
    bool lasting = !disk || atomic_load(&disk->up);
    struct slice text = arena_printf(&q->x->arena, "{\"removed\":%u,\"lasting\":%s}\n", q->removed,
                                     lasting ? "true" : "false");
    admin_send_json(q->x, text);
}

static void on_settled(struct note *n)
{
    struct inquiry *q = container_of(n, struct inquiry, settling.note);
    struct scope *scope = &q->x->scope;
    if (!q->ended) send_removed(q);
    scope_leave(scope);
}

/* Those with a place are counted as they are forgotten there. */
static bool count_unplaced(struct inquiry *q, struct object *o)
{
    struct stored *place = payload_stored(o->payload);
    if (!place || !stored_is_listed(place)) q->removed++;
    return true;
}

/* A slice by itself is nothing to keep the others without. */
static void remove_key(struct inquiry *q)
{
    struct disk *disk = q->index->disk;
    struct key key = q->key;
    key_whole(&key, &q->key);
    q->removed = 0;
    each_slice(q, count_unplaced);
    q->removed += index_invalidate(q->index, &q->key);
    q->settling.note.run = on_settled;
    if (q->removed == 0)
        admin_send_text(q->x, 404, nothing);
    else if (!disk || disk_is_settled(disk, &q->settling, q->x->worker))
        send_removed(q);
    else
        scope_enter(&q->x->scope);
}

/* ---- getting ---- */

static bool has_room(struct inquiry *q)
{
    if (admin_page_bytes(&q->page) >= PAGE_BYTES_MAX) q->more = true;
    return !q->more;
}

static void begin_row(struct inquiry *q)
{
    fputs(q->rows++ ? ",\n" : "{\"objects\":[\n", q->page.out);
}

static bool put_object(struct inquiry *q, struct object *o)
{
    if (!has_room(q)) return false;
    begin_row(q);
    admin_row_object(q->page.out, o, q->x->worker->wall_ms, true, &q->x->arena);
    return true;
}

/* What an object in memory stands for has been shown by it. */
static void find_stored(struct inquiry *q)
{
    struct disk *disk = q->index->disk;
    struct stored *all[HEADS_MAX];
    if (!disk) return;
    unsigned n = directory_find_all(&disk->directory, disk_hash(disk, &q->key), all, HEADS_MAX);
    if (n == HEADS_MAX) q->more = true;
    q->count = q->next = 0;
    for (unsigned i = 0; i < n; i++) {
        bool silent = stored_is_silent(all[i]), loaded = stored_is_loaded(all[i]);
        if (silent && !loaded) q->more = true;
        if (silent || loaded)
            stored_drop(&disk->directory, &all[i]);
        else
            q->found[q->count++] = all[i];
    }
}

static void finish(struct inquiry *q)
{
    if (q->rows == 0 && q->more) fputs("{\"objects\":[", q->page.out);
    if (q->rows == 0 && !q->more) {
        admin_page_drop(&q->page);
        admin_send_text(q->x, 404, nothing);
        return;
    }
    fprintf(q->page.out, "\n],\"more\":%s}\n", q->more ? "true" : "false");
    admin_page_send(q->x, &q->page, ADMIN_JSON);
}

static void on_head(struct disk_read *read, struct block *block);

static void drop_found(struct inquiry *q)
{
    while (q->next < q->count) stored_drop(&q->index->disk->directory, &q->found[q->next++]);
}

/* The next head, or the end. */
static void go_on(struct inquiry *q)
{
    if (q->next < q->count)
        disk_read_start(&q->read, q->index->disk, q->found[q->next], STORED_HEAD, &q->x->scope,
                        on_head);
    else
        finish(q);
}

static void get_key(struct inquiry *q)
{
    if (!admin_page_open(&q->page)) {
        admin_send_error(q->x, -E_NO_MEMORY);
        return;
    }
    each_variant(q, &q->key, put_object);
    each_slice(q, put_object);
    find_stored(q);
    go_on(q);
}

static void act(struct inquiry *q)
{
    if (q->removes)
        remove_key(q);
    else
        get_key(q);
}

/* ---- a head from the disk ---- */

/* Whatever it says: what is no slice's key must not be taken for one. */
static bool read_head(struct inquiry *q, const struct stored *s, const struct block *block,
                      struct record *r)
{
    const struct disk_value *v = &q->read.value;
    struct slice head = slice_of(block->data + sizeof *v + v->body_bytes, v->head_bytes);
    struct slice prefix = SLICE("slice ");
    return record_read(head, &q->x->arena, r) &&
           (!s->slice || (slice_starts(r->key, prefix) &&
                          slice_find(slice_skip(r->key, prefix.n), ' ') < r->key.n - prefix.n));
}

static void name_key(struct inquiry *q, const struct stored *s, const struct record *r)
{
    struct key key = { .text = arena_copy(&q->x->arena, r->key), .slice = s->slice };
    q->naming = false;
    key_whole(&key, &q->key);
}

/* A hash is the whole's, and all its slices'. */
static bool is_asked_for(const struct inquiry *q, const struct stored *s, const struct record *r)
{
    struct key key = { .text = r->key, .slice = s->slice };
    return slice_eq(q->key.slice ? key.text : key_whole_text(&key), q->key.text);
}

static void put_stored(struct inquiry *q, const struct stored *s, const struct record *r)
{
    if (!is_asked_for(q, s, r) || !has_room(q)) return;
    begin_row(q);
    admin_row_record(q->page.out, s, r, q->x->worker->wall_ms, &q->x->arena);
}

/* Nobody waits for an answer any more. */
static void give_up(struct inquiry *q)
{
    drop_found(q);
    admin_page_drop(&q->page);
}

/* The disk does not answer: what is known is told. The exchange lasts until the read has ended. */
static void go_without(struct inquiry *q)
{
    drop_found(q);
    q->more = true;
    if (q->naming)
        admin_send_text(q->x, 503, SLICE("the disk does not answer\n"));
    else
        finish(q);
}

static void on_head(struct disk_read *read, struct block *block)
{
    struct inquiry *q = container_of(read, struct inquiry, read);
    struct stored *s = q->found[q->next++];
    struct record r;
    bool known = block && !q->ended && read_head(q, s, block, &r);
    bool naming = q->naming;
    if (known && naming) name_key(q, s, &r);
    if (known && !naming) put_stored(q, s, &r);
    if (block) block_release(block);
    stored_drop(&q->index->disk->directory, &s);
    if (q->ended)
        give_up(q);
    else if (read->state == DISK_READ_UNANSWERED)
        go_without(q);
    else if (naming && !known)
        admin_send_text(q->x, 404, nothing);
    else if (naming)
        act(q);
    else
        go_on(q);
}

/* ---- which key ---- */

static bool read_hash(struct slice text, uint64_t *hash)
{
    int n = 0;
    if (text.n != sizeof ADMIN_DISK_PREFIX - 1 + 16) return false;
    sscanf(text.p, ADMIN_DISK_PREFIX "%16" SCNx64 "%n", hash, &n);
    return (size_t)n == text.n;
}

/* By any of those with that hash: but for one in 2^64, they are of one key. */
static void ask_disk(struct inquiry *q, uint64_t hash)
{
    struct disk *disk = q->index->disk;
    q->naming = true;
    q->count = disk ? directory_find_all(&disk->directory, hash, q->found, 1) : 0;
    if (q->count)
        go_on(q);
    else
        admin_send_text(q->x, 404, nothing);
}

static void begin(struct exchange *x, bool removes)
{
    struct inquiry *q = arena_new(&x->arena, struct inquiry);
    struct query_param key = { .name = SLICE("key") };
    const char *wrong = query_read(target_query(x->request.target), &key, 1, &x->arena);
    uint64_t hash;
    q->x = x;
    q->index = &edge_of(x->worker)->node->index;
    q->removes = removes;
    x->edge = q;
    if (wrong)
        admin_refuse(x, wrong);
    else if (!key.value.p)
        admin_refuse(x, "key is missing");
    else if (read_hash(key.value, &hash))
        ask_disk(q, hash);
    else if (key_from_readable(key.value, &x->arena, &q->key))
        act(q);
    else
        admin_refuse(x, "key is not of the form http://host/path?query, as objects are listed");
}

void admin_object_get(struct exchange *x)
{
    begin(x, false);
}

void admin_object_remove(struct exchange *x)
{
    begin(x, true);
}

void admin_object_end(struct exchange *x)
{
    struct inquiry *q = x->edge;
    q->ended = true;
}
