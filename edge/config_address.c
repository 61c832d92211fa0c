/* Addresses as the configuration writes them. */
#include <arpa/inet.h>

#include "edge/config_builder.h"

#define HOST_NAME_MAX_BYTES 253 /* RFC 1035 section 2.3.4, as text */

static bool read_port(struct slice text, uint16_t *out)
{
    uint64_t n;
    if (!config_read_digits(text, 65535, &n) || n == 0) return false;
    *out = (uint16_t)n;
    return true;
}

/* Text without its NUL to inet_pton. */
static bool read_address(int family, struct slice text, void *out)
{
    char buffer[INET6_ADDRSTRLEN];
    if (text.n >= sizeof buffer || slice_find(text, 0) != text.n) return false;
    memcpy(buffer, text.p, text.n);
    buffer[text.n] = 0;
    return inet_pton(family, buffer, out) == 1;
}

/* Where the last c is, or n. */
static size_t find_last(struct slice text, char c)
{
    for (size_t i = text.n; i > 0; i--) {
        if (text.p[i - 1] == c) return i - 1;
    }
    return text.n;
}

bool config_is_host_name(struct slice text)
{
    if (text.n == 0 || text.n > HOST_NAME_MAX_BYTES) return false;
    bool label_empty = true;
    for (size_t i = 0; i < text.n; i++) {
        char c = ascii_lower(text.p[i]);
        bool allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!allowed && (c != '.' || label_empty)) return false;
        label_empty = !allowed;
    }
    return !label_empty;
}

/* Takes text apart: "[v6]:port", "host:port". The host comes without brackets. */
static const char *split(struct slice text, struct slice *host, uint16_t *port, bool *bracketed)
{
    *bracketed = text.n && text.p[0] == '[';
    size_t colon = find_last(text, ':'), close = find_last(text, ']');
    if (*bracketed && close == text.n) return "has an opening bracket only";
    if (colon == text.n || (*bracketed && colon < close)) return "has no port";
    *host = slice_of(text.p, colon);
    if (*bracketed && close + 1 != colon) return "has something between address and port";
    if (*bracketed)
        *host = slice_of(text.p + 1, close - 1);
    else if (slice_find(*host, ':') != host->n)
        return "is an IPv6 address without brackets, or has two ports";
    return read_port(slice_skip(text, colon + 1), port) ? NULL : "has no valid port: 1 to 65535";
}

static void set_ipv4(struct config_listen *out, uint16_t port)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&out->address;
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    out->address_bytes = sizeof *in;
}

static void set_ipv6(struct config_listen *out, uint16_t port)
{
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)&out->address;
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(port);
    out->address_bytes = sizeof *in;
}

const char *config_read_listen(struct slice text, struct config_listen *out)
{
    *out = (struct config_listen){ .text = text };
    struct sockaddr_in *v4 = (struct sockaddr_in *)&out->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->address;
    struct slice host;
    uint16_t port;
    bool bracketed;
    struct slice bare = slice_skip(text, slice_starts(text, SLICE("*")));
    bare = slice_skip(bare, slice_starts(bare, SLICE(":")));
    if ((bare.n == text.n || bare.p[-1] == ':') && read_port(bare, &port)) {
        set_ipv4(out, port); /* zeroed: every address */
        return NULL;
    }
    if (config_read_digits(text, UINT64_MAX, &(uint64_t){ 0 })) return "is not a port: 1 to 65535";
    const char *reason = split(text, &host, &port, &bracketed);
    if (reason) return reason;
    if (bracketed) {
        set_ipv6(out, port);
        return read_address(AF_INET6, host, &v6->sin6_addr) ? NULL : "is not an IPv6 address";
    }
    set_ipv4(out, port);
    return read_address(AF_INET, host, &v4->sin_addr)
               ? NULL
               : "is not an address; a listener takes no name";
}

bool config_listen_has_host(const struct config_listen *l, struct slice host)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&l->address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&l->address;
    bool is_v4 = l->address.ss_family == AF_INET;
    struct in_addr asked4;
    struct in6_addr asked6;
    bool reads4 = read_address(AF_INET, host, &asked4), reads6 = false;
    if (host.n > 2 && host.p[0] == '[')
        reads6 = read_address(AF_INET6, slice_of(host.p + 1, host.n - 2), &asked6);
    if (is_v4 ? v4->sin_addr.s_addr == INADDR_ANY : IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr))
        return reads4 || reads6;
    return is_v4 ? reads4 && asked4.s_addr == v4->sin_addr.s_addr
                 : reads6 && IN6_ARE_ADDR_EQUAL(&asked6, &v6->sin6_addr);
}

const char *config_read_host_port(struct slice text, struct slice *host, uint16_t *port)
{
    bool bracketed;
    struct in6_addr v6;
    const char *reason = split(text, host, port, &bracketed);
    if (reason) return reason;
    if (bracketed) return read_address(AF_INET6, *host, &v6) ? NULL : "is not an IPv6 address";
    return config_is_host_name(*host) ? NULL : "is neither a name nor an address";
}

bool config_cidr_mask(struct config_cidr *c)
{
    bool changed = false;
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = c->bits >= 8 * (i + 1) ? 8 : c->bits > 8 * i ? c->bits - 8 * i : 0;
        uint8_t masked = c->bytes[i] & (uint8_t)(0xff00 >> kept);
        changed |= masked != c->bytes[i];
        c->bytes[i] = masked;
    }
    return changed;
}

const char *config_read_cidr(struct slice text, struct config_cidr *out)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    size_t slash = slice_find(text, '/');
    struct slice address = slice_of(text.p, slash);
    unsigned before = 96;
    memcpy(out->bytes, mapped, sizeof mapped);
    if (!read_address(AF_INET, address, out->bytes + 12)) {
        before = 0;
        if (!read_address(AF_INET6, address, out->bytes))
            return "is not an address, or an address and a prefix length";
    }
    uint64_t bits = 128 - before;
    if (slash < text.n && !config_read_digits(slice_skip(text, slash + 1), bits, &bits))
        return before ? "has no valid prefix length: 0 to 32"
                      : "has no valid prefix length: 0 to 128";
    out->bits = before + (unsigned)bits;
    return NULL;
}
