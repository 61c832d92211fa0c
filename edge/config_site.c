/* Sites and routes. target is the struct config, within a site its struct config_site_build, which
 * begins with the route its routes inherit from. */
#include "edge/config_builder.h"
#include "protocols/http/message.h"
#include "protocols/http/path.h"

void config_take_listen(struct config_builder *b, const struct conf_word *w,
                        struct config_listen *out)
{
    const char *reason = config_read_listen(w->text, out), *hint = NULL;
    if (!reason) return;
    struct slice name = SLICE("localhost:");
    if (slice_starts(w->text, name)) {
        struct slice port = slice_skip(w->text, name.n);
        hint =
            arena_printf(&b->config->arena, "did you mean \"127.0.0.1:%.*s\"?", CONF_SHOWN(port)).p;
    }
    conf_fail(&b->report, w->at, hint, "\"%.*s\" %s", CONF_SHOWN(w->text), reason);
}

bool config_listen_eq(const struct config_listen *a, const struct config_listen *b)
{
    return a->address_bytes == b->address_bytes &&
           memcmp(&a->address, &b->address, a->address_bytes) == 0;
}

/* The words behind the address: tls, and what is spoken over it, everything unless it says. */
static void read_protocols(struct config_builder *b, const struct conf_item *item,
                           struct config_listen *listen)
{
    static const char *const words[] = { "tls", "h1", "h2", "h3", NULL };
    bool *const flags[] = { &listen->tls, &listen->h1, &listen->h2, &listen->h3 };
    for (size_t i = 1; i < item->arg_count; i++) {
        const struct conf_word *w = &item->args[i];
        size_t k = 0;
        while (words[k] && !slice_eq(w->text, slice_str(words[k]))) k++;
        if (words[k])
            *flags[k] = true;
        else
            conf_fail(&b->report, w->at, config_word_hint(b, w->text, words, "tls, h1, h2 or h3"),
                      "\"%.*s\" is nothing a listener knows", CONF_SHOWN(w->text));
    }
    bool any = listen->h1 || listen->h2 || listen->h3;
    if (!listen->tls && (listen->h2 || listen->h3))
        conf_fail(&b->report, item->args[0].at, "add \"tls\"", "h2 and h3 need TLS");
    if (!any) listen->h1 = true, listen->h2 = listen->h3 = listen->tls;
}

void config_apply_site_listen(struct config_builder *b, const struct config_directive *d,
                              const struct conf_item *item, void *target)
{
    (void)d;
    struct config_site *site = &((struct config_site_build *)target)->site;
    struct config_listen listen;
    config_take_listen(b, &item->args[0], &listen);
    read_protocols(b, item, &listen);
    for (size_t i = 0; listen.address_bytes && i < site->listen_count; i++) {
        if (config_listen_eq(&site->listens[i], &listen))
            conf_fail(&b->report, item->args[0].at, NULL, "this site listens there already");
    }
    struct config_listen *listens =
        config_room(b, site->listens, site->listen_count, sizeof listen);
    listens[site->listen_count++] = listen;
    site->listens = listens;
}

/* NULL, or what is wrong with it. */
static const char *check_host(struct slice host)
{
    if (slice_eq(host, SLICE("*"))) return NULL;
    if (slice_find(host, '/') < host.n) return "is a URL or a path; a site takes host names";
    if (host.n && host.p[0] == '[' && host.p[host.n - 1] == ']')
        return authority_is_valid(host) ? NULL : "is not an IPv6 address";
    if (slice_find(host, ':') < host.n) return "has a port; the port is that of \"listen\"";
    if (slice_starts(host, SLICE("*."))) host = slice_skip(host, 2);
    return config_is_host_name(host) ? NULL : "is not a host name, *.NAME or *";
}

static struct slice lower_host(struct arena *a, struct slice host)
{
    if (host.n > 1 && host.p[host.n - 1] == '.') host.n--; /* the root's dot is optional */
    char *p = arena_alloc(a, host.n + 1);
    for (size_t i = 0; i < host.n; i++) p[i] = ascii_lower(host.p[i]);
    p[host.n] = 0;
    return slice_of(p, host.n);
}

