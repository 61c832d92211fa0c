/* admin_reply: how the administrative listener answers: a line of text, or a page that is printed
 * first. Nothing it says may be stored. On the exchange's worker. */
#ifndef VERGE_EDGE_ADMIN_REPLY_H
#define VERGE_EDGE_ADMIN_REPLY_H

#include <stdio.h>

#include "protocols/http/exchange.h"

/* Text being printed, in memory of its own. */
struct admin_page {
    FILE *out;
    char *text;
    size_t n;
};

/* text must live as long as the exchange. */
void admin_send_text(struct exchange *x, int status, struct slice text);
void admin_send_json(struct exchange *x, struct slice text);
/* 400, and why. */
void admin_refuse(struct exchange *x, const char *why);
/* 405; allow: the methods there are. */
void admin_refuse_method(struct exchange *x, struct slice allow);
void admin_send_error(struct exchange *x, int error);

/* False where there is no memory. Whoever opens it sends or drops it. */
bool admin_page_open(struct admin_page *p);
size_t admin_page_bytes(struct admin_page *p);
void admin_page_send(struct exchange *x, struct admin_page *p, struct slice type);
void admin_page_drop(struct admin_page *p);

#define ADMIN_JSON SLICE("application/json")

#endif
