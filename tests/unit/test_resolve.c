#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/io/offload.h"
#include "edge/resolve.h"

/* A test is a script of steps on a worker; what it finds wrong there is a failed CHECK, since
 * cmocka's assertions belong to the thread that runs the tests. Time passes by moving the worker's
 * clock, which the loop sets right again with its next turn. */

#define DEADLINE_S 60
#define SECOND_US  1000000
#define HOUR_US    (3600ll * SECOND_US)

/* ---- the name server: what resolve_host says ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int error;
    const char *address;
    uint32_t ttl_s;
    bool held; /* lookups wait */
    unsigned asked;
    char host[64]; /* the last one */
} dns = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void dns_says(int error, const char *address, uint32_t ttl_s)
{
    pthread_mutex_lock(&dns.lock);
    dns.error = error;
    dns.address = address;
    dns.ttl_s = ttl_s;
    pthread_mutex_unlock(&dns.lock);
}

static void dns_hold(bool held)
{
    pthread_mutex_lock(&dns.lock);
    dns.held = held;
    pthread_cond_broadcast(&dns.changed);
    pthread_mutex_unlock(&dns.lock);
}

static unsigned dns_asked(void)
{
    pthread_mutex_lock(&dns.lock);
    unsigned asked = dns.asked;
    pthread_mutex_unlock(&dns.lock);
    return asked;
}

static void set_address(struct resolve_result *out, const char *text, uint32_t ttl_s)
{
    *out = (struct resolve_result){ .count = 1, .ttl_s = ttl_s };
    union resolve_address *a = &out->addresses[0];
    if (inet_pton(AF_INET, text, &a->v4.sin_addr) == 1) {
        a->v4.sin_family = AF_INET;
    } else {
        CHECK(inet_pton(AF_INET6, text, &a->v6.sin6_addr) == 1);
        a->v6.sin6_family = AF_INET6;
    }
}

/* Stands in for the one of edge/io/resolve_job.c. A worker may call it for a literal only. */
int resolve_host(const char *host, struct resolve_result *out)
{
    if (worker_self()) {
        set_address(out, host, RESOLVE_TTL_LITERAL);
        return 0;
    }
    pthread_mutex_lock(&dns.lock);
    dns.asked++;
    snprintf(dns.host, sizeof dns.host, "%s", host);
    pthread_cond_broadcast(&dns.changed);
    while (dns.held) pthread_cond_wait(&dns.changed, &dns.lock);
    int error = dns.error;
    out->count = 0;
    if (!error) set_address(out, dns.address, dns.ttl_s);
    pthread_mutex_unlock(&dns.lock);
    return error;
}

static void await_asked(unsigned count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_S;
    pthread_mutex_lock(&dns.lock);
    while (dns.asked < count) {
        CHECK(pthread_cond_timedwait(&dns.changed, &dns.lock, &until) == 0);
    }
    pthread_mutex_unlock(&dns.lock);
}

/* ---- a test's worker ---- */

static struct {
    struct worker worker;
    struct resolver resolver;
    void (*first)(void);
    void (*next)(void);
    struct timer timer;
    bool closed;
} t;

static void on_closed(struct resolver *r)
{
    CHECK(r == &t.resolver && !t.closed);
    t.closed = true;
    worker_stop(&t.worker);
}

static void finish(void)
{
    resolver_close(&t.resolver, on_closed);
}

static void on_timer(struct timer *timer)
{
    if (t.resolver.scope.pending) {
        timer_set(&t.worker.wheel, timer, worker_now_ms(&t.worker) + 1);
    } else {
        t.next();
    }
}

/* Runs next in a later turn, when no lookup is under way. */
static void then(void (*next)(void))
{
    t.next = next;
    timer_init(&t.timer, on_timer);
    timer_set(&t.worker.wheel, &t.timer, 0);
}

static void on_start(struct worker *w)
{
    resolver_init(&t.resolver, w);
    t.first();
}

static void run_with(unsigned queue_max, void (*first)(void))
{
    memset(&t, 0, sizeof t);
    dns.asked = 0;
    dns.held = false;
    dns_says(0, "192.0.2.1", 60);
    t.first = first;
    worker_init(&t.worker, 0);
    assert_int_equal(offload_start(2, queue_max), 0);
    assert_int_equal(worker_start(&t.worker, -1, on_start), 0);
    worker_join(&t.worker);
    offload_stop();
    assert_true(t.closed);
}

static void run(void (*first)(void))
{
    run_with(16, first);
}

/* ---- asking ---- */

