/*
 * load: a load generator for HTTP/1.1 that costs less than the servers it drives.
 *
 * One thread, epoll, keep-alive connections, one request under way on each. Every response is
 * checked: status 200, and a Content-Length equal to the size its path is known to have. Of a body
 * only the first bytes are read; the rest is dropped inside the kernel (MSG_TRUNC), so a 16 MiB
 * response costs the client no copy. When the time is up nothing new is asked, what is under way is
 * finished, and a response that does not end within five seconds is an error: CPU time divided by
 * responses then counts no half-done work.
 *
 * What it does not do: TLS, chunked bodies, pipelining, requests with a body, content checks.
 *
 *     load [-a ADDRESS] [-p PORT] [-c CONNECTIONS] [-d SECONDS] PATH BYTES
 *     load [...] [-z EXPONENT | -1] -f FILE
 *
 * FILE has one "PATH BYTES" per line, the most popular first; they are drawn by Zipf's law with the
 * given exponent (0: all alike; the draw is the same in every run), or with -1 asked for once each,
 * in their order. Prints one line of JSON; the first error also goes to stderr.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_TARGETS    1000000
#define MAX_HEAD_BYTES 4096
#define SMALL_BODY                                                                                 \
    (16u << 10) /* up to here one read takes head and body: a copy is cheaper than a second call   \
                 */
#define MAX_EVENTS      256
#define DRAIN_NS        5000000000u
#define NS_PER_S        1000000000u
#define LATENCY_BUCKETS 4096

struct target {
    char *request;
    size_t request_bytes;
    uint64_t body_bytes;
    double weight; /* running sum over the targets before and including this one, of 1 in all */
};

struct connection {
    int fd;
    const struct target *target; /* asked for and not yet answered in full, NULL when idle */
    uint64_t asked_ns;
    uint64_t body_left; /* meaningful while in_body */
    bool in_body;
    bool last;         /* the server announced that it will close */
    size_t head_bytes; /* of a head that came in pieces, kept in `head` */
    char head[MAX_HEAD_BYTES];
};

static struct {
    struct sockaddr_in server;
    char host[64];
    size_t connections;
    double seconds, exponent;
    bool once;
} options = { .connections = 64, .seconds = 3 };

static struct {
    uint64_t responses, errors, reconnects, bytes;
    uint32_t latency[LATENCY_BUCKETS];
} results;

static struct target *targets;
static size_t target_count, targets_drawn;
static uint64_t random_state = 0x9e3779b97f4a7c15;
static int poller;
static uint64_t now_ns; /* read once per turn: a call per response would cost more than it tells */
static bool draining;
static size_t outstanding;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...)
{
    if (results.errors++ > 0) return;
    va_list arguments;
    va_start(arguments, format);
    fputs("load: first error: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

/* ---- latency: exact to the microsecond up to 1,024, then 128 steps to each doubling ---- */

static void latency_record(uint64_t us)
{
    unsigned bucket = (unsigned)us;
    if (us >= 1024) {
        unsigned doubling = 63 - (unsigned)__builtin_clzll(us);
        bucket = 1024 + (doubling - 10) * 128 + ((us >> (doubling - 7)) & 127);
    }
    results.latency[bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1]++;
}

static uint64_t latency_bucket_us(unsigned bucket)
{
    if (bucket < 1024) return bucket;
    unsigned doubling = 10 + (bucket - 1024) / 128;
    return (uint64_t)(128 + (bucket - 1024) % 128) << (doubling - 7);
}

static uint64_t latency_quantile_us(double quantile)
{
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        seen += results.latency[bucket];
        if (seen > 0 && (double)seen >= quantile * (double)results.responses)
            return latency_bucket_us(bucket);
    }
    return 0;
}

/* ---- targets ---- */

static void target_add(const char *path, uint64_t body_bytes)
{
    targets = realloc(targets, (target_count + 1) * sizeof *targets);
    if (!targets) die("load: memory");
    struct target *target = &targets[target_count++];
    *target = (struct target){ .body_bytes = body_bytes };
    int bytes =
        asprintf(&target->request, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, options.host);
    if (bytes < 0) die("load: memory");
    target->request_bytes = (size_t)bytes;
}

static void targets_read(const char *file)
{
    FILE *stream = fopen(file, "r");
    if (!stream) die(file);
    char path[1024];
    unsigned long body_bytes;
    while (fscanf(stream, "%1023s %lu", path, &body_bytes) == 2) target_add(path, body_bytes);
    fclose(stream);
}

static void targets_weigh(void)
{
    double sum = 0;
    for (size_t i = 0; i < target_count; i++) {
        sum += 1 / pow((double)(i + 1), options.exponent);
        targets[i].weight = sum;
    }
    for (size_t i = 0; i < target_count; i++) targets[i].weight /= sum;
}

/* xorshift64*, of which the upper 53 bits make a double below 1. */
static double random_unit(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (double)((random_state * 0x2545f4914f6cdd1d) >> 11) * 0x1p-53;
}

static const struct target *target_draw(void)
{
    if (options.once) return &targets[targets_drawn];
    if (target_count == 1) return targets;
    double at = random_unit();
    size_t low = 0, high = target_count - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (targets[middle].weight > at)
            high = middle;
        else
            low = middle + 1;
    }
    return &targets[low];
}

