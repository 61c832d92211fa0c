#include "edge/io/conn.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/base/list.h"
#include "edge/io/outbox.h"
#include "edge/io/tls.h"
#include "edge/io/worker.h"

#define READ_ON_BYTES (64 * 1024) /* of TLS, at once */
#define READ_ON_TIMES 4           /* before others have their turn */

static void on_recv(struct op *op, const struct op_result *r);
static void on_filled(struct op *op, const struct op_result *r);
static void on_send(struct op *op, const struct op_result *r);
static void on_note(struct note *n);

void conn_init(struct conn *c, struct worker *w, struct scope *scope, const struct conn_ops *ops,
               int fd)
{
    *c = (struct conn){ .worker = w, .scope = scope, .ops = ops, .fd = fd };
    op_init(&c->recv_op, scope, on_recv);
    op_init(&c->send_op, scope, on_send);
    list_init(&c->marks);
    list_init(&c->sealed);
    c->note.run = on_note;
}

/* The kernel gives the lowest number that is free. */
bool conn_may_have(int fd)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY) return true;
    return (rlim_t)fd + CONN_DESCRIPTORS_KEPT < limit.rlim_cur;
}

/* ---- receiving ---- */

/* Of what was asked for, the session may have some already. It comes from the loop all the same. */
static bool take_from_session(struct conn *c)
{
    if (!c->paced || c->inside) return c->inside;
    if (c->noted || !tls_has_unread(c->tls)) return c->noted;
    c->noted = true;
    scope_enter(c->scope);
    worker_defer(c->worker, &c->note);
    return true;
}

static void arm_recv(struct conn *c)
{
    if (c->recv_op.armed || c->read_ended || take_from_session(c)) return;
    c->recv_op.done = on_recv;
    if (c->multishot)
        op_recv_multishot(c->worker, &c->recv_op, c->fd);
    else
        op_recv_once(c->worker, &c->recv_op, c->fd);
}

void conn_recv_start(struct conn *c)
{
    c->reading = c->multishot = true;
    arm_recv(c);
}

void conn_recv_once(struct conn *c)
{
    c->reading = true;
    c->multishot = false;
    arm_recv(c);
}

void conn_recv_stop(struct conn *c)
{
    if (!c->reading) return;
    c->reading = false;
    op_cancel(c->worker, &c->recv_op);
}

static void arm_fill(struct conn *c)
{
    c->recv_op.done = on_filled;
    op_recv_into(c->worker, &c->recv_op, c->fd, c->into, c->into_bytes);
}

void conn_recv_into(struct conn *c, void *to, size_t size_bytes)
{
    CHECK(!c->recv_op.armed && !c->read_ended);
    c->into = to;
    c->into_bytes = size_bytes;
    if (c->paced)
        arm_recv(c);
    else
        arm_fill(c);
}

bool conn_recv_armed(const struct conn *c)
{
    return c->recv_op.armed || c->noted || c->into;
}

bool conn_has_unread(const struct conn *c)
{
    return c->tls && tls_has_unread(c->tls);
}

size_t conn_recv_now(struct conn *c, void *to, size_t size_bytes)
{
    ssize_t n = recv(c->fd, to, size_bytes, MSG_DONTWAIT);
    if (n <= 0) return 0;
    c->received_bytes += (uint64_t)n;
    return (size_t)n;
}

static void end_reading(struct conn *c, bool reset)
{
    if (c->read_ended) return;
    c->read_ended = true;
    c->reading = false;
    c->into = NULL;
    c->ops->ended(c, reset);
}

static bool try_again(int result)
{
    return result == -ENOBUFS || result == -ECANCELED || result == -EINTR || result == -EAGAIN;
}