/* A wait and what came of it. */
struct asker {
    struct resolve_wait wait;
    unsigned called;
    int error;
    void (*next)(void);
};

static struct asker one, two, three;

static void on_ready(struct resolve_wait *w, int error)
{
    struct asker *a = container_of(w, struct asker, wait);
    a->called++;
    a->error = error;
    if (a->next) a->next();
}

static const struct resolve_result *got; /* what ask found, where it found something */

static int ask(struct asker *a, const char *host, void (*next)(void))
{
    *a = (struct asker){ .wait.ready = on_ready, .next = next };
    list_init(&a->wait.link);
    got = NULL;
    return resolve_lookup(&t.resolver, slice_str(host), &got, &a->wait);
}

static bool got_address(const char *text)
{
    struct resolve_result expected;
    set_address(&expected, text, 0);
    return got && got->count == 1 &&
           memcmp(&got->addresses[0], &expected.addresses[0], sizeof expected.addresses[0]) == 0;
}

static bool answers(const char *host, const char *address)
{
    return ask(&two, host, NULL) == 1 && got_address(address);
}

/* ---- answers ---- */

static void check_answered(void)
{
    CHECK(one.error == 0);
    CHECK(answers("app.test", "192.0.2.1"));
    CHECK(answers("APP.test", "192.0.2.1"));
    CHECK(dns_asked() == 1);
    then(finish);
}

static void ask_first(void)
{
    CHECK(ask(&one, "app.test", check_answered) == 0);
    CHECK(!got && !one.called);
}

static void test_a_name_is_looked_up_once(void **state)
{
    (void)state;
    run(ask_first);
    assert_int_equal(one.called, 1);
    assert_int_equal(dns.asked, 1);
    assert_string_equal(dns.host, "app.test");
}

static void check_borrowed(void)
{
    CHECK(answers("app.test", "192.0.2.1"));
    then(finish);
}

/* The text need not outlive the call, nor be terminated. */
static void ask_borrowed(void)
{
    char *text = strdup("app.testing");
    one = (struct asker){ .wait.ready = on_ready, .next = check_borrowed };
    list_init(&one.wait.link);
    dns_hold(true);
    CHECK(resolve_lookup(&t.resolver, slice_of(text, 8), &got, &one.wait) == 0);
    free(text);
    dns_hold(false);
}

static void test_the_name_is_copied(void **state)
{
    (void)state;
    run(ask_borrowed);
    assert_int_equal(one.called, 1);
    assert_string_equal(dns.host, "app.test");
}

static void check_literals(void)
{
    const struct resolve_result *first;
    CHECK(ask(&one, "192.0.2.7", NULL) == 1 && got_address("192.0.2.7"));
    first = got;
    CHECK(ask(&one, "2001:db8::7", NULL) == 1 && got_address("2001:db8::7"));
    got = first;
    CHECK(got_address("192.0.2.7"));
    t.worker.now_us += HOUR_US / 2;
    CHECK(ask(&one, "192.0.2.7", NULL) == 1);
    finish();
}

static void test_literals_never_wait(void **state)
{
    (void)state;
    run(check_literals);
    assert_int_equal(dns.asked, 0);
}

/* ---- the end of an answer ---- */

static void check_refreshed(void)
{
    CHECK(answers("app.test", "192.0.2.2"));
    CHECK(dns_asked() == 2);
    finish();
}

/* In the turn of the answer, so that its age is known. */
static void outlive_ttl(void)
{
    t.worker.now_us += 59 * SECOND_US;
    CHECK(answers("app.test", "192.0.2.1"));
    CHECK(t.resolver.scope.pending == 1); /* the lookup whose ready this is */
    t.worker.now_us += SECOND_US;
    dns_says(0, "192.0.2.2", 60);
    dns_hold(true);
    CHECK(answers("app.test", "192.0.2.1"));
    CHECK(answers("app.test", "192.0.2.1"));
    CHECK(t.resolver.scope.pending == 2);
    dns_hold(false);
    then(check_refreshed);
}

static void ask_and_outlive(void)
{
    CHECK(ask(&one, "app.test", outlive_ttl) == 0);
}

static void test_an_answer_is_refreshed_behind(void **state)
{
    (void)state;
    run(ask_and_outlive);
    assert_int_equal(dns.asked, 2);
}

static void outlive_least_ttl(void)
{
    t.worker.now_us += RESOLVE_TTL_MIN_S * SECOND_US - 1000;
    CHECK(answers("app.test", "192.0.2.1"));
    CHECK(t.resolver.scope.pending == 1);
    t.worker.now_us += 1000;
    CHECK(answers("app.test", "192.0.2.1"));
    CHECK(t.resolver.scope.pending == 2);
    then(finish);
}

