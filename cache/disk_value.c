#include "cache/disk_value.h"

static size_t size_of(const struct disk_value *v)
{
    return sizeof *v + (size_t)v->body_bytes + v->head_bytes;
}

static struct checksum checksum_of_value(const char *value, size_t size_bytes)
{
    size_t skipped = sizeof(struct checksum);
    return checksum_of(slice_of(value + skipped, size_bytes - skipped));
}

void disk_value_seal(char *value)
{
    struct disk_value v;
    memcpy(&v, value, sizeof v);
    v.checksum = checksum_of_value(value, size_of(&v));
    memcpy(value, &v.checksum, sizeof v.checksum);
}

bool disk_value_read(struct slice bytes, struct disk_value *out)
{
    if (bytes.n < sizeof *out) return false;
    memcpy(out, bytes.p, sizeof *out);
    if (out->magic != DISK_MAGIC || size_of(out) > bytes.n) return false;
    struct checksum sum = checksum_of_value(bytes.p, size_of(out));
    return checksum_eq(&sum, &out->checksum);
}

bool disk_value_check(struct slice bytes, const struct stored *s, uint32_t chunk,
                      struct disk_value *out)
{
    return disk_value_read(bytes, out) && out->id == s->id && out->hash == s->hash &&
           (chunk == STORED_HEAD ? out->head_bytes > 0 : out->chunk == chunk);
}
