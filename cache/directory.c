#include "cache/directory.h"

#include <stdlib.h>
#include <string.h>

#include "cache/admission.h"
#include "cache/object.h"
#include "edge/base/check.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"

#define BUCKETS_FIRST 64

static struct directory_shard *shard_of(struct directory *d, uint64_t hash)
{
    return &d->shards[hash >> 58];
}

static struct stored **bucket_of(struct directory_shard *sh, uint64_t hash)
{
    return &sh->buckets[hash & (sh->bucket_count - 1)];
}

/* ---- life ---- */

void directory_init(struct directory *d, struct budget *budget)
{
    d->budget = budget;
    atomic_init(&d->count, 0);
    for (int i = 0; i < DIRECTORY_SHARDS; i++) {
        struct directory_shard *sh = &d->shards[i];
        pthread_mutex_init(&sh->lock, NULL);
        sh->bucket_count = BUCKETS_FIRST;
        sh->count = 0;
        sh->buckets = xcalloc(sh->bucket_count, sizeof *sh->buckets);
    }
}

void directory_free(struct directory *d)
{
    for (int i = 0; i < DIRECTORY_SHARDS; i++) {
        struct directory_shard *sh = &d->shards[i];
        for (size_t b = 0; b < sh->bucket_count; b++) {
            while (sh->buckets[b]) {
                struct stored *s = sh->buckets[b];
                sh->buckets[b] = s->next;
                s->next = NULL;
                stored_drop(d, &s);
            }
        }
        free(sh->buckets);
        pthread_mutex_destroy(&sh->lock);
    }
}

static size_t cost_of(const struct stored *s)
{
    size_t pages = s->page_count ? block_cost(s->page_count * sizeof *s->pages) : 0;
    return block_cost(sizeof *s) + sizeof(void *) + pages;
}

struct stored *stored_new(struct directory *d, uint64_t hash, uint64_t id, uint32_t slice)
{
    struct stored *s = xcalloc(1, sizeof *s);
    s->hash = hash;
    s->id = id;
    s->slice = slice;
    atomic_init(&s->references, 1);
    budget_charge(d->budget, cost_of(s));
    return s;
}

struct stored *stored_hold(struct stored *s)
{
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return s;
}

void stored_drop(struct directory *d, struct stored **drop)
{
    struct stored *s = *drop;
    *drop = NULL;
    if (!s || atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) != 1) return;
    CHECK(!s->next);
    budget_refund(d->budget, cost_of(s));
    free(s->pages);
    free(s);
}

/* ---- the table ---- */

static void resize(struct directory_shard *sh, size_t bucket_count)
{
    struct stored **old = sh->buckets;
    size_t old_count = sh->bucket_count;
    sh->bucket_count = bucket_count;
    sh->buckets = xcalloc(bucket_count, sizeof *sh->buckets);
    for (size_t i = 0; i < old_count; i++) {
        while (old[i]) {
            struct stored *s = old[i], **bucket = bucket_of(sh, s->hash);
            old[i] = s->next;
            s->next = *bucket;
            *bucket = s;
        }
    }
    free(old);
}

void directory_reserve(struct directory *d, size_t count)
{
    size_t buckets = BUCKETS_FIRST;
    while (buckets < count / DIRECTORY_SHARDS) buckets *= 2;
    for (int i = 0; i < DIRECTORY_SHARDS; i++) {
        pthread_mutex_lock(&d->shards[i].lock);
        if (buckets > d->shards[i].bucket_count) resize(&d->shards[i], buckets);
        pthread_mutex_unlock(&d->shards[i].lock);
    }
}

void directory_add(struct directory *d, struct stored *s, unsigned flags)
{
    struct directory_shard *sh = shard_of(d, s->hash);
    pthread_mutex_lock(&sh->lock);
    if (sh->count >= sh->bucket_count) resize(sh, sh->bucket_count * 2);
    struct stored **bucket = bucket_of(sh, s->hash);
    s->flags = (uint8_t)(flags | STORED_LISTED);
    s->next = *bucket;
    *bucket = stored_hold(s);
    sh->count++;
    atomic_fetch_add_explicit(&d->count, 1, memory_order_relaxed);
    pthread_mutex_unlock(&sh->lock);
    metric_add(METRIC_DISK_OBJECTS, 1);
}

