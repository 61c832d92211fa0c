#include "protocols/h1/client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/io/tls.h"
#include "edge/io/worker.h"
#include "protocols/h1/print.h"

static void set_timer(struct h1_client *c, int64_t after_ms)
{
    timer_set(&c->conn.worker->wheel, &c->timer, worker_now_ms(c->conn.worker) + after_ms);
}

/* ---- input ---- */

static struct slice unread(const struct h1_client *c)
{
    return c->in ? slice_of(c->in->data + c->at, c->end - c->at) : SLICE_NONE;
}

static void drop_input(struct h1_client *c)
{
    worker_block_put(c->conn.worker, &c->in);
    c->at = c->end = 0;
}

/* While a head is read, bytes come in the worker's buffers and are copied: most heads are small,
 * and a connection that waits holds nothing. */
static bool append(struct h1_client *c, struct slice bytes)
{
    if (!c->in || c->in->size_bytes - c->end < bytes.n) {
        struct slice old = unread(c);
        size_t need = old.n + bytes.n;
        if (need > 2 * c->limits.head.head_bytes + WORKER_BLOCK_BYTES) return false;
        struct block *b =
            need <= WORKER_BLOCK_BYTES ? worker_block(c->conn.worker) : block_new(2 * need);
        if (!b) return false;
        if (old.n) memcpy(b->data, old.p, old.n);
        drop_input(c);
        c->in = b;
        c->end = old.n;
    }
    memcpy(c->in->data + c->end, bytes.p, bytes.n);
    c->end += bytes.n;
    return true;
}

/* ---- life ---- */

static void count_bytes(struct h1_client *c)
{
    metric_add(METRIC_ORIGIN_BYTES_IN, (int64_t)(c->conn.received_bytes - c->counted_in_bytes));
    metric_add(METRIC_ORIGIN_BYTES_OUT, (int64_t)(c->conn.sent_bytes - c->counted_out_bytes));
    c->counted_in_bytes = c->conn.received_bytes;
    c->counted_out_bytes = c->conn.sent_bytes;
}

static void on_scope_idle(struct scope *scope)
{
    struct h1_client *c = container_of(scope, struct h1_client, scope);
    count_bytes(c);
    metric_add(METRIC_ORIGIN_CONNECTIONS_LIVE, -1);
    conn_close(&c->conn);
    drop_input(c);
    worker_block_put(c->conn.worker, &c->ahead);
    worker_block_put(c->conn.worker, &c->head_block);
    arena_free(&c->arena);
    c->ops->closed(c);
    free(c);
}

void h1_client_close(struct h1_client **closing)
{
    struct h1_client *c = *closing;
    *closing = NULL;
    if (!c || c->state == CLIENT_CLOSING) return;
    c->state = CLIENT_CLOSING;
    h1_sender_stop(&c->request);
    timer_cancel(&c->timer);
    op_cancel(c->conn.worker, &c->connect_op);
    conn_cancel(&c->conn);
    scope_close(&c->scope);
}

static void fail(struct h1_client *c, int error)
{
    h1_sender_stop(&c->request);
    c->ops->failed(c, error);
}

/* ---- connecting ---- */

static int connect_error(int result)
{
    switch (-result) {
    case ECONNREFUSED: return -E_CONNECT_REFUSED;
    case ETIMEDOUT: return -E_CONNECT_TIMEOUT;
    case ENOMEM:
    case ENOBUFS: return -E_NO_MEMORY;
    default: return -E_CONNECT_UNREACHABLE;
    }
}

static void end_connecting(struct h1_client *c, int error)
{
    timer_cancel(&c->timer);
    c->state = CLIENT_IDLE;
    c->ops->connected(c, error);
}

static void on_connect(struct op *op, const struct op_result *r)
{
    struct h1_client *c = container_of(op, struct h1_client, connect_op);
    if (c->state != CLIENT_CONNECTING) return;
    if (r->result < 0)
        end_connecting(c, connect_error(r->result));
    else if (c->conn.tls)
        conn_secure(&c->conn); /* within the same time */
    else
        end_connecting(c, 0);
}

static void on_opened(struct conn *conn)
{
    struct h1_client *c = container_of(conn, struct h1_client, conn);
    if (c->state == CLIENT_CONNECTING) end_connecting(c, 0);
}

