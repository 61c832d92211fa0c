#include "edge/admin_client.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "edge/base/mem.h"

#define ANSWER_BYTES_MAX (64u << 20)
#define PATIENCE_S       30 /* with a node that says nothing */

static const char *error_text(void)
{
    return errno == EAGAIN ? "it takes too long" : strerror(errno);
}

static bool complain(const char *address, const char *why)
{
    fprintf(stderr, "verge: no answer from the node at %s: %s\n", address, why);
    return false;
}

/* ---- connecting ---- */

/* HOST and PORT apart, both terminated in copy. */
static bool split(char *copy, char **host, char **port)
{
    char *colon = strrchr(copy, ':');
    if (!colon || colon == copy || !colon[1]) return false;
    *colon = 0;
    *host = copy;
    *port = colon + 1;
    if (*copy != '[') return !strchr(copy, ':');
    char *end = strchr(copy, ']');
    if (!end || end[1]) return false;
    *end = 0;
    *host = copy + 1;
    return true;
}

static int connect_one(const struct addrinfo *a)
{
    struct timeval patience = { .tv_sec = PATIENCE_S };
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int connect_any(const struct addrinfo *list)
{
    int fd = -1;
    for (; list && fd < 0; list = list->ai_next) fd = connect_one(list);
    return fd;
}

/* A socket, or -1 and said why. */
static int connect_to(const char *address)
{
    static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list;
    char *copy = xstrdup(address), *host, *port;
    int fd = -1;
    if (!split(copy, &host, &port)) {
        complain(address, "that is no HOST:PORT");
    } else {
        int rc = getaddrinfo(host, port, &hints, &list);
        if (rc == 0) fd = connect_any(list);
        if (fd < 0) complain(address, rc ? gai_strerror(rc) : error_text());
        if (rc == 0) freeaddrinfo(list);
    }
    free(copy);
    return fd;
}

/* ---- one request ---- */

static bool send_all(int fd, const char *text, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) return false;
        text += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* To the end of the connection; terminated. NULL with errno. */
static char *receive_all(int fd, size_t *n)
{
    size_t capacity = 65536;
    char *text = xmalloc(capacity + 1);
    for (*n = 0;;) {
        ssize_t got = recv(fd, text + *n, capacity - *n, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got > 0) *n += (size_t)got;
        if (got <= 0 || *n > ANSWER_BYTES_MAX) {
            text[*n] = 0;
            if (got == 0) return text;
            if (got > 0) errno = EMSGSIZE;
            free(text);
            return NULL;
        }
        if (*n < capacity) continue;
        capacity *= 2;
        text = xrealloc(text, capacity + 1);
    }
}

/* The node gives each of its answers a length; whatever else may listen there need not. */
static bool read_answer(struct admin_answer *a, size_t n)
{
    char *body = memmem(a->text, n, "\r\n\r\n", 4);
    if (sscanf(a->text, "HTTP/1.1 %3d ", &a->status) != 1 || !body) return false;
    *body = 0; /* the head is a string now */
    const char *field = strcasestr(a->text, "\r\nContent-Length:");
    a->body = slice_of(body + 4, n - (size_t)(body + 4 - a->text));
    return field && strtoull(field + strlen("\r\nContent-Length:"), NULL, 10) == a->body.n;
}

/* The address by which the node was reached, since it need not know the name that led to it. */
static void name_peer(int fd, char host[NI_MAXHOST + 2])
{
    struct sockaddr_storage peer = { 0 };
    socklen_t bytes = sizeof peer;
    char text[NI_MAXHOST] = "localhost";
    getpeername(fd, (struct sockaddr *)&peer, &bytes);
    getnameinfo((struct sockaddr *)&peer, bytes, text, sizeof text, NULL, 0, NI_NUMERICHOST);
    snprintf(host, NI_MAXHOST + 2, strchr(text, ':') ? "[%s]" : "%s", text);
}

static bool exchange(int fd, const char *address, const char *method, const char *target,
                     struct admin_answer *out)
{
    char *request, host[NI_MAXHOST + 2];
    size_t n;
    name_peer(fd, host);
    if (asprintf(&request, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", method,
                 target, host) < 0)
        return complain(address, strerror(ENOMEM));
    bool sent = send_all(fd, request, strlen(request));
    free(request);
    out->text = sent ? receive_all(fd, &n) : NULL;
    if (!out->text) return complain(address, error_text());
    if (read_answer(out, n)) return true;
    free(out->text);
    return complain(address, "what came is no whole response of a node");
}

bool admin_ask(const char *address, const char *method, const char *target,
               struct admin_answer *out)
{
    *out = (struct admin_answer){ 0 };
    int fd = connect_to(address);
    if (fd < 0) return false;
    bool answered = exchange(fd, address, method, target, out);
    close(fd);
    return answered;
}
