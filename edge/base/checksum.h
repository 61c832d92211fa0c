/* checksum: tells whether bytes that were on a disk are still those that were written.
 *
 * Four CRC-32C (RFC 3720 section B.4), one over each quarter of the bytes: 128 bits, and four
 * streams that a processor computes side by side. It finds what a disk or a stale offset does to
 * data; it does not stand against somebody who means to deceive. Pure functions, any thread. */
#ifndef VERGE_BASE_CHECKSUM_H
#define VERGE_BASE_CHECKSUM_H

#include <stdint.h>

#include "edge/base/slice.h"

struct checksum {
    uint32_t quarters[4];
};

struct checksum checksum_of(struct slice bytes);
static inline bool checksum_eq(const struct checksum *a, const struct checksum *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

#endif
