/* A Range value, then a Content-Range value after a line feed: what is parsed is in bounds and
 * reads back as itself. */
#include "edge/base/check.h"
#include "protocols/http/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice print(const struct ranges *r, struct arena *a)
{
    struct slice text = SLICE("bytes=");
    for (unsigned i = 0; i < r->count; i++) {
        text = arena_printf(a, "%.*s%lld-%lld,", SLICE_ARGS(text), (long long)r->v[i].first,
                            (long long)r->v[i].last);
    }
    return text;
}

static void check_apart(const struct ranges *r)
{
    for (unsigned i = 0; i < r->count; i++) {
        for (unsigned j = 0; j < i; j++) {
            CHECK(r->v[i].last < r->v[j].first - 1 || r->v[j].last < r->v[i].first - 1);
        }
    }
}

static void check_range(struct slice value, int64_t length, struct arena *a)
{
    struct ranges r, again;
    if (range_parse(value, length, &r) != RANGE_SATISFIABLE) return;
    CHECK(r.count >= 1 && r.count <= RANGES_MAX);
    for (unsigned i = 0; i < r.count; i++) {
        CHECK(r.v[i].first >= 0 && r.v[i].first <= r.v[i].last && r.v[i].last < length);
    }
    check_apart(&r);
    CHECK(range_parse(print(&r, a), length, &again) == RANGE_SATISFIABLE);
    CHECK(again.count == r.count && memcmp(again.v, r.v, r.count * sizeof *r.v) == 0);
}

static void check_content_range(struct slice value, struct arena *a)
{
    struct content_range r, again;
    if (!content_range_parse(value, &r)) return;
    CHECK(r.first <= r.last && (r.length < 0 || r.last < r.length));
    CHECK(content_range_parse(content_range_format(r, a), &again));
    CHECK(again.first == r.first && again.last == r.last && again.length == r.length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t lengths[] = { 0, 1, 10, 1000, INT64_MAX };
    struct slice all = slice_of((const char *)data, size);
    struct slice range = slice_of(all.p, slice_find(all, '\n'));
    struct arena a;
    arena_init(&a, 4096);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        check_range(range, lengths[i], &a);
    }
    check_content_range(slice_skip(all, range.n < all.n ? range.n + 1 : range.n), &a);
    arena_free(&a);
    return 0;
}
