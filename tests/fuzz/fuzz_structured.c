/* A structured dictionary (RFC 9651), and the same bytes as a byte sequence: what is taken off
 * stays within the text, never stands still, and a member printed again reads as itself. */
#include <inttypes.h>
#include <stdlib.h>

#include "edge/base/check.h"
#include "protocols/http/structured.h"
#include "protocols/http/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool within(struct slice part, struct slice whole)
{
    return part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

/* Of the types whose value is told. */
static struct slice print(const struct structured_member *m, struct arena *a)
{
    switch (m->type) {
    case STRUCTURED_BOOLEAN:
        return arena_printf(a, "%.*s=?%d", SLICE_ARGS(m->key), (int)m->integer);
    case STRUCTURED_INTEGER:
        return arena_printf(a, "%.*s=%" PRId64, SLICE_ARGS(m->key), m->integer);
    case STRUCTURED_STRING:
        return arena_printf(a, "%.*s=\"%.*s\"", SLICE_ARGS(m->key), SLICE_ARGS(m->text));
    case STRUCTURED_TOKEN:
        return arena_printf(a, "%.*s=%.*s", SLICE_ARGS(m->key), SLICE_ARGS(m->text));
    default: return SLICE_NONE;
    }
}

static void check_again(const struct structured_member *m, struct arena *a)
{
    struct structured_member again;
    struct slice text = print(m, a);
    if (!text.p) return;
    CHECK(structured_dictionary_next(&text, &again) == 1 && text.n == 0);
    CHECK(slice_eq(again.key, m->key) && again.type == m->type && again.integer == m->integer);
    CHECK(slice_eq(again.text, m->text));
}

static void check_member(const struct structured_member *m, struct slice all, struct arena *a)
{
    CHECK(m->key.n && within(m->key, all));
    CHECK(!m->text.p || within(m->text, all));
    CHECK(m->type != STRUCTURED_INTEGER || llabs(m->integer) <= 999999999999999);
    CHECK(m->type != STRUCTURED_BOOLEAN || m->integer == 0 || m->integer == 1);
    check_again(m, a);
}

static void check_bytes(struct slice all, struct arena *a)
{
    struct structured_member m;
    struct slice coded = structured_bytes(all, a);
    CHECK(coded.n == 2 + (all.n + 2) / 3 * 4);
    struct slice text = arena_printf(a, "a=%.*s", SLICE_ARGS(coded));
    CHECK(structured_dictionary_next(&text, &m) == 1 && text.n == 0 && m.type == STRUCTURED_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice all = slice_of((const char *)data, size), rest = all;
    struct structured_member m;
    struct arena a;
    int rc;
    arena_init(&a, 4096);
    for (size_t left = rest.n + 1; (rc = structured_dictionary_next(&rest, &m)) == 1;) {
        CHECK(rest.n < left && within(rest, all));
        left = rest.n;
        check_member(&m, all, &a);
    }
    CHECK(rc == -1 || rest.n == 0);
    check_bytes(all, &a);
    arena_free(&a);
    return 0;
}
