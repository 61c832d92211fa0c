#include "edge/certificate.h"

struct tls_context *certificate_first(const struct config *c, const struct config_listen *listen)
{
    for (size_t i = 0; i < c->site_count; i++) {
        const struct config_site *site = &c->sites[i];
        for (size_t k = 0; site->certificate && k < site->listen_count; k++) {
            if (config_listen_eq(&site->listens[k], listen)) return site->certificate;
        }
    }
    return NULL;
}

struct tls_context *certificate_choose(const struct config *c, const struct config_listen *listen,
                                       struct slice host)
{
    if (host.n == 0) return certificate_first(c, listen);
    const struct config_site *site = config_find_site(c, listen, host);
    return site ? site->certificate : NULL;
}
