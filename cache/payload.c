#include "cache/payload.h"

#include <stdlib.h>

#include "cache/disk_value.h"
#include "edge/base/mem.h"

#define GATHER_MAX         1024 /* pieces of a body up to that size are copied behind one another */
#define GATHER_BLOCK_BYTES (16 * 1024)

struct payload *payload_new(void)
{
    struct payload *p = xcalloc(1, sizeof *p);
    atomic_init(&p->references, 1);
    return p;
}

struct payload *payload_new_stored(struct directory *d, struct stored *stored, bool keep)
{
    struct payload *p = payload_new();
    p->first = p->end = stored->body_bytes;
    payload_set_stored(p, d, stored);
    if (!keep) return p;
    p->slot_count = disk_chunk_count(p->end);
    p->slots = xcalloc(p->slot_count, sizeof *p->slots);
    if (p->slot_count > 1) p->cost_bytes = block_cost(p->slot_count * sizeof *p->slots);
    return p;
}

struct payload *payload_hold(struct payload *p)
{
    atomic_fetch_add_explicit(&p->references, 1, memory_order_relaxed);
    return p;
}

void payload_drop_first(struct payload *p)
{
    if (p->segments[0].block == p->gathering) p->gathering = NULL;
    p->first += p->segments[0].n;
    p->cost_bytes -= block_cost(p->segments[0].block->size_bytes);
    span_release(&p->segments[0]);
    p->count--;
    memmove(p->segments, p->segments + 1, p->count * sizeof *p->segments);
}

/* Gives back what the row costs when the last generation of the object goes. */
size_t payload_drop(struct payload *p)
{
    if (atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) != 1) return 0;
    size_t cost = p->cost_bytes;
    for (unsigned i = 0; i < p->count; i++) span_release(&p->segments[i]);
    for (uint32_t i = 0; i < p->slot_count; i++) {
        struct block *value = atomic_load_explicit(&p->slots[i], memory_order_relaxed);
        if (value) block_release(value);
    }
    struct stored *stored = payload_stored(p);
    stored_drop(p->directory, &stored);
    free(p->slots);
    free(p->segments);
    free(p);
    return cost;
}

/* Small pieces, such as many chunks, are copied behind one another: a row of crumbs would hold a
 * block for each and be slow to walk. */
static bool gather(struct payload *p, const struct span *s)
{
    struct span *last = p->count ? &p->segments[p->count - 1] : NULL;
    bool fits = last && p->gathering && last->block == p->gathering &&
                last->at + last->n + s->n <= p->gathering->size_bytes;
    if (!fits) return false;
    memcpy(p->gathering->data + last->at + last->n, span_slice(s).p, s->n);
    last->n += s->n;
    return true;
}

/* What it copies to has room for what will follow. */
static void begin_gathering(struct payload *p, struct span *s)
{
    struct block *b = block_new(GATHER_BLOCK_BYTES);
    if (!b) return;
    memcpy(b->data, span_slice(s).p, s->n);
    block_release(s->block);
    *s = (struct span){ b, 0, s->n };
    p->gathering = b;
}

/* Returns what the row costs more than before. */
size_t payload_append(struct payload *p, struct span *s)
{
    struct span *last = p->count ? &p->segments[p->count - 1] : NULL;
    p->end += s->n;
    if (last && last->block == s->block && last->at + last->n == s->at) {
        last->n += s->n;
        span_release(s);
        return 0;
    }
    if (s->n <= GATHER_MAX && gather(p, s)) {
        span_release(s);
        return 0;
    }
    if (s->n <= GATHER_MAX && p->count) begin_gathering(p, s);
    if (p->count == p->capacity) {
        p->capacity = p->capacity ? p->capacity * 2 : 1;
        p->segments = xrealloc(p->segments, p->capacity * sizeof *p->segments);
    }
    size_t cost = block_cost(s->block->size_bytes);
    p->cost_bytes += cost;
    p->segments[p->count++] = *s;
    *s = (struct span){ 0 };
    return cost;
}

/* Blocks are taken large while the length is unknown; a stored object should not keep the slack. */
size_t payload_compact(struct payload *p)
{
    size_t saved = 0;
    for (unsigned i = 0; i < p->count; i++) {
        struct span *s = &p->segments[i];
        size_t size = s->block->size_bytes;
        if (size - s->n <= size / 8) continue;
        struct block *b = block_new(s->n);
        if (!b) continue;
        memcpy(b->data, span_slice(s).p, s->n);
        saved += block_cost(size) - block_cost(s->n);
        block_release(s->block);
        *s = (struct span){ b, 0, s->n };
    }
    p->cost_bytes -= saved;
    return saved;
}

/* ---- on the disk ---- */

void payload_set_stored(struct payload *p, struct directory *d, struct stored *s)
{
    if (payload_stored(p)) return;
    p->directory = d;
    atomic_store_explicit(&p->stored, stored_hold(s), memory_order_release);
}

struct block *payload_slot(const struct payload *p, uint32_t chunk)
{
    return chunk < p->slot_count ? atomic_load_explicit(&p->slots[chunk], memory_order_acquire)
                                 : NULL;
}

size_t payload_keep(struct payload *p, uint32_t chunk, struct block *value)
{
    struct block *none = NULL;
    if (chunk >= p->slot_count) return 0;
    block_hold(value);
    if (!atomic_compare_exchange_strong(&p->slots[chunk], &none, value)) {
        block_release(value);
        return 0;
    }
    size_t cost = block_cost(value->size_bytes);
    atomic_fetch_add(&p->cost_bytes, cost);
    atomic_fetch_add(&p->slots_set, 1);
    return cost;
}

bool payload_is_resident(const struct payload *p)
{
    return p->first == 0 || (p->slots && atomic_load(&p->slots_set) == p->slot_count);
}
