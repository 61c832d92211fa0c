/* config: one parsed configuration, an immutable and counted generation.
 *
 * Everything hangs in one arena and is freed with the last reference. Workers, connections and
 * exchanges hold a reference for as long as they use it; a reload makes a new generation and lets
 * the old one run out. Strings are slices that are also NUL-terminated. Any thread may read. The
 * directives behind these members, with their units, defaults and bounds, are one table:
 * edge/config.def. */
#ifndef VERGE_EDGE_CONFIG_H
#define VERGE_EDGE_CONFIG_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>

#include "cache/key.h"
#include "cache/policy.h"
#include "edge/io/tls.h"
#include "edge/io/tls_tickets.h"
#include "protocols/http/limits.h"

struct config_listen {
    struct sockaddr_storage address;
    socklen_t address_bytes;
    bool tls;
    bool h1, h2, h3;   /* what is spoken there; without TLS h1 only */
    struct slice text; /* as written, for messages */
};

struct config_server {
    struct slice host; /* name or literal address, without brackets */
    uint16_t port;
    unsigned weight; /* 1 and up */
    bool backup, down;
};

struct config_origin {
    struct slice name;
    const struct config_server *servers;
    size_t server_count;
    unsigned keepalive;       /* idle connections kept, whole process */
    unsigned connections_max; /* open connections, whole process */
    int64_t keepalive_idle_ms, lifetime_ms;
    int64_t connect_timeout_ms, first_byte_timeout_ms, between_bytes_timeout_ms;
    int64_t interim_timeout_ms; /* how long interim responses may go on */
    size_t interim_bytes;       /* what they may take in all */
    size_t response_head_bytes;
    unsigned response_field_count;
    struct slice host;                     /* Host to send; empty: what the client asked for */
    const struct tls_connector *connector; /* held by the generation; NULL: without TLS */
    struct slice tls_name; /* asked for and verified; empty: host's, or else the server's own */
    unsigned index;        /* position in config.origins */
};

enum header_action { HEADER_SET, HEADER_ADD, HEADER_REMOVE };

struct header_rule {
    enum header_action action;
    struct slice name, value;
};

/* '*' matches any run of characters, '/' included, and a "/" followed by '*' at the end also
 * nothing; all else is literal. */
struct config_pattern {
    struct slice text;
    size_t literal_bytes; /* of text before its first '*' */
};

struct config_route {
    const struct config_pattern *patterns; /* any of them will do */
    size_t pattern_count;
    const struct config_origin *origin;
    struct cache_policy cache;
    struct key_policy key;
    const struct header_rule *request_headers, *response_headers; /* parent's first */
    size_t request_header_count, response_header_count;
    const struct slice *passed_claims; /* names, or with '*' at the end their beginning, that also
                                          untrusted clients may send */
    size_t passed_claim_count;
    bool underscores;        /* fields of requests may have '_' in their names */
    bool trace_passes;       /* TRACE goes to the origin; otherwise it is refused */
    int64_t body_size_bytes; /* largest request body */
    bool cache_status_key;   /* Cache-Status tells the key */
    struct slice hsts;       /* Strict-Transport-Security of responses over TLS; empty: none */
    bool alt_svc;            /* responses over TLS tell where HTTP/3 is spoken */
    unsigned line;           /* where it stands in the file */
    unsigned index;          /* position over all sites */
};

struct config_site {
    const struct slice *hosts; /* lower case: exact, "*.example.com", or "*" */
    size_t host_count;
    const struct config_listen *listens;
    size_t listen_count;
    struct tls_context *certificate; /* held by the generation; NULL: none */
    bool early_data;                 /* requests of a client's first message are taken */
    bool client_cert_header;         /* the origin is shown the client's certificate (RFC 9440) */
    uint16_t https_port;             /* where requests without TLS are sent; 0: they are answered */
    const struct config_route *routes;
    size_t route_count;
    unsigned index;
};

struct config_hosts;

struct config_cidr {
    uint8_t bytes[16]; /* IPv4 as mapped IPv6 */
    unsigned bits;     /* 0..128 */
};

enum log_format { LOG_COMBINED, LOG_JSON };

struct config {
    _Atomic unsigned references;
    uint64_t generation;
    unsigned workers; /* 0: one per core */