/* Takes it out of its bucket's chain; whoever does has the directory's reference now. */
static void take_out_locked(struct directory *d, struct directory_shard *sh, struct stored **at)
{
    struct stored *s = *at;
    *at = s->next;
    s->next = NULL;
    s->flags &= (uint8_t)~STORED_LISTED;
    sh->count--;
    atomic_fetch_sub_explicit(&d->count, 1, memory_order_relaxed);
    metric_add(METRIC_DISK_OBJECTS, -1);
}

static void unlist_locked(struct directory *d, struct directory_shard *sh, struct stored *s)
{
    struct stored **at = bucket_of(sh, s->hash);
    while (*at != s) at = &(*at)->next;
    take_out_locked(d, sh, at);
}

bool directory_forget(struct directory *d, struct stored *s)
{
    struct directory_shard *sh = shard_of(d, s->hash);
    pthread_mutex_lock(&sh->lock);
    bool listed = s->flags & STORED_LISTED;
    if (listed) unlist_locked(d, sh, s);
    pthread_mutex_unlock(&sh->lock);
    if (listed) stored_drop(d, &s);
    return listed;
}

/* ---- finding ---- */

static bool is_unloaded(const struct stored *s, uint64_t hash, uint32_t slice)
{
    return s->hash == hash && s->slice == slice && !(s->flags & (STORED_LOADED | STORED_FILLING));
}

static bool is_to_load(const struct stored *s, uint64_t hash, uint32_t slice)
{
    return is_unloaded(s, hash, slice) && !(s->flags & STORED_SILENT);
}

bool directory_has_unloaded(struct directory *d, uint64_t hash, uint32_t slice)
{
    struct directory_shard *sh = shard_of(d, hash);
    bool found = false;
    pthread_mutex_lock(&sh->lock);
    for (struct stored *s = *bucket_of(sh, hash); s && !found; s = s->next)
        found = is_to_load(s, hash, slice);
    pthread_mutex_unlock(&sh->lock);
    return found;
}

/* Keeps out sorted by number. */
static void insert(struct stored **out, unsigned n, struct stored *s)
{
    while (n > 0 && out[n - 1]->id > s->id) {
        out[n] = out[n - 1];
        n--;
    }
    out[n] = s;
}

unsigned directory_find(struct directory *d, uint64_t hash, uint32_t slice, struct stored **out,
                        unsigned max)
{
    struct directory_shard *sh = shard_of(d, hash);
    unsigned n = 0;
    pthread_mutex_lock(&sh->lock);
    for (struct stored *s = *bucket_of(sh, hash); s && n < max; s = s->next) {
        if (is_to_load(s, hash, slice)) insert(out, n++, stored_hold(s));
    }
    pthread_mutex_unlock(&sh->lock);
    return n;
}

unsigned directory_find_all(struct directory *d, uint64_t hash, struct stored **out, unsigned max)
{
    struct directory_shard *sh = shard_of(d, hash);
    unsigned n = 0;
    pthread_mutex_lock(&sh->lock);
    for (struct stored *s = *bucket_of(sh, hash); s && n < max; s = s->next) {
        if (s->hash == hash && !(s->flags & STORED_FILLING)) out[n++] = stored_hold(s);
    }
    pthread_mutex_unlock(&sh->lock);
    return n;
}

struct stored *directory_get(struct directory *d, uint64_t hash, uint64_t id)
{
    struct directory_shard *sh = shard_of(d, hash);
    pthread_mutex_lock(&sh->lock);
    struct stored *s = *bucket_of(sh, hash);
    while (s && (s->hash != hash || s->id != id)) s = s->next;
    if (s) stored_hold(s);
    pthread_mutex_unlock(&sh->lock);
    return s;
}

