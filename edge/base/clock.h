/* clock: the two times there are. Monotonic milliseconds for timers and durations, wall-clock
 * milliseconds for HTTP. A worker reads both once per turn of its loop and everything in that turn
 * uses those. Any thread. */
#ifndef VERGE_BASE_CLOCK_H
#define VERGE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_read_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline int64_t clock_monotonic_us(void)
{
    return clock_read_us(CLOCK_MONOTONIC);
}
static inline int64_t clock_wall_ms(void)
{
    return clock_read_us(CLOCK_REALTIME) / 1000;
}

#endif
