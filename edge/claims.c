#include "edge/claims.h"

#include <arpa/inet.h>
#include <string.h>

#include "cache/key.h"
#include "edge/listener.h"
#include "protocols/http/value.h"

/* ---- whose word counts ---- */

/* X-Forwarded-Port, -Prefix and so on: there is no end of them. */
static bool is_forwarded_more(struct slice name)
{
    struct slice prefix = SLICE("X-Forwarded-");
    return name.n > prefix.n && slice_eq_nocase(slice_of(name.p, prefix.n), prefix);
}

/* Of these the node writes one itself, or has them of TLS. */
static bool is_ours(enum field_id id)
{
    switch (id) {
    case FIELD_CLIENT_CERT:
    case FIELD_CLIENT_CERT_CHAIN:
    case FIELD_FORWARDED:
    case FIELD_X_FORWARDED_FOR:
    case FIELD_X_FORWARDED_HOST:
    case FIELD_X_FORWARDED_PROTO: return true;
    default: return false;
    }
}

static bool is_claim(enum field_id id, struct slice name)
{
    return id == FIELD_OTHER ? is_forwarded_more(name) : field_flags(id) & FIELD_CLAIM;
}

bool claims_may_be_passed(struct slice name)
{
    enum field_id id = field_lookup(name);
    return is_claim(id, name) && !is_ours(id);
}

static bool is_passed(const struct config_route *r, enum field_id id, struct slice name)
{
    for (size_t i = 0; !is_ours(id) && i < r->passed_claim_count; i++) {
        if (field_name_matches(r->passed_claims[i], name)) return true;
    }
    return false;
}

/* With '-' for '_': as CGI and WSGI fold names into variables. */
static struct slice unfold(struct slice name, char *buffer, size_t bytes)
{
    if (name.n > bytes) return name; /* longer than any that is known */
    for (size_t i = 0; i < name.n; i++) buffer[i] = name.p[i] == '_' ? '-' : name.p[i];
    return slice_of(buffer, name.n);
}

static bool goes_on(const struct config_route *r, bool trusted, const struct field *f)
{
    char buffer[64];
    struct slice name = f->name;
    enum field_id id = f->id;
    if (id == FIELD_OTHER && slice_find(name, '_') < name.n) {
        if (!r->underscores) return false;
        name = unfold(name, buffer, sizeof buffer);
        id = field_lookup(name);
    }
    return trusted || !is_claim(id, name) || is_passed(r, id, name);
}

void claims_drop(const struct config_route *r, bool trusted, struct fields *fields)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < fields->n; i++) {
        if (!goes_on(r, trusted, &fields->v[i])) continue;
        if (kept < i) fields->v[kept] = fields->v[i];
        kept++;
    }
    fields->n = kept;
}

/* ---- hops ---- */

/* What a proxy says of one connection that it took a request from; empty where it does not say. */
struct hop {
    struct slice node, proto, host;
};

/* The last ones of a list, which is as long as its writers like: hop i is v[i % HOPS_MAX], and the
 * last is our peer's. */
enum { HOPS_MAX = 64 };
struct hops {
    struct hop v[HOPS_MAX];
    size_t n; /* of the list */
};

static struct hop *add_hop(struct hops *hops)
{
    struct hop *hop = &hops->v[hops->n++ % HOPS_MAX];
    *hop = (struct hop){ SLICE_NONE, SLICE_NONE, SLICE_NONE };
    return hop;
}

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

static bool parse_address(struct slice s, uint8_t out[16])
{
    char text[INET6_ADDRSTRLEN];
    if (s.n == 0 || s.n >= sizeof text) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    memcpy(out, mapped, sizeof mapped);
    return inet_pton(AF_INET, text, out + sizeof mapped) == 1 ||
           inet_pton(AF_INET6, text, out) == 1;
}

/* Also in brackets and with a port. IPv6 without brackets is no authority, and is taken as it is.
 */
static bool parse_node(struct slice s, uint8_t out[16])
{
    if (authority_is_valid(s)) {
        s = authority_host(s);
        if (s.p[0] == '[') s = slice_of(s.p + 1, s.n - 2);
    }
    return parse_address(s, out);
}

