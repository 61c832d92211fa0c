#include "edge/fetch.h"

#include <stdio.h>

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/log.h"
#include "edge/base/metrics.h"
#include "edge/io/tls.h"
#include "edge/io/worker.h"

static void try_next(struct fetch *f);

/* ---- the end ---- */

static void run_note(struct note *n)
{
    struct fetch *f = container_of(n, struct fetch, note);
    struct scope *scope = f->scope;
    f->noted = false;
    if (f->origin) f->ops->failed(f, f->error);
    scope_leave(scope);
}

/* By a note: whoever started the fetch may not be ready to hear of its end yet. */
static void give_up(struct fetch *f, int error)
{
    f->error = error;
    if (f->noted) return;
    f->noted = true;
    scope_enter(f->scope);
    worker_defer(f->scope->worker, &f->note);
}

/* Its place is free at once, not when the last of it has gone. */
static void drop_client(struct h1_client **drop)
{
    struct h1_client *c = *drop;
    if (!c) return;
    c->user = NULL;
    if (c->admitted) origin_leave(c->owner);
    c->admitted = false;
    h1_client_close(drop);
}

void fetch_close(struct fetch *f)
{
    if (!f->origin) return;
    resolve_cancel(&f->resolving);
    drop_client(&f->client);
    body_close(&f->body);
    resend_close(&f->resend);
    origin_drop(&f->origin);
    metric_add(METRIC_FETCHES_LIVE, -1);
}

/* ---- a connection ---- */

/* The farther an attempt got the more its end tells of what is wrong: a server whose certificate is
 * not trusted must not be hidden by one that is not running. */
static int telling(int error)
{
    static const int order[] = { -E_DNS_TIMEOUT,     -E_DNS_ERROR,         -E_CONNECT_UNREACHABLE,
                                 -E_CONNECT_REFUSED, -E_CONNECT_TIMEOUT,   -E_RESPONSE_MALFORMED,
                                 -E_ORIGIN_TLS,      -E_ORIGIN_CERTIFICATE };
    int i = sizeof order / sizeof *order;
    while (i && order[i - 1] != error) i--;
    return i;
}

static void note_failure(struct fetch *f, int error)
{
    if (!f->error || telling(error) > telling(f->error)) f->error = error;
}

static void server_failed(struct fetch *f, int error)
{
    note_failure(f, error);
    origin_server_failed(f->origin, f->server);
    CHECK(f->tried_count < FETCH_ATTEMPTS_MAX);
    f->tried[f->tried_count++] = f->server;
    try_next(f);
}

static bool send_request(struct fetch *f, struct h1_client *c)
{
    f->client = c;
    if (!h1_client_request(c, f->request, f->body, f->te_trailers, f)) return false;
    f->body = NULL; /* the connection's now */
    return true;
}

static bool use_idle(struct fetch *f)
{
    struct h1_client *c;
    while (!f->retried && (c = origin_take_idle(f->origin, f->server))) {
        if (send_request(f, c)) {
            metric_add(METRIC_ORIGIN_REUSED, 1);
            return true;
        }
        drop_client(&f->client);
    }
    return false;
}

static const struct h1_client_ops client_ops;

/* *tls: NULL where the origin is spoken to without. False when memory is out. */
static bool open_session(const struct fetch *f, struct tls **tls)
{
    const struct config_origin *config = f->origin->config;
    const char *name = config->tls_name.n ? config->tls_name.p : f->server->config->host.p;
    *tls = config->connector ? tls_connect(config->connector, name, f->server->session) : NULL;
    return *tls || !config->connector;
}

/* For the next connection: what the server gave on this one, which it does after the handshake. */
static void keep_session(struct fetch *f)
{
    struct ssl_session_st *given =
        f->client->conn.tls ? tls_take_session(f->client->conn.tls) : NULL;
    if (!given) return;
    tls_session_free(&f->server->session);
    f->server->session = given;
}

