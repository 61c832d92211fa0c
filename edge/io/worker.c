#include "edge/io/worker.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "edge/base/arena.h"
#include "edge/base/check.h"
#include "edge/base/clock.h"
#include "edge/base/error.h"
#include "edge/base/list.h"
#include "edge/base/log.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/base/pool.h"

#define SUBMISSIONS       4096
#define SUBMISSIONS_LEAST 64
#define COMPLETIONS       16384
#define ENTRY_BYTES       128 /* that a ring locks for each submission: itself, four completions */
#define RING_BYTES        16384 /* and besides */
#define PROBE_ENTRIES     64
#define RING_WAITS        60 /* looks whether there is memory to lock */
#define RING_WAIT_US      50000
#define STREAM_BUFFERS    128
#define STREAM_BYTES      8192
/* A train of datagrams is up to 64 KiB, and its addresses and marks come before it. Pages that no
 * train reaches are never there. */
#define DATAGRAM_BUFFERS      64
#define DATAGRAM_BUFFER_BYTES (68 * 1024)

static _Thread_local struct worker *self;

struct worker *worker_self(void)
{
    return self;
}

/* ---- the ring ---- */

static int ring_open_with(struct io_uring *ring, unsigned entries, unsigned newer_flags)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP | newer_flags,
        .cq_entries = entries * 4,
    };
    return io_uring_queue_init_params(entries, ring, &params);
}

/* What a kernel does not know it refuses: newer features are asked for first. */
static int ring_open(struct io_uring *ring, unsigned entries)
{
    int rc = ring_open_with(ring, entries, IORING_SETUP_NO_SQARRAY); /* Linux 6.6 */
    if (rc == -EINVAL) rc = ring_open_with(ring, entries, 0);
    if (rc == 0)
        io_uring_register_ring_fd(
            ring); /* Linux 5.18: no table lookup for each entry; its failure costs only that */
    return rc;
}

/* Where memory to lock is short, a ring has fewer entries. Some may still be held by a process that
 * was killed a moment ago, since the kernel takes its rings down behind it: that is waited for. */
static int ring_open_fitting(struct io_uring *ring, unsigned entries)
{
    int rc = -ENOMEM;
    for (unsigned wait = 0; rc == -ENOMEM && wait < RING_WAITS; wait++) {
        if (wait) usleep(RING_WAIT_US);
        for (unsigned n = entries; rc == -ENOMEM && n >= SUBMISSIONS_LEAST; n /= 2)
            rc = ring_open(ring, n);
    }
    return rc;
}

/* Does the limit on locked memory not count for this process? */
static bool may_lock_all(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { 0 };
    if (syscall(SYS_capget, &head, data) < 0) return false;
    return data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK);
}

static rlim_t lock_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 ? limit.rlim_cur : RLIM_INFINITY;
}

/* Of each of so many rings, so that the first do not leave the last without. */
static unsigned fair_entries(unsigned rings)
{
    unsigned n = SUBMISSIONS;
    rlim_t limit = lock_limit();
    if (limit == RLIM_INFINITY || may_lock_all()) return n;
    while (n > SUBMISSIONS_LEAST && (rlim_t)rings * (n * ENTRY_BYTES + RING_BYTES) > limit) n /= 2;
    return n;
}

/* One sentence on what to do about a ring that cannot be had; in text where it has to be made. */
static const char *advice(int error, char *text, size_t bytes)
{
    switch (-error) {
    case ENOSYS:
        return "this kernel has no io_uring; Verge needs Linux 6.1 or newer built with "
               "CONFIG_IO_URING";
    case EACCES:
    case EPERM:
        return "io_uring is forbidden here; set sysctl kernel.io_uring_disabled=0, and in a "
               "container allow io_uring_setup, io_uring_enter and io_uring_register in its "
               "seccomp profile";
    case EINVAL: return "this kernel's io_uring is too old; Verge needs Linux 6.1 or newer";
    case EMFILE: return "too many open files; raise the limit with ulimit -n";
    case ENOMEM:
        snprintf(text, bytes,
                 "no memory to lock for io_uring: all processes of this user may lock %llu KiB "
                 "(RLIMIT_MEMLOCK); raise that with ulimit -l or LimitMEMLOCK=infinity, or use "
                 "fewer workers",
                 (unsigned long long)lock_limit() / 1024);
        return text;
    default: return "io_uring could not be set up";
    }
}

