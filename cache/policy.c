#include "cache/policy.h"

#include "protocols/http/cache_control.h"
#include "protocols/http/date.h"
#include "protocols/http/etag.h"
#include "protocols/http/range.h"
#include "protocols/http/value.h"

/* SPAN_MAX_MS is longer than any lifetime that means anything, and small enough that sums of a few
 * cannot overflow. */
#define SECOND_MS   ((int64_t)1000)
#define DAY_MS      (86400 * SECOND_MS)
#define SPAN_MAX_MS (DELTA_SECONDS_MAX * SECOND_MS)
#define UNKNOWN     ((int64_t)-1)

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

static int64_t difference(int64_t a, int64_t b)
{
    int64_t d;
    return __builtin_sub_overflow(a, b, &d) ? (a > b ? INT64_MAX : INT64_MIN) : d;
}

const char *store_reason_name(enum store_reason reason)
{
    static const char *const names[STORE_REASON_COUNT] = {
        [STORE_OK] = "ok",
        [STORE_METHOD] = "method",
        [STORE_STATUS] = "status",
        [STORE_NO_STORE] = "no_store",
        [STORE_PRIVATE] = "private",
        [STORE_AUTHORIZATION] = "authorization",
        [STORE_SET_COOKIE] = "set_cookie",
        [STORE_VARY_STAR] = "vary_star",
        [STORE_ENDLESS] = "endless",
        [STORE_NO_FRESHNESS] = "no_freshness",
        [STORE_BYPASS] = "bypass",
    };
    return names[reason];
}

/* A response's directives, from the one field that counts. */
struct directives {
    struct cache_control cc;
    bool targeted; /* so Expires does not count (RFC 9213 section 2.2) */
};

/* Surrogate-Control may be about other things: content="ESI/1.0". */
static bool directs_caching(const struct cache_control *cc)
{
    return cache_control_has(cc, CC_MAX_AGE) || cache_control_has(cc, CC_S_MAXAGE) ||
           cc->flags & (CC_NO_STORE | CC_NO_CACHE | CC_PRIVATE) || cc->no_cache_fields.p ||
           cc->private_fields.p;
}

static struct directives read_directives(const struct cache_policy *p, const struct response *res)
{
    struct directives d = { .targeted = true };
    if (cache_control_parse_targeted(&res->fields, FIELD_CDN_CACHE_CONTROL, &d.cc)) return d;
    if (p->surrogate_control && cache_control_parse(&res->fields, FIELD_SURROGATE_CONTROL, &d.cc) &&
        directs_caching(&d.cc))
        return d;
    d.targeted = false;
    cache_control_parse(&res->fields, FIELD_CACHE_CONTROL, &d.cc);
    return d;
}

/* False where the field is absent or not a date. */
static bool read_date_ms(const struct response *res, enum field_id id, int64_t now_ms,
                         int64_t *out_ms)
{
    int64_t seconds;
    if (!http_date_parse(fields_value(&res->fields, id), now_ms / SECOND_MS, &seconds))
        return false;
    *out_ms = seconds * SECOND_MS;
    return true;
}

static int64_t date_ms(const struct response *res, int64_t received_ms)
{
    int64_t ms;
    return read_date_ms(res, FIELD_DATE, received_ms, &ms) ? ms : received_ms;
}

static bool has_validator(const struct response *res)
{
    struct etag tag;
    int64_t ms;
    return etag_of(&res->fields, &tag) || read_date_ms(res, FIELD_LAST_MODIFIED, 0, &ms);
}

/* Section 15.1 of RFC 9110. */
static bool is_heuristically_cacheable(int status)
{
    switch (status) {
    case 200:
    case 203:
    case 204:
    case 206:
    case 300:
    case 301:
    case 308:
    case 404:
    case 405:
    case 410:
    case 414:
    case 501: return true;
    }
    return false;
}

/* A 206 is understood if what it is a part of can be told (RFC 9111 section 3.3, RFC 9110
 * section 15.3.7). */
static bool is_storable_part(const struct response *res)
{
    struct etag tag;
    struct content_range part;
    return etag_of(&res->fields, &tag) && !tag.weak &&
           content_range_parse(fields_value(&res->fields, FIELD_CONTENT_RANGE), &part) &&
           part.first >= 0;
}