static void read_hosts(struct config_builder *b, const struct conf_item *item,
                       struct config_site *site)
{
    struct slice *hosts = arena_alloc(&b->config->arena, item->arg_count * sizeof *hosts);
    for (size_t i = 0; i < item->arg_count; i++) {
        const struct conf_word *w = &item->args[i];
        hosts[i] = lower_host(&b->config->arena, w->text);
        const char *reason = check_host(hosts[i]);
        if (reason) conf_fail(&b->report, w->at, NULL, "\"%.*s\" %s", CONF_SHOWN(w->text), reason);
    }
    site->hosts = hosts;
    site->host_count = item->arg_count;
}

void config_apply_site(struct config_builder *b, const struct config_directive *d,
                       const struct conf_item *item, void *target)
{
    (void)d;
    struct config *c = target;
    struct config_site_build build = { .item = item, .site.index = (unsigned)c->site_count };
    read_hosts(b, item, &build.site);
    config_build_block(b, CONTEXT_SITE, item, &build);
    config_finish_tls(b, &build);
    b->sites = config_room(b, b->sites, c->site_count, sizeof build);
    b->sites[c->site_count++] = build;
}

/* Where a pattern has more than one spelling it is written as path_match leaves a path, so that it
 * can match one: the text that can, or a reason. */
static const char *read_pattern(struct config_builder *b, struct slice text, struct slice *out)
{
    struct arena *a = &b->config->arena;
    bool rooted = text.n && text.p[0] == '/';
    if (!rooted && (text.n == 0 || text.p[0] != '*')) return "must begin with / or *";
    if (slice_find(text, '?') < text.n) return "has a query; routes match the path only";
    if (slice_find(text, '\\') < text.n)
        return "has a backslash; nothing is escaped in a pattern, and a star is always one";
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= ' ' || text.p[i] > '~' || text.p[i] == '#')
            return "has a byte that a path can only hold as % and two hex digits";
    }
    struct slice path = rooted ? text : arena_concat(a, (struct slice[]){ SLICE("/"), text }, 2);
    struct slice key;
    if (!path_key(path, a, &key)) return "has a % that does not begin an escape";
    key = slice_skip(path_match(key, a), rooted ? 0 : 1);
    *out = arena_copy(a, key);
    return NULL;
}

/* One that only differs in escapes of letters, digits and the like is taken as it is meant. */
static bool take_pattern(struct config_builder *b, const struct config_directive *d,
                         const struct conf_word *w, struct config_pattern *out)
{
    struct slice meant;
    const char *reason = read_pattern(b, w->text, &meant);
    if (reason) {
        conf_fail(&b->report, w->at, NULL, "the pattern of a %s %s", d->name, reason);
        return false;
    }
    struct slice decoded;
    struct arena *a = &b->config->arena;
    bool same = target_key(w->text, a, &decoded) && slice_eq(decoded, meant);
    *out = config_pattern_of(meant);
    if (same) return true;
    conf_fail(&b->report, w->at, arena_printf(a, "did you mean \"%.*s\"?", CONF_SHOWN(meant)).p,
              "\"%.*s\" matches nothing: routes see paths without \\, //, ;PARAMETERS and dot "
              "segments",
              CONF_SHOWN(w->text));
    return false;
}

/* An earlier pattern that matches this one's text, stars and all, matches everything this one does;
 * but for the folder itself that this one may match besides. */
static bool covers(const struct config_pattern *earlier, struct slice text)
{
    struct slice end = SLICE("/*");
    if (!config_pattern_matches(earlier, text)) return false;
    if (text.n <= end.n || !slice_eq(slice_skip(text, text.n - end.n), end)) return true;
    return config_pattern_matches(earlier, slice_of(text.p, text.n - end.n));
}

static bool check_reachable(struct config_builder *b, const struct config_route *earlier,
                            const struct conf_word *w, struct slice text)
{
    for (size_t i = 0; i < earlier->pattern_count; i++) {
        const struct config_pattern *p = &earlier->patterns[i];
        if (!covers(p, text)) continue;
        conf_fail(&b->report, w->at, "the first that matches is used",
                  "this route is never reached: \"%.*s\" on line %u takes all its requests",
                  CONF_SHOWN(p->text), earlier->line);
        return false;
    }
    return true;
}

