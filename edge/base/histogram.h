/* histogram: how long things took, in 60 buckets of two per power of two: below 2 us, 3, 4, 6, 8,
 * 12, 16, ... 2^30 us (18 minutes), and above. A value lies within a third of what its bucket says.
 * Belongs to one thread; the metrics keep the same buckets in cells of their own. */
#ifndef VERGE_BASE_HISTOGRAM_H
#define VERGE_BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS 60 /* the last has no limit */

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t sum_us;
};

/* The bucket of a duration. */
static inline unsigned histogram_bucket(uint64_t us)
{
    if (us < 2) return 0;
    unsigned exponent = 63 - (unsigned)__builtin_clzll(us);
    unsigned bucket = 2 * exponent + (unsigned)((us >> (exponent - 1)) & 1) - 1;
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static inline void histogram_observe(struct histogram *h, uint64_t us)
{
    h->counts[histogram_bucket(us)]++;
    h->sum_us += us;
}

/* All of a bucket's durations are below this; UINT64_MAX for the last bucket. */
uint64_t histogram_limit_us(unsigned bucket);
uint64_t histogram_count(const struct histogram *h);
/* An estimate of the duration that a share (0..1) of all observations does not exceed, linear
 * inside a bucket; the last bucket counts as its lower end. 0 where nothing was observed. */
double histogram_percentile_us(const struct histogram *h, double share);

#endif
