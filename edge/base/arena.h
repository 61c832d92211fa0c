/* arena: bump allocation for things that die together, such as all that belongs to one request.
 *
 * Owned by one exchange (or one parsed configuration), touched by its thread only. Nothing is freed
 * singly. The first chunk is kept by arena_reset; arena_free gives everything back. Each thread
 * keeps a few free chunks of the usual size, so that a request's arena costs no call of malloc. */
#ifndef VERGE_BASE_ARENA_H
#define VERGE_BASE_ARENA_H

#include <stddef.h>

#include "edge/base/slice.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    char *at, *end;
    size_t chunk_bytes;
};

#define ARENA_CHUNK_BYTES 4096 /* of chunks that are kept for reuse */

/* chunk_bytes: the usual size of a chunk. A larger request gets a chunk of its own. */
void arena_init(struct arena *a, size_t chunk_bytes);
void arena_reset(struct arena *a);
void arena_free(struct arena *a);
/* Gives back the chunks kept for the calling thread, before it ends. */
void arena_free_spare(void);

/* Aligned to 16 bytes, not zeroed; never NULL. */
void *arena_alloc(struct arena *a, size_t size_bytes);
void *arena_zalloc(struct arena *a, size_t size_bytes);
/* A copy of s in the arena; a NUL follows it, not counted. */
struct slice arena_copy(struct arena *a, struct slice s);
/* As printf, into the arena. */
struct slice arena_printf(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The slices of parts one after the other. */
struct slice arena_concat(struct arena *a, const struct slice *parts, size_t count);

#define arena_new(arena, type) ((type *)arena_zalloc((arena), sizeof(type)))

#endif