    struct {
        size_t memory_bytes;    /* bodies, heads and index together */
        struct slice disk_path; /* NUL-terminated; empty: no disk */
        uint64_t disk_bytes;
        size_t disk_queue_bytes;
        uint64_t object_max_bytes;      /* larger ones pass through */
        size_t object_memory_max_bytes; /* larger ones are only on the disk */
        unsigned variants_max;          /* per primary key */
        int64_t endless_ms;             /* a body without a length that ends later is not stored */
        int64_t uncacheable_ms;         /* how long "uncacheable" is remembered */
        size_t slice_bytes;             /* of what is only asked for in ranges; 0: none */
        size_t window_bytes;            /* how far a fill runs ahead of its fastest reader */
    } cache;

    struct http_limits limits;
    int64_t shutdown_timeout_ms;

    const struct tls_ticket_key *ticket_keys; /* the first seals; none: random ones */
    size_t ticket_key_count;
    int64_t ticket_rotation_ms;

    const struct config_origin *origins;
    size_t origin_count;
    const struct config_site *sites;
    size_t site_count;
    size_t route_total;
    struct tls_context **certificates; /* held, of all sites */
    size_t certificate_count;
    struct tls_connector **connectors; /* held, of all origins */
    size_t connector_count;
    const struct config_listen *listens; /* distinct, over all sites */
    size_t listen_count;
    const struct config_hosts *hosts;  /* of each of listens, for config_find_site */
    const struct config_cidr *trusted; /* proxies whose X-Forwarded-* and Forwarded count */
    size_t trusted_count;

    struct {
        bool enabled;
        struct config_listen listen;
        const struct slice *hosts; /* names by which it may be asked, besides its own */
        size_t host_count;
    } admin;

    struct {
        struct slice access_path; /* empty: none; "-" or "stdout", "stderr": that stream */
        enum log_format access_format;
        struct slice error_path; /* empty: standard error */
    } log;

    struct slice text;     /* the file as read: the admin API shows it */
    struct slice warnings; /* what was hardly meant, in the form of config_load's messages */
    struct arena arena;
};

/* Whether host (of an authority, IPv6 in brackets) is the listener's address, or any address where
 * it listens on all. */
bool config_listen_has_host(const struct config_listen *l, struct slice host);

/* Reads and checks a file. On success one reference belongs to the caller. On failure NULL, after
 * at least one message of the form file:line:column, the line, a caret, the reason and perhaps a
 * suggestion was written to errors; all mistakes that can be told apart are reported, at most ten.
 */
struct config *config_load(const char *path, FILE *errors);
/* The same from memory; name stands in the messages. */
struct config *config_parse(struct slice text, const char *name, FILE *errors);
/* The built-in configuration before one origin, given as http[s]://HOST[:PORT][/] or HOST[:PORT]:
 * text for config_parse, which also says what is wrong with the origin, if anything is. */
struct slice config_default_text(struct arena *a, const char *origin, const char *disk_folder);

struct config *config_hold(struct config *c);
/* Drops a reference; frees with the last. Any thread. */
void config_drop(struct config **c);

/* Writes every directive with contexts, default and prose (verge directives); the reference of the
 * docs. */
void config_describe(FILE *out);

/* The site for an authority's host on a connection that came in over that listener address: exact,
 * then longest wildcard, then "*"; NULL where none matches. listen may be of another generation:
 * addresses are compared. host is without port; case and a trailing dot make no difference. */
const struct config_site *config_find_site(const struct config *c,
                                           const struct config_listen *listen, struct slice host);
/* The first site in file order that listens there; NULL where none does. */
const struct config_site *config_first_site(const struct config *c,
                                            const struct config_listen *listen);
/* Is it the same address? */
bool config_listen_eq(const struct config_listen *a, const struct config_listen *b);
struct config_pattern config_pattern_of(struct slice text);
/* Does it match the path, in the form of path_match? */
bool config_pattern_matches(const struct config_pattern *p, struct slice path);
/* First route in file order of whose patterns one matches the path (without query); NULL if none
 * does. */
const struct config_route *config_find_route(const struct config_site *site, struct slice path);
/* Does an address (IPv4 as mapped IPv6, 16 bytes) belong to a trusted proxy? */
bool config_is_trusted(const struct config *c, const uint8_t address[16]);

#endif
