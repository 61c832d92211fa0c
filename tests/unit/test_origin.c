/* origin: which server is asked next, who may have a connection, and which connections are kept.
 * The worker does not run, so that its clock stands where a test puts it; connections are mere
 * places in the pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "edge/base/list.h"
#include "edge/origin.h"
#include "protocols/h1/client.h"

#define SECOND_US   1000000
#define LIFETIME_MS 600000

static struct worker worker;
static struct origin_limits limits;
static struct origins origins;
static unsigned idles;

/* ---- connections ---- */

static unsigned closed;

/* Stands in for the one of protocols/h1/client.c, with what its owner does in closed(). */
void h1_client_close(struct h1_client **c)
{
    struct origin *owner = (*c)->owner;
    assert_true(list_empty(&(*c)->link)); /* out of the pool first */
    free(*c);
    *c = NULL;
    closed++;
    origin_drop(&owner);
}

static struct h1_client *connect_to(struct origin *o, size_t server)
{
    assert_true(origin_admit(o));
    struct h1_client *c = calloc(1, sizeof *c);
    assert_non_null(c);
    list_init(&c->link);
    c->owner = origin_hold(o);
    c->server = &o->servers[server];
    c->opened_ms = worker_now_ms(&worker);
    c->admitted = true;
    return c;
}

static struct h1_client *keep(struct origin *o, size_t server)
{
    struct h1_client *c = connect_to(o, server);
    assert_true(origin_keep_idle(o, c));
    assert_false(c->admitted);
    return c;
}

/* One that is used: it has its place. */
static void let_go(struct h1_client *c)
{
    origin_leave(c->owner);
    h1_client_close(&c);
}

static unsigned idle_of(const struct origin *o)
{
    return o->shared->idle;
}

static unsigned busy_of(const struct origin *o)
{
    return o->shared->busy;
}

/* ---- configurations ---- */

/* Of the origins given as text, each at an index of its own. */
static struct config *configure(const char *origins_text)
{
    struct arena a;
    arena_init(&a, 1024);
    struct slice text = arena_printf(&a,
                                     "%s\nsite * { listen 127.0.0.1:8080; origin app; "
                                     "route * { } }\n",
                                     origins_text);
    struct config *c = config_parse(text, "test", stderr);
    arena_free(&a);
    assert_non_null(c);
    origins_configure(&origins, c);
    return c;
}

static struct origin *get(struct config *c, size_t index)
{
    return origins_get(&origins, c, &c->origins[index]);
}

/* The only origin of a configuration, which it holds. */
static struct origin *open_origin(const char *inside)
{
    char text[2048];
    snprintf(text, sizeof text, "origin app { %s }", inside);
    struct config *c = configure(text);
    struct origin *o = get(c, 0);
    config_drop(&c);
    return o;
}

static int start(void **state)
{
    (void)state;
    worker_init(&worker, 0);
    origin_limits_init(&limits);
    origins_init(&origins, &worker, NULL, &limits);
    idles = closed = 0;
    return 0;
}

static void on_idle(struct origins *o)
{
    assert_ptr_equal(o, &origins);
    assert_int_equal(o->live, 0);
    idles++;
}

static unsigned run_deferred(void)
{
    unsigned n = 0;
    for (struct note *note = worker.deferred; note; note = note->next) n++;
    worker_run_notes(&worker);
    return n;
}

/* Nothing is left: every reference was given back. */
static int stop(void **state)
{
    (void)state;
    if (!origins.closing) origins_close(&origins, on_idle);
    assert_int_equal(origins.live, 0);
    run_deferred();
    assert_int_equal(idles, 1);
    for (struct origin_shared *s = limits.first; s; s = s->next) {
        assert_int_equal(s->busy, 0);
        assert_int_equal(s->idle, 0);
    }
    origin_limits_free(&limits);
    return 0;
}

/* ---- which server ---- */

static size_t index_of(const struct origin *o, const struct origin_server *s)
{
    assert_non_null(s);
    return (size_t)(s - o->servers);
}

/* bits: of those that were tried already. */
static struct origin_server *next_server(struct origin *o, unsigned bits)
{
    struct origin_server *tried[8];
    size_t n = 0;
    for (unsigned i = 0; i < 8; i++) {
        if (bits >> i & 1) tried[n++] = &o->servers[i];
    }
    return origin_next_server(o, tried, n);
}

static size_t next(struct origin *o, unsigned bits)
{
    return index_of(o, next_server(o, bits));
}

