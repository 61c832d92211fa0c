/*
 * floor: the least that an HTTP/1.1 response costs on this machine through io_uring.
 *
 * One thread, one ring: multishot accept, multishot receive into a provided buffer ring, one send
 * in flight per connection, no more than 256 KiB in a send. GET /<bytes> is answered from memory
 * with a prebuilt head and a body of that many bytes. What a real server costs above this is the
 * price of its own work; what it costs below this cannot be. It also serves as the origin that is
 * fast enough never to be what a proxy waits for.
 *
 * With TLS it is BoringSSL above the same, reading from the receive buffer and writing into one of
 * its own: 64 KiB of records in a send, which is the cheapest. The buffer lasts as long as there is
 * something in it. Sessions resume by ticket.
 *
 * What it does not do: it does not parse (a request is whatever was received when an empty line
 * ends it; its path is the number after "GET /", anything after the digits is ignored), it does not
 * pipeline, it keeps no time and no limits, it answers no error, and it must never face anything
 * but a benchmark.
 *
 *     floor [-a ADDRESS] [-p PORT] [-s PORT -c CERTIFICATE -k KEY] [-n]
 *
 * -s listens with TLS, too. -n: "Cache-Control: no-store" instead of a day of freshness.
 *
 * SIGTERM ends it; it then prints how many responses it completed: {"requests":N,"bytes":N}.
 */
#define _GNU_SOURCE
#include "bench/ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 16384
#define MAX_RESPONSES   64
#define MAX_BODY_BYTES  (64u << 20)
/* Up to here the kernel copies what is still in the processor's cache; a 1 MiB body costs half of
 * what one send does. */
#define MAX_SEND_BYTES   (256u << 10)
#define TLS_SEND_BYTES   (64u << 10)
#define TLS_RECORD_BYTES (16u << 10)

enum operation { ACCEPT, RECEIVE, SEND };

struct response {
    size_t body_bytes;
    size_t bytes; /* head and body */
    char *data;
};

/* What TLS has to say, until all of it is sent. There is room for a record begun just below the
 * bound, and for a handshake. */
struct output {
    struct output *next; /* among those that wait to be used again */
    size_t bytes, sent_bytes;
    char data[TLS_SEND_BYTES + 2 * TLS_RECORD_BYTES];
};

/* Indexed by descriptor. It is closed when nothing is under way on it, so no completion ever meets
 * a successor. */
struct connection {
    const struct response *response; /* being sent, NULL between requests */
    size_t sent_bytes;               /* of it; with TLS, encrypted */
    bool receiving, sending;
    bool closing;
    SSL *tls;              /* NULL: plain */
    struct output *output; /* NULL: empty */
    const char *input;     /* received, and not yet read by TLS */
    size_t input_bytes;
};

static struct connection connections[MAX_CONNECTIONS];
static struct response responses[MAX_RESPONSES];
static unsigned response_count;
static const char *cache_control = "max-age=86400";
static uint64_t completed_requests, completed_bytes;
static volatile sig_atomic_t stopping;

static int tls_listener = -1;
static SSL_CTX *tls_context;
static BIO_METHOD *tls_bio;
static struct output *unused_outputs;

static struct io_uring_sqe *prepare(enum operation operation, int fd)
{
    return ring_prepare(fd, (uint64_t)operation << 32 | (uint32_t)fd);
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
    struct io_uring_sqe *sqe = prepare(ACCEPT, listener);
    sqe->opcode = IORING_OP_ACCEPT;
    sqe->ioprio = IORING_ACCEPT_MULTISHOT;
}

static void arm_receive(int fd)
{
    struct io_uring_sqe *sqe = prepare(RECEIVE, fd);
    sqe->opcode = IORING_OP_RECV;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->buf_group = BUFFER_GROUP;
    connections[fd].receiving = true;
}

static void arm_send(int fd, const char *data, size_t bytes)
{
    struct io_uring_sqe *sqe = prepare(SEND, fd);
    sqe->opcode = IORING_OP_SEND;
    sqe->addr = (uintptr_t)data;
    sqe->len = bytes < MAX_SEND_BYTES ? (uint32_t)bytes : MAX_SEND_BYTES;
    sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
    connections[fd].sending = true;
}

