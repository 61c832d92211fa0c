/*
 * quicclient: a QUIC client for tests, driven over its standard input and output. It moves bytes on
 * streams and can do what no polite client does; what the bytes mean is known to
 * tests/e2e/harness/h3.py.
 *
 * A message, in both directions, is a line `VERB CONNECTION STREAM NUMBER LENGTH` and LENGTH bytes.
 * Connections are numbered by whoever drives, streams as QUIC does, in turn; what is not needed is
 * 0.
 *
 *   open C 0 0 L          begins a connection; the bytes are lines `key value`: port, name, alpn,
 * session (a file for tickets), window and total_window (bytes), idle (ms), version, loss
 * (percent), seed data C S FIN L        bytes, and the end where FIN is 1; the first opens the
 * stream reset C S CODE 0      RESET_STREAM stop C S CODE 0       STOP_SENDING credit C S N 0 lets
 * so many bytes more arrive rebind C 0 MIGRATE 0  goes on from another port update C 0 0 0 another
 * key close C 0 CODE 0      CONNECTION_CLOSE, of the application's kind vanish C 0 0 0 forgets the
 * connection without a word
 *
 *   connected C 0 F L     the handshake is complete; F & 1: resumed, F & 2: early data accepted;
 * the ALPN streams C 0 N 0       the node allows so many streams of requests in all data C S FIN L
 * what has come, in order acked C S N 0         so many bytes more have arrived at the node reset C
 * S CODE 0      the node resets the stream; stop: it wants no more of it ticket C 0 0 0        the
 * ticket is in the file closed C 0 CODE L     the connection is over; how: application, transport,
 * idle, stateless reset, version, here, or what the library says
 */
#include "connection.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const size_t LINE_MAX_BYTES = 256;
static const size_t READ_BYTES = 1 << 18;

struct command {
    char verb[16];
    unsigned connection;
    int64_t stream;
    uint64_t number;
    size_t length;
    const uint8_t *payload;
};

static struct connection *connections;
static struct {
    uint8_t *bytes;
    size_t length, size;
} input;

void emit(const char *verb, unsigned connection, int64_t stream, uint64_t number,
          const void *payload, size_t length)
{
    printf("%s %u %" PRId64 " %" PRIu64 " %zu\n", verb, connection, stream, number, length);
    if (length) fwrite(payload, 1, length, stdout);
}

/* ---- commands ---- */

static void set_option(struct connection_options *o, const char *key, const char *value)
{
    uint64_t number = strtoull(value, NULL, 0);
    if (!strcmp(key, "port"))
        o->port = (int)number;
    else if (!strcmp(key, "name"))
        snprintf(o->name, sizeof o->name, "%s", value);
    else if (!strcmp(key, "alpn"))
        snprintf(o->alpn, sizeof o->alpn, "%s", value);
    else if (!strcmp(key, "session"))
        snprintf(o->session, sizeof o->session, "%s", value);
    else if (!strcmp(key, "window"))
        o->window = number;
    else if (!strcmp(key, "total_window"))
        o->total_window = number;
    else if (!strcmp(key, "idle"))
        o->idle_ms = number;
    else if (!strcmp(key, "version"))
        o->version = (uint32_t)number;
    else if (!strcmp(key, "loss"))
        o->loss_percent = (unsigned)number;
    else if (!strcmp(key, "seed"))
        o->seed = (unsigned)number;
    else
        fprintf(stderr, "quicclient: no option %s\n", key);
}

static void open_connection(const struct command *command)
{
    struct connection_options options = { .name = "test.example",
                                          .alpn = "h3",
                                          .window = 1 << 18,
                                          .total_window = 1 << 24,
                                          .idle_ms = 60000 };
    options.version = NGTCP2_PROTO_VER_V1;
    char *text = strndup((const char *)command->payload, command->length), *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *key = strsep(&line, " ");
        if (line) set_option(&options, key, line);
    }
    free(text);
    struct connection *c = connection_open(command->connection, &options);
    c->next = connections;
    connections = c;
}

static struct chunk *copy(const struct command *command)
{
    if (!command->length) return NULL;
    struct chunk *chunk = malloc(sizeof *chunk + command->length);
    *chunk = (struct chunk){ .length = command->length };
    memcpy(chunk->bytes, command->payload, command->length);
    return chunk;
}

