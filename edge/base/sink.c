#include "edge/base/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/base/list.h"
#include "edge/base/log.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"

/* How often a writer that cannot write looks whether it may, or should stop. */
#define RETRY_MS 50
/* For a writer that is inside a system call when its time is over. */
#define GRACE_MS 1000

struct buffer {
    struct list link;
    size_t n;
    unsigned lines;
    char text[];
};

struct sink {
    char *name;
    const char *path; /* the name; NULL: a stream, never opened anew */
    size_t queue_bytes;
    int fd;                         /* the writer's */
    bool regular;                   /* the writer's: a regular file takes whole buffers at once */
    bool failing;                   /* the writer's: it was said that writing fails */
    _Atomic uint64_t dropped_lines; /* since then */
    pthread_t writer;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct list queue;
    size_t queued_bytes;
    bool reopen, closing, ended;
    bool abandoned; /* the writer did not end in time: it frees the sink if it ever does */
    int64_t end_ms; /* once closing: no write begins after this */
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the file ---- */

static int open_file(const char *path)
{
    /* Not blocking: a pipe without a reader is an error, not a wait. */
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
}

static int open_path(const char *path, bool *stream)
{
    int fd = -1;
    if (strcmp(path, "-") == 0 || strcmp(path, "stdout") == 0) fd = STDOUT_FILENO;
    if (strcmp(path, "stderr") == 0) fd = STDERR_FILENO;
    *stream = fd >= 0;
    return *stream ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : open_file(path);
}

static void use_file(struct sink *s, int fd)
{
    struct stat is;
    s->fd = fd;
    s->regular = fstat(fd, &is) == 0 && S_ISREG(is.st_mode);
}

static void open_anew(struct sink *s)
{
    if (!s->path) return;
    int fd = open_file(s->path);
    if (fd < 0) {
        log_event(LOG_ERROR, "cannot reopen %s: %s; the old file stays in use", s->path,
                  strerror(errno));
        return;
    }
    close(s->fd);
    use_file(s, fd);
}

/* ---- the writer ---- */

/* Once time is over nothing more is written; text that is stuck is also given up for a new file. */
static bool give_up(struct sink *s, bool stuck)
{
    pthread_mutex_lock(&s->lock);
    bool stop = (s->reopen && stuck) || (s->closing && now_ms() >= s->end_ms);
    pthread_mutex_unlock(&s->lock);
    return stop;
}

/* A stream may be shared with other processes, so it cannot be made non-blocking; but a pipe that
 * polls as writable takes PIPE_BUF bytes without blocking. */
static ssize_t write_some(struct sink *s, struct slice text)
{
    if (s->regular) return write(s->fd, text.p, text.n);
    struct pollfd p = { .fd = s->fd, .events = POLLOUT };
    if (poll(&p, 1, RETRY_MS) <= 0) {
        errno = EINTR; /* it was time to look whether to go on */
        return -1;
    }
    return write(s->fd, text.p, text.n < PIPE_BUF ? text.n : PIPE_BUF);
}

/* Said once, and once more when it is over. */
static void tell_failure(struct sink *s, int error)
{
    if (s->failing || error == EINTR || error == EAGAIN) return;
    s->failing = true;
    atomic_store(&s->dropped_lines, 0);
    metric_add(METRIC_LOG_WRITE_ERRORS, 1);
    log_beside(s, LOG_ERROR, "cannot write %s: %s; its lines are dropped", s->name,
               strerror(error));
}

static void tell_recovery(struct sink *s)
{
    if (!s->failing) return;
    s->failing = false;
    log_beside(s, LOG_INFO, "%s can be written again; %llu lines were dropped", s->name,
               (unsigned long long)atomic_load(&s->dropped_lines));
}

/* After a failed write: is it worth trying again, perhaps later? */
static bool may_retry(int error)
{
    if (error == EINTR) return true;
    if (error != EAGAIN && error != ENOSPC && error != EDQUOT) return false;
    poll(NULL, 0, RETRY_MS);
    return true;
}

static void count_dropped(struct sink *s, unsigned lines)
{
    metric_add(METRIC_LOG_LINES_DROPPED, lines);
    atomic_fetch_add(&s->dropped_lines, lines);
}

static void write_all(struct sink *s, struct slice text)
{
    bool stuck = false;
    while (text.n && !give_up(s, stuck)) {
        ssize_t n = write_some(s, text);
        stuck = n < 0;
        int error = errno;
        if (stuck) tell_failure(s, error);
        if (stuck && !may_retry(error)) break;
        if (stuck) continue;
        tell_recovery(s);
        text = slice_skip(text, (size_t)n);
    }
    unsigned lines = 0;
    for (size_t i = 0; i < text.n; i++) lines += text.p[i] == '\n';
    if (lines) count_dropped(s, lines);
}

/* NULL once the sink is closed and empty. */
static struct buffer *next_buffer(struct sink *s)
{
    for (;;) {
        pthread_mutex_lock(&s->lock);
        while (!s->closing && !s->reopen && list_empty(&s->queue)) {
            pthread_cond_wait(&s->changed, &s->lock);
        }
        bool anew = s->reopen;
        s->reopen = false;
        struct list *first = anew ? NULL : list_pop(&s->queue);
        pthread_mutex_unlock(&s->lock);
        if (!anew) return first ? container_of(first, struct buffer, link) : NULL;
        open_anew(s);
    }
}

static void sink_free(struct sink *s)
{
    close(s->fd);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->name);
    free(s);
}

