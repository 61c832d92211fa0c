/* Origins and their servers. target is the struct config, within the block the struct
 * config_origin. */
#include "edge/config_builder.h"
#include "protocols/http/message.h"

#define WEIGHT_MAX 1000

const struct config_origin *config_origin_find(const struct config_builder *b, struct slice name)
{
    for (size_t i = 0; i < b->config->origin_count; i++) {
        if (slice_eq(b->config->origins[i].name, name)) return &b->config->origins[i];
    }
    return NULL;
}

/* ---- TLS ---- */

void config_apply_tls_ca(struct config_builder *b, const struct config_directive *d,
                         const struct conf_item *item, void *target)
{
    (void)b, (void)d;
    bool system = slice_eq(item->args[0].text, SLICE("system"));
    ((struct config_origin_build *)target)->roots = system ? NULL : &item->args[0];
}

void config_apply_tls_certificate(struct config_builder *b, const struct config_directive *d,
                                  const struct conf_item *item, void *target)
{
    (void)b, (void)d;
    const struct conf_word *w = &item->args[0];
    struct config_origin_build *build = target;
    if (item->arg_count == 1 && slice_eq(w->text, SLICE("none"))) return;
    build->certificate = w;
    build->key = &item->args[item->arg_count - 1];
}

/* host stands before it in the table. */
void config_apply_tls_name(struct config_builder *b, const struct config_directive *d,
                           const struct conf_item *item, void *target)
{
    (void)d;
    struct config_origin *origin = target;
    const struct conf_word *w = &item->args[0];
    if (slice_eq(w->text, SLICE("server"))) {
        struct slice host = origin->host.n ? authority_host(origin->host) : SLICE_NONE;
        if (host.n && host.p[0] == '[') host = slice_of(host.p + 1, host.n - 2);
        origin->tls_name = host.n ? arena_copy(&b->config->arena, host) : SLICE_NONE;
        return;
    }
    origin->tls_name = w->text;
    if (!config_is_host_name(w->text))
        conf_fail(&b->report, w->at, NULL, "\"%.*s\" is not a host name", CONF_SHOWN(w->text));
}

static struct tls_connector *add_connector(struct config *c, struct config_builder *b)
{
    c->connectors = config_room(b, c->connectors, c->connector_count, sizeof *c->connectors);
    return c->connectors[c->connector_count++] = tls_connector_new();
}

/* Parsing the system's roots takes milliseconds: once for all origins. */
static const char *trust_system(struct config_builder *b, struct tls_connector *c)
{
    if (b->system) {
        tls_connector_trust_same(c, b->system);
        return NULL;
    }
    b->system = c;
    return tls_connector_trust_system(c);
}

static void finish_tls(struct config_builder *b, struct config_origin_build *build,
                       const struct conf_item *item)
{
    const struct conf_word *roots = build->roots, *own = build->certificate;
    const char *why = NULL;
    if (!build->tls) return;
    struct tls_connector *c = add_connector(b->config, b);
    build->origin.connector = c;
    if (build->verify && roots) why = tls_connector_trust(c, roots->text.p);
    if (why) conf_fail(&b->report, roots->at, NULL, "\"%.*s\" %s", CONF_SHOWN(roots->text), why);
    if (build->verify && !roots && trust_system(b, c))
        conf_fail(&b->report, item->name.at, "name them with \"tls_ca FILE;\"",
                  "the system's root certificates are not where they are looked for");
    const char *doubt = NULL;
    why = own ? tls_connector_show(c, own->text.p, build->key->text.p, &doubt) : NULL;
    if (doubt) conf_fail(&b->warnings, own->at, NULL, "\"%.*s\" %s", CONF_SHOWN(own->text), doubt);
    if (why) conf_fail(&b->report, own->at, NULL, "\"%.*s\" %s", CONF_SHOWN(own->text), why);
}

/* ---- the block ---- */

