/* The request as an origin gets it. One pass copies the fields; of those the node speaks in as well
 * it keeps the place of the first line, and the line for the origin is put there once all have been
 * seen. */
#include "edge/forward.h"

#include <string.h>

#include "cache/key.h"
#include "edge/base/check.h"
#include "edge/claims.h"
#include "protocols/http/accept.h"
#include "protocols/http/value.h"

/* When a client's line goes no further. */
enum fate {
    PASS,
    DROP,         /* Expect: met or refused here */
    PRECONDITION, /* evaluated by the cache */
    PARTIAL,      /* cut out of the whole by the cache */
};

/* Fields of which the origin gets one line, whatever the client sent. */
enum place {
    NOWHERE,
    VIA,
    LOOP,
    ADDRESSES,
    PROTO,
    HOST,
    FORWARDED,
    CODINGS,
    PLACE_COUNT,
};

static const struct {
    uint8_t fate, place;
} treatments[FIELD_COUNT] = {
    [FIELD_ACCEPT_ENCODING] = { PASS, CODINGS },
    [FIELD_CDN_LOOP] = { PASS, LOOP },
    [FIELD_EXPECT] = { DROP, NOWHERE },
    [FIELD_FORWARDED] = { PASS, FORWARDED },
    [FIELD_IF_MATCH] = { PRECONDITION, NOWHERE },
    [FIELD_IF_MODIFIED_SINCE] = { PRECONDITION, NOWHERE },
    [FIELD_IF_NONE_MATCH] = { PRECONDITION, NOWHERE },
    [FIELD_IF_RANGE] = { PARTIAL, NOWHERE },
    [FIELD_IF_UNMODIFIED_SINCE] = { PRECONDITION, NOWHERE },
    [FIELD_RANGE] = { PARTIAL, NOWHERE },
    [FIELD_VIA] = { PASS, VIA },
    [FIELD_X_FORWARDED_FOR] = { PASS, ADDRESSES },
    [FIELD_X_FORWARDED_HOST] = { PASS, HOST },
    [FIELD_X_FORWARDED_PROTO] = { PASS, PROTO },
};

struct build {
    const struct forward *f;
    const struct request *from;
    struct slice authority;
    struct fields *out;
    struct arena *arena;
    struct slice peer;
    struct {
        uint32_t lines; /* received, and to be passed on */
        uint32_t at;    /* of the first, in out */
    } places[PLACE_COUNT];
};

/* ---- what is passed on ---- */

static bool passes(const struct build *b, enum fate fate)
{
    switch (fate) {
    case PASS: return true;
    case DROP: return false;
    case PRECONDITION: return !b->f->shared || b->f->keep_conditions;
    case PARTIAL: return !b->f->shared || b->f->keep_range;
    }
    return true;
}

/* The list gets room for every line that may come, so that it does not move. */
static void copy_fields(struct build *b)
{
    const struct fields *from = &b->from->fields;
    uint32_t cap = from->n + PLACE_COUNT + (uint32_t)b->f->route->request_header_count;
    *b->out = (struct fields){ arena_alloc(b->arena, cap * sizeof *b->out->v), 0, cap };
    for (uint32_t i = 0; i < from->n; i++) {
        enum field_id id = from->v[i].id;
        if (!passes(b, treatments[id].fate)) continue;
        enum place place = treatments[id].place;
        if (place && b->places[place].lines++) continue;
        b->places[place].at = b->out->n;
        b->out->v[b->out->n++] = from->v[i];
    }
}

/* Only claims_drop's survivors come here: what is extended was written by trusted proxies. */
static bool says_of_hops(const struct build *b)
{
    return b->places[ADDRESSES].lines || b->places[PROTO].lines || b->places[HOST].lines ||
           b->places[FORWARDED].lines;
}

/* What passed of a field that has a place. */
static struct slice received(const struct build *b, enum field_id id)
{
    enum place place = treatments[id].place;
    if (b->places[place].lines == 0) return SLICE_NONE;
    if (b->places[place].lines > 1) return fields_joined(&b->from->fields, id, b->arena);
    return b->out->v[b->places[place].at].value;
}

/* ---- what the node says ---- */

static void put(struct build *b, enum field_id id, struct slice value)
{
    enum place place = treatments[id].place;
    if (b->places[place].lines)
        b->out->v[b->places[place].at].value = value;
    else
        fields_add(b->out, b->arena, id, value);
}

static void put_appended(struct build *b, enum field_id id, struct slice member)
{
    struct slice parts[] = { received(b, id), SLICE(", "), member };
    put(b, id, parts[0].n ? arena_concat(b->arena, parts, 3) : member);
}

/* A trusted proxy's word stays: it saw the client. */
static void put_unless_received(struct build *b, enum field_id id, struct slice value)
{
    struct slice old = received(b, id);
    if (old.n || value.n) put(b, id, old.n ? old : value);
}

/* The secondary key holds this same text (key_vary), so that a variant is stored under what was
 * asked for. It tells no field at all from "identity", and so does what is sent: nothing is added
 * where the client sent none. */
