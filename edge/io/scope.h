/* scope: the count of what is in flight for one owner: ring operations, timers that must not
 * outlive it, jobs, notes, parked waits.
 *
 * Whatever can still call back holds the scope by one. Closing only asks: the owner cancels what it
 * has in flight, and when the count reaches zero `idle` runs, once, from the worker's loop, never
 * from inside another callback. Only idle frees. Belongs to one worker. */
#ifndef VERGE_IO_SCOPE_H
#define VERGE_IO_SCOPE_H

#include <stdbool.h>

#include "edge/io/note.h"

struct worker;

struct scope {
    struct worker *worker;
    void (*idle)(struct scope *s);
    unsigned pending;
    bool closing;
    struct note idle_note;
};

void scope_init(struct scope *s, struct worker *worker, void (*idle)(struct scope *s));

/* One more thing is in flight; it may be entered while closing, by what a callback still has to
 * start. */
void scope_enter(struct scope *s);
void scope_leave(struct scope *s);

/* From now on the owner waits for idle. Twice is a mistake of ours. */
void scope_close(struct scope *s);

#endif
