#include "protocols/http/flood.h"

#include "edge/base/metrics.h"

_Static_assert(FLOOD_KINDS == METRIC_FLOOD_KINDS, "each kind has its counter");

static void give_back(struct flood *f, const struct http_limits *limits, int64_t now_ms)
{
    int64_t back = (now_ms - f->spent_ms) * limits->wasted_frames / 10000;
    if (back == 0) return;
    f->spent = back < f->spent ? f->spent - (unsigned)back : 0;
    f->spent_ms = now_ms;
}

bool flood_allows(struct flood *f, enum flood_kind kind, const struct http_limits *limits,
                  int64_t now_ms)
{
    if (f->spent == 0) f->spent_ms = now_ms;
    give_back(f, limits, now_ms);
    if (f->spent++ < limits->wasted_frames) return true;
    metric_add_by(METRIC_FLOODS, kind, 1);
    return false;
}
