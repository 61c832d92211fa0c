/* The request parser: where a head is cut changes nothing, nothing that could end a line gets into
 * a message, and what is printed for the next hop means the same there. */
#include <stdlib.h>

#include "edge/base/check.h"
#include "protocols/h1/print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = { .line_bytes = 256, .head_bytes = 2048, .field_count = 32 };
static const struct h1_limits wide = { .line_bytes = 8192, .head_bytes = 65536, .field_count = 64 };

/* The head in two pieces, the first in a block of its own size. */
static int parse_cut(struct slice all, size_t cut, struct arena *a, struct h1_request *out)
{
    size_t scanned = 0;
    char *first = malloc(cut ? cut : 1);
    if (cut) memcpy(first, all.p, cut);
    int rc = h1_parse_request(slice_of(first, cut), &scanned, &limits, a, out);
    free(first);
    return rc ? rc : h1_parse_request(all, &scanned, &limits, a, out);
}

/* A head that is wrong may need its end to show that, so an error may come later. */
static void check_cuts(struct slice all, int whole, struct arena *a)
{
    struct h1_request r;
    for (size_t i = 0; i <= 16; i++) {
        int rc = parse_cut(all, all.n * i / 16, a, &r);
        CHECK(whole < 0 ? rc <= 0 : rc == whole);
    }
}

static void check_clean(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) CHECK(s.p[i] != '\r' && s.p[i] != '\n' && s.p[i] != 0);
}

static void check_message(const struct h1_request *r)
{
    const struct request *m = &r->msg;
    check_clean(m->method_text);
    check_clean(m->target);
    check_clean(m->authority);
    CHECK(m->authority.n == 0 || authority_is_valid(m->authority));
    CHECK(r->body == H1_BODY_LENGTH ? m->length >= 0 : m->length < 0);
    for (uint32_t i = 0; i < m->fields.n; i++) {
        const struct field *f = &m->fields.v[i];
        CHECK(f->name.n > 0 && !(field_flags(f->id) & (FIELD_HOP | FIELD_FRAMING)));
        check_clean(f->name);
        check_clean(f->value);
    }
}

static void check_same(const struct h1_request *a, const struct h1_request *b)
{
    CHECK(slice_eq(a->msg.method_text, b->msg.method_text));
    CHECK(slice_eq(a->msg.target, b->msg.target) && slice_eq(a->msg.authority, b->msg.authority));
    CHECK(a->body == b->body && a->msg.length == b->msg.length);
    CHECK(a->msg.fields.n == b->msg.fields.n);
    for (uint32_t i = 0; i < a->msg.fields.n; i++) {
        CHECK(slice_eq(a->msg.fields.v[i].name, b->msg.fields.v[i].name));
        CHECK(slice_eq(a->msg.fields.v[i].value, b->msg.fields.v[i].value));
    }
}

static void check_round_trip(const struct h1_request *r, struct arena *a)
{
    struct h1_framing f = { .body = r->body, .length = r->msg.length };
    size_t n = h1_request_size(&r->msg, &f), scanned = 0;
    char *text = malloc(n);
    struct h1_request again;
    CHECK(h1_print_request(text, &r->msg, &f) == n);
    CHECK(h1_parse_request(slice_of(text, n), &scanned, &wide, a, &again) == (int)n);
    check_same(r, &again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice all = slice_of((const char *)data, size);
    struct h1_request r;
    struct arena a;
    size_t scanned = 0;
    arena_init(&a, 4096);
    int rc = h1_parse_request(all, &scanned, &limits, &a, &r);
    CHECK(rc <= (int)size);
    if (rc > 0) check_message(&r);
    /* CONNECT has no target to print, and HTTP/1.0 may have no authority. */
    if (rc > 0 && r.msg.target.n && r.msg.authority.n) check_round_trip(&r, &a);
    check_cuts(all, rc, &a);
    arena_free(&a);
    return 0;
}
