/* What the administrative listener and `verge cache` read: a query, and behind a line feed a JSON
 * document. What is written as JSON reads back as itself, what is percent-encoded too, and whatever
 * is read stays within what was given. */
#include <stdio.h>
#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/json.h"
#include "edge/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool within(struct slice part, struct slice whole)
{
    return part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

/* ---- queries ---- */

static void check_encoded(struct slice value, struct arena *a)
{
    struct query_param again = { .name = SLICE("key") };
    char *text = arena_alloc(a, 3 * value.n + 5), *at = text;
    at += sprintf(at, "key=");
    for (size_t i = 0; i < value.n; i++) at += sprintf(at, "%%%02x", (unsigned char)value.p[i]);
    CHECK(query_read(slice_of(text, (size_t)(at - text)), &again, 1, a) == NULL);
    CHECK(again.value.p && slice_eq(again.value, value));
}

static void check_query(struct slice query, struct arena *a)
{
    struct query_param params[] = { { .name = SLICE("key") },
                                    { .name = SLICE("limit") },
                                    { .name = SLICE("prefix") } };
    const char *wrong = query_read(query, params, 3, a);
    if (wrong) CHECK(strlen(wrong) > 0);
    for (size_t i = 0; i < 3; i++) {
        if (!params[i].value.p) continue;
        CHECK(params[i].value.n <= query.n);
        if (!wrong) CHECK(params[i].value.p[params[i].value.n] == 0);
    }
    check_encoded(query, a);
}

/* ---- documents ---- */

static void check_string(struct slice s, struct arena *a)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    fputs("{\"before\":[1,{\"a\":\"}\"}] ,\"a\":", out);
    json_put_string(out, s);
    fputs("}", out);
    fclose(out);
    struct slice value;
    CHECK(json_member(slice_of(text, n), "a", &value));
    struct slice read = json_string(value, a);
    CHECK(read.p && slice_eq(read, s));
    free(text);
}

static void walk(struct slice value, unsigned depth, struct arena *a)
{
    static const char *const names[] = { "a", "objects", "memory", "cursor", "" };
    struct slice found, rest = value;
    struct slice text = json_string(value, a);
    CHECK(!text.p || text.n + 2 <= value.n);
    (void)json_integer(value, -1);
    if (depth == 0) return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!json_member(value, names[i], &found)) continue;
        CHECK(found.n && within(found, value));
        walk(found, depth - 1, a);
    }
    for (size_t left = rest.n; json_next(&rest, &found); left = rest.n) {
        CHECK(found.n && within(found, value) && rest.n < left);
        walk(found, depth - 1, a);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct slice all = slice_of((const char *)data, size);
    struct slice query = slice_of(all.p, slice_find(all, '\n'));
    struct slice document = slice_skip(all, query.n < all.n ? query.n + 1 : query.n);
    arena_init(&a, 4096);
    check_query(query, &a);
    check_string(document, &a);
    walk(document, 4, &a);
    arena_free(&a);
    return 0;
}
