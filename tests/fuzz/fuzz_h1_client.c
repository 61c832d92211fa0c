/* HTTP/1.1 from an origin server: whatever the bytes and however they come, each request gets one
 * head or one failure, a body of known length that ends is that long, nothing comes after close,
 * and nothing is left behind.
 *
 * The real client on a worker that never runs its loop, over a connection that is only memory. The
 * first four bytes say how the rest is cut, what happens between the pieces, what is asked, and how
 * the response is pulled. */
#include <netinet/in.h>

#include "tests/fuzz/memory_conn.h"

#include "edge/base/error.h"
#include "edge/base/mem.h"
#include "protocols/h1/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How the client asks whether a connection that was kept has something already. */
ssize_t recv(int fd, void *to, size_t n, int flags)
{
    (void)fd, (void)to, (void)n, (void)flags;
    errno = EAGAIN;
    return wire.in.n ? 1 : wire.ended ? 0 : -1;
}

static const struct h1_client_limits limits = {
    .connect_ms = 1000,
    .first_byte_ms = 1000,
    .between_bytes_ms = 1000,
    .idle_ms = 5000,
    .interim_ms = 3000,
    .interim_bytes = 4096,
    .head = { .line_bytes = 256, .head_bytes = 2048, .field_count = 16 }
};

/* ---- a request's body: some pieces, waits between them, then its end or a failure ---- */

static struct upload {
    struct body body;
    unsigned pieces;
    bool fails, waits, open;
} upload;

static enum body_result upload_pull(struct body *b, struct span *out)
{
    CHECK(upload.open && !upload.waits);
    if (upload.pieces == 0) {
        b->error = -E_CLIENT_GONE;
        return upload.fails ? BODY_FAIL : BODY_END;
    }
    if (upload.pieces-- % 2) {
        upload.waits = true;
        return BODY_WAIT;
    }
    struct block *block = block_new(5000);
    memset(block->data, 'x', 5000);
    *out = span_of(block, 0, 5000);
    block_release(block);
    return BODY_DATA;
}

static void upload_close(struct body *b)
{
    (void)b;
    CHECK(upload.open);
    upload.open = upload.waits = false;
}

static const struct body_ops upload_ops = { upload_pull, upload_close };

static struct body *open_upload(unsigned how)
{
    upload = (struct upload){
        .body = { .ops = &upload_ops }, .pieces = how % 8, .fails = how & 8, .open = true
    };
    return &upload.body;
}

/* ---- its user ---- */

enum use { USE_NONE, USE_CONNECTING, USE_ASKED, USE_READING, USE_IDLE };

static struct {
    struct h1_client *client; /* NULL once it was told to close */
    enum use use;
    struct body *body;
    bool ready, closed;
    int64_t length, read_bytes;
    unsigned asked, what, pulls;
} user;

static void give_up(void)
{
    if (user.body) {
        user.use = USE_NONE;
        body_close(&user.body);
    }
    h1_client_close(&user.client);
    user.use = USE_NONE;
}

static void ask(void)
{
    static const enum method methods[] = { METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT };
    struct request r = { .method = methods[user.what % 4],
                         .method_text = SLICE("GET"),
                         .target = SLICE("/"),
                         .authority = SLICE("a.example"),
                         .length = LENGTH_NONE };
    bool has_body = user.what & 4;
    if (has_body) r.length = user.what & 8 ? LENGTH_UNKNOWN : 5000 * (int64_t)(user.what >> 4 & 3);
    struct body *body = has_body ? open_upload(user.what >> 4) : NULL;
    user.use = USE_ASKED;
    user.asked++;
    if (h1_client_request(user.client, &r, body, user.what & 64, NULL)) return;
    if (body) body_close(&body);
    give_up();
}

static void on_connected(struct h1_client *c, int error)
{
    CHECK(user.use == USE_CONNECTING && c == user.client);
    if (error)
        give_up();
    else
        ask();
}

static void on_interim(struct h1_client *c, const struct response *r)
{
    CHECK(user.use == USE_ASKED && c == user.client && r->status > 100 && r->status < 200);
}

static void on_ready(struct body *b)
{
    CHECK(b == user.body && !user.ready);
    user.ready = true;
}

