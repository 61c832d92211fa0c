#include "protocols/h1/parse.h"

#include "edge/base/error.h"
#include "protocols/h1/head.h"

/* --- requests --- */

/* Longer than any registered method; what is longer still is not one. */
enum { METHOD_BYTES = 32 };

static bool take_method(struct h1_head *h, struct request *r)
{
    if (!h1_head_take(h, H1_TOKEN, &r->method_text)) return false;
    if (r->method_text.n > METHOD_BYTES) return h1_head_malformed(h);
    r->method = method_lookup(r->method_text);
    return h1_head_byte(h, ' ');
}

static bool take_prefix(struct slice *s, struct slice prefix)
{
    if (s->n < prefix.n || !slice_eq_nocase(slice_of(s->p, prefix.n), prefix)) return false;
    *s = slice_skip(*s, prefix.n);
    return true;
}

/* The path and query behind an absolute-form's authority, as origin-form (RFC 9112 sections 3.2.1
 * and 3.2.4). */
static struct slice origin_form(struct h1_head *h, enum method method, struct slice path)
{
    if (path.n && *path.p == '/') return path;
    if (path.n == 0) return method == METHOD_OPTIONS ? SLICE("*") : SLICE("/");
    return arena_concat(h->arena, (struct slice[]){ SLICE("/"), path }, 2);
}

static bool read_absolute_form(struct h1_head *h, struct request *r)
{
    struct slice rest = r->target;
    size_t n = 0;
    if (take_prefix(&rest, SLICE("http://")))
        r->scheme = SLICE("http");
    else if (take_prefix(&rest, SLICE("https://")))
        r->scheme = SLICE("https");
    else
        return h1_head_malformed(h);
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?') n++;
    r->authority = slice_of(rest.p, n);
    r->target = origin_form(h, r->method, slice_skip(rest, n));
    return authority_is_valid(r->authority) || h1_head_fail(h, -E_BAD_HOST);
}

/* Host and port, of which neither has a default. */
static bool read_authority_form(struct h1_head *h, struct request *r)
{
    struct slice a = r->target;
    r->authority = a;
    r->target = SLICE("");
    if (authority_is_valid(a) && a.n > authority_host(a).n + 1) return true;
    return h1_head_malformed(h);
}

/* The four forms of RFC 9112 section 3.2, each with the methods that may use it. */
static bool read_target(struct h1_head *h, struct request *r)
{
    if (r->method == METHOD_CONNECT) return read_authority_form(h, r);
    if (*r->target.p == '/') return true;
    if (r->method == METHOD_OPTIONS && slice_eq(r->target, SLICE("*"))) return true;
    return read_absolute_form(h, r);
}

static bool request_line(struct h1_head *h, struct request *r)
{
    if (!take_method(h, r) || !h1_head_take(h, H1_TARGET, &r->target)) return false;
    if (!h1_head_byte(h, ' ') || !h1_head_version(h) || !h1_head_crlf(h)) return false;
    r->version = h->version;
    return h1_head_line_fits(h) && read_target(h, r);
}

/* An authority in the target wins over Host, which must be valid all the same (RFC 9112
 * section 3.2.2). */
static bool read_host(struct h1_head *h, struct request *r)
{
    if (!h1_head_has(h, FIELD_HOST)) return h->version == HTTP_1_0 || h1_head_fail(h, -E_BAD_HOST);
    if (h1_head_repeats(h, FIELD_HOST) || !authority_is_valid(h->host))
        return h1_head_fail(h, -E_BAD_HOST);
    if (r->authority.n == 0) r->authority = h->host;
    return true;
}

/* An empty line may come first, or the half of one that has come so far. */
static bool skip_leading_line(struct h1_head *h)
{
    if (h->p == h->end || *h->p != '\r') return true;
    return h1_head_crlf(h);
}

static int request_head(struct h1_head *h, struct h1_request *out)
{
    struct request *r = &out->msg;
    if (!skip_leading_line(h) || !request_line(h, r) || !h1_head_fields(h)) return h->rc;
    if (!read_host(h, r) || !h1_head_framing(h, &out->body, &r->length)) return h->rc;
    out->keep_alive = h1_head_keep_alive(h);
    out->expect_continue =
        h->expect_continue && h->version == HTTP_1_1 && out->body != H1_BODY_NONE;
    out->te_trailers = h->te_trailers;
    out->upgrade = h1_head_upgrade(h);
    h1_head_drop_hop_by_hop(h);
    return (int)(h->p - h->start);
}

