/*
 * handshake: connections with TLS 1.3, one request on each, as many as go into the time.
 *
 * One thread, epoll, BoringSSL. A connection shakes hands, asks, reads the response to its
 * announced end and closes; then the next takes its place. With -r every handshake offers the
 * ticket the server sent last. The server's CPU time over their number is what a new client costs.
 *
 * Clients come from 200 addresses, so that ports in TIME_WAIT do not run out.
 *
 * What it does not do: verify the certificate, early data, HTTP/2, anything after the first
 * response.
 *
 *     handshake [-p PORT] [-c CONNECTIONS] [-d SECONDS] [-r] [PATH]
 *
 * Prints {"handshakes":N,"resumed":N,"errors":N,"seconds":S}; the first error also goes to stderr.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
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

#define MAX_CONNECTIONS 1024
#define MAX_HEAD_BYTES  4096
#define ADDRESSES       200
#define EVENTS          64

struct connection {
    int fd;
    SSL *tls;
    bool asked;
    size_t head_bytes; /* in `head`, until the end of the head is there */
    size_t body_left;  /* meaningful after it */
    bool in_body;
    char head[MAX_HEAD_BYTES + 1];
};

static struct {
    unsigned port, connections;
    double seconds;
    bool resume;
    const char *path;
} options = { .port = 8443, .connections = 32, .seconds = 3, .path = "/100" };

static struct {
    uint64_t handshakes, resumed, errors;
} results;

static struct connection connections[MAX_CONNECTIONS];
static SSL_CTX *context;
static SSL_SESSION *session; /* the newest */
static int epoll;
static unsigned next_address;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void complain(const char *what)
{
    if (results.errors++ == 0) fprintf(stderr, "handshake: %s\n", what);
}

/* ---- one connection ---- */

static int connect_from(uint32_t address)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) die("handshake: socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* The port is chosen when it is known where to, so that one serves many destinations. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(address) };
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)options.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (bind(fd, (struct sockaddr *)&from, sizeof from)) die("handshake: bind");
    if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        die("handshake: connect");
    return fd;
}

static void connection_start(struct connection *connection)
{
    uint32_t address = INADDR_LOOPBACK + 1 + next_address++ % ADDRESSES;
    *connection = (struct connection){ .fd = connect_from(address), .tls = SSL_new(context) };
    if (!connection->tls) die("handshake: SSL_new");
    SSL_set_fd(connection->tls, connection->fd);
    SSL_set_tlsext_host_name(connection->tls, "localhost");
    SSL_set_connect_state(connection->tls);
    if (options.resume && session) SSL_set_session(connection->tls, session);
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection };
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event)) die("handshake: epoll_ctl");
}

static void connection_stop(struct connection *connection)
{
    SSL_shutdown(connection->tls);
    SSL_free(connection->tls);
    close(connection->fd);
    connection->tls = NULL;
}

/* Finds the end of the head and in it how long the body is. False: this is no such response. */
static bool on_head(struct connection *connection)
{
    connection->head[connection->head_bytes] = 0;
    char *end = strstr(connection->head, "\r\n\r\n");
    if (!end) return connection->head_bytes < MAX_HEAD_BYTES;
    const char *length = strcasestr(connection->head, "\r\nContent-Length:");
    if (strncmp(connection->head, "HTTP/1.1 200 ", 13) != 0 || !length || length > end)
        return false;

    size_t body_bytes = strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
    size_t received = connection->head_bytes - (size_t)(end + 4 - connection->head);
    if (received > body_bytes) return false;
    connection->in_body = true;
    connection->body_left = body_bytes - received;
    return true;
}

/* Reads what is there. 1: the response is complete; 0: there is more to come; -1: it failed. */
static int response_read(struct connection *connection)
{
    static char body[65536];
    for (;;) {
        bool in_body = connection->in_body;
        char *at = in_body ? body : connection->head + connection->head_bytes;
        size_t room = in_body ? sizeof body : MAX_HEAD_BYTES - connection->head_bytes;
        int count = SSL_read(connection->tls, at, (int)room);
        if (count <= 0)
            return SSL_get_error(connection->tls, count) == SSL_ERROR_WANT_READ ? 0 : -1;
        if (in_body) {
            if ((size_t)count > connection->body_left) return -1;
            connection->body_left -= (size_t)count;
        } else {
            connection->head_bytes += (size_t)count;
            if (!on_head(connection)) return -1;
        }
        if (connection->in_body && connection->body_left == 0) return 1;
    }
}

static bool ask(struct connection *connection)
{
    char request[256];
    int bytes = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
                         options.path);
    connection->asked = true;
    return SSL_write(connection->tls, request, bytes) == bytes;
}

/* As response_read(), of the whole that one connection does. */
static int connection_go_on(struct connection *connection)
{
    ERR_clear_error();
    if (!connection->asked) {
        int result = SSL_do_handshake(connection->tls);
        if (result != 1) {
            int error = SSL_get_error(connection->tls, result);
            return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
        }
        if (!ask(connection)) return -1;
    }
    return response_read(connection);
}

static void on_event(struct connection *connection, bool again)
{
    int result = connection_go_on(connection);
    if (result == 0) return;
    if (result < 0) {
        complain("a connection failed");
    } else {
        results.handshakes++;
        results.resumed += (uint64_t)SSL_session_reused(connection->tls);
    }
    connection_stop(connection);
    if (again) connection_start(connection);
}

/* ---- all of them ---- */

static int on_session(SSL *tls, SSL_SESSION *new)
{
    (void)tls;
    SSL_SESSION_free(session);
    session = new;
    return 1;
}

static void context_open(void)
{
    context = SSL_CTX_new(TLS_client_method());
    if (!context) die("handshake: SSL_CTX_new");
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set1_groups_list(context, "X25519");
    SSL_CTX_set_session_cache_mode(context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context, on_session);
}

/* Until the time is up every connection is followed by another; then those under way may end. */
static void run(unsigned count, double seconds)
{
    double end_s = now_s() + seconds, last_s = end_s + 5;
    for (unsigned i = 0; i < count; i++) connection_start(&connections[i]);
    for (unsigned open = count; open > 0 && now_s() < last_s;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, 1000);
        for (int i = 0; i < ready; i++) on_event(events[i].data.ptr, now_s() < end_s);
        open = 0;
        for (unsigned i = 0; i < count; i++) open += connections[i].tls != NULL;
    }
    for (unsigned i = 0; i < count; i++)
        if (connections[i].tls) complain("a connection did not end");
}

static void parse_options(int argc, char **argv)
{
    for (int option; (option = getopt(argc, argv, "p:c:d:r")) != -1;) {
        switch (option) {
        case 'p': options.port = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'c': options.connections = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'd': options.seconds = strtod(optarg, NULL); break;
        case 'r': options.resume = true; break;
        default:
            fprintf(stderr,
                    "usage: handshake [-p PORT] [-c CONNECTIONS] [-d SECONDS] [-r] [PATH]\n");
            exit(2);
        }
    }
    if (optind < argc) options.path = argv[optind];
    if (options.connections > MAX_CONNECTIONS) options.connections = MAX_CONNECTIONS;
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    context_open();
    if ((epoll = epoll_create1(0)) < 0) die("handshake: epoll_create1");
    if (options.resume) run(1, 0); /* for the first ticket */
    results.handshakes = results.resumed = 0;

    double start_s = now_s();
    run(options.connections, options.seconds);
    printf("{\"handshakes\":%lu,\"resumed\":%lu,\"errors\":%lu,\"seconds\":%.3f}\n",
           results.handshakes, results.resumed, results.errors, now_s() - start_s);
    return 0;
}