struct period {
    const char *servers;
    const char *order; /* one period, the indices of the servers asked */
};

static const struct period periods[] = {
    { "server a:80;", "0" },
    { "server a:80; server b:80; server c:80;", "012" },
    { "server a:80 weight=5; server b:80; server c:80;", "0010200" },
    { "server a:80; server b:80 weight=2;", "101" },
    { "server a:80 weight=3; server b:80 weight=3;", "01" },
    { "server a:80; server b:80 down; server c:80;", "02" },
    { "server a:80; server b:80 weight=9 backup; server c:80;", "02" },
    { "server a:80 down; server b:80 backup; server c:80 backup weight=2;", "212" },
};

static void test_turns_are_spread_by_weight(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof periods / sizeof *periods; i++) {
        struct origin *o = open_origin(periods[i].servers);
        size_t n = strlen(periods[i].order);
        for (size_t k = 0; k < 3 * n; k++) {
            assert_int_equal(next(o, 0), periods[i].order[k % n] - '0');
        }
        origin_drop(&o);
    }
}

/* Any weights: in every period each server has as many turns as it weighs. */
static void test_shares_are_exact(void **state)
{
    (void)state;
    srand(1);
    for (int round = 0; round < 20; round++) {
        char text[400] = "";
        int weight[5], sum = 0;
        for (int i = 0; i < 5; i++) {
            sum += weight[i] = 1 + rand() % 30;
            sprintf(text + strlen(text), "server s%d:80 weight=%d; ", i, weight[i]);
        }
        struct origin *o = open_origin(text);
        for (int period = 0; period < 3; period++) {
            int turns[5] = { 0 };
            for (int i = 0; i < sum; i++) turns[next(o, 0)]++;
            assert_memory_equal(turns, weight, sizeof weight);
        }
        origin_drop(&o);
    }
}

static void test_what_was_tried_is_left_out(void **state)
{
    (void)state;
    struct origin *o = open_origin("server a:80; server b:80; server c:80 backup;"
                                   "server d:80 down;");
    for (int i = 0; i < 6; i++) {
        assert_int_equal(next(o, 1), 1);
        assert_int_equal(next(o, 2), 0);
        assert_int_equal(next(o, 3), 2); /* a backup, once all others were tried */
        assert_null(next_server(o, 7));
    }
    assert_int_not_equal(next(o, 4), 2);
    origin_drop(&o);
}

/* However many there are. */
static void test_the_last_of_many_is_left_out_too(void **state)
{
    (void)state;
    char text[2000] = "";
    for (int i = 0; i < 70; i++) sprintf(text + strlen(text), "server s%d:80; ", i);
    struct origin *o = open_origin(text);
    struct origin_server *tried[] = { &o->servers[69], &o->servers[64] };
    for (int i = 0; i < 140; i++) {
        struct origin_server *s = origin_next_server(o, tried, 2);
        assert_true(s != tried[0] && s != tried[1]);
    }
    origin_drop(&o);
}

static void test_down_is_never_asked(void **state)
{
    (void)state;
    struct origin *o = open_origin("server a:80 down; server b:80 backup down;");
    assert_null(next_server(o, 0));
    origin_drop(&o);
}

static void test_what_failed_lately_is_asked_last(void **state)
{
    (void)state;
    struct origin *o = open_origin("server a:80; server b:80; server c:80 backup;"
                                   "server d:80 backup;");
    origin_server_failed(o, &o->servers[0]);
    for (int i = 0; i < 4; i++) assert_int_equal(next(o, 0), 1);
    origin_server_failed(o, &o->servers[1]);
    for (int i = 0; i < 4; i++) assert_in_range(next(o, 0), 2, 3); /* backups that work */
    origin_server_failed(o, &o->servers[2]);
    origin_server_failed(o, &o->servers[3]);
    for (int i = 0; i < 4; i++) assert_in_range(next(o, 0), 0, 1);
    assert_in_range(next(o, 3), 2, 3); /* better one that failed than none */
    worker.now_us += 60ll * SECOND_US;
    bool asked[4] = { false };
    for (int i = 0; i < 4; i++) asked[next(o, 0)] = true;
    assert_true(asked[0] && asked[1] && !asked[2] && !asked[3]); /* all is forgotten */
    origin_drop(&o);
}

/* ---- the caps ---- */

