/* The response parser, for a GET and for a HEAD: where a head is cut changes nothing, a message
 * without a body never claims one, and what is printed for the client means the same there. */
#include <stdlib.h>

#include "edge/base/check.h"
#include "protocols/h1/print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = { .line_bytes = 256, .head_bytes = 2048, .field_count = 32 };
static const struct h1_limits wide = { .line_bytes = 8192, .head_bytes = 65536, .field_count = 64 };

static int parse_cut(struct slice all, size_t cut, enum method m, struct arena *a,
                     struct h1_response *out)
{
    size_t scanned = 0;
    char *first = malloc(cut ? cut : 1);
    if (cut) memcpy(first, all.p, cut);
    int rc = h1_parse_response(slice_of(first, cut), &scanned, &limits, m, a, out);
    free(first);
    return rc ? rc : h1_parse_response(all, &scanned, &limits, m, a, out);
}

static void check_cuts(struct slice all, int whole, enum method m, struct arena *a)
{
    struct h1_response r;
    for (size_t i = 0; i <= 16; i++) {
        int rc = parse_cut(all, all.n * i / 16, m, a, &r);
        CHECK(whole < 0 ? rc <= 0 : rc == whole);
    }
}

static void check_clean(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) CHECK(s.p[i] != '\r' && s.p[i] != '\n' && s.p[i] != 0);
}

static void check_message(const struct h1_response *r, enum method m)
{
    int status = r->msg.status;
    CHECK(status >= 100 && status <= 599);
    CHECK(status_has_body(m, status) == (r->body != H1_BODY_NONE));
    CHECK(r->body != H1_BODY_LENGTH || r->msg.length >= 0);
    CHECK(r->body != H1_BODY_UNTIL_CLOSE || !r->keep_alive);
    CHECK(r->interim == (status < 200 && status != 101));
    for (uint32_t i = 0; i < r->msg.fields.n; i++) {
        const struct field *f = &r->msg.fields.v[i];
        CHECK(f->name.n > 0 && !(field_flags(f->id) & (FIELD_HOP | FIELD_FRAMING)));
        check_clean(f->name);
        check_clean(f->value);
    }
}

/* With the framing a hop would give it. */
static void check_round_trip(const struct h1_response *r, enum method m, struct arena *a)
{
    enum h1_body body = r->body == H1_BODY_NONE && r->msg.length >= 0 ? H1_BODY_LENGTH : r->body;
    struct h1_framing f = { .body = body, .length = r->msg.length };
    size_t n = h1_response_size(&r->msg, &f), scanned = 0;
    char *text = malloc(n);
    struct h1_response again;
    CHECK(h1_print_response(text, &r->msg, &f) == n);
    CHECK(h1_parse_response(slice_of(text, n), &scanned, &wide, m, a, &again) == (int)n);
    CHECK(again.body == r->body && again.msg.status == r->msg.status);
    CHECK(again.msg.fields.n == r->msg.fields.n);
    if (r->msg.length >= 0) CHECK(again.msg.length == r->msg.length);
    free(text);
}

static void check_method(struct slice all, enum method m)
{
    struct h1_response r;
    struct arena a;
    size_t scanned = 0;
    arena_init(&a, 4096);
    int rc = h1_parse_response(all, &scanned, &limits, m, &a, &r);
    CHECK(rc <= (int)all.n);
    if (rc > 0) check_message(&r, m);
    if (rc > 0) check_round_trip(&r, m, &a);
    check_cuts(all, rc, m, &a);
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_method(slice_of((const char *)data, size), METHOD_GET);
    check_method(slice_of((const char *)data, size), METHOD_HEAD);
    return 0;
}