static void act(struct connection *c, const struct command *command)
{
    const char *verb = command->verb;
    if (!strcmp(verb, "data"))
        connection_send(c, command->stream, copy(command), command->number);
    else if (!strcmp(verb, "reset"))
        connection_reset(c, command->stream, command->number);
    else if (!strcmp(verb, "stop"))
        connection_stop(c, command->stream, command->number);
    else if (!strcmp(verb, "credit"))
        connection_credit(c, command->stream, command->number);
    else if (!strcmp(verb, "rebind"))
        connection_rebind(c, command->number);
    else if (!strcmp(verb, "update"))
        connection_update_key(c);
    else if (!strcmp(verb, "close"))
        connection_close(c, command->number);
    else if (!strcmp(verb, "vanish"))
        c->closed = true;
    else
        fprintf(stderr, "quicclient: no command %s\n", verb);
}

static void run(const struct command *command)
{
    if (!strcmp(command->verb, "open")) {
        open_connection(command);
        return;
    }
    for (struct connection *c = connections; c; c = c->next) {
        if (c->number == command->connection && !c->closed)
            act(c, command); /* one that is over already may be spoken to: nobody can know yet */
    }
}

/* The next whole command of the input; returns its size, or 0. */
static size_t parse(size_t offset, struct command *command)
{
    const uint8_t *start = input.bytes + offset;
    size_t left = input.length - offset;
    const uint8_t *end = memchr(start, '\n', left < LINE_MAX_BYTES ? left : LINE_MAX_BYTES);
    if (!end) return 0;
    char line[257];
    size_t length = (size_t)(end - start);
    memcpy(line, start, length);
    line[length] = 0;
    if (sscanf(line, "%15s %u %" SCNd64 " %" SCNu64 " %zu", command->verb, &command->connection,
               &command->stream, &command->number, &command->length) != 5) {
        fprintf(stderr, "quicclient: %s?\n", line);
        exit(1);
    }
    command->payload = end + 1;
    size_t whole = length + 1 + command->length;
    return whole <= left ? whole : 0;
}

/* False at the end of the input. */
static bool read_commands(void)
{
    if (input.size - input.length < READ_BYTES)
        input.bytes = realloc(input.bytes, input.size = 2 * input.size + 2 * READ_BYTES);
    ssize_t n = read(STDIN_FILENO, input.bytes + input.length, READ_BYTES);
    if (n <= 0) return false;
    input.length += (size_t)n;
    struct command command;
    size_t done = 0;
    for (size_t size; (size = parse(done, &command)); done += size) run(&command);
    memmove(input.bytes, input.bytes + done, input.length -= done);
    return true;
}

/* ---- the loop ---- */

static void drop_closed(void)
{
    struct connection **at = &connections;
    while (*at) {
        struct connection *c = *at;
        if (c->closed) {
            *at = c->next;
            connection_free(c);
        } else {
            at = &c->next;
        }
    }
}

/* Fills `fds` with the input and each connection's socket, in order; returns how long nothing is
 * due, in ms. */
static int prepare(struct pollfd **fds, size_t *count)
{
    uint64_t due = UINT64_MAX, now = now_ns();
    *count = 1;
    for (struct connection *c = connections; c; c = c->next) ++*count;
    *fds = realloc(*fds, *count * sizeof **fds);
    struct pollfd *fd = *fds;
    *fd++ = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
    for (struct connection *c = connections; c; c = c->next) {
        *fd++ = (struct pollfd){ .fd = c->fd, .events = POLLIN };
        uint64_t expiry = connection_expiry_ns(c);
        due = expiry < due ? expiry : due;
    }
    if (due == UINT64_MAX) return -1;
    return due <= now ? 0 : (int)((due - now) / 1000000 + 1);
}

static void turn(struct connection *c, bool readable)
{
    if (readable) connection_read(c);
    if (!c->closed && connection_expiry_ns(c) <= now_ns()) connection_expire(c);
    if (!c->closed) connection_write(c);
}

int main(void)
{
    struct pollfd *fds = NULL;
    size_t count;
    bool driven = true;
    while (driven) {
        int wait_ms = prepare(&fds, &count);
        if (poll(fds, count, wait_ms) < 0 && errno != EINTR) return 1;
        size_t i = 1;
        for (struct connection *c = connections; c; c = c->next, i++) turn(c, fds[i].revents);
        if (fds[0].revents) {
            driven = read_commands();
            for (struct connection *c = connections; c; c = c->next) {
                if (!c->closed) connection_write(c);
            }
        }
        drop_closed();
        fflush(stdout);
    }
    free(fds);
    return 0;
}
