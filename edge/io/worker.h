/* worker: a thread with one ring, one timer wheel and one mailbox. Every mutable thing belongs to
 * one worker.
 *
 * The loop: submit and wait until the wheel's next deadline; take all completions off the ring,
 * then run each; fire timers; run notes. Callbacks never nest: what a callback wants to happen
 * "next" it defers as a note. */
#ifndef VERGE_IO_WORKER_H
#define VERGE_IO_WORKER_H

#include <liburing.h>
#include <stdatomic.h>
#include <pthread.h>

#include "edge/base/block.h"
#include "edge/base/wheel.h"
#include "edge/io/op.h"

/* A pooled block is 16 KiB with its header, and at most 1 MiB of free ones is kept. */
#define WORKER_BLOCK_BYTES (16384 - sizeof(struct block))
#define WORKER_BLOCKS_KEPT 64
/* What a busy worker needs for itself: buffers, ring, free blocks, requests in flight. */
#define WORKER_OWN_BYTES (8 << 20)

/* Buffers that receives pick from: small ones for streams, and, once asked for, large ones for
 * trains of datagrams. A group's number is the kernel's name for it. */
enum buffers_group { BUFFERS_STREAM, BUFFERS_DATAGRAM, BUFFERS_GROUPS };

struct buffers {
    struct io_uring_buf_ring *ring; /* NULL: not open */
    char *memory;
    unsigned count; /* a power of two */
    size_t size_bytes;
};

struct worker {
    unsigned index;
    unsigned workers; /* that share what memory this process may lock; set before worker_start */
    int64_t now_us;   /* monotonic, read once per turn */
    int64_t wall_ms;  /* wall clock, likewise */
    struct wheel wheel;
    struct wheel fine; /* for what milliseconds are too coarse: its unit is WORKER_FINE_US */

    struct io_uring ring;
    struct buffers buffers[BUFFERS_GROUPS];
    struct io_uring_cqe **seen, *reaped; /* completions of this turn */

    struct note *deferred, **deferred_end; /* own worker's */
    struct note_list mailbox;              /* everybody's */
    int bell_fd;                           /* eventfd: rings when the mailbox was empty */
    uint64_t bell_value;
    struct op bell_op;
    struct scope scope; /* of the worker's own ops */

    struct block *free_blocks[WORKER_BLOCKS_KEPT];
    unsigned free_block_count;

    pthread_t thread;
    bool stopping, joined;
};

/* Probes the kernel. 0, or -E_SYSTEM after one sentence on what to do was written to standard
 * error: io_uring switched off (sysctl kernel.io_uring_disabled), one of its calls filtered
 * (seccomp), too old, or no memory to lock. May wait some seconds for what a killed process holds.
 */
int worker_probe(void);

/* Prepares everything but the ring, which its own thread makes. */
void worker_init(struct worker *w, unsigned index);
/* Starts the thread, pinned to cpu (-1: not pinned). start runs on it before the loop. Returns once
 * the ring stands: 0 or -E_SYSTEM, logged. */
int worker_start(struct worker *w, int cpu, void (*start)(struct worker *w));
/* Opens the buffers that op_recvmsg_multishot picks from, unless they are open; on the worker.
 * False when memory is out. */
bool worker_open_datagram_buffers(struct worker *w);
/* Ends the loop after this turn; from the worker's own thread. */
void worker_stop(struct worker *w);
/* Waits for the thread. Notes may still be posted to the worker: nobody runs them any more. */
void worker_wait(struct worker *w);
/* The same, and frees what worker_start made. Nobody may post to it from now on. */
void worker_join(struct worker *w);
/* The worker of the calling thread; NULL on any other thread. */
struct worker *worker_self(void);

/* Runs the note on that worker, later, in the order posted from here. Any thread. */
void worker_post(struct worker *to, struct note *n);
/* The same on the calling worker: still in this turn, after the present callback. */
void worker_defer(struct worker *self, struct note *n);
/* Runs what was posted and deferred, and what that defers: the end of each turn of the loop. */
void worker_run_notes(struct worker *w);

/* A block of WORKER_BLOCK_BYTES from the worker's pool, and back to it: where somebody else still
 * holds it, only the reference is dropped. NULL when memory is out. */
struct block *worker_block(struct worker *w);
void worker_block_put(struct worker *w, struct block **b);

/* As worker_now_ms, for worker->fine: four of these are a tick. */
#define WORKER_FINE_US 25
static inline int64_t worker_now_fine(const struct worker *w)
{
    return w->now_us / WORKER_FINE_US;
}

static inline int64_t worker_now_ms(const struct worker *w)
{
    return w->now_us / 1000;
}

#endif