void config_apply_origin(struct config_builder *b, const struct config_directive *d,
                         const struct conf_item *item, void *target)
{
    (void)d;
    struct config *c = target;
    const struct conf_word *name = &item->args[0];
    const struct config_origin *known = config_origin_find(b, name->text);
    if (known)
        conf_fail(&b->report, name->at, NULL, "duplicate origin \"%.*s\"; the first is on line %u",
                  CONF_SHOWN(name->text), b->origin_lines[known->index]);

    struct config_origin_build build = { .origin = { .name = name->text,
                                                     .index = (unsigned)c->origin_count } };
    config_build_block(b, CONTEXT_ORIGIN, item, &build);
    finish_tls(b, &build, item);
    struct config_origin origin = build.origin;
    b->origin_lines = config_room(b, b->origin_lines, c->origin_count, sizeof *b->origin_lines);
    b->origin_lines[c->origin_count] = name->line;
    struct config_origin *origins = config_room(b, c->origins, c->origin_count, sizeof origin);
    origins[c->origin_count++] = origin;
    c->origins = origins;
}

static void fail_server(struct config_builder *b, const struct conf_word *w, const char *reason)
{
    struct arena *a = &b->config->arena;
    struct slice http = SLICE("http://"), https = SLICE("https://"), rest = w->text;
    bool tls = slice_starts(rest, https);
    const char *hint = NULL;
    if (tls || slice_starts(rest, http)) {
        rest = slice_skip(rest, tls ? https.n : http.n);
        rest.n = slice_find(rest, '/');
        reason = "is a URL; HOST:PORT is wanted";
        hint = arena_printf(a, "did you mean \"%.*s\"%s?", CONF_SHOWN(rest),
                            tls ? " and \"tls on;\"" : "")
                   .p;
    } else if (config_is_host_name(rest)) {
        hint = arena_printf(a, "did you mean \"%.*s:80\"?", CONF_SHOWN(rest)).p;
    }
    conf_fail(&b->report, w->at, hint, "\"%.*s\" %s", CONF_SHOWN(w->text), reason);
}

static void fail_option(struct config_builder *b, const struct conf_word *w)
{
    static const char *const options[] = { "backup", "down", NULL };
    const char *hint = config_word_hint(b, w->text, options, "weight=NUMBER, backup or down");
    conf_fail(&b->report, w->at, hint, "unknown option \"%.*s\" of a server", CONF_SHOWN(w->text));
}

static void read_option(struct config_builder *b, const struct conf_word *w,
                        struct config_server *server)
{
    struct slice weight = SLICE("weight=");
    uint64_t n = 0;
    if (slice_eq(w->text, SLICE("backup"))) {
        server->backup = true;
    } else if (slice_eq(w->text, SLICE("down"))) {
        server->down = true;
    } else if (!slice_starts(w->text, weight)) {
        fail_option(b, w);
    } else if (!config_read_digits(slice_skip(w->text, weight.n), WEIGHT_MAX, &n) || n == 0) {
        conf_fail(&b->report, w->at, NULL, "a weight must be a number from 1 to %d", WEIGHT_MAX);
    } else {
        server->weight = (unsigned)n;
    }
}

void config_apply_server(struct config_builder *b, const struct config_directive *d,
                         const struct conf_item *item, void *target)
{
    (void)d;
    struct config_origin *origin = target;
    struct config_server server = { .weight = 1 };
    const char *reason = config_read_host_port(item->args[0].text, &server.host, &server.port);
    if (reason)
        fail_server(b, &item->args[0], reason);
    else
        server.host = arena_copy(&b->config->arena, server.host);
    for (size_t i = 1; i < item->arg_count; i++) read_option(b, &item->args[i], &server);

    struct config_server *servers =
        config_room(b, origin->servers, origin->server_count, sizeof server);
    servers[origin->server_count++] = server;
    origin->servers = servers;
}

void config_apply_host(struct config_builder *b, const struct config_directive *d,
                       const struct conf_item *item, void *target)
{
    (void)d;
    struct config_origin *origin = target;
    const struct conf_word *w = &item->args[0];
    if (!authority_is_valid(w->text))
        conf_fail(&b->report, w->at, NULL, "\"%.*s\" is not a host, or a host and a port",
                  CONF_SHOWN(w->text));
    origin->host = w->text;
}
