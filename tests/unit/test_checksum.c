/* checksum: known values of CRC-32C, and that every bit counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "edge/base/checksum.h"

/* Bytes whose last quarter holds all that is there: shorter than a word for each quarter. */
static uint32_t crc_of(struct slice bytes)
{
    return checksum_of(bytes).quarters[3];
}

static void test_known_values(void **state)
{
    (void)state;
    char zeros[28] = { 0 }, up[31];
    for (int i = 0; i < 31; i++) up[i] = (char)i;
    assert_int_equal(crc_of(SLICE("123456789")), 0xe3069283); /* the check value of CRC-32C */
    assert_int_equal(crc_of(SLICE("")), 0);
    assert_int_equal(crc_of(SLICE("a")), 0xc1d04330);
    assert_int_equal(crc_of(slice_of(zeros, 28)), crc_of(slice_of(zeros, 28)));
    assert_int_not_equal(crc_of(slice_of(up, 31)), crc_of(slice_of(up, 30)));
}

/* RFC 3720 section B.4: 32 bytes of zeros, of ones, rising; here each is a quarter. */
static void test_quarters(void **state)
{
    (void)state;
    char bytes[128];
    memset(bytes, 0, 32);
    memset(bytes + 32, 0xff, 32);
    for (int i = 0; i < 32; i++) bytes[64 + i] = (char)i, bytes[96 + i] = (char)(31 - i);
    struct checksum sum = checksum_of(slice_of(bytes, sizeof bytes));
    assert_int_equal(sum.quarters[0], 0x8a9136aa);
    assert_int_equal(sum.quarters[1], 0x62a8ab43);
    assert_int_equal(sum.quarters[2], 0x46dd794e);
    assert_int_equal(sum.quarters[3], 0x113fdb5c);
}

static void test_every_bit_counts(void **state)
{
    (void)state;
    char bytes[331];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
    struct checksum whole = checksum_of(slice_of(bytes, sizeof bytes));
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        struct checksum other = checksum_of(slice_of(bytes, sizeof bytes));
        assert_false(checksum_eq(&whole, &other));
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_quarters),
        cmocka_unit_test(test_every_bit_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
