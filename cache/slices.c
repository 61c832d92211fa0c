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

bool slices_read(const struct response *r, uint32_t n, size_t slice_bytes,
                 struct representation *out)
{
    struct content_range told;
    struct etag tag;
    if (r->status != 206 || !etag_of(&r->fields, &tag) || tag.weak) return false;
    if (!content_range_parse(fields_value(&r->fields, FIELD_CONTENT_RANGE), &told)) return false;
    if (told.first < 0 || told.length < 0 || r->length != told.last - told.first + 1) return false;
    *out = (struct representation){ tag.opaque, fields_value(&r->fields, FIELD_CONTENT_ENCODING),
                                    told.length };
    return (uint64_t)told.first == (uint64_t)n * slice_bytes &&
           (uint64_t)told.last + 1 == slices_end(n, slice_bytes, (uint64_t)told.length);
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
