/* accept: Accept-Encoding folded to a set, as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "protocols/http/accept.h"

#define G CODING_GZIP
#define B CODING_BR
#define Z CODING_ZSTD
#define I CODING_IDENTITY

static void accept_encoding_is_a_set(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        unsigned codings;
        const char *text;
    } rows[] = {
        { "", I, "identity" },
        { "gzip", G | I, "gzip" },
        { "GZip", G | I, "gzip" },
        { "x-gzip", G | I, "gzip" },
        { "gzip, deflate, br, zstd", G | B | Z | I, "zstd, br, gzip" },
        { "zstd;q=1.0, br ; q=0.8,gzip;q=0.001", G | B | Z | I, "zstd, br, gzip" },
        { "gzip;q=0, br", B | I, "br" },
        { "gzip;q=0.000", I, "identity" },
        { "deflate, compress", I, "identity" },
        { "*", G | B | Z | I, "zstd, br, gzip" },
        { "*;q=0", 0, "identity" },
        { "*;q=0, gzip", G, "gzip" },
        { "gzip, *;q=0", G, "gzip" },
        { "*, br;q=0", G | Z | I, "zstd, gzip" },
        { "*;q=0, identity", I, "identity" },
        { "identity;q=0", 0, "identity" },
        { "identity;q=0, br", B, "br" },
        { "identity;q=0, *", G | B | Z, "zstd, br, gzip" },
        { "gzip;q=2, br;q=x, zstd;q=", I, "identity" },
        { "gzip;x=1;q=0", I, "identity" },
        { "gzip;Q=0", I, "identity" },
        { "gzip zstd", I, "identity" },
        { "gzip, gzip;q=0", I, "identity" },
        { ",,br,,", B | I, "br" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned codings = accept_encoding_parse(slice_str(rows[i].value));
        if (codings != rows[i].codings) fail_msg("%s: %x", rows[i].value, codings);
        assert_true(slice_eq(accept_encoding_text(codings), slice_str(rows[i].text)));
    }
    assert_int_equal(accept_encoding_parse(SLICE_NONE), I);
}

/* What the origin is asked with must mean what the key says. */
static void the_text_of_a_set_parses_to_that_set(void **state)
{
    (void)state;
    for (unsigned set = 0; set < 8; set++) {
        assert_int_equal(accept_encoding_parse(accept_encoding_text(set)), set | I);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_encoding_is_a_set),
        cmocka_unit_test(the_text_of_a_set_parses_to_that_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
