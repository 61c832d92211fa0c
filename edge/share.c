#include "edge/share.h"

static enum share after_failure(unsigned lookups)
{
    return lookups == 1 ? SHARE_AGAIN : SHARE_FAIL;
}

enum share share_judge(const struct object *o, const struct cache_policy *p,
                       const struct request *req, int64_t now_ms, unsigned lookups, struct arena *a)
{
    enum object_state state = object_state(o);
    if (state == OBJECT_FAILED) return after_failure(lookups);
    bool failed = state == OBJECT_REPLACED && o->error;
    const struct object *offered = state == OBJECT_REPLACED ? o->successor : o;
    if (object_may_answer(offered, p, req, failed, now_ms, a)) return SHARE_USE;
    if (failed) return after_failure(lookups);
    bool another = offered->audience == AUDIENCE_REUSE && !object_selects(offered, req, a);
    return another && lookups < SHARE_LOOKUPS_MAX ? SHARE_AGAIN : SHARE_ALONE;
}
