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
        if (goes_on(r, trusted, &fields->v[i])) fields->v[kept++] = fields->v[i];
    }
    fields->n = kept;
}

/* ---- hops ---- */

/* What a proxy says of one connection that it took a request from; empty where it does not say. */
struct hop {
    struct slice node, proto, host;
};

/* From the left, as they were written: the last is our peer's. */
struct hops {
    struct hop *v;
    size_t n;
};

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

static size_t commas(struct slice s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.n; i++) count += s.p[i] == ',';
    return count;
}

static size_t split_list(struct slice list, struct slice *out)
{
    size_t count = 0;
    while (value_next_plain(&list, &out[count])) count++;
    return count;
}

/* X-Forwarded-For, with X-Forwarded-Proto where it has a member for each, or the same in all. */
static struct hops hops_of_x(const struct request *req, struct arena *a)
{
    struct slice nodes = fields_joined(&req->fields, FIELD_X_FORWARDED_FOR, a);
    struct slice protos = fields_joined(&req->fields, FIELD_X_FORWARDED_PROTO, a);
    size_t room = commas(nodes) + commas(protos) + 2;
    struct slice *node = arena_alloc(a, 2 * room * sizeof *node), *proto = node + room;
    size_t n = split_list(nodes, node), told = split_list(protos, proto);
    struct hops hops = { arena_alloc(a, (n + 1) * sizeof *hops.v), n ? n : told > 0 };
    bool same = true;
    for (size_t i = 1; i < told; i++) same &= slice_eq_nocase(proto[i], proto[0]);
    for (size_t i = 0; i < hops.n; i++) {
        hops.v[i] = (struct hop){ .node = i < n ? node[i] : SLICE_NONE };
        if (told && (told == hops.n || same)) hops.v[i].proto = proto[same ? 0 : i];
    }
    return hops;
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

static struct hops hops_of_forwarded(const struct request *req, struct arena *a)
{
    struct slice list = fields_joined(&req->fields, FIELD_FORWARDED, a), element;
    struct hops hops = { arena_alloc(a, (commas(list) + 1) * sizeof *hops.v), 0 };
    while (value_next(&list, &element)) hops.v[hops.n++] = parse_element(element);
    return hops;
}

/* The hop that took the request from the client: from the right, as long as what stands there came
 * from another trusted proxy, who has written what stands before it. */
static const struct hop *client_hop(const struct config *c, const struct hops *hops)
{
    uint8_t address[16];
    if (hops->n == 0) return NULL;
    const struct hop *hop = &hops->v[hops->n - 1];
    while (hop > hops->v && parse_node(hop->node, address) && config_is_trusted(c, address)) hop--;
    return hop;
}

/* ---- the scheme ---- */

struct slice claims_scheme(const struct config *c, const struct request *req, struct arena *a)
{
    if (!fields_has(&req->fields, FIELD_X_FORWARDED_PROTO) &&
        !fields_has(&req->fields, FIELD_FORWARDED))
        return SLICE_NONE;
    bool x = fields_has(&req->fields, FIELD_X_FORWARDED_PROTO);
    struct hops hops = x ? hops_of_x(req, a) : hops_of_forwarded(req, a);
    const struct hop *hop = client_hop(c, &hops);
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
        struct hops hops = hops_of_forwarded(&x->request, &x->arena);
        const struct hop *hop = client_hop(c, &hops);
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

/* Without parameters that contradict the key; empty where nothing is left, or it is malformed. */
static struct slice prune_element(struct slice element, struct slice scheme, struct slice host,
                                  struct arena *a)
{
    struct slice parameter, name, value, kept = SLICE("");
    while (value_next_split(&element, ';', &parameter)) {
        if (!value_parse_parameter(parameter, &name, &value)) return SLICE("");
        if (!says_the_same(name, value, scheme, host, a)) continue;
        struct slice parts[] = { kept, SLICE(";"), parameter };
        kept = kept.n ? arena_concat(a, parts, 3) : parameter;
    }
    return kept;
}

static void prune_forwarded(struct request *req, struct slice host, struct arena *a)
{
    struct slice list = fields_joined(&req->fields, FIELD_FORWARDED, a), element;
    struct slice kept = SLICE("");
    while (value_next(&list, &element)) {
        struct slice parts[] = { kept, SLICE(", "), prune_element(element, req->scheme, host, a) };
        if (parts[2].n) kept = kept.n ? arena_concat(a, parts, 3) : parts[2];
    }
    fields_remove(&req->fields, FIELD_FORWARDED);
    if (kept.n) fields_add(&req->fields, a, FIELD_FORWARDED, kept);
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

/* Where the client's hop says no address, the one that it spoke to is the last that is known. */
struct slice claims_client(const struct config *c, const struct peer *peer,
                           const struct request *req, struct arena *a)
{
    uint8_t address[16];
    if (!config_is_trusted(c, peer->address)) return peer_text(peer, a);
    bool x = fields_has(&req->fields, FIELD_X_FORWARDED_FOR);
    struct hops hops = x ? hops_of_x(req, a) : hops_of_forwarded(req, a);
    const struct hop *hop = client_hop(c, &hops);
    if (!hop) return peer_text(peer, a);
    if (parse_node(hop->node, address)) return address_text(address, a);
    bool known = hop + 1 < hops.v + hops.n && parse_node(hop[1].node, address);
    return known ? address_text(address, a) : peer_text(peer, a);
}
