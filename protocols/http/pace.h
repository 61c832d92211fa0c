/* pace: whether a client moves on, by the limits' rate_min and rate_grace.
 *
 * Embedded in its connection or stream; one for each direction, and one for its end. Knows no
 * timer: whoever waits looks from time to time. Times are the worker's, in milliseconds. */
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

#define PACE_LINGER_LOOK_MS 2000

/* Of a connection on which all is said: what its client still sends is thrown away, so that no
 * reset overtakes the response (RFC 9112 section 9.6). */
struct pace_linger {
    int64_t until_ms;
    uint64_t bytes; /* since the last look */
};

/* Looks again in PACE_LINGER_LOOK_MS. */
void pace_linger_begin(struct pace_linger *p, const struct http_limits *limits, int64_t now_ms);
/* False where linger_timeout is over, or less than rate_min, or nothing, came since the last look.
 */
bool pace_linger_goes_on(struct pace_linger *p, const struct http_limits *limits, int64_t now_ms);

#endif
