#include "edge/origin.h"

#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "protocols/h1/client.h"

#define FAILED_MS 5000 /* a server that could not be connected to is asked last for so long */

/* ---- what the process shares ---- */

void origin_limits_init(struct origin_limits *l)
{
    pthread_mutex_init(&l->lock, NULL);
    l->first = NULL;
}

void origin_limits_free(struct origin_limits *l)
{
    while (l->first) {
        struct origin_shared *s = l->first;
        l->first = s->next;
        free((char *)s->name.p);
        free(s);
    }
    pthread_mutex_destroy(&l->lock);
}

static struct origin_shared *find_shared(struct origin_limits *l, struct slice name)
{
    struct origin_shared *s = l->first;
    while (s && !slice_eq(s->name, name)) s = s->next;
    return s;
}

static struct origin_shared *shared_of(struct origin_limits *l, struct slice name)
{
    pthread_mutex_lock(&l->lock);
    struct origin_shared *s = find_shared(l, name);
    if (!s) {
        s = xcalloc(1, sizeof *s);
        s->name = slice_of(xstrndup(name.p, name.n), name.n);
        s->next = l->first;
        l->first = s;
    }
    pthread_mutex_unlock(&l->lock);
    return s;
}

/* ---- life ---- */

static void run_idle(struct note *n)
{
    struct origins *o = container_of(n, struct origins, idle_note);
    o->idle(o);
}

static void check_idle(struct origins *o)
{
    if (o->closing && o->live == 0) worker_defer(o->worker, &o->idle_note);
}

struct origin *origin_hold(struct origin *o)
{
    o->references++;
    return o;
}

void origin_drop(struct origin **drop)
{
    struct origin *o = *drop;
    *drop = NULL;
    if (!o || --o->references) return;
    struct origins *owner = o->owner;
    for (size_t i = 0; i < o->config->server_count; i++) tls_session_free(&o->servers[i].session);
    config_drop(&o->generation);
    free(o);
    owner->live--;
    check_idle(owner);
}

static struct origin *new_origin(struct origins *owner, struct config *c,
                                 const struct config_origin *config)
{
    struct origin *o = xcalloc(1, sizeof *o + config->server_count * sizeof *o->servers);
    o->references = 1;
    o->owner = owner;
    o->generation = config_hold(c);
    o->config = config;
    o->shared = shared_of(owner->limits, config->name);
    list_init(&o->idle);
    for (size_t i = 0; i < config->server_count; i++) o->servers[i].config = &config->servers[i];
    owner->live++;
    return o;
}

/* ---- idle connections ---- */

void origin_forget_idle(struct origin *o, struct h1_client *c)
{
    list_remove(&c->link);
    atomic_fetch_sub_explicit(&o->shared->idle, 1, memory_order_relaxed);
}

static bool too_old(const struct origin *o, const struct h1_client *c)
{
    return worker_now_ms(o->owner->worker) - c->opened_ms > o->config->lifetime_ms;
}

static void close_idle(struct origin *o, struct h1_client *c)
{
    origin_forget_idle(o, c);
    h1_client_close(&c);
}

struct h1_client *origin_take_idle(struct origin *o, const struct origin_server *s)
{
    if (list_empty(&o->idle) || !origin_admit(o)) return NULL;
    list_each_safe (link, &o->idle) {
        struct h1_client *c = container_of(link, struct h1_client, link);
        if (too_old(o, c)) {
            close_idle(o, c);
        } else if (c->server == s) {
            origin_forget_idle(o, c);
            c->admitted = true;
            return c;
        }
    }
    origin_leave(o);
    return NULL;
}

bool origin_keep_idle(struct origin *o, struct h1_client *c)
{
    bool current = o->config->index < o->owner->count && o->owner->v[o->config->index] == o;
    if (o->owner->closing || !current || too_old(o, c)) return false;
    unsigned idle = atomic_fetch_add_explicit(&o->shared->idle, 1, memory_order_relaxed);
    if (idle >= o->config->keepalive) {
        atomic_fetch_sub_explicit(&o->shared->idle, 1, memory_order_relaxed);
        return false;
    }
    list_prepend(&o->idle, &c->link);
    c->admitted = false;
    origin_leave(o);
    return true;
}

static const struct origin_server *same_server(const struct origin *o,
                                               const struct config_server *s)
{
    for (size_t i = 0; i < o->config->server_count; i++) {
        const struct config_server *other = o->servers[i].config;
        if (other->port == s->port && slice_eq(other->host, s->host)) return &o->servers[i];
    }
    return NULL;
}

static bool speaks_alike(const struct config_origin *a, const struct config_origin *b)
{
    return tls_connector_eq(a->connector, b->connector) && slice_eq(a->tls_name, b->tls_name);
}