static struct h1_client_limits limits_of(const struct config_origin *config)
{
    return (struct h1_client_limits){
        .connect_ms = config->connect_timeout_ms,
        .first_byte_ms = config->first_byte_timeout_ms,
        .between_bytes_ms = config->between_bytes_timeout_ms,
        .idle_ms = config->keepalive_idle_ms,
        .interim_ms = config->interim_timeout_ms,
        .interim_bytes = config->interim_bytes,
        .head = { config->response_head_bytes, config->response_head_bytes,
                  config->response_field_count },
    };
}

/* NULL where memory or sockets are out. */
static struct h1_client *open_client(struct fetch *f, union resolve_address to)
{
    struct h1_client_limits limits = limits_of(f->origin->config);
    bool v6 = to.any.sa_family == AF_INET6;
    struct tls *tls;
    if (v6)
        to.v6.sin6_port = htons(f->server->config->port);
    else
        to.v4.sin_port = htons(f->server->config->port);
    if (!open_session(f, &tls)) return NULL;
    struct origin *held = origin_hold(f->origin);
    struct h1_client *c =
        h1_client_connect(f->scope->worker, &to.any, v6 ? sizeof to.v6 : sizeof to.v4, tls, &limits,
                          &client_ops, f, held);
    if (!c) origin_drop(&held);
    return c;
}

static void connect_to(struct fetch *f, const struct resolve_result *r)
{
    if (!origin_admit(f->origin)) {
        give_up(f, -E_ORIGIN_CONN_LIMIT);
        return;
    }
    f->client = open_client(f, r->addresses[f->address % r->count]);
    if (f->client) {
        f->client->server = f->server;
        f->client->admitted = true;
        return;
    }
    origin_leave(f->origin);
    give_up(f, -E_SYSTEM);
}

static void resolve_and_connect(struct fetch *f)
{
    const struct resolve_result *r;
    int rc = resolve_lookup(f->origin->owner->resolver, f->server->config->host, &r, &f->resolving);
    if (rc < 0)
        server_failed(f, rc);
    else if (rc > 0)
        connect_to(f, r);
}

static void on_resolved(struct resolve_wait *w, int error)
{
    struct fetch *f = container_of(w, struct fetch, resolving);
    if (error)
        server_failed(f, error);
    else
        resolve_and_connect(f);
}

static void try_next(struct fetch *f)
{
    struct origin_server *s = f->attempts++ < FETCH_ATTEMPTS_MAX
                                  ? origin_next_server(f->origin, f->tried, f->tried_count)
                                  : NULL;
    if (!s) {
        give_up(f, f->error ? f->error : -E_NO_SERVER);
        return;
    }
    f->server = s;
    f->address = 0;
    if (!use_idle(f)) resolve_and_connect(f);
}

/* ---- what the connection says ---- */

static void report_tls(const struct fetch *f)
{
    const struct config_server *server = f->server->config;
    bool distrust;
    const char *why = tls_failure(f->client->conn.tls, &distrust);
    log_event(LOG_WARNING, "origin %.*s, server %.*s:%u: %s: %s",
              SLICE_ARGS(f->origin->config->name), SLICE_ARGS(server->host), server->port,
              distrust ? "its certificate is not trusted" : "TLS handshake failed", why);
}

/* Of several addresses the next one is tried before the server counts as failed. */
static void connect_failed(struct fetch *f, int error)
{
    const struct resolve_result *r;
    if (error == -E_ORIGIN_TLS || error == -E_ORIGIN_CERTIFICATE) report_tls(f);
    note_failure(f, error);
    drop_client(&f->client);
    bool known =
        resolve_lookup(f->origin->owner->resolver, f->server->config->host, &r, &f->resolving) > 0;
    resolve_cancel(&f->resolving);
    if (known && ++f->address < r->count && f->attempts++ < FETCH_ATTEMPTS_MAX)
        connect_to(f, r);
    else
        server_failed(f, error);
}

