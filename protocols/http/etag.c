#include "protocols/http/etag.h"

#include "protocols/http/date.h"
#include "protocols/http/value.h"

/* Takes [W/]"..." off the front. A backslash is an ordinary character in it, unlike in a quoted
 * string. */
static bool take_etag(struct slice *rest, struct etag *out)
{
    struct slice s = *rest;
    bool weak = slice_starts(s, SLICE("W/"));
    if (weak) s = slice_skip(s, 2);
    if (s.n == 0 || s.p[0] != '"') return false;
    s = slice_skip(s, 1);
    *out = (struct etag){ .opaque = slice_of(s.p, value_span(s, CHAR_ETAG)), .weak = weak };
    s = slice_skip(s, out->opaque.n);
    if (s.n == 0 || s.p[0] != '"') return false;
    *rest = slice_skip(s, 1);
    return true;
}

bool etag_parse(struct slice value, struct etag *out)
{
    return take_etag(&value, out) && value.n == 0;
}

bool etag_of(const struct fields *f, struct etag *out)
{
    return etag_parse(fields_value(f, FIELD_ETAG), out);
}

bool etag_equal_strong(struct etag a, struct etag b)
{
    return !a.weak && !b.weak && slice_eq(a.opaque, b.opaque);
}

bool etag_equal_weak(struct etag a, struct etag b)
{
    return slice_eq(a.opaque, b.opaque);
}

/* Next valid tag of a list; what is not a tag is skipped up to the next comma. */
static bool next_etag(struct slice *rest, struct etag *out)
{
    while (rest->n) {
        *rest = slice_trim(*rest);
        if (take_etag(rest, out)) return true;
        size_t comma = slice_find(*rest, ',');
        *rest = slice_skip(*rest, comma < rest->n ? comma + 1 : comma);
    }
    return false;
}

typedef bool (*etag_equal)(struct etag a, struct etag b);

/* Does any line of that field name the stored response, by tag or by "*"? */
static bool is_named(const struct request *req, enum field_id id, const struct response *stored,
                     etag_equal equal)
{
    struct etag tag, each;
    bool tagged = etag_of(&stored->fields, &tag);
    for (uint32_t i = 0; i < req->fields.n; i++) {
        if (req->fields.v[i].id != id) continue;
        struct slice rest = req->fields.v[i].value;
        if (slice_eq(rest, SLICE("*"))) return true;
        while (tagged && next_etag(&rest, &each)) {
            if (equal(tag, each)) return true;
        }
    }
    return false;
}

/* Settles the century of two-digit years until a Date does: they are 1951 to 2050. */
enum { YEAR_2000_S = 946684800 };

static bool date_of(const struct fields *f, enum field_id id, int64_t now_s, int64_t *out_s)
{
    return http_date_parse(fields_value(f, id), now_s, out_s);
}

struct dates {
    bool has_date, has_modified;
    int64_t date_s, modified_s;
};

static struct dates dates_of(const struct response *stored)
{
    struct dates d = { .date_s = YEAR_2000_S };
    d.has_date = date_of(&stored->fields, FIELD_DATE, d.date_s, &d.date_s);
    d.has_modified = date_of(&stored->fields, FIELD_LAST_MODIFIED, d.date_s, &d.modified_s);
    return d;
}

static bool is_modified_after(const struct request *req, const struct response *stored)
{
    struct dates d = dates_of(stored);
    int64_t since_s;
    return d.has_modified && date_of(&req->fields, FIELD_IF_UNMODIFIED_SINCE, d.date_s, &since_s) &&
           d.modified_s > since_s;
}

static bool is_unmodified_since(const struct request *req, const struct response *stored)
{
    struct dates d = dates_of(stored);
    int64_t since_s;
    if (!d.has_modified && !d.has_date) return false;
    if (!date_of(&req->fields, FIELD_IF_MODIFIED_SINCE, d.date_s, &since_s)) return false;
    return (d.has_modified ? d.modified_s : d.date_s) <= since_s;
}

static bool would_change(const struct request *req, const struct response *stored)
{
    if (fields_has(&req->fields, FIELD_IF_MATCH)) {
        return !is_named(req, FIELD_IF_MATCH, stored, etag_equal_strong);
    }
    return fields_has(&req->fields, FIELD_IF_UNMODIFIED_SINCE) && is_modified_after(req, stored);
}

enum precondition precondition_evaluate(const struct request *req, const struct response *stored)
{
    bool reads = req->method == METHOD_GET || req->method == METHOD_HEAD;
    if (stored->status < 200 || stored->status > 299) return PRECONDITION_PASS;
    if (would_change(req, stored)) return PRECONDITION_FAILED;
    if (fields_has(&req->fields, FIELD_IF_NONE_MATCH)) {
        if (!is_named(req, FIELD_IF_NONE_MATCH, stored, etag_equal_weak)) return PRECONDITION_PASS;
        return reads ? PRECONDITION_NOT_MODIFIED : PRECONDITION_FAILED;
    }
    if (reads && fields_has(&req->fields, FIELD_IF_MODIFIED_SINCE) &&
        is_unmodified_since(req, stored)) {
        return PRECONDITION_NOT_MODIFIED;
    }
    return PRECONDITION_PASS;
}
