/* sender: a body pulled into a connection's queue, framed for HTTP/1.1, either way.
 *
 * Embedded in its connection's owner, who is called by ready when a body that waited has more.
 * Belongs to that worker. */
#ifndef VERGE_PROTOCOLS_H1_SENDER_H
#define VERGE_PROTOCOLS_H1_SENDER_H

#include "edge/io/conn.h"
#include "protocols/h1/parse.h"
#include "protocols/http/body.h"

struct h1_sender {
    struct conn *conn;
    struct body *body; /* NULL: nothing to send, or all is queued */
    enum h1_body framing;
    int64_t length_left;
    bool trailers; /* the other side takes them */
    bool ready;    /* the body said so, or was never asked */
    uint64_t body_bytes;
    void (*more)(struct h1_sender *s);
};

/* Takes the body, which may be NULL. length: for H1_BODY_LENGTH. more is called when pumping makes
 * sense again. */
void h1_sender_start(struct h1_sender *s, struct conn *conn, struct body *body,
                     enum h1_body framing, int64_t length, void (*more)(struct h1_sender *s));
/* Pulls until the queue is full (1), the body waits (1), or all is queued and the body closed (0).
 * Negative: the body's error, or -E_RESPONSE_INCOMPLETE where its length is not what was announced;
 * what was sent is not whole then. */
int h1_sender_pump(struct h1_sender *s);
/* Closes the body, if any. */
void h1_sender_stop(struct h1_sender *s);

#endif