/* X-Forwarded-For, with X-Forwarded-Proto if that has a member for each, or the same in all. */
static void read_x(const struct request *req, struct arena *a, struct hops *hops)
{
    struct slice nodes = fields_joined(&req->fields, FIELD_X_FORWARDED_FOR, a), node;
    struct slice protos = fields_joined(&req->fields, FIELD_X_FORWARDED_PROTO, a), proto;
    struct slice last[HOPS_MAX] = { 0 };
    size_t told = 0;
    bool same = true;
    hops->n = 0;
    while (value_next_plain(&nodes, &node)) add_hop(hops)->node = node;
    for (; value_next_plain(&protos, &proto); told++) {
        same &= told == 0 || slice_eq_nocase(proto, last[(told - 1) % HOPS_MAX]);
        last[told % HOPS_MAX] = proto;
    }
    if (told && hops->n == 0) add_hop(hops);
    for (size_t i = 0; told && i < HOPS_MAX && i < hops->n; i++) {
        if (same || told == hops->n) hops->v[i].proto = last[same ? 0 : i];
    }
}

/* Empty where the element is malformed. */
static struct hop parse_element(struct slice element)
{
    struct hop hop = { SLICE_NONE, SLICE_NONE, SLICE_NONE };
    struct slice parameter, name, value;
    while (value_next_split(&element, ';', &parameter)) {
        if (!value_parse_parameter(parameter, &name, &value)) return (struct hop){ 0 };
        if (slice_eq_nocase(name, SLICE("for"))) hop.node = value;
        if (slice_eq_nocase(name, SLICE("proto"))) hop.proto = value;
        if (slice_eq_nocase(name, SLICE("host"))) hop.host = value;
    }
    return hop;
}

static void read_forwarded(const struct request *req, struct arena *a, struct hops *hops)
{
    struct slice list = fields_joined(&req->fields, FIELD_FORWARDED, a), element;
    hops->n = 0;
    while (value_next(&list, &element)) *add_hop(hops) = parse_element(element);
}

/* The hop that took the request from the client: from the right, as long as what stands there came
 * from another trusted proxy, who has written what stands before it. NULL if there is none; *right
 * is the one behind it, or NULL. */
static const struct hop *client_hop(const struct config *c, const struct hops *hops,
                                    const struct hop **right)
{
    uint8_t address[16];
    size_t first = hops->n > HOPS_MAX ? hops->n - HOPS_MAX : 0;
    const struct hop *hop = NULL;
    *right = NULL;
    for (size_t i = hops->n; i > first; i--) {
        *right = hop;
        hop = &hops->v[(i - 1) % HOPS_MAX];
        if (!parse_node(hop->node, address) || !config_is_trusted(c, address)) break;
    }
    return hop;
}

/* ---- the scheme ---- */

struct slice claims_scheme(const struct config *c, const struct request *req, struct arena *a)
{
    struct hops hops;
    if (fields_has(&req->fields, FIELD_X_FORWARDED_PROTO))
        read_x(req, a, &hops);
    else if (fields_has(&req->fields, FIELD_FORWARDED))
        read_forwarded(req, a, &hops);
    else
        return SLICE_NONE;
    const struct hop *right, *hop = client_hop(c, &hops, &right);
    if (hop && slice_eq_nocase(hop->proto, SLICE("https"))) return SLICE("https");
    return hop && slice_eq_nocase(hop->proto, SLICE("http")) ? SLICE("http") : SLICE_NONE;
}

/* ---- the host ---- */

static bool is_host_of(const struct config *c, const struct config_site *site,
                       const struct exchange *x, struct slice host)
{
    const struct config_listen *listen = listener_address(x->peer->listener);
    return authority_is_valid(host) && config_find_site(c, listen, authority_host(host)) == site;
}

