/*
 * floor: the least that an HTTP/1.1 response costs on this machine through io_uring.
 *
 * One thread, one ring: multishot accept, multishot receive into a provided buffer ring, one send
 * in flight per connection, no more than 256 KiB in a send. GET /<bytes> is answered from memory
 * with a prebuilt head and a body of that many bytes. What a real server costs above this is the
 * price of its own work; what it costs below this cannot be. It also serves as the origin that is
 * fast enough never to be what a proxy waits for.
 *
 * What it does not do: it does not parse (a request is whatever was received when an empty line
 * ends it; its path is the number after "GET /", anything after the digits is ignored), it does not
 * pipeline, it keeps no time and no limits, it answers no error, and it must never face anything
 * but a benchmark.
 *
 *     floor [-a ADDRESS] [-p PORT] [-n]       -n: "Cache-Control: no-store" instead of a day of
 * freshness
 *
 * SIGTERM ends it; it then prints how many responses it completed: {"requests":N,"bytes":N}.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RING_ENTRIES       4096
#define COMPLETION_ENTRIES 16384
#define BUFFERS            1024
#define BUFFER_BYTES       4096
#define BUFFER_GROUP       1
#define MAX_CONNECTIONS    16384
#define MAX_RESPONSES      64
#define MAX_BODY_BYTES     (64u << 20)
/* Up to here the kernel copies what is still in the processor's cache; a 1 MiB body costs half of
 * what one send does. */
#define MAX_SEND_BYTES (256u << 10)

enum operation { ACCEPT, RECEIVE, SEND };

struct response {
    size_t body_bytes;
    size_t bytes; /* head and body */
    char *data;
};

/* Indexed by descriptor. It is closed when nothing is under way on it, so no completion ever meets
 * a successor. */
struct connection {
    const struct response *response; /* being sent, NULL between requests */
    size_t sent_bytes;
    bool receiving;
    bool closing;
};

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
static struct connection connections[MAX_CONNECTIONS];
static struct response responses[MAX_RESPONSES];
static unsigned response_count;
static const char *cache_control = "max-age=86400";
static uint64_t completed_requests, completed_bytes;
static volatile sig_atomic_t stopping;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void *map(size_t bytes, int flags, int fd, off_t offset)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, fd, offset);
    if (memory == MAP_FAILED) die("floor: mmap");
    return memory;
}

/* ---- the ring ---- */

static void ring_open(void)
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

static struct io_uring_sqe *ring_prepare(enum operation operation, int fd)
{
    while (ring.tail - __atomic_load_n(ring.sq_head, __ATOMIC_ACQUIRE) == ring.sq_entries)
        ring_enter(0);
    struct io_uring_sqe *sqe = &ring.sqes[ring.tail++ & ring.sq_mask];
    *sqe = (struct io_uring_sqe){ .fd = fd, .user_data = (uint64_t)operation << 32 | (uint32_t)fd };
    return sqe;
}

/* ---- receive buffers ---- */

/* Lends a buffer to the kernel; seen by it after the next buffers_publish(). */
static void buffers_give(uint16_t id)
{
    struct io_uring_buf *buffer = &buffers.ring->bufs[buffers.tail++ & (BUFFERS - 1)];
    buffer->addr = (uintptr_t)(buffers.memory + (size_t)id * BUFFER_BYTES);
    buffer->len = BUFFER_BYTES;
    buffer->bid = id;
}

static void buffers_publish(void)
{
    __atomic_store_n(&buffers.ring->tail, buffers.tail, __ATOMIC_RELEASE);
}

static void buffers_open(void)
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

/* ---- responses ---- */

static const struct response *response_build(struct response *response, size_t body_bytes)
{
    char head[256], date[32];
    time_t now =
        time(NULL); /* a cache takes an old Date for age: a run is shorter than what is fresh */
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&now));
    int head_bytes = snprintf(head, sizeof head,
                              "HTTP/1.1 200 OK\r\n"
                              "Server: floor\r\n"
                              "Date: %s\r\n"
                              "Content-Type: application/octet-stream\r\n"
                              "Content-Length: %zu\r\n"
                              "Cache-Control: %s\r\n"
                              "ETag: \"%zu\"\r\n"
                              "\r\n",
                              date, body_bytes, cache_control, body_bytes);
    response->body_bytes = body_bytes;
    response->bytes = (size_t)head_bytes + body_bytes;
    response->data = map(response->bytes, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    memcpy(response->data, head, (size_t)head_bytes);
    memset(response->data + head_bytes, 'x', body_bytes);
    return response;
}

/* NULL: too large, or more sizes than a benchmark has. */
static const struct response *response_of(size_t body_bytes)
{
    for (unsigned i = 0; i < response_count; i++)
        if (responses[i].body_bytes == body_bytes) return &responses[i];
    if (response_count == MAX_RESPONSES || body_bytes > MAX_BODY_BYTES) return NULL;
    return response_build(&responses[response_count++], body_bytes);
}

/* ---- connections ---- */

static void arm_accept(int listener)
{
    struct io_uring_sqe *sqe = ring_prepare(ACCEPT, listener);
    sqe->opcode = IORING_OP_ACCEPT;
    sqe->ioprio = IORING_ACCEPT_MULTISHOT;
}

