/* pace: whether a client moves on, by the limits' rate_min and rate_grace.
 *
 * Embedded in its connection or stream; one for each direction. Knows no timer: whoever waits looks
 * from time to time. Times are the worker's, in milliseconds. */
#ifndef VERGE_PROTOCOLS_HTTP_PACE_H
#define VERGE_PROTOCOLS_HTTP_PACE_H

#include <stdbool.h>

#include "protocols/http/limits.h"

/* Of a request's body. Only time counts in which the client was waited for: it is not slow while
 * the origin is. */
struct pace_in {
    int64_t began_ms, waited_ms;
};

void pace_in_wait(struct pace_in *p, int64_t now_ms);
void pace_in_go_on(struct pace_in *p, int64_t now_ms);
/* After so many bytes in all. */
bool pace_in_is_slow(const struct pace_in *p, const struct http_limits *limits, uint64_t bytes);

/* Of a response. The bytes are those that the client is known to have taken. */
struct pace_out {
    int64_t began_ms; /* 0: nothing was waited for yet */
    uint64_t began_bytes, looked_bytes;
};

/* Looks again in send_timeout at what it was now. */
void pace_out_look(struct pace_out *p, int64_t now_ms, uint64_t bytes);
/* False where nothing was taken since the last look, or less than must be. */
bool pace_out_keeps_up(const struct pace_out *p, const struct http_limits *limits, int64_t now_ms,
                       uint64_t bytes);

#endif