static int refused(int rc)
{
    return rc == -ENOSYS ? -EPERM : rc; /* the kernel has it, since there is a ring */
}

/* All that is needed of it besides: seccomp may forbid each call by itself. */
static int ring_try(struct io_uring *ring)
{
    int rc = 0;
    struct io_uring_buf_ring *buffers = io_uring_setup_buf_ring(ring, PROBE_ENTRIES, 0, 0, &rc);
    if (!buffers) return refused(rc);
    io_uring_free_buf_ring(ring, buffers, PROBE_ENTRIES, 0);
    io_uring_prep_nop(io_uring_get_sqe(ring));
    rc = io_uring_submit_and_wait(ring, 1);
    return rc < 0 ? refused(rc) : 0;
}

int worker_probe(void)
{
    struct io_uring ring;
    char text[256];
    int rc = ring_open_fitting(&ring, PROBE_ENTRIES);
    if (rc == 0) {
        rc = ring_try(&ring);
        io_uring_queue_exit(&ring);
    }
    if (rc == 0) return 0;
    fprintf(stderr, "verge: %s (%s)\n", advice(rc, text, sizeof text), strerror(-rc));
    return -E_SYSTEM;
}

static void buffer_give(struct buffers *b, unsigned id)
{
    io_uring_buf_ring_add(b->ring, b->memory + id * b->size_bytes, (unsigned)b->size_bytes,
                          (unsigned short)id, io_uring_buf_ring_mask(b->count), 0);
    io_uring_buf_ring_advance(b->ring, 1);
}

static int buffers_open(struct worker *w, enum buffers_group group, unsigned count,
                        size_t size_bytes)
{
    struct buffers *b = &w->buffers[group];
    int rc = 0;
    *b = (struct buffers){ .count = count, .size_bytes = size_bytes };
    b->ring = io_uring_setup_buf_ring(&w->ring, count, (int)group, 0, &rc);
    if (!b->ring) return rc;
    b->memory =
        mmap(NULL, count * size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->memory == MAP_FAILED) {
        io_uring_free_buf_ring(&w->ring, b->ring, count, (int)group);
        b->ring = NULL;
        return -ENOMEM;
    }
    for (unsigned i = 0; i < count; i++) buffer_give(b, i);
    return 0;
}

static void buffers_close(struct worker *w, enum buffers_group group)
{
    struct buffers *b = &w->buffers[group];
    if (!b->ring) return;
    io_uring_free_buf_ring(&w->ring, b->ring, b->count, (int)group);
    munmap(b->memory, b->count * b->size_bytes);
}

bool worker_open_datagram_buffers(struct worker *w)
{
    return w->buffers[BUFFERS_DATAGRAM].ring ||
           buffers_open(w, BUFFERS_DATAGRAM, DATAGRAM_BUFFERS, DATAGRAM_BUFFER_BYTES) == 0;
}

/* ---- notes ---- */

static void append(struct worker *w, struct note *n)
{
    n->next = NULL;
    *w->deferred_end = n;
    w->deferred_end = &n->next;
}

/* Tests drive a worker that has no thread. */
void worker_defer(struct worker *w, struct note *n)
{
    CHECK(!n->posted && (!self || self == w));
    n->posted = true;
    append(w, n);
}

