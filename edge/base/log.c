#include "edge/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static _Atomic(struct sink *) log_sink;

void log_set_sink(struct sink *s)
{
    atomic_store(&log_sink, s);
}

struct line {
    char text[LOG_LINE_BYTES];
    size_t n;
};

/* One byte of every line is kept for its newline, and three for the mark of a cut. */
static bool line_add(struct line *l, const char *text, size_t n)
{
    if (l->n + n > sizeof l->text - 4) return false;
    memcpy(l->text + l->n, text, n);
    l->n += n;
    return true;
}

static void line_start(struct line *l, enum log_level level)
{
    static const char *const names[] = { "error", "warning", "info" };
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    l->n = strftime(l->text, sizeof l->text, "%Y-%m-%dT%H:%M:%S", &utc);
    l->n +=
        (size_t)snprintf(l->text + l->n, 32, ".%03ldZ %s ", now.tv_nsec / 1000000, names[level]);
}

static bool line_add_escaped(struct line *l, char c)
{
    unsigned char byte = (unsigned char)c;
    char code[8];
    if (byte >= 0x20 && byte != 0x7f && byte != '\\') return line_add(l, &c, 1);
    switch (byte) {
    case '\n': return line_add(l, "\\n", 2);
    case '\r': return line_add(l, "\\r", 2);
    case '\t': return line_add(l, "\\t", 2);
    case '\\': return line_add(l, "\\\\", 2);
    default: return line_add(l, code, (size_t)snprintf(code, sizeof code, "\\x%02x", byte));
    }
}

static void line_end(struct line *l, bool cut)
{
    if (cut) {
        memcpy(l->text + l->n, "...", 3);
        l->n += 3;
    }
    l->text[l->n++] = '\n';
}

static void line_write(const struct line *l, const struct sink *not_to)
{
    struct sink *s = atomic_load(&log_sink);
    if (s && s != not_to) {
        sink_write(s, slice_of(l->text, l->n), 1);
    } else if (write(STDERR_FILENO, l->text, l->n) < 0) {
        return; /* nowhere is left to say so */
    }
}

static bool line_add_byte(struct line *l, char c)
{
    char code[8];
    if (c == '"') return line_add(l, "\\\"", 2);
    if ((unsigned char)c < 0x80) return line_add_escaped(l, c);
    return line_add(l, code, (size_t)snprintf(code, sizeof code, "\\x%02x", (unsigned char)c));
}

static bool line_add_quoted(struct line *l, struct slice s)
{
    bool whole = line_add(l, ": \"", 3);
    for (; whole && s.n; s = slice_skip(s, 1)) whole = line_add_byte(l, *s.p);
    return whole && line_add(l, "\"", 1);
}

/* quoted: p is NULL if there is nothing to quote. */
static void write_event(enum log_level level, const char *text, struct slice quoted,
                        const struct sink *not_to)
{
    struct line l;
    line_start(&l, level);
    while (*text && line_add_escaped(&l, *text)) text++;
    bool whole = !*text && (!quoted.p || line_add_quoted(&l, quoted));
    line_end(&l, !whole);
    line_write(&l, not_to);
}

bool log_admit(struct log_site *site, uint32_t second, uint32_t *suppressed)
{
    uint64_t before = atomic_load_explicit(&site->window, memory_order_relaxed);
    uint64_t after;
    do {
        bool same = before >> 32 == second;
        after = same ? before + 1 : (uint64_t)second << 32 | 1;
    } while (!atomic_compare_exchange_weak_explicit(&site->window, &before, after,
                                                    memory_order_relaxed, memory_order_relaxed));
    uint32_t seen = (uint32_t)before;
    bool told = before >> 32 == second || seen <= LOG_LINES_PER_SECOND;
    *suppressed = told ? 0 : seen - LOG_LINES_PER_SECOND;
    return (uint32_t)after <= LOG_LINES_PER_SECOND;
}

static uint32_t monotonic_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint32_t)now.tv_sec;
}

static void write_admitted(struct log_site *site, enum log_level level, struct slice quoted,
                           const char *format, va_list arguments)
{
    uint32_t suppressed;
    if (!log_admit(site, monotonic_s(), &suppressed)) return;
    char text[LOG_LINE_BYTES];
    if (suppressed) {
        snprintf(text, sizeof text, "%u more like the next were left out", suppressed);
        write_event(level, text, SLICE_NONE, NULL);
    }
    vsnprintf(text, sizeof text, format, arguments);
    write_event(level, text, quoted, NULL);
}

void log_at(struct log_site *site, enum log_level level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_admitted(site, level, SLICE_NONE, format, arguments);
    va_end(arguments);
}

void log_quoting_at(struct log_site *site, enum log_level level, struct slice bytes,
                    const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_admitted(site, level, bytes, format, arguments);
    va_end(arguments);
}

void log_beside(const struct sink *s, enum log_level level, const char *format, ...)
{
    char text[LOG_LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    write_event(level, text, SLICE_NONE, s);
}
