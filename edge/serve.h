/* serve: a request of a site, step by step from its head to its end. The handler of every exchange
 * of the sites' listeners. */
#ifndef VERGE_EDGE_SERVE_H
#define VERGE_EDGE_SERVE_H

#include "protocols/http/exchange.h"

extern const struct exchange_handler serve_handler;

#endif
