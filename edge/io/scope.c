#include "edge/io/scope.h"

#include "edge/base/check.h"
#include "edge/base/list.h"
#include "edge/io/worker.h"

static void run_idle(struct note *n)
{
    struct scope *s = container_of(n, struct scope, idle_note);
    if (s->pending == 0) s->idle(s); /* a callback of this turn may have entered again */
}

static void post_idle(struct scope *s)
{
    if (!s->idle_note.posted) worker_defer(s->worker, &s->idle_note);
}

void scope_init(struct scope *s, struct worker *worker, void (*idle)(struct scope *))
{
    *s = (struct scope){ .worker = worker, .idle = idle, .idle_note = { .run = run_idle } };
}

void scope_enter(struct scope *s)
{
    s->pending++;
}

void scope_leave(struct scope *s)
{
    CHECK(s->pending > 0);
    if (--s->pending == 0 && s->closing) post_idle(s);
}

void scope_close(struct scope *s)
{
    CHECK(!s->closing);
    s->closing = true;
    if (s->pending == 0) post_idle(s);
}
