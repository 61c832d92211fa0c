/* disk_value: what a value of the log looks like: a header, bytes of a body, bytes of a head.
 *
 * An object has a value for each chunk of its body but the last, and one with that and the head;
 * where these do not fit together, one for each. So a small object is one value. The header says
 * whose the value is, so that a page which has become another's is told from the one that was
 * looked for, and its checksum covers all but itself. */
#ifndef VERGE_CACHE_DISK_VALUE_H
#define VERGE_CACHE_DISK_VALUE_H

#include "cache/directory.h"
#include "cache/disk_log.h"
#include "edge/base/checksum.h"

#define DISK_MAGIC 0x56524731u

struct disk_value {
    struct checksum checksum; /* of what follows it */
    uint32_t magic;
    uint32_t chunk; /* STORED_HEAD where there is no body */
    uint64_t id, hash;
    uint32_t body_bytes, head_bytes;
};

/* Bytes of body in each chunk but the last. */
#define DISK_CHUNK_BYTES (DISK_VALUE_BYTES - sizeof(struct disk_value))

static inline uint32_t disk_chunk_count(uint64_t body_bytes)
{
    return (uint32_t)((body_bytes + DISK_CHUNK_BYTES - 1) / DISK_CHUNK_BYTES);
}

/* Bytes of the value with that chunk, of an object that has more than one value. */
static inline uint32_t disk_chunk_size(uint64_t body_bytes, uint32_t chunk)
{
    uint64_t left = body_bytes - chunk * (uint64_t)DISK_CHUNK_BYTES;
    return (uint32_t)(sizeof(struct disk_value) +
                      (left < DISK_CHUNK_BYTES ? left : DISK_CHUNK_BYTES));
}

/* Computes the checksum of a value that is otherwise ready. */
void disk_value_seal(char *value);
/* Whether bytes are a whole value of that object: the chunk, or, with STORED_HEAD, its head. */
bool disk_value_check(struct slice bytes, const struct stored *s, uint32_t chunk,
                      struct disk_value *out);
/* Whether bytes begin with a whole value at all. */
bool disk_value_read(struct slice bytes, struct disk_value *out);

#endif
