#include "protocols/http/range.h"

#include "protocols/http/date.h"
#include "protocols/http/etag.h"
#include "protocols/http/value.h"

/* Digits up to the largest position there is: a number that is larger cannot be told from it by any
 * representation. */
static bool parse_position(struct slice digits, int64_t *out)
{
    *out = value_int64(digits);
    if (*out < 0 && digits.n && value_span(digits, CHAR_DIGIT) == digits.n) *out = INT64_MAX;
    return *out >= 0;
}

/* "0-499", "500-", "-500" */
static bool parse_spec(struct slice s, struct range_spec *out)
{
    size_t dash = slice_find(s, '-');
    if (dash == s.n) return false;
    struct slice first = slice_of(s.p, dash), last = slice_skip(s, dash + 1);
    *out = (struct range_spec){ -1, -1 };
    if (first.n == 0) return parse_position(last, &out->last);
    if (!parse_position(first, &out->first)) return false;
    if (last.n == 0) return true;
    return parse_position(last, &out->last) && out->first <= out->last;
}

/* False where the representation has no byte of it. */
static bool satisfy(struct range_spec spec, int64_t length, struct range *out)
{
    bool suffix = spec.first < 0;
    out->first = !suffix ? spec.first : spec.last < length ? length - spec.last : 0;
    out->last = suffix || spec.last < 0 || spec.last >= length ? length - 1 : spec.last;
    return out->first < length && !(suffix && spec.last == 0);
}

static bool is_apart(struct range a, struct range b)
{
    return a.last + 1 < b.first || b.last + 1 < a.first;
}

/* Adds r, taking into it every range it overlaps or touches; the result stands where the first of
 * them stood. */
static void add(struct ranges *out, struct range r)
{
    unsigned kept = 0, place = RANGES_MAX;
    for (unsigned i = 0; i < out->count; i++) {
        struct range other = out->v[i];
        if (is_apart(r, other)) {
            out->v[kept++] = other;
            continue;
        }
        if (place == RANGES_MAX) place = kept++;
        if (other.first < r.first) r.first = other.first;
        if (other.last > r.last) r.last = other.last;
    }
    if (place == RANGES_MAX) place = kept++;
    out->v[place] = r;
    out->count = kept;
}

enum range_result range_parse(struct slice value, int64_t length, struct ranges *out)
{
    struct slice unit = slice_of(value.p, slice_find(value, '=')), member;
    unsigned written = 0;
    out->count = 0;
    if (unit.n == value.n || !slice_eq_nocase(unit, SLICE("bytes"))) return RANGE_NONE;
    struct slice rest = slice_skip(value, unit.n + 1);
    while (value_next(&rest, &member)) {
        struct range_spec spec;
        struct range r;
        if (++written > RANGES_MAX || !parse_spec(member, &spec)) return RANGE_NONE;
        if (satisfy(spec, length, &r)) add(out, r);
    }
    if (written == 0) return RANGE_NONE;
    return out->count ? RANGE_SATISFIABLE : RANGE_UNSATISFIABLE;
}

bool range_parse_single(struct slice value, struct range_spec *out)
{
    struct slice unit = slice_of(value.p, slice_find(value, '=')), member;
    struct slice rest = slice_skip(value, unit.n + (unit.n < value.n));
    return slice_eq_nocase(unit, SLICE("bytes")) && value_next(&rest, &member) &&
           parse_spec(member, out) && !value_next(&rest, &member);
}

/* Exactly the stored date, which is a strong validator once the response is a second or more
 * younger: then no second change can hide behind the same date. */
static bool date_holds(struct slice condition, const struct fields *f)
{
    struct slice modified = fields_value(f, FIELD_LAST_MODIFIED);
    int64_t date_s, modified_s;
    return slice_eq(condition, modified) &&
           http_date_parse(fields_value(f, FIELD_DATE), 0, &date_s) &&
           http_date_parse(modified, date_s, &modified_s) && modified_s < date_s;
}

bool range_condition_holds(const struct request *req, const struct response *stored)
{
    const struct field *condition = fields_get(&req->fields, FIELD_IF_RANGE);
    struct etag asked, tag;
    if (!condition) return true;
    if (!etag_parse(condition->value, &asked)) return date_holds(condition->value, &stored->fields);
    return etag_of(&stored->fields, &tag) && etag_equal_strong(asked, tag);
}

bool content_range_parse(struct slice value, struct content_range *out)
{
    struct slice unit = value_take_token(&value);
    if (!slice_eq_nocase(unit, SLICE("bytes")) || !slice_starts(value, SLICE(" "))) return false;
    value = slice_skip(value, 1);
    size_t slash = slice_find(value, '/'), dash = slice_find(value, '-');
    if (slash == value.n) return false;
    struct slice range = slice_of(value.p, slash), length = slice_skip(value, slash + 1);
    *out = (struct content_range){ -1, -1, value_int64(length) };
    if (slice_eq(range, SLICE("*"))) return out->length >= 0;
    if (out->length < 0 && !slice_eq(length, SLICE("*"))) return false;
    if (dash >= slash) return false;
    out->first = value_int64(slice_of(range.p, dash));
    out->last = value_int64(slice_skip(range, dash + 1));
    if (out->first < 0 || out->last < out->first) return false;
    return out->length < 0 || out->last < out->length;
}

struct slice content_range_format(struct content_range r, struct arena *a)
{
    if (r.first < 0) return arena_printf(a, "bytes */%lld", (long long)r.length);
    long long first = r.first, last = r.last, length = r.length;
    if (length < 0) return arena_printf(a, "bytes %lld-%lld/*", first, last);
    return arena_printf(a, "bytes %lld-%lld/%lld", first, last, length);
}
