#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "edge/client_limits.h"

#define CLIENTS 1000 /* more than the table begins with */
#define STEPS   200000
#define HELD    3000

static struct client_limits limits;

static int init(void **state)
{
    (void)state;
    client_limits_init(&limits);
    return 0;
}

/* Freeing checks that no address is left. */
static int check_empty(void **state)
{
    (void)state;
    unsigned left = limits.connections + limits.refused;
    client_limits_free(&limits);
    return left ? -1 : 0;
}

static const uint8_t *address_of(unsigned client)
{
    static uint8_t address[16];
    memcpy(address + 12, &client, sizeof client);
    return address;
}

static enum client_admission enter(const struct http_limits *l, unsigned client)
{
    return client_limits_enter(&limits, l, address_of(client), NULL, NULL);
}

static void leave(enum client_admission admission, unsigned client)
{
    client_limits_leave(&limits, admission, address_of(client));
}

static void test_all_together(void **state)
{
    (void)state;
    const struct http_limits l = { .connections = 2 };
    assert_int_equal(enter(&l, 1), ADMISSION_PLAIN);
    assert_int_equal(enter(&l, 1), ADMISSION_PLAIN);
    assert_int_equal(enter(&l, 2), ADMISSION_REFUSED);
    leave(ADMISSION_PLAIN, 1);
    /* The one that is being refused keeps nobody out. */
    assert_int_equal(enter(&l, 2), ADMISSION_PLAIN);
    leave(ADMISSION_REFUSED, 2);
    leave(ADMISSION_PLAIN, 1);
    leave(ADMISSION_PLAIN, 2);
}

static void test_one_address(void **state)
{
    (void)state;
    const struct http_limits l = { .connections = 10, .connections_per_client = 1 };
    assert_int_equal(enter(&l, 1), ADMISSION_BY_ADDRESS);
    assert_int_equal(enter(&l, 1), ADMISSION_REFUSED);
    assert_int_equal(enter(&l, 2), ADMISSION_BY_ADDRESS);
    assert_int_equal(limits.connections, 2);
    leave(ADMISSION_REFUSED, 1);
    leave(ADMISSION_BY_ADDRESS, 1);
    assert_int_equal(enter(&l, 1), ADMISSION_BY_ADDRESS);
    leave(ADMISSION_BY_ADDRESS, 1);
    leave(ADMISSION_BY_ADDRESS, 2);
}

static void test_refusing_has_a_limit_too(void **state)
{
    (void)state;
    const struct http_limits l = { .connections = 0 };
    unsigned max = client_limits_refused_max(&l);
    for (unsigned i = 0; i < max; i++) assert_int_equal(enter(&l, i), ADMISSION_REFUSED);
    assert_int_equal(enter(&l, 0), ADMISSION_NONE);
    for (unsigned i = 0; i < max; i++) leave(ADMISSION_REFUSED, i);
}

/* What came in under one configuration leaves under another. */
static void test_a_limit_that_comes_and_goes(void **state)
{
    (void)state;
    const struct http_limits without = { .connections = 10 };
    const struct http_limits with = { .connections = 10, .connections_per_client = 1 };
    assert_int_equal(enter(&without, 1), ADMISSION_PLAIN);
    assert_int_equal(enter(&with, 1), ADMISSION_BY_ADDRESS);
    leave(ADMISSION_PLAIN, 1);
    assert_int_equal(enter(&with, 1), ADMISSION_REFUSED);
    leave(ADMISSION_REFUSED, 1);
    leave(ADMISSION_BY_ADDRESS, 1);
}

struct connection {
    enum client_admission admission;
    unsigned client;
};

/* At random, beside a plain count per client. */
static void test_model(void **state)
{
    (void)state;
    static struct connection held[HELD];
    static unsigned counts[CLIENTS];
    const struct http_limits l = { .connections = HELD, .connections_per_client = 3 };
    unsigned n = 0;
    srand(1);
    for (int i = 0; i < STEPS; i++) {
        unsigned client = (unsigned)rand() % CLIENTS;
        if (n < HELD && rand() % 2) {
            enum client_admission a = enter(&l, client);
            assert_int_equal(a, counts[client] < 3 ? ADMISSION_BY_ADDRESS : ADMISSION_REFUSED);
            if (a == ADMISSION_REFUSED) {
                leave(a, client);
                continue;
            }
            counts[client]++;
            held[n++] = (struct connection){ a, client };
        } else if (n) {
            unsigned which = (unsigned)rand() % n;
            leave(held[which].admission, held[which].client);
            counts[held[which].client]--;
            held[which] = held[--n];
        }
    }
    while (n--) leave(held[n].admission, held[n].client);
}

static bool has_room;
static unsigned asked;

static bool make_room(void *user)
{
    assert_ptr_equal(user, &limits);
    asked++;
    return has_room;
}

static enum client_admission enter_asking(const struct http_limits *l, unsigned client)
{
    return client_limits_enter(&limits, l, address_of(client), make_room, &limits);
}

/* Until what was closed has gone there are more, but never more than may be refused at a time. */
static void test_room_is_made_beyond_the_limit(void **state)
{
    (void)state;
    const struct http_limits l = { .connections = 2, .connections_per_client = 200 };
    unsigned most = l.connections + client_limits_refused_max(&l), n = 0;
    has_room = true;
    asked = 0;
    while (enter_asking(&l, 1) == ADMISSION_BY_ADDRESS) n++;
    assert_int_equal(n, most);
    assert_int_equal(asked, most - l.connections + 1);
    leave(ADMISSION_REFUSED, 1);
    has_room = false;
    leave(ADMISSION_BY_ADDRESS, 1);
    assert_int_equal(enter_asking(&l, 1), ADMISSION_REFUSED);
    leave(ADMISSION_REFUSED, 1);
    for (n--; n; n--) leave(ADMISSION_BY_ADDRESS, 1);
}

static void test_an_address_with_too_many_makes_no_room(void **state)
{
    (void)state;
    const struct http_limits l = { .connections = 1, .connections_per_client = 1 };
    has_room = true;
    asked = 0;
    assert_int_equal(enter_asking(&l, 1), ADMISSION_BY_ADDRESS);
    assert_int_equal(enter_asking(&l, 1), ADMISSION_REFUSED);
    assert_int_equal(asked, 0);
    assert_int_equal(enter_asking(&l, 2), ADMISSION_BY_ADDRESS);
    assert_int_equal(asked, 1);
    leave(ADMISSION_REFUSED, 1);
    leave(ADMISSION_BY_ADDRESS, 1);
    leave(ADMISSION_BY_ADDRESS, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_together, init, check_empty),
        cmocka_unit_test_setup_teardown(test_room_is_made_beyond_the_limit, init, check_empty),
        cmocka_unit_test_setup_teardown(test_an_address_with_too_many_makes_no_room, init,
                                        check_empty),
        cmocka_unit_test_setup_teardown(test_one_address, init, check_empty),
        cmocka_unit_test_setup_teardown(test_refusing_has_a_limit_too, init, check_empty),
        cmocka_unit_test_setup_teardown(test_a_limit_that_comes_and_goes, init, check_empty),
        cmocka_unit_test_setup_teardown(test_model, init, check_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
