#include "edge/access_log.h"

#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/mem.h"
#include "protocols/http/date.h"

/* What others decide the length of takes so much of a line at most, as it stands there: escaped. */
#define VALUE_BYTES_MAX 2048
#define VALUES_MAX      8    /* in one line */
#define FIXED_BYTES_MAX 1024 /* keys, numbers, time */
#define LINE_BYTES_MAX  (VALUES_MAX * VALUE_BYTES_MAX + FIXED_BYTES_MAX)

_Static_assert(LINE_BYTES_MAX <= ACCESS_LOG_BUFFER_BYTES, "a line always fits an empty buffer");

/* A line is finished here and then copied, so that it never has to be taken back out of a buffer
 * that turns out too small for it. */
struct line {
    size_t n;
    char text[LINE_BYTES_MAX];
};

static inline void put(struct line *l, struct slice s)
{
    CHECK(s.n <= sizeof l->text - l->n);
    memcpy(l->text + l->n, s.p, s.n);
    l->n += s.n;
}

/* ---- numbers and time ---- */

static void put_number(struct line *l, uint64_t n)
{
    char digits[20], *at = digits + sizeof digits;
    do *--at = (char)('0' + n % 10);
    while (n /= 10);
    put(l, slice_of(at, (size_t)(digits + sizeof digits - at)));
}

static void put_digits(struct line *l, unsigned n, size_t width)
{
    char digits[10];
    for (size_t i = width; i-- > 0; n /= 10) digits[i] = (char)('0' + n % 10);
    put(l, slice_of(digits, width));
}

/* n / 1000 with three decimals. */
static void put_thousandths(struct line *l, int64_t n)
{
    if (n < 0) n = 0;
    put_number(l, (uint64_t)n / 1000);
    put(l, SLICE("."));
    put_digits(l, (unsigned)(n % 1000), 3);
}

/* Parts of an IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT", which is had without the C library's
 * lock on the time zone. */
struct date {
    struct slice day, month, year, time;
};

static struct date date_parts(const char text[HTTP_DATE_BYTES])
{
    return (struct date){ slice_of(text + 5, 2), slice_of(text + 8, 3), slice_of(text + 12, 4),
                          slice_of(text + 17, 8) };
}

static unsigned month_number(struct slice name)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNov";
    unsigned n = 1;
    for (const char *at = names; *at && memcmp(at, name.p, 3) != 0; at += 3) n++;
    return n;
}

/* RFC 3339: 1994-11-06T08:49:37.000Z */
static void put_rfc3339(struct line *l, int64_t wall_ms)
{
    char text[HTTP_DATE_BYTES];
    http_date_format(wall_ms / 1000, text);
    struct date d = date_parts(text);
    put(l, d.year);
    put(l, SLICE("-"));
    put_digits(l, month_number(d.month), 2);
    put(l, SLICE("-"));
    put(l, d.day);
    put(l, SLICE("T"));
    put(l, d.time);
    put(l, SLICE("."));
    put_digits(l, (unsigned)(wall_ms % 1000), 3);
    put(l, SLICE("Z"));
}

/* The common log format's: 06/Nov/1994:08:49:37 +0000 */
static void put_common_time(struct line *l, int64_t wall_ms)
{
    char text[HTTP_DATE_BYTES];
    http_date_format(wall_ms / 1000, text);
    struct date d = date_parts(text);
    put(l, d.day);
    put(l, SLICE("/"));
    put(l, d.month);
    put(l, SLICE("/"));
    put(l, d.year);
    put(l, SLICE(":"));
    put(l, d.time);
    put(l, SLICE(" +0000"));
}

/* ---- values, escaped ---- */

/* Where a value stands, and so what of it can stand there as it is. */
enum place {
    PLACE_WORD = 1,   /* between spaces */
    PLACE_QUOTED = 2, /* between quotation marks, as Apache writes it */
    PLACE_JSON = 4,   /* in a JSON string (RFC 8259 section 7) */
};

#define EVERYWHERE (PLACE_WORD | PLACE_QUOTED | PLACE_JSON)

static const uint8_t plain[256] = {
    [' '] = PLACE_QUOTED | PLACE_JSON, /* and neither '"' nor '\' anywhere */
    ['!'] = EVERYWHERE,
    ['#' ... '['] = EVERYWHERE,
    [']' ... '~'] = EVERYWHERE,
};

struct utf8_form {
    uint8_t first_min, first_max, second_min, second_max;
    size_t bytes;
};