/* ---- connections ---- */

static void connection_open(struct connection *connection)
{
    int on = 1;
    *connection = (struct connection){ .fd = socket(AF_INET, SOCK_STREAM, 0) };
    if (connection->fd < 0) die("load: socket");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(connection->fd, (struct sockaddr *)&options.server, sizeof options.server))
        die("load: connect");
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = connection };
    if (epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event)) die("load: epoll_ctl");
}

static void ask(struct connection *connection)
{
    const struct target *target = target_draw();
    connection->target = target;
    connection->asked_ns = now_ns;
    outstanding++;
    draining = options.once && ++targets_drawn == target_count;
    /* A failed send shows as the end of the connection; that is where it is counted. */
    (void)send(connection->fd, target->request, target->request_bytes, MSG_NOSIGNAL);
}

/* The connection has nothing under way any more. */
static void next(struct connection *connection, bool reconnect)
{
    if (connection->target) outstanding--;
    connection->target = NULL;
    if (reconnect) {
        close(connection->fd);
        if (!draining) connection_open(connection);
    }
    if (!draining) ask(connection);
}

static void response_done(struct connection *connection)
{
    bool last = connection->last;
    results.responses++;
    results.reconnects += last;
    latency_record((now_ns - connection->asked_ns) / 1000);
    connection->in_body = false;
    next(connection, last);
}

/* Looks at the fields that matter. Returns the content length, or -1. */
static int64_t head_scan(struct connection *connection, const char *head, const char *end)
{
    int64_t length = -1;
    const char *line = head;
    while ((line = memchr(line, '\n', (size_t)(end - line))) && ++line < end) {
        if (strncasecmp(line, "content-length:", 15) == 0)
            length = strtoll(line + 15, NULL, 10);
        else if (strncasecmp(line, "connection: close", 17) == 0)
            connection->last = true;
    }
    return length;
}

/* `end` is behind the empty line. False: the response is not what was asked for. */
static bool head_accept(struct connection *connection, const char *head, const char *end)
{
    int64_t length = head_scan(connection, head, end);
    bool ok = strncmp(head, "HTTP/1.1 200", 12) == 0;
    if (!ok || length != (int64_t)connection->target->body_bytes) {
        fail("%.*s with Content-Length %ld for %.*s", (int)strcspn(head, "\r"), head, length,
             (int)strcspn(connection->target->request, "\r"), connection->target->request);
        return false;
    }
    connection->body_left = (uint64_t)length;
    connection->in_body = true;
    return true;
}

static void body_take(struct connection *connection, uint64_t bytes)
{
    if (bytes > connection->body_left) {
        fail("%lu bytes more than Content-Length", bytes - connection->body_left);
        next(connection, true);
        return;
    }
    connection->body_left -= bytes;
    results.bytes += bytes;
    if (connection->body_left == 0) response_done(connection);
}

static void head_keep(struct connection *connection, const char *head, size_t bytes)
{
    if (bytes >= sizeof connection->head) {
        fail("a head above %d bytes", MAX_HEAD_BYTES);
        next(connection, true);
        return;
    }
    memcpy(connection->head, head, bytes);
    connection->head_bytes = bytes;
}

static void on_closed(struct connection *connection, ssize_t result)
{
    if (result < 0 && errno == EAGAIN) return;
    fail("connection %s", result < 0 ? strerror(errno) : "closed before the response was complete");
    next(connection, true);
}