static void read_patterns(struct config_builder *b, const struct config_directive *d,
                          const struct conf_item *item, const struct config_site *site,
                          struct config_route *route)
{
    struct config_pattern *all = arena_alloc(&b->config->arena, item->arg_count * sizeof *all);
    route->line = item->name.line;
    route->patterns = all;
    route->pattern_count = 0;
    for (size_t i = 0; i < item->arg_count; i++) {
        const struct conf_word *w = &item->args[i];
        struct config_pattern p;
        if (!take_pattern(b, d, w, &p)) continue;
        bool reached = check_reachable(b, route, w, p.text);
        for (size_t k = 0; reached && k < site->route_count; k++)
            reached = check_reachable(b, &site->routes[k], w, p.text);
        all[route->pattern_count++] = p;
    }
}

/* first's items, then second's. */
static const void *joined(struct config_builder *b, const void *first, size_t n_first,
                          const void *second, size_t n_second, size_t item_bytes)
{
    if (!n_first) return second;
    if (!n_second) return first;
    char *all = arena_alloc(&b->config->arena, (n_first + n_second) * item_bytes);
    memcpy(all, first, n_first * item_bytes);
    memcpy(all + n_first * item_bytes, second, n_second * item_bytes);
    return all;
}

/* Lists gather: a member's own and its parent's become one. */
#define JOIN_BEFORE(b, parent, own, list, count)                                                   \
    ((own)->list = joined(b, (parent)->list, (parent)->count, (own)->list, (own)->count,           \
                          sizeof *(own)->list),                                                    \
     (own)->count += (parent)->count)
#define JOIN_AFTER(b, parent, own, list, count)                                                    \
    ((own)->list = joined(b, (own)->list, (own)->count, (parent)->list, (parent)->count,           \
                          sizeof *(own)->list),                                                    \
     (own)->count += (parent)->count)

static void join_lists(struct config_builder *b, const struct config_route *site,
                       struct config_route *route)
{
    JOIN_AFTER(b, site, route, cache.ttls, cache.ttl_count);
    JOIN_BEFORE(b, site, route, key.headers, key.header_count);
    JOIN_BEFORE(b, site, route, key.cookies, key.cookie_count);
    JOIN_BEFORE(b, site, route, request_headers, request_header_count);
    JOIN_BEFORE(b, site, route, response_headers, response_header_count);
}

/* A route as its site leaves it: values inherited, lists empty until join_lists. */
static struct config_route inherit(const struct config_route *site)
{
    struct config_route route = *site;
    route.cache.ttls = NULL;
    route.key.headers = route.key.cookies = NULL;
    route.request_headers = route.response_headers = NULL;
    route.cache.ttl_count = route.key.header_count = route.key.cookie_count = 0;
    route.request_header_count = route.response_header_count = 0;
    return route;
}

static void fail_no_origin(struct config_builder *b, const struct conf_item *item)
{
    const struct config *c = b->config;
    const char *hint = NULL;
    if (b->doubtful & (CONTEXT_SITE | CONTEXT_ROUTE)) return;
    if (c->origin_count == 1)
        hint =
            arena_printf(&b->config->arena, "add \"origin %.*s;\"", CONF_SHOWN(c->origins[0].name))
                .p;
    conf_fail(&b->report, item->name.at, hint, "neither this route nor its site has an origin");
}

void config_apply_route(struct config_builder *b, const struct config_directive *d,
                        const struct conf_item *item, void *target)
{
    struct config_site_build *build = target;
    struct config_site *site = &build->site;
    struct config_route route = inherit(&build->inherited);
    read_patterns(b, d, item, site, &route);
    route.index = (unsigned)b->config->route_total++;
    config_build_block(b, CONTEXT_ROUTE, item, &route);
    join_lists(b, &build->inherited, &route);
    if (!route.origin) fail_no_origin(b, item);

    struct config_route *routes = config_room(b, site->routes, site->route_count, sizeof route);
    routes[site->route_count++] = route;
    site->routes = routes;
}
