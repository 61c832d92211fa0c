#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/io/resolve_job.h"

/* ---- a name server with a script, in a thread: cmocka asserts in the main one only, so CHECK it
 * is there ---- */

struct packet {
    unsigned char bytes[4096];
    size_t n;
};

static void put(struct packet *p, const void *bytes, size_t n)
{
    CHECK(p->n + n <= sizeof p->bytes);
    memcpy(p->bytes + p->n, bytes, n);
    p->n += n;
}

static void put_16(struct packet *p, unsigned value)
{
    put(p, (unsigned char[]){ (unsigned char)(value >> 8), (unsigned char)value }, 2);
}

static void put_32(struct packet *p, uint32_t value)
{
    put_16(p, value >> 16);
    put_16(p, value & 0xffff);
}

static void put_name(struct packet *p, const char *name)
{
    while (*name) {
        size_t n = strcspn(name, ".");
        unsigned char length = (unsigned char)n;
        put(p, &length, 1);
        put(p, name, n);
        name += n + (name[n] == '.');
    }
    put(p, "", 1);
}

/* One more record in the answer section. */
static void put_record(struct packet *p, const char *name, ns_type type, uint32_t ttl_s,
                       const void *data, size_t n)
{
    put_name(p, name);
    put_16(p, type);
    put_16(p, ns_c_in);
    put_32(p, ttl_s);
    put_16(p, (unsigned)n);
    put(p, data, n);
    p->bytes[7]++;
}

static void put_a(struct packet *p, const char *name, uint32_t ttl_s, const char *address)
{
    unsigned char bytes[4];
    CHECK(inet_pton(AF_INET, address, bytes) == 1);
    put_record(p, name, ns_t_a, ttl_s, bytes, sizeof bytes);
}

static void put_aaaa(struct packet *p, const char *name, uint32_t ttl_s, const char *address)
{
    unsigned char bytes[16];
    CHECK(inet_pton(AF_INET6, address, bytes) == 1);
    put_record(p, name, ns_t_aaaa, ttl_s, bytes, sizeof bytes);
}

static void put_cname(struct packet *p, const char *name, uint32_t ttl_s, const char *target)
{
    struct packet data = { 0 };
    put_name(&data, target);
    put_record(p, name, ns_t_cname, ttl_s, data.bytes, data.n);
}

static void set_rcode(struct packet *p, ns_rcode rcode)
{
    p->bytes[3] = (unsigned char)((p->bytes[3] & 0xf0) | rcode);
}

struct question {
    char name[NS_MAXDNAME];
    ns_type type;
    bool tcp;
};

/* Adds to a reply that has its header and question; false: say nothing. */
typedef bool script(const struct question *q, struct packet *reply);

static struct {
    script *script;
    int udp, tcp, stop[2];
    struct sockaddr_in address;
    pthread_t thread;
    unsigned a, aaaa, tcp_questions;
} server;

static void read_question(const struct packet *query, struct question *q)
{
    ns_msg message;
    ns_rr rr;
    CHECK(ns_initparse(query->bytes, (int)query->n, &message) == 0);
    CHECK(ns_parserr(&message, ns_s_qd, 0, &rr) == 0);
    snprintf(q->name, sizeof q->name, "%s", ns_rr_name(rr));
    q->type = ns_rr_type(rr);
}

/* Header and question of the query, as a reply without records. */
static void start_reply(const struct packet *query, struct packet *reply)
{
    size_t end = NS_HFIXEDSZ;
    while (query->bytes[end]) end += query->bytes[end] + 1u;
    put(reply, query->bytes, end + 1 + 4);
    reply->bytes[2] |= 0x80;
    reply->bytes[3] = 0x80;
    memset(reply->bytes + 6, 0, 6);
}

static bool answer(const struct packet *query, bool tcp, struct packet *reply)
{
    struct question q = { .tcp = tcp };
    read_question(query, &q);
    server.a += q.type == ns_t_a;
    server.aaaa += q.type == ns_t_aaaa;
    server.tcp_questions += tcp;
    start_reply(query, reply);
    return server.script(&q, reply);
}