/* 412, 416 and 425 answer conditions, ranges and the moment of one request, which no key holds. */
static bool is_storable_status(const struct cache_control *cc, const struct response *res)
{
    if (res->status < 200 || res->status > 599) return false;
    if (res->status == 304 || res->status == 412 || res->status == 416 || res->status == 425)
        return false;
    if ((cc->flags & CC_MUST_UNDERSTAND) && status_phrase(res->status).n == 0) return false;
    return res->status != 206 || is_storable_part(res);
}

/* Section 5.2.2.3: a cache that understands the status ignores the no-store beside must-understand.
 */
static bool is_no_store(const struct cache_policy *p, const struct request *req,
                        const struct cache_control *cc)
{
    struct cache_control asked;
    if ((cc->flags & CC_NO_STORE) && !(cc->flags & CC_MUST_UNDERSTAND)) return true;
    return p->honor_request && cache_control_parse_request(&req->fields, &asked) &&
           (asked.flags & CC_NO_STORE);
}

/* Section 3.5 */
static bool is_authorized_only(const struct request *req, const struct cache_control *cc)
{
    return fields_has(&req->fields, FIELD_AUTHORIZATION) &&
           !(cc->flags & (CC_PUBLIC | CC_MUST_REVALIDATE)) && !cache_control_has(cc, CC_S_MAXAGE);
}

static bool keeps_set_cookie(const struct cache_policy *p, const struct response *res,
                             const struct cache_control *cc)
{
    struct slice name = SLICE("set-cookie");
    return fields_has(&res->fields, FIELD_SET_COOKIE) && !p->store_set_cookie &&
           !value_list_has(cc->no_cache_fields, name) && !value_list_has(cc->private_fields, name);
}

/* On everything, or on what each hop writes by itself: of another request, nobody can say then that
 * the origin would have answered it the same. */
static bool names_unkeyed(struct slice vary)
{
    static const struct slice names[] = {
        SLICE("*"),   SLICE("X-Forwarded-For"), SLICE("Forwarded"), SLICE("X-Real-IP"),
        SLICE("Via"), SLICE("CDN-Loop"),
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (value_list_has(vary, names[i])) return true;
    }
    return false;
}

static bool varies_on_unkeyed(const struct response *res)
{
    for (uint32_t i = 0; i < res->fields.n; i++) {
        const struct field *f = &res->fields.v[i];
        if (f->id == FIELD_VARY && names_unkeyed(f->value)) return true;
    }
    return false;
}

/* Events, or images each of which takes the place of the one before. */
static bool is_endless(const struct response *res)
{
    for (uint32_t i = 0; i < res->fields.n; i++) {
        const struct field *f = &res->fields.v[i];
        if (f->id != FIELD_CONTENT_TYPE) continue;
        struct slice type = slice_trim(slice_of(f->value.p, slice_find(f->value, ';')));
        if (slice_eq_nocase(type, SLICE("text/event-stream")) ||
            slice_eq_nocase(type, SLICE("multipart/x-mixed-replace")))
            return true;
    }
    return false;
}

static enum store_reason forbidden(const struct cache_policy *p, const struct request *req,
                                   const struct response *res, const struct cache_control *cc)
{
    if (req->method != METHOD_GET && req->method != METHOD_HEAD) return STORE_METHOD;
    if (!is_storable_status(cc, res)) return STORE_STATUS;
    if (is_no_store(p, req, cc)) return STORE_NO_STORE;
    if (cc->flags & CC_PRIVATE) return STORE_PRIVATE;
    if (is_authorized_only(req, cc)) return STORE_AUTHORIZATION;
    if (keeps_set_cookie(p, res, cc)) return STORE_SET_COOKIE;
    if (varies_on_unkeyed(res)) return STORE_VARY_STAR;
    return is_endless(res) ? STORE_ENDLESS : STORE_OK;
}

/* The first valid member of all Age lines (section 5.1); 0 where there is none. */
static int64_t age_value_ms(const struct response *res)
{
    struct slice member;
    for (uint32_t i = 0; i < res->fields.n; i++) {
        struct slice rest = res->fields.v[i].id == FIELD_AGE ? res->fields.v[i].value : SLICE_NONE;
        while (value_next(&rest, &member)) {
            int64_t seconds = value_delta_seconds(member);
            if (seconds >= 0) return seconds * SECOND_MS;
        }
    }
    return 0;
}

