/* Two lines of directives, as Cache-Control, Surrogate-Control and CDN-Cache-Control, in a request
 * and a response: the order of lines does not matter, more directives never allow more, and what
 * policy decides is in bounds. */
#include "cache/policy.h"
#include "edge/base/check.h"
#include "protocols/http/cache_control.h"
#include "protocols/http/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t now_ms = 1700000000000;

static struct fields two_lines(enum field_id id, struct slice first, struct slice second,
                               struct arena *a)
{
    struct fields f = { 0 };
    fields_add(&f, a, id, slice_trim(first));
    fields_add(&f, a, id, slice_trim(second));
    return f;
}

static void check_bounds(const struct cache_control *c)
{
    for (int i = 0; i < CC_SECONDS_COUNT; i++) {
        CHECK(c->seconds[i] >= -1 && c->seconds[i] <= DELTA_SECONDS_MAX);
    }
}

static void check_order(enum field_id id, struct slice first, struct slice second, struct arena *a)
{
    struct cache_control c, swapped;
    struct fields f = two_lines(id, first, second, a), g = two_lines(id, second, first, a);
    CHECK(cache_control_parse(&f, id, &c) && cache_control_parse(&g, id, &swapped));
    CHECK(c.flags == swapped.flags && memcmp(c.seconds, swapped.seconds, sizeof c.seconds) == 0);
    check_bounds(&c);
}

static void check_targeted(struct slice first, struct slice second, struct arena *a)
{
    struct cache_control c;
    struct fields f = two_lines(FIELD_CDN_CACHE_CONTROL, first, second, a);
    if (cache_control_parse_targeted(&f, FIELD_CDN_CACHE_CONTROL, &c)) check_bounds(&c);
}

static void check_freshness(const struct freshness *f)
{
    const int64_t max_ms = DELTA_SECONDS_MAX * 1000;
    CHECK(f->initial_age_ms >= 0 && f->initial_age_ms <= max_ms);
    CHECK(f->lifetime_ms >= 0 && f->lifetime_ms <= max_ms);
    CHECK(f->stale_while_revalidate_ms >= 0 && f->stale_while_revalidate_ms <= max_ms);
    CHECK(f->stale_if_error_ms >= 0 && f->stale_if_error_ms <= max_ms);
    CHECK(!(f->flags & FRESH_NO_CACHE) || f->lifetime_ms == 0);
}

static void check_policy(enum field_id id, struct slice first, struct slice second, struct arena *a)
{
    static const struct cache_policy p = { .heuristic = true,
                                           .honor_request = true,
                                           .surrogate_control = true };
    struct freshness f;
    struct response res = { .status = 200, .fields = two_lines(id, first, second, a) };
    struct request req = { .method = METHOD_GET,
                           .fields = two_lines(FIELD_CACHE_CONTROL, second, first, a) };
    policy_store(&p, &req, &res, now_ms, now_ms, &f);
    check_freshness(&f);
    policy_reuse(&p, &req, &f, now_ms + 1000);
    policy_stale_if_error(&p, &req, &f, INT64_MAX);
    if (id == FIELD_CACHE_CONTROL) {
        fields_add(&res.fields, a, id, SLICE("private"));
        CHECK(policy_store(&p, &req, &res, now_ms, now_ms, &f) != STORE_OK);
    }
    policy_prepare_stored(&p, &res);
    CHECK(!fields_has(&res.fields, FIELD_SURROGATE_CONTROL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum field_id ids[] = { FIELD_CACHE_CONTROL, FIELD_SURROGATE_CONTROL,
                                         FIELD_CDN_CACHE_CONTROL };
    struct slice all = slice_of((const char *)data, size);
    struct slice first = slice_of(all.p, slice_find(all, '\n'));
    struct slice second = slice_skip(all, first.n < all.n ? first.n + 1 : first.n);
    struct arena a;
    arena_init(&a, 4096);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        check_order(ids[i], first, second, &a);
        check_policy(ids[i], first, second, &a);
    }
    check_targeted(first, second, &a);
    arena_free(&a);
    return 0;
}