static void serve_udp(void)
{
    struct packet query = { 0 }, reply = { 0 };
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    ssize_t n = recvfrom(server.udp, query.bytes, sizeof query.bytes, 0, (void *)&from, &size);
    if (n < NS_HFIXEDSZ) return;
    query.n = (size_t)n;
    if (answer(&query, false, &reply)) {
        sendto(server.udp, reply.bytes, reply.n, 0, (void *)&from, size);
    }
}

static void serve_tcp(void)
{
    struct packet query = { 0 }, reply = { 0 }, framed = { 0 };
    unsigned char length[2];
    int connection = accept(server.tcp, NULL, NULL);
    if (recv(connection, length, 2, MSG_WAITALL) == 2) {
        query.n = (size_t)length[0] << 8 | length[1];
        CHECK(query.n <= sizeof query.bytes);
        ssize_t n = recv(connection, query.bytes, query.n, MSG_WAITALL);
        if (n == (ssize_t)query.n && answer(&query, true, &reply)) {
            put_16(&framed, (unsigned)reply.n);
            put(&framed, reply.bytes, reply.n);
            send(connection, framed.bytes, framed.n, MSG_NOSIGNAL);
        }
    }
    close(connection);
}

static void *serve(void *unused)
{
    struct pollfd fds[] = { { server.udp, POLLIN, 0 },
                            { server.tcp, POLLIN, 0 },
                            { server.stop[0], POLLIN, 0 } };
    while (poll(fds, 3, -1) > 0 && !fds[2].revents) {
        if (fds[0].revents) serve_udp();
        if (fds[1].revents) serve_tcp();
    }
    return unused;
}

/* UDP and TCP on one port of the system's choice; somebody else may have the one that UDP got for
 * TCP. */
