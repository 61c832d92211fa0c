/* structured: what is printed. (Parsing is tested with Cache-Control's targeted fields.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "protocols/http/structured.h"

/* RFC 4648 section 10. */
static void test_bytes(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "", "::" },
        { "f", ":Zg==:" },
        { "fo", ":Zm8=:" },
        { "foo", ":Zm9v:" },
        { "foob", ":Zm9vYg==:" },
        { "fooba", ":Zm9vYmE=:" },
        { "foobar", ":Zm9vYmFy:" },
        { "\xff\xfe\xfd", "://79:" },
    };
    struct arena arena;
    arena_init(&arena, 256);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice got = structured_bytes(slice_str(rows[i][0]), &arena);
        assert_true(slice_eq(got, slice_str(rows[i][1])));
    }
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_bytes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
