/* admission: what the disk tier takes, and what it keeps. The policy alone: no I/O, no store.
 *
 * Most of what is fetched is never asked for again; written, it would wear the disk and push out
 * what is. So a response is written when its key is missed a second time. What was missed before is
 * remembered by a doorkeeper: Bloom filters in generations, each of them for as many keys as the
 * store is expected to hold twice over. The present one and the one before are asked; the next one
 * is swept meanwhile, a word for every few keys, so that no request pays for a rotation.
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

/* Takes 12 bytes for each expected object, and keeps a key in mind until 2 to 4 times as many other
 * keys were missed. */
void admission_init(struct admission *a, size_t expected_objects);
void admission_free(struct admission *a);

/* To be asked once for each response that may be stored and whose key was on neither tier: is it to
 * be written to the disk? used_bytes and limit_bytes: the store's. Remembers the key. */
bool admission_admits(struct admission *a, uint64_t hash, uint64_t used_bytes,
                      uint64_t limit_bytes);

/* The log's tail has reached an object: is it appended again? hits: since it was appended last.
 * pinned: somebody reads it, so its chunks must not go. */
static inline bool admission_keeps(unsigned hits, bool pinned)
{
    return pinned || hits >= 2;
}

#endif