static int secure_error(const struct h1_client *c)
{
    bool distrust;
    tls_failure(c->conn.tls, &distrust);
    return distrust ? -E_ORIGIN_CERTIFICATE : -E_ORIGIN_TLS;
}

static const struct conn_ops conn_ops;
static void on_timer(struct timer *t);

struct h1_client *h1_client_connect(struct worker *w, const struct sockaddr *to, socklen_t to_bytes,
                                    struct tls *tls, const struct h1_client_limits *limits,
                                    const struct h1_client_ops *ops, void *user, void *owner)
{
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd >= 0 && !conn_may_have(fd)) {
        close(fd);
        fd = -1;
        errno = EMFILE;
    }
    if (fd < 0) {
        tls_free(&tls);
        return NULL;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct h1_client *c = xcalloc(1, sizeof *c);
    c->ops = ops;
    c->user = user;
    c->owner = owner;
    c->limits = *limits;
    c->opened_ms = worker_now_ms(w);
    memcpy(&c->address, to, to_bytes);
    arena_init(&c->arena, ARENA_CHUNK_BYTES);
    list_init(&c->link);
    scope_init(&c->scope, w, on_scope_idle);
    conn_init(&c->conn, w, &c->scope, &conn_ops, fd);
    conn_use_tls(&c->conn, tls);
    timer_init(&c->timer, on_timer);
    op_init(&c->connect_op, &c->scope, on_connect);
    op_connect(w, &c->connect_op, fd, &c->address.any, to_bytes);
    set_timer(c, limits->connect_ms);
    metric_add(METRIC_ORIGIN_OPENED, 1);
    metric_add(METRIC_ORIGIN_CONNECTIONS_LIVE, 1);
    return c;
}

/* ---- the request ---- */

static void on_request_sent(struct h1_client *c)
{
    c->request_sent = true;
    if (c->state == CLIENT_WAITING) set_timer(c, c->limits.first_byte_ms);
}

/* A request whose body fails is not whole: the connection must end so that the server sees it too.
 */
static void send_on(struct h1_client *c)
{
    if (c->request_sent || c->conn.broken) return;
    int rc = h1_sender_pump(&c->request);
    conn_flush(&c->conn);
    if (rc == 0 && conn_queued_bytes(&c->conn) == 0) {
        on_request_sent(c);
    } else if (rc < 0) {
        h1_sender_stop(&c->request);
        c->keep_alive = false;
        if (c->state == CLIENT_WAITING)
            fail(c, rc);
        else
            conn_shutdown(&c->conn); /* what it has answered by itself may still come */
    } else if (c->state == CLIENT_WAITING) {
        if (c->request.ready)
            set_timer(c, c->limits.between_bytes_ms);
        else
            timer_cancel(&c->timer); /* it is the client's turn, and has a timeout of its own */
    }
}

static void on_more(struct h1_sender *s)
{
    send_on(container_of(s, struct h1_client, request));
}

