#include "edge/certificate.h"

struct tls_context *certificate_choose(const struct config *c, const struct config_listen *listen,
                                       struct slice host)
{
    const struct config_site *site =
        host.n ? config_find_site(c, listen, host) : config_first_site(c, listen);
    return site ? site->certificate : NULL;
}
