#include "edge/base/error.h"
#include "edge/io/worker.h"
#include "protocols/h1/client.h"

#define BODY_BLOCK_MAX (256 * 1024)
#define TAIL_MIN       2048 /* less room than that behind what was read is not worth a system call */

/* ---- where bytes go ---- */

static struct slice unread(const struct h1_client *c)
{
    return c->in ? slice_of(c->in->data + c->at, c->end - c->at) : SLICE_NONE;
}

static size_t room(const struct h1_client *c)
{
    return c->in ? c->in->size_bytes - c->end : 0;
}

/* A body of known length is read into blocks of just its size, so that a stored object has no
 * slack. What follows the head in its block is used where the whole rest fits. */
static bool fits_as_it_is(const struct h1_client *c)
{
    if (c->framing != H1_BODY_LENGTH) return room(c) >= TAIL_MIN;
    return room(c) >= c->left || (room(c) && c->in != c->head_block);
}

/* Otherwise small at first, since most are; then larger. */
static size_t next_size(struct h1_client *c)
{
    if (c->framing == H1_BODY_LENGTH)
        return c->left < BODY_BLOCK_MAX ? (size_t)c->left : BODY_BLOCK_MAX;
    c->block_bytes = c->block_bytes ? c->block_bytes * 4 : WORKER_BLOCK_BYTES;
    if (c->block_bytes > BODY_BLOCK_MAX) c->block_bytes = BODY_BLOCK_MAX;
    return c->block_bytes;
}

static bool make_room(struct h1_client *c)
{
    if (fits_as_it_is(c)) return true;
    size_t size = next_size(c);
    struct block *b = size == WORKER_BLOCK_BYTES ? worker_block(c->conn.worker) : block_new(size);
    if (!b) return false;
    worker_block_put(c->conn.worker, &c->in);
    c->in = b;
    c->at = c->end = 0;
    return true;
}

/* What a server sends behind its head usually has arrived with it. Taken now it goes to the client
 * together with the head, in one send. */
static void read_ahead(struct h1_client *c)
{
    size_t unread = c->end - c->at;
    if (c->framing == H1_BODY_NONE || (c->framing == H1_BODY_LENGTH && c->left <= unread)) return;
    uint64_t rest = c->framing == H1_BODY_LENGTH ? c->left - unread : BODY_BLOCK_MAX / 4;
    c->ahead = block_new(rest < BODY_BLOCK_MAX ? (size_t)rest : BODY_BLOCK_MAX);
    if (!c->ahead) return;
    c->ahead_bytes = conn_recv_now(&c->conn, c->ahead->data, c->ahead->size_bytes);
    if (c->ahead_bytes == 0) worker_block_put(c->conn.worker, &c->ahead);
}

static void use_ahead(struct h1_client *c)
{
    worker_block_put(c->conn.worker, &c->in);
    c->in = c->ahead;
    c->at = 0;
    c->end = c->ahead_bytes;
    c->ahead = NULL;
}

/* ---- pulling ---- */

static enum body_result failed(struct h1_client *c, int error)
{
    c->body.error = error;
    return BODY_FAIL;
}

static enum body_result ended(struct h1_client *c)
{
    c->body_ended = true;
    if (c->framing == H1_BODY_CHUNKED) c->body.trailers = &c->chunked.trailers;
    return BODY_END;
}

/* Never beyond the end of a body whose length is known: what the server sends behind it stays in
 * the socket, where the next use of the connection finds it. */
static enum body_result wait_for_more(struct h1_client *c)
{
    if (!make_room(c)) return failed(c, -E_NO_MEMORY);
    size_t n = room(c);
    if (c->framing == H1_BODY_LENGTH && n > c->left) n = (size_t)c->left;
    c->body_waiting = true;
    conn_recv_into(&c->conn, c->in->data + c->end, n);
    timer_set(&c->conn.worker->wheel, &c->timer,
              worker_now_ms(c->conn.worker) + c->limits.between_bytes_ms);
    return BODY_WAIT;
}

static enum body_result hand_out(struct h1_client *c, struct slice data, struct span *out)
{
    *out = span_of(c->in, (size_t)(data.p - c->in->data), data.n);
    return BODY_DATA;
}

static enum body_result pull_plain(struct h1_client *c, struct span *out)
{
    struct slice data = unread(c);
    if (c->framing == H1_BODY_LENGTH) {
        if (c->left == 0) return ended(c);
        if (data.n > c->left) data.n = (size_t)c->left;
        c->left -= data.n;
    }
    c->at += data.n;
    if (data.n) return hand_out(c, data, out);
    if (!c->conn.read_ended) return wait_for_more(c);
    bool whole = c->framing == H1_BODY_UNTIL_CLOSE && !c->was_reset;
    return whole ? ended(c) : failed(c, -E_RESPONSE_INCOMPLETE);
}

static enum body_result misframed(struct h1_client *c, struct slice at)
{
    struct h1_fault fault = h1_chunked_fault(&c->chunked, at);
    c->ops->faulty(c, -E_RESPONSE_MALFORMED, &fault);
    return failed(c, -E_RESPONSE_MALFORMED);
}

static enum body_result pull_chunked(struct h1_client *c, struct span *out)
{
    struct slice in = unread(c), data;
    size_t before = in.n;
    int what = in.n ? h1_chunked_next(&c->chunked, &in, &data) : H1_CHUNK_MORE;
    c->at += before - in.n;
    switch (what) {
    case H1_CHUNK_DATA: return hand_out(c, data, out);
    case H1_CHUNK_END: return ended(c);
    case H1_CHUNK_MORE: break;
    default: return misframed(c, in);
    }
    if (c->ahead) {
        use_ahead(c);
        return pull_chunked(c, out);
    }
    return c->conn.read_ended ? failed(c, -E_RESPONSE_INCOMPLETE) : wait_for_more(c);
}

static enum body_result pull(struct body *b, struct span *out)
{
    struct h1_client *c = container_of(b, struct h1_client, body);
    if (c->at == c->end && c->ahead) use_ahead(c);
    if (c->read_error) return failed(c, c->read_error);
    if (c->framing == H1_BODY_NONE) return ended(c);
    return c->framing == H1_BODY_CHUNKED ? pull_chunked(c, out) : pull_plain(c, out);
}

/* A puller that knows the length need not ask for the end. */
static void close_body(struct body *b)
{
    struct h1_client *c = container_of(b, struct h1_client, body);
    bool all_taken = c->framing == H1_BODY_NONE || (c->framing == H1_BODY_LENGTH && c->left == 0);
    bool nothing_left = !c->ahead;
    worker_block_put(c->conn.worker, &c->ahead);
    c->body_waiting = false;
    h1_client_finish(c, nothing_left && (c->body_ended || all_taken));
}

static const struct body_ops body_ops = { .pull = pull, .close = close_body };

void h1_client_open_body(struct h1_client *c, const struct h1_response *r)
{
    c->body = (struct body){ .ops = &body_ops };
    c->framing = r->body;
    c->left = r->body == H1_BODY_LENGTH ? (uint64_t)r->msg.length : 0;
    if (r->body == H1_BODY_CHUNKED) h1_chunked_init(&c->chunked, &c->limits.head, &c->arena);
    if (c->conn.nonempty) read_ahead(c);
}

void h1_client_wake_body(struct h1_client *c)
{
    if (!c->body_waiting) return;
    c->body_waiting = false;
    c->body.ready(&c->body);
}