/* A connection that the new generation would open as well goes over to it. */
static void move_idle(struct origin *from, struct origin *to)
{
    if (to && !speaks_alike(from->config, to->config)) to = NULL;
    list_each_safe (link, &from->idle) {
        struct h1_client *c = container_of(link, struct h1_client, link);
        const struct origin_server *had = c->server,
                                   *now = to ? same_server(to, had->config) : NULL;
        if (!now) {
            close_idle(from, c);
            continue;
        }
        list_remove(&c->link);
        list_append(&to->idle, &c->link);
        struct origin *old = c->owner;
        c->owner = origin_hold(to);
        c->server = now;
        origin_drop(&old);
    }
}

/* ---- generations ---- */

void origins_init(struct origins *o, struct worker *w, struct resolver *r, struct origin_limits *l)
{
    *o = (struct origins){
        .worker = w, .resolver = r, .limits = l, .idle_note = { .run = run_idle }
    };
}

static struct origin *successor_of(const struct origin *old, struct origin **v, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (v[i]->shared == old->shared) return v[i];
    }
    return NULL;
}

static void replace(struct origins *o, struct origin **v, size_t count)
{
    struct origin **old = o->v;
    size_t old_count = o->count;
    o->v = v;
    o->count = count;
    for (size_t i = 0; i < old_count; i++) {
        move_idle(old[i], successor_of(old[i], v, count));
        origin_drop(&old[i]);
    }
    free(old);
}

void origins_configure(struct origins *o, struct config *c)
{
    struct origin **v = xcalloc(c->origin_count, sizeof *v);
    for (size_t i = 0; i < c->origin_count; i++) v[i] = new_origin(o, c, &c->origins[i]);
    replace(o, v, c->origin_count);
}

struct origin *origins_get(struct origins *o, struct config *c, const struct config_origin *config)
{
    if (config->index < o->count && o->v[config->index]->config == config) {
        return origin_hold(o->v[config->index]);
    }
    for (size_t i = 0; i < o->count; i++) {
        if (slice_eq(o->v[i]->config->name, config->name)) return origin_hold(o->v[i]);
    }
    return new_origin(o, c, config);
}

void origins_close(struct origins *o, void (*idle)(struct origins *o))
{
    o->closing = true;
    o->idle = idle;
    o->live++; /* so that it does not end while it is taken apart */
    replace(o, NULL, 0);
    o->live--;
    check_idle(o);
}

/* ---- connections ---- */

bool origin_admit(struct origin *o)
{
    unsigned busy = atomic_fetch_add_explicit(&o->shared->busy, 1, memory_order_relaxed);
    if (busy < o->config->connections_max) return true;
    atomic_fetch_sub_explicit(&o->shared->busy, 1, memory_order_relaxed);
    return false;
}

void origin_leave(struct origin *o)
{
    atomic_fetch_sub_explicit(&o->shared->busy, 1, memory_order_relaxed);
}

/* ---- which server ---- */

enum choice { CHOICE_NONE, CHOICE_BACKUP_FAILED, CHOICE_FAILED, CHOICE_BACKUP, CHOICE_GOOD };

static enum choice rank(const struct origin *o, const struct origin_server *s,
                        struct origin_server *const *tried, size_t tried_count)
{
    if (s->config->down) return CHOICE_NONE;
    for (size_t i = 0; i < tried_count; i++) {
        if (tried[i] == s) return CHOICE_NONE;
    }
    bool failed = s->failed_until_ms > worker_now_ms(o->owner->worker);
    if (s->config->backup) return failed ? CHOICE_BACKUP_FAILED : CHOICE_BACKUP;
    return failed ? CHOICE_FAILED : CHOICE_GOOD;
}

/* Smooth weighted round robin among the servers of the best rank: each gains its weight, the
 * richest is taken and pays the sum, so that a heavy server's turns are spread out. */
struct origin_server *origin_next_server(struct origin *o, struct origin_server *const *tried,
                                         size_t tried_count)
{
    enum choice best_rank = CHOICE_NONE;
    for (size_t i = 0; i < o->config->server_count; i++) {
        enum choice r = rank(o, &o->servers[i], tried, tried_count);
        if (r > best_rank) best_rank = r;
    }
    if (best_rank == CHOICE_NONE) return NULL;
    struct origin_server *best = NULL;
    int sum = 0;
    for (size_t i = 0; i < o->config->server_count; i++) {
        struct origin_server *s = &o->servers[i];
        if (rank(o, s, tried, tried_count) != best_rank) continue;
        s->current += (int)s->config->weight;
        sum += (int)s->config->weight;
        if (!best || s->current > best->current) best = s;
    }
    CHECK(best); /* one has the best rank */
    best->current -= sum;
    return best;
}

void origin_server_failed(struct origin *o, struct origin_server *s)
{
    s->failed_until_ms = worker_now_ms(o->owner->worker) + FAILED_MS;
    metric_add(METRIC_SERVERS_FAILED, 1);
}
