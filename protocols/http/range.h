/* range: byte ranges of a representation (RFC 9110 section 14) and the condition on them
 * (section 13.1.5).
 *
 * Pure functions, any thread. The number of ranges is bounded, and a set that only makes work
 * (section 17.15) is treated as if there were no Range at all, which answers with the whole
 * representation. */
#ifndef VERGE_PROTOCOLS_HTTP_RANGE_H
#define VERGE_PROTOCOLS_HTTP_RANGE_H

#include "protocols/http/message.h"

enum { RANGES_MAX = 16 }; /* more in one request than any client in good faith asks for */

struct range {
    int64_t first, last; /* both included; 0 <= first <= last < length */
};

enum range_result {
    RANGE_NONE,          /* no Range, or one to ignore: 200 */
    RANGE_SATISFIABLE,   /* 206 */
    RANGE_UNSATISFIABLE, /* 416 */
};

/* One range as written; -1 for a side that is absent: without first it is the last so many bytes.
 */
struct range_spec {
    int64_t first, last;
};

struct ranges {
    unsigned count;
    struct range v[RANGES_MAX]; /* in the order asked for; no two overlap or touch */
};

/* A Range value against a representation of length bytes (known, so >= 0). Unit other than bytes,
 * syntax errors and more than RANGES_MAX ranges give RANGE_NONE; ranges that overlap or touch are
 * made one, in the place of the first. */
enum range_result range_parse(struct slice value, int64_t length, struct ranges *out);

/* A Range value that asks for a single range of bytes, of whatever length the representation may
 * be; false for any other. */
bool range_parse_single(struct slice value, struct range_spec *out);

/* May the Range of this request be applied to the stored response: no If-Range, or one that names
 * it by strong entity tag, or by exactly its Last-Modified where that is a strong validator
 * (section 8.8.2.2)? */
bool range_condition_holds(const struct request *req, const struct response *stored);

struct content_range {
    int64_t first, last; /* -1 for the unsatisfied form */
    int64_t length;      /* -1 for "*" */
};

/* Section 14.4: "bytes 0-4/10", the same with "*" for an unknown length, or with "*" for an
 * unsatisfied range. False where it is malformed or inconsistent. */
bool content_range_parse(struct slice value, struct content_range *out);
/* The same as text in the arena. */
struct slice content_range_format(struct content_range r, struct arena *a);

#endif
