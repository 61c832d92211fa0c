#include "edge/admit.h"

#include <string.h>

#include "edge/base/error.h"
#include "edge/claims.h"
#include "edge/forward.h"
#include "edge/io/tls.h"
#include "edge/listener.h"
#include "protocols/http/path.h"
#include "protocols/http/structured.h"
#include "protocols/http/value.h"

#define HTTPS_PORT 443

/* What a stranger writes into the target does not make its connection a secure one. */
static bool settle_scheme(const struct config *c, struct exchange *x)
{
    struct request *r = &x->request;
    if (!config_is_trusted(c, x->peer->address))
        return slice_eq(r->scheme, SLICE("https")) == x->peer->secure;
    struct slice told = claims_scheme(c, r, &x->arena);
    if (told.n) r->scheme = told;
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
    if (r->method == METHOD_TRACE && goes_no_further(r)) return -E_TRACE;
    if (!settle_scheme(c, x)) return -E_SCHEME;
    if (forward_is_loop(r)) return -E_LOOP;
    return expectation_can_be_met(r) ? 0 : -E_EXPECTATION;
}

/* ---- the site ---- */

/* A client that has proved who it is to one site has proved nothing to another, whose name it may
 * write into a request on the same connection (RFC 9110 section 7.4). Only where neither asks for
 * certificates do sites share connections. */
static bool is_misdirected(const struct config_site *site, const struct tls_hello *hello)
{
    const struct tls_context *c = site->certificate;
    bool asks = c && tls_context_asks_clients(c);
    if (!asks && !(hello && hello->asks_client)) return false;
    return !hello || !c || memcmp(hello->site, tls_context_site(c), TLS_SITE_BYTES) != 0;
}

/* RFC 8470 section 5.1: what came early may have been sent by anybody, again. So may what a proxy
 * before this one says came early; what that says stays. */
static int settle_early(const struct config_site *site, struct exchange *x)
{
    struct request *r = &x->request;
    if (x->peer->tls && tls_is_early(x->peer->tls)) x->early = true;
    if (x->early && (!site->early_data || !method_is_safe(r->method))) return -E_TOO_EARLY;
    if (x->early || fields_has(&r->fields, FIELD_EARLY_DATA))
        fields_set(&r->fields, &x->arena, FIELD_EARLY_DATA, SLICE("1"));
    return 0;
}

/* RFC 9440 section 2.4: nobody but this node, or a proxy it trusts, says whose certificate it saw.
 */
static void settle_client_cert(const struct config_site *site, struct exchange *x)
{
    struct fields *fields = &x->request.fields;
    if (!site->client_cert_header) return;
    fields_remove(fields, FIELD_CLIENT_CERT);
    fields_remove(fields, FIELD_CLIENT_CERT_CHAIN);
    if (!x->peer->tls) return;
    struct slice der = tls_client_certificate(x->peer->tls);
    if (der.n) fields_add(fields, &x->arena, FIELD_CLIENT_CERT, structured_bytes(der, &x->arena));
}

static void settle_claims(const struct config *c, const struct config_site *site,
                          const struct config_route *route, struct exchange *x)
{
    bool trusted = config_is_trusted(c, x->peer->address);
    claims_drop(route, trusted, &x->request.fields);
    if (trusted) claims_settle_host(c, site, x);
    settle_client_cert(site, x);
}

/* Certificate authorities ask without TLS (RFC 8555 section 8.3). */
static bool belongs_to_https(const struct config_site *site, const struct request *r,
                             struct slice key, struct slice match)
{
    struct slice acme = SLICE("/.well-known/acme-challenge/");
    return site->https_port && !slice_eq(r->scheme, SLICE("https")) &&
           !(slice_starts(key, acme) && slice_starts(match, acme));
}

static int redirect(const struct config_site *site, struct exchange *x, struct admitted *out)
{
    const struct request *r = &x->request;
    struct slice host = authority_host(r->authority), port = SLICE_NONE;
    if (host.n == 0) return -E_BAD_HOST; /* HTTP/1.0 need not name one */
    if (site->https_port != HTTPS_PORT) port = arena_printf(&x->arena, ":%u", site->https_port);
    struct slice parts[] = { SLICE("https://"), host, port, r->target };
    out->location = arena_concat(&x->arena, parts, 4);
    return 0;
}

/* Why a route does not take a request; 0 if it does. */
static int refusal(const struct config_route *route, const struct request *r)
{
    if (r->method == METHOD_TRACE && !route->trace_passes) return -E_TRACE;
    return r->length > route->body_size_bytes ? -E_BODY_TOO_LARGE : 0;
}

/* By the coarser of the path's two forms. Where that leads elsewhere than what the origin is sent,
 * it depends on the origin which of the two routes is meant: then both have to take the request. */
static int choose_route(const struct config_site *site, const struct request *r, struct slice key,
                        struct slice match, struct admitted *out)
{
    const struct config_route *route = config_find_route(site, match);
    const struct config_route *other = config_find_route(site, key);
    if (!route || !other) return -E_NO_ROUTE;
    out->route = route;
    out->ambiguous = route != other;
    out->body_size_bytes = route->body_size_bytes;
    if (other->body_size_bytes < out->body_size_bytes)
        out->body_size_bytes = other->body_size_bytes;
    int rc = refusal(route, r);
    return rc < 0 ? rc : refusal(other, r);
}

static int find_route(const struct config *c, struct exchange *x, struct admitted *out)
{
    const struct request *r = &x->request;
    const struct config_listen *listen = listener_address(x->peer->listener);
    const struct config_site *site = config_find_site(c, listen, authority_host(r->authority));
    if (!site) return -E_NO_SITE;
    struct slice key = target_path(r->target), match = path_match(key, &x->arena);
    if (belongs_to_https(site, r, key, match)) return redirect(site, x, out);
    if (is_misdirected(site, x->peer->tls)) return -E_MISDIRECTED;
    int rc = settle_early(site, x);
    if (rc < 0) return rc;
    rc = choose_route(site, r, key, match, out);
    if (rc == 0) settle_claims(c, site, out->route, x);
    return rc;
}

int admit_request(const struct config *c, struct exchange *x, struct admitted *out)
{
    struct request *r = &x->request;
    *out = (struct admitted){ 0 };
    int rc = check(c, x);
    bool ours = slice_eq(r->target, SLICE("*")) || goes_no_further(r);
    if (rc < 0 || ours) return rc;
    if (!target_key(r->target, &x->arena, &r->target)) return -E_BAD_PATH;
    return find_route(c, x, out);
}
