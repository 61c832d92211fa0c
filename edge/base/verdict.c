#include "edge/base/verdict.h"

#include "edge/base/check.h"

static const char *const names[VERDICT_COUNT] = {
    [VERDICT_HIT] = "hit",
    [VERDICT_STALE] = "stale",
    [VERDICT_REVALIDATED] = "revalidated",
    [VERDICT_MISS] = "miss",
    [VERDICT_COLLAPSED] = "collapsed",
    [VERDICT_PASS] = "pass",
    [VERDICT_BYPASS] = "bypass",
    [VERDICT_ERROR] = "error",
    [VERDICT_LOCAL] = "local",
};

const char *verdict_name(enum verdict v)
{
    CHECK(v < VERDICT_COUNT);
    return names[v];
}