static void on_head(struct h1_client *c, const struct h1_response *r)
{
    CHECK(user.use == USE_ASKED && c == user.client && r->msg.status >= 200);
    user.use = USE_READING;
    user.body = &c->body;
    user.body->ready = on_ready;
    user.ready = true;
    user.length = r->body == H1_BODY_LENGTH ? r->msg.length : -1;
    user.read_bytes = 0;
}

static void on_failed(struct h1_client *c, int error)
{
    CHECK(user.use == USE_ASKED && c == user.client && error < 0);
    give_up();
}

static void on_done(struct h1_client *c, bool reusable)
{
    CHECK(c == user.client || !user.client);
    if (user.use != USE_READING) return; /* it is being given up */
    user.use = USE_IDLE;
    if (!reusable) give_up();
}

static void on_faulty(struct h1_client *c, int error, const struct h1_fault *fault)
{
    CHECK(c == user.client && error < 0 && fault->rule && fault->bytes.n <= H1_FAULT_BYTES);
}

static void on_lost(struct h1_client *c)
{
    CHECK(user.use == USE_IDLE && c == user.client);
    give_up();
}

static void on_closed(struct h1_client *c)
{
    (void)c;
    CHECK(!user.client && !user.closed && !upload.open);
    user.closed = true;
}

static const struct h1_client_ops ops = { .connected = on_connected,
                                          .interim = on_interim,
                                          .head = on_head,
                                          .faulty = on_faulty,
                                          .failed = on_failed,
                                          .done = on_done,
                                          .lost = on_lost,
                                          .closed = on_closed };

/* To the end, or as often as the input says. */
static void read_response(unsigned pulls)
{
    while (user.body && user.ready && pulls--) {
        struct span piece = { 0 };
        enum body_result r = body_pull(user.body, &piece);
        if (r == BODY_WAIT) {
            user.ready = false;
            continue;
        }
        if (r == BODY_DATA) {
            CHECK(piece.n);
            user.read_bytes += (int64_t)piece.n;
            span_release(&piece);
            continue;
        }
        CHECK(r != BODY_END || user.length < 0 || user.read_bytes == user.length);
        body_close(&user.body);
    }
}

static void act(unsigned how)
{
    if (upload.waits) {
        upload.waits = false;
        upload.body.ready(&upload.body);
    }
    read_response(how & 128 ? 1 : 1000);
    if (user.use == USE_IDLE && user.asked < 4) ask();
}

/* ---- a run ---- */

enum between { TURN_ENDS, USER_ACTS, USER_ACTS_AND_TURN_ENDS, NOTHING };

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
        if (between == USER_ACTS || between == USER_ACTS_AND_TURN_ENDS) act(how);
        if (between == TURN_ENDS || between == USER_ACTS_AND_TURN_ENDS) end_turn(w);
        w->now_us += 1000;
        if (how & 64) w->now_us += 100000, wheel_advance(&w->wheel, worker_now_ms(w));
    }
}

static void finish(struct worker *w, unsigned how)
{
    wire.stopped = false;
    if (how & 128) peer_breaks();
    wire.ended = true;
    wire.was_reset = how & 32;
    for (unsigned i = 0; wire.conn && i < 50; i++) {
        act(0);
        end_turn(w);
        if (i == 40) give_up();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct worker w;
    struct sockaddr_in to = { .sin_family = AF_INET };
    if (size < 4) return 0;
    worker_init(&w, 0);
    memset(&user, 0, sizeof user);
    upload.open = upload.waits = false;
    user.what = data[2];
    user.use = USE_CONNECTING;
    user.client =
        h1_client_connect(&w, (struct sockaddr *)&to, sizeof to, NULL, &limits, &ops, NULL, NULL);
    CHECK(user.client);
    end_connect(data[3] % 8 ? 0 : -ECONNREFUSED);
    play(&w, slice_of((const char *)data + 4, size - 4), data[0], data[1]);
    finish(&w, data[0]);
    CHECK(!wire.conn && user.closed && !upload.open);
    while (w.free_block_count) block_release(w.free_blocks[--w.free_block_count]);
    return 0;
}
