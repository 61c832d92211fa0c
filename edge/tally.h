/* tally: what a request leaves behind: its share of the metrics, and its line in the access log. On
 * its exchange's worker. */
#ifndef VERGE_EDGE_TALLY_H
#define VERGE_EDGE_TALLY_H

#include "edge/base/verdict.h"
#include "protocols/http/exchange.h"

struct edge;

void tally_begin(const struct exchange *x);
/* The exchange is over. upstream: the server asked last, empty where none was. origin_error: what
 * the origin did although the request was answered, or 0. */
void tally_end(struct edge *e, struct exchange *x, enum verdict verdict, struct slice upstream,
               int origin_error);

#endif
