#include "edge/answer.h"

#include <stdlib.h>

#include "edge/base/error.h"
#include "protocols/http/date.h"
#include "protocols/http/value.h"

static char *put(char *at, struct slice s)
{
    if (s.n) memcpy(at, s.p, s.n);
    return at + s.n;
}

/* ---- Cache-Status ---- */

/* The longest member without its key and detail has not even 120 bytes. */
enum { CACHE_STATUS_BYTES = 128 };

/* What a structured field's integer may be (RFC 9651 section 3.3.1). */
static const int64_t integer_max = 999999999999999;

static const char *const reasons[] = {
    [FWD_BYPASS] = "bypass",       [FWD_METHOD] = "method",   [FWD_URI_MISS] = "uri-miss",
    [FWD_VARY_MISS] = "vary-miss", [FWD_MISS] = "miss",       [FWD_REQUEST] = "request",
    [FWD_STALE] = "stale",         [FWD_PARTIAL] = "partial",
};

static char *put_integer(char *at, int64_t v)
{
    char digits[20];
    size_t i = sizeof digits;
    if (v < -integer_max) v = -integer_max;
    if (v > integer_max) v = integer_max;
    if (v < 0) *at++ = '-';
    uint64_t rest = (uint64_t)llabs(v);
    do {
        digits[--i] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    return put(at, slice_of(digits + i, sizeof digits - i));
}

/* As a structured field's string (RFC 9651 section 3.3.3). */
static char *put_key(char *at, struct slice key)
{
    at = put(at, SLICE("; key=\""));
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] == '"' || key.p[i] == '\\') *at++ = '\\';
        *at++ = key.p[i];
    }
    return put(at, SLICE("\""));
}

/* Every response has one, so it is not printed by printf. */
struct slice cache_status_text(const struct cache_status *s, struct arena *a)
{
    struct slice detail = s->detail ? slice_str(s->detail) : SLICE_NONE;
    char *text = arena_alloc(a, CACHE_STATUS_BYTES + 2 * s->key.n + detail.n);
    char *at = put(text, SLICE("verge"));
    if (s->hit && !s->fwd) at = put(at, SLICE("; hit"));
    if (s->fwd) at = put(put(at, SLICE("; fwd=")), slice_str(reasons[s->fwd]));
    if (s->fwd_status) at = put_integer(put(at, SLICE("; fwd-status=")), s->fwd_status);
    if (s->stored) at = put(at, SLICE("; stored"));
    if (s->collapsed) at = put(at, SLICE("; collapsed"));
    if (s->has_ttl) at = put_integer(put(at, SLICE("; ttl=")), s->ttl_s);
    if (s->key.n) at = put_key(at, s->key);
    if (detail.n) at = put(put(at, SLICE("; detail=")), detail);
    return slice_of(text, (size_t)(at - text));
}

/* ---- errors ---- */

struct slice proxy_status_text(int error, struct arena *a)
{
    struct slice parts[] = { SLICE("verge; error="), slice_str(error_info(error)->proxy_status) };
    return parts[1].n ? arena_concat(a, parts, 2) : SLICE_NONE;
}

static struct slice date_text(int64_t now_s, struct arena *a)
{
    char *text = arena_alloc(a, HTTP_DATE_BYTES);
    http_date_format(now_s, text);
    return slice_of(text, HTTP_DATE_BYTES);
}

void answer_date(struct response *r, int64_t now_s, struct arena *a)
{
    fields_add(&r->fields, a, FIELD_DATE, date_text(now_s, a));
}

void answer_error(int error, int64_t now_s, struct arena *a, struct response *out,
                  struct body **body)
{
    const struct error_info *info = error_info(error);
    int status = info->status ? info->status : 500;
    struct slice proxy_status = proxy_status_text(error, a);
    struct slice text =
        arena_printf(a, "%d %.*s: %s\n", status, SLICE_ARGS(status_phrase(status)), info->text);
    *out = (struct response){ .status = status, .length = (int64_t)text.n };
    answer_date(out, now_s, a);
    fields_add(&out->fields, a, FIELD_CONTENT_TYPE, SLICE("text/plain; charset=utf-8"));
    fields_add(&out->fields, a, FIELD_CACHE_CONTROL, SLICE("no-store"));
    if (proxy_status.n) fields_add(&out->fields, a, FIELD_PROXY_STATUS, proxy_status);
    *body = text_body(text, a);
}

/* ---- a body of text ---- */

struct text_body {
    struct body body;
    struct slice rest; /* not yet handed out: all or nothing */
};

/* A span needs a block. One is made only when somebody pulls, which for HEAD nobody does. */
static enum body_result text_pull(struct body *body, struct span *out)
{
    struct text_body *t = (struct text_body *)body;
    if (t->rest.n == 0) return BODY_END;
    struct block *block = block_new(t->rest.n);
    if (!block) {
        body->error = -E_NO_MEMORY;
        return BODY_FAIL;
    }
    memcpy(block->data, t->rest.p, t->rest.n);
    *out = (struct span){ block, 0, (uint32_t)t->rest.n };
    t->rest.n = 0;
    return BODY_DATA;
}

/* The arena has it, and the spans have their blocks. */
static void text_close(struct body *body)
{
    (void)body;
}

struct body *text_body(struct slice text, struct arena *a)
{
    static const struct body_ops ops = { text_pull, text_close };
    struct text_body *t = arena_new(a, struct text_body);
    t->body.ops = &ops;
    t->rest = text;
    return &t->body;
}
