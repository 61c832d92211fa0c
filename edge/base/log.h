/* log: the error log, one line per event: time (RFC 3339, UTC, milliseconds), level, text.
 *
 * For what an operator should know; requests are the access log's. Lines go to the sink given to
 * log_set_sink, and before that straight to standard error. Each place in the code that logs may do
 * so ten times a second; what exceeds that is left out, and the next line from there is preceded by
 * one that tells how many. Any thread; not under a lock. */
#ifndef VERGE_BASE_LOG_H
#define VERGE_BASE_LOG_H

#include <stdatomic.h>

#include "edge/base/sink.h"

#define LOG_LINE_BYTES       1024 /* longer lines are cut */
#define LOG_LINES_PER_SECOND 10   /* for each place */

enum log_level {
    LOG_ERROR,   /* something does not work */
    LOG_WARNING, /* something works worse than it should */
    LOG_INFO,    /* started, reloaded, stopping */
};

/* One place that logs: the second it last logged in, and the events of that second. */
struct log_site {
    _Atomic uint64_t window; /* second << 32 | events */
};

/* printf-like; the text needs no newline. Control bytes in it come out as \n, \x1b and so on, so
 * that an event is always one line whatever a client sent. */
#define log_event(level, ...)                                                                      \
    do {                                                                                           \
        static struct log_site log_site_;                                                          \
        log_at(&log_site_, (level), __VA_ARGS__);                                                  \
    } while (0)

/* As log_event, with any bytes at the end of the line, in quotes; what is not ASCII comes out as
 * \xff. */
#define log_quoting(level, bytes, ...)                                                             \
    do {                                                                                           \
        static struct log_site log_site_;                                                          \
        log_quoting_at(&log_site_, (level), (bytes), __VA_ARGS__);                                 \
    } while (0)

/* As log_event, but never left out: for what is the answer to somebody, or happens once. */
#define log_always(level, ...) log_at(&(struct log_site){ 0 }, (level), __VA_ARGS__)

void log_at(struct log_site *site, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void log_quoting_at(struct log_site *site, enum log_level level, struct slice bytes,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* From the sink's own thread, about it: if it is the error log's, to standard error. */
void log_beside(const struct sink *s, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Counts one event at a monotonic second: may it be logged? *suppressed: how many were not in the
 * last second that had any, told once. */
bool log_admit(struct log_site *site, uint32_t second, uint32_t *suppressed);

/* Where lines go from now on; NULL: standard error. The sink stays its opener's, who takes it away
 * here, and lets the threads that log end, before closing it. */
void log_set_sink(struct sink *s);

#endif
