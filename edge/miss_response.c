/* What becomes of an origin's response: judged, stored or not, shown. See miss_state.h. */
#include "edge/miss_state.h"

#include "cache/slices.h"
#include "edge/base/metrics.h"
#include "edge/piece.h"
#include "edge/trailers.h"
#include "protocols/http/date.h"
#include "protocols/http/etag.h"

/* A response may take the place of something on the disk: nobody sees it before that is forgotten
 * for good, but a disk that does not answer is not waited for. */
#define SETTLE_PATIENCE_MS 1000

static enum store_reason judge(struct miss *m, const struct response *r, struct freshness *fresh)
{
    enum store_reason reason = policy_store(&m->route->cache, &m->client, r, m->requested_ms,
                                            m->edge->worker.wall_ms, fresh);
    bool unsized = reason == STORE_OK && r->length == LENGTH_UNKNOWN;
    if (unsized && index_is_endless(miss_index(m), &m->key)) reason = STORE_ENDLESS;
    if (m->kind != MISS_OPAQUE) metric_add_by(METRIC_STORED, reason, 1);
    return reason;
}

/* Of several the earliest, so that nothing seems younger than it is. */
static struct slice earliest_date(const struct fields *f, int64_t now_s)
{
    struct slice earliest = SLICE_NONE;
    int64_t least_s = INT64_MAX, seconds;
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->v[i].id != FIELD_DATE || !http_date_parse(f->v[i].value, now_s, &seconds)) continue;
        if (seconds >= least_s) continue;
        least_s = seconds;
        earliest = f->v[i].value;
    }
    return earliest;
}

void miss_mend(struct miss *m, struct response *r)
{
    struct slice date = earliest_date(&r->fields, m->edge->worker.wall_ms / 1000);
    fields_remove(&r->fields, FIELD_DATE);
    if (date.p) fields_add(&r->fields, &m->arena, FIELD_DATE, date);
    if (slice_eq(m->client.scheme, SLICE("http")))
        fields_remove(&r->fields, FIELD_STRICT_TRANSPORT_SECURITY);
}

/* What this node adds to any response it forwards: its name in Via (RFC 9110 section 7.6.3), and
 * Date where the origin has none (section 6.6.1). */
void miss_sign(struct miss *m, struct response *r, enum http_version version)
{
    struct slice before = fields_joined(&r->fields, FIELD_VIA, &m->arena);
    struct slice name = version == HTTP_1_0 ? SLICE("1.0 verge") : SLICE("1.1 verge");
    struct slice parts[] = { before, SLICE(", "), name };
    fields_set(&r->fields, &m->arena, FIELD_VIA,
               before.n ? arena_concat(&m->arena, parts, 3) : name);
    if (fields_has(&r->fields, FIELD_DATE)) return;
    char *date = arena_alloc(&m->arena, HTTP_DATE_BYTES);
    http_date_format(m->edge->worker.wall_ms / 1000, date);
    fields_add(&r->fields, &m->arena, FIELD_DATE, slice_of(date, HTTP_DATE_BYTES));
}

void miss_vary(struct miss *m, const struct response *r, struct slice *vary, struct slice *vary_key)
{
    *vary = fields_joined(&r->fields, FIELD_VARY, &m->arena);
    *vary_key = SLICE_NONE;
    if (vary->n) key_vary(*vary, &m->client, &m->arena, vary_key);
}

/* What was taken for endless has ended in time: the next one may be stored again. */
static void on_fill_ended(struct fill *f, int error)
{
    struct miss *m = container_of(f, struct miss, fill);
    bool ends = !error && f->waited_ms < f->limits.endless_ms;
    if (ends && m->judged.reason == STORE_ENDLESS) index_set_ending(miss_index(m), &m->key);
    miss_end(m);
}

static bool is_asked_slice(const struct miss *m, const struct response *r)
{
    struct representation of;
    return m->key.slice && slices_read(r, m->key.slice - 1, piece_slice_bytes(m->config), &of);
}

/* What was asked for with a Range says nothing of the whole unless it is the whole; of parts only
 * slices are stored. */
static bool says_what_is_keyed(const struct miss *m, const struct response *r)
{
    bool ranged =
        m->key.slice || (m->kind == MISS_PRIVATE && fields_has(&m->client.fields, FIELD_RANGE));
    if (r->status == 206) return is_asked_slice(m, r);
    return !ranged || r->status == 200;
}

static bool may_be_stored(const struct miss *m, const struct response *r)
{
    if (m->kind == MISS_OPAQUE || m->client.method != METHOD_GET) return false;
    if (r->length > 0 && (uint64_t)r->length > m->config->cache.object_max_bytes) return false;
    return says_what_is_keyed(m, r);
}