static void *write_queue(void *sink)
{
    struct sink *s = sink;
    for (struct buffer *b; (b = next_buffer(s));) {
        write_all(s, slice_of(b->text, b->n));
        /* Only now, so that what is being written counts towards the limit. */
        pthread_mutex_lock(&s->lock);
        s->queued_bytes -= sizeof *b + b->n;
        pthread_mutex_unlock(&s->lock);
        free(b);
    }
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    bool abandoned = s->abandoned;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (abandoned) sink_free(s);
    return NULL;
}

/* ---- the callers ---- */

/* Signals are other threads' business; and a pipe whose reader went is an error here, not the end
 * of the process. */
static int start_writer(struct sink *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&s->writer, NULL, write_queue, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

struct sink *sink_open(const char *path, size_t queue_bytes)
{
    bool stream;
    int fd = open_path(path, &stream);
    if (fd < 0) return NULL;
    struct sink *s = xcalloc(1, sizeof *s);
    s->name = xstrdup(path);
    s->path = stream ? NULL : s->name;
    s->queue_bytes = queue_bytes;
    use_file(s, fd);
    list_init(&s->queue);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int error = start_writer(s);
    if (!error) return s;
    sink_free(s);
    errno = error;
    return NULL;
}

static bool append(struct sink *s, struct buffer *b)
{
    size_t cost = sizeof *b + b->n;
    pthread_mutex_lock(&s->lock);
    bool fits = cost <= s->queue_bytes - s->queued_bytes;
    if (fits) {
        s->queued_bytes += cost;
        list_append(&s->queue, &b->link);
        pthread_cond_signal(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return fits;
}

bool sink_write(struct sink *s, struct slice text, unsigned lines)
{
    struct buffer *b = malloc(sizeof *b + text.n);
    if (b) {
        *b = (struct buffer){ .n = text.n };
        memcpy(b->text, text.p, text.n);
        if (append(s, b)) return true;
        free(b);
    }
    count_dropped(s, lines);
    return false;
}

void sink_reopen(struct sink *s)
{
    pthread_mutex_lock(&s->lock);
    s->reopen = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* Waits for the writer's end; false where it hangs in a system call that does not return. */
static bool wait_ended(struct sink *s, int64_t until_ms)
{
    struct timespec until = { until_ms / 1000, until_ms % 1000 * 1000000 };
    int error = 0;
    while (!s->ended && !error) error = pthread_cond_timedwait(&s->changed, &s->lock, &until);
    return s->ended;
}

void sink_close(struct sink **sink, int64_t wait_ms)
{
    struct sink *s = *sink;
    if (!s) return;
    *sink = NULL;
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    s->end_ms = now_ms() + wait_ms;
    pthread_cond_signal(&s->changed);
    bool ended = wait_ended(s, s->end_ms + GRACE_MS);
    s->abandoned = !ended;
    pthread_t writer = s->writer;
    pthread_mutex_unlock(&s->lock);
    if (!ended) {
        pthread_detach(writer);
        return;
    }
    pthread_join(writer, NULL);
    sink_free(s);
}
