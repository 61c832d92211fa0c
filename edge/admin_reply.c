#include "edge/admin_reply.h"

#include <stdlib.h>

#include "edge/answer.h"
#include "edge/base/error.h"
#include "protocols/http/date.h"

#define TEXT_TYPE SLICE("text/plain; charset=utf-8")

static void add(struct exchange *x, struct response *r, enum field_id id, struct slice value)
{
    fields_add(&r->fields, &x->arena, id, value);
}

/* What every answer has; the rest of its fields may follow. */
static struct response answer(struct exchange *x, int status, struct slice type)
{
    struct response r = { .status = status };
    char *date = arena_alloc(&x->arena, HTTP_DATE_BYTES);
    http_date_format(x->worker->wall_ms / 1000, date);
    add(x, &r, FIELD_DATE, slice_of(date, HTTP_DATE_BYTES));
    add(x, &r, FIELD_CONTENT_TYPE, type);
    add(x, &r, FIELD_CACHE_CONTROL, SLICE("no-store"));
    return r;
}

static void respond(struct exchange *x, struct response *r, struct slice text)
{
    r->length = (int64_t)text.n;
    x->ops->respond(x, r, text_body(text, &x->arena));
}

void admin_send_text(struct exchange *x, int status, struct slice text)
{
    struct response r = answer(x, status, TEXT_TYPE);
    respond(x, &r, text);
}

void admin_send_json(struct exchange *x, struct slice text)
{
    struct response r = answer(x, 200, ADMIN_JSON);
    respond(x, &r, text);
}

void admin_refuse(struct exchange *x, const char *why)
{
    admin_send_text(x, 400, arena_printf(&x->arena, "%s\n", why));
}

void admin_refuse_method(struct exchange *x, struct slice allow)
{
    struct response r = answer(x, 405, TEXT_TYPE);
    add(x, &r, FIELD_ALLOW, allow);
    respond(x, &r, SLICE("method not allowed\n"));
}

void admin_send_error(struct exchange *x, int error)
{
    struct response r = { 0 };
    struct body *body = NULL;
    answer_error(error, x->worker->wall_ms / 1000, &x->arena, &r, &body);
    x->ops->respond(x, &r, body);
}

/* ---- pages ---- */

bool admin_page_open(struct admin_page *p)
{
    *p = (struct admin_page){ 0 };
    p->out = open_memstream(&p->text, &p->n);
    return p->out;
}

size_t admin_page_bytes(struct admin_page *p)
{
    long at = ftell(p->out);
    return at < 0 ? 0 : (size_t)at;
}

void admin_page_drop(struct admin_page *p)
{
    if (p->out) fclose(p->out);
    free(p->text);
    *p = (struct admin_page){ 0 };
}

void admin_page_send(struct exchange *x, struct admin_page *p, struct slice type)
{
    bool whole = fclose(p->out) == 0;
    p->out = NULL;
    struct slice text = whole ? arena_copy(&x->arena, slice_of(p->text, p->n)) : SLICE_NONE;
    admin_page_drop(p);
    if (!whole) {
        admin_send_error(x, -E_NO_MEMORY);
        return;
    }
    struct response r = answer(x, 200, type);
    respond(x, &r, text);
}
