/* Lines: a byte of key policy, the target, a Location, a Vary, then the values of three fields. The
 * key spells the request and nothing else, rewriting twice is rewriting once, and references stay
 * within the origin. */
#include "cache/key.h"
#include "edge/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice take_line(struct slice *rest)
{
    struct slice line = slice_of(rest->p, slice_find(*rest, '\n'));
    *rest = slice_skip(*rest, line.n < rest->n ? line.n + 1 : line.n);
    return line;
}

/* The reader of what key.c writes: "LENGTH:bytes", or "-" for what is absent. */
static struct slice take_part(struct slice *text)
{
    size_t n = 0;
    CHECK(text->n);
    if (text->p[0] == '-') {
        *text = slice_skip(*text, 1);
        return SLICE_NONE;
    }
    for (; text->p[0] != ':'; *text = slice_skip(*text, 1)) n = n * 10 + (size_t)(text->p[0] - '0');
    CHECK(n < text->n);
    struct slice part = slice_of(text->p + 1, n);
    *text = slice_skip(*text, n + 1);
    return part;
}

static bool same_part(struct slice *text, struct slice expected)
{
    struct slice part = take_part(text);
    return !part.p == !expected.p && slice_eq(part, expected);
}

static void check_key(const struct key *k, const struct request *req)
{
    struct slice text = k->text;
    CHECK(same_part(&text, req->scheme));
    CHECK(slice_eq_nocase(take_part(&text), req->authority));
    CHECK(same_part(&text, target_path(k->target)));
    CHECK(same_part(&text, target_query(k->target)));
    for (; text.n; take_part(&text), take_part(&text)) {
        CHECK(text.p[0] == 'h' || text.p[0] == 'c');
        text = slice_skip(text, 1);
    }
    CHECK(k->hash == key_hash(k->text));
}

static void check_rewrite(const struct key_policy *p, const struct request *req,
                          const struct key *k, struct arena *a)
{
    struct request rewritten = *req;
    struct key again;
    rewritten.target = k->target;
    key_build(p, &rewritten, a, &again);
    CHECK(slice_eq(again.text, k->text) && slice_eq(again.target, k->target));
}

static void check_reference(const struct key_policy *p, const struct request *req,
                            struct slice reference, struct arena *a)
{
    struct key k;
    if (!key_build_reference(p, req, reference, a, &k)) return;
    check_key(&k, req);
    CHECK(k.target.n && k.target.p[0] == '/');
    CHECK(slice_find(k.target, '#') == k.target.n || slice_find(req->target, '#') < req->target.n);
}

static void check_vary(struct slice vary, const struct request *req, struct arena *a)
{
    struct slice key, again;
    if (!key_vary(vary, req, a, &key)) return;
    CHECK(key_vary(vary, req, a, &again) && slice_eq(key, again));
    while (key.n) {
        CHECK(key.p[0] == 'h');
        key = slice_skip(key, 1);
        take_part(&key);
        take_part(&key);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct slice params[] = { SLICE("a"), SLICE("utm_*"), SLICE("*") };
    static const struct slice names[] = { SLICE("x-*"), SLICE("accept-encoding"), SLICE("b") };
    struct slice rest = slice_of((const char *)data, size), choice = take_line(&rest);
    unsigned bits = choice.n ? (unsigned char)choice.p[0] : 0;
    struct key_policy p = { .query = bits & 3,
                            .params = params,
                            .param_count = bits >> 2 & 3,
                            .sort_query = bits & 16,
                            .headers = names,
                            .header_count = bits & 32 ? 2 : 0,
                            .cookies = names,
                            .cookie_count = bits & 64 ? 3 : 0 };
    struct arena a;
    struct key k;
    arena_init(&a, 4096);
    struct request req = { .method = METHOD_GET,
                           .scheme = SLICE("http"),
                           .authority = SLICE("A.example"),
                           .target = take_line(&rest) };
    struct slice reference = take_line(&rest), vary = take_line(&rest);
    fields_add(&req.fields, &a, FIELD_ACCEPT_ENCODING, take_line(&rest));
    fields_add(&req.fields, &a, FIELD_COOKIE, take_line(&rest));
    fields_add_named(&req.fields, &a, SLICE("x-a"), rest);
    if (req.target.n == 0) req.target = SLICE("/");
    key_build(&p, &req, &a, &k);
    check_key(&k, &req);
    check_rewrite(&p, &req, &k, &a);
    check_reference(&p, &req, reference, &a);
    check_vary(vary, &req, &a);
    arena_free(&a);
    return 0;
}
