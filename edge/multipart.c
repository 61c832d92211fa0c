#include "edge/multipart.h"

#include <inttypes.h>
#include <stdio.h>

#include "cache/reader.h"
#include "edge/answer.h"

/* The pieces in the order they are sent: a head and a range for each part, then the end. */
struct parts {
    struct body body; /* first: a body is its parts */
    struct object *object;
    struct scope *scope;
    struct arena *arena;
    struct ranges ranges;
    struct slice *texts; /* before each part, and at the end: ranges.count + 1 */
    unsigned next;       /* piece: even ones are texts, odd ones ranges */
    struct body *piece;  /* being pulled; NULL: none yet */
    struct reader reader;
};

static void on_piece_ready(struct body *piece)
{
    struct parts *p = piece->puller;
    p->body.ready(&p->body);
}

static void open_piece(struct parts *p)
{
    unsigned part = p->next / 2;
    if (p->next % 2 == 0) {
        p->piece = text_body(p->texts[part], p->arena);
    } else {
        const struct range *r = &p->ranges.v[part];
        reader_open(&p->reader, p->object, p->scope, (uint64_t)r->first, (uint64_t)r->last + 1);
        p->piece = &p->reader.body;
    }
    p->piece->ready = on_piece_ready;
    p->piece->puller = p;
    p->next++;
}

static enum body_result pull(struct body *b, struct span *out)
{
    struct parts *p = (struct parts *)b;
    unsigned pieces = 2 * p->ranges.count + 1;
    for (;;) {
        if (!p->piece && p->next == pieces) return BODY_END;
        if (!p->piece) open_piece(p);
        enum body_result result = body_pull(p->piece, out);
        b->error = p->piece->error;
        if (result != BODY_END) return result;
        body_close(&p->piece);
    }
}

static void close_parts(struct body *b)
{
    struct parts *p = (struct parts *)b;
    body_close(&p->piece);
    object_drop(&p->object);
}

static struct slice part_head(const struct parts *p, const char *boundary, unsigned part,
                              int64_t total_bytes)
{
    const struct range *r = &p->ranges.v[part];
    struct slice type = fields_value(&p->object->head.fields, FIELD_CONTENT_TYPE);
    return arena_printf(p->arena,
                        "%s--%s\r\n%s%.*s%sContent-Range: bytes %" PRId64 "-%" PRId64 "/%" PRId64
                        "\r\n\r\n",
                        part ? "\r\n" : "", boundary, type.n ? "Content-Type: " : "",
                        SLICE_ARGS(type), type.n ? "\r\n" : "", r->first, r->last, total_bytes);
}

static int64_t write_texts(struct parts *p, const char *boundary, int64_t total_bytes)
{
    unsigned n = p->ranges.count;
    int64_t length = 0;
    p->texts = arena_alloc(p->arena, (n + 1) * sizeof *p->texts);
    for (unsigned i = 0; i < n; i++) {
        p->texts[i] = part_head(p, boundary, i, total_bytes);
        length += (int64_t)p->texts[i].n + p->ranges.v[i].last - p->ranges.v[i].first + 1;
    }
    p->texts[n] = arena_printf(p->arena, "\r\n--%s--\r\n", boundary);
    return length + (int64_t)p->texts[n].n;
}

void multipart_open(struct multipart *m, struct object *o, const struct ranges *ranges,
                    int64_t total_bytes, struct scope *scope, struct arena *a, uint64_t random)
{
    static const struct body_ops ops = { .pull = pull, .close = close_parts };
    char boundary[24];
    snprintf(boundary, sizeof boundary, "verge%016" PRIx64, random);
    struct parts *p = arena_new(a, struct parts);
    p->body.ops = &ops;
    p->object = object_hold(o);
    p->scope = scope;
    p->arena = a;
    p->ranges = *ranges;
    *m = (struct multipart){
        .body = &p->body,
        .length = write_texts(p, boundary, total_bytes),
        .content_type = arena_printf(a, "multipart/byteranges; boundary=%s", boundary),
    };
}