static void ask_without_ttl(void)
{
    dns_says(0, "192.0.2.1", 0);
    CHECK(ask(&one, "app.test", outlive_least_ttl) == 0);
}

static void test_no_ttl_is_shorter_than_the_least(void **state)
{
    (void)state;
    run(ask_without_ttl);
    assert_int_equal(dns.asked, 2);
}

/* ---- failures ---- */

static void check_recovered(void)
{
    CHECK(three.called == 1 && three.error == 0);
    CHECK(answers("app.test", "192.0.2.1"));
    finish();
}

static void outlive_failure(void)
{
    CHECK(one.error == -E_DNS_TIMEOUT);
    CHECK(ask(&two, "app.test", NULL) == -E_DNS_TIMEOUT);
    t.worker.now_us += RESOLVE_RETRY_S * SECOND_US - 1000;
    CHECK(ask(&two, "app.test", NULL) == -E_DNS_TIMEOUT);
    CHECK(t.resolver.scope.pending == 1);
    t.worker.now_us += 1000;
    dns_says(0, "192.0.2.1", 60);
    CHECK(ask(&three, "app.test", NULL) == 0);
    then(check_recovered);
}

static void ask_in_vain(void)
{
    dns_says(-E_DNS_TIMEOUT, NULL, 0);
    CHECK(ask(&one, "app.test", outlive_failure) == 0);
}

static void test_a_failure_is_remembered_for_a_while(void **state)
{
    (void)state;
    run(ask_in_vain);
    assert_int_equal(one.called, 1);
    assert_int_equal(two.called, 0);
    assert_int_equal(dns.asked, 2);
}

static int64_t before_us;

static void check_retried(void)
{
    CHECK(dns_asked() == 3);
    CHECK(answers("app.test", "192.0.2.3"));
    finish();
}

/* The clock goes back behind the failure, so that it is young however slow the machine is. */
static void check_kept(void)
{
    CHECK(dns_asked() == 2);
    t.worker.now_us = before_us;
    CHECK(answers("app.test", "192.0.2.1"));
    CHECK(!t.resolver.scope.pending);
    t.worker.now_us += HOUR_US / 2;
    dns_says(0, "192.0.2.3", 60);
    CHECK(answers("app.test", "192.0.2.1"));
    then(check_retried);
}

static void refresh_in_vain(void)
{
    before_us = t.worker.now_us;
    t.worker.now_us += HOUR_US / 2;
    dns_says(-E_DNS_ERROR, NULL, 0);
    CHECK(answers("app.test", "192.0.2.1"));
    then(check_kept);
}

static void ask_and_refresh_in_vain(void)
{
    CHECK(ask(&one, "app.test", refresh_in_vain) == 0);
}

/* Runs with standard error in a pipe, and tells what was written there. */
static const char *run_logged(void (*first)(void))
{
    static char text[4096];
    int ends[2], before = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    run(first);
    dup2(before, STDERR_FILENO);
    close(before);
    size_t n = 0;
    for (ssize_t more; (more = read(ends[0], text + n, sizeof text - 1 - n)) > 0;) {
        n += (size_t)more;
    }
    text[n] = '\0';
    close(ends[0]);
    return text;
}

