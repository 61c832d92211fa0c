/* What a site says of TLS. target is its struct config_site_build. */
#include "edge/config_builder.h"

#define HTTPS_PORT 443

/* The site's context, held by the configuration; made when the first directive wants it. */
static struct tls_context *context_of(struct config_builder *b, struct config_site *site)
{
    struct config *c = b->config;
    if (site->certificate) return site->certificate;
    site->certificate = tls_context_new();
    tls_context_name(site->certificate, site->hosts, site->host_count);
    c->certificates =
        config_room(b, c->certificates, c->certificate_count, sizeof *c->certificates);
    c->certificates[c->certificate_count++] = site->certificate;
    return site->certificate;
}

void config_apply_certificate(struct config_builder *b, const struct config_directive *d,
                              const struct conf_item *item, void *target)
{
    (void)d;
    struct config_site_build *build = target;
    struct config_site *site = &build->site;
    const struct conf_word *w = &item->args[0];
    struct tls_context *c = context_of(b, site);
    const char *why;
    const char *doubt = NULL;
    build->has_certificate = true;
    if (item->arg_count == 1 && slice_eq(w->text, SLICE("self_signed")))
        why = tls_context_add_self_signed(c, site->hosts, site->host_count);
    else
        why = tls_context_add(c, w->text.p, item->args[item->arg_count - 1].text.p, site->hosts,
                              site->host_count, &doubt);
    if (doubt && !why)
        conf_fail(&b->warnings, w->at, NULL, "\"%.*s\" %s", CONF_SHOWN(w->text), doubt);
    if (why) conf_fail(&b->report, w->at, NULL, "\"%.*s\" %s", CONF_SHOWN(w->text), why);
}

void config_apply_client_ca(struct config_builder *b, const struct config_directive *d,
                            const struct conf_item *item, void *target)
{
    (void)d;
    struct config_site *site = &((struct config_site_build *)target)->site;
    const struct conf_word *w = &item->args[0], *how = w + 1;
    bool optional = item->arg_count == 2;
    if (!optional && slice_eq(w->text, SLICE("off"))) return;
    if (optional && !slice_eq(how->text, SLICE("optional")))
        conf_fail(&b->report, how->at, "optional, or nothing", "\"%.*s\" is no way to ask a client",
                  CONF_SHOWN(how->text));
    const char *why = tls_context_ask_clients(context_of(b, site), w->text.p, !optional);
    if (why) conf_fail(&b->report, w->at, NULL, "\"%.*s\" %s", CONF_SHOWN(w->text), why);
}

static bool listens(const struct config_site *site, bool tls)
{
    for (size_t i = 0; i < site->listen_count; i++) {
        if (site->listens[i].tls == tls) return true;
    }
    return false;
}

/* The port stands at the same place for both families. */
static uint16_t https_port(const struct config_site *site)
{
    for (size_t i = 0; i < site->listen_count; i++) {
        const struct config_listen *l = &site->listens[i];
        if (l->tls) return ntohs(((const struct sockaddr_in *)&l->address)->sin_port);
    }
    return HTTPS_PORT;
}

void config_apply_https_redirect(struct config_builder *b, const struct config_directive *d,
                                 const struct conf_item *item, void *target)
{
    (void)d;
    struct config_site *site = &((struct config_site_build *)target)->site;
    const struct conf_word *w = &item->args[0];
    uint64_t port = 0;
    if (slice_eq(w->text, SLICE("off"))) return;
    if (slice_eq(w->text, SLICE("on")))
        site->https_port = https_port(site);
    else if (config_read_digits(w->text, UINT16_MAX, &port) && port)
        site->https_port = (uint16_t)port;
    else
        conf_fail(&b->report, w->at, "on, off or a port", "\"%.*s\" is no port from 1 to 65535",
                  CONF_SHOWN(w->text));
    if (!listens(site, false) && !(b->doubtful & CONTEXT_SITE))
        conf_fail(&b->report, item->name.at, "add a \"listen\" without \"tls\"",
                  "all that comes to this site comes over TLS already");
}

static bool read_hsts_word(struct config_builder *b, const struct conf_word *w, bool *subdomains,
                           bool *preload)
{
    static const char *const words[] = { "include_subdomains", "preload", NULL };
    bool *const flags[] = { subdomains, preload };
    for (size_t i = 0; words[i]; i++) {
        if (!slice_eq(w->text, slice_str(words[i]))) continue;
        *flags[i] = true;
        return true;
    }
    conf_fail(&b->report, w->at,
              config_word_hint(b, w->text, words, "include_subdomains or preload"),
              "\"%.*s\" is nothing that hsts knows", CONF_SHOWN(w->text));
    return false;
}

void config_apply_hsts(struct config_builder *b, const struct config_directive *d,
                       const struct conf_item *item, void *target)
{
    (void)d;
    struct config_site_build *build = target;
    const struct conf_word *w = &item->args[0];
    bool subdomains = false, preload = false;
    int64_t ms;
    if (item->arg_count == 1 && slice_eq(w->text, SLICE("off"))) return;
    const char *reason = config_read_duration(w->text, &ms);
    if (reason) {
        conf_fail(&b->report, w->at, config_value_hint(b, TYPE_DURATION, w->text), "\"%.*s\" %s",
                  CONF_SHOWN(w->text), reason);
        return;
    }
    for (size_t i = 1; i < item->arg_count; i++) {
        if (!read_hsts_word(b, &item->args[i], &subdomains, &preload)) return;
    }
    build->inherited.hsts =
        arena_printf(&b->config->arena, "max-age=%lld%s%s", (long long)(ms / 1000),
                     subdomains ? "; includeSubDomains" : "", preload ? "; preload" : "");
}

void config_finish_tls(struct config_builder *b, const struct config_site_build *build)
{
    const struct config_site *site = &build->site;
    if (site->certificate && site->early_data) tls_context_allow_early_data(site->certificate);
    if (site->certificate && site->client_cert_header) tls_context_show_clients(site->certificate);
    if (site->client_cert_header &&
        !(site->certificate && tls_context_asks_clients(site->certificate)))
        conf_fail(
            &b->report, build->item->name.at, "add \"client_ca FILE;\"",
            "client_cert_header has nothing to show where no client is asked for a certificate");
    if (!listens(site, true) || build->has_certificate || b->doubtful & CONTEXT_SITE) return;
    conf_fail(&b->report, build->item->name.at,
              "add \"certificate FILE KEY;\" or \"certificate self_signed;\"",
              "this site listens with TLS and has no certificate");
}