static void on_head_readable(struct connection *connection)
{
    /* Shared by all connections, so that it stays in the processor's cache; ends in NUL for the
     * string functions. */
    static char buffer[MAX_HEAD_BYTES + SMALL_BODY + MAX_HEAD_BYTES + 1];
    size_t kept = connection->head_bytes;
    bool small = connection->target->body_bytes <= SMALL_BODY;
    size_t room = small ? SMALL_BODY + MAX_HEAD_BYTES : MAX_HEAD_BYTES;

    ssize_t count = recv(connection->fd, buffer + kept, room, MSG_DONTWAIT);
    if (count <= 0) {
        on_closed(connection, count);
        return;
    }
    memcpy(buffer, connection->head, kept);
    size_t bytes = kept + (size_t)count;
    buffer[bytes] = '\0';
    connection->head_bytes = 0;

    char *end = memmem(buffer, bytes, "\r\n\r\n", 4);
    if (!end)
        head_keep(connection, buffer, bytes);
    else if (head_accept(connection, buffer, end + 4))
        body_take(connection, bytes - (size_t)(end + 4 - buffer));
    else
        next(connection, true);
}

static void on_body_readable(struct connection *connection)
{
    ssize_t count = recv(connection->fd, NULL, connection->body_left, MSG_TRUNC | MSG_DONTWAIT);
    if (count <= 0)
        on_closed(connection, count);
    else
        body_take(connection, (uint64_t)count);
}

/* ---- the run ---- */

static void turn(void)
{
    struct epoll_event events[MAX_EVENTS];
    int count = epoll_wait(poller, events, MAX_EVENTS, 100);
    now_ns = clock_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        if (connection->in_body)
            on_body_readable(connection);
        else
            on_head_readable(connection);
    }
}

/* Returns the seconds from the first request to the last response. */
static double run(void)
{
    struct connection *connections = calloc(options.connections, sizeof *connections);
    if (!connections) die("load: memory");
    for (size_t i = 0; i < options.connections; i++) connection_open(&connections[i]);

    uint64_t start_ns = now_ns = clock_ns(CLOCK_MONOTONIC);
    uint64_t stop_ns = start_ns + (uint64_t)(options.seconds * NS_PER_S);
    for (size_t i = 0; i < options.connections && !draining; i++) ask(&connections[i]);
    while (now_ns < stop_ns && !draining) turn();
    draining = true;
    while (outstanding > 0 && now_ns < stop_ns + DRAIN_NS) turn();

    if (outstanding > 0) fail("a response did not end in time");
    free(connections);
    return (double)(now_ns - start_ns) / NS_PER_S;
}

static void report(double seconds)
{
    double cpu_seconds = (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / NS_PER_S;
    printf("{\"seconds\":%.6f,\"requests\":%lu,\"errors\":%lu,\"reconnects\":%lu,\"bytes\":%lu,"
           "\"p50_us\":%lu,\"p99_us\":%lu,\"cpu_seconds\":%.6f}\n",
           seconds, results.responses, results.errors, results.reconnects, results.bytes,
           latency_quantile_us(0.5), latency_quantile_us(0.99), cpu_seconds);
}

static int usage(void)
{
    fputs("usage: load [-a ADDRESS] [-p PORT] [-c CONNECTIONS] [-d SECONDS] PATH BYTES\n"
          "       load [...] [-z EXPONENT | -1] -f FILE\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    const char *address = "127.0.0.1", *file = NULL;
    unsigned port = 8080;
    for (int option; (option = getopt(argc, argv, "a:p:c:d:f:z:1")) != -1;) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': port = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'c': options.connections = strtoul(optarg, NULL, 10); break;
        case 'd': options.seconds = strtod(optarg, NULL); break;
        case 'f': file = optarg; break;
        case 'z': options.exponent = strtod(optarg, NULL); break;
        case '1': options.once = true; break;
        default: return usage();
        }
    }
    if (argc - optind != (file ? 0 : 2) || (options.once && !file)) return usage();
    options.server.sin_family = AF_INET;
    options.server.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, address, &options.server.sin_addr) != 1) return usage();
    snprintf(options.host, sizeof options.host, "%s:%u", address, port);

    if (file)
        targets_read(file);
    else
        target_add(argv[optind], strtoul(argv[optind + 1], NULL, 10));
    if (target_count == 0) return usage();
    targets_weigh();
    poller = epoll_create1(0);
    if (poller < 0) die("load: epoll_create1");
    report(run());
    return 0;
}
