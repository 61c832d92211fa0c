/* Directives of nginx, HAProxy, Caddy and VCL, and what is written here instead: for those who come
 * from there. A near word of ours may mean the opposite. */
#include "edge/config_builder.h"

static const struct {
    const char *word, *here;
} words[] = {
    { "acl", "requests are told apart by \"site HOST\" and \"route PATTERN\" alone" },
    { "add_header", "that is \"response_header add NAME VALUE;\" in a site or route" },
    { "backend", "that is \"origin NAME { server HOST:PORT; }\"" },
    { "bind", "that is \"listen ADDRESS:PORT;\" in a site" },
    { "brotli", "there is no compression: responses are stored and sent as the origin codes them" },
    { "client_max_body_size", "that is \"body_size SIZE;\" in a site or route" },
    { "default_backend", "that is \"origin NAME;\" in a site or route" },
    { "encode", "there is no compression: responses are stored and sent as the origin codes them" },
    { "error_page", "there are no error pages of one's own" },
    { "events", "it is not needed: what an event loop has to know is in \"limits\"" },
    { "expires", "that is \"ttl STATUS... DURATION override;\" in a site or route" },
    { "frontend", "that is \"site HOST... { listen ADDRESS:PORT; }\"" },
    { "geo", "there are no variables yet" },
    { "gzip", "there is no compression: responses are stored and sent as the origin codes them" },
    { "handle", "that is \"route PATTERN { }\" in a site" },
    { "header", "that is \"response_header set NAME VALUE;\" in a site or route" },
    { "http", "it is not needed: origins and sites stand at the top level" },
    { "if", "there are no conditions: requests are told apart by sites and routes" },
    { "import", "there is no include yet: all directives stand in one file" },
    { "include", "there is no include yet: all directives stand in one file" },
    { "keepalive_timeout", "that is \"limits { idle_timeout DURATION; }\"" },
    { "location", "that is \"route PATTERN { }\" in a site" },
    { "map", "there are no variables yet" },
    { "maxconn", "that is \"connections NUMBER;\" in limits, or connections_max in an origin" },
    { "more_set_headers", "that is \"response_header set NAME VALUE;\" in a site or route" },
    { "pid", "there is no file with the process's number: systemd knows it" },
    { "proxy_cache", "that is \"cache on;\" or \"cache off;\" in a site or route" },
    { "proxy_cache_bypass", "that is \"cache off;\" in a route" },
    { "proxy_cache_key", "that is key_query, key_header and key_cookie in a site or route" },
    { "proxy_cache_path", "that is \"cache { memory SIZE; disk PATH SIZE; }\"" },
    { "proxy_cache_use_stale", "that is stale_if_error and stale_while_revalidate" },
    { "proxy_cache_valid", "that is \"ttl STATUS... DURATION;\" in a site or route" },
    { "proxy_connect_timeout", "that is \"connect_timeout DURATION;\" in an origin" },
    { "proxy_hide_header", "that is \"response_header remove NAME;\" in a site or route" },
    { "proxy_no_cache", "that is \"cache off;\" in a route" },
    { "proxy_pass",
      "that is \"origin NAME;\" in a site or route; the servers stand in \"origin NAME { }\"" },
    { "proxy_read_timeout", "that is first_byte_timeout and between_bytes_timeout in an origin" },
    { "proxy_set_header", "that is \"request_header set NAME VALUE;\" in a site or route" },
    { "real_ip_header",
      "that is \"trusted_proxy CIDR...;\", whose X-Forwarded-For or Forwarded counts" },
    { "resolver", "the system's resolver is used" },
    { "return", "there are no answers of one's own, but for https_redirect" },
    { "reverse_proxy",
      "that is \"origin NAME;\" in a site or route; the servers stand in \"origin NAME { }\"" },
    { "rewrite", "paths are sent as they are asked for; for https there is https_redirect" },
    { "root", "no files are served: an origin has the content" },
    { "server",
      "that is \"site HOST... { }\"; the servers of an origin stand in \"origin NAME { }\"" },
    { "server_name", "the names stand behind site: \"site HOST... { }\"" },
    { "set", "there are no variables yet" },
    { "set_real_ip_from", "that is \"trusted_proxy CIDR...;\" at the top level" },
    { "ssl_certificate", "that is \"certificate CERTIFICATE KEY;\" in a site" },
    { "ssl_certificate_key",
      "it is the second word of \"certificate CERTIFICATE KEY;\" in a site" },
    { "try_files", "no files are served: an origin has the content" },
    { "upstream", "that is \"origin NAME { server HOST:PORT; }\"" },
    { "user", "it is not needed: start the node as the user that it is to run as" },
    { "vcl", "this is no VCL: see \"verge directives\"" },
    { "worker_connections", "that is \"limits { connections NUMBER; }\"" },
    { "worker_processes", "that is \"workers NUMBER;\" at the top level" },
};

const char *config_foreign_hint(struct slice word)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (slice_eq(word, slice_str(words[i].word))) return words[i].here;
    }
    return NULL;
}