static struct slice told_host(const struct config *c, const struct config_site *site,
                              struct exchange *x)
{
    const struct fields *fields = &x->request.fields;
    struct slice told = fields_joined(fields, FIELD_X_FORWARDED_HOST, &x->arena);
    if (!told.p) {
        struct hops hops;
        read_forwarded(&x->request, &x->arena, &hops);
        const struct hop *right, *hop = client_hop(c, &hops, &right);
        if (hop && is_host_of(c, site, x, hop->host)) told = hop->host;
    }
    return told.n ? key_authority_text(x->request.scheme, told, &x->arena) : told;
}

static bool says_the_same(struct slice name, struct slice value, struct slice scheme,
                          struct slice host, struct arena *a)
{
    if (slice_eq_nocase(name, SLICE("proto"))) return slice_eq_nocase(value, scheme);
    return !slice_eq_nocase(name, SLICE("host")) ||
           slice_eq(key_authority_text(scheme, value, a), host);
}

/* Puts an element without the parameters that contradict the key; nothing if none is left, or it is
 * malformed. */
static char *put_element(char *at, struct slice element, struct slice scheme, struct slice host,
                         struct arena *a)
{
    struct slice parameter, name, value;
    char *start = at;
    while (value_next_split(&element, ';', &parameter)) {
        if (!value_parse_parameter(parameter, &name, &value)) return start;
        if (!says_the_same(name, value, scheme, host, a)) continue;
        if (at > start) *at++ = ';';
        at = mempcpy(at, parameter.p, parameter.n);
    }
    return at;
}

/* What is put for an element is no longer than the element, and two bytes go between any two. */
static void prune_forwarded(struct request *req, struct slice host, struct arena *a)
{
    struct slice list = fields_joined(&req->fields, FIELD_FORWARDED, a), element;
    char *text = arena_alloc(a, 2 * list.n + 1), *at = text;
    while (value_next(&list, &element)) {
        char *start = at > text ? mempcpy(at, ", ", 2) : at;
        char *end = put_element(start, element, req->scheme, host, a);
        if (end > start) at = end;
    }
    fields_remove(&req->fields, FIELD_FORWARDED);
    if (at > text)
        fields_add(&req->fields, a, FIELD_FORWARDED, slice_of(text, (size_t)(at - text)));
}

void claims_settle_host(const struct config *c, const struct config_site *site, struct exchange *x)
{
    struct request *r = &x->request;
    bool forwarded = fields_has(&r->fields, FIELD_FORWARDED);
    if (!forwarded && !fields_has(&r->fields, FIELD_X_FORWARDED_HOST)) return;
    struct slice told = told_host(c, site, x);
    struct slice own = key_authority_text(r->scheme, r->authority, &x->arena);
    fields_remove(&r->fields, FIELD_X_FORWARDED_HOST);
    if (told.n && !slice_eq(told, own))
        fields_add(&r->fields, &x->arena, FIELD_X_FORWARDED_HOST, told);
    if (forwarded) prune_forwarded(r, told.n ? told : own, &x->arena);
}

/* ---- who asked ---- */

static struct slice address_text(const uint8_t address[16], struct arena *a)
{
    bool v4 = memcmp(address, mapped, sizeof mapped) == 0;
    char *text = arena_alloc(a, INET6_ADDRSTRLEN);
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? address + sizeof mapped : address, text,
              INET6_ADDRSTRLEN);
    return slice_str(text);
}

struct slice peer_text(const struct peer *peer, struct arena *a)
{
    return address_text(peer->address, a);
}

/* If the client's hop says no address, the one that it spoke to is the last that is known. */
struct slice claims_client(const struct config *c, const struct peer *peer,
                           const struct request *req, struct arena *a)
{
    uint8_t address[16];
    struct hops hops;
    if (!config_is_trusted(c, peer->address)) return peer_text(peer, a);
    if (fields_has(&req->fields, FIELD_X_FORWARDED_FOR))
        read_x(req, a, &hops);
    else
        read_forwarded(req, a, &hops);
    const struct hop *right, *hop = client_hop(c, &hops, &right);
    bool known =
        hop && (parse_node(hop->node, address) || (right && parse_node(right->node, address)));
    return known ? address_text(address, a) : peer_text(peer, a);
}
