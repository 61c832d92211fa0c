#include "edge/base/histogram.h"

#include "edge/base/check.h"

/* Bucket b begins where a value's exponent is (b + 1) / 2 and the bit below its highest is (b + 1)
 * % 2. */
static uint64_t lower_us(unsigned bucket)
{
    if (bucket == 0) return 0;
    unsigned n = bucket + 1;
    return (uint64_t)(2 + n % 2) << (n / 2) >> 1;
}

uint64_t histogram_limit_us(unsigned bucket)
{
    CHECK(bucket < HISTOGRAM_BUCKETS);
    return bucket == HISTOGRAM_BUCKETS - 1 ? UINT64_MAX : lower_us(bucket + 1);
}

uint64_t histogram_count(const struct histogram *h)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) count += h->counts[i];
    return count;
}

double histogram_percentile_us(const struct histogram *h, double share)
{
    double rank = share * (double)histogram_count(h);
    double before = 0;
    unsigned last = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        double here = (double)h->counts[i];
        if (here == 0) continue;
        last = i;
        if (before + here >= rank) break;
        before += here;
    }
    if (h->counts[last] == 0) return 0;
    double lower = (double)lower_us(last);
    if (last == HISTOGRAM_BUCKETS - 1) return lower;
    double inside = (rank - before) / (double)h->counts[last];
    return lower + inside * ((double)lower_us(last + 1) - lower);
}
