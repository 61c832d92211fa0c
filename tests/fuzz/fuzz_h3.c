/* HTTP/3 from a client: whatever it says on its streams, every exchange that began ends once, and
 * nothing is left behind.
 *
 * The real session on a worker that never runs its loop, over streams that are only memory. The
 * input is a row of steps: bytes on a stream, its end, RESET_STREAM, STOP_SENDING, writing and
 * acknowledging, credit withheld, time that passes, and what the edge does meanwhile. After each
 * the turn ends, or goes on. What QUIC itself would not let a client do (speak on after the end of
 * a stream) is left out. */
#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/list.h"
#include "protocols/h3/session.h"
#include "tests/fuzz/scripted_edge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STREAMS 32 /* of any kind: four IDs belong to eight of each */

/* ---- streams in memory ---- */

static struct {
    bool opened, client_done, server_done, fin, blocked, closed;
    uint64_t written, acked;
} streams[STREAMS];

static int64_t next_uni;
static bool over;

static bool transport_open(struct h3_session *s, int64_t *id)
{
    (void)s;
    *id = next_uni;
    next_uni += 4;
    streams[*id].opened = true;
    return true;
}

static void transport_received(struct h3_session *s, size_t n)
{
    (void)s, (void)n;
}

static void transport_consumed(struct h3_session *s, int64_t id, size_t n)
{
    (void)s, (void)n;
    CHECK(id >= 0 && id < STREAMS);
}

static void transport_reset(struct h3_session *s, int64_t id, uint64_t code)
{
    (void)s;
    CHECK(id >= 0 && id < STREAMS && !streams[id].closed && code >= NGHTTP3_H3_NO_ERROR);
    streams[id].server_done = true;
}

static void transport_stop(struct h3_session *s, int64_t id, uint64_t code)
{
    (void)s, (void)code;
    CHECK(id >= 0 && id < STREAMS && !streams[id].closed);
}

static void nothing(struct h3_session *s)
{
    (void)s;
}

static const struct h3_transport_ops transport = { .open = transport_open,
                                                   .received = transport_received,
                                                   .consumed = transport_consumed,
                                                   .reset = transport_reset,
                                                   .stop = transport_stop,
                                                   .released = nothing,
                                                   .wake = nothing };

static void judge(int code)
{
    if (code) over = true;
}

static void close_if_done(struct h3_session *s, int64_t id)
{
    bool all_acked = streams[id].fin && streams[id].acked == streams[id].written;
    if (streams[id].closed || over || !streams[id].client_done) return;
    if (!streams[id].server_done && !all_acked) return;
    streams[id].closed = true;
    judge(h3_session_closed(s, id, 0));
}

static void write_pieces(struct h3_session *s, unsigned most)
{
    for (unsigned i = 0; i < most && !over; i++) {
        struct h3_piece p;
        judge(h3_session_next(s, &p));
        if (over || p.stream < 0) break;
        CHECK(p.stream < STREAMS && !streams[p.stream].closed && !streams[p.stream].fin);
        size_t n = p.bytes < 1200 ? p.bytes : 1200;
        if (streams[p.stream].server_done) {
            h3_session_dead(s, p.stream);
        } else if (streams[p.stream].blocked) {
            h3_session_blocked(s, p.stream);
        } else {
            streams[p.stream].written += n;
            streams[p.stream].fin = p.fin && n == p.bytes;
            judge(h3_session_wrote(s, &p, n));
        }
    }
    h3_session_sent(s);
}

static void acknowledge(struct h3_session *s, int64_t id)
{
    uint64_t n = streams[id].written - streams[id].acked;
    if (n == 0 || streams[id].closed || streams[id].server_done) return;
    if (n > 1000) n = n / 2;
    streams[id].acked += n;
    judge(h3_session_acked(s, id, n));
}

/* ---- a run ---- */

static void receive(struct h3_session *s, int64_t id, struct slice bytes, bool fin)
{
    if (streams[id].client_done || streams[id].closed) return;
    streams[id].opened = true;
    streams[id].client_done = fin;
    if (id % 4 == 2) streams[id].server_done = true; /* it has no side of ours */
    judge(h3_session_receive(s, id, bytes, fin));
}

static void reset(struct h3_session *s, int64_t id)
{
    if (!streams[id].opened || streams[id].client_done || streams[id].closed) return;
    streams[id].client_done = true;
    judge(h3_session_reset(s, id));
}

static void stop(struct h3_session *s, int64_t id)
{
    if (id % 4 || !streams[id].opened || streams[id].server_done || streams[id].closed) return;
    if (streams[id].fin) return;
    streams[id].server_done = true; /* QUIC answers with RESET_STREAM by itself */
    judge(h3_session_stopped(s, id));
}

static void withhold(struct h3_session *s, int64_t id)
{
    if (id % 4 || !streams[id].opened || streams[id].closed) return;
    streams[id].blocked = !streams[id].blocked;
    if (!streams[id].blocked) h3_session_unblocked(s, id);
}

enum step { DATA, DATA_FIN, RESET, STOP, WRITE, ACK, CREDIT, TIME_OR_EDGE };

/* A byte for the step and the stream's kind and number, its highest bit for a turn that goes on;
 * for bytes, another with how many. */
static void play(struct worker *w, struct h3_session *s, struct slice in)
{
    while (in.n && !over) {
        uint8_t what = (uint8_t)in.p[0];
        int64_t id = (what >> 4) * 4 % STREAMS + (what & 8 ? 2 : 0);
        in = slice_skip(in, 1);
        size_t n = 0;
        switch ((enum step)(what & 7)) {
        case DATA:
        case DATA_FIN:
            n = in.n ? (uint8_t)in.p[0] + 1u : 0;
            if (n > in.n) n = in.n;
            if (n) receive(s, id, slice_of(in.p + 1, n - 1), (what & 7) == DATA_FIN);
            break;
        case RESET: reset(s, id); break;
        case STOP: stop(s, id); break;
        case WRITE: write_pieces(s, 1u + (what >> 4) * 4u); break;
        case ACK: acknowledge(s, id); break;
        case CREDIT: withhold(s, id); break;
        case TIME_OR_EDGE:
            if (what & 8)
                edge_acts();
            else
                let_time_pass(w, 50 << (what >> 4) % 8);
            break;
        }
        in = slice_skip(in, n);
        if (what & 128) continue;
        worker_run_notes(w);
        for (int64_t i = 0; i < STREAMS; i++) close_if_done(s, i);
        worker_run_notes(w);
    }
}

static bool idle;

static void on_idle(struct scope *s)
{
    (void)s;
    idle = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_connection_ops no_ops;
    static struct worker w;
    struct http_service service;
    struct http_connection client;
    struct h3_session session;
    struct scope scope;
    memset(streams, 0, sizeof streams);
    begun = ended = 0;
    over = idle = false;
    next_uni = 3;
    worker_init(&w, 0);
    http_service_init(&service, &w, &handler, &limits, on_closed);
    http_connection_enter(&client, &no_ops, &service, &(struct peer){ 0 });
    scope_init(&scope, &w, on_idle);
    h3_session_init(&session, &transport, &client, &scope);
    CHECK(h3_session_start(&session) == 0);
    h3_session_streams(&session, limits.streams);
    play(&w, &session, slice_of((const char *)data, size));
    h3_session_abort(&session, -E_CLIENT_GONE);
    scope_close(&scope);
    worker_run_notes(&w);
    CHECK(idle && list_empty(&pending) && begun == ended);
    h3_session_free(&session);
    http_connection_leave(&client);
    while (w.free_block_count) block_release(w.free_blocks[--w.free_block_count]);
    return 0;
}