static bool is_meant(const struct stored *s, uint64_t hash, enum directory_forgetting which,
                     uint32_t slice, uint32_t variant)
{
    switch (which) {
    case FORGET_ALL: return s->hash == hash;
    case FORGET_SUPERSEDED:
        return is_unloaded(s, hash, slice) && (!variant || !s->variant || s->variant == variant);
    case FORGET_SLICES: return s->hash == hash && s->slice;
    }
    return false;
}

unsigned directory_forget_all(struct directory *d, uint64_t hash, enum directory_forgetting which,
                              uint32_t slice, uint32_t variant,
                              void (*gone)(void *context, struct stored *s), void *context)
{
    struct directory_shard *sh = shard_of(d, hash);
    struct stored *taken = NULL;
    unsigned n = 0;
    pthread_mutex_lock(&sh->lock);
    for (struct stored **at = bucket_of(sh, hash); *at;) {
        struct stored *s = *at;
        if (!is_meant(s, hash, which, slice, variant)) {
            at = &s->next;
            continue;
        }
        take_out_locked(d, sh, at);
        s->next = taken;
        taken = s;
        n++;
    }
    pthread_mutex_unlock(&sh->lock);
    while (taken) {
        struct stored *s = taken;
        taken = s->next;
        s->next = NULL;
        gone(context, s);
        stored_drop(d, &s);
    }
    return n;
}

/* A bucket at a time; one that does not fit whole into what is left of out comes with the next
 * call. */
static unsigned walk_bucket(struct directory_shard *sh, size_t bucket, struct stored **out,
                            unsigned max)
{
    unsigned n = 0;
    for (struct stored *s = sh->buckets[bucket]; s && n < max; s = s->next) {
        if (!(s->flags & STORED_FILLING)) out[n++] = stored_hold(s);
    }
    return n;
}

unsigned directory_walk(struct directory *d, struct directory_place *place, struct stored **out,
                        unsigned max)
{
    unsigned n = 0;
    while (n == 0 && place->shard < DIRECTORY_SHARDS) {
        struct directory_shard *sh = &d->shards[place->shard];
        pthread_mutex_lock(&sh->lock);
        while (n == 0 && place->bucket < sh->bucket_count)
            n = walk_bucket(sh, place->bucket++, out, max);
        bool over = place->bucket >= sh->bucket_count;
        pthread_mutex_unlock(&sh->lock);
        if (over) *place = (struct directory_place){ place->shard + 1, 0 };
    }
    return n;
}

static struct stored *take_all(struct directory *d, struct directory_shard *sh)
{
    struct stored *taken = NULL;
    pthread_mutex_lock(&sh->lock);
    for (size_t b = 0; b < sh->bucket_count; b++) {
        while (sh->buckets[b]) {
            struct stored *s = sh->buckets[b];
            take_out_locked(d, sh, &sh->buckets[b]);
            s->next = taken;
            taken = s;
        }
    }
    pthread_mutex_unlock(&sh->lock);
    return taken;
}

void directory_clear(struct directory *d)
{
    for (int i = 0; i < DIRECTORY_SHARDS; i++) {
        struct stored *taken = take_all(d, &d->shards[i]);
        while (taken) {
            struct stored *s = taken;
            taken = s->next;
            s->next = NULL;
            stored_drop(d, &s);
        }
    }
}

/* ---- one object ---- */

static uint32_t *place_of(struct stored *s, uint32_t chunk)
{
    if (chunk < s->page_count) return &s->pages[chunk];
    return chunk == STORED_HEAD || chunk == s->page_count ? &s->head_page : NULL;
}

