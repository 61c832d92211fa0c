/* Two lines: If-None-Match (or If-Match) of a request, and ETag of what is stored. Lists are read
 * as by a reading of their own here, in RFC 9110's words (sections 8.8.3, 13.1.1, 13.1.2): entity
 * tags between commas, or a star. */
#include <stdlib.h>

#include "edge/base/check.h"
#include "protocols/http/etag.h"
#include "protocols/http/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_etagc(char c)
{
    unsigned char u = (unsigned char)c;
    return u == '!' || (u >= 0x23 && u != 0x7f);
}

/* One tag at the front, or false. */
static bool take_tag(struct slice *s, struct etag *tag)
{
    struct slice rest = *s;
    tag->weak = slice_starts(rest, SLICE("W/"));
    if (tag->weak) rest = slice_skip(rest, 2);
    if (!slice_starts(rest, SLICE("\""))) return false;
    size_t n = 1;
    while (n < rest.n && is_etagc(rest.p[n])) n++;
    if (n == rest.n || rest.p[n] != '"') return false;
    tag->opaque = slice_of(rest.p + 1, n - 1);
    *s = slice_skip(rest, n + 1);
    return true;
}

static void check_one(struct slice value)
{
    struct etag tag, mine;
    struct slice rest = value;
    bool ok = etag_parse(value, &tag);
    bool should = take_tag(&rest, &mine) && rest.n == 0;
    CHECK(ok == should);
    if (!ok) return;
    CHECK(tag.weak == mine.weak && slice_eq(tag.opaque, mine.opaque));
    CHECK(etag_equal_weak(tag, tag) && etag_equal_strong(tag, tag) == !tag.weak);
}

static enum precondition judge(enum method method, struct slice name, struct slice value,
                               struct slice stored_tag, struct arena *a)
{
    struct request req = { .method = method };
    struct response stored = { .status = 200 };
    fields_add_named(&req.fields, a, name, value);
    if (stored_tag.n) fields_add_named(&stored.fields, a, SLICE("ETag"), stored_tag);
    return precondition_evaluate(&req, &stored);
}

/* A list of tags, cleanly separated, answers what its members by themselves do. */
static void check_list(struct slice list, struct slice stored_tag, struct arena *a)
{
    struct slice rest = list;
    bool any = false;
    struct etag tag;
    while (rest.n) {
        struct slice one = rest;
        if (!take_tag(&rest, &tag)) return;
        one.n -= rest.n;
        any |= judge(METHOD_GET, SLICE("If-None-Match"), one, stored_tag, a) != PRECONDITION_PASS;
        if (rest.n && !slice_starts(rest, SLICE(", "))) return;
        rest = slice_skip(rest, rest.n < 2 ? rest.n : 2);
    }
    enum precondition all = judge(METHOD_GET, SLICE("If-None-Match"), list, stored_tag, a);
    CHECK((all == PRECONDITION_NOT_MODIFIED) == any);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct slice all = slice_of((const char *)data, size);
    struct slice list = slice_of(all.p, slice_find(all, '\n'));
    struct slice tag = slice_skip(all, list.n < all.n ? list.n + 1 : list.n);
    arena_init(&a, 4096);
    check_one(list);
    check_one(tag);
    check_list(list, tag, &a);
    enum precondition put = judge(METHOD_PUT, SLICE("If-None-Match"), list, tag, &a);
    CHECK(put != PRECONDITION_NOT_MODIFIED);
    CHECK(judge(METHOD_GET, SLICE("If-Match"), list, tag, &a) != PRECONDITION_NOT_MODIFIED);
    arena_free(&a);
    return 0;
}
