#include "edge/base/wheel.h"

#include "edge/base/check.h"

#define SLOT_BITS     6
#define HORIZON_TICKS ((uint64_t)(WHEEL_SLOTS - 1) << (SLOT_BITS * (WHEEL_LEVELS - 1)))

void wheel_init(struct wheel *w, int64_t now_ms)
{
    *w = (struct wheel){ .start_ms = now_ms, .now_ms = now_ms };
    list_init(&w->due);
    for (unsigned i = 0; i < WHEEL_LEVELS * WHEEL_SLOTS; i++) list_init(&w->slots[i]);
}

/* Rounded up, so that nothing fires early. */
static uint64_t deadline_tick(const struct wheel *w, int64_t deadline_ms)
{
    if (deadline_ms <= w->start_ms) return 0;
    uint64_t ms = (uint64_t)deadline_ms - (uint64_t)w->start_ms;
    return ms / WHEEL_TICK_MS + (ms % WHEEL_TICK_MS != 0);
}

/* The level is where the tick's digits, to base 64, first differ from now's: so a level holds only
 * what lies within the current slot of the level above, and the lowest level that is not empty has
 * the earliest slot. Only the top level wraps around; the horizon keeps it from meeting its own
 * current slot. */
static unsigned slot_of(const struct wheel *w, uint64_t tick)
{
    uint64_t differs = tick ^ w->tick;
    unsigned level = differs ? (63 - (unsigned)__builtin_clzll(differs)) / SLOT_BITS : 0;
    if (level >= WHEEL_LEVELS) level = WHEEL_LEVELS - 1;
    return level * WHEEL_SLOTS + (tick >> (level * SLOT_BITS)) % WHEEL_SLOTS;
}

static void queue(struct wheel *w, struct timer *t)
{
    uint64_t tick = deadline_tick(w, t->deadline_ms);
    if (tick < w->tick) tick = w->tick;
    if (tick > w->tick + HORIZON_TICKS) tick = w->tick + HORIZON_TICKS;
    t->queued_tick = tick;
    t->slot = slot_of(w, tick);
    list_append(&w->slots[t->slot], &t->link);
    w->occupied[t->slot / WHEEL_SLOTS] |= 1ull << t->slot % WHEEL_SLOTS;
}

static void clear_slot_bit(struct wheel *w, unsigned slot)
{
    w->occupied[slot / WHEEL_SLOTS] &= ~(1ull << slot % WHEEL_SLOTS);
}

static void unqueue(struct timer *t)
{
    list_remove(&t->link);
    if (t->slot == WHEEL_NO_SLOT) return;
    if (list_empty(&t->wheel->slots[t->slot])) clear_slot_bit(t->wheel, t->slot);
}

/* The first slot that is not empty, and when it begins. */
static bool next_slot(const struct wheel *w, unsigned *slot, uint64_t *tick)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        uint64_t bits = w->occupied[level];
        if (!bits) continue;
        uint64_t now = w->tick >> (level * SLOT_BITS);
        unsigned turn = now % WHEEL_SLOTS;
        uint64_t from_now = bits >> turn | bits << (-turn % WHEEL_SLOTS);
        uint64_t at = now + (unsigned)__builtin_ctzll(from_now);
        *slot = level * WHEEL_SLOTS + at % WHEEL_SLOTS;
        *tick = at << (level * SLOT_BITS);
        return true;
    }
    return false;
}

int64_t wheel_next_ms(const struct wheel *w)
{
    unsigned slot;
    uint64_t tick;
    if (!next_slot(w, &slot, &tick)) return -1;
    int64_t at_ms = w->start_ms + (int64_t)(tick * WHEEL_TICK_MS);
    return at_ms > w->now_ms ? at_ms - w->now_ms : 0;
}

/* Empties a slot whose time has come: its timers are due, or belong to a lower level by now, or
 * were moved further out since they were queued. */
static void empty_slot(struct wheel *w, unsigned slot)
{
    struct list moved;
    list_init(&moved);
    list_splice(&moved, &w->slots[slot]);
    clear_slot_bit(w, slot);
    for (struct list *node; (node = list_pop(&moved));) {
        struct timer *t = container_of(node, struct timer, link);
        if (deadline_tick(w, t->deadline_ms) > w->tick) {
            queue(w, t);
            continue;
        }
        /* Whatever deadline it is given before its turn, fire_due sees it. */
        t->queued_tick = 0;
        t->slot = WHEEL_NO_SLOT;
        list_append(&w->due, &t->link);
    }
}

static void fire_due(struct wheel *w)
{
    for (struct list *node; (node = list_pop(&w->due));) {
        struct timer *t = container_of(node, struct timer, link);
        if (deadline_tick(w, t->deadline_ms) > w->tick) {
            queue(w, t);
            continue;
        }
        t->wheel = NULL;
        w->live--;
        t->fire(t);
    }
}

/* Goes from occupied slot to occupied slot, so a clock that jumped costs what there is to move, not
 * the time it skipped. Nothing fires before all that is due was taken out: what is set meanwhile
 * waits for the next pass. */
void wheel_advance(struct wheel *w, int64_t now_ms)
{
    if (now_ms > w->now_ms) w->now_ms = now_ms;
    uint64_t target = ((uint64_t)w->now_ms - (uint64_t)w->start_ms) / WHEEL_TICK_MS;
    unsigned slot;
    uint64_t tick;
    while (next_slot(w, &slot, &tick) && tick <= target) {
        w->tick = tick;
        empty_slot(w, slot);
    }
    w->tick = target;
    fire_due(w);
}

void timer_init(struct timer *t, void (*fire)(struct timer *t))
{
    *t = (struct timer){ .fire = fire };
    list_init(&t->link);
}

void timer_set(struct wheel *w, struct timer *t, int64_t deadline_ms)
{
    CHECK(!t->wheel || t->wheel == w);
    t->deadline_ms = deadline_ms;
    if (!t->wheel) {
        t->wheel = w;
        w->live++;
        queue(w, t);
    } else if (deadline_tick(w, deadline_ms) < t->queued_tick) {
        unqueue(t);
        queue(w, t);
    }
}

void timer_cancel(struct timer *t)
{
    if (!t->wheel) return;
    unqueue(t);
    t->wheel->live--;
    t->wheel = NULL;
}
