/* access_log: one line per request, combined or JSON.
 *
 * Each worker has a buffer of its own (32 KiB) that is handed to the sink when it is full and once
 * a second, so a line costs a few hundred nanoseconds and no lock, and a log that cannot be written
 * costs lines, counted, and never a request. */
#ifndef VERGE_EDGE_ACCESS_LOG_H
#define VERGE_EDGE_ACCESS_LOG_H

#include "edge/base/sink.h"
#include "edge/config.h"
#include "protocols/http/exchange.h"

#define ACCESS_LOG_BUFFER_BYTES 32768
#define ACCESS_LOG_FLUSH_MS     1000

/* One worker's. */
struct access_log {
    struct worker *worker;
    struct sink *sink; /* the process's; NULL: no access log */
    enum log_format format;
    char *buffer; /* ACCESS_LOG_BUFFER_BYTES; NULL until the first line */
    size_t n;
    unsigned lines;
    struct timer flush; /* armed while there is something in the buffer */
};

/* What the edge knows of a request besides its exchange. */
struct access_record {
    struct exchange *exchange;
    struct slice client;   /* address as text: the peer's, or what a trusted proxy said */
    const char *verdict;   /* verdict_name() */
    struct slice upstream; /* the server that was asked last, "127.0.0.1:8000"; empty: none */
    int origin_error;      /* of the origin or one of its servers, though the request was answered:
                              stale, or by another server; 0: none */
};

void access_log_init(struct access_log *l, struct worker *w);
/* Takes another sink or format from now on; what is in the buffer goes to the old one first. */
void access_log_set(struct access_log *l, struct sink *sink, enum log_format format);
void access_log_write(struct access_log *l, const struct access_record *r);
void access_log_flush(struct access_log *l);
/* Flushes, disarms and frees. */
void access_log_close(struct access_log *l);

#endif