/* The target may be long, and what follows it must stay in the line. */
void fetch_report(const struct fetch *f, int error, const struct h1_fault *fault)
{
    const struct config_server *server = f->server->config;
    const struct request *r = f->request;
    struct slice target = slice_first(r->target, 200), field = slice_first(fault->field, 64);
    char line[32] = "";
    if (fault->line) snprintf(line, sizeof line, "line %u", fault->line);
    log_quoting(LOG_WARNING, fault->bytes,
                "%s: %.*s %.*s: origin %.*s, server %.*s:%u: %s%s%.*s%s%s", error_info(error)->name,
                SLICE_ARGS(r->method_text), SLICE_ARGS(target), SLICE_ARGS(f->origin->config->name),
                SLICE_ARGS(server->host), server->port, line, field.n ? ", field " : "",
                SLICE_ARGS(field), fault->line ? ": " : "", fault->rule);
}

static void on_faulty(struct h1_client *c, int error, const struct h1_fault *fault)
{
    fetch_report(c->user, error, fault);
}

static void on_connected(struct h1_client *c, int error)
{
    struct fetch *f = c->user;
    if (error)
        connect_failed(f, error);
    else if (!send_request(f, c))
        give_up(f, -E_ORIGIN_CLOSED);
}

static void on_interim(struct h1_client *c, const struct response *r)
{
    struct fetch *f = c->user;
    f->ops->interim(f, r);
}

static void on_head(struct h1_client *c, const struct h1_response *r)
{
    struct fetch *f = c->user;
    keep_session(f);
    resend_settle(&f->resend);
    f->ops->head(f, r, &c->body);
}

/* A kept connection that ends before a byte of a response most likely was closed by the server
 * while the request was under way. RFC 9110 section 9.2.2: again only what is idempotent, and whose
 * body, if any, is there still. */
static bool may_retry(const struct fetch *f, const struct h1_client *c, int error)
{
    bool stale = c->requests > 1 && c->head_bytes == 0 &&
                 (error == -E_ORIGIN_CLOSED || error == -E_ORIGIN_RESET);
    bool whole = !f->had_body || resend_may(&f->resend);
    return stale && !f->retried && whole && method_is_idempotent(f->request->method);
}

static void on_failed(struct h1_client *c, int error)
{
    struct fetch *f = c->user;
    bool again = may_retry(f, c, error);
    drop_client(&f->client);
    if (!again) {
        give_up(f, error);
        return;
    }
    metric_add(METRIC_ORIGIN_RETRIED, 1);
    f->retried = true;
    if (f->had_body) f->body = resend_again(&f->resend);
    resolve_and_connect(f);
}

static void on_done(struct h1_client *c, bool reusable)
{
    struct fetch *f = c->user;
    if (f) f->client = NULL;
    c->user = NULL;
    if (!reusable || !origin_keep_idle(c->owner, c)) drop_client(&c);
}

static void on_lost(struct h1_client *c)
{
    origin_forget_idle(c->owner, c);
    h1_client_close(&c);
}

static void on_closed(struct h1_client *c)
{
    struct origin *o = c->owner;
    origin_drop(&o);
}

static const struct h1_client_ops client_ops = {
    on_connected, on_interim, on_head, on_faulty, on_failed, on_done, on_lost, on_closed,
};

void fetch_start(struct fetch *f, struct scope *scope, struct origin *o,
                 const struct request *request, struct body *body, bool te_trailers,
                 const struct fetch_ops *ops)
{
    *f = (struct fetch){ .ops = ops,
                         .scope = scope,
                         .origin = origin_hold(o),
                         .request = request,
                         .te_trailers = te_trailers,
                         .had_body = body != NULL,
                         .note = { .run = run_note },
                         .resolving = { .ready = on_resolved } };
    bool again = body && method_is_idempotent(request->method);
    f->body = again ? resend_open(&f->resend, body) : body;
    list_init(&f->resolving.link);
    metric_add(METRIC_FETCHES_LIVE, 1);
    try_next(f);
}
