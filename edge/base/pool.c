#include "edge/base/pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define STEP_BYTES 64
#define CLASSES    64 /* of 64, 128 ... 4096 bytes; what is larger goes to malloc */

#ifdef __SANITIZE_ADDRESS__
#define KEPT_BYTES 0 /* so that no use after free is hidden */
#else
#define KEPT_BYTES (2 * 1024 * 1024) /* by one thread */
#endif

/* Stands before what is handed out, which so is aligned as malloc aligns. */
struct chunk {
    _Alignas(16) unsigned class; /* CLASSES: malloc's own */
    uint32_t bytes;              /* that fit */
    struct chunk *next;          /* while it is free */
};

static _Thread_local struct chunk *spare[CLASSES];
static _Thread_local size_t kept_bytes;

static void *new_chunk(size_t class, size_t bytes)
{
    if (bytes > UINT32_MAX - sizeof(struct chunk)) return NULL;
    struct chunk *c = malloc(sizeof *c + bytes);
    if (!c) return NULL;
    c->class = (unsigned)class;
    c->bytes = (uint32_t)bytes;
    return c + 1;
}

void *pool_malloc(size_t bytes, void *unused)
{
    (void)unused;
    size_t class = bytes ? (bytes - 1) / STEP_BYTES : 0;
    if (class >= CLASSES) return new_chunk(CLASSES, bytes);
    struct chunk *c = spare[class];
    if (!c) return new_chunk(class, (class + 1) * STEP_BYTES);
    spare[class] = c->next;
    kept_bytes -= c->bytes;
    return c + 1;
}

void pool_free(void *p, void *unused)
{
    (void)unused;
    if (!p) return;
    struct chunk *c = (struct chunk *)p - 1;
    if (c->class == CLASSES || kept_bytes + c->bytes > KEPT_BYTES) {
        free(c);
        return;
    }
    c->next = spare[c->class];
    spare[c->class] = c;
    kept_bytes += c->bytes;
}

void *pool_calloc(size_t count, size_t bytes, void *unused)
{
    size_t all;
    if (__builtin_mul_overflow(count, bytes, &all)) return NULL;
    void *p = pool_malloc(all, unused);
    return p ? memset(p, 0, all) : NULL;
}

void *pool_realloc(void *p, size_t bytes, void *unused)
{
    size_t old = p ? ((struct chunk *)p - 1)->bytes : 0;
    if (p && bytes <= old) return p;
    void *larger = pool_malloc(bytes, unused);
    if (!larger || !p) return larger;
    memcpy(larger, p, old);
    pool_free(p, unused);
    return larger;
}

void pool_free_spare(void)
{
    for (size_t class = 0; class < CLASSES; class ++) {
        for (struct chunk *c = spare[class], *next; c; c = next) {
            next = c->next;
            free(c);
        }
        spare[class] = NULL;
    }
    kept_bytes = 0;
}
