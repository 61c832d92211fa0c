/* offload: a few threads for what blocks (names to resolve), so that no worker ever
 * does.
 *
 * One pool per process. A job carries values, never pointers into a worker's objects, and ends as a
 * note on the worker that gave it. It is embedded in its owner, which must outlive it: the owner
 * enters its scope before offload_submit and leaves it in done. */
#ifndef VERGE_IO_OFFLOAD_H
#define VERGE_IO_OFFLOAD_H

#include <stdbool.h>

#include "edge/io/note.h"

struct worker;

struct job {
    struct note note;            /* its way back */
    struct job *next;            /* in the queue */
    struct worker *worker;       /* that gave it */
    void (*work)(struct job *j); /* on a thread of the pool */
    void (*done)(struct job *j); /* on the worker; the job is free again */
    bool submitted;              /* until just before done */
};

/* Starts the threads (at least one); the queue holds at most queue_max jobs, and those that run are
 * not in it. 0, or -E_SYSTEM, logged. From the main thread, which may start it again after
 * offload_stop. */
int offload_start(unsigned threads, unsigned queue_max);
/* Sets note and worker by itself; work and done are the caller's. Jobs begin in the order given.
 * False when the queue is full or the pool does not run, counted (verge_offload_refused_total):
 * neither work nor done will be called. From a worker. */
bool offload_submit(struct job *j);
/* Lets the running jobs end, runs no others, joins the threads. No done is called from here on, so
 * workers end before, each after the last of its jobs came back; the memory of one that could not
 * wait stays until this returns. */
void offload_stop(void);

#endif