bool stored_locate(struct directory *d, struct stored *s, uint32_t chunk, uint32_t *page,
                   uint32_t *head_size_bytes)
{
    struct directory_shard *sh = shard_of(d, s->hash);
    pthread_mutex_lock(&sh->lock);
    const uint32_t *at = place_of(s, chunk);
    if (at) *page = *at;
    *head_size_bytes = at == &s->head_page ? s->head_size_bytes : 0;
    pthread_mutex_unlock(&sh->lock);
    return at;
}

bool stored_move(struct directory *d, struct stored *s, uint32_t chunk, uint32_t from, uint32_t to)
{
    struct directory_shard *sh = shard_of(d, s->hash);
    pthread_mutex_lock(&sh->lock);
    uint32_t *at = place_of(s, chunk);
    bool there = at && *at == from;
    if (there) *at = to;
    pthread_mutex_unlock(&sh->lock);
    return there;
}

void stored_set_head(struct directory *d, struct stored *s, uint32_t page, uint32_t size_bytes,
                     uint32_t variant)
{
    struct directory_shard *sh = shard_of(d, s->hash);
    pthread_mutex_lock(&sh->lock);
    s->head_page = page;
    s->head_size_bytes = size_bytes;
    s->variant = variant;
    pthread_mutex_unlock(&sh->lock);
}

void stored_append_page(struct directory *d, struct stored *s, uint32_t page)
{
    struct directory_shard *sh = shard_of(d, s->hash);
    size_t before = cost_of(s);
    pthread_mutex_lock(&sh->lock);
    if ((s->page_count & (s->page_count - 1)) == 0) {
        size_t capacity = s->page_count ? s->page_count * 2 : 1;
        s->pages = xrealloc(s->pages, capacity * sizeof *s->pages);
    }
    s->pages[s->page_count++] = page;
    pthread_mutex_unlock(&sh->lock);
    budget_charge(d->budget, cost_of(s) - before);
}

void stored_set_flags(struct directory *d, struct stored *s, unsigned in, unsigned out)
{
    struct directory_shard *sh = shard_of(d, s->hash);
    pthread_mutex_lock(&sh->lock);
    s->flags = (uint8_t)((s->flags | in) & ~out);
    pthread_mutex_unlock(&sh->lock);
}

bool stored_pin(struct directory *d, struct stored *s)
{
    struct directory_shard *sh = shard_of(d, s->hash);
    pthread_mutex_lock(&sh->lock);
    bool listed = s->flags & STORED_LISTED;
    if (listed) atomic_fetch_add_explicit(&s->pins, 1, memory_order_relaxed);
    pthread_mutex_unlock(&sh->lock);
    return listed;
}

/* Decided once in a pass, for the first chunk; the others follow. */
static bool keeps(struct stored *s, uint32_t chunk, enum stored_keeping keeping)
{
    bool pinned = atomic_load(&s->pins) > 0 || s->flags & STORED_FILLING;
    bool decided = chunk != 0 && s->flags & STORED_KEEPING;
    bool wanted = decided || admission_keeps(atomic_load(&s->hits), pinned);
    bool keep = keeping == KEEP_WANTED ? wanted : keeping == KEEP_PINNED && pinned;
    if (chunk == 0 || !decided) atomic_store(&s->hits, 0);
    s->flags = (uint8_t)(keep ? s->flags | STORED_KEEPING : s->flags & ~STORED_KEEPING);
    return keep;
}

enum stored_fate stored_judge(struct directory *d, struct stored *s, uint32_t chunk, uint32_t page,
                              enum stored_keeping keeping)
{
    struct directory_shard *sh = shard_of(d, s->hash);
    pthread_mutex_lock(&sh->lock);
    const uint32_t *at = place_of(s, chunk);
    bool listed = s->flags & STORED_LISTED && at && *at == page;
    bool keep = listed && keeps(s, chunk, keeping);
    bool drop = listed && !keep;
    if (drop) unlist_locked(d, sh, s);
    pthread_mutex_unlock(&sh->lock);
    if (!drop) return keep ? FATE_KEPT : FATE_GONE;
    stored_drop(d, &s);
    return FATE_DROPPED;
}
