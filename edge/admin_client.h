/* admin_client: asks a node's administrative listener, for the command line: one request on a
 * connection of its own, blocking, with a time limit. No part of a node.
 *
 * What goes wrong is said on standard error, in one sentence. */
#ifndef VERGE_EDGE_ADMIN_CLIENT_H
#define VERGE_EDGE_ADMIN_CLIENT_H

#include "edge/base/slice.h"

struct admin_answer {
    int status;
    char *text;        /* the whole response, the caller's to free */
    struct slice body; /* in it */
};

/* address: HOST:PORT, IPv6 in brackets. False where there is no whole answer. */
bool admin_ask(const char *address, const char *method, const char *target,
               struct admin_answer *out);

#endif