/* Section 4.2.3 */
static int64_t initial_age_ms(const struct response *res, int64_t requested_ms, int64_t received_ms)
{
    int64_t apparent = clamp(difference(received_ms, date_ms(res, received_ms)), 0, SPAN_MAX_MS);
    int64_t delay = clamp(difference(received_ms, requested_ms), 0, SPAN_MAX_MS);
    int64_t corrected = clamp(age_value_ms(res) + delay, 0, SPAN_MAX_MS);
    return apparent > corrected ? apparent : corrected;
}

/* UNKNOWN where there is none. One that is not a date has passed; of several lines the earliest
 * counts (section 4.2.1). */
static int64_t expires_lifetime_ms(const struct response *res, int64_t received_ms)
{
    int64_t lifetime = UNKNOWN, seconds;
    for (uint32_t i = 0; i < res->fields.n; i++) {
        const struct field *f = &res->fields.v[i];
        if (f->id != FIELD_EXPIRES) continue;
        if (!http_date_parse(f->value, received_ms / SECOND_MS, &seconds)) return 0;
        int64_t ms = seconds * SECOND_MS - date_ms(res, received_ms);
        if (ms < 0) return 0;
        if (lifetime == UNKNOWN || ms < lifetime) lifetime = ms;
    }
    return lifetime;
}

/* Section 4.2.1: the first of s-maxage, max-age, Expires. UNKNOWN where the response has none. */
static int64_t explicit_lifetime_ms(const struct directives *d, const struct response *res,
                                    int64_t received_ms)
{
    if (cache_control_has(&d->cc, CC_S_MAXAGE)) return d->cc.seconds[CC_S_MAXAGE] * SECOND_MS;
    if (cache_control_has(&d->cc, CC_MAX_AGE)) return d->cc.seconds[CC_MAX_AGE] * SECOND_MS;
    return d->targeted ? UNKNOWN : expires_lifetime_ms(res, received_ms);
}

/* The rule for any status is a default, so it stays with the statuses that may be given one (RFC
 * 9110 section 15.1). */
static const struct ttl_rule *find_ttl(const struct cache_policy *p, int status)
{
    for (size_t i = 0; i < p->ttl_count; i++) {
        const struct ttl_rule *r = &p->ttls[i];
        if (r->status == status || (r->status == 0 && is_heuristically_cacheable(status))) return r;
    }
    return NULL;
}

/* Section 4.2.2. A day at most: what has not changed for ten days may still change tomorrow. */
static int64_t heuristic_lifetime_ms(const struct cache_policy *p, const struct directives *d,
                                     const struct response *res, int64_t received_ms)
{
    int64_t modified_ms;
    bool allowed = is_heuristically_cacheable(res->status) || (d->cc.flags & CC_PUBLIC);
    if (!p->heuristic || !allowed) return UNKNOWN;
    if (!read_date_ms(res, FIELD_LAST_MODIFIED, received_ms, &modified_ms)) return UNKNOWN;
    return clamp((date_ms(res, received_ms) - modified_ms) / 10, 0, DAY_MS);
}

/* Sets lifetime and whether the origin said it; false where nothing says how long. */
static bool set_lifetime(struct freshness *f, const struct cache_policy *p,
                         const struct directives *d, const struct response *res)
{
    const struct ttl_rule *rule = find_ttl(p, res->status);
    int64_t said = explicit_lifetime_ms(d, res, f->received_ms), ms = said;
    if (rule && (rule->override || said == UNKNOWN))
        ms = rule->ttl_ms;
    else if (said == UNKNOWN)
        ms = heuristic_lifetime_ms(p, d, res, f->received_ms);
    else
        f->flags |= FRESH_EXPLICIT;
    if (f->flags & FRESH_NO_CACHE) ms = 0;
    if (ms == UNKNOWN) return false;
    f->lifetime_ms = clamp(ms, 0, p->ttl_max_ms ? p->ttl_max_ms : SPAN_MAX_MS);
    return true;
}

/* What was an error once says nothing of what the origin would answer now: stale use is for what it
 * cannot give any more. */
static bool is_stored_error(const struct response *res)
{
    return res->status >= 500;
}

static unsigned freshness_flags(const struct cache_control *cc, const struct response *res)
{
    unsigned flags = 0;
    if (cc->flags & CC_NO_CACHE) flags |= FRESH_NO_CACHE;
    if (cc->flags & CC_IMMUTABLE) flags |= FRESH_IMMUTABLE;
    bool revalidate = cc->flags & (CC_MUST_REVALIDATE | CC_PROXY_REVALIDATE);
    if (revalidate || cache_control_has(cc, CC_S_MAXAGE) || is_stored_error(res))
        flags |= FRESH_MUST_REVALIDATE;
    return flags;
}