/* RFC 3629 section 4, what is longer than a byte. Third and fourth bytes are 80 to BF in all. */
static const struct utf8_form utf8_forms[] = {
    { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
    { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
    { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

static bool utf8_has_form(struct slice s, const struct utf8_form *f)
{
    const uint8_t *p = (const uint8_t *)s.p;
    if (s.n < f->bytes || p[0] < f->first_min || p[0] > f->first_max) return false;
    if (p[1] < f->second_min || p[1] > f->second_max) return false;
    for (size_t i = 2; i < f->bytes; i++) {
        if ((p[i] & 0xc0) != 0x80) return false;
    }
    return true;
}

/* Length of the character of two bytes or more that s begins with; 0 where it begins with none. */
static size_t utf8_character(struct slice s)
{
    for (size_t i = 0; i < sizeof utf8_forms / sizeof *utf8_forms; i++) {
        if (utf8_has_form(s, &utf8_forms[i])) return utf8_forms[i].bytes;
    }
    return 0;
}

/* How many bytes s begins with that stand as they are. */
static size_t plain_run(struct slice s, enum place place)
{
    size_t n = 0, more;
    do {
        while (n < s.n && (plain[(uint8_t)s.p[n]] & place)) n++;
        more = place == PLACE_JSON && n < s.n ? utf8_character(slice_skip(s, n)) : 0;
        n += more;
    } while (more);
    return n;
}

/* What stands for a byte that does not: \" and \\, otherwise \u00NN in JSON and \xNN elsewhere. */
static struct slice escape(uint8_t byte, enum place place, char out[6])
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    out[n++] = '\\';
    if (byte == '"' || byte == '\\') {
        out[n++] = (char)byte;
        return slice_of(out, n);
    }
    struct slice prefix = place == PLACE_JSON ? SLICE("u00") : SLICE("x");
    memcpy(out + n, prefix.p, prefix.n);
    n += prefix.n;
    out[n++] = hex[byte >> 4];
    out[n++] = hex[byte & 15];
    return slice_of(out, n);
}

/* Cut to VALUE_BYTES_MAX, and never inside an escape or a character: what is left of a character at
 * the cut is no character, and its escape is longer than the room there. */
static void put_value(struct line *l, struct slice s, enum place place)
{
    size_t end = l->n + VALUE_BYTES_MAX;
    while (s.n) {
        size_t room = end - l->n;
        size_t run = plain_run(slice_of(s.p, s.n < room ? s.n : room), place);
        put(l, slice_of(s.p, run));
        s = slice_skip(s, run);
        if (!s.n) return;
        char text[6];
        struct slice escaped = escape((uint8_t)*s.p, place, text);
        if (escaped.n > room - run) return;
        put(l, escaped);
        s = slice_skip(s, 1);
    }
}

static void put_protocol(struct line *l, enum http_version version)
{
    put(l, SLICE("HTTP/"));
    put_digits(l, version / 10, 1);
    put(l, SLICE("."));
    put_digits(l, version % 10, 1);
}

static struct slice referer_of(const struct request *q)
{
    const struct field *f = fields_get_named(&q->fields, SLICE("Referer"));
    return f ? f->value : SLICE_NONE;
}

static struct slice agent_of(const struct request *q)
{
    return fields_value(&q->fields, FIELD_USER_AGENT);
}

/* ---- JSON ---- */

#define KEY(name) SLICE(",\"" name "\":")

static void json_string(struct line *l, struct slice key, struct slice value)
{
    put(l, key);
    put(l, SLICE("\""));
    put_value(l, value, PLACE_JSON);
    put(l, SLICE("\""));
}

/* null where there is none. */
static void json_optional(struct line *l, struct slice key, struct slice value)
{
    if (value.n) {
        json_string(l, key, value);
    } else {
        put(l, key);
        put(l, SLICE("null"));
    }
}

static void json_number(struct line *l, struct slice key, uint64_t n)
{
    put(l, key);
    put_number(l, n);
}

static void json_request(struct line *l, const struct exchange *x)
{
    const struct request *q = &x->request;
    json_string(l, KEY("method"), q->method_text);
    json_string(l, KEY("host"), authority_host(q->authority));
    json_string(l, KEY("path"), target_path(x->received_target));
    json_string(l, KEY("query"), target_query(x->received_target));
    if (x->refused_line.n) json_string(l, KEY("line"), x->refused_line);
    put(l, SLICE(",\"protocol\":\""));
    put_protocol(l, q->version);
    put(l, SLICE("\""));
}

static void json_times(struct line *l, const struct exchange *x)
{
    put(l, KEY("duration_ms"));
    put_thousandths(l, x->ended_us - x->began_us);
    put(l, KEY("first_byte_ms"));
    if (x->first_byte_us)
        put_thousandths(l, x->first_byte_us - x->began_us);
    else
        put(l, SLICE("null"));
}

static void format_json(struct line *l, const struct access_record *r)
{
    const struct exchange *x = r->exchange;
    put(l, SLICE("{\"time\":\""));
    put_rfc3339(l, x->worker->wall_ms);
    put(l, SLICE("\""));
    json_string(l, KEY("client_ip"), r->client);
    json_request(l, x);
    json_number(l, KEY("status"), (uint64_t)x->status);
    json_number(l, KEY("bytes"), x->body_sent_bytes);
    json_number(l, KEY("bytes_in"), x->body_received_bytes);
    json_times(l, x);
    json_string(l, KEY("cache"), slice_str(r->verdict));
    json_optional(l, KEY("upstream"), r->upstream);
    int error = x->error ? x->error : r->origin_error;
    json_optional(l, KEY("error"), error ? slice_str(error_info(error)->name) : SLICE_NONE);
    json_string(l, KEY("referer"), referer_of(&x->request));
    json_string(l, KEY("ua"), agent_of(&x->request));
    put(l, SLICE("}\n"));
}

/* ---- combined ---- */

/* "-" where there is none. */
static void put_or_dash(struct line *l, struct slice value, enum place place)
{
    if (value.n)
        put_value(l, value, place);
    else
        put(l, SLICE("-"));
}

/* Three words, or what there was of a request that could not be read, "-" for nothing. */
static void combined_request(struct line *l, const struct exchange *x)
{
    const struct request *q = &x->request;
    if (!q->method_text.n) {
        put_or_dash(l, x->refused_line, PLACE_QUOTED);
        return;
    }
    put_value(l, q->method_text, PLACE_WORD);
    put(l, SLICE(" "));
    put_or_dash(l, x->received_target, PLACE_WORD);
    put(l, SLICE(" "));
    put_protocol(l, q->version);
}

/* As Apache does: "-" rather than 0 where no byte of a body was sent. */
static void combined_bytes(struct line *l, uint64_t bytes)
{
    if (bytes)
        put_number(l, bytes);
    else
        put(l, SLICE("-"));
}

static void format_combined(struct line *l, const struct access_record *r)
{
    const struct exchange *x = r->exchange;
    put_or_dash(l, r->client, PLACE_WORD);
    put(l, SLICE(" - - ["));
    put_common_time(l, x->worker->wall_ms);
    put(l, SLICE("] \""));
    combined_request(l, x);
    put(l, SLICE("\" "));
    put_digits(l, (unsigned)x->status, 3);
    put(l, SLICE(" "));
    combined_bytes(l, x->body_sent_bytes);
    put(l, SLICE(" \""));
    put_or_dash(l, referer_of(&x->request), PLACE_QUOTED);
    put(l, SLICE("\" \""));
    put_or_dash(l, agent_of(&x->request), PLACE_QUOTED);
    put(l, SLICE("\" "));
    put(l, slice_str(r->verdict));
    put(l, SLICE(" "));
    put_thousandths(l, (x->ended_us - x->began_us) / 1000);
    put(l, SLICE("\n"));
}

/* ---- the buffer ---- */

static void on_flush(struct timer *t)
{
    access_log_flush(container_of(t, struct access_log, flush));
}

void access_log_init(struct access_log *l, struct worker *w)
{
    *l = (struct access_log){ .worker = w };
    timer_init(&l->flush, on_flush);
}

void access_log_set(struct access_log *l, struct sink *sink, enum log_format format)
{
    access_log_flush(l);
    l->sink = sink;
    l->format = format;
}

static void append(struct access_log *l, const struct line *line)
{
    if (line->n > ACCESS_LOG_BUFFER_BYTES - l->n) access_log_flush(l);
    if (!l->buffer) l->buffer = xmalloc(ACCESS_LOG_BUFFER_BYTES);
    if (l->n == 0) {
        int64_t due_ms = worker_now_ms(l->worker) + ACCESS_LOG_FLUSH_MS;
        timer_set(&l->worker->wheel, &l->flush, due_ms);
    }
    memcpy(l->buffer + l->n, line->text, line->n);
    l->n += line->n;
    l->lines++;
}

void access_log_write(struct access_log *l, const struct access_record *r)
{
    if (!l->sink) return;
    struct line line;
    line.n = 0;
    if (l->format == LOG_JSON)
        format_json(&line, r);
    else
        format_combined(&line, r);
    append(l, &line);
}

void access_log_flush(struct access_log *l)
{
    if (l->n == 0) return;
    /* What the sink cannot take it counts by itself. */
    sink_write(l->sink, slice_of(l->buffer, l->n), l->lines);
    l->n = 0;
    l->lines = 0;
    timer_cancel(&l->flush);
}

void access_log_close(struct access_log *l)
{
    access_log_flush(l);
    free(l->buffer);
    l->buffer = NULL;
}