static void test_places_are_limited(void **state)
{
    (void)state;
    struct origin *o = open_origin("server a:80; connections_max 3;");
    for (int i = 0; i < 3; i++) assert_true(origin_admit(o));
    for (int i = 0; i < 3; i++) assert_false(origin_admit(o));
    origin_leave(o);
    assert_true(origin_admit(o));
    assert_false(origin_admit(o));
    for (int i = 0; i < 3; i++) origin_leave(o);
    assert_int_equal(busy_of(o), 0);
    origin_drop(&o);
}

/* The places are the origin's, not the generation's. */
static void test_places_outlive_a_reload(void **state)
{
    (void)state;
    struct origin *before = open_origin("server a:80; connections_max 2;");
    assert_true(origin_admit(before) && origin_admit(before));
    struct origin *after = open_origin("server b:80; connections_max 3;");
    assert_ptr_not_equal(before, after);
    assert_true(origin_admit(after));
    assert_false(origin_admit(after));
    origin_leave(before);
    assert_false(origin_admit(before));
    assert_true(origin_admit(after));
    for (int i = 0; i < 3; i++) origin_leave(after);
    origin_drop(&before);
    origin_drop(&after);
}

static void test_so_many_idle_ones_are_kept(void **state)
{
    (void)state;
    struct origin *o = open_origin("server a:80; keepalive 2; connections_max 10;");
    struct h1_client *refused = connect_to(o, 0);
    keep(o, 0);
    keep(o, 0);
    assert_int_equal(idle_of(o), 2);
    assert_int_equal(busy_of(o), 1);
    assert_false(origin_keep_idle(o, refused));
    assert_true(refused->admitted); /* it still has its place */
    assert_int_equal(idle_of(o), 2);
    let_go(refused);
    assert_int_equal(busy_of(o), 0);
    origin_drop(&o);
}

static void test_no_keepalive_keeps_none(void **state)
{
    (void)state;
    struct origin *o = open_origin("server a:80; keepalive 0;");
    struct h1_client *c = connect_to(o, 0);
    assert_false(origin_keep_idle(o, c));
    let_go(c);
    origin_drop(&o);
}

/* ---- the pool ---- */

static void test_the_last_used_is_taken_first(void **state)
{
    (void)state;
    struct origin *o = open_origin("server a:80; server b:80;");
    struct h1_client *first = keep(o, 0), *other = keep(o, 1), *last = keep(o, 0);
    struct h1_client *const expected[] = { last, first };
    for (int i = 0; i < 2; i++) {
        struct h1_client *c = origin_take_idle(o, &o->servers[0]);
        assert_ptr_equal(c, expected[i]);
        assert_true(c->admitted);
    }
    assert_null(origin_take_idle(o, &o->servers[0]));
    assert_int_equal(idle_of(o), 1);
    assert_int_equal(busy_of(o), 2); /* in vain costs no place */
    assert_ptr_equal(origin_take_idle(o, &o->servers[1]), other);
    let_go(first);
    let_go(other);
    let_go(last);
    origin_drop(&o);
}

static void test_an_idle_one_needs_a_place(void **state)
{
    (void)state;
    struct origin *o = open_origin("server a:80; connections_max 1;");
    struct h1_client *c = keep(o, 0);
    assert_true(origin_admit(o));
    assert_null(origin_take_idle(o, &o->servers[0]));
    origin_leave(o);
    assert_ptr_equal(origin_take_idle(o, &o->servers[0]), c);
    assert_false(origin_admit(o));
    let_go(c);
    origin_drop(&o);
}

static void test_a_lost_one_is_forgotten(void **state)
{
    (void)state;
    struct origin *o = open_origin("server a:80;");
    struct h1_client *c = keep(o, 0);
    origin_forget_idle(o, c);
    assert_int_equal(idle_of(o), 0);
    assert_null(origin_take_idle(o, &o->servers[0]));
    h1_client_close(&c);
    origin_drop(&o);
}

static void test_old_ones_end(void **state)
{
    (void)state;
    struct origin *o = open_origin("server a:80; server b:80; lifetime 10m;");
    keep(o, 0);
    keep(o, 1);
    struct h1_client *busy = connect_to(o, 0);
    worker.now_us += (int64_t)LIFETIME_MS * 1000;
    struct h1_client *c = origin_take_idle(o, &o->servers[0]);
    assert_non_null(c); /* just not too old */
    assert_true(origin_keep_idle(o, c));
    worker.now_us += 1000;
    assert_null(origin_take_idle(o, &o->servers[0]));
    assert_int_equal(closed, 2);
    assert_int_equal(idle_of(o), 0);
    assert_false(origin_keep_idle(o, busy));
    let_go(busy);
    origin_drop(&o);
}

