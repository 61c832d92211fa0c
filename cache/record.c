#include "cache/record.h"

/* What the bytes begin with; then key, vary, vary_key, the field lines and those of the trailers.
 */
struct fixed {
    int64_t length;
    uint64_t purge_seq;
    struct freshness freshness;
    int32_t status;
    uint32_t key_bytes, vary_bytes, vary_key_bytes;
    uint32_t lines_bytes, trailers_bytes;
};

/* ---- writing ---- */

static size_t lines_size(const struct fields *f)
{
    size_t n = 0;
    for (uint32_t i = 0; i < f->n; i++) n += f->v[i].name.n + f->v[i].value.n + 4;
    return n;
}

size_t record_size(const struct object *o)
{
    return sizeof(struct fixed) + o->key.text.n + o->vary.n + o->vary_key.n +
           lines_size(&o->head.fields) + lines_size(&o->trailers);
}

static char *put(char *to, struct slice s)
{
    return s.n ? mempcpy(to, s.p, s.n) : to;
}

static char *put_lines(char *to, const struct fields *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        to = put(to, f->v[i].name);
        to = mempcpy(to, ": ", 2);
        to = put(to, f->v[i].value);
        to = mempcpy(to, "\r\n", 2);
    }
    return to;
}

void record_write(const struct object *o, char *to)
{
    struct fixed fixed = {
        .length = o->head.length,
        .purge_seq = o->purge_seq,
        .freshness = o->freshness,
        .status = o->head.status,
        .key_bytes = (uint32_t)o->key.text.n,
        .vary_bytes = (uint32_t)o->vary.n,
        .vary_key_bytes = (uint32_t)o->vary_key.n,
        .lines_bytes = (uint32_t)lines_size(&o->head.fields),
        .trailers_bytes = (uint32_t)lines_size(&o->trailers),
    };
    to = mempcpy(to, &fixed, sizeof fixed);
    to = put(to, o->key.text);
    to = put(to, o->vary);
    to = put(to, o->vary_key);
    to = put_lines(to, &o->head.fields);
    put_lines(to, &o->trailers);
}

/* ---- reading ---- */

static bool take(struct slice *from, size_t n, struct slice *out)
{
    if (n > from->n) return false;
    *out = slice_of(from->p, n);
    *from = slice_skip(*from, n);
    return true;
}

static bool take_line(struct slice *from, struct field *out)
{
    size_t end = slice_find(*from, '\n'), name = slice_find(*from, ':');
    if (end == from->n || name + 3 > end || from->p[name + 1] != ' ' || from->p[end - 1] != '\r')
        return false;
    *out = (struct field){ .name = slice_of(from->p, name),
                           .value = slice_of(from->p + name + 2, end - name - 3) };
    out->id = (uint16_t)field_lookup(out->name);
    *from = slice_skip(*from, end + 1);
    return true;
}

static bool take_lines(struct slice lines, struct arena *a, struct fields *out)
{
    size_t n = 0;
    for (size_t i = 0; i < lines.n; i++) n += lines.p[i] == '\n';
    if (n > RECORD_FIELDS_MAX) return false;
    *out = (struct fields){ n ? arena_alloc(a, n * sizeof *out->v) : NULL, 0, (uint32_t)n };
    while (lines.n) {
        if (out->n == n || !take_line(&lines, &out->v[out->n])) return false;
        out->n++;
    }
    return true;
}

bool record_read(struct slice bytes, struct arena *a, struct record *out)
{
    struct fixed fixed;
    struct slice lines, trailers;
    if (bytes.n < sizeof fixed) return false;
    memcpy(&fixed, bytes.p, sizeof fixed);
    bytes = slice_skip(bytes, sizeof fixed);
    *out = (struct record){ .head = { .status = fixed.status, .length = fixed.length },
                            .freshness = fixed.freshness,
                            .purge_seq = fixed.purge_seq };
    return fixed.status >= 200 && fixed.status <= 599 && fixed.length >= LENGTH_NONE &&
           take(&bytes, fixed.key_bytes, &out->key) && take(&bytes, fixed.vary_bytes, &out->vary) &&
           take(&bytes, fixed.vary_key_bytes, &out->vary_key) &&
           take(&bytes, fixed.lines_bytes, &lines) &&
           take(&bytes, fixed.trailers_bytes, &trailers) && bytes.n == 0 &&
           take_lines(lines, a, &out->head.fields) && take_lines(trailers, a, &out->trailers);
}
