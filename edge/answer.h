/* answer: what the node itself says: Cache-Status (RFC 9211), Proxy-Status (RFC 9209), its error
 * pages, and small bodies made of text. Pure functions into an arena. */
#ifndef VERGE_EDGE_ANSWER_H
#define VERGE_EDGE_ANSWER_H

#include "protocols/http/body.h"
#include "protocols/http/message.h"

/* Why a request was forwarded (RFC 9211 section 2.2). */
enum forward_reason {
    FWD_NONE, /* it was not */
    FWD_BYPASS,
    FWD_METHOD,
    FWD_URI_MISS,
    FWD_VARY_MISS,
    FWD_MISS,
    FWD_REQUEST,
    FWD_STALE,
    FWD_PARTIAL,
};

struct cache_status {
    bool hit; /* answered from the cache. RFC 9211 lets a member tell only one of hit and fwd: with
                 fwd, as after a 304, this goes untold */
    enum forward_reason fwd;
    int fwd_status; /* the origin's; 0: none */
    bool stored, collapsed;
    bool has_ttl;
    int64_t ttl_s;      /* may be negative */
    struct slice key;   /* of key_readable(): printable ASCII; empty: not told */
    const char *detail; /* a token; NULL: none */
};

/* "verge; hit; ttl=59": this node's member, to be appended to what the response already has. */
struct slice cache_status_text(const struct cache_status *s, struct arena *a);
/* "verge; error=connection_refused", empty where the error has no type of RFC 9209 section 2.3.
 * error as in error_info(). */
struct slice proxy_status_text(int error, struct arena *a);
/* The error page of an error: status, Date, Content-Type, Cache-Control: no-store, Proxy-Status
 * where there is one, and a line of text with the status and the error's phrase; length is the
 * text's. *body is to be sent after it. now_s: wall clock. Status 0 counts as 500. */
void answer_error(int error, int64_t now_s, struct arena *a, struct response *out,
                  struct body **body);

/* Adds Date. */
void answer_date(struct response *r, int64_t now_s, struct arena *a);

/* A body of text; it lives in the arena, and the text must outlive it. Never waits. It fails with
 * -E_NO_MEMORY where there is no block for its one span. */
struct body *text_body(struct slice text, struct arena *a);

#endif
