#include "edge/resolve.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/log.h"
#include "edge/base/mem.h"
#include "edge/io/offload.h"

#define DROP_AFTER_MS (60 * 60 * 1000)

/* What is known of one name. While a lookup is under way it is neither looked up again nor freed.
 */
struct name {
    struct list link;
    struct resolver *resolver;
    struct list waits;            /* empty unless a lookup is under way and there is no answer */
    struct resolve_result answer; /* the last good one; count 0: none yet */
    int error;                    /* of the last lookup */
    bool looking;
    int64_t due_ms;   /* no lookup before: the answer's end, or a failure's */
    int64_t asked_ms; /* by whoever asked last */
    char host[];
};

/* A lookup under way. On the pool's thread it is all there is: it carries copies only. */
struct lookup {
    struct job job;
    struct name *name; /* for the worker; the pool does not follow it */
    struct resolve_result result;
    int error;
    char host[];
};

/* ---- names ---- */

static void drop(struct name *n)
{
    CHECK(!n->looking && list_empty(&n->waits));
    list_remove(&n->link);
    free(n);
}

static void drop_unused(struct resolver *r)
{
    int64_t now_ms = worker_now_ms(r->worker);
    list_each_safe (node, &r->names) {
        struct name *n = container_of(node, struct name, link);
        if (!n->looking && now_ms - n->asked_ms > DROP_AFTER_MS) drop(n);
    }
}

static bool is_literal(const char *host)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

static void keep_answer(struct name *n, const struct resolve_result *answer)
{
    int64_t ttl_s = answer->ttl_s > RESOLVE_TTL_MIN_S ? answer->ttl_s : RESOLVE_TTL_MIN_S;
    n->answer = *answer;
    n->error = 0;
    n->due_ms = worker_now_ms(n->resolver->worker) + ttl_s * 1000;
}

/* An outage is one line in the log, however often it is met. */
static void keep_failure(struct name *n, int error)
{
    if (n->error != error) {
        log_event(LOG_WARNING, "origin host %s: %s%s", n->host, error_info(error)->text,
                  n->answer.count ? "; its last known addresses stay in use" : "");
    }
    n->error = error;
    n->due_ms = worker_now_ms(n->resolver->worker) + RESOLVE_RETRY_S * 1000;
}

/* A literal has its answer from the start; finding it does not block. */
static struct name *add(struct resolver *r, struct slice host)
{
    drop_unused(r);
    struct name *n = xcalloc(1, sizeof *n + host.n + 1);
    n->resolver = r;
    memcpy(n->host, host.p, host.n);
    list_init(&n->waits);
    list_append(&r->names, &n->link);
    struct resolve_result literal;
    if (is_literal(n->host) && resolve_host(n->host, &literal) == 0) keep_answer(n, &literal);
    return n;
}

static struct name *find(struct resolver *r, struct slice host)
{
    list_each (node, &r->names) {
        struct name *n = container_of(node, struct name, link);
        if (slice_eq_nocase(slice_str(n->host), host)) return n;
    }
    return NULL;
}

/* ---- lookups ---- */

static void work(struct job *j)
{
    struct lookup *l = container_of(j, struct lookup, job);
    l->error = resolve_host(l->host, &l->result);
}

/* Whatever ready does is allowed: end its wait, cancel others, ask again, even for so many names
 * that this one is dropped. */
static void wake(struct name *n)
{
    struct list woken;
    int error = n->error;
    list_init(&woken);
    list_splice(&woken, &n->waits);
    for (struct list *node; (node = list_pop(&woken));) {
        struct resolve_wait *w = container_of(node, struct resolve_wait, link);
        w->ready(w, error);
    }
}

static void on_done(struct job *j)
{
    struct lookup *l = container_of(j, struct lookup, job);
    struct name *n = l->name;
    struct resolver *r = n->resolver;
    n->looking = false;
    if (l->error) {
        keep_failure(n, l->error);
    } else {
        keep_answer(n, &l->result);
    }
    free(l);
    wake(n);
    scope_leave(&r->scope);
}

static void look_up(struct name *n)
{
    size_t size_bytes = strlen(n->host) + 1;
    struct lookup *l = xcalloc(1, sizeof *l + size_bytes);
    l->job.work = work;
    l->job.done = on_done;
    l->name = n;
    memcpy(l->host, n->host, size_bytes);
    scope_enter(&n->resolver->scope);
    n->looking = offload_submit(&l->job);
    if (n->looking) return;
    free(l);
    keep_failure(n, -E_QUEUE_FULL);
    scope_leave(&n->resolver->scope);
}

int resolve_lookup(struct resolver *r, struct slice host, const struct resolve_result **out,
                   struct resolve_wait *w)
{
    CHECK(list_empty(&w->link));
    struct name *n = find(r, host);
    if (!n) n = add(r, host);
    n->asked_ms = worker_now_ms(r->worker);
    if (!n->looking && n->asked_ms >= n->due_ms) look_up(n);
    if (n->answer.count) {
        *out = &n->answer;
        return 1;
    }
    if (!n->looking) return n->error;
    list_append(&n->waits, &w->link);
    return 0;
}

void resolve_cancel(struct resolve_wait *w)
{
    list_remove(&w->link);
}

/* ---- life ---- */

static void on_idle(struct scope *s)
{
    struct resolver *r = container_of(s, struct resolver, scope);
    list_each_safe (node, &r->names) drop(container_of(node, struct name, link));
    r->idle(r);
}

void resolver_init(struct resolver *r, struct worker *w)
{
    *r = (struct resolver){ .worker = w };
    list_init(&r->names);
    scope_init(&r->scope, w, on_idle);
}

void resolver_close(struct resolver *r, void (*idle)(struct resolver *r))
{
    r->idle = idle;
    scope_close(&r->scope);
}
