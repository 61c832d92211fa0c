/* A list of field lines, "Name: value" each: what is joined, removed and read from it is
 * consistent. */
#include "edge/base/check.h"
#include "protocols/http/accept.h"
#include "protocols/http/date.h"
#include "protocols/http/etag.h"
#include "protocols/http/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fields parse_lines(struct slice text, struct arena *a)
{
    struct fields f = { 0 };
    while (text.n && f.n < 64) {
        struct slice line = slice_of(text.p, slice_find(text, '\n'));
        text = slice_skip(text, line.n < text.n ? line.n + 1 : line.n);
        struct slice name = slice_of(line.p, slice_find(line, ':'));
        struct slice value = slice_skip(line, name.n < line.n ? name.n + 1 : name.n);
        if (value_is_token(name)) fields_add_named(&f, a, name, slice_trim(value));
    }
    return f;
}

static struct fields copy(const struct fields *f, struct arena *a)
{
    struct fields c = { 0 };
    for (uint32_t i = 0; i < f->n; i++) fields_add_named(&c, a, f->v[i].name, f->v[i].value);
    return c;
}

static void check_removal(const struct fields *f, struct arena *a)
{
    for (uint32_t i = 0; i < f->n; i++) {
        struct fields c = copy(f, a);
        size_t joined_bytes = fields_joined_named(f, f->v[i].name, a).n;
        CHECK(joined_bytes >= f->v[i].value.n);
        fields_remove_named(&c, f->v[i].name);
        CHECK(c.n < f->n && !fields_get_named(&c, f->v[i].name));
    }
}

static void check_hop_by_hop(const struct fields *f, struct arena *a)
{
    struct fields c = copy(f, a);
    struct slice options = fields_joined(f, FIELD_CONNECTION, a);
    fields_remove_hop_by_hop(&c);
    for (uint32_t i = 0; i < c.n; i++) {
        unsigned flags = field_flags(c.v[i].id);
        CHECK(!(flags & FIELD_HOP));
        CHECK((flags & FIELD_END) || fields_count(f, FIELD_CONNECTION) > 1 ||
              !value_list_has(options, c.v[i].name));
    }
}

static void check_date(struct slice value)
{
    char text[HTTP_DATE_BYTES];
    int64_t date_s, again_s;
    if (!http_date_parse(value, 0, &date_s)) return;
    http_date_format(date_s, text);
    CHECK(http_date_parse(slice_of(text, sizeof text), 0, &again_s) && again_s == date_s);
}

static void check_value(struct slice value)
{
    struct slice member, rest = value;
    struct etag tag;
    unsigned codings = accept_encoding_parse(value);
    CHECK((accept_encoding_parse(accept_encoding_text(codings)) | CODING_IDENTITY) ==
          (codings | CODING_IDENTITY));
    while (value_next(&rest, &member)) CHECK(member.n && member.p + member.n <= value.p + value.n);
    if (etag_parse(value, &tag)) CHECK(tag.opaque.n + 2 + 2 * tag.weak == value.n);
    CHECK(value_delta_seconds(value) <= DELTA_SECONDS_MAX);
    check_date(value);
}

/* The same lines as a request and as the stored response. */
static void check_preconditions(const struct fields *f)
{
    struct request req = { .method = METHOD_GET, .fields = *f };
    struct response stored = { .status = 200, .fields = *f };
    enum precondition get = precondition_evaluate(&req, &stored);
    req.method = METHOD_PUT;
    enum precondition put = precondition_evaluate(&req, &stored);
    CHECK(put != PRECONDITION_NOT_MODIFIED);
    CHECK(get != PRECONDITION_FAILED || put == PRECONDITION_FAILED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    arena_init(&a, 4096);
    struct fields f = parse_lines(slice_of((const char *)data, size), &a);
    for (uint32_t i = 0; i < f.n; i++) check_value(f.v[i].value);
    check_removal(&f, &a);
    check_hop_by_hop(&f, &a);
    check_preconditions(&f);
    arena_free(&a);
    return 0;
}
