/* udp: trains of datagrams over loopback, with their marks. What the worker finds wrong is a failed
 * CHECK, since cmocka's assertions belong to the thread that runs the tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/base/list.h"
#include "edge/io/udp.h"
#include "edge/io/worker.h"

#define SEGMENT_BYTES 1200
#define TRAIN_BYTES   (10 * SEGMENT_BYTES + 100)

static struct worker worker;
static struct scope scope;
static struct udp here, there;
static char bytes[TRAIN_BYTES];
static const char *family;
static uint8_t ecn;
static size_t got_bytes;

static int open_on(const char *at)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    return strcmp(at, "v4") == 0 ? udp_open((struct sockaddr *)&v4, sizeof v4)
                                 : udp_open((struct sockaddr *)&v6, sizeof v6);
}

static void on_idle(struct scope *s)
{
    (void)s;
    udp_close(&here);
    udp_close(&there);
    worker_stop(&worker);
}

/* The kernel may bring what was one train in several, but never a datagram in two. */
static void take(struct udp *u, const struct udp_train *t)
{
    CHECK(u == &there);
    CHECK(udp_address_equal(&t->path.remote, &here.bound));
    CHECK(udp_address_equal(&t->path.local, &there.bound));
    CHECK(t->ecn == ecn);
    CHECK(t->bytes.n <= t->segment_bytes || t->segment_bytes == SEGMENT_BYTES);
    CHECK(got_bytes + t->bytes.n <= sizeof bytes);
    CHECK(memcmp(t->bytes.p, bytes + got_bytes, t->bytes.n) == 0);
    got_bytes += t->bytes.n;
    if (got_bytes < sizeof bytes) return;
    udp_cancel(&here);
    udp_cancel(&there);
    scope_close(&scope);
}

static void never(struct udp *u)
{
    (void)u;
    CHECK(!"nothing fills the buffer");
}

static const struct udp_ops ops = { take, never };

static void send_train(struct worker *w)
{
    int one = open_on(family), two = open_on(family);
    CHECK(one >= 0 && two >= 0);
    scope_init(&scope, w, on_idle);
    CHECK(udp_init(&here, w, &scope, &ops, one) && udp_init(&there, w, &scope, &ops, two));
    struct udp_train t = { .path = { here.bound, there.bound },
                           .bytes = { bytes, sizeof bytes },
                           .segment_bytes = SEGMENT_BYTES,
                           .ecn = ecn };
    CHECK(udp_send(&here, &t));
}

static void pass_a_train(const char *over, uint8_t mark)
{
    family = over;
    ecn = mark;
    got_bytes = 0;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i / SEGMENT_BYTES + i);
    worker_init(&worker, 0);
    assert_int_equal(worker_start(&worker, -1, send_train), 0);
    worker_join(&worker);
    assert_int_equal(got_bytes, sizeof bytes);
}

static void test_a_train_arrives(void **state)
{
    (void)state;
    pass_a_train("v4", 0);
}

static void test_its_mark_arrives(void **state)
{
    (void)state;
    pass_a_train("v4", 2);
    pass_a_train("v4", 3);
}

static void test_the_same_over_ipv6(void **state)
{
    (void)state;
    int fd = open_on("v6");
    if (fd < 0) skip();
    close(fd);
    pass_a_train("v6", 1);
}

static void test_addresses_are_compared(void **state)
{
    (void)state;
    struct udp_address a = { .v4 = { .sin_family = AF_INET, .sin_port = 1 } }, b = a;
    assert_true(udp_address_equal(&a, &b));
    b.v4.sin_port = 2;
    assert_false(udp_address_equal(&a, &b));
    b = (struct udp_address){ .v6 = { .sin6_family = AF_INET6, .sin6_port = 1 } };
    assert_false(udp_address_equal(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_train_arrives),
        cmocka_unit_test(test_its_mark_arrives),
        cmocka_unit_test(test_the_same_over_ipv6),
        cmocka_unit_test(test_addresses_are_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
