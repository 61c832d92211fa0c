/* quic ids: which worker an ID belongs to, as the node and as the kernel compute it; the table,
 * against a plain list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "edge/io/udp.h"
#include "protocols/quic/ids.h"

#define WORKERS 5

static struct quic_random randomness;

/* ---- routes ---- */

static void test_an_id_leads_to_its_worker(void **state)
{
    (void)state;
    struct quic_route r;
    quic_route_init(&r, WORKERS);
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t id[QUIC_ID_BYTES];
        quic_id_make(&r, i % WORKERS, &randomness, id);
        assert_int_equal(quic_route_of(&r, id), i % WORKERS);
    }
}

/* A tenth off the mean would be thirty standard deviations. */
static void test_foreign_ids_are_spread(void **state)
{
    (void)state;
    struct quic_route r;
    unsigned count[WORKERS] = { 0 };
    quic_route_init(&r, WORKERS);
    for (uint64_t i = 0; i < 500000; i++) {
        uint64_t id = i * 0x9e3779b97f4a7c15;
        count[quic_route_of(&r, (uint8_t *)&id)]++;
    }
    for (unsigned w = 0; w < WORKERS; w++) assert_in_range(count[w], 90000, 110000);
}

/* The same IDs, sorted by two keys: equal only by chance. */
static void test_a_worker_is_not_to_be_read_without_the_key(void **state)
{
    (void)state;
    struct quic_route one, two;
    unsigned same = 0;
    quic_route_init(&one, 2);
    quic_route_init(&two, 2);
    for (unsigned i = 0; i < 4000; i++) {
        uint8_t id[QUIC_ID_BYTES];
        quic_id_make(&one, 0, &randomness, id);
        same += quic_route_of(&two, id) == 0;
    }
    assert_in_range(same, 1, 3999);
}

static int group[WORKERS];

static void open_group(const struct quic_route *r, struct sockaddr_in *address)
{
    socklen_t bytes = sizeof *address;
    *address = (struct sockaddr_in){ .sin_family = AF_INET };
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (unsigned w = 0; w < WORKERS; w++) {
        group[w] = udp_open((struct sockaddr *)address, sizeof *address);
        assert_true(group[w] >= 0);
        assert_int_equal(getsockname(group[w], (struct sockaddr *)address, &bytes), 0);
    }
    assert_true(quic_route_attach(r, group[0]));
}

/* Which of the group got a datagram; it is taken. */
static unsigned receiver(void)
{
    struct pollfd fds[WORKERS];
    for (unsigned w = 0; w < WORKERS; w++)
        fds[w] = (struct pollfd){ .fd = group[w], .events = POLLIN };
    assert_int_equal(poll(fds, WORKERS, 10000), 1);
    for (unsigned w = 0; w < WORKERS; w++) {
        char bytes[64];
        if (fds[w].revents && recv(group[w], bytes, sizeof bytes, 0) > 0) return w;
    }
    fail();
    return WORKERS;
}

static void test_the_kernel_computes_the_same(void **state)
{
    (void)state;
    struct quic_route r;
    struct sockaddr_in to;
    quic_route_init(&r, WORKERS);
    open_group(&r, &to);
    for (unsigned i = 0; i < 200; i++) {
        /* Each from a port of its own, as after an address change. */
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        uint8_t packet[40] = { i % 2 ? 0xc0 : 0x40, 0, 0, 0, 1, QUIC_ID_BYTES };
        quic_id_make(&r, i % WORKERS, &randomness, packet + (i % 2 ? 6 : 1));
        assert_int_equal(sendto(fd, packet, sizeof packet, 0, (struct sockaddr *)&to, sizeof to),
                         sizeof packet);
        assert_int_equal(receiver(), i % WORKERS);
        close(fd);
    }
    for (unsigned w = 0; w < WORKERS; w++) close(group[w]);
}

/* ---- the table ---- */

#define IDS         3000
#define CONNECTIONS 50

struct model {
    uint8_t bytes[QUIC_ID_BYTES_MAX];
    size_t n;
    unsigned of; /* CONNECTIONS: not in the table */
};

static struct model model[IDS];
static struct quic_id *lists[CONNECTIONS];

/* The table only keeps the address. */
static struct quic_connection *nth(unsigned i)
{
    static char addresses[CONNECTIONS];
    return (struct quic_connection *)&addresses[i];
}

static struct slice id_of(const struct model *m)
{
    return slice_of((const char *)m->bytes, m->n);
}

static void check_all(const struct quic_ids *t)
{
    size_t count = 0;
    for (unsigned i = 0; i < IDS; i++) {
        bool in = model[i].of < CONNECTIONS;
        count += in;
        assert_ptr_equal(quic_ids_find(t, id_of(&model[i])), in ? nth(model[i].of) : NULL);
    }
    assert_int_equal(t->count, count);
}

static void add(struct quic_ids *t, struct model *m, unsigned of)
{
    m->of = of;
    quic_ids_add(t, id_of(m), nth(of), &lists[of]);
}

static void test_the_table_is_a_map(void **state)
{
    (void)state;
    struct quic_ids t;
    quic_ids_init(&t, &randomness);
    for (unsigned i = 0; i < IDS; i++) {
        model[i].n = 8 + i % (QUIC_ID_BYTES_MAX - 8 + 1);
        quic_random_fill(&randomness, model[i].bytes, model[i].n);
        model[i].of = CONNECTIONS;
    }
    check_all(&t);
    for (unsigned i = 0; i < IDS; i++) add(&t, &model[i], i % CONNECTIONS);
    check_all(&t);
    for (unsigned i = 0; i < IDS; i += 3) {
        quic_ids_remove(&t, id_of(&model[i]), &lists[model[i].of]);
        model[i].of = CONNECTIONS;
    }
    quic_ids_remove(&t, id_of(&model[0]), &lists[0]); /* harmless */
    check_all(&t);
    for (unsigned c = 0; c < CONNECTIONS; c++) quic_ids_clear(&t, &lists[c]);
    for (unsigned i = 0; i < IDS; i++) model[i].of = CONNECTIONS;
    check_all(&t);
    quic_ids_free(&t);
}

/* IDs that differ behind the sixteenth byte alone meet in one bucket, and are told apart. */
static void test_long_ids_are_compared_whole(void **state)
{
    (void)state;
    struct quic_ids t;
    uint8_t a[QUIC_ID_BYTES_MAX] = { 0 }, b[QUIC_ID_BYTES_MAX] = { [19] = 1 };
    struct slice first = slice_of((char *)a, sizeof a), second = slice_of((char *)b, sizeof b);
    quic_ids_init(&t, &randomness);
    quic_ids_add(&t, first, nth(0), &lists[0]);
    assert_null(quic_ids_find(&t, second));
    assert_null(quic_ids_find(&t, slice_of((char *)a, sizeof a - 1)));
    quic_ids_add(&t, second, nth(1), &lists[1]);
    assert_ptr_equal(quic_ids_find(&t, first), nth(0));
    assert_ptr_equal(quic_ids_find(&t, second), nth(1));
    quic_ids_clear(&t, &lists[0]);
    quic_ids_clear(&t, &lists[1]);
    quic_ids_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_id_leads_to_its_worker),
        cmocka_unit_test(test_foreign_ids_are_spread),
        cmocka_unit_test(test_a_worker_is_not_to_be_read_without_the_key),
        cmocka_unit_test(test_the_kernel_computes_the_same),
        cmocka_unit_test(test_the_table_is_a_map),
        cmocka_unit_test(test_long_ids_are_compared_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
