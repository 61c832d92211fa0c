#include "cache/load.h"

#include <stdlib.h>

#include "cache/disk_read.h"
#include "cache/record.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/io/worker.h"

#define FOUND_MAX 16 /* of a key, at a time: who asks for another looks again */

struct load {
    struct scope scope;
    struct index *index;
    struct object *pending;
    struct stored *found[FOUND_MAX];
    unsigned count, next;
    struct disk_read read;
    void (*ended)(void *owner);
    void *owner;
};

/* Now that nothing is out, what was left alone may be tried again. */
static void on_idle(struct scope *scope)
{
    struct load *l = container_of(scope, struct load, scope);
    struct directory *directory = &l->index->disk->directory;
    for (; l->next < l->count; l->next++) {
        stored_set_flags(directory, l->found[l->next], 0, STORED_SILENT);
        stored_drop(directory, &l->found[l->next]);
    }
    l->ended(l->owner);
    free(l);
}

static void end(struct load *l)
{
    index_release(l->index, l->pending, 0);
    object_loaded(l->pending);
    object_drop(&l->pending);
    scope_close(&l->scope);
}

/* ---- an object from its head ---- */

static struct object *make_object(struct load *l, struct stored *place, const struct record *r,
                                  struct block *value)
{
    struct index *ix = l->index;
    bool keep = place->body_bytes <= ix->object_memory_max_bytes;
    struct payload *p = payload_new_stored(&ix->disk->directory, place, keep);
    const struct disk_value *v = &l->read.value;
    if (v->body_bytes) payload_keep(p, v->chunk, value);
    budget_charge(&ix->budget, p->cost_bytes);
    struct object *o = object_whole(&l->pending->key, &ix->budget, ix->window_bytes, p, &r->head,
                                    &r->freshness, r->vary, r->vary_key, r->purge_seq);
    payload_drop(p);
    object_set_trailers(o, &r->trailers);
    return o;
}

/* What is another key's, or no head at all, is forgotten: nobody could use it. */
static void take(struct load *l, struct stored *place, struct block *block)
{
    const struct disk_value *v = &l->read.value;
    struct slice head = slice_of(block->data + sizeof *v + v->body_bytes, v->head_bytes);
    struct arena arena;
    struct record r;
    arena_init(&arena, 4096);
    if (record_read(head, &arena, &r) && slice_eq(r.key, l->pending->key.text)) {
        struct object *o = make_object(l, place, &r, block);
        if (index_insert_loaded(l->index, o, place)) metric_add(METRIC_DISK_LOADS, 1);
        object_drop(&o);
    } else {
        disk_read_failed(l->index->disk, place, "its head is not this key's");
    }
    arena_free(&arena);
}

/* ---- one after the other ---- */

static void on_head(struct disk_read *read, struct block *block);

static void go_on(struct load *l)
{
    if (l->next < l->count)
        disk_read_start(&l->read, l->index->disk, l->found[l->next], STORED_HEAD, &l->scope,
                        on_head);
    else
        end(l);
}

/* The disk does not answer. What else there is of the key is not tried until the read has ended:
 * who waited is not to wait for each. */
static void give_up(struct load *l)
{
    for (unsigned i = l->next; i < l->count; i++)
        stored_set_flags(&l->index->disk->directory, l->found[i], STORED_SILENT, 0);
    end(l);
}

static void on_head(struct disk_read *read, struct block *block)
{
    struct load *l = container_of(read, struct load, read);
    struct stored **place = &l->found[l->next++];
    if (block) take(l, *place, block);
    if (block) block_release(block);
    stored_drop(&l->index->disk->directory, place);
    if (read->state == DISK_READ_UNANSWERED)
        give_up(l);
    else
        go_on(l);
}

void load_start(struct index *ix, struct worker *w, struct object *pending,
                void (*ended)(void *owner), void *owner)
{
    struct load *l = xcalloc(1, sizeof *l);
    l->index = ix;
    l->pending = object_hold(pending);
    l->ended = ended;
    l->owner = owner;
    scope_init(&l->scope, w, on_idle);
    const struct key *key = &pending->key;
    l->count = directory_find(&ix->disk->directory, disk_hash(ix->disk, key), key->slice, l->found,
                              FOUND_MAX);
    go_on(l);
}
