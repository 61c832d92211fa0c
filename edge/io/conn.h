/* conn: a TCP connection, either side: bytes in, bytes out, one send in flight.
 *
 * Embedded in its protocol's connection, whose scope its operations hold; belongs to that worker.
 * It knows no protocol and has no timers. Received bytes come as slices valid during the callback
 * only, or straight into the owner's memory. Output is a bounded queue of spans; a send takes at
 * most CONN_SEND_BYTES of it, because the kernel then copies from memory that is still in the CPU's
 * cache (a 1 MiB send costs twice as much per byte). */
#ifndef VERGE_IO_CONN_H
#define VERGE_IO_CONN_H

#include "edge/base/block.h"
#include "edge/base/list.h"
#include "edge/io/op.h"

#define CONN_SEND_BYTES (256 * 1024)

struct conn;
struct outbox;
struct tls;

struct conn_ops {
    /* The TLS handshake has ended; what came behind it is data() by now. May be NULL. */
    void (*opened)(struct conn *c);
    /* Bytes arrived; whatever is kept must be copied. */
    void (*data)(struct conn *c, struct slice bytes);
    /* A read of conn_recv_into has n > 0 bytes. */
    void (*filled)(struct conn *c, size_t n);
    /* The peer sends no more: reset is false for a clean end. Nothing is read after that. */
    void (*ended)(struct conn *c, bool reset);
    /* Everything queued was handed to the kernel, or will never be (conn->broken). */
    void (*drained)(struct conn *c);
};

/* A place in the output; its owner's, and on the connection's list until it has passed. */
struct conn_mark {
    struct list link;
    uint64_t at; /* in bytes queued ever; once they are encrypted, in bytes sent ever */
    void (*passed)(struct conn_mark *m);
};

struct conn {
    struct worker *worker;
    struct scope *scope;
    const struct conn_ops *ops;
    struct op recv_op, send_op;
    struct outbox *out; /* while there is something to send */
    struct tls *tls;    /* NULL: bytes go as they are */
    int fd;
    bool reading;    /* bytes are wanted as they come */
    bool multishot;  /* read until told otherwise, or once */
    bool read_ended; /* ended() was called */
    bool broken;     /* a send failed: nothing more can be sent */
    bool nonempty;   /* inside data(): there is more */
    bool end_owed;   /* conn_shutdown waits for TLS's last words to be sent */
    bool paced;      /* TLS as a client: plaintext is given as it is asked for */
    bool inside;     /* plaintext is being given */
    bool noted;      /* more of it will be given, by a note */
    struct note note;
    char *into; /* where what is read next goes, up to into_bytes; NULL: to data() */
    size_t into_bytes;
    uint64_t received_bytes, sent_bytes, queued_bytes; /* ever */
    struct list marks;                                 /* in order */
    struct list sealed; /* with TLS: those whose bytes are encrypted, in order */
};

/* The last descriptors that the process may have are not for connections of clients and to origins:
 * the administrator, logs and the disk need some when those have used up theirs. */
#define CONN_DESCRIPTORS_KEPT 32
/* Whether a connection may keep the descriptor that it got. */
bool conn_may_have(int fd);

/* Takes the descriptor. */
void conn_init(struct conn *c, struct worker *w, struct scope *scope, const struct conn_ops *ops,
               int fd);

/* From now on what is received and sent goes through TLS, whose session it takes. Before the first
 * byte of any other. */
void conn_use_tls(struct conn *c, struct tls *tls);
/* As a client: begins the handshake, once connected. opened() or ended() follows, not from inside.
 * An end that TLS did not announce is a reset then: what ends with the connection may have been cut
 * short by anybody. */
void conn_secure(struct conn *c);
/* Bytes have come that nobody has asked for yet. TLS only: others stay in the socket. */
bool conn_has_unread(const struct conn *c);
/* What the session was fed before it came here is data() now, before this returns. */
void conn_read_fed(struct conn *c);
/* Not before it has ended does anything arrive or leave; false where there is none. */
bool conn_in_handshake(const struct conn *c);

/* Bytes as they come, until conn_recv_stop; a few more may still arrive after that. */
void conn_recv_start(struct conn *c);
/* One data() and no more. */
void conn_recv_once(struct conn *c);
void conn_recv_stop(struct conn *c);
/* One filled(), with 1 to size_bytes bytes at to. No other receive may be armed. */
void conn_recv_into(struct conn *c, void *to, size_t size_bytes);
bool conn_recv_armed(const struct conn *c);
/* Inside data(), where conn->nonempty says that the socket has more: takes of it what fits, at
 * once. 0 where nothing came after all; an end or an error is left to the next receive. */
size_t conn_recv_now(struct conn *c, void *to, size_t size_bytes);

/* Room for n bytes to be written in place at the end of the queue; NULL when the queue is full or
 * memory is out. n may be up to a few pages more than a pooled block. conn_commit says how many
 * were written. */
char *conn_reserve(struct conn *c, size_t n);
void conn_commit(struct conn *c, size_t n);
/* Copies at the end of the queue; false when there is no room. */
bool conn_write(struct conn *c, struct slice bytes);
/* Queues a span, taking the reference. The caller made sure of conn_has_room. */
void conn_push(struct conn *c, struct span *s);
/* Another span and a few small writes fit. */
bool conn_has_room(const struct conn *c);
size_t conn_queued_bytes(const struct conn *c);
/* The kernel holds no more than about so much that was not sent yet: what is queued later and more
 * urgent need not wait behind megabytes. */
void conn_limit_unsent(struct conn *c, int bytes);
/* Calls m->passed, from the loop, at the end of the send with which the kernel takes the last byte
 * that is queued by now; false if it has it already. Not called once the connection is broken.
 * list_remove(&m->link) takes it back. */
bool conn_mark(struct conn *c, struct conn_mark *m);
/* The kernel has not taken yet all it was given. */
bool conn_is_sending(const struct conn *c);
/* Sends what is queued, unless a send is in flight already: its end sends the rest. */
void conn_flush(struct conn *c);

/* Ends our sending side (FIN) once the peer may read everything; call it when drained. */
void conn_shutdown(struct conn *c);
/* Closing will reset, so that nobody takes what was sent for whole. */
void conn_reset(struct conn *c);
/* Asks for the end of everything in flight. */
void conn_cancel(struct conn *c);
/* The descriptor belongs to the caller now; nothing may be armed. */
int conn_take_fd(struct conn *c);
/* Closes the descriptor and frees the queue; only when nothing is armed and no mark is left. */
void conn_close(struct conn *c);

/* Bytes the peer's kernel has acknowledged (TCP_INFO): how far a client really is. 0 where unknown.
 */
uint64_t conn_acknowledged_bytes(const struct conn *c);

#endif