static void put_accept_encoding(struct build *b)
{
    if (b->places[CODINGS].lines == 0) return;
    struct slice value = received(b, FIELD_ACCEPT_ENCODING);
    if (b->f->shared) value = accept_encoding_text(accept_encoding_parse(value));
    put(b, FIELD_ACCEPT_ENCODING, value);
}

static struct slice via_member(enum http_version version)
{
    switch (version) {
    case HTTP_1_0: return SLICE("1.0 verge");
    case HTTP_1_1: return SLICE("1.1 verge");
    case HTTP_2: return SLICE("2.0 verge");
    case HTTP_3: return SLICE("3.0 verge");
    }
    return SLICE("1.1 verge");
}

/* RFC 7239 section 4. A valid authority has neither '"' nor '\\', so quotes around it are enough.
 */
static struct slice forwarded_element(const struct build *b)
{
    bool v6 = slice_find(b->peer, ':') < b->peer.n, host = b->authority.n;
    struct slice parts[] = {
        v6 ? SLICE("for=\"[") : SLICE("for="),
        b->peer,
        v6 ? SLICE("]\"") : SLICE(""),
        host ? SLICE(";host=\"") : SLICE(""),
        b->authority,
        host ? SLICE("\";proto=") : SLICE(";proto="),
        b->from->scheme,
    };
    return arena_concat(b->arena, parts, sizeof parts / sizeof *parts);
}

/* "verge; node=HEX": this node's member of CDN-Loop. Written once, before there are threads. */
static char loop_member[] = "verge; node=0000000000000000";
enum { NODE_DIGITS = 16, LOOP_MEMBER_BYTES = sizeof loop_member - 1 };

void forward_init(uint64_t random)
{
    for (int i = 1; i <= NODE_DIGITS; i++, random >>= 4) {
        loop_member[LOOP_MEMBER_BYTES - i] = "0123456789abcdef"[random % 16];
    }
}

/* Looks for the digits wherever they stand: a list taken apart could hide them, as when a client
 * begins it with a quotation mark that never ends. */
bool forward_is_loop(const struct request *req)
{
    const char *node = loop_member + LOOP_MEMBER_BYTES - NODE_DIGITS;
    for (uint32_t i = 0; i < req->fields.n; i++) {
        const struct field *f = &req->fields.v[i];
        if (f->id == FIELD_CDN_LOOP && memmem(f->value.p, f->value.n, node, NODE_DIGITS))
            return true;
    }
    return false;
}

/* The scheme is the request's rather than the connection's: it is in the cache key, and what is
 * stored under https must not be what an origin says to http. */
static void put_lines(struct build *b)
{
    put_accept_encoding(b);
    put_appended(b, FIELD_VIA, via_member(b->from->version));
    put_appended(b, FIELD_X_FORWARDED_FOR, b->peer);
    put(b, FIELD_X_FORWARDED_PROTO, b->from->scheme);
    put_unless_received(b, FIELD_X_FORWARDED_HOST, b->authority);
    put_appended(b, FIELD_FORWARDED, forwarded_element(b));
    put_appended(b, FIELD_CDN_LOOP, slice_of(loop_member, LOOP_MEMBER_BYTES));
}

/* RFC 9110 section 7.6.2. Zero does not get here. */
static void count_forward(struct build *b)
{
    bool counted = b->from->method == METHOD_OPTIONS || b->from->method == METHOD_TRACE;
    int64_t left = counted ? value_int64(fields_value(&b->from->fields, FIELD_MAX_FORWARDS)) : 0;
    if (left <= 0) return;
    struct slice less = arena_printf(b->arena, "%lld", (long long)left - 1);
    fields_set(b->out, b->arena, FIELD_MAX_FORWARDS, less);
}

void forward_request(const struct forward *f, const struct request *from, struct arena *a,
                     struct request *out)
{
    *out = *from;
    out->target = f->target;
    struct slice authority = key_authority_text(from->scheme, from->authority, a);
    out->authority = authority;
    if (f->route->origin->host.n) out->authority = f->route->origin->host;
    struct build b = {
        .f = f, .from = from, .authority = authority, .out = &out->fields, .arena = a
    };
    b.peer = peer_text(f->peer, a);
    copy_fields(&b);
    CHECK(!says_of_hops(&b) || config_is_trusted(f->config, f->peer->address));
    put_lines(&b);
    count_forward(&b);
    header_rules_apply(f->route->request_headers, f->route->request_header_count, &out->fields, a);
}

void header_rules_apply(const struct header_rule *rules, size_t count, struct fields *f,
                        struct arena *a)
{
    for (size_t i = 0; i < count; i++) {
        const struct header_rule *rule = &rules[i];
        if (rule->action != HEADER_ADD) fields_remove_matching(f, rule->name);
        if (rule->action != HEADER_REMOVE) fields_add_named(f, a, rule->name, rule->value);
    }
}

void header_rules_prune(const struct header_rule *rules, size_t count, struct fields *f)
{
    for (size_t i = 0; i < count; i++) {
        if (rules[i].action != HEADER_ADD) fields_remove_matching(f, rules[i].name);
    }
}
