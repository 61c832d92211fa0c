/* pool: small memory for libraries that ask for much of it and give it back soon.
 *
 * Free lists by size, for each thread its own: what one thread gives back, the same thread gets
 * again, without a lock and without looking for neighbours to join, as malloc does for all but its
 * smallest pieces. Memory may be given back on another thread than it came from. The functions have
 * the form in which nghttp2, nghttp3 and ngtcp2 take an allocator, and return NULL when memory is
 * out. */
#ifndef VERGE_BASE_POOL_H
#define VERGE_BASE_POOL_H

#include <stddef.h>

void *pool_malloc(size_t bytes, void *unused);
void *pool_calloc(size_t count, size_t bytes, void *unused);
void *pool_realloc(void *p, size_t bytes, void *unused);
void pool_free(void *p, void *unused);

/* For the members of nghttp2_mem, nghttp3_mem and ngtcp2_mem. */
#define POOL_MEMORY                                                                                \
    {                                                                                              \
        .malloc = pool_malloc, .free = pool_free, .calloc = pool_calloc, .realloc = pool_realloc   \
    }

/* Gives back what is kept for the calling thread, before it ends. */
void pool_free_spare(void);

#endif