void worker_post(struct worker *to, struct note *n)
{
    if (to == self) {
        worker_defer(to, n);
        return;
    }
    /* Otherwise somebody rang already and the receiver has not emptied it since. */
    uint64_t one = 1;
    bool ring = note_push(&to->mailbox, n);
    while (ring && write(to->bell_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

static void collect_mail(struct worker *w)
{
    for (struct note *n = note_take_all(&w->mailbox), *next; n; n = next) {
        next = n->next;
        append(w, n);
    }
}

void worker_run_notes(struct worker *w)
{
    collect_mail(w);
    while (w->deferred) {
        struct note *n = w->deferred;
        w->deferred = n->next;
        if (!w->deferred) w->deferred_end = &w->deferred;
        n->posted = false;
        n->run(n);
    }
}

static void on_bell(struct op *op, const struct op_result *r)
{
    struct worker *w = container_of(op, struct worker, bell_op);
    if (r->result == -ECANCELED) return;
    op_read(w, op, w->bell_fd, &w->bell_value, sizeof w->bell_value);
}

/* ---- the loop ---- */

static void read_clock(struct worker *w)
{
    w->now_us = clock_monotonic_us();
    w->wall_ms = clock_wall_ms();
}

/* From now on; -1: there is none. */
static int64_t next_deadline_us(const struct worker *w)
{
    int64_t ms = wheel_next_ms(&w->wheel), fine = wheel_next_ms(&w->fine);
    if (fine < 0) return ms < 0 ? -1 : ms * 1000;
    return ms < 0 || fine * WORKER_FINE_US < ms * 1000 ? fine * WORKER_FINE_US : ms * 1000;
}

static void wait_for_work(struct worker *w)
{
    int64_t wait_us = next_deadline_us(w);
    struct __kernel_timespec limit = { wait_us / 1000000, wait_us % 1000000 * 1000 };
    struct io_uring_cqe *cqe;
    int rc = io_uring_submit_and_wait_timeout(&w->ring, &cqe, 1, wait_us < 0 ? NULL : &limit, NULL);
    CHECK(rc >= 0 || rc == -ETIME || rc == -EINTR || rc == -EAGAIN || rc == -EBUSY);
}

static void run_completion(struct worker *w, const struct io_uring_cqe *cqe)
{
    struct op *op = io_uring_cqe_get_data(cqe);
    if (!op) return; /* a cancellation that found nothing */
    struct op_result r = { .result = cqe->res,
                           .more = cqe->flags & IORING_CQE_F_MORE,
                           .nonempty = cqe->flags & IORING_CQE_F_SOCK_NONEMPTY };
    bool selected = cqe->flags & IORING_CQE_F_BUFFER;
    unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    struct buffers *buffers = &w->buffers[op->buffers];
    if (selected && cqe->res > 0) {
        r.data = slice_of(buffers->memory + id * buffers->size_bytes, (size_t)cqe->res);
    }
    struct scope *scope = op->scope;
    if (!r.more) op->armed = false;
    op->done(op, &r);
    if (selected) buffer_give(buffers, id);
    if (!r.more) scope_leave(scope);
}

/* All that have come are copied off the ring first, so that what they start cannot lengthen this
 * turn without end, and so that nothing that came before a callback of this turn is seen in a later
 * one. */
static void run_completions(struct worker *w)
{
    unsigned n = io_uring_peek_batch_cqe(&w->ring, w->seen, COMPLETIONS);
    for (unsigned i = 0; i < n; i++) w->reaped[i] = *w->seen[i];
    io_uring_cq_advance(&w->ring, n);
    for (unsigned i = 0; i < n; i++) run_completion(w, &w->reaped[i]);
}

static void loop(struct worker *w)
{
    worker_run_notes(w); /* what starting up left */
    while (!w->stopping) {
        wait_for_work(w);
        read_clock(w);
        run_completions(w);
        wheel_advance(&w->wheel, worker_now_ms(w));
        wheel_advance(&w->fine, worker_now_fine(w));
        worker_run_notes(w);
    }
}

/* ---- life ---- */

struct start {
    struct worker *worker;
    int cpu;
    void (*start)(struct worker *w);
    sem_t stands;
    int result;
};

static void nothing(struct scope *s)
{
    (void)s;
}

void worker_init(struct worker *w, unsigned index)
{
    *w = (struct worker){ .index = index, .workers = 1, .bell_fd = -1 };
    w->deferred_end = &w->deferred;
    read_clock(w);
    wheel_init(&w->wheel, worker_now_ms(w));
    wheel_init(&w->fine, worker_now_fine(w));
    scope_init(&w->scope, w, nothing);
}

static void pin(int cpu)
{
    if (cpu < 0) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0) {
        log_event(LOG_WARNING, "worker not pinned to core %d: %s", cpu, strerror(errno));
    }
}

static int open_all(struct worker *w)
{
    w->seen = xcalloc(COMPLETIONS, sizeof *w->seen);
    w->reaped = xcalloc(COMPLETIONS, sizeof *w->reaped);
    w->bell_fd = eventfd(0, EFD_CLOEXEC);
    if (w->bell_fd < 0) return -errno;
    int rc = ring_open_fitting(&w->ring, fair_entries(w->workers));
    if (rc < 0) return rc;
    rc = buffers_open(w, BUFFERS_STREAM, STREAM_BUFFERS, STREAM_BYTES);
    if (rc < 0) return rc;
    op_init(&w->bell_op, &w->scope, on_bell);
    op_read(w, &w->bell_op, w->bell_fd, &w->bell_value, sizeof w->bell_value);
    return 0;
}

static void close_all(struct worker *w)
{
    buffers_close(w, BUFFERS_STREAM);
    buffers_close(w, BUFFERS_DATAGRAM);
    io_uring_queue_exit(&w->ring);
    free(w->seen);
    free(w->reaped);
    while (w->free_block_count) block_release(w->free_blocks[--w->free_block_count]);
}

static void *thread_main(void *arg)
{
    struct start *s = arg;
    struct worker *w = s->worker;
    self = w;
    pin(s->cpu);
    metrics_attach();
    s->result = open_all(w);
    bool stands = s->result == 0;
    if (stands) s->start(w);
    sem_post(&s->stands); /* s is gone from here on */
    if (stands) {
        loop(w);
        close_all(w);
    }
    arena_free_spare();
    pool_free_spare();
    metrics_detach();
    return NULL;
}

int worker_start(struct worker *w, int cpu, void (*start)(struct worker *w))
{
    struct start s = { .worker = w, .cpu = cpu, .start = start };
    sem_init(&s.stands, 0, 0);
    int rc = pthread_create(&w->thread, NULL, thread_main, &s);
    if (rc == 0) {
        while (sem_wait(&s.stands) < 0) {
        }
        rc = -s.result;
        if (rc) pthread_join(w->thread, NULL);
    }
    sem_destroy(&s.stands);
    if (rc == 0) return 0;
    char text[256];
    log_event(LOG_ERROR, "worker %u could not start: %s (%s)", w->index,
              advice(-rc, text, sizeof text), strerror(rc));
    return -E_SYSTEM;
}

void worker_stop(struct worker *w)
{
    w->stopping = true;
}

void worker_wait(struct worker *w)
{
    if (!w->joined) pthread_join(w->thread, NULL);
    w->joined = true;
}

void worker_join(struct worker *w)
{
    worker_wait(w);
    close(w->bell_fd);
}

/* ---- blocks ---- */

struct block *worker_block(struct worker *w)
{
    if (w->free_block_count) return w->free_blocks[--w->free_block_count];
    return block_new(WORKER_BLOCK_BYTES);
}

void worker_block_put(struct worker *w, struct block **b)
{
    struct block *put = *b;
    *b = NULL;
    if (!put) return;
    bool pooled = put->size_bytes == WORKER_BLOCK_BYTES && block_sole(put) &&
                  w->free_block_count < WORKER_BLOCKS_KEPT;
    if (pooled)
        w->free_blocks[w->free_block_count++] = put;
    else
        block_release(put);
}
