/* CHECK: an assertion about our own code, always on, never about input.
 *
 * A failed check means a state that cannot be continued safely; the process ends with one line that
 * names the place. What a client, an origin or a file can cause is an error code (error.h), never a
 * check. */
#ifndef VERGE_BASE_CHECK_H
#define VERGE_BASE_CHECK_H

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) check_failed(__FILE__, __LINE__, #condition);       \
    } while (0)

/* Writes "file:line: check failed: text" to standard error and aborts. Any thread. */
_Noreturn void check_failed(const char *file, int line, const char *text);

#endif