int h1_parse_request(struct slice buf, size_t *scanned, const struct h1_limits *limits,
                     struct arena *arena, struct h1_request *out)
{
    int rc = *scanned ? h1_head_find_end(buf, *scanned, &h1_request_codes) : buf.n > 0;
    if (rc > 0) {
        struct h1_head h;
        *out = (struct h1_request){ 0 };
        h1_head_init(&h, buf, &h1_request_codes, limits, arena, &out->msg.fields);
        rc = request_head(&h, out);
    }
    return rc ? rc : h1_head_wait(buf, scanned, limits, &h1_request_codes);
}

/* --- responses --- */

static bool take_status(struct h1_head *h, int *status)
{
    int digits[3];
    for (int i = 0; i < 3; i++) {
        if (!h1_head_digit(h, &digits[i])) return false;
    }
    *status = digits[0] * 100 + digits[1] * 10 + digits[2];
    return (*status >= 100 && *status <= 599) || h1_head_malformed(h);
}

/* The reason phrase is ignored (RFC 9112 section 4), and some origins leave out even the space
 * before it. */
static bool status_line(struct h1_head *h, int *status)
{
    if (!h1_head_version(h) || !h1_head_byte(h, ' '))
        return h1_head_broke(h, "a response must begin with HTTP/1.x and a space", h->p);
    if (!take_status(h, status))
        return h1_head_broke(h, "the status must be three digits, 100 to 599", h->p);
    bool phrase = h->p < h->end && *h->p == ' ';
    if (phrase) h1_head_text(h);
    if (!h1_head_crlf(h))
        return h1_head_broke(
            h, phrase ? H1_RULE_LINE_END : "a space or CRLF must follow the status", h->p);
    return h1_head_line_fits(h);
}

/* HEAD and 304 announce the body there would be. */
static bool announces_body(enum method request_method, int status)
{
    return status == 304 || (request_method == METHOD_HEAD && status_has_body(METHOD_GET, status));
}

/* Other messages without a body must not have framing; an origin that sends it may well send the
 * body too, and then its bytes would be taken for the next response. */
static void read_no_body(struct h1_response *out, bool announced)
{
    if (!announced) {
        if (out->body == H1_BODY_CHUNKED || out->msg.length > 0) out->keep_alive = false;
        out->msg.length = LENGTH_NONE;
    }
    out->body = H1_BODY_NONE;
}

static void read_body(struct h1_response *out, enum method request_method)
{
    int status = out->msg.status;
    if (!status_has_body(request_method, status)) {
        read_no_body(out, announces_body(request_method, status));
    } else if (out->body == H1_BODY_NONE) {
        out->body = H1_BODY_UNTIL_CLOSE;
        out->msg.length = LENGTH_UNKNOWN;
        out->keep_alive = false;
    }
}

static int response_head(struct h1_head *h, enum method request_method, struct h1_response *out)
{
    struct response *r = &out->msg;
    if (!status_line(h, &r->status) || !h1_head_fields(h)) return h->rc;
    if (!h1_head_framing(h, &out->body, &r->length)) return h->rc;
    out->version = h->version;
    out->keep_alive = h1_head_keep_alive(h);
    out->interim = r->status < 200 && r->status != 101;
    out->upgrade = h1_head_upgrade(h);
    read_body(out, request_method);
    h1_head_drop_hop_by_hop(h);
    return (int)(h->p - h->start);
}

int h1_parse_response(struct slice buf, size_t *scanned, const struct h1_limits *limits,
                      enum method request_method, struct arena *arena, struct h1_response *out)
{
    int rc = *scanned ? h1_head_find_end(buf, *scanned, &h1_response_codes) : buf.n > 0;
    *out = (struct h1_response){ 0 };
    if (rc != 0) { /* also with an error, so that it is found by who can tell more of it */
        struct h1_head h;
        h1_head_init(&h, buf, &h1_response_codes, limits, arena, &out->msg.fields);
        rc = response_head(&h, request_method, out);
        if (rc < 0) h1_head_fault(&h, &out->fault);
    }
    return rc ? rc : h1_head_wait(buf, scanned, limits, &h1_response_codes);
}

/* --- trailers --- */

int h1_parse_trailers(struct slice buf, const struct h1_limits *limits, struct arena *arena,
                      struct fields *out)
{
    struct h1_head h;
    h1_head_init(&h, buf, &h1_request_codes, limits, arena, out);
    if (h1_head_fields(&h)) {
        h1_head_drop_hop_by_hop(&h);
        fields_remove_misplaced(out);
        return (int)(h.p - h.start);
    }
    return h.rc || buf.n < limits->head_bytes ? h.rc : -E_HEADER_TOO_LARGE;
}