static int64_t window_ms(const struct cache_control *cc, enum cache_control_seconds which,
                         int64_t configured_ms)
{
    bool said = cache_control_has(cc, which);
    if (cc->flags & (CC_NO_CACHE | CC_MUST_REVALIDATE | CC_PROXY_REVALIDATE)) return 0;
    /* s-maxage forbids stale use as proxy-revalidate does (section 5.2.2.10), but an origin that
     * writes a window beside it has said which stale use it means to allow. */
    if (!said && cache_control_has(cc, CC_S_MAXAGE)) return 0;
    return clamp(said ? cc->seconds[which] * SECOND_MS : configured_ms, 0, SPAN_MAX_MS);
}

static void set_windows(struct freshness *f, const struct cache_policy *p,
                        const struct cache_control *cc, const struct response *res)
{
    if (is_stored_error(res)) return;
    f->stale_while_revalidate_ms =
        window_ms(cc, CC_STALE_WHILE_REVALIDATE, p->stale_while_revalidate_ms);
    f->stale_if_error_ms = window_ms(cc, CC_STALE_IF_ERROR, p->stale_if_error_ms);
}

/* Can it answer a request at all: now, stale for a while, or once validated? */
static bool is_of_use(const struct freshness *f, const struct response *res)
{
    return f->lifetime_ms > f->initial_age_ms || f->stale_while_revalidate_ms ||
           f->stale_if_error_ms || has_validator(res);
}

enum store_reason policy_store(const struct cache_policy *p, const struct request *req,
                               const struct response *res, int64_t requested_ms,
                               int64_t received_ms, struct freshness *f)
{
    struct directives d = read_directives(p, res);
    *f = (struct freshness){ .received_ms = received_ms,
                             .initial_age_ms = initial_age_ms(res, requested_ms, received_ms),
                             .flags = freshness_flags(&d.cc, res) };
    set_windows(f, p, &d.cc, res);
    bool known = set_lifetime(f, p, &d, res);
    enum store_reason reason = forbidden(p, req, res, &d.cc);
    if (reason != STORE_OK) return reason;
    if (!known || !is_of_use(f, res)) return STORE_NO_FRESHNESS;
    return p->bypass ? STORE_BYPASS : STORE_OK;
}

int64_t freshness_age_ms(const struct freshness *f, int64_t now_ms)
{
    int64_t resident = clamp(difference(now_ms, f->received_ms), 0, SPAN_MAX_MS);
    return clamp(f->initial_age_ms + resident, 0, SPAN_MAX_MS);
}

int64_t freshness_ttl_ms(const struct freshness *f, int64_t now_ms)
{
    return f->lifetime_ms - freshness_age_ms(f, now_ms);
}

/* The request's directives where the route lets them count, else none. */
static struct cache_control asked_directives(const struct cache_policy *p,
                                             const struct request *req)
{
    static const struct fields none;
    struct cache_control asked;
    cache_control_parse_request(p->honor_request ? &req->fields : &none, &asked);
    return asked;
}

static bool insists_on_origin(const struct cache_control *asked)
{
    return (asked->flags & CC_NO_CACHE) || asked->seconds[CC_MAX_AGE] == 0;
}

/* Sections 5.2.1.1 and 5.2.1.3: older, or nearer to its end, than the client accepts. */
static bool is_too_old(const struct cache_control *asked, int64_t age_ms, int64_t ttl_ms)
{
    int64_t max_age = asked->seconds[CC_MAX_AGE], min_fresh = asked->seconds[CC_MIN_FRESH];
    return (max_age >= 0 && age_ms > max_age * SECOND_MS) ||
           (min_fresh >= 0 && ttl_ms < min_fresh * SECOND_MS);
}

/* Section 5.2.1.2 */
static bool is_stale_accepted(const struct cache_control *asked, const struct freshness *f,
                              int64_t ttl_ms)
{
    return !(f->flags & FRESH_MUST_REVALIDATE) && cache_control_has(asked, CC_MAX_STALE) &&
           -ttl_ms <= asked->seconds[CC_MAX_STALE] * SECOND_MS;
}

