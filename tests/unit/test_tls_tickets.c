/* tls_tickets: files, rotation, and what a reload changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "edge/io/tls_tickets.h"

#define HOUR_MS     3600000ll
#define HALF_DAY_MS (12 * HOUR_MS)

static int forget(void **state)
{
    (void)state;
    tls_tickets_forget();
    tls_tickets_configure(NULL, 0, HALF_DAY_MS);
    return 0;
}

/* ---- files ---- */

static const char *load(struct tls_ticket_key *key, size_t bytes)
{
    char path[] = "/tmp/verge-ticket-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)i;
        assert_int_equal(write(fd, &byte, 1), 1);
    }
    close(fd);
    const char *why = tls_ticket_key_load(key, path);
    unlink(path);
    return why;
}

static void test_a_file_of_48_bytes(void **state)
{
    (void)state;
    struct tls_ticket_key key;
    assert_null(load(&key, 48));
    assert_int_equal(key.secret_bytes, 16);
    assert_int_equal(key.name[0], 0);
    assert_int_equal(key.aes[0], 16);
    assert_int_equal(key.hmac[0], 32);
}

static void test_a_file_of_80_bytes(void **state)
{
    (void)state;
    struct tls_ticket_key key;
    assert_null(load(&key, 80));
    assert_int_equal(key.secret_bytes, 32);
    assert_int_equal(key.name[15], 15);
    assert_int_equal(key.hmac[0], 16);
    assert_int_equal(key.aes[0], 48);
    assert_int_equal(key.aes[31], 79);
}

static void test_files_that_are_no_keys(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 47, 49, 79, 81, 1000 };
    struct tls_ticket_key key;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_string_equal(load(&key, sizes[i]),
                            "does not have the 48 or 80 bytes of a ticket key");
    }
    assert_string_equal(tls_ticket_key_load(&key, "/nonexistent"), "cannot be read");
    assert_string_equal(tls_ticket_key_load(&key, "/"), "cannot be read");
}

/* ---- which key ---- */

enum opened { NO, NEWEST, OLDER };

static enum opened opens(int64_t now_ms, const struct tls_ticket_key *key)
{
    struct tls_ticket_key found;
    bool newest;
    if (!tls_tickets_open(now_ms, key->name, &found, &newest)) return NO;
    assert_memory_equal(found.aes, key->aes, sizeof key->aes);
    return newest ? NEWEST : OLDER;
}

static void test_random_keys_rotate(void **state)
{
    (void)state;
    struct tls_ticket_key first, second;
    tls_tickets_seal(0, &first);
    assert_int_equal(opens(HALF_DAY_MS - 1, &first), NEWEST);
    assert_int_equal(opens(HALF_DAY_MS, &first), OLDER);
    tls_tickets_seal(HALF_DAY_MS, &second);
    assert_memory_not_equal(first.name, second.name, sizeof first.name);
    assert_memory_not_equal(first.aes, second.aes, sizeof first.aes);
    assert_int_equal(opens(2 * HALF_DAY_MS - 1, &first), OLDER);
    assert_int_equal(opens(2 * HALF_DAY_MS, &first), NO);
    assert_int_equal(opens(2 * HALF_DAY_MS, &second), OLDER);
}

static void test_a_key_that_slept_too_long_is_not_kept(void **state)
{
    (void)state;
    struct tls_ticket_key first;
    tls_tickets_seal(0, &first);
    assert_int_equal(opens(2 * HALF_DAY_MS, &first), NO);
}

static void test_a_reload_keeps_random_keys(void **state)
{
    (void)state;
    struct tls_ticket_key first;
    tls_tickets_seal(0, &first);
    tls_tickets_configure(NULL, 0, HALF_DAY_MS);
    assert_int_equal(opens(1, &first), NEWEST);
}

static void test_files_replace_random_keys_and_one_another(void **state)
{
    (void)state;
    struct tls_ticket_key random, sealed;
    struct tls_ticket_key files[] = { { .name = "a", .secret_bytes = 16 },
                                      { .name = "b", .secret_bytes = 16 } };
    tls_tickets_seal(0, &random);
    tls_tickets_configure(files, 2, HALF_DAY_MS);
    tls_tickets_seal(0, &sealed);
    assert_memory_equal(sealed.name, files[0].name, sizeof sealed.name);
    assert_int_equal(opens(100 * HALF_DAY_MS, &files[0]), NEWEST);
    assert_int_equal(opens(100 * HALF_DAY_MS, &files[1]), OLDER);
    assert_int_equal(opens(0, &random), NO);

    tls_tickets_configure(files + 1, 1, HALF_DAY_MS);
    assert_int_equal(opens(0, &files[0]), NO);
    assert_int_equal(opens(0, &files[1]), NEWEST);

    tls_tickets_configure(NULL, 0, HALF_DAY_MS);
    assert_int_equal(opens(0, &files[1]), NO);
    tls_tickets_seal(0, &sealed);
    assert_memory_not_equal(sealed.name, random.name, sizeof sealed.name);
}

/* Before the first ticket there is no key, not one of zeros. */
static void test_no_key_has_no_name(void **state)
{
    (void)state;
    static const struct tls_ticket_key none;
    assert_int_equal(opens(0, &none), NO);
    assert_int_equal(opens(HALF_DAY_MS, &none), NO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_file_of_48_bytes, forget),
        cmocka_unit_test_setup(test_a_file_of_80_bytes, forget),
        cmocka_unit_test_setup(test_files_that_are_no_keys, forget),
        cmocka_unit_test_setup(test_random_keys_rotate, forget),
        cmocka_unit_test_setup(test_a_key_that_slept_too_long_is_not_kept, forget),
        cmocka_unit_test_setup(test_a_reload_keeps_random_keys, forget),
        cmocka_unit_test_setup(test_files_replace_random_keys_and_one_another, forget),
        cmocka_unit_test_setup(test_no_key_has_no_name, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
