/* list: every operation beside the same one on an array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "edge/base/list.h"
#include "tests/unit/broken_rule.h"

struct item {
    int value;
    struct list link;
};

/* ---- a model: the same order in an array ---- */

enum { ITEMS = 12, LISTS = 2, STEPS = 20000 };

static struct item items[ITEMS];
static struct list heads[LISTS];
static struct {
    int v[ITEMS];
    int n;
} model[LISTS];

static struct item *item_of(struct list *link)
{
    return container_of(link, struct item, link);
}

static void model_insert(int list, int at, int value)
{
    int *v = model[list].v;
    memmove(v + at + 1, v + at, (size_t)(model[list].n - at) * sizeof *v);
    v[at] = value;
    model[list].n++;
}

static int model_find(int list, int value)
{
    for (int i = 0; i < model[list].n; i++) {
        if (model[list].v[i] == value) return i;
    }
    return -1;
}

static void model_remove(int value)
{
    for (int l = 0; l < LISTS; l++) {
        int at = model_find(l, value);
        if (at < 0) continue;
        int *v = model[l].v;
        memmove(v + at, v + at + 1, (size_t)(--model[l].n - at) * sizeof *v);
    }
}

/* Forwards and backwards. */
static void assert_is_model(int l)
{
    int n = 0;
    list_each (link, &heads[l]) assert_int_equal(item_of(link)->value, model[l].v[n++]);
    assert_int_equal(n, model[l].n);
    for (struct list *link = heads[l].prev; link != &heads[l]; link = link->prev) {
        assert_int_equal(item_of(link)->value, model[l].v[--n]);
    }
    assert_int_equal(n, 0);
    assert_int_equal(list_empty(&heads[l]), model[l].n == 0);
}

static void start(void)
{
    memset(model, 0, sizeof model);
    for (int l = 0; l < LISTS; l++) list_init(&heads[l]);
    for (int i = 0; i < ITEMS; i++) {
        items[i].value = i;
        list_init(&items[i].link);
    }
}

/* ---- steps ---- */

static void put(int list, int value, bool last)
{
    list_remove(&items[value].link); /* harmless where it is on none */
    model_remove(value);
    if (last) {
        list_append(&heads[list], &items[value].link);
        model_insert(list, model[list].n, value);
    } else {
        list_prepend(&heads[list], &items[value].link);
        model_insert(list, 0, value);
    }
}

static void pop(int list)
{
    struct list *link = list_pop(&heads[list]);
    if (model[list].n == 0) {
        assert_null(link);
        return;
    }
    assert_int_equal(item_of(link)->value, model[list].v[0]);
    assert_true(list_empty(link));
    model_remove(model[list].v[0]);
}

static void splice(int to, int from)
{
    list_splice(&heads[to], &heads[from]);
    for (int i = 0; i < model[from].n; i++) model_insert(to, model[to].n, model[from].v[i]);
    model[from].n = 0;
}

/* Removes some while it walks. */
static void sift(int list, unsigned choice)
{
    list_each_safe (link, &heads[list]) {
        int value = item_of(link)->value;
        if (!(choice >> value & 1)) continue;
        list_remove(link);
        model_remove(value);
    }
}

static void test_like_an_array(void **state)
{
    (void)state;
    start();
    srand(1);
    for (int i = 0; i < STEPS; i++) {
        int list = rand() % LISTS, value = rand() % ITEMS;
        switch (rand() % 8) {
        case 0: pop(list); break;
        case 1: splice(list, 1 - list); break;
        case 2: sift(list, (unsigned)rand()); break;
        case 3:
            list_remove(&items[value].link);
            model_remove(value);
            break;
        default: put(list, value, rand() % 2); break;
        }
        for (int l = 0; l < LISTS; l++) assert_is_model(l);
    }
}

/* ---- the ends of the contract ---- */

static void test_removing_twice_is_harmless(void **state)
{
    (void)state;
    start();
    put(0, 1, true);
    put(0, 2, true);
    for (int i = 0; i < 2; i++) list_remove(&items[1].link);
    assert_true(list_empty(&items[1].link));
    model_remove(1);
    assert_is_model(0);
}

static void append_twice(void)
{
    struct list lists[2], node = { 0 };
    list_init(&lists[0]);
    list_init(&lists[1]);
    list_append(&lists[0], &node);
    list_append(&lists[1], &node);
}

static void test_a_node_is_on_one_list(void **state)
{
    (void)state;
    assert_true(check_fires(append_twice, "node->next == node"));
}

static void test_an_empty_list_has_nothing_to_give(void **state)
{
    (void)state;
    start();
    assert_null(list_pop(&heads[0]));
    list_splice(&heads[0], &heads[1]);
    assert_is_model(0);
    list_each (link, &heads[0]) fail();
    list_each_safe (link, &heads[0]) fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_an_array),
        cmocka_unit_test(test_removing_twice_is_harmless),
        cmocka_unit_test(test_a_node_is_on_one_list),
        cmocka_unit_test(test_an_empty_list_has_nothing_to_give),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