static void output_release(struct connection *connection)
{
    if (!connection->output) return;
    connection->output->next = unused_outputs;
    unused_outputs = connection->output;
    connection->output = NULL;
}

/* Ends both directions; what is under way on the descriptor then completes, and the last to do so
 * closes it. */
static void connection_end(int fd)
{
    struct connection *connection = &connections[fd];
    if (!connection->closing) shutdown(fd, SHUT_RDWR);
    connection->closing = true;
    if (connection->receiving || connection->sending) return;
    SSL_free(connection->tls);
    output_release(connection);
    close(fd);
}

static void response_done(struct connection *connection)
{
    completed_requests++;
    completed_bytes += connection->response->body_bytes;
    connection->response = NULL;
}

/* ---- TLS ---- */

static int tls_bio_read(BIO *bio, char *data, int bytes)
{
    struct connection *connection = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (connection->input_bytes == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if ((size_t)bytes > connection->input_bytes) bytes = (int)connection->input_bytes;
    memcpy(data, connection->input, (size_t)bytes);
    connection->input += bytes;
    connection->input_bytes -= (size_t)bytes;
    return bytes;
}

static struct output *output_new(void)
{
    struct output *output = unused_outputs;
    if (output)
        unused_outputs = output->next;
    else if (!(output = malloc(sizeof *output)))
        die("floor: malloc");
    output->bytes = output->sent_bytes = 0;
    return output;
}

/* Appends also while a send is under way: what that one reads stays where it is. */
static int tls_bio_write(BIO *bio, const char *data, int bytes)
{
    struct connection *connection = BIO_get_data(bio);
    if (!connection->output) connection->output = output_new();
    struct output *output = connection->output;
    if ((size_t)bytes > sizeof output->data - output->bytes) return -1;
    memcpy(output->data + output->bytes, data, (size_t)bytes);
    output->bytes += (size_t)bytes;
    return bytes;
}

static long tls_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static void tls_open(const char *certificate, const char *key)
{
    tls_context = SSL_CTX_new(TLS_server_method());
    if (!SSL_CTX_use_certificate_chain_file(tls_context, certificate) ||
        !SSL_CTX_use_PrivateKey_file(tls_context, key, SSL_FILETYPE_PEM)) {
        ERR_print_errors_fp(stderr);
        exit(2);
    }
    SSL_CTX_set_session_cache_mode(tls_context, SSL_SESS_CACHE_OFF); /* tickets suffice */
    tls_bio = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connection");
    BIO_meth_set_read(tls_bio, tls_bio_read);
    BIO_meth_set_write(tls_bio, tls_bio_write);
    BIO_meth_set_ctrl(tls_bio, tls_bio_ctrl);
}

static SSL *tls_new(struct connection *connection)
{
    SSL *tls = SSL_new(tls_context);
    BIO *bio = BIO_new(tls_bio);
    if (!tls || !bio) die("floor: SSL_new");
    BIO_set_data(bio, connection);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls, bio, bio);
    SSL_set_accept_state(tls);
    return tls;
}

/* Encrypts of the response what one send takes. */
static void tls_fill(struct connection *connection)
{
    const struct response *response = connection->response;
    while (!connection->output || connection->output->bytes < TLS_SEND_BYTES) {
        size_t bytes = response->bytes - connection->sent_bytes;
        if (bytes > TLS_RECORD_BYTES) bytes = TLS_RECORD_BYTES;
        if (bytes == 0) break;
        if (SSL_write(connection->tls, response->data + connection->sent_bytes, (int)bytes) <= 0)
            break;
        connection->sent_bytes += bytes;
    }
}

static void tls_send(int fd)
{
    struct connection *connection = &connections[fd];
    if (connection->sending || connection->closing) return;
    if (connection->response) tls_fill(connection);
    struct output *output = connection->output;
    if (output) arm_send(fd, output->data + output->sent_bytes, output->bytes - output->sent_bytes);
}

