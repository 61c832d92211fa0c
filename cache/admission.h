/* admission: what the disk tier takes, and what it keeps. The policy alone: no I/O, no store.
 *
 * Most of what is fetched is never asked for again; written, it would wear the disk and push out
 * what is. So a response is written when its key is asked for a second time: missed again within
 * the doorkeeper's memory, or hit in RAM while the disk does not have it. Two kinds are written at
 * once, as they cost little: everything while the store still fills, so that a new node is warm
 * after its first restart, and what is much smaller than the objects stored, since such are most of
 * the objects and few of the bytes.
 *
 * The doorkeeper is a Bloom filter in generations, the present one and the one before are asked. It
 * is short of memory on purpose: where a second miss comes long after the first, a third is not
 * likely before the log has come round (`make bench-cache` shows it). The next generation is swept
 * meanwhile, a word for every few keys, so that no request pays for a rotation.
 *
 * One per store. Any thread may ask, without a lock: bits lost to a race are a response written one
 * miss later. A key never remembered is taken for known in about one case of a hundred. Nothing
 * here outlives the process. */
#ifndef VERGE_CACHE_ADMISSION_H
#define VERGE_CACHE_ADMISSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct admission {
    _Atomic uint64_t *words;   /* three generations, one behind the other */
    uint64_t generation_words; /* of each */
    _Atomic uint64_t
        remembered; /* keys since the start; says which generation is the present one */
};

/* What the store holds at present, to be kept by its owner; a rough figure will do. */
struct admission_store {
    uint64_t used_bytes, limit_bytes, object_count;
};

/* A size not known yet. */
#define ADMISSION_SIZE_UNKNOWN UINT64_MAX

/* Takes 24 bytes for each MiB of the store. */
void admission_init(struct admission *a, uint64_t limit_bytes);
void admission_free(struct admission *a);

/* To be asked once for each response that may be stored and whose key was on neither tier: is it to
 * be written to the disk? Remembers the key. */
bool admission_admits(struct admission *a, uint64_t hash, uint64_t size_bytes,
                      const struct admission_store *store);

/* The log's tail has reached an object: is it appended again? hits: on either tier, since it was
 * appended last. pinned: somebody reads it, so its chunks must not go. */
static inline bool admission_keeps(unsigned hits, bool pinned)
{
    return pinned || hits >= 2;
}

#endif
