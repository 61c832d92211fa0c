#include "edge/base/block.h"

#include <stdlib.h>

#include "edge/base/check.h"

struct block *block_new(size_t size_bytes)
{
    CHECK(size_bytes <= UINT32_MAX);
    struct block *b = malloc(sizeof *b + size_bytes);
    if (!b) return NULL;
    atomic_init(&b->references, 1);
    b->size_bytes = (uint32_t)size_bytes;
    return b;
}

/* glibc: 8 bytes of header, rounded up to 16, 32 at least; and a sixth for what lies free between
 * blocks of many sizes once they have come and gone for a while (bench/traffic shows it). */
size_t block_cost(size_t size_bytes)
{
    size_t n = (sizeof(struct block) + size_bytes + 8 + 15) & ~(size_t)15;
    return n < 32 ? 32 : n + n / 6;
}

void block_release(struct block *b)
{
    unsigned before = atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before == 1) free(b);
}
