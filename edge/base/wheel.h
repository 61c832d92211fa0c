/* wheel: all timers of one worker, as a hierarchical timing wheel.
 *
 * Five levels of 64 slots, a tick of 4 ms: 50 days ahead, and what lies further is looked at again
 * then. A timer is embedded in its owner and costs no allocation. Setting and cancelling are O(1),
 * and moving an armed timer's deadline further out, which every received byte does, is one store:
 * the timer is queued anew only when its old slot comes up.
 *
 * A timer never fires before its deadline, and always in the first wheel_advance that comes a tick
 * or more after it. One thread uses a wheel and its timers; the wheel knows no clock, so times
 * (milliseconds, any origin) are passed in. */
#ifndef VERGE_BASE_WHEEL_H
#define VERGE_BASE_WHEEL_H

#include <stdint.h>

#include "edge/base/list.h"

#define WHEEL_TICK_MS 4
#define WHEEL_LEVELS  5
#define WHEEL_SLOTS   64
#define WHEEL_NO_SLOT (WHEEL_LEVELS * WHEEL_SLOTS)

struct wheel;

struct timer {
    struct list link;
    struct wheel *wheel; /* NULL: not armed */
    int64_t deadline_ms;
    uint64_t queued_tick; /* its slot's time, never after the deadline's */
    unsigned slot;        /* which slot, counted over all levels; WHEEL_NO_SLOT: about to fire */
    void (*fire)(struct timer *t);
};

struct wheel {
    int64_t start_ms;
    int64_t now_ms; /* the last wheel_advance's */
    uint64_t tick;  /* whole ticks from start_ms to now_ms; all slots up to it have been emptied */
    size_t live;    /* armed timers */
    struct list due;
    uint64_t occupied[WHEEL_LEVELS]; /* a bit per slot that is not empty */
    struct list slots[WHEEL_LEVELS * WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, int64_t now_ms);

/* The longest wait in milliseconds, counted from the last wheel_advance, after which something may
 * be due: 0 for at once, -1 where no timer is armed. It may come early (a timer changed its slot or
 * its deadline), never late. */
int64_t wheel_next_ms(const struct wheel *w);

/* Fires all that is due, in the order of ticks. fire runs with its timer unarmed; it may set or
 * cancel any timer, also itself and others that are due, and free its owner. A timer set meanwhile
 * for a time that has passed fires in the next pass, so one pass ends. now_ms before the last one
 * is taken as the last one. */
void wheel_advance(struct wheel *w, int64_t now_ms);

void timer_init(struct timer *t, void (*fire)(struct timer *t));

/* Arms t or moves its deadline, either way. One that has passed fires in the next wheel_advance.
 * INT64_MAX is allowed. */
void timer_set(struct wheel *w, struct timer *t, int64_t deadline_ms);

/* Harmless where t is not armed. Afterwards t may be freed. */
void timer_cancel(struct timer *t);

static inline bool timer_armed(const struct timer *t)
{
    return t->wheel != NULL;
}

#endif
