#include "edge/io/resolve_job.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <resolv.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/base/error.h"
#include "edge/base/mem.h"

#define HOSTS_PATH  "/etc/hosts"
#define TIMEOUT_S   2
#define ATTEMPTS    2
#define ALIASES_MAX 16

static void add_address(struct resolve_result *out, int family, const void *bytes)
{
    if (out->count == RESOLVE_ADDRESSES) return;
    union resolve_address *a = &out->addresses[out->count++];
    memset(a, 0, sizeof *a);
    a->any.sa_family = (sa_family_t)family;
    if (family == AF_INET) {
        memcpy(&a->v4.sin_addr, bytes, sizeof a->v4.sin_addr);
    } else {
        memcpy(&a->v6.sin6_addr, bytes, sizeof a->v6.sin6_addr);
    }
}

static bool add_literal(struct resolve_result *out, const char *text)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(family, text, bytes) != 1) return false;
    add_address(out, family, bytes);
    return true;
}

static void lower_ttl(struct resolve_result *out, uint32_t ttl_s)
{
    if (ttl_s > INT32_MAX) ttl_s = 0; /* RFC 2181 section 8 */
    if (ttl_s < out->ttl_s) out->ttl_s = ttl_s;
}

/* ---- the hosts file, and localhost ---- */

/* One line: an address and its names, then perhaps a comment. */
static void read_hosts_line(char *line, const char *host, struct resolve_result *out)
{
    static const char blanks[] = " \t\r\n";
    line[strcspn(line, "#")] = '\0';
    char *rest;
    const char *address = strtok_r(line, blanks, &rest);
    if (!address) return;
    for (const char *name; (name = strtok_r(NULL, blanks, &rest));) {
        if (strcasecmp(name, host) != 0) continue;
        add_literal(out, address);
        return;
    }
}

static bool find_in_hosts(const char *path, const char *host, struct resolve_result *out)
{
    FILE *file = fopen(path, "re");
    if (!file) return false;
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) >= 0) read_hosts_line(line, host, out);
    free(line);
    fclose(file);
    return out->count > 0;
}

/* "localhost" and what ends in ".localhost" never leaves the machine (RFC 6761 section 6.3). */
static bool is_localhost(const char *host)
{
    static const char name[] = "localhost";
    size_t n = strlen(host);
    if (n && host[n - 1] == '.') n--;
    size_t length = sizeof name - 1;
    if (n < length || strncasecmp(host + n - length, name, length) != 0) return false;
    return n == length || host[n - length - 1] == '.';
}

static bool find_local(const char *hosts_path, const char *host, struct resolve_result *out)
{
    out->ttl_s = RESOLVE_TTL_LITERAL;
    if (add_literal(out, host)) return true;
    out->ttl_s = RESOLVE_TTL_HOSTS;
    if (find_in_hosts(hosts_path, host, out)) return true;
    if (!is_localhost(host)) return false;
    return add_literal(out, "127.0.0.1") && add_literal(out, "::1");
}

/* ---- DNS ---- */

/* One lookup: two questions to the same servers. */
struct lookup {
    struct __res_state state;
    unsigned char answer[NS_MAXMSG];
    char name[NS_MAXDNAME]; /* what was answered; "": nothing yet, so try search domains */
};

static int start_lookup(struct lookup *l, const struct resolve_config *config)
{
    if (res_ninit(&l->state) != 0) return -E_DNS_ERROR;
    struct __res_state *state = &l->state;
    if (config->server.sin_family == AF_INET) {
        state->nscount = 1;
        state->nsaddr_list[0] = config->server;
    }
    if (state->retrans > TIMEOUT_S) state->retrans = TIMEOUT_S;
    if (state->retry > ATTEMPTS) state->retry = ATTEMPTS;
    if (config->timeout_s) state->retrans = (int)config->timeout_s;
    if (config->attempts) state->retry = (int)config->attempts;
    return 0;
}

/* The library says "try again" alike for a server that said nothing and for one that said it
 * cannot; the answer's header, cleared before, tells. */
static int failure(const struct lookup *l, int error)
{
    switch (l->state.res_h_errno) {
    case HOST_NOT_FOUND:
    case NO_DATA: return 0;
    case TRY_AGAIN:
        if (((const HEADER *)l->answer)->rcode) return -E_DNS_ERROR;
        return error == ETIMEDOUT ? -E_DNS_TIMEOUT : -E_DNS_ERROR;
    default: return -E_DNS_ERROR;
    }
}

