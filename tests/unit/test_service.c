/* service: which connections are idle, and which of them goes when room is to be made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "protocols/http/service.h"
#include "tests/unit/broken_rule.h"

enum { COUNT = 4 };

static struct worker worker;
static struct http_service service;
static struct http_connection connections[COUNT];
static unsigned closed, expired[COUNT], expired_count;

static void on_closed(struct http_service *s, const struct peer *peer)
{
    assert_ptr_equal(s, &service);
    (void)peer;
    closed++;
}

static void expire(struct http_connection *c)
{
    expired[expired_count++] = (unsigned)(c - connections);
}

static const struct http_connection_ops ops = { .expire = expire };

static int open_all(void **state)
{
    (void)state;
    worker = (struct worker){ .now_us = 1000000 };
    http_service_init(&service, &worker, NULL, NULL, on_closed);
    closed = expired_count = 0;
    for (unsigned i = 0; i < COUNT; i++)
        http_connection_enter(&connections[i], &ops, &service, &(struct peer){ 0 });
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT; i++) http_connection_leave(&connections[i]);
    assert_int_equal(closed, COUNT);
    assert_int_equal(service.idle_count, 0);
    assert_true(list_empty(&service.idle));
    return 0;
}

/* One millisecond after the other. */
static void set_idle(unsigned i, bool idle)
{
    worker.now_us += 1000;
    http_connection_set_idle(&connections[i], idle);
}

static void test_the_longest_idle_goes_first(void **state)
{
    (void)state;
    set_idle(2, true);
    set_idle(0, true);
    set_idle(3, true);
    set_idle(2, false);
    set_idle(2, true); /* again, so that it is the last now */
    assert_int_equal(service.idle_count, 3);
    assert_int_equal(service.idle_since_ms, 1002);
    assert_int_equal(http_service_expire(&service, 2), 2);
    assert_int_equal(service.idle_count, 1);
    assert_int_equal(service.idle_since_ms, 1005);
    assert_int_equal(http_service_expire(&service, 2), 1);
    assert_int_equal(http_service_expire(&service, 2), 0);
    assert_int_equal(expired_count, 3);
    assert_int_equal(expired[0], 0);
    assert_int_equal(expired[1], 3);
    assert_int_equal(expired[2], 2);
}

static void test_being_idle_twice_counts_once(void **state)
{
    (void)state;
    set_idle(1, true);
    set_idle(0, true);
    set_idle(1, true);
    assert_int_equal(service.idle_count, 2);
    assert_int_equal(service.idle_since_ms, 1001);
    set_idle(0, false);
    set_idle(0, false);
    assert_int_equal(service.idle_count, 1);
}

/* What leaves while it is idle is no longer counted: the teardown looks. */
static void test_an_idle_one_may_leave(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT; i++) set_idle(i, true);
    assert_int_equal(service.idle_count, COUNT);
}

static void expire_in_vain(struct http_connection *c)
{
    http_connection_set_idle(c, true);
}

static void stay_idle(void)
{
    static const struct http_connection_ops stays = { .expire = expire_in_vain };
    connections[0].ops = &stays;
    http_connection_set_idle(&connections[0], true);
    http_service_expire(&service, 1);
}

static void test_what_was_expired_is_not_idle(void **state)
{
    (void)state;
    assert_true(check_fires(stay_idle, "!c->idle"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_longest_idle_goes_first, open_all, close_all),
        cmocka_unit_test_setup_teardown(test_being_idle_twice_counts_once, open_all, close_all),
        cmocka_unit_test_setup_teardown(test_an_idle_one_may_leave, open_all, close_all),
        cmocka_unit_test_setup_teardown(test_what_was_expired_is_not_idle, open_all, close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
