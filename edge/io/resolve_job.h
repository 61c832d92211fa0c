/* resolve_job: looking up a host's addresses, blocking: the work of an offload job, never called by
 * a worker.
 *
 * In this order: a literal address; the hosts file; "localhost" (RFC 6761); DNS, with the servers,
 * search domains and options of resolv.conf. getaddrinfo tells no TTL, hence the resolver library
 * underneath. Any thread; nothing is kept between calls: caching, and keeping the last good answer,
 * is the caller's. */
#ifndef VERGE_IO_RESOLVE_JOB_H
#define VERGE_IO_RESOLVE_JOB_H

#include <netinet/in.h>
#include <stdint.h>

#define RESOLVE_ADDRESSES   16
#define RESOLVE_TTL_LITERAL UINT32_MAX /* an address never changes */
#define RESOLVE_TTL_HOSTS   60 /* the hosts file is read again after so long; localhost too */

union resolve_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct resolve_result {
    /* Port 0; IPv4 before IPv6 where they came from DNS. */
    union resolve_address addresses[RESOLVE_ADDRESSES];
    unsigned count; /* at least 1 */
    uint32_t ttl_s; /* least of all addresses and the aliases that led to them; may be 0 */
};

/* What differs from the system's settings; tests set it. Zero members change nothing. */
struct resolve_config {
    struct sockaddr_in server; /* the only name server */
    const char *hosts_path;    /* instead of /etc/hosts */
    unsigned timeout_s;        /* of one question to one server; at most 2 where not set */
    unsigned attempts;         /* at most 2 where not set */
};

/* host: NUL-terminated name or literal address, no brackets, no port. 0, or -E_DNS_ERROR: it does
 * not exist, has no address, or the answer was no answer; -E_DNS_TIMEOUT. Bounded: no question is
 * asked after one has timed out. */
int resolve_host(const char *host, struct resolve_result *out);
int resolve_host_with(const struct resolve_config *config, const char *host,
                      struct resolve_result *out);

#endif