static void tls_sent(int fd, size_t bytes)
{
    struct connection *connection = &connections[fd];
    connection->output->sent_bytes += bytes;
    if (connection->output->sent_bytes == connection->output->bytes) {
        output_release(connection);
        if (connection->response && connection->sent_bytes == connection->response->bytes)
            response_done(connection);
    }
    tls_send(fd);
}

/* ---- what completes ---- */

static void on_accept(int listener, const struct io_uring_cqe *cqe)
{
    int fd = cqe->res;
    if (fd >= MAX_CONNECTIONS) {
        close(fd);
    } else if (fd >= 0) {
        connections[fd] = (struct connection){ 0 };
        if (listener == tls_listener) connections[fd].tls = tls_new(&connections[fd]);
        arm_receive(fd);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) arm_accept(listener);
}

static void send_more(int fd)
{
    struct connection *connection = &connections[fd];
    const struct response *response = connection->response;
    if (connection->tls)
        tls_send(fd);
    else
        arm_send(fd, response->data + connection->sent_bytes,
                 response->bytes - connection->sent_bytes);
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

/* Handshake and requests alike: BoringSSL takes what it needs. */
static void on_tls_data(int fd, const char *data, size_t bytes)
{
    struct connection *connection = &connections[fd];
    char request[BUFFER_BYTES];
    connection->input = data;
    connection->input_bytes = bytes;
    ERR_clear_error();
    int count;
    while ((count = SSL_read(connection->tls, request, sizeof request)) > 0)
        on_request(fd, request, (size_t)count);
    if (SSL_get_error(connection->tls, count) == SSL_ERROR_WANT_READ)
        tls_send(fd);
    else
        connection_end(fd);
}

static void on_data(int fd, uint16_t buffer_id, size_t bytes)
{
    char *data = buffers_data(buffer_id);
    if (connections[fd].closing) return;
    if (connections[fd].tls)
        on_tls_data(fd, data, bytes);
    else
        on_request(fd, data, bytes);
}

static void on_receive(int fd, const struct io_uring_cqe *cqe)
{
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        if (cqe->res > 0) on_data(fd, id, (size_t)cqe->res);
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
    connection->sending = false;
    if (cqe->res <= 0 || connection->closing) {
        connection_end(fd);
    } else if (connection->tls) {
        tls_sent(fd, (size_t)cqe->res);
    } else {
        connection->sent_bytes += (size_t)cqe->res;
        if (connection->sent_bytes == connection->response->bytes)
            response_done(connection);
        else
            send_more(fd);
    }
}

static void on_completion(const struct io_uring_cqe *cqe)
{
    int fd = (int)(uint32_t)cqe->user_data;
    switch ((enum operation)(cqe->user_data >> 32)) {
    case ACCEPT: on_accept(fd, cqe); break;
    case RECEIVE: on_receive(fd, cqe); break;
    case SEND: on_send(fd, cqe); break;
    }
}

/* ---- start ---- */

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
    arm_accept(fd);
    return fd;
}

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static int usage(void)
{
    fprintf(stderr, "usage: floor [-a ADDRESS] [-p PORT] [-s PORT -c CERTIFICATE -k KEY] [-n]\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *address = "127.0.0.1", *certificate = NULL, *key = NULL;
    unsigned port = 8080, tls_port = 0;
    for (int option; (option = getopt(argc, argv, "a:p:s:c:k:n")) != -1;) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': port = (unsigned)strtoul(optarg, NULL, 10); break;
        case 's': tls_port = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'c': certificate = optarg; break;
        case 'k': key = optarg; break;
        case 'n': cache_control = "no-store"; break;
        default: return usage();
        }
    }
    if (tls_port && !(certificate && key)) return usage();
    sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_signal }, NULL);
    sigaction(SIGINT, &(struct sigaction){ .sa_handler = on_signal }, NULL);

    ring_open();
    buffers_open();
    if (tls_port) tls_open(certificate, key);
    listen_on(address, port);
    if (tls_port) tls_listener = listen_on(address, tls_port);
    while (!stopping) ring_turn(on_completion);
    printf("{\"requests\":%lu,\"bytes\":%lu}\n", completed_requests, completed_bytes);
    return 0;
}
