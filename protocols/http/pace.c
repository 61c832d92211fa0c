#include "protocols/http/pace.h"

void pace_in_wait(struct pace_in *p, int64_t now_ms)
{
    p->began_ms = now_ms;
}

void pace_in_go_on(struct pace_in *p, int64_t now_ms)
{
    p->waited_ms += now_ms - p->began_ms;
}

bool pace_in_is_slow(const struct pace_in *p, const struct http_limits *limits, uint64_t bytes)
{
    if (!limits->rate_min_bytes || p->waited_ms <= limits->rate_grace_ms) return false;
    return (int64_t)bytes < limits->rate_min_bytes * (p->waited_ms / 1000);
}

void pace_out_look(struct pace_out *p, int64_t now_ms, uint64_t bytes)
{
    p->looked_bytes = bytes;
    if (p->began_ms) return;
    p->began_ms = now_ms;
    p->began_bytes = bytes;
}

bool pace_out_keeps_up(const struct pace_out *p, const struct http_limits *limits, int64_t now_ms,
                       uint64_t bytes)
{
    if (bytes == p->looked_bytes) return false;
    int64_t since_ms = now_ms - p->began_ms;
    if (!limits->rate_min_bytes || since_ms <= limits->rate_grace_ms) return true;
    return (int64_t)(bytes - p->began_bytes) >= limits->rate_min_bytes * (since_ms / 1000);
}

void pace_linger_begin(struct pace_linger *p, const struct http_limits *limits, int64_t now_ms)
{
    *p = (struct pace_linger){ .until_ms = now_ms + limits->linger_timeout_ms };
}

bool pace_linger_goes_on(struct pace_linger *p, const struct http_limits *limits, int64_t now_ms)
{
    int64_t bytes = (int64_t)p->bytes, least = limits->rate_min_bytes * PACE_LINGER_LOOK_MS / 1000;
    p->bytes = 0;
    return now_ms < p->until_ms && bytes > 0 && bytes >= least;
}
