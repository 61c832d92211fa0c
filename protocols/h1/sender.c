#include "protocols/h1/sender.h"

#include "edge/base/error.h"
#include "protocols/h1/print.h"

/* Smaller pieces of a body are copied behind the head: one buffer, one send. */
#define COPY_MAX 4096

static void on_ready(struct body *b)
{
    struct h1_sender *s = b->puller;
    s->ready = true;
    s->more(s);
}

void h1_sender_start(struct h1_sender *s, struct conn *conn, struct body *body,
                     enum h1_body framing, int64_t length, void (*more)(struct h1_sender *s))
{
    *s = (struct h1_sender){ .conn = conn,
                             .body = body,
                             .framing = framing,
                             .length_left = length,
                             .ready = true,
                             .more = more };
    if (body) body->ready = on_ready, body->puller = s;
}

void h1_sender_stop(struct h1_sender *s)
{
    body_close(&s->body);
}

static void queue_bytes(struct h1_sender *s, struct span *piece)
{
    s->body_bytes += piece->n;
    if (piece->n <= COPY_MAX && conn_write(s->conn, span_slice(piece)))
        span_release(piece);
    else
        conn_push(s->conn, piece);
}

/* False when memory is out: without its line a chunk must not be sent. */
static bool queue_piece(struct h1_sender *s, struct span *piece)
{
    if (s->framing != H1_BODY_CHUNKED) {
        queue_bytes(s, piece);
        return true;
    }
    char line[H1_CHUNK_LINE_BYTES];
    if (!conn_write(s->conn, slice_of(line, h1_print_chunk_line(line, piece->n)))) return false;
    queue_bytes(s, piece);
    return conn_write(s->conn, SLICE("\r\n"));
}

/* A body longer than announced must not run into the next message. */
static bool fits_length(struct h1_sender *s, const struct span *piece)
{
    if (s->framing != H1_BODY_LENGTH) return true;
    s->length_left -= piece->n;
    return s->length_left >= 0;
}

static bool queue_end(struct h1_sender *s)
{
    if (s->framing == H1_BODY_LENGTH) return s->length_left == 0;
    if (s->framing != H1_BODY_CHUNKED) return true;
    const struct fields *trailers = s->trailers ? s->body->trailers : NULL;
    char *to = conn_reserve(s->conn, h1_last_chunk_size(trailers));
    if (!to) return false;
    conn_commit(s->conn, h1_print_last_chunk(to, trailers));
    return true;
}

int h1_sender_pump(struct h1_sender *s)
{
    while (s->body && s->ready && conn_has_room(s->conn)) {
        struct span piece = { 0 };
        enum body_result result = body_pull(s->body, &piece);
        if (result == BODY_WAIT) {
            s->ready = false;
        } else if (result == BODY_DATA && fits_length(s, &piece) && queue_piece(s, &piece)) {
            continue;
        } else if (result == BODY_END && queue_end(s)) {
            body_close(&s->body);
        } else {
            span_release(&piece);
            return result == BODY_FAIL ? s->body->error : -E_RESPONSE_INCOMPLETE;
        }
    }
    return s->body != NULL;
}
