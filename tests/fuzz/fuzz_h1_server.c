/* HTTP/1.1 from a client: whatever the bytes and however they come, every exchange that began ends
 * once, nothing is left behind, and what the client is sent begins as HTTP does.
 *
 * The real server on a worker that never runs its loop, over a connection that is only memory. The
 * first two bytes say how the rest is cut and what happens between the pieces: the turn ends, the
 * edge does something within it, the clock jumps, the client takes nothing, or is gone. */
#include "tests/fuzz/memory_conn.h"
#include "tests/fuzz/scripted_edge.h"

#include "protocols/h1/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum between { TURN_ENDS, EDGE_ACTS, EDGE_ACTS_AND_TURN_ENDS, NOTHING };

static size_t taken_bytes;

static void took(struct slice bytes)
{
    static const char begins[] = "HTTP/1.1 ";
    for (size_t i = 0; taken_bytes + i < sizeof begins - 1 && i < bytes.n; i++)
        CHECK(bytes.p[i] == begins[taken_bytes + i]);
    taken_bytes += bytes.n;
}

static void play(struct worker *w, struct slice in, unsigned how, unsigned order)
{
    size_t step = how % 32 * 16 + 1, half = in.n / 2;
    for (unsigned i = 0; in.n && wire.conn; i++) {
        size_t n = in.n < step ? in.n : step;
        enum between between = order >> i % 4 * 2 & 3;
        wire.stopped = how & 32 && in.n < half;
        wire.in = slice_of(wire.in.n ? wire.in.p : in.p, wire.in.n + n);
        in = slice_skip(in, n);
        deliver();
        if (between == EDGE_ACTS || between == EDGE_ACTS_AND_TURN_ENDS) edge_acts();
        if (between == TURN_ENDS || between == EDGE_ACTS_AND_TURN_ENDS) end_turn(w);
        if (how & 64) let_time_pass(w, 100);
    }
}

/* The client has said all: it takes its answers, or sending to it fails, or a reset comes. */
static void finish(struct worker *w, unsigned how)
{
    wire.stopped = false;
    if (how & 128) peer_breaks();
    wire.ended = true;
    wire.was_reset = how & 32;
    for (unsigned i = 0; wire.conn && i < 100; i++) {
        edge_acts();
        end_turn(w);
        if (i > 50) let_time_pass(w, 1000);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct worker w;
    struct http_service service;
    unsigned how = size ? data[0] : 0, order = size > 1 ? data[1] : 0;
    begun = ended = 0;
    taken_bytes = 0;
    wire.took = took;
    worker_init(&w, 0);
    http_service_init(&service, &w, &handler, &limits, on_closed);
    h1_server_start(&service, -1, &(struct peer){ 0 }, NULL, 0);
    if (size > 2) play(&w, slice_of((const char *)data + 2, size - 2), how, order);
    finish(&w, how);
    CHECK(!wire.conn && list_empty(&pending) && service.connection_count == 0 && begun == ended);
    while (w.free_block_count) block_release(w.free_blocks[--w.free_block_count]);
    return 0;
}
