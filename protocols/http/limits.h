/* limits: what one client connection may cost. Configuration's "limits" block; each wire format
 * enforces them. */
#ifndef VERGE_PROTOCOLS_HTTP_LIMITS_H
#define VERGE_PROTOCOLS_HTTP_LIMITS_H

#include <stddef.h>
#include <stdint.h>

struct http_limits {
    size_t line_bytes, head_bytes;
    unsigned field_count;
    unsigned connections;            /* whole process */
    unsigned connections_per_client; /* from one address, whole process; 0: no limit */
    uint64_t requests_per_connection;
    unsigned streams;           /* requests at a time on one connection (h2, h3) */
    size_t stream_window_bytes; /* of a request's body that may wait here (h2, h3) */
    unsigned handshakes;        /* QUIC's, under way in the whole process, before clients have to
                                   prove their address */
    unsigned wasted_frames;     /* at once on one connection (h2, h3) */
    int64_t header_timeout_ms;  /* first byte of a head to its end */
    int64_t idle_timeout_ms;    /* between requests, and before the first */
    int64_t body_timeout_ms;    /* no byte of a request body for so long */
    int64_t send_timeout_ms;    /* no byte of a response taken for so long */
    int64_t linger_timeout_ms;  /* behind the last response, for what a client still sends */
    int64_t rate_min_bytes;     /* per second, averaged over a body either way; 0: none */
    int64_t rate_grace_ms;      /* before rate_min counts */
};

#endif