enum reuse policy_reuse(const struct cache_policy *p, const struct request *req,
                        const struct freshness *f, int64_t now_ms)
{
    struct cache_control asked = asked_directives(p, req);
    int64_t age_ms = freshness_age_ms(f, now_ms), ttl_ms = freshness_ttl_ms(f, now_ms);
    bool fresh = ttl_ms > 0 && !(f->flags & FRESH_NO_CACHE);
    if (insists_on_origin(&asked)) {
        return fresh && (f->flags & FRESH_IMMUTABLE) ? REUSE_FRESH : REUSE_RELOAD;
    }
    if ((f->flags & FRESH_NO_CACHE) || is_too_old(&asked, age_ms, ttl_ms)) return REUSE_VALIDATE;
    if (fresh) return REUSE_FRESH;
    bool window = -ttl_ms < f->stale_while_revalidate_ms;
    return window || is_stale_accepted(&asked, f, ttl_ms) ? REUSE_STALE : REUSE_VALIDATE;
}

bool policy_stale_if_error(const struct cache_policy *p, const struct request *req,
                           const struct freshness *f, int64_t now_ms)
{
    struct cache_control asked = asked_directives(p, req);
    int64_t ttl_ms = freshness_ttl_ms(f, now_ms);
    if ((f->flags & FRESH_NO_CACHE) || insists_on_origin(&asked)) return false;
    if (is_too_old(&asked, freshness_age_ms(f, now_ms), ttl_ms)) return false;
    if (ttl_ms > 0 || -ttl_ms < f->stale_if_error_ms) return true;
    if (f->flags & FRESH_MUST_REVALIDATE) return false;
    return -ttl_ms < asked.seconds[CC_STALE_IF_ERROR] * SECOND_MS ||
           is_stale_accepted(&asked, f, ttl_ms);
}

bool policy_is_server_error(int status)
{
    return status == 500 || (status >= 502 && status <= 504);
}

enum audience policy_audience_unstored(const struct cache_policy *p, const struct response *res,
                                       enum store_reason reason, const struct freshness *f)
{
    if (reason != STORE_NO_FRESHNESS || !policy_is_server_error(res->status)) return AUDIENCE_ONE;
    struct directives d = read_directives(p, res);
    unsigned validation = CC_NO_CACHE | CC_MUST_REVALIDATE | CC_PROXY_REVALIDATE;
    bool is_plain = !(d.cc.flags & validation) && !(f->flags & FRESH_EXPLICIT);
    return is_plain ? AUDIENCE_WAITING : AUDIENCE_ONE;
}

bool policy_may_use(const struct cache_policy *p, const struct request *req, enum audience audience,
                    const struct freshness *f, bool stands_in, int64_t now_ms)
{
    if (audience != AUDIENCE_REUSE) return audience == AUDIENCE_WAITING;
    switch (policy_reuse(p, req, f, now_ms)) {
    case REUSE_FRESH:
    case REUSE_STALE: return true;
    case REUSE_VALIDATE:
    case REUSE_RELOAD: break;
    }
    return stands_in && policy_stale_if_error(p, req, f, now_ms);
}

bool freshness_is_ever_reused(const struct freshness *f)
{
    return !(f->flags & FRESH_NO_CACHE) &&
           (f->lifetime_ms > f->initial_age_ms ||
            f->initial_age_ms - f->lifetime_ms < f->stale_while_revalidate_ms);
}

bool policy_only_if_cached(const struct request *req)
{
    struct cache_control asked;
    return cache_control_parse(&req->fields, FIELD_CACHE_CONTROL, &asked) &&
           (asked.flags & CC_ONLY_IF_CACHED);
}

struct slice policy_unshared_names(const struct cache_policy *p, const struct response *res,
                                   struct arena *a)
{
    struct directives d = read_directives(p, res);
    struct slice lists[] = { d.cc.no_cache_fields, SLICE(", "), d.cc.private_fields };
    return lists[0].n || lists[2].n ? arena_concat(a, lists, 3) : SLICE_NONE;
}

void policy_prepare_stored(const struct cache_policy *p, struct response *res)
{
    struct directives d = read_directives(p, res);
    fields_remove_listed(&res->fields, d.cc.no_cache_fields);
    fields_remove_listed(&res->fields, d.cc.private_fields);
    if (p->store_set_cookie) fields_remove(&res->fields, FIELD_SET_COOKIE);
    if (p->surrogate_control) fields_remove(&res->fields, FIELD_SURROGATE_CONTROL);
    fields_remove(&res->fields, FIELD_AGE);
}

