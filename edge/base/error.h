/* error: the one closed table of reasons (error.def).
 *
 * Functions that can fail return 0 or a count, or -E_NAME. The reason an exchange ended is one such
 * code; status, Proxy-Status, log line and metric label all derive from it. errno does not leave
 * edge/io. */
#ifndef VERGE_BASE_ERROR_H
#define VERGE_BASE_ERROR_H

enum error {
    E_NONE = 0,
#define ERROR(name, status, proxy_status, blame, text) E_##name,
#include "edge/base/error.def"
#undef ERROR
    E_COUNT
};

enum blame { BLAME_CLIENT, BLAME_ORIGIN, BLAME_NODE };

struct error_info {
    const char *name;         /* "connect_timeout": log and metric label */
    int status;               /* answer while nothing was sent; 0: close only */
    const char *proxy_status; /* RFC 9209 error type, or "" */
    enum blame blame;
    const char *text; /* one phrase */
};

/* The line of the table for a code, given as E_NAME or -E_NAME; E_NONE gives {"none", 200, ...}.
 * Any thread. */
const struct error_info *error_info(int code);

#endif
