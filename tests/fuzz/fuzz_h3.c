/* HTTP/3 from a client: whatever it says on its streams, every exchange that began ends once, and
 * nothing is left behind.
 *
 * The real session on a worker that never runs its loop, over streams that are only memory. The
 * input is a row of steps: bytes on a stream, its end, RESET_STREAM, STOP_SENDING, writing and
 * acknowledging, credit withheld, time that passes. What QUIC itself would not let a client do
 * (speak on after the end of a stream) is left out. */
#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/list.h"
#include "protocols/h3/session.h"

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
        if (over || p.stream < 0) return;
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
}

static void acknowledge(struct h3_session *s, int64_t id)
{
    uint64_t n = streams[id].written - streams[id].acked;
    if (n == 0 || streams[id].closed || streams[id].server_done) return;
    if (n > 1000) n = n / 2;
    streams[id].acked += n;
    judge(h3_session_acked(s, id, n));
}

/* ---- an edge that answers with what the path says ---- */

struct answer {
    struct body body;
    struct exchange *x;
    struct note wake;
    const char *script; /* 'd' data, 'w' wait, 'f' failure, else the end */
    bool waiting, reading;
};

static unsigned begun, ended;

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
    case 'f': b->error = -E_ORIGIN_RESET; return BODY_FAIL;
    default: return BODY_END;
    }
}

static void close_body(struct body *b)
{
    container_of(b, struct answer, body)->waiting = false;
}

static const struct body_ops answer_ops = { pull, close_body };

static void read_request(struct body *b)
{
    struct answer *a = b->puller;
    struct span piece;
    enum body_result r;
    while (a->reading && (r = body_pull(b, &piece)) != BODY_WAIT) {
        if (r == BODY_DATA)
            span_release(&piece);
        else
            a->reading = false;
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
    a->script = arena_copy(&x->arena, slice_skip(x->request.target, x->request.target.n > 0)).p;
    a->reading = x->request_body;
    if (x->request_body) {
        x->request_body->ready = read_request;
        x->request_body->puller = a;
        read_request(x->request_body);
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
    if (a) a->reading = false;
    if (x->request_body) body_close(&x->request_body);
}

static const struct exchange_handler handler = { begin, reject, end };

/* ---- a run ---- */

static void run_notes(struct worker *w)
{
    while (w->deferred) {
        struct note *n = w->deferred;
        w->deferred = n->next;
        if (!w->deferred) w->deferred_end = &w->deferred;
        n->run(n);
    }
}

static void let_time_pass(struct worker *w, int64_t ms)
{
    w->now_us += ms * 1000;
    wheel_advance(&w->wheel, worker_now_ms(w));
    run_notes(w);
}

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

enum step { DATA, DATA_FIN, RESET, STOP, WRITE, ACK, CREDIT, TIME };

/* A byte for the step and the stream's kind and number; for bytes, another with how many. */
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
        case TIME: let_time_pass(w, 50 << (what >> 4) % 8); break;
        }
        in = slice_skip(in, n);
        run_notes(w);
        for (int64_t i = 0; i < STREAMS; i++) close_if_done(s, i);
        run_notes(w);
    }
}

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

static bool idle;

static void on_idle(struct scope *s)
{
    (void)s;
    idle = true;
}

static void on_closed(struct http_service *service, const struct peer *peer)
{
    (void)service, (void)peer;
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
    run_notes(&w);
    CHECK(idle && begun == ended);
    h3_session_free(&session);
    http_connection_leave(&client);
    while (w.free_block_count) block_release(w.free_blocks[--w.free_block_count]);
    return 0;
}