static bool is_too_large_for_memory(const struct miss *m)
{
    int64_t length = m->judged.response.length;
    return length > 0 && (uint64_t)length > m->edge->node->index.object_memory_max_bytes;
}

/* Set-Cookie, or what private="..." names: taken out of what others get, but the one who asked gets
 * it. */
static void tell_unstored(struct miss *m, const struct fields *all, const struct fields *stored)
{
    if (!m->watch || all->n == stored->n) return;
    struct arena *a = &m->watch->exchange->arena;
    for (uint32_t i = 0, kept = 0; i < all->n; i++) {
        const struct field *f = &all->v[i];
        if (kept < stored->n && stored->v[kept].value.p == f->value.p)
            kept++;
        else if (f->id != FIELD_AGE && f->id != FIELD_SURROGATE_CONTROL)
            fields_add_named(&m->watch->unstored, a, arena_copy(a, f->name),
                             arena_copy(a, f->value));
    }
}

void miss_prepare_for_others(struct miss *m, struct response *r)
{
    struct fields all = r->fields;
    all.v = arena_alloc(&m->arena, all.n * sizeof *all.v);
    memcpy(all.v, r->fields.v, all.n * sizeof *all.v);
    policy_prepare_stored(&m->route->cache, r);
    tell_unstored(m, &all, &r->fields);
}

/* The head is final: whoever waits may read. Stored or not was decided; a purge may have overtaken
 * it. */
static void publish(struct miss *m)
{
    struct judged *j = &m->judged;
    struct index *ix = miss_index(m);
    object_set_head(m->object, &j->response, &j->freshness, j->vary, j->vary_key, j->audience);
    if (j->stored && !index_replace(ix, m->base, m->object)) {
        j->stored = false;
        object_stop_retaining(m->object, 2 * ix->object_memory_max_bytes);
    }
}

/* Why it is not stored, for who reads Cache-Status. What a Range was answered with is not stored
 * for its status, whatever its size. */
static void tell_reason(struct miss *m)
{
    const struct judged *j = &m->judged;
    if (!m->watch) return;
    bool status = j->reason == STORE_OK && !says_what_is_keyed(m, &j->response);
    enum store_reason reason = status ? STORE_STATUS : j->reason;
    m->watch->stored = j->stored;
    m->watch->reason = j->stored || m->kind == MISS_OPAQUE || m->client.method != METHOD_GET ? NULL
                       : reason != STORE_OK ? store_reason_name(reason)
                                            : "too_large";
}

/* Too large for memory, and asked for the first time. */
static bool is_only_not_admitted(const struct miss *m)
{
    const struct judged *j = &m->judged;
    return j->reason == STORE_OK && may_be_stored(m, &j->response) && !j->admitted;
}

static int64_t uncacheable_until_ms(const struct miss *m)
{
    return m->edge->worker.wall_ms + m->config->cache.uncacheable_ms;
}

/* At the first slice's key, where those who want any slice look. */
static void refuse_slices(struct miss *m, const struct key *whole)
{
    struct key first;
    key_slice(whole, 0, &m->arena, &first);
    index_pass(miss_index(m), &first, uncacheable_until_ms(m));
}

/* That its responses are not shared is remembered, but not of an origin in trouble: those who ask
 * meanwhile must not ask it all at once. Of a slice it is that there are none. */
static void release(struct miss *m)
{
    int status = m->judged.response.status;
    bool may_be_next_time =
        policy_is_server_error(status) || is_only_not_admitted(m) || m->key.slice;
    struct key whole;
    if (m->key.slice && status == 206) {
        key_whole(&m->key, &whole);
        refuse_slices(m, &whole);
    }
    if (m->kind != MISS_SHARED) return;
    index_release(miss_index(m), m->object, may_be_next_time ? 0 : uncacheable_until_ms(m));
}

/* What is kept for those who wait must fit in a window: nobody evicts it. */
static enum audience audience_of(const struct miss *m)
{
    const struct judged *j = &m->judged;
    const struct response *r = &j->response;
    if (j->stored) return AUDIENCE_REUSE;
    bool fits = r->length >= 0 && (uint64_t)r->length <= m->config->cache.window_bytes;
    return m->kind == MISS_SHARED && fits
               ? policy_audience_unstored(&m->route->cache, r, j->reason, &j->freshness)
               : AUDIENCE_ONE;
}

/* Whether it is written to the disk. What is too large for memory is, also where nobody has asked
 * for it before, when several wait for it: only so can they share it. */