/* Bytes of the answer, 0 where there is none of this type, or an error. */
static int ask(struct lookup *l, const char *host, ns_type type)
{
    int size = sizeof l->answer;
    memset(l->answer, 0, NS_HFIXEDSZ);
    int n = l->name[0] ? res_nquery(&l->state, l->name, ns_c_in, type, l->answer, size)
                       : res_nsearch(&l->state, host, ns_c_in, type, l->answer, size);
    if (n < 0) return failure(l, errno);
    return n <= size ? n : -E_DNS_ERROR;
}

/* Finds the next record of that owner and type from *at on. */
static bool next_record(ns_msg *message, const char *owner, ns_type type, int *at, ns_rr *record)
{
    while (*at < ns_msg_count(*message, ns_s_an)) {
        if (ns_parserr(message, ns_s_an, (*at)++, record) != 0) return false;
        if (ns_rr_class(*record) == ns_c_in && ns_rr_type(*record) == type &&
            strcasecmp(ns_rr_name(*record), owner) == 0) {
            return true;
        }
    }
    return false;
}

/* Replaces name by what its aliases lead to. Records may stand in any order; a circle just ends. */
static int follow_aliases(ns_msg *message, char name[NS_MAXDNAME], struct resolve_result *out)
{
    ns_rr record;
    for (int aliases = 0, at = 0; next_record(message, name, ns_t_cname, &at, &record); at = 0) {
        if (++aliases > ALIASES_MAX) return -E_DNS_ERROR;
        int n = ns_name_uncompress(ns_msg_base(*message), ns_msg_end(*message), ns_rr_rdata(record),
                                   name, NS_MAXDNAME);
        if (n < 0) return -E_DNS_ERROR;
        lower_ttl(out, ns_rr_ttl(record));
    }
    return 0;
}

static void add_records(ns_msg *message, const char *owner, ns_type type,
                        struct resolve_result *out)
{
    int family = type == ns_t_a ? AF_INET : AF_INET6;
    unsigned length = type == ns_t_a ? NS_INADDRSZ : NS_IN6ADDRSZ;
    ns_rr record;
    for (int at = 0; next_record(message, owner, type, &at, &record);) {
        if (ns_rr_rdlen(record) != length) continue;
        add_address(out, family, ns_rr_rdata(record));
        lower_ttl(out, ns_rr_ttl(record));
    }
}

/* The question in the answer tells which search domain it was. */
static int read_answer(struct lookup *l, int n, ns_type type, struct resolve_result *out)
{
    ns_msg message;
    ns_rr question;
    if (ns_initparse(l->answer, n, &message) != 0) return -E_DNS_ERROR;
    if (ns_parserr(&message, ns_s_qd, 0, &question) != 0) return -E_DNS_ERROR;
    char owner[NS_MAXDNAME];
    snprintf(l->name, sizeof l->name, "%s", ns_rr_name(question));
    snprintf(owner, sizeof owner, "%s", l->name);
    int error = follow_aliases(&message, owner, out);
    if (!error) add_records(&message, owner, type, out);
    return error;
}

static int look_up(struct lookup *l, const char *host, ns_type type, struct resolve_result *out)
{
    int n = ask(l, host, type);
    return n > 0 ? read_answer(l, n, type, out) : n;
}

/* One family that is known is worth more than the error about the other. */
static int ask_dns(const struct resolve_config *config, const char *host,
                   struct resolve_result *out)
{
    struct lookup *l = xcalloc(1, sizeof *l);
    int error = start_lookup(l, config);
    if (!error) {
        error = look_up(l, host, ns_t_a, out);
        if (error != -E_DNS_TIMEOUT) {
            int second = look_up(l, host, ns_t_aaaa, out);
            if (!error) error = second;
        }
        res_nclose(&l->state);
    }
    free(l);
    if (out->count) return 0;
    return error ? error : -E_DNS_ERROR;
}

int resolve_host_with(const struct resolve_config *config, const char *host,
                      struct resolve_result *out)
{
    out->count = 0;
    if (find_local(config->hosts_path ? config->hosts_path : HOSTS_PATH, host, out)) return 0;
    out->ttl_s = RESOLVE_TTL_LITERAL;
    return ask_dns(config, host, out);
}

int resolve_host(const char *host, struct resolve_result *out)
{
    return resolve_host_with(&(struct resolve_config){ 0 }, host, out);
}
