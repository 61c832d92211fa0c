/* body: bytes that can be pulled. Every source of bytes (a request's body, an origin's response, an
 * object's reader, a range of another body) is one, and every sink pulls. Backpressure is nobody
 * pulling.
 *
 * The contract. pull is called by one puller, on its worker, and never after END, FAIL or close.
 * BODY_DATA hands over a span, one reference, never empty. After BODY_WAIT exactly one ready() is
 * owed; it comes on the puller's worker, never from inside pull, and until then pull is not called.
 * close may come at any time, also while waiting, and no ready follows it; the body is gone
 * afterwards. A body that ended with anything but END is not whole, and whoever passes it on must
 * let its own consumer see that. */
#ifndef VERGE_PROTOCOLS_HTTP_BODY_H
#define VERGE_PROTOCOLS_HTTP_BODY_H

#include "edge/base/block.h"
#include "protocols/http/field.h"

enum body_result {
    BODY_FAIL = -1, /* body->error says why */
    BODY_DATA = 0,
    BODY_WAIT,
    BODY_END, /* trailers, if any, are in body->trailers until close */
};

struct body;

struct body_ops {
    enum body_result (*pull)(struct body *b, struct span *out);
    void (*close)(struct body *b);
};

struct body {
    const struct body_ops *ops;
    void (*ready)(struct body *b); /* set by the puller, with puller, before the first pull */
    void *puller;
    const struct fields *trailers; /* at END; NULL for none */
    int error;                     /* at FAIL: -E_... */
};

static inline enum body_result body_pull(struct body *b, struct span *out)
{
    return b->ops->pull(b, out);
}

/* Closes and forgets. */
static inline void body_close(struct body **b)
{
    if (!*b) return;
    struct body *closing = *b;
    *b = NULL;
    closing->ops->close(closing);
}

#endif
