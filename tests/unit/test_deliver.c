/* deliver: what it must not be given. What it makes of an object is tests/e2e's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "edge/deliver.h"
#include "tests/unit/broken_rule.h"
#include "tests/unit/with_arena.h"

static void answer_412(void)
{
    static const struct config_route route;
    static const struct freshness fresh;
    struct budget budget = { .limit_bytes = SIZE_MAX };
    struct key key = { .text = SLICE("key") };
    struct response head = { .status = 200, .length = 0 };
    struct exchange x = { .request = { .method = METHOD_GET } };
    fields_add(&head.fields, &arena, FIELD_ETAG, SLICE("\"v1\""));
    fields_add(&x.request.fields, &arena, FIELD_IF_MATCH, SLICE("\"v2\""));
    struct object *o = object_new(&key, &budget, 0, 65536);
    object_set_head(o, &head, &fresh, SLICE_NONE, SLICE_NONE, AUDIENCE_REUSE);
    deliver(&x, &(struct delivery){ .object = o, .route = &route, .evaluate = true });
}

/* RFC 9111 section 4.3.2. */
static void whether_if_match_holds_is_not_for_a_cache_to_say(void **state)
{
    (void)state;
    assert_true(check_fires(answer_412, "the origin's to say"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whether_if_match_holds_is_not_for_a_cache_to_say),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
