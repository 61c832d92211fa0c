#include "protocols/http/message.h"

#include <arpa/inet.h>

#include "protocols/http/value.h"

static const struct {
    struct slice text;
    enum method method;
} methods[] = {
#define METHOD(name)                                                                               \
    {                                                                                              \
        { #name, sizeof(#name) - 1 }, METHOD_##name                                                \
    }
    METHOD(GET),     METHOD(HEAD),  METHOD(POST),    METHOD(PUT),   METHOD(DELETE),
    METHOD(OPTIONS), METHOD(TRACE), METHOD(CONNECT), METHOD(PATCH), METHOD(QUERY),
#undef METHOD
};

enum method method_lookup(struct slice text)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (slice_eq(methods[i].text, text)) return methods[i].method;
    }
    return METHOD_OTHER;
}

bool method_is_safe(enum method m)
{
    return m == METHOD_GET || m == METHOD_HEAD || m == METHOD_OPTIONS || m == METHOD_TRACE ||
           m == METHOD_QUERY;
}

bool method_is_idempotent(enum method m)
{
    return method_is_safe(m) || m == METHOD_PUT || m == METHOD_DELETE;
}

bool status_has_body(enum method m, int status)
{
    if (m == METHOD_HEAD || status < 200 || status == 204 || status == 304) return false;
    return !(m == METHOD_CONNECT && status < 300);
}

struct slice status_phrase(int status)
{
    switch (status) {
#define PHRASE(code, text)                                                                         \
    case code: return SLICE(text)
        PHRASE(100, "Continue");
        PHRASE(101, "Switching Protocols");
        PHRASE(102, "Processing");
        PHRASE(103, "Early Hints");
        PHRASE(200, "OK");
        PHRASE(201, "Created");
        PHRASE(202, "Accepted");
        PHRASE(203, "Non-Authoritative Information");
        PHRASE(204, "No Content");
        PHRASE(205, "Reset Content");
        PHRASE(206, "Partial Content");
        PHRASE(207, "Multi-Status");
        PHRASE(208, "Already Reported");
        PHRASE(226, "IM Used");
        PHRASE(300, "Multiple Choices");
        PHRASE(301, "Moved Permanently");
        PHRASE(302, "Found");
        PHRASE(303, "See Other");
        PHRASE(304, "Not Modified");
        PHRASE(305, "Use Proxy");
        PHRASE(307, "Temporary Redirect");
        PHRASE(308, "Permanent Redirect");
        PHRASE(400, "Bad Request");
        PHRASE(401, "Unauthorized");
        PHRASE(402, "Payment Required");
        PHRASE(403, "Forbidden");
        PHRASE(404, "Not Found");
        PHRASE(405, "Method Not Allowed");
        PHRASE(406, "Not Acceptable");
        PHRASE(407, "Proxy Authentication Required");
        PHRASE(408, "Request Timeout");
        PHRASE(409, "Conflict");
        PHRASE(410, "Gone");
        PHRASE(411, "Length Required");
        PHRASE(412, "Precondition Failed");
        PHRASE(413, "Content Too Large");
        PHRASE(414, "URI Too Long");
        PHRASE(415, "Unsupported Media Type");
        PHRASE(416, "Range Not Satisfiable");
        PHRASE(417, "Expectation Failed");
        PHRASE(421, "Misdirected Request");
        PHRASE(422, "Unprocessable Content");
        PHRASE(423, "Locked");
        PHRASE(424, "Failed Dependency");
        PHRASE(425, "Too Early");
        PHRASE(426, "Upgrade Required");
        PHRASE(428, "Precondition Required");
        PHRASE(429, "Too Many Requests");
        PHRASE(431, "Request Header Fields Too Large");
        PHRASE(451, "Unavailable For Legal Reasons");
        PHRASE(500, "Internal Server Error");
        PHRASE(501, "Not Implemented");
        PHRASE(502, "Bad Gateway");
        PHRASE(503, "Service Unavailable");
        PHRASE(504, "Gateway Timeout");
        PHRASE(505, "HTTP Version Not Supported");
        PHRASE(506, "Variant Also Negotiates");
        PHRASE(507, "Insufficient Storage");
        PHRASE(508, "Loop Detected");
        PHRASE(511, "Network Authentication Required");
#undef PHRASE
    }
    return SLICE("");
}

/* The ':' before a port, or the end; a ':' inside the brackets of an IP-literal is not it. */
static size_t port_at(struct slice authority)
{
    size_t at = authority.n;
    while (at && char_is(authority.p[at - 1], CHAR_DIGIT)) at--;
    return at && authority.p[at - 1] == ':' ? at - 1 : authority.n;
}

struct slice authority_host(struct slice authority)
{
    return slice_of(authority.p, port_at(authority));
}

/* Digits after the ':'; an empty port means the scheme's own (RFC 3986 section 3.2.3). */
static bool port_is_valid(struct slice port)
{
    if (port.n <= 1) return true;
    int64_t number = value_int64(slice_skip(port, 1));
    return number > 0 && number <= 65535;
}

static bool ipv6_is_valid(struct slice address)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr out;
    if (address.n >= sizeof text || slice_find(address, 0) != address.n) return false;
    memcpy(text, address.p, address.n);
    text[address.n] = 0;
    return inet_pton(AF_INET6, text, &out) == 1;
}

/* reg-name, which includes every IPv4 address: unreserved, sub-delims, %XX. But no comma: it more
 * likely stands between two Host lines that somebody made one. */
static bool name_is_valid(struct slice host)
{
    if (slice_find(host, ',') < host.n) return false;
    for (;;) {
        host = slice_skip(host, value_span(host, CHAR_UNRESERVED | CHAR_SUB_DELIM));
        if (host.n == 0) return true;
        bool escape = host.n >= 3 && host.p[0] == '%' && char_is(host.p[1], CHAR_HEX) &&
                      char_is(host.p[2], CHAR_HEX);
        if (!escape) return false;
        host = slice_skip(host, 3);
    }
}

bool authority_is_valid(struct slice authority)
{
    struct slice host = authority_host(authority);
    if (host.n == 0 || !port_is_valid(slice_skip(authority, host.n))) return false;
    if (host.p[0] != '[') return name_is_valid(host);
    return host.p[host.n - 1] == ']' && ipv6_is_valid(slice_of(host.p + 1, host.n - 2));
}

struct slice target_path(struct slice target)
{
    return slice_of(target.p, slice_find(target, '?'));
}

struct slice target_query(struct slice target)
{
    size_t at = slice_find(target, '?');
    return at < target.n ? slice_skip(target, at + 1) : SLICE_NONE;
}