static bool bind_both(void)
{
    socklen_t size = sizeof server.address;
    server.address =
        (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    server.udp = socket(AF_INET, SOCK_DGRAM, 0);
    server.tcp = socket(AF_INET, SOCK_STREAM, 0);
    bool bound = bind(server.udp, (void *)&server.address, size) == 0 &&
                 getsockname(server.udp, (void *)&server.address, &size) == 0 &&
                 bind(server.tcp, (void *)&server.address, size) == 0 && listen(server.tcp, 8) == 0;
    if (bound) return true;
    close(server.udp);
    close(server.tcp);
    return false;
}

static void start_server(script *s)
{
    memset(&server, 0, sizeof server);
    server.script = s;
    int tries = 10;
    while (!bind_both()) assert_true(tries-- > 0);
    assert_int_equal(pipe(server.stop), 0);
    assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

static void stop_server(void)
{
    close(server.stop[1]);
    pthread_join(server.thread, NULL);
    close(server.stop[0]);
    close(server.udp);
    close(server.tcp);
}

static int resolve(script *s, const char *host, struct resolve_result *out)
{
    start_server(s);
    struct resolve_config config = {
        .server = server.address, .hosts_path = "/dev/null", .timeout_s = 1, .attempts = 1
    };
    int error = resolve_host_with(&config, host, out);
    stop_server();
    return error;
}

static void assert_address(const struct resolve_result *r, unsigned index, const char *expected)
{
    char text[INET6_ADDRSTRLEN];
    assert_true(index < r->count);
    const union resolve_address *a = &r->addresses[index];
    const void *bytes =
        a->any.sa_family == AF_INET ? (const void *)&a->v4.sin_addr : &a->v6.sin6_addr;
    assert_non_null(inet_ntop(a->any.sa_family, bytes, text, sizeof text));
    assert_string_equal(text, expected);
    assert_int_equal(a->v4.sin_port, 0);
}

/* ---- without a server ---- */

static struct resolve_result result;

static void test_literals(void **state)
{
    (void)state;
    assert_int_equal(resolve_host("192.0.2.7", &result), 0);
    assert_int_equal(result.count, 1);
    assert_address(&result, 0, "192.0.2.7");
    assert_int_equal(result.ttl_s, RESOLVE_TTL_LITERAL);
    assert_int_equal(resolve_host("2001:db8::7", &result), 0);
    assert_int_equal(result.count, 1);
    assert_address(&result, 0, "2001:db8::7");
}

static bool say_nothing(const struct question *q, struct packet *reply)
{
    (void)q;
    (void)reply;
    return false;
}

static void test_localhost_is_never_asked_for(void **state)
{
    (void)state;
    static const char *const names[] = { "localhost", "LOCALHOST.", "a.localhost" };
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(resolve(say_nothing, names[i], &result), 0);
        assert_int_equal(server.a + server.aaaa, 0);
        assert_int_equal(result.count, 2);
        assert_address(&result, 0, "127.0.0.1");
        assert_address(&result, 1, "::1");
        assert_int_equal(result.ttl_s, RESOLVE_TTL_HOSTS);
    }
}

static bool say_nothing_exists(const struct question *q, struct packet *reply)
{
    (void)q;
    set_rcode(reply, ns_r_nxdomain);
    return true;
}

static void test_names_like_localhost_are_asked_for(void **state)
{
    (void)state;
    assert_int_equal(resolve(say_nothing_exists, "notlocalhost", &result), -E_DNS_ERROR);
    assert_true(server.a > 0);
}

static void test_hosts_file(void **state)
{
    (void)state;
    static const char text[] = "# app 192.0.2.99\n"
                               "192.0.2.1\tapp.test  App # other\n"
                               "not-an-address app\n"
                               "\n"
                               "2001:db8::1 app app.test\n"
                               "192.0.2.3 apple other.test";
    char path[] = "/tmp/verge-hosts-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    start_server(say_nothing_exists);
    struct resolve_config config = {
        .server = server.address, .hosts_path = path, .timeout_s = 1, .attempts = 1
    };
    assert_int_equal(resolve_host_with(&config, "aPP", &result), 0);
    assert_int_equal(result.count, 2);
    assert_address(&result, 0, "192.0.2.1");
    assert_address(&result, 1, "2001:db8::1");
    assert_int_equal(result.ttl_s, RESOLVE_TTL_HOSTS);
    assert_int_equal(resolve_host_with(&config, "other.test", &result), 0);
    assert_address(&result, 0, "192.0.2.3");
    assert_int_equal(resolve_host_with(&config, "other", &result), -E_DNS_ERROR);
    stop_server();
    unlink(path);
}

/* ---- answers ---- */

static bool say_both(const struct question *q, struct packet *reply)
{
    if (q->type == ns_t_a) {
        put_a(reply, q->name, 300, "192.0.2.1");
        put_a(reply, q->name, 200, "192.0.2.2");
    } else {
        put_aaaa(reply, q->name, 250, "2001:db8::1");
    }
    return true;
}

static void test_both_families(void **state)
{
    (void)state;
    assert_int_equal(resolve(say_both, "app.test", &result), 0);
    assert_int_equal(result.count, 3);
    assert_address(&result, 0, "192.0.2.1");
    assert_address(&result, 1, "192.0.2.2");
    assert_address(&result, 2, "2001:db8::1");
    assert_int_equal(result.ttl_s, 200);
    assert_int_equal(server.a, 1);
    assert_int_equal(server.aaaa, 1);
}

static bool say_only_aaaa(const struct question *q, struct packet *reply)
{
    if (q->type == ns_t_aaaa) put_aaaa(reply, q->name, 0, "2001:db8::1");
    return true;
}

static void test_one_family_is_enough(void **state)
{
    (void)state;
    assert_int_equal(resolve(say_only_aaaa, "app.test", &result), 0);
    assert_int_equal(result.count, 1);
    assert_address(&result, 0, "2001:db8::1");
    assert_int_equal(result.ttl_s, 0);
}

/* Backwards, which is allowed, with names in another case, and among records that are nobody's
 * business. */
static bool say_aliases(const struct question *q, struct packet *reply)
{
    if (q->type != ns_t_a) return true;
    put_a(reply, "other.test", 1, "192.0.2.99");
    put_a(reply, "c.test", 300, "192.0.2.1");
    put_cname(reply, "B.test", 20, "c.TEST");
    put_cname(reply, "x.test", 2, "y.test");
    put_cname(reply, q->name, 100, "b.test");
    return true;
}

static void test_aliases_count_towards_the_ttl(void **state)
{
    (void)state;
    assert_int_equal(resolve(say_aliases, "app.test", &result), 0);
    assert_int_equal(result.count, 1);
    assert_address(&result, 0, "192.0.2.1");
    assert_int_equal(result.ttl_s, 20);
}

static bool say_circle(const struct question *q, struct packet *reply)
{
    put_cname(reply, q->name, 100, "b.test");
    put_cname(reply, "b.test", 100, q->name);
    return true;
}

static bool say_alias_to_nothing(const struct question *q, struct packet *reply)
{
    put_cname(reply, q->name, 100, "b.test");
    return true;
}

static bool say_many(const struct question *q, struct packet *reply)
{
    char text[INET6_ADDRSTRLEN];
    for (int i = 1; i <= 20 && q->type == ns_t_a; i++) {
        snprintf(text, sizeof text, "192.0.2.%d", i);
        put_a(reply, q->name, 60, text);
    }
    if (q->type == ns_t_aaaa) put_aaaa(reply, q->name, 60, "2001:db8::1");
    return true;
}

static void test_more_addresses_than_there_is_room(void **state)
{
    (void)state;
    assert_int_equal(resolve(say_many, "app.test", &result), 0);
    assert_int_equal(result.count, RESOLVE_ADDRESSES);
    assert_address(&result, RESOLVE_ADDRESSES - 1, "192.0.2.16");
}

static bool say_negative_ttl(const struct question *q, struct packet *reply)
{
    if (q->type == ns_t_a) put_a(reply, q->name, 0x80000001, "192.0.2.1");
    return true;
}

static void test_a_ttl_beyond_31_bits_is_zero(void **state)
{
    (void)state;
    assert_int_equal(resolve(say_negative_ttl, "app.test", &result), 0);
    assert_int_equal(result.ttl_s, 0);
}

static bool say_truncated(const struct question *q, struct packet *reply)
{
    if (!q->tcp) {
        reply->bytes[2] |= 0x02;
        return true;
    }
    return say_both(q, reply);
}

static void test_truncated_answers_come_again_by_tcp(void **state)
{
    (void)state;
    assert_int_equal(resolve(say_truncated, "app.test", &result), 0);
    assert_int_equal(result.count, 3);
    assert_int_equal(server.tcp_questions, 2);
}

/* Exists below the second search domain only, and there has both families. */
static bool say_search(const struct question *q, struct packet *reply)
{
    if (strcmp(q->name, "app.second.test") == 0) return say_both(q, reply);
    set_rcode(reply, ns_r_nxdomain);
    return true;
}

static void test_search_domains(void **state)
{
    (void)state;
    assert_int_equal(resolve(say_search, "app", &result), 0);
    assert_int_equal(result.count, 3);
    assert_int_equal(server.a, 2);
    assert_int_equal(server.aaaa, 1);
}

/* ---- no answers ---- */

static bool say_no_data(const struct question *q, struct packet *reply)
{
    (void)q;
    (void)reply;
    return true;
}

static bool say_failure(const struct question *q, struct packet *reply)
{
    (void)q;
    set_rcode(reply, ns_r_servfail);
    return true;
}

static bool say_refused(const struct question *q, struct packet *reply)
{
    (void)q;
    set_rcode(reply, ns_r_refused);
    return true;
}

static bool say_wrong_lengths(const struct question *q, struct packet *reply)
{
    put_record(reply, q->name, q->type, 60, "12345", 5);
    return true;
}

static bool say_more_records_than_there_are(const struct question *q, struct packet *reply)
{
    put_a(reply, q->name, 60, "192.0.2.1");
    reply->bytes[7] = 200;
    return true;
}

static bool say_cut_record(const struct question *q, struct packet *reply)
{
    put_a(reply, q->name, 60, "192.0.2.1");
    reply->n -= 2;
    return true;
}

/* A compressed name that points at itself, as owner. */
static bool say_name_circle(const struct question *q, struct packet *reply)
{
    (void)q;
    size_t at = reply->n;
    put_16(reply, 0xc000 | (unsigned)at);
    put_16(reply, ns_t_a);
    put_16(reply, ns_c_in);
    put_32(reply, 60);
    put_16(reply, 4);
    put(reply, "\1\2\3\4", 4);
    reply->bytes[7]++;
    return true;
}

/* And in an alias. */
static bool say_alias_circle(const struct question *q, struct packet *reply)
{
    put_record(reply, q->name, ns_t_cname, 60, "\xc0", 2);
    size_t at = reply->n - 2;
    reply->bytes[at] = (unsigned char)(0xc0 | at >> 8);
    reply->bytes[at + 1] = (unsigned char)at;
    return true;
}

static bool say_other_name(const struct question *q, struct packet *reply)
{
    (void)q;
    put_a(reply, "other.test", 60, "192.0.2.1");
    return true;
}

static void test_errors(void **state)
{
    (void)state;
    static script *const scripts[] = {
        say_nothing_exists, say_no_data,    say_failure,          say_refused,
        say_wrong_lengths,  say_circle,     say_cut_record,       say_name_circle,
        say_alias_circle,   say_other_name, say_alias_to_nothing, say_more_records_than_there_are,
    };
    for (unsigned i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        int error = resolve(scripts[i], "app.test.", &result);
        if (error != -E_DNS_ERROR) fail_msg("script %u: %d", i, error);
        assert_true(server.a > 0);
        assert_int_equal(result.count, 0);
    }
}

static void test_a_timeout_is_the_last_question(void **state)
{
    (void)state;
    assert_int_equal(resolve(say_nothing, "app.test.", &result), -E_DNS_TIMEOUT);
    assert_int_equal(server.a, 1);
    assert_int_equal(server.aaaa, 0);
}

static bool say_nothing_to_aaaa(const struct question *q, struct packet *reply)
{
    return q->type == ns_t_a && say_both(q, reply);
}

static void test_a_timeout_does_not_undo_an_answer(void **state)
{
    (void)state;
    assert_int_equal(resolve(say_nothing_to_aaaa, "app.test", &result), 0);
    assert_int_equal(result.count, 2);
}

/* A reply to another question, or too short to be one, is as good as none. */
static bool say_to_another(const struct question *q, struct packet *reply)
{
    put_a(reply, q->name, 60, "192.0.2.1");
    reply->bytes[0] ^= 0x55;
    return true;
}

static void test_replies_to_other_questions_are_ignored(void **state)
{
    (void)state;
    assert_int_equal(resolve(say_to_another, "app.test.", &result), -E_DNS_TIMEOUT);
}

static void test_nobody_listens(void **state)
{
    (void)state;
    start_server(say_nothing);
    struct resolve_config config = {
        .server = server.address, .hosts_path = "/dev/null", .timeout_s = 1, .attempts = 1
    };
    stop_server();
    assert_int_equal(resolve_host_with(&config, "app.test.", &result), -E_DNS_ERROR);
}

static void test_names_that_are_none(void **state)
{
    (void)state;
    char label[80];
    memset(label, 'x', sizeof label);
    label[sizeof label - 1] = '\0';
    assert_int_equal(resolve(say_nothing, label, &result), -E_DNS_ERROR);
    assert_int_equal(server.a, 0);
    assert_int_equal(resolve(say_nothing, "a..b", &result), -E_DNS_ERROR);
    assert_int_equal(server.a, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_localhost_is_never_asked_for),
        cmocka_unit_test(test_names_like_localhost_are_asked_for),
        cmocka_unit_test(test_hosts_file),
        cmocka_unit_test(test_both_families),
        cmocka_unit_test(test_one_family_is_enough),
        cmocka_unit_test(test_aliases_count_towards_the_ttl),
        cmocka_unit_test(test_more_addresses_than_there_is_room),
        cmocka_unit_test(test_a_ttl_beyond_31_bits_is_zero),
        cmocka_unit_test(test_truncated_answers_come_again_by_tcp),
        cmocka_unit_test(test_search_domains),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_a_timeout_is_the_last_question),
        cmocka_unit_test(test_a_timeout_does_not_undo_an_answer),
        cmocka_unit_test(test_replies_to_other_questions_are_ignored),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_names_that_are_none),
    };
    setenv("LOCALDOMAIN", "first.test second.test", 1); /* read once, with the first lookup */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
