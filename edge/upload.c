#include "edge/upload.h"

#include "edge/base/check.h"
#include "edge/base/error.h"

struct upload {
    struct body body; /* first: a body is an upload */
    struct body *inner;
    uint64_t left_bytes;
    struct span first; /* pulled by upload_probe, not handed out yet */
};

static enum body_result pull(struct body *b, struct span *out)
{
    struct upload *u = (struct upload *)b;
    if (u->first.block) {
        *out = u->first;
        u->first = (struct span){ 0 };
        return BODY_DATA;
    }
    enum body_result result = body_pull(u->inner, out);
    b->error = u->inner->error;
    b->trailers = u->inner->trailers;
    if (result != BODY_DATA) return result;
    if (out->n > u->left_bytes) {
        span_release(out);
        b->error = -E_BODY_TOO_LARGE;
        return BODY_FAIL;
    }
    u->left_bytes -= out->n;
    return BODY_DATA;
}

static void close_upload(struct body *b)
{
    struct upload *u = (struct upload *)b;
    span_release(&u->first);
    body_close(&u->inner);
}

enum body_result upload_probe(struct body *upload)
{
    struct upload *u = (struct upload *)upload;
    CHECK(!u->first.block);
    return pull(upload, &u->first);
}

static void on_ready(struct body *inner)
{
    struct upload *u = inner->puller;
    u->body.ready(&u->body);
}

struct body *upload_limit(struct body *inner, uint64_t limit_bytes, struct arena *a)
{
    static const struct body_ops ops = { .pull = pull, .close = close_upload };
    struct upload *u = arena_new(a, struct upload);
    u->body.ops = &ops;
    u->inner = inner;
    u->left_bytes = limit_bytes;
    inner->ready = on_ready;
    inner->puller = u;
    return &u->body;
}
