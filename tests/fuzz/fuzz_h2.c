/* HTTP/2 from a client: whatever the bytes, every exchange that began ends once, nothing is left
 * behind, and what the client is sent is made of whole frames.
 *
 * The real server on a worker that never runs its loop, over a connection that is only memory: what
 * edge/io/conn.c would do is done here. Between two pieces of input the turn ends, and sometimes
 * the clock jumps; or it goes on, and the edge does something in between. */
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/list.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/io/conn.h"
#include "protocols/h2/server.h"
#include "tests/fuzz/scripted_edge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- a connection in memory ---- */

static struct {
    struct conn *conn;
    char queue[512 * 1024];
    size_t queued, frame_left;
    char head[9]; /* of the frame that is being read */
    size_t head_n;
    bool stopped; /* the client reads nothing */
} wire;

void conn_init(struct conn *c, struct worker *w, struct scope *scope, const struct conn_ops *ops,
               int fd)
{
    *c = (struct conn){ .worker = w, .scope = scope, .ops = ops, .fd = fd };
    wire.conn = c;
    wire.queued = wire.frame_left = wire.head_n = 0;
}

void conn_use_tls(struct conn *c, struct tls *tls)
{
    (void)c, (void)tls;
}

void conn_read_fed(struct conn *c)
{
    (void)c;
}

void conn_limit_unsent(struct conn *c, int bytes)
{
    (void)c, (void)bytes;
}

void conn_recv_start(struct conn *c)
{
    c->reading = true;
}

void conn_recv_stop(struct conn *c)
{
    c->reading = false;
}

bool conn_has_room(const struct conn *c)
{
    (void)c;
    return wire.queued < 128 * 1024;
}

size_t conn_queued_bytes(const struct conn *c)
{
    (void)c;
    return wire.queued;
}

char *conn_reserve(struct conn *c, size_t n)
{
    (void)c;
    return sizeof wire.queue - wire.queued < n ? NULL : wire.queue + wire.queued;
}

void conn_commit(struct conn *c, size_t n)
{
    (void)c;
    wire.queued += n;
}

bool conn_write(struct conn *c, struct slice bytes)
{
    char *to = conn_reserve(c, bytes.n);
    if (!to) return false;
    memcpy(to, bytes.p, bytes.n);
    conn_commit(c, bytes.n);
    return true;
}

/* Only whole frames, none larger than a client must take. */
static void read_frames(void)
{
    for (size_t i = 0; i < wire.queued; i++) {
        if (wire.frame_left) {
            wire.frame_left--;
            continue;
        }
        wire.head[wire.head_n++] = wire.queue[i];
        if (wire.head_n < sizeof wire.head) continue;
        const uint8_t *h = (const uint8_t *)wire.head;
        wire.frame_left = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2];
        wire.head_n = 0;
        CHECK(wire.frame_left <= 16384);
    }
    wire.queued = 0;
}

void conn_flush(struct conn *c)
{
    (void)c;
}

void conn_shutdown(struct conn *c)
{
    (void)c;
}

void conn_reset(struct conn *c)
{
    (void)c;
}

void conn_cancel(struct conn *c)
{
    c->reading = false;
}

void conn_close(struct conn *c)
{
    CHECK(c == wire.conn);
    wire.conn = NULL;
}

bool conn_mark(struct conn *c, struct conn_mark *m)
{
    (void)c, (void)m;
    return false; /* the kernel has it already */
}

uint64_t conn_acknowledged_bytes(const struct conn *c)
{
    (void)c;
    return 0;
}

/* ---- a run ---- */

static void client_reads(void)
{
    if (!wire.conn || wire.stopped || wire.queued == 0) return;
    read_frames();
    wire.conn->ops->drained(wire.conn);
}

enum between { TURN_ENDS, NOTHING, EDGE_ACTS, EDGE_ACTS_AND_TURN_ENDS };

static void end_turn(struct worker *w)
{
    worker_run_notes(w);
    client_reads();
    worker_run_notes(w);
}

/* Of what is random in the input: how it is cut, and what happens between the pieces, in turn. */
static void play(struct worker *w, const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    unsigned step = size ? data[0] % 64u * 16 + 1 : 1;
    wire.conn->ops->data(wire.conn, slice_of(preface, sizeof preface - 1));
    unsigned pieces = 0;
    for (size_t at = 2; at < size && wire.conn; at += step) {
        size_t n = size - at < step ? size - at : step;
        enum between between = data[1] >> pieces++ % 4 * 2 & 3;
        wire.stopped = data[0] & 64 && at > size / 2;
        wire.conn->ops->data(wire.conn, slice_of((const char *)data + at, n));
        if (between >= EDGE_ACTS) edge_acts();
        if (between % EDGE_ACTS_AND_TURN_ENDS == 0) end_turn(w);
        if (data[0] & 128) let_time_pass(w, 100);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct worker w;
    struct http_service service;
    begun = ended = 0;
    wire.stopped = false;
    worker_init(&w, 0);
    http_service_init(&service, &w, &handler, &limits, on_closed);
    h2_server_start(&service, -1, &(struct peer){ 0 }, NULL, 0);
    play(&w, data, size);
    worker_run_notes(&w);
    if (wire.conn) wire.conn->ops->ended(wire.conn, false);
    worker_run_notes(&w);
    CHECK(!wire.conn && list_empty(&pending) && service.connection_count == 0 && begun == ended);
    while (w.free_block_count) block_release(w.free_blocks[--w.free_block_count]);
    return 0;
}
