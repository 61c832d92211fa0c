#include "cache/admission.h"

#include <stdlib.h>

#include "edge/base/mem.h"

enum {
    GENERATIONS = 3,
    KEYS_PER_WORD = 4, /* 16 bits for each key, 4 of them set */
};

/* Second misses count while at most so many other keys were missed: a generation, up to two. */
#define STORE_BYTES_PER_KEY (256 * 1024)

void admission_init(struct admission *a, uint64_t limit_bytes)
{
    a->generation_words = limit_bytes / STORE_BYTES_PER_KEY / KEYS_PER_WORD + 1;
    a->words = xcalloc(GENERATIONS * a->generation_words, sizeof *a->words);
    atomic_init(&a->remembered, 0);
}

void admission_free(struct admission *a)
{
    free(a->words);
}

/* The generation in which key number `key` was, or will be, remembered. */
static uint64_t generation_of(const struct admission *a, uint64_t key)
{
    return key / (a->generation_words * KEYS_PER_WORD);
}

static _Atomic uint64_t *word_at(const struct admission *a, uint64_t generation, uint64_t i)
{
    return &a->words[generation % GENERATIONS * a->generation_words + i];
}

/* All bits of a key are in one word: one cache line to fetch, and one instruction tests and sets
 * them. The word comes from the upper bits of the hash, so the lower ones are free to choose bits.
 */
static uint64_t word_of(const struct admission *a, uint64_t hash)
{
    return (uint64_t)((unsigned __int128)hash * a->generation_words >> 64);
}

static uint64_t bits_of(uint64_t hash)
{
    return 1ull << (hash & 63) | 1ull << (hash >> 6 & 63) | 1ull << (hash >> 12 & 63) |
           1ull << (hash >> 18 & 63);
}

/* While a generation fills, the next one is emptied at the same pace. */
static void sweep(struct admission *a, uint64_t key)
{
    if (key % KEYS_PER_WORD) return;
    uint64_t i = key / KEYS_PER_WORD % a->generation_words;
    atomic_store_explicit(word_at(a, generation_of(a, key) + 1, i), 0, memory_order_relaxed);
}

static bool seen_before(struct admission *a, uint64_t hash)
{
    uint64_t i = word_of(a, hash), bits = bits_of(hash);
    uint64_t now = generation_of(a, atomic_load_explicit(&a->remembered, memory_order_relaxed));
    uint64_t known = atomic_fetch_or_explicit(word_at(a, now, i), bits, memory_order_relaxed);
    if ((known & bits) == bits) return true;
    sweep(a, atomic_fetch_add_explicit(&a->remembered, 1, memory_order_relaxed));
    uint64_t before = now + GENERATIONS - 1;
    known = atomic_load_explicit(word_at(a, before, i), memory_order_relaxed);
    return (known & bits) == bits;
}

/* Eviction keeps the store a little below its limit, so "not full" leaves it room. */
static bool is_filling(const struct admission_store *s)
{
    return s->used_bytes < s->limit_bytes - s->limit_bytes / 8;
}

/* Less than half of what is stored on average. Where all objects are of one size, none is small. */
static bool is_small(uint64_t size_bytes, const struct admission_store *s)
{
    return s->object_count && size_bytes < s->used_bytes / s->object_count / 2;
}

bool admission_admits(struct admission *a, uint64_t hash, uint64_t size_bytes,
                      const struct admission_store *store)
{
    bool seen = seen_before(a, hash);
    return seen || is_filling(store) || is_small(size_bytes, store);
}
