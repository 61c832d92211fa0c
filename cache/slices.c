#include "cache/slices.h"

#include "protocols/http/etag.h"

uint64_t slices_end(uint32_t n, size_t slice_bytes, uint64_t length)
{
    uint64_t end = ((uint64_t)n + 1) * slice_bytes;
    return end < length ? end : length;
}

void slices_ask(const struct request *from, uint32_t n, size_t slice_bytes, struct arena *a,
                struct request *out)
{
    uint64_t first = (uint64_t)n * slice_bytes;
    struct slice range =
        arena_printf(a, "bytes=%llu-%llu", (unsigned long long)first,
                     (unsigned long long)slices_end(n, slice_bytes, UINT64_MAX) - 1);
    *out = *from;
    out->fields = (struct fields){ arena_alloc(a, (from->fields.n + 1) * sizeof *from->fields.v), 0,
                                   from->fields.n + 1 };
    for (uint32_t i = 0; i < from->fields.n; i++) {
        const struct field *f = &from->fields.v[i];
        bool goes = f->id == FIELD_RANGE || f->id == FIELD_IF_RANGE;
        if (!goes) out->fields.v[out->fields.n++] = *f;
    }
    fields_add(&out->fields, a, FIELD_RANGE, range);
}

static bool identify(const struct response *r, int64_t length, struct representation *out)
{
    struct etag tag;
    if (length < 0 || !etag_of(&r->fields, &tag) || tag.weak) return false;
    *out = (struct representation){ tag.opaque, fields_value(&r->fields, FIELD_CONTENT_ENCODING),
                                    length };
    return true;
}

bool slices_read(const struct response *r, uint32_t n, size_t slice_bytes,
                 struct representation *out)
{
    struct content_range told;
    struct slice range = fields_value(&r->fields, FIELD_CONTENT_RANGE);
    if (r->status != 206 || !content_range_parse(range, &told) || told.first < 0) return false;
    return r->length == told.last - told.first + 1 && identify(r, told.length, out) &&
           (uint64_t)told.first == (uint64_t)n * slice_bytes &&
           (uint64_t)told.last + 1 == slices_end(n, slice_bytes, (uint64_t)told.length);
}

bool slices_read_whole(const struct response *r, struct representation *out)
{
    return r->status == 200 && identify(r, r->length, out);
}

bool representation_equal(const struct representation *a, const struct representation *b)
{
    return slice_eq(a->etag, b->etag) && slice_eq_nocase(a->coding, b->coding) &&
           a->length == b->length;
}

struct representation representation_copy(const struct representation *of, struct arena *a)
{
    return (struct representation){ arena_copy(a, of->etag), arena_copy(a, of->coding),
                                    of->length };
}
