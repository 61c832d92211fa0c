/* etag: entity tags and the preconditions a cache evaluates against a stored response (RFC 9110
 * sections 8.8.3, 13).
 *
 * Pure functions on slices, any thread. */
#ifndef VERGE_PROTOCOLS_HTTP_ETAG_H
#define VERGE_PROTOCOLS_HTTP_ETAG_H

#include "protocols/http/message.h"

struct etag {
    struct slice opaque; /* between the quotes */
    bool weak;
};

/* False where the value is not exactly one entity tag; an unquoted one is not. */
bool etag_parse(struct slice value, struct etag *out);
/* The message's ETag; false where it has none, or not a valid one. */
bool etag_of(const struct fields *f, struct etag *out);
/* Section 8.8.3.2: strong needs both to be strong. */
bool etag_equal_strong(struct etag a, struct etag b);
bool etag_equal_weak(struct etag a, struct etag b);

enum precondition {
    PRECONDITION_PASS,         /* answer as if there were none */
    PRECONDITION_NOT_MODIFIED, /* 304 */
    PRECONDITION_FAILED,       /* 412 */
};

/* Section 13.2.2, with the stored response as the selected representation. If-Unmodified-Since
 * counts only without If-Match, If-Modified-Since only without If-None-Match and only for GET and
 * HEAD; dates that are not valid count as absent; without Last-Modified, If-Modified-Since is held
 * against Date (RFC 9111 section 4.3.2). A stored response that is not 2xx has no preconditions
 * (section 13.2.1). If-Range is range.h's. */
enum precondition precondition_evaluate(const struct request *req, const struct response *stored);

#endif