/* Digests, which a careless origin may compute over a 304 that has no bytes. */
static bool is_digest(struct slice name)
{
    return slice_eq_nocase(name, SLICE("Content-MD5")) ||
           slice_eq_nocase(name, SLICE("Content-Digest")) ||
           slice_eq_nocase(name, SLICE("Repr-Digest")) || slice_eq_nocase(name, SLICE("Digest"));
}

/* What describes the stored bytes stays as it is with them (section 3.2): their coding, their part,
 * their digests, their tag, which an update that selected this response can only repeat, or weaken.
 */
static bool is_updated(const struct response *stored, const struct field *line)
{
    if (field_flags(line->id) & (FIELD_HOP | FIELD_FRAMING)) return false;
    if (line->id == FIELD_CONTENT_ENCODING || line->id == FIELD_CONTENT_RANGE) return false;
    if (line->id == FIELD_OTHER && is_digest(line->name)) return false;
    return line->id != FIELD_ETAG || !fields_has(&stored->fields, FIELD_ETAG);
}

static bool is_replaced(const struct response *stored, const struct response *update,
                        const struct field *line)
{
    return is_updated(stored, line) && fields_get_named(&update->fields, line->name);
}

void policy_update_fields(const struct response *stored, const struct response *update,
                          struct arena *a, struct response *out)
{
    *out = (struct response){ .status = stored->status, .length = stored->length };
    for (uint32_t i = 0; i < stored->fields.n; i++) {
        const struct field *line = &stored->fields.v[i];
        if (!is_replaced(stored, update, line)) {
            fields_add_named(&out->fields, a, line->name, line->value);
        }
    }
    for (uint32_t i = 0; i < update->fields.n; i++) {
        const struct field *line = &update->fields.v[i];
        if (is_updated(stored, line)) fields_add_named(&out->fields, a, line->name, line->value);
    }
}

/* Is the validator that update sends, if it does, the stored one? */
static bool same_modified(const struct response *update, const struct response *stored)
{
    const struct field *line = fields_get(&update->fields, FIELD_LAST_MODIFIED);
    return !line || slice_eq(line->value, fields_value(&stored->fields, FIELD_LAST_MODIFIED));
}

/* Compared weakly: the origin was asked about the stored tag and no other, and one that codes on
 * the fly weakens the tag of some responses and not of others. */
bool policy_304_selects(const struct response *update, const struct response *stored)
{
    struct etag theirs, ours;
    bool asked =
        fields_has(&stored->fields, FIELD_ETAG) || fields_has(&stored->fields, FIELD_LAST_MODIFIED);
    if (!asked) return false;
    if (!etag_of(&update->fields, &theirs)) return same_modified(update, stored);
    if (etag_of(&stored->fields, &ours)) return etag_equal_weak(theirs, ours);
    /* A tag that is new with this 304: then the date has to tell. */
    return fields_has(&update->fields, FIELD_LAST_MODIFIED) && same_modified(update, stored);
}

enum head_says policy_head_says(const struct response *head, const struct response *stored,
                                int64_t stored_bytes)
{
    struct etag theirs, ours;
    bool tagged = etag_of(&head->fields, &theirs);
    bool dated = fields_has(&head->fields, FIELD_LAST_MODIFIED);
    bool measured = head->length >= 0 && stored_bytes >= 0;
    if (head->status != stored->status) return HEAD_REFUTES;
    if (measured && head->length != stored_bytes) return HEAD_REFUTES;
    if (tagged && !(etag_of(&stored->fields, &ours) && etag_equal_weak(theirs, ours)))
        return HEAD_REFUTES;
    if (!same_modified(head, stored)) return HEAD_REFUTES;
    return tagged || dated || measured ? HEAD_CONFIRMS : HEAD_SAYS_NOTHING;
}

bool policy_part_refutes(const struct response *part, const struct response *stored,
                         int64_t stored_bytes)
{
    struct etag theirs, ours;
    struct content_range told;
    bool tagged = etag_of(&part->fields, &theirs) && etag_of(&stored->fields, &ours);
    bool measured = content_range_parse(fields_value(&part->fields, FIELD_CONTENT_RANGE), &told) &&
                    told.length >= 0;
    return (tagged && !etag_equal_weak(theirs, ours)) ||
           (measured && told.length != stored_bytes) || !same_modified(part, stored);
}

/* A method that is not known may be unsafe, and invalidating too much is harmless. */
bool policy_invalidates(const struct request *req, const struct response *res)
{
    return !method_is_safe(req->method) && res->status >= 200 && res->status <= 399;
}