static bool admit_to_disk(struct miss *m)
{
    struct disk *disk = miss_index(m)->disk;
    if (!disk || !atomic_load(&disk->up)) return false;
    int64_t length = m->judged.response.length;
    struct admission_store store = { atomic_load(&disk->used_bytes),
                                     atomic_load(&disk->limit_bytes),
                                     atomic_load(&disk->directory.count) };
    return admission_admits(&disk->admission, m->key.hash,
                            length < 0 ? ADMISSION_SIZE_UNKNOWN : (uint64_t)length, &store) ||
           (is_too_large_for_memory(m) && object_has_company(m->object));
}

static void judge_storing(struct miss *m)
{
    struct judged *j = &m->judged;
    struct response *r = &j->response;
    j->stored = j->reason == STORE_OK && may_be_stored(m, r);
    j->admitted = j->stored && admit_to_disk(m);
    if (is_too_large_for_memory(m) && !j->admitted) j->stored = false;
    j->audience = audience_of(m);
    if (j->audience != AUDIENCE_ONE) {
        j->unshared = policy_unshared_names(&m->route->cache, r, &m->arena);
        miss_prepare_for_others(m, r);
    } else if (m->route->cache.surrogate_control) {
        fields_remove(&r->fields, FIELD_SURROGATE_CONTROL);
    }
}

/* The origin knows no ranges and sends all of it: that is another object than the one asked for,
 * under another key. */
static void become_whole(struct miss *m)
{
    m->asked = m->object;
    if (m->kind == MISS_SHARED) index_release(miss_index(m), m->asked, 0);
    key_whole(&m->key, &m->key);
    refuse_slices(m, &m->key);
    m->object = object_new(&m->key, m->asked->budget, m->asked->purge_seq, m->asked->window_bytes);
}

/* Before its bytes come, so that who waited is there to read them. */
static void hand_over(struct miss *m)
{
    if (m->asked) object_replace(m->asked, m->object, 0);
    object_drop(&m->asked);
}

static void judge_trailers(const void *by, struct fields *trailers)
{
    const struct miss *m = by;
    fields_remove_listed(trailers, m->judged.unshared);
}

static void show_response(struct miss *m)
{
    struct judged *j = &m->judged;
    struct body *body = j->body;
    j->body = NULL;
    if (j->unshared.n && j->response.length == LENGTH_UNKNOWN)
        body = trailers_judged(body, judge_trailers, m, &m->arena);
    if (!j->stored) release(m);
    publish(m);
    hand_over(m);
    tell_reason(m);
    bool kept = j->stored || j->audience == AUDIENCE_WAITING;
    const struct fill_limits limits = { .object_max_bytes = m->config->cache.object_max_bytes,
                                        .endless_ms = m->config->cache.endless_ms,
                                        .pass_ms = m->config->cache.uncacheable_ms };
    fill_start(&m->fill, miss_index(m), m->object, kept, j->admitted, body, &limits, &m->scope,
               on_fill_ended);
}

void miss_on_settle_patience_over(struct timer *t)
{
    show_response(container_of(t, struct miss, settle_patience));
}

/* The wait is the disk's until this. */
static void on_settled(struct note *n)
{
    struct miss *m = container_of(n, struct miss, settling.note);
    bool waiting = m->judged.body && !m->ending;
    timer_cancel(&m->settle_patience);
    if (waiting) show_response(m);
    scope_leave(&m->scope);
}

static bool must_settle(struct miss *m)
{
    struct worker *w = &m->edge->worker;
    if (!m->forgot) return false;
    m->settling.note.run = on_settled;
    if (disk_is_settled(miss_index(m)->disk, &m->settling, w)) return false;
    scope_enter(&m->scope);
    timer_set(&w->wheel, &m->settle_patience, worker_now_ms(w) + SETTLE_PATIENCE_MS);
    return true;
}

/* Nobody who has seen this response gets an older one from the cache, also where there is no room
 * for this one. Whether the disk had any. */
static bool outdate_stored(struct miss *m)
{
    const struct judged *j = &m->judged;
    bool is_newer = j->reason == STORE_OK && j->response.status == 200 && !m->key.slice &&
                    m->kind != MISS_OPAQUE && m->client.method == METHOD_GET;
    bool outdates = j->stored || is_newer;
    return outdates && index_supersede(miss_index(m), &m->key, j->vary, j->vary_key, m->base);
}

void miss_use_response(struct miss *m, const struct h1_response *from, struct body *body)
{
    struct judged *j = &m->judged;
    *j = (struct judged){ .response = from->msg, .version = from->version, .body = body };
    if (m->key.slice && j->response.status == 200) become_whole(m);
    j->reason = judge(m, &j->response, &j->freshness);
    judge_storing(m);
    miss_sign(m, &j->response, j->version);
    miss_vary(m, &j->response, &j->vary, &j->vary_key);
    if (outdate_stored(m)) m->forgot = true;
    if (!must_settle(m)) show_response(m);
}