/* Bytes that came before the request was sent cannot be its answer. */
static bool silent(const struct h1_client *c)
{
    char byte;
    if (conn_has_unread(&c->conn)) return false;
    return recv(c->conn.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void reset_for_request(struct h1_client *c, const struct request *r, void *user)
{
    c->user = user;
    c->state = CLIENT_WAITING;
    c->method = r->method;
    c->requested_us = c->conn.worker->now_us;
    c->request_sent = c->body_waiting = c->body_ended = false;
    c->was_reset = false;
    c->read_error = 0;
    c->scanned = c->head_bytes = c->block_bytes = 0;
    c->interims = 0;
    c->interim_bytes = 0;
    c->requests++;
}

/* Methods whose requests usually have one say so when it is empty (RFC 9110 section 8.6). */
static bool expects_body(enum method m)
{
    return m == METHOD_POST || m == METHOD_PUT || m == METHOD_PATCH || m == METHOD_QUERY;
}

static void choose_framing(const struct request *r, const struct body *body,
                           struct h1_framing *framing)
{
    framing->length = body ? r->length : 0;
    if (body)
        framing->body = r->length >= 0 ? H1_BODY_LENGTH : H1_BODY_CHUNKED;
    else
        framing->body = r->length == 0 || expects_body(r->method) ? H1_BODY_LENGTH : H1_BODY_NONE;
}

bool h1_client_request(struct h1_client *c, const struct request *r, struct body *body,
                       bool te_trailers, void *user)
{
    CHECK(c->state == CLIENT_IDLE);
    if (c->requests && (c->conn.read_ended || !silent(c))) return false;
    reset_for_request(c, r, user);
    struct h1_framing framing = { .te_trailers = te_trailers };
    choose_framing(r, body, &framing);
    h1_sender_start(&c->request, &c->conn, body, framing.body, framing.length, on_more);
    c->request.trailers = true;
    char *to = conn_reserve(&c->conn, h1_request_size(r, &framing));
    if (!to) {
        fail(c, -E_NO_MEMORY);
        return true;
    }
    conn_commit(&c->conn, h1_print_request(to, r, &framing));
    if (!c->conn.reading) conn_recv_once(&c->conn);
    send_on(c);
    return true;
}

static void on_drained(struct conn *conn)
{
    struct h1_client *c = container_of(conn, struct h1_client, conn);
    if (c->state == CLIENT_CLOSING || c->state == CLIENT_CONNECTING) return;
    if (!conn->broken) {
        send_on(c);
        return;
    }
    /* The server may have answered before it stopped reading: what has arrived is read, then its
     * end. */
    h1_sender_stop(&c->request);
    c->keep_alive = false;
    if (c->state == CLIENT_WAITING) set_timer(c, c->limits.between_bytes_ms);
}

/* ---- the response's head ---- */

static void take_head(struct h1_client *c, const struct h1_response *r, size_t head_bytes)
{
    c->state = CLIENT_READING;
    c->keep_alive = r->keep_alive && !c->conn.broken;
    c->head_block = block_hold(c->in);
    c->at += head_bytes;
    timer_cancel(&c->timer);
    h1_client_open_body(c, r);
    metric_observe_us(METRIC_ORIGIN_FIRST_BYTE,
                      (uint64_t)(c->conn.worker->now_us - c->requested_us));
    c->ops->head(c, r);
}

/* Any number may come (RFC 9110 section 15.2): some origins say in this way that they are still at
 * it. 100 (Continue) answers nobody: the client got its own when its body was first pulled. */
static bool take_interim(struct h1_client *c, const struct h1_response *r, size_t head_bytes)
{
    c->interim_bytes += head_bytes;
    if (c->interim_bytes > c->limits.interim_bytes) return false;
    if (c->interims++ == 0)
        c->interim_until_ms = worker_now_ms(c->conn.worker) + c->limits.interim_ms;
    if (c->interims > H1_INTERIM_MAX)
        metric_add(METRIC_INTERIMS_DROPPED, 1);
    else if (r->msg.status != 100)
        c->ops->interim(c, &r->msg);
    arena_free(&c->arena); /* nothing is in it but this head */
    c->at += head_bytes;
    c->scanned = 0;
    return true;
}

/* For the rest of a head, or for another one. */
static void wait_for_head(struct h1_client *c)
{
    int64_t wait_ms = c->limits.between_bytes_ms;
    int64_t left_ms = c->interim_until_ms - worker_now_ms(c->conn.worker);
    conn_recv_once(&c->conn);
    if (c->interims && left_ms < wait_ms) wait_ms = left_ms;
    if (c->request_sent) set_timer(c, wait_ms);
}

static void read_head(struct h1_client *c)
{
    while (c->state == CLIENT_WAITING) {
        struct h1_response r;
        int n =
            h1_parse_response(unread(c), &c->scanned, &c->limits.head, c->method, &c->arena, &r);
        if (n == 0) {
            wait_for_head(c);
            return;
        }
        if (n > 0 && !r.interim && r.msg.status >= 200) {
            take_head(c, &r, (size_t)n);
            return;
        }
        int error = n < 0 ? n : r.interim ? -E_RESPONSE_HEADER_TOO_LARGE : -E_UPGRADE_REFUSED;
        if (n < 0 && r.fault.rule) c->ops->faulty(c, n, &r.fault);
        if (n < 0 || !r.interim || !take_interim(c, &r, (size_t)n)) {
            fail(c, error);
            return;
        }
    }
}

/* What came in the turn in which the request was queued came before it was sent. */
static bool unasked(const struct h1_client *c)
{
    return c->requests > 1 && c->head_bytes == 0 && c->requested_us == c->conn.worker->now_us;
}

static void answered_unasked(struct h1_client *c, struct slice bytes)
{
    struct h1_fault fault = { .rule = "a server must not answer before it is asked",
                              .bytes = slice_first(bytes, H1_FAULT_BYTES) };
    c->ops->faulty(c, -E_RESPONSE_MALFORMED, &fault);
    end_connecting(c, -E_RESPONSE_MALFORMED);
}

static void on_data(struct conn *conn, struct slice bytes)
{
    struct h1_client *c = container_of(conn, struct h1_client, conn);
    if (c->state == CLIENT_CONNECTING) {
        answered_unasked(c, bytes);
    } else if (c->state == CLIENT_IDLE) {
        c->ops->lost(c);
    } else if (c->state == CLIENT_WAITING && unasked(c)) {
        fail(c, -E_ORIGIN_CLOSED);
    } else if (c->state == CLIENT_WAITING) {
        c->head_bytes += bytes.n;
        if (append(c, bytes))
            read_head(c);
        else
            fail(c, -E_RESPONSE_HEADER_TOO_LARGE);
    }
}

static void on_filled(struct conn *conn, size_t n)
{
    struct h1_client *c = container_of(conn, struct h1_client, conn);
    c->end += n;
    if (c->state == CLIENT_READING) h1_client_wake_body(c);
}

static void on_ended(struct conn *conn, bool reset)
{
    struct h1_client *c = container_of(conn, struct h1_client, conn);
    c->was_reset = reset;
    if (c->state == CLIENT_CONNECTING)
        end_connecting(c, secure_error(c));
    else if (c->state == CLIENT_IDLE)
        c->ops->lost(c);
    else if (c->state == CLIENT_WAITING)
        fail(c, reset ? -E_ORIGIN_RESET : -E_ORIGIN_CLOSED);
    else if (c->state == CLIENT_READING)
        h1_client_wake_body(c);
}

static const struct conn_ops conn_ops = {
    .data = on_data,
    .filled = on_filled,
    .ended = on_ended,
    .opened = on_opened,
    .drained = on_drained,
};

/* ---- the end of a use ---- */

void h1_client_finish(struct h1_client *c, bool whole)
{
    bool reusable = whole && c->request_sent && c->keep_alive && unread(c).n == 0 &&
                    !c->conn.read_ended && !conn_recv_armed(&c->conn) && !conn_has_unread(&c->conn);
    h1_sender_stop(&c->request);
    if (!conn_recv_armed(&c->conn)) drop_input(c); /* else the kernel may still write there */
    worker_block_put(c->conn.worker, &c->head_block);
    arena_free(&c->arena);
    timer_cancel(&c->timer);
    count_bytes(c);
    c->state = CLIENT_IDLE;
    if (reusable) {
        conn_recv_once(&c->conn);
        set_timer(c, c->limits.idle_ms);
    }
    c->ops->done(c, reusable);
}

/* Why the head has not come. */
static int head_timeout(const struct h1_client *c)
{
    bool heartbeat = c->interims && worker_now_ms(c->conn.worker) >= c->interim_until_ms;
    if (!c->request_sent) return -E_ORIGIN_WRITE_TIMEOUT;
    return c->head_bytes && !heartbeat ? -E_BETWEEN_BYTES_TIMEOUT : -E_FIRST_BYTE_TIMEOUT;
}

static void on_timer(struct timer *t)
{
    struct h1_client *c = container_of(t, struct h1_client, timer);
    switch (c->state) {
    case CLIENT_CONNECTING: end_connecting(c, -E_CONNECT_TIMEOUT); break;
    case CLIENT_WAITING: fail(c, head_timeout(c)); break;
    case CLIENT_READING:
        if (!c->body_waiting) break; /* nobody wants more at present */
        c->read_error = -E_BETWEEN_BYTES_TIMEOUT;
        h1_client_wake_body(c);
        break;
    case CLIENT_IDLE: c->ops->lost(c); break;
    case CLIENT_CLOSING: break;
    }
}
