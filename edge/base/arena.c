#include "edge/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/mem.h"

struct arena_chunk {
    struct arena_chunk *next;
    size_t size_bytes;
    _Alignas(16) char data[];
};

void arena_init(struct arena *a, size_t chunk_bytes)
{
    *a = (struct arena){ .chunk_bytes = chunk_bytes };
}

/* ---- chunks ---- */

#ifdef __SANITIZE_ADDRESS__
#define SPARE_MAX 0 /* so that no use after free is hidden */
#else
#define SPARE_MAX 256
#endif

static _Thread_local struct arena_chunk *spare;
static _Thread_local unsigned spare_count;

static struct arena_chunk *get_chunk(size_t size_bytes)
{
    struct arena_chunk *c = spare;
    if (!c || size_bytes != ARENA_CHUNK_BYTES) {
        c = xmalloc(sizeof *c + size_bytes);
        c->size_bytes = size_bytes;
        return c;
    }
    spare = c->next;
    spare_count--;
    return c;
}

static void put_chunk(struct arena_chunk *c)
{
    if (c->size_bytes != ARENA_CHUNK_BYTES || spare_count == SPARE_MAX) {
        free(c);
        return;
    }
    c->next = spare;
    spare = c;
    spare_count++;
}

void arena_free_spare(void)
{
    while (spare) {
        struct arena_chunk *c = spare;
        spare = c->next;
        free(c);
    }
    spare_count = 0;
}

/* ---- life ---- */

static void use_chunk(struct arena *a, struct arena_chunk *c)
{
    a->at = c->data;
    a->end = c->data + c->size_bytes;
}

static void add_chunk(struct arena *a, size_t size_bytes)
{
    if (size_bytes < a->chunk_bytes) size_bytes = a->chunk_bytes;
    struct arena_chunk *c = get_chunk(size_bytes);
    c->next = a->chunks;
    a->chunks = c;
    use_chunk(a, c);
}

void arena_reset(struct arena *a)
{
    if (!a->chunks) return;
    struct arena_chunk *c = a->chunks;
    while (c->next) {
        struct arena_chunk *next = c->next;
        put_chunk(c);
        c = next;
    }
    a->chunks = c;
    use_chunk(a, c);
}

void arena_free(struct arena *a)
{
    while (a->chunks) {
        struct arena_chunk *next = a->chunks->next;
        put_chunk(a->chunks);
        a->chunks = next;
    }
    a->at = a->end = NULL;
}

void *arena_alloc(struct arena *a, size_t size_bytes)
{
    size_bytes = (size_bytes + 15) & ~(size_t)15;
    if (!a->chunks || (size_t)(a->end - a->at) < size_bytes) add_chunk(a, size_bytes);
    void *p = a->at;
    a->at += size_bytes;
    return p;
}

void *arena_zalloc(struct arena *a, size_t size_bytes)
{
    return memset(arena_alloc(a, size_bytes), 0, size_bytes);
}

struct slice arena_copy(struct arena *a, struct slice s)
{
    return arena_concat(a, &s, 1);
}

struct slice arena_concat(struct arena *a, const struct slice *parts, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) total += parts[i].n;
    char *p = arena_alloc(a, total + 1), *at = p;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].n) memcpy(at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    *at = 0;
    return slice_of(p, total);
}

struct slice arena_printf(struct arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    CHECK(n >= 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, format, again);
    va_end(args);
    va_end(again);
    return slice_of(p, (size_t)n);
}