static void test_a_failed_refresh_keeps_the_last_answer(void **state)
{
    (void)state;
    const char *text = run_logged(ask_and_refresh_in_vain);
    assert_int_equal(dns.asked, 3);
    assert_non_null(strstr(text, " warning origin host app.test: "));
    assert_non_null(strstr(text, error_info(E_DNS_ERROR)->text));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

/* The first lookups go to the pool's two threads, the third into its queue. */
static void overfill(void)
{
    dns_hold(true);
    CHECK(ask(&one, "a.test", NULL) == 0);
    await_asked(1);
    CHECK(ask(&two, "b.test", NULL) == 0);
    await_asked(2);
    CHECK(ask(&three, "c.test", NULL) == 0);
    static struct asker refused;
    CHECK(ask(&refused, "d.test", NULL) == -E_QUEUE_FULL);
    CHECK(t.resolver.scope.pending == 3);
    dns_hold(false);
    then(finish);
}

static void test_a_full_queue_is_a_failure(void **state)
{
    (void)state;
    run_with(1, overfill);
    assert_int_equal(one.called + two.called + three.called, 3);
    assert_int_equal(dns.asked, 3);
}

/* ---- several waits ---- */

static unsigned names(void)
{
    unsigned n = 0;
    list_each (node, &t.resolver.names) n++;
    return n;
}

/* All of it from inside ready: ends another's wait, its own memory, and, by asking anew after an
 * hour, the name that was just answered. */
static struct asker *shortlived, *other;

static void upset(void)
{
    resolve_cancel(&two.wait);
    resolve_cancel(&two.wait);
    free(shortlived);
    t.worker.now_us += HOUR_US + SECOND_US;
    CHECK(ask(other, "other.test", NULL) == 0);
    CHECK(names() == 1);
}

static void ask_together(void)
{
    shortlived = malloc(sizeof *shortlived);
    other = malloc(sizeof *other);
    CHECK(shortlived && other);
    dns_hold(true);
    CHECK(ask(shortlived, "app.test", upset) == 0);
    CHECK(ask(&two, "app.test", NULL) == 0);
    CHECK(ask(&three, "app.test", NULL) == 0);
    dns_hold(false);
    then(finish);
}

static void test_ready_may_do_anything(void **state)
{
    (void)state;
    run(ask_together);
    assert_int_equal(two.called, 0);
    assert_int_equal(three.called, 1);
    assert_int_equal(three.error, 0);
    assert_int_equal(other->called, 1);
    assert_int_equal(dns.asked, 2);
    free(other);
}

/* A failure so old, when ready runs, that asking starts the next lookup: its answer is for those
 * who asked then. */
static unsigned tries;

static void try_again(void)
{
    tries++;
    t.worker.now_us += RESOLVE_RETRY_S * SECOND_US;
    if (tries < 3) CHECK(ask(&one, "app.test", try_again) == 0);
}

static void ask_stubbornly(void)
{
    tries = 0;
    dns_says(-E_DNS_ERROR, NULL, 0);
    CHECK(ask(&one, "app.test", try_again) == 0);
    then(finish);
}

static void test_asking_again_from_ready_waits_for_the_next_lookup(void **state)
{
    (void)state;
    run(ask_stubbornly);
    assert_int_equal(tries, 3);
    assert_int_equal(dns.asked, 3);
}

/* ---- names that nobody asks for ---- */

static void outlive_names(void)
{
    dns_hold(true);
    CHECK(ask(&one, "slow.test", NULL) == 0);
    CHECK(ask(&two, "192.0.2.1", NULL) == 1);
    t.worker.now_us += HOUR_US / 2;
    CHECK(ask(&two, "192.0.2.2", NULL) == 1);
    t.worker.now_us += HOUR_US / 2 + SECOND_US;
    CHECK(names() == 3);
    CHECK(ask(&two, "192.0.2.3", NULL) == 1);
    CHECK(names() == 3); /* without the first literal; the lookup under way keeps its name */
    dns_hold(false);
    then(finish);
}

static void test_names_are_dropped_after_an_hour(void **state)
{
    (void)state;
    run(outlive_names);
    assert_int_equal(one.called, 1);
}

/* ---- the end ---- */

static void release(struct timer *timer)
{
    (void)timer;
    CHECK(!t.closed);
    dns_hold(false);
}

static void close_early(void)
{
    dns_hold(true);
    CHECK(ask(&one, "app.test", NULL) == 0);
    resolve_cancel(&one.wait);
    finish();
    timer_init(&t.timer, release);
    timer_set(&t.worker.wheel, &t.timer, worker_now_ms(&t.worker) + 20);
}

static void test_closing_waits_for_lookups(void **state)
{
    (void)state;
    run(close_early);
    assert_int_equal(one.called, 0);
    assert_int_equal(dns.asked, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_is_looked_up_once),
        cmocka_unit_test(test_the_name_is_copied),
        cmocka_unit_test(test_literals_never_wait),
        cmocka_unit_test(test_an_answer_is_refreshed_behind),
        cmocka_unit_test(test_no_ttl_is_shorter_than_the_least),
        cmocka_unit_test(test_a_failure_is_remembered_for_a_while),
        cmocka_unit_test(test_a_failed_refresh_keeps_the_last_answer),
        cmocka_unit_test(test_a_full_queue_is_a_failure),
        cmocka_unit_test(test_ready_may_do_anything),
        cmocka_unit_test(test_asking_again_from_ready_waits_for_the_next_lookup),
        cmocka_unit_test(test_names_are_dropped_after_an_hour),
        cmocka_unit_test(test_closing_waits_for_lookups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