/* ---- reloads ---- */

static void test_idle_ones_go_to_the_new_generation(void **state)
{
    (void)state;
    struct origin *before = open_origin("server a:80; server b:80; server b:81;");
    keep(before, 0);
    struct h1_client *stays = keep(before, 1), *stays_too = keep(before, 1);
    keep(before, 2);
    struct origin *after = open_origin("server c:80; server a:81; server b:80;");
    assert_int_equal(closed, 2); /* a:80 and b:81 are no more */
    assert_int_equal(idle_of(after), 2);
    assert_null(origin_take_idle(before, &before->servers[1]));
    origin_drop(&before);
    assert_int_equal(origins.live, 1);
    assert_ptr_equal(origin_take_idle(after, &after->servers[2]), stays_too);
    assert_ptr_equal(stays_too->owner, after);
    assert_ptr_equal(origin_take_idle(after, &after->servers[2]), stays);
    let_go(stays);
    let_go(stays_too);
    origin_drop(&after);
}

/* One that was in use at the reload, of an origin that is not the present one any more. */
static void test_an_old_generation_keeps_none(void **state)
{
    (void)state;
    struct origin *before = open_origin("server a:80;");
    struct h1_client *c = connect_to(before, 0);
    struct origin *after = open_origin("server a:80;");
    assert_false(origin_keep_idle(before, c));
    let_go(c);
    origin_drop(&before);
    origin_drop(&after);
}

/* Origins are told apart by their names, wherever they stand. */
static void test_origins_are_found_by_name(void **state)
{
    (void)state;
    struct config *one = configure("origin app { server a:80; } origin gone { server g:80; }"
                                   "origin other { server a:80; }");
    struct origin *app = get(one, 0), *gone = get(one, 1), *other = get(one, 2);
    struct h1_client *of_app = keep(app, 0), *of_other = keep(other, 0);
    keep(gone, 0);
    struct config *two = configure("origin other { server a:80; } origin app { server a:80; }");
    assert_int_equal(closed, 1);
    struct origin *new_other = get(two, 0), *new_app = get(two, 1);
    assert_ptr_equal(of_app->owner, new_app);
    assert_ptr_equal(of_other->owner, new_other);
    /* Who still has the old configuration gets the present origin, or where it is gone, one for
     * this use alone. */
    struct origin *late = get(one, 0), *alone = get(one, 1), *alone_too = get(one, 1);
    assert_ptr_equal(late, new_app);
    assert_ptr_not_equal(alone, alone_too);
    assert_ptr_equal(alone->shared, gone->shared);
    struct h1_client *c = connect_to(alone, 0);
    assert_false(origin_keep_idle(alone, c));
    let_go(c);
    config_drop(&one);
    config_drop(&two);
    struct origin **held[] = {
        &app, &gone, &other, &new_other, &new_app, &late, &alone, &alone_too
    };
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) origin_drop(held[i]);
}

/* ---- the end ---- */

static void test_closing_waits_for_who_holds_one(void **state)
{
    (void)state;
    struct origin *o = open_origin("server a:80;");
    struct h1_client *busy = connect_to(o, 0);
    keep(o, 0);
    origins_close(&origins, on_idle);
    assert_int_equal(closed, 1);
    assert_false(origin_keep_idle(o, busy));
    origin_drop(&o);
    assert_int_equal(run_deferred(), 0); /* the connection still holds it */
    let_go(busy);
    assert_int_equal(idles, 0); /* not from inside */
    assert_int_equal(run_deferred(), 1);
    assert_int_equal(idles, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_turns_are_spread_by_weight),
        TEST(test_shares_are_exact),
        TEST(test_what_was_tried_is_left_out),
        TEST(test_the_last_of_many_is_left_out_too),
        TEST(test_down_is_never_asked),
        TEST(test_what_failed_lately_is_asked_last),
        TEST(test_places_are_limited),
        TEST(test_places_outlive_a_reload),
        TEST(test_so_many_idle_ones_are_kept),
        TEST(test_no_keepalive_keeps_none),
        TEST(test_the_last_used_is_taken_first),
        TEST(test_an_idle_one_needs_a_place),
        TEST(test_a_lost_one_is_forgotten),
        TEST(test_old_ones_end),
        TEST(test_idle_ones_go_to_the_new_generation),
        TEST(test_an_old_generation_keeps_none),
        TEST(test_origins_are_found_by_name),
        TEST(test_closing_waits_for_who_holds_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
