#include "edge/admit.h"

#include "edge/base/error.h"
#include "edge/forward.h"
#include "edge/listen.h"
#include "protocols/http/value.h"

/* What a stranger writes into the target does not make its connection a secure one. */
static bool settle_scheme(const struct config *c, struct exchange *x)
{
    struct request *r = &x->request;
    if (!config_is_trusted(c, x->peer->address))
        return slice_eq(r->scheme, SLICE("https")) == x->peer->secure;
    struct slice told = fields_value(&r->fields, FIELD_X_FORWARDED_PROTO);
    if (slice_eq_nocase(told, SLICE("https")))
        r->scheme = SLICE("https");
    else if (slice_eq_nocase(told, SLICE("http")))
        r->scheme = SLICE("http");
    return true;
}

/* RFC 9110 section 7.6.2. */
static bool goes_no_further(const struct request *r)
{
    bool counted = r->method == METHOD_OPTIONS || r->method == METHOD_TRACE;
    return counted && value_int64(fields_value(&r->fields, FIELD_MAX_FORWARDS)) == 0;
}

static bool expectation_can_be_met(const struct request *r)
{
    for (uint32_t i = 0; i < r->fields.n; i++) {
        const struct field *f = &r->fields.v[i];
        if (f->id == FIELD_EXPECT && !slice_eq_nocase(f->value, SLICE("100-continue")))
            return false;
    }
    return true;
}

static int check(const struct config *c, struct exchange *x)
{
    const struct request *r = &x->request;
    if (r->method == METHOD_CONNECT) return -E_METHOD;
    if (r->method == METHOD_TRACE && goes_no_further(r)) return -E_METHOD;
    if (!settle_scheme(c, x)) return -E_SCHEME;
    if (forward_is_loop(r)) return -E_LOOP;
    return expectation_can_be_met(r) ? 0 : -E_EXPECTATION;
}

static int find_route(const struct config *c, const struct exchange *x,
                      const struct config_route **route)
{
    const struct request *r = &x->request;
    const struct config_listen *listen = listener_address(x->peer->listener);
    const struct config_site *site = config_find_site(c, listen, authority_host(r->authority));
    if (!site) return -E_NO_SITE;
    *route = config_find_route(site, target_path(r->target));
    if (!*route) return -E_NO_ROUTE;
    return r->length > (*route)->body_size_bytes ? -E_BODY_TOO_LARGE : 0;
}

int admit_request(const struct config *c, struct exchange *x, const struct config_route **route)
{
    *route = NULL;
    int rc = check(c, x);
    bool ours = slice_eq(x->request.target, SLICE("*")) || goes_no_further(&x->request);
    return rc < 0 || ours ? rc : find_route(c, x, route);
}
