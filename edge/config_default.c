/* The configuration of `verge run --origin URL [--disk FOLDER]`: Verge before one origin, to try it
 * out. */
#include "edge/config.h"

static const char before[] =
    "# The built-in configuration: one origin, set up to show what a cache does.\n"
    "access_log stdout;\n"
    "error_log stderr;\n"
    "\n"
    "cache {\n"
    "    memory 256M;\n";

static const char before_origin[] = "}\n"
                                    "\n"
                                    "origin app {\n"
                                    "    server ";

static const char after[] =
    ";\n"
    "}\n"
    "\n"
    "site * {\n"
    "    listen 127.0.0.1:8080;\n"
    "    listen 127.0.0.1:8443 tls;\n"
    "    certificate self_signed;     # for trying it out: curl -k\n"
    "    origin app;\n"
    "    stale_while_revalidate 30s;  # a slow origin is felt once\n"
    "    stale_if_error 1h;           # and a dead one not at all, for a while\n"
    "    cache_status_key on;\n"
    "    route * { }\n"
    "}\n"
    "\n"
    "admin {\n"
    "    listen 127.0.0.1:9145;\n"
    "}\n";

/* HOST:PORT of a URL without anything behind it and without its scheme; port where it has none. */
static struct slice host_port(struct arena *a, struct slice origin, struct slice port)
{
    if (origin.n && origin.p[origin.n - 1] == '/') origin.n--;
    size_t address = origin.n && origin.p[0] == '[' ? slice_find(origin, ']') : 0;
    bool has_port = slice_find(slice_skip(origin, address), ':') < origin.n - address;
    return has_port ? origin : arena_concat(a, (struct slice[]){ origin, port }, 2);
}

/* As a string of the configuration: whatever a command line brings stays one argument. */
static struct slice quoted(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, 2 * s.n + 2), *out = p;
    *out++ = '"';
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\' || s.p[i] == '\n') *out++ = '\\';
        *out++ = s.p[i] == '\n' ? 'n' : s.p[i];
    }
    *out++ = '"';
    return slice_of(p, (size_t)(out - p));
}

/* A real site wants to be asked by its own name, not by the 127.0.0.1:8080 of whoever tries this.
 * The scheme's own port is not part of a Host (RFC 9110 section 4.2.3). */
static struct slice host_field(struct slice server, struct slice port)
{
    bool is_default = server.n > port.n && slice_eq(slice_skip(server, server.n - port.n), port);
    return is_default ? slice_of(server.p, server.n - port.n) : server;
}

static struct slice disk(struct arena *a, const char *folder)
{
    struct slice parts[] = { SLICE("    disk "), quoted(a, slice_str(folder)), SLICE(" 1G;\n") };
    return arena_concat(a, parts, 3);
}

struct slice config_default_text(struct arena *a, const char *origin, const char *disk_folder)
{
    struct slice http = SLICE("http://"), https = SLICE("https://"), url = slice_str(origin);
    bool tls = slice_starts(url, https);
    if (tls || slice_starts(url, http)) url = slice_skip(url, tls ? https.n : http.n);
    struct slice port = tls ? SLICE(":443") : SLICE(":80");
    struct slice server = host_port(a, url, port);
    struct slice parts[] = {
        slice_str(before),
        disk_folder ? disk(a, disk_folder) : SLICE_NONE,
        slice_str(before_origin),
        quoted(a, server),
        SLICE(";\n    host "),
        quoted(a, host_field(server, port)),
        tls ? SLICE(";\n    tls on") : SLICE_NONE,
        slice_str(after),
    };
    return arena_concat(a, parts, sizeof parts / sizeof *parts);
}