/* The alert that tells why the session failed: at once, since what follows would cancel a send. */
static void send_alert(struct conn *c)
{
    if (c->send_op.armed) return;
    struct slice alert = tls_output(c->tls);
    ssize_t n = alert.n ? send(c->fd, alert.p, alert.n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (n > 0) tls_sent(c->tls, (size_t)n);
}

/* A server is given whatever comes, a client what it asks for. */
static bool wants_plaintext(const struct conn *c)
{
    return !c->scope->closing && (!c->paced || c->into || c->reading);
}

static int read_plaintext(struct conn *c)
{
    char plain[TLS_RECORD_BYTES], *to = c->into ? c->into : plain;
    int n = tls_read(c->tls, to, c->into ? c->into_bytes : sizeof plain);
    if (n <= 0) return n;
    if (c->paced) c->reading = false;
    c->into = NULL;
    if (to == plain)
        c->ops->data(c, slice_of(plain, (size_t)n));
    else
        c->ops->filled(c, (size_t)n);
    return n;
}

/* What the session has to say to what it read goes first. */
static void end_plaintext(struct conn *c, int n)
{
    if (n == TLS_FAILED)
        send_alert(c);
    else
        conn_flush(c);
    if (n < 0)
        end_reading(c, n == TLS_FAILED);
    else if (c->paced && !tls_keep(c->tls))
        end_reading(c, true);
}

/* Each piece of plaintext of what the session was fed, as if it had come that way. */
void conn_read_fed(struct conn *c)
{
    int n = TLS_MORE;
    bool opening = conn_in_handshake(c);
    c->inside = true;
    while (wants_plaintext(c) && (n = read_plaintext(c)) > 0) continue;
    c->inside = false;
    if (c->scope->closing) return;
    if (opening && n == TLS_MORE && !conn_in_handshake(c) && c->ops->opened) c->ops->opened(c);
    if (!c->scope->closing) end_plaintext(c, n);
}

static void on_note(struct note *n)
{
    struct conn *c = container_of(n, struct conn, note);
    c->noted = false;
    if (!c->scope->closing) conn_read_fed(c);
    if (!c->scope->closing && (c->into || c->reading)) arm_recv(c);
    scope_leave(c->scope);
}

void conn_secure(struct conn *c)
{
    c->paced = true;
    tls_begin(c->tls);
    conn_flush(c);
    conn_recv_once(c);
}

void conn_use_tls(struct conn *c, struct tls *tls)
{
    c->tls = tls;
}

bool conn_in_handshake(const struct conn *c)
{
    return c->tls && tls_in_handshake(c->tls);
}

/* What has come behind that is taken several records at a time: a receive buffer does not even hold
 * one. */
static void read_on(struct conn *c)
{
    char more[READ_ON_BYTES];
    size_t n;
    for (int i = 0; i < READ_ON_TIMES && wants_plaintext(c) && !c->read_ended; i++) {
        if (tls_has_unread(c->tls) || (n = conn_recv_now(c, more, sizeof more)) == 0) return;
        tls_feed(c->tls, slice_of(more, n));
        conn_read_fed(c);
        if (n < sizeof more) return;
    }
}

static void take_received(struct conn *c, const struct op_result *r)
{
    c->received_bytes += (uint64_t)r->result;
    if (!c->tls) {
        if (!c->multishot) c->reading = false;
        c->nonempty = r->nonempty;
        c->ops->data(c, r->data);
    } else if (!c->read_ended) {
        tls_feed(c->tls, r->data);
        conn_read_fed(c);
        if (c->paced && r->nonempty) read_on(c);
    }
}

static void on_recv(struct op *op, const struct op_result *r)
{
    struct conn *c = container_of(op, struct conn, recv_op);
    if (r->result > 0) {
        take_received(c, r);
    } else if (!try_again(r->result)) {
        end_reading(c, r->result < 0 || c->paced);
        return;
    }
    if (!r->more && (c->reading || c->into) && !c->scope->closing) arm_recv(c);
}

static void on_filled(struct op *op, const struct op_result *r)
{
    struct conn *c = container_of(op, struct conn, recv_op);
    if (r->result > 0) {
        c->into = NULL;
        c->received_bytes += (uint64_t)r->result;
        c->ops->filled(c, (size_t)r->result);
    } else if (!try_again(r->result)) {
        end_reading(c, r->result < 0);
    } else if (c->into) {
        arm_fill(c); /* it was not conn_cancel that ended it */
    }
}

/* ---- sending ---- */

static struct outbox *out_of(struct conn *c)
{
    if (!c->out) c->out = outbox_new();
    return c->out;
}

bool conn_has_room(const struct conn *c)
{
    return !c->out || (c->out->count + 3 < OUTBOX_SPANS && c->out->bytes < CONN_SEND_BYTES);
}

size_t conn_queued_bytes(const struct conn *c)
{
    return (c->out ? c->out->bytes : 0) + (c->tls ? tls_output_bytes(c->tls) : 0);
}

char *conn_reserve(struct conn *c, size_t n)
{
    return outbox_reserve(out_of(c), c->worker, n);
}

void conn_commit(struct conn *c, size_t n)
{
    if (n) outbox_commit(c->out, n);
    c->queued_bytes += n;
}

bool conn_write(struct conn *c, struct slice bytes)
{
    char *to = conn_reserve(c, bytes.n);
    if (!to) return false;
    memcpy(to, bytes.p, bytes.n);
    conn_commit(c, bytes.n);
    return true;
}

void conn_push(struct conn *c, struct span *s)
{
    c->queued_bytes += s->n;
    outbox_push(out_of(c), s);
}

bool conn_is_sending(const struct conn *c)
{
    return c->send_op.armed;
}

bool conn_mark(struct conn *c, struct conn_mark *m)
{
    bool encrypted = c->tls && (!c->out || c->out->bytes == 0);
    if (!c->broken && conn_queued_bytes(c) == 0) return false;
    m->at = encrypted ? c->sent_bytes + tls_output_bytes(c->tls) : c->queued_bytes;
    list_append(encrypted ? &c->sealed : &c->marks, &m->link);
    return true;
}

static struct conn_mark *first_mark(struct list *marks, uint64_t until)
{
    struct conn_mark *m = container_of(marks->next, struct conn_mark, link);
    return list_empty(marks) || m->at > until ? NULL : m;
}

static uint64_t left_queue_bytes(const struct conn *c)
{
    return c->queued_bytes - (c->out ? c->out->bytes : 0);
}

/* A record that is not whole tells its reader nothing, so the place is the end of it. */
static void seal_marks(struct conn *c)
{
    for (struct conn_mark *m; (m = first_mark(&c->marks, left_queue_bytes(c)));) {
        list_remove(&m->link);
        m->at = c->sent_bytes + tls_output_bytes(c->tls);
        list_append(&c->sealed, &m->link);
    }
}

static void pass_marks(struct conn *c)
{
    struct list *marks = c->tls ? &c->sealed : &c->marks;
    uint64_t taken = c->tls ? c->sent_bytes : left_queue_bytes(c);
    for (struct conn_mark *m; (m = first_mark(marks, taken));) {
        list_remove(&m->link);
        m->passed(m);
    }
}

/* As much as one send takes; nothing while the handshake is under way. A session that fails ends
 * its connection, which the receive will notice. */
static void encrypt(struct conn *c)
{
    int64_t now_ms = worker_now_ms(c->worker);
    while (c->out && c->out->count && tls_output_bytes(c->tls) < TLS_OUTPUT_BYTES) {
        ssize_t n = tls_write(c->tls, span_slice(&c->out->spans[0]), now_ms);
        if (n < 0) shutdown(c->fd, SHUT_RDWR);
        if (n <= 0) return;
        outbox_drop(c->out, c->worker, (size_t)n);
        seal_marks(c);
    }
}

static void flush_tls(struct conn *c)
{
    if (c->send_op.armed) return;
    encrypt(c);
    if (tls_output_bytes(c->tls) == 0) return;
    struct slice bytes = tls_output(c->tls);
    op_send(c->worker, &c->send_op, c->fd, bytes.p, bytes.n);
}

void conn_flush(struct conn *c)
{
    struct outbox *out = c->out;
    if (c->tls) {
        flush_tls(c);
        return;
    }
    if (!out || c->send_op.armed || out->count == 0) return;
    unsigned n = outbox_take_pieces(out, CONN_SEND_BYTES);
    if (n == 1) {
        op_send(c->worker, &c->send_op, c->fd, out->pieces[0].iov_base, out->pieces[0].iov_len);
        return;
    }
    out->message = (struct msghdr){ .msg_iov = out->pieces, .msg_iovlen = n };
    op_sendmsg(c->worker, &c->send_op, c->fd, &out->message);
}

void conn_limit_unsent(struct conn *c, int bytes)
{
    setsockopt(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

static void sent(struct conn *c, size_t n)
{
    c->sent_bytes += n;
    if (c->tls)
        tls_sent(c->tls, n);
    else
        outbox_drop(c->out, c->worker, n);
    pass_marks(c);
}

static void all_sent(struct conn *c)
{
    outbox_free(&c->out, c->worker);
    if (c->end_owed) shutdown(c->fd, SHUT_WR);
    c->end_owed = false;
    c->ops->drained(c);
}

static void on_send(struct op *op, const struct op_result *r)
{
    struct conn *c = container_of(op, struct conn, send_op);
    if (c->out) c->out->in_flight = 0;
    if (r->result > 0)
        sent(c, (size_t)r->result);
    else if (r->result != -EINTR && r->result != -EAGAIN)
        c->broken = true;
    if (c->broken || conn_queued_bytes(c) == 0) {
        all_sent(c);
    } else if (!c->scope->closing) {
        conn_flush(c);
    }
}

/* ---- ending ---- */

void conn_shutdown(struct conn *c)
{
    if (c->tls) tls_close(c->tls);
    c->end_owed = conn_queued_bytes(c) > 0;
    if (c->end_owed)
        conn_flush(c);
    else
        shutdown(c->fd, SHUT_WR);
}

void conn_reset(struct conn *c)
{
    struct linger hard = { .l_onoff = 1, .l_linger = 0 };
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

void conn_cancel(struct conn *c)
{
    c->reading = false;
    c->into = NULL;
    op_cancel(c->worker, &c->recv_op);
    op_cancel(c->worker, &c->send_op);
}

int conn_take_fd(struct conn *c)
{
    CHECK(!c->recv_op.armed && !c->send_op.armed);
    int fd = c->fd;
    c->fd = -1;
    return fd;
}

void conn_close(struct conn *c)
{
    CHECK(!c->recv_op.armed && !c->send_op.armed);
    CHECK(list_empty(&c->marks) && list_empty(&c->sealed));
    outbox_free(&c->out, c->worker);
    tls_free(&c->tls);
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

uint64_t conn_acknowledged_bytes(const struct conn *c)
{
    struct tcp_info info;
    socklen_t n = sizeof info;
    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0) return 0;
    if (n < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked) return 0;
    return info.tcpi_bytes_acked;
}
