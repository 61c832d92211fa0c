/* query: the parameters of a target, by name and decoded. Pure functions into an arena. */
#ifndef VERGE_EDGE_QUERY_H
#define VERGE_EDGE_QUERY_H

#include "edge/base/arena.h"

struct query_param {
    struct slice name;
    struct slice value; /* percent-escapes decoded ('+' is just that), a NUL behind it; p == NULL
                           where the query does not have it */
};

/* Sets the values of those params the query gives (p == NULL: none). NULL; or, where it has another
 * one, one twice, one without a value, or an escape that is not whole: a sentence that says so. */
const char *query_read(struct slice query, struct query_param *params, size_t count,
                       struct arena *a);

#endif
