/* What a configuration may say, and what somebody who says it hardly means. The configuration is
 * whole and right; the blocks of the file are walked again to say where. */
#include <unistd.h>

#include "edge/config_builder.h"

static const struct conf_item *find_item(const struct conf_item *from, struct slice name)
{
    while (from && !slice_eq(from->name.text, name)) from = from->next;
    return from;
}

/* ---- memory ---- */

static void doubt_memory(struct config_builder *b, const struct conf_item *root)
{
    const struct conf_item *cache = find_item(root->children, SLICE("cache"));
    const struct conf_item *memory = cache ? find_item(cache->children, SLICE("memory")) : NULL;
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    if (!memory || pages <= 0 || page_bytes <= 0) return;
    if (b->config->cache.memory_bytes <= (uint64_t)pages * (uint64_t)page_bytes) return;
    conf_fail(&b->warnings, memory->args[0].at, "what does not fit is swapped, or ends the node",
              "more than this machine has");
}

/* ---- origins ---- */

static uint16_t port_of(const struct config_listen *l)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&l->address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&l->address;
    return ntohs(l->address.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
}

static bool is_any_address(const struct config_listen *l)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&l->address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&l->address;
    return l->address.ss_family == AF_INET ? v4->sin_addr.s_addr == INADDR_ANY
                                           : IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

static bool is_of_this_machine(struct slice host)
{
    return slice_eq_nocase(host, SLICE("localhost")) || slice_starts(host, SLICE("127.")) ||
           slice_eq(host, SLICE("::1"));
}

/* Whether who connects there reaches l. */
static bool reaches(struct config_builder *b, const struct config_server *s,
                    const struct config_listen *l)
{
    if (s->port != port_of(l)) return false;
    if (is_any_address(l) && is_of_this_machine(s->host)) return true;
    bool v6 = slice_find(s->host, ':') < s->host.n;
    struct slice host = slice_eq_nocase(s->host, SLICE("localhost")) ? SLICE("127.0.0.1") : s->host;
    struct slice text = arena_printf(&b->config->arena, v6 ? "[%.*s]:%u" : "%.*s:%u",
                                     SLICE_ARGS(host), (unsigned)s->port);
    struct config_listen same;
    return !config_read_listen(text, &same) && config_listen_eq(&same, l);
}

static void doubt_server(struct config_builder *b, const struct conf_item *item,
                         const struct config_server *s)
{
    for (size_t i = 0; i < b->config->listen_count; i++) {
        if (!reaches(b, s, &b->config->listens[i])) continue;
        conf_fail(&b->warnings, item->args[0].at, "name the server that has the content",
                  "\"%.*s\" is a listener of this node: its requests would come back to it",
                  CONF_SHOWN(item->args[0].text));
        return;
    }
}

static void doubt_origin(struct config_builder *b, const struct conf_item *item,
                         const struct config_origin *o)
{
    const struct conf_item *server = item->children;
    size_t down = 0;
    for (size_t i = 0; i < o->server_count; i++, server = server->next) {
        server = find_item(server, SLICE("server"));
        doubt_server(b, server, &o->servers[i]);
        down += o->servers[i].down;
    }
    if (down < o->server_count) return;
    conf_fail(&b->warnings, item->args[0].at, "take \"down\" from one",
              "all servers of \"%.*s\" are down: each request that needs it is answered 503",
              CONF_SHOWN(o->name));
}

/* ---- sites ---- */

static bool is_catch_all(struct slice pattern)
{
    return slice_eq(pattern, SLICE("*")) || slice_eq(pattern, SLICE("/*"));
}

/* Is one route's pattern text, and something behind it? */
static bool has_pattern(const struct conf_item *site, struct slice text, struct slice behind)
{
    const struct conf_item *route = find_item(site->children, SLICE("route"));
    for (; route; route = find_item(route->next, SLICE("route"))) {
        for (size_t i = 0; i < route->arg_count; i++) {
            struct slice pattern = route->args[i].text;
            if (slice_starts(pattern, text) && slice_eq(slice_skip(pattern, text.n), behind))
                return true;
        }
    }
    return false;
}

/* One path alone is seldom meant, but for a file's. */
static void doubt_pattern(struct config_builder *b, const struct conf_item *site,
                          const struct conf_word *w)
{
    struct slice path = w->text, name = path;
    while (slice_find(name, '/') < name.n) name = slice_skip(name, slice_find(name, '/') + 1);
    if (slice_find(path, '*') < path.n || slice_find(name, '.') < name.n) return;
    struct slice below = name.n ? SLICE("/*") : SLICE("*");
    if (has_pattern(site, path, below) || has_pattern(site, path, SLICE("*"))) return;
    if (slice_eq(path, SLICE("/")) && has_pattern(site, SLICE(""), SLICE("*"))) return;
    const char *hint = arena_printf(&b->config->arena, "did you mean \"%.*s%.*s\"?",
                                    CONF_SHOWN(path), SLICE_ARGS(below))
                           .p;
    conf_fail(&b->warnings, w->at, hint, "without a star this route is for that one path");
}

static void doubt_site(struct config_builder *b, const struct conf_item *item)
{
    bool catches_all = false;
    const struct conf_item *route = find_item(item->children, SLICE("route"));
    for (; route; route = find_item(route->next, SLICE("route"))) {
        for (size_t i = 0; i < route->arg_count; i++) {
            catches_all |= is_catch_all(route->args[i].text);
            doubt_pattern(b, item, &route->args[i]);
        }
    }
    if (!catches_all)
        conf_fail(&b->warnings, item->args[0].at, "add \"route * { }\" as the last",
                  "a path that no route of this site matches is answered 404");
}

void config_doubt(struct config_builder *b, const struct conf_item *root)
{
    const struct conf_item *site = find_item(root->children, SLICE("site"));
    const struct conf_item *origin = root->children;
    doubt_memory(b, root);
    for (size_t i = 0; i < b->config->origin_count; i++, origin = origin->next) {
        origin = find_item(origin, SLICE("origin"));
        doubt_origin(b, origin, &b->config->origins[i]);
    }
    for (; site; site = find_item(site->next, SLICE("site"))) doubt_site(b, site);
}
