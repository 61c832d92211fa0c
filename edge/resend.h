/* resend: a request's body that can be sent a second time, where its first connection turns out to
 * have gone stale: what was pulled is kept, as spans, until it is too much or an answer comes.
 *
 * Embedded in who sends it; belongs to that worker. The body within is closed by resend_close, or
 * once it is settled that it will not be needed again. */
#ifndef VERGE_EDGE_RESEND_H
#define VERGE_EDGE_RESEND_H

#include "protocols/http/body.h"

#define RESEND_BYTES  65536
#define RESEND_PIECES 64

struct resend {
    struct body body;   /* first: what a connection pulls and closes */
    struct body *inner; /* NULL: closed */
    struct span kept[RESEND_PIECES];
    unsigned kept_count, next; /* next: to be handed out again */
    uint64_t kept_bytes;
    bool lost;    /* it was too much to keep, or is settled */
    bool settled; /* it is sent once only */
    bool open;    /* a connection has it */
    bool ended;   /* inner is at its end */
    bool waiting; /* inner owes a ready */
    bool owing;   /* and so does this */
};

/* Takes inner; gives the body to send. */
struct body *resend_open(struct resend *r, struct body *inner);
/* Whether all that was pulled is there still. */
bool resend_may(const struct resend *r);
/* The body once more, from its start; it was closed by who sent it first. */
struct body *resend_again(struct resend *r);
/* It will not be sent again. */
void resend_settle(struct resend *r);
/* Closes what is inside. Harmless where nothing was opened, or it was closed. */
void resend_close(struct resend *r);

#endif
