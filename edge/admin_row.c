#include "edge/admin_row.h"

#include <inttypes.h>

#include "cache/key_text.h"
#include "cache/tags.h"
#include "edge/base/json.h"

static void put_text(FILE *out, const char *name, struct slice value)
{
    fprintf(out, ",\"%s\":", name);
    json_put_string(out, value);
}

static void put_number(FILE *out, const char *name, int64_t value)
{
    fprintf(out, ",\"%s\":%" PRId64, name, value);
}

static void put_key(FILE *out, struct slice text, struct arena *a)
{
    fputs("{\"key\":", out);
    json_put_string(out, key_readable(text, a));
}

static void put_slice(FILE *out, uint32_t slice)
{
    if (slice) put_number(out, "slice", (int64_t)slice - 1);
}

static void put_freshness(FILE *out, const struct freshness *f, int64_t now_ms)
{
    put_number(out, "age", freshness_age_ms(f, now_ms) / 1000);
    put_number(out, "ttl", freshness_ttl_ms(f, now_ms) / 1000);
}

static void put_limits(FILE *out, const struct freshness *f)
{
    put_number(out, "lifetime", f->lifetime_ms / 1000);
    put_number(out, "stale_while_revalidate", f->stale_while_revalidate_ms / 1000);
    put_number(out, "stale_if_error", f->stale_if_error_ms / 1000);
}

static void put_fields(FILE *out, const struct fields *fields)
{
    fputs(",\"fields\":[", out);
    for (uint32_t i = 0; i < fields->n; i++) {
        fputs(i ? ",[" : "[", out);
        json_put_string(out, fields->v[i].name);
        putc(',', out);
        json_put_string(out, fields->v[i].value);
        putc(']', out);
    }
    putc(']', out);
}

static void put_variant(FILE *out, struct slice vary, struct slice vary_key, bool full,
                        struct arena *a)
{
    if (vary.n == 0) return;
    put_text(out, "variant", vary_readable(vary_key, a));
    if (full) put_text(out, "vary", vary);
}

/* What the disk has of a body need not be in memory, though the head is. */
static const char *tier_of(const struct object *o)
{
    if (object_state(o) != OBJECT_COMPLETE || !payload_stored(o->payload)) return "memory";
    return payload_is_resident(o->payload) ? "both" : "disk";
}

void admin_row_object(FILE *out, struct object *o, int64_t now_ms, bool full, struct arena *a)
{
    uint64_t bytes;
    bool whole = object_is_whole(o, &bytes);
    put_key(out, o->key.text, a);
    put_slice(out, o->key.slice);
    put_text(out, "tier", slice_str(tier_of(o)));
    put_text(out, "state", whole ? SLICE("whole") : SLICE("filling"));
    put_number(out, "status", o->head.status);
    put_number(out, "size", (int64_t)bytes);
    put_freshness(out, &o->freshness, now_ms);
    put_number(out, "hits", atomic_load_explicit(&o->hits, memory_order_relaxed));
    put_number(out, "tags", o->tag_count);
    put_variant(out, o->vary, o->vary_key, full, a);
    if (full) put_limits(out, &o->freshness);
    if (full) put_fields(out, &o->head.fields);
    putc('}', out);
}

void admin_row_stored(FILE *out, const struct stored *s)
{
    fprintf(out, "{\"key\":\"" ADMIN_DISK_PREFIX "%016" PRIx64 "\"", s->hash);
    put_slice(out, s->slice);
    put_text(out, "tier", SLICE("disk"));
    put_text(out, "state", SLICE("whole"));
    put_number(out, "size", (int64_t)s->body_bytes);
    putc('}', out);
}

void admin_row_record(FILE *out, const struct stored *s, const struct record *r, int64_t now_ms,
                      struct arena *a)
{
    uint64_t tags[TAGS_MAX];
    put_key(out, r->key, a);
    put_slice(out, s->slice);
    put_text(out, "tier", SLICE("disk"));
    put_text(out, "state", SLICE("whole"));
    put_number(out, "status", r->head.status);
    put_number(out, "size", (int64_t)s->body_bytes);
    put_freshness(out, &r->freshness, now_ms);
    put_number(out, "tags", tags_of(&r->head.fields, tags));
    put_variant(out, r->vary, r->vary_key, true, a);
    put_limits(out, &r->freshness);
    put_fields(out, &r->head.fields);
    putc('}', out);
}
