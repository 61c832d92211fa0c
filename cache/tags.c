#include "cache/tags.h"

#include "cache/key.h"
#include "protocols/http/value.h"

/* Surrogate-Key separates by spaces, Cache-Tag by commas. */
static char separator_of(enum field_id id)
{
    return id == FIELD_SURROGATE_KEY ? ' ' : ',';
}

static unsigned add_line(struct slice line, char separator, uint64_t out[TAGS_MAX], unsigned n)
{
    while (line.n && n < TAGS_MAX) {
        struct slice tag = slice_of(line.p, slice_find(line, separator));
        line = slice_skip(line, tag.n < line.n ? tag.n + 1 : tag.n);
        tag = slice_trim(tag);
        if (tag.n) out[n++] = key_hash(tag);
    }
    return n;
}

unsigned tags_of(const struct fields *f, uint64_t out[TAGS_MAX])
{
    unsigned n = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        enum field_id id = f->v[i].id;
        if (id == FIELD_SURROGATE_KEY || id == FIELD_CACHE_TAG)
            n = add_line(f->v[i].value, separator_of(id), out, n);
    }
    return n;
}