static void arm_receive(int fd)
{
    struct io_uring_sqe *sqe = ring_prepare(RECEIVE, fd);
    sqe->opcode = IORING_OP_RECV;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->buf_group = BUFFER_GROUP;
    connections[fd].receiving = true;
}

static void send_more(int fd)
{
    struct connection *connection = &connections[fd];
    size_t left_bytes = connection->response->bytes - connection->sent_bytes;
    struct io_uring_sqe *sqe = ring_prepare(SEND, fd);
    sqe->opcode = IORING_OP_SEND;
    sqe->addr = (uintptr_t)(connection->response->data + connection->sent_bytes);
    sqe->len = left_bytes < MAX_SEND_BYTES ? (uint32_t)left_bytes : MAX_SEND_BYTES;
    sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
}

/* Ends both directions; what is under way on the descriptor then completes, and the last to do so
 * closes it. */
static void connection_end(int fd)
{
    struct connection *connection = &connections[fd];
    if (!connection->closing) shutdown(fd, SHUT_RDWR);
    connection->closing = true;
    if (!connection->receiving && !connection->response) close(fd);
}

static void on_accept(int listener, const struct io_uring_cqe *cqe)
{
    int fd = cqe->res;
    if (fd >= MAX_CONNECTIONS) {
        close(fd);
    } else if (fd >= 0) {
        connections[fd] = (struct connection){ 0 };
        arm_receive(fd);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) arm_accept(listener);
}

static void on_request(int fd, const char *data, size_t bytes)
{
    struct connection *connection = &connections[fd];
    if (connection->closing || bytes < 8 || memcmp(data + bytes - 4, "\r\n\r\n", 4) != 0) return;

    size_t body_bytes = 0;
    for (const char *at = data + strlen("GET /"); *at >= '0' && *at <= '9'; at++)
        body_bytes = body_bytes * 10 + (size_t)(*at - '0');
    const struct response *response = connection->response ? NULL : response_of(body_bytes);
    if (!response) {
        connection_end(fd);
        return;
    }
    connection->response = response;
    connection->sent_bytes = 0;
    send_more(fd);
}

static void on_receive(int fd, const struct io_uring_cqe *cqe)
{
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        if (cqe->res > 0)
            on_request(fd, buffers.memory + (size_t)id * BUFFER_BYTES, (size_t)cqe->res);
        buffers_give(id);
    }
    if (cqe->flags & IORING_CQE_F_MORE) return;

    connections[fd].receiving = false;
    /* Running out of buffers ends a multishot as data does at times; neither is the end of the
     * connection. */
    if (!connections[fd].closing && (cqe->res > 0 || cqe->res == -ENOBUFS)) {
        buffers_publish();
        arm_receive(fd);
    } else {
        connection_end(fd);
    }
}

static void on_send(int fd, const struct io_uring_cqe *cqe)
{
    struct connection *connection = &connections[fd];
    const struct response *response = connection->response;
    if (cqe->res > 0) connection->sent_bytes += (size_t)cqe->res;

    if (connection->sent_bytes == response->bytes) {
        completed_requests++;
        completed_bytes += response->body_bytes;
        connection->response = NULL;
        if (connection->closing) connection_end(fd);
    } else if (cqe->res <= 0 || connection->closing) {
        connection->response = NULL;
        connection_end(fd);
    } else {
        send_more(fd);
    }
}

/* ---- the loop ---- */

static void dispatch(const struct io_uring_cqe *cqe)
{
    int fd = (int)(uint32_t)cqe->user_data;
    switch ((enum operation)(cqe->user_data >> 32)) {
    case ACCEPT: on_accept(fd, cqe); break;
    case RECEIVE: on_receive(fd, cqe); break;
    case SEND: on_send(fd, cqe); break;
    }
}

static void turn(void)
{
    ring_enter(1);
    unsigned head = *ring.cq_head;
    unsigned tail = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE);
    for (; head != tail; head++) dispatch(&ring.cqes[head & ring.cq_mask]);
    __atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
    buffers_publish();
}

static int listen_on(const char *address, unsigned port)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    if (inet_pton(AF_INET, address, &name.sin_addr) != 1) {
        fprintf(stderr, "floor: %s is not an IPv4 address\n", address);
        exit(2);
    }
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) die("floor: socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* inherited by what it accepts */
    if (bind(fd, (struct sockaddr *)&name, sizeof name) || listen(fd, 4096)) die("floor: listen");
    return fd;
}

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

int main(int argc, char **argv)
{
    const char *address = "127.0.0.1";
    unsigned port = 8080;
    for (int option; (option = getopt(argc, argv, "a:p:n")) != -1;) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': port = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'n': cache_control = "no-store"; break;
        default: fprintf(stderr, "usage: floor [-a ADDRESS] [-p PORT] [-n]\n"); return 2;
        }
    }
    sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_signal }, NULL);
    sigaction(SIGINT, &(struct sigaction){ .sa_handler = on_signal }, NULL);

    ring_open();
    buffers_open();
    arm_accept(listen_on(address, port));
    while (!stopping) turn();
    printf("{\"requests\":%lu,\"bytes\":%lu}\n", completed_requests, completed_bytes);
    return 0;
}
