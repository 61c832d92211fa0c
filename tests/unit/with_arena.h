/* An arena for tests that need one: TEST(function) gives each its own, in `arena`. */
#ifndef VERGE_TESTS_WITH_ARENA_H
#define VERGE_TESTS_WITH_ARENA_H

#include "edge/base/arena.h"

static struct arena arena;

static int open_arena(void **state)
{
    (void)state;
    arena_init(&arena, 4096);
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, open_arena, close_arena)

#endif
