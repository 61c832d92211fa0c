#define _GNU_SOURCE
#include "bench/ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_ENTRIES       4096
#define COMPLETION_ENTRIES 16384
#define BUFFERS            1024

/* The kernel's two queues, mapped. `tail` runs ahead of the shared tail until enter() publishes it.
 */
struct ring {
    int fd;
    unsigned *sq_head, *sq_tail, sq_mask, sq_entries;
    unsigned *cq_head, *cq_tail, cq_mask;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    unsigned tail, submitted;
};

struct buffer_ring {
    struct io_uring_buf_ring *ring;
    char *memory;
    uint16_t tail;
};

static struct ring ring;
static struct buffer_ring buffers;

void die(const char *what)
{
    perror(what);
    exit(1);
}

void *map(size_t bytes, int flags, int fd, off_t offset)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, fd, offset);
    if (memory == MAP_FAILED) die("floor: mmap");
    return memory;
}

/* ---- the ring ---- */

void ring_open(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                 IORING_SETUP_SUBMIT_ALL,
        .cq_entries = COMPLETION_ENTRIES,
    };
    ring.fd = (int)syscall(__NR_io_uring_setup, RING_ENTRIES, &params);
    if (ring.fd < 0) die("floor: io_uring_setup (Linux 6.1 or newer is needed)");

    /* Since Linux 5.4 both queues live in one mapping; the larger of the two sizes covers it. */
    size_t cq_bytes = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    size_t sq_bytes = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    size_t bytes = cq_bytes > sq_bytes ? cq_bytes : sq_bytes;
    char *queues = map(bytes, MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);

    ring.sq_head = (unsigned *)(queues + params.sq_off.head);
    ring.sq_tail = (unsigned *)(queues + params.sq_off.tail);
    ring.sq_mask = params.sq_entries - 1;
    ring.sq_entries = params.sq_entries;
    ring.cq_head = (unsigned *)(queues + params.cq_off.head);
    ring.cq_tail = (unsigned *)(queues + params.cq_off.tail);
    ring.cq_mask = params.cq_entries - 1;
    ring.cqes = (struct io_uring_cqe *)(queues + params.cq_off.cqes);
    ring.sqes = map(params.sq_entries * sizeof *ring.sqes, MAP_SHARED, ring.fd, IORING_OFF_SQES);

    /* Entries are used in order, so the indirection array never changes. */
    unsigned *array = (unsigned *)(queues + params.sq_off.array);
    for (unsigned i = 0; i < params.sq_entries; i++) array[i] = i;
}

/* Submits what is prepared and waits for `wait` completions. An interruption is the caller's next
 * turn. */
static void ring_enter(unsigned wait)
{
    __atomic_store_n(ring.sq_tail, ring.tail, __ATOMIC_RELEASE);
    long count = syscall(__NR_io_uring_enter, ring.fd, ring.tail - ring.submitted, wait,
                         IORING_ENTER_GETEVENTS, NULL, 0);
    if (count >= 0)
        ring.submitted += (unsigned)count;
    else if (errno != EINTR)
        die("floor: io_uring_enter");
}

struct io_uring_sqe *ring_prepare(int fd, uint64_t user_data)
{
    while (ring.tail - __atomic_load_n(ring.sq_head, __ATOMIC_ACQUIRE) == ring.sq_entries)
        ring_enter(0);
    struct io_uring_sqe *sqe = &ring.sqes[ring.tail++ & ring.sq_mask];
    *sqe = (struct io_uring_sqe){ .fd = fd, .user_data = user_data };
    return sqe;
}

/* ---- receive buffers ---- */

/* Seen by the kernel after the next buffers_publish(). */
void buffers_give(uint16_t id)
{
    struct io_uring_buf *buffer = &buffers.ring->bufs[buffers.tail++ & (BUFFERS - 1)];
    buffer->addr = (uintptr_t)(buffers.memory + (size_t)id * BUFFER_BYTES);
    buffer->len = BUFFER_BYTES;
    buffer->bid = id;
}

void buffers_publish(void)
{
    __atomic_store_n(&buffers.ring->tail, buffers.tail, __ATOMIC_RELEASE);
}

void buffers_open(void)
{
    int flags = MAP_ANONYMOUS | MAP_PRIVATE;
    buffers.ring = map(BUFFERS * sizeof(struct io_uring_buf), flags, -1, 0);
    buffers.memory = map((size_t)BUFFERS * BUFFER_BYTES, flags, -1, 0);
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)buffers.ring,
        .ring_entries = BUFFERS,
        .bgid = BUFFER_GROUP,
    };
    if (syscall(__NR_io_uring_register, ring.fd, IORING_REGISTER_PBUF_RING, &registration, 1) < 0)
        die("floor: registering the buffer ring");
    for (uint16_t id = 0; id < BUFFERS; id++) buffers_give(id);
    buffers_publish();
}

char *buffers_data(uint16_t id)
{
    return buffers.memory + (size_t)id * BUFFER_BYTES;
}

void ring_turn(void (*handle)(const struct io_uring_cqe *))
{
    ring_enter(1);
    unsigned head = *ring.cq_head;
    unsigned tail = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE);
    for (; head != tail; head++) handle(&ring.cqes[head & ring.cq_mask]);
    __atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
    buffers_publish();
}
