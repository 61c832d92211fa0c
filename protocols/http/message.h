/* message: a request and a response without a wire format (RFC 9110).
 *
 * Framing (Content-Length, Transfer-Encoding) and Host are not among the fields: the parser turns
 * them into body and authority, and each wire format writes its own. A message belongs to one
 * exchange; its slices live in that exchange's arena, or, for a stored response, in the object. */
#ifndef VERGE_PROTOCOLS_HTTP_MESSAGE_H
#define VERGE_PROTOCOLS_HTTP_MESSAGE_H

#include "protocols/http/field.h"

enum method {
    METHOD_OTHER = 0,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_TRACE,
    METHOD_CONNECT,
    METHOD_PATCH,
    METHOD_QUERY, /* RFC 10008: safe and idempotent, with a body that says what is asked */
};

enum http_version { HTTP_1_0 = 10, HTTP_1_1 = 11, HTTP_2 = 20, HTTP_3 = 30 };

#define LENGTH_UNKNOWN (-1) /* a body whose end only its framing tells */
#define LENGTH_NONE    (-2) /* no body, and no Content-Length either */

struct request {
    enum method method;
    struct slice method_text; /* as received; methods are case-sensitive */
    struct slice scheme;      /* "http" or "https" */
    struct slice authority;   /* host[:port] as received, validated; any case */
    struct slice target;      /* path and query, or "*"; of a site's request in target_key's form */
    enum http_version version;
    int64_t length; /* bytes of body, or LENGTH_UNKNOWN, or LENGTH_NONE */
    struct fields fields;
};

struct response {
    int status;
    int64_t length; /* bytes of the representation (also for HEAD and 304), or LENGTH_UNKNOWN, or
                       LENGTH_NONE */
    /* Fields that come before the others, in both forms: as a list and as ready HTTP/1.1 field
     * lines. A stored response keeps its own that way, so that a hit copies one piece of text.
     * stored is NULL where there are none. */
    const struct fields *stored;
    struct slice lines;
    struct fields fields;
};

enum method method_lookup(struct slice text);
/* RFC 9110 section 9.2.1 and 9.2.2. */
bool method_is_safe(enum method m);
bool method_is_idempotent(enum method m);

/* False where a response to this method with this status never has a body (RFC 9112 section 6.3).
 */
bool status_has_body(enum method m, int status);
/* "Not Found"; "" for a status without a registered phrase. */
struct slice status_phrase(int status);

/* Host without port of a valid authority; brackets of an IPv6 literal stay. */
struct slice authority_host(struct slice authority);
/* RFC 3986 section 3.2.2 and 3.2.3: reg-name, IPv4 or [IPv6], optional port of digits (1 to 65535,
 * or empty), no userinfo, host not empty. IPvFuture is refused: there is no such address. */
bool authority_is_valid(struct slice authority);

/* Path before the first '?', and the query after it (p == NULL where there is no '?'). */
struct slice target_path(struct slice target);
struct slice target_query(struct slice target);

#endif
