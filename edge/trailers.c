#include "edge/trailers.h"

struct judged_body {
    struct body body; /* first: a body is one of these */
    struct body *inner;
    trailers_judge judge;
    const void *by;
    struct arena *arena;
    struct fields trailers;
};

static enum body_result pull(struct body *b, struct span *out)
{
    struct judged_body *j = (struct judged_body *)b;
    enum body_result result = body_pull(j->inner, out);
    const struct fields *from = j->inner->trailers;
    b->error = j->inner->error;
    if (result != BODY_END || !from) return result;
    j->trailers =
        (struct fields){ arena_alloc(j->arena, (from->n + 1) * sizeof *from->v), from->n, from->n };
    if (from->n) memcpy(j->trailers.v, from->v, from->n * sizeof *from->v);
    j->judge(j->by, &j->trailers);
    b->trailers = &j->trailers;
    return result;
}

static void close_judged(struct body *b)
{
    body_close(&((struct judged_body *)b)->inner);
}

static void on_ready(struct body *inner)
{
    struct judged_body *j = inner->puller;
    j->body.ready(&j->body);
}

struct body *trailers_judged(struct body *inner, trailers_judge judge, const void *by,
                             struct arena *a)
{
    static const struct body_ops ops = { .pull = pull, .close = close_judged };
    struct judged_body *j = arena_new(a, struct judged_body);
    *j = (struct judged_body){ { .ops = &ops }, inner, judge, by, a, { 0 } };
    inner->ready = on_ready;
    inner->puller = j;
    return &j->body;
}
