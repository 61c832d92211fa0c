/* scripted_edge: what stands above and below the real session code of HTTP/2 and HTTP/3 when it is
 * fuzzed: an edge that answers each request with what its path says, and a worker whose notes and
 * clock the target runs by hand. The edge goes on by a note of its own, or when the target says so,
 * also between two inputs of one turn, as a completion does. Included once, by a fuzz target. */
#ifndef VERGE_FUZZ_SCRIPTED_EDGE_H
#define VERGE_FUZZ_SCRIPTED_EDGE_H

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/list.h"
#include "protocols/http/service.h"

struct answer {
    struct body body;
    struct exchange *x;
    struct note wake;
    struct list link; /* in pending: something is left for edge_acts */
    /* Of the response: 'd' data, 'w' a wait until a note, 'W' until edge_acts, 'f' failure, else
     * the end. Before it 'p': the request's body is pulled by edge_acts only. */
    const char *script;
    bool waiting, reading, paced, readable;
};

static unsigned begun, ended;
static struct list pending = { &pending, &pending };

static void leave_for_later(struct answer *a)
{
    if (list_empty(&a->link)) list_append(&pending, &a->link);
}

static void on_wake(struct note *n)
{
    struct answer *a = container_of(n, struct answer, wake);
    struct exchange *x = a->x;
    if (a->waiting) {
        a->waiting = false;
        a->body.ready(&a->body);
    }
    scope_leave(&x->scope);
}

static enum body_result pull(struct body *b, struct span *out)
{
    struct answer *a = container_of(b, struct answer, body);
    switch (*a->script) {
    case 'd': {
        struct block *block = block_new(3000);
        memset(block->data, 'x', 3000);
        *out = span_of(block, 0, 3000);
        block_release(block);
        a->script++;
        return BODY_DATA;
    }
    case 'w':
        a->script++;
        a->waiting = true;
        scope_enter(&a->x->scope);
        worker_defer(a->x->worker, &a->wake);
        return BODY_WAIT;
    case 'W':
        a->script++;
        a->waiting = true;
        leave_for_later(a);
        return BODY_WAIT;
    case 'f': b->error = -E_ORIGIN_RESET; return BODY_FAIL;
    default: return BODY_END;
    }
}

static void close_body(struct body *b)
{
    container_of(b, struct answer, body)->waiting = false;
}

static const struct body_ops answer_ops = { pull, close_body };

/* The request's body is read to its end, or as far as the path says. */
static void read_request(struct body *b)
{
    struct answer *a = b->puller;
    a->readable = false;
    struct span piece;
    enum body_result r;
    while (a->reading && (r = body_pull(b, &piece)) != BODY_WAIT) {
        if (r == BODY_DATA)
            span_release(&piece);
        else
            a->reading = false;
    }
}

static void on_readable(struct body *b)
{
    struct answer *a = b->puller;
    a->readable = true;
    if (a->paced)
        leave_for_later(a);
    else
        read_request(b);
}

/* All that was left for now; what that leaves is for the next time. */
static void edge_acts(void)
{
    struct list now;
    list_init(&now);
    list_splice(&now, &pending);
    for (struct list *link; (link = list_pop(&now));) {
        struct answer *a = container_of(link, struct answer, link);
        bool owed = a->waiting;
        a->waiting = false;
        if (a->reading && a->readable) read_request(a->x->request_body);
        if (owed) a->body.ready(&a->body);
    }
}

static void begin(struct exchange *x)
{
    struct answer *a = arena_new(&x->arena, struct answer);
    begun++;
    x->edge = a;
    a->x = x;
    a->body.ops = &answer_ops;
    a->wake.run = on_wake;
    list_init(&a->link);
    a->script = arena_copy(&x->arena, slice_skip(x->request.target, x->request.target.n > 0)).p;
    a->reading = x->request_body;
    a->paced = *a->script == 'p';
    a->script += a->paced;
    if (x->request_body) {
        x->request_body->ready = on_readable;
        x->request_body->puller = a;
        on_readable(x->request_body);
    }
    if (*a->script == 'a') {
        x->ops->abort(x, -E_ORIGIN_RESET);
    } else {
        struct response r = { .status = *a->script == 'n' ? 304 : 200, .length = LENGTH_UNKNOWN };
        if (*a->script == 'i') x->ops->interim(x, &(struct response){ .status = 103 });
        x->ops->respond(x, &r, &a->body);
    }
}

static void reject(struct exchange *x, int error)
{
    (void)error;
    begun++;
    x->ops->respond(x, &(struct response){ .status = 431, .length = LENGTH_NONE }, NULL);
}

static void end(struct exchange *x)
{
    struct answer *a = x->edge;
    ended++;
    if (a) a->reading = false, list_remove(&a->link);
    if (x->request_body) body_close(&x->request_body);
}

static const struct exchange_handler handler = { begin, reject, end };

static void on_closed(struct http_service *service, const struct peer *peer)
{
    (void)service, (void)peer;
}

/* Small ones, so that an input reaches them. */
static const struct http_limits limits = { .line_bytes = 256,
                                           .head_bytes = 2048,
                                           .field_count = 16,
                                           .requests_per_connection = 50,
                                           .streams = 8,
                                           .stream_window_bytes = 65536,
                                           .wasted_frames = 40,
                                           .header_timeout_ms = 1000,
                                           .idle_timeout_ms = 5000,
                                           .body_timeout_ms = 2000,
                                           .send_timeout_ms = 2000 };

/* ---- a worker without a loop ---- */

static void let_time_pass(struct worker *w, int64_t ms)
{
    w->now_us += ms * 1000;
    wheel_advance(&w->wheel, worker_now_ms(w));
    worker_run_notes(w);
}

#endif
