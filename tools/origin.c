/*
 * The demo origin: a small keep-alive HTTP/1.1 server that does what the query tells it to, and
 * counts what it was asked. It exists for `make run`, the tests and the bench, and links nothing of
 * Verge, so that no mistake is made on both sides. One thread per connection, blocking calls; not
 * meant to face the internet. `origin --help` lists what it answers.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX_BYTES     (32 * 1024) /* request line and fields together: 431 beyond */
#define FIELDS_MAX         128
#define CONNECTIONS_MAX    4096
#define URLS_MAX           65536 /* distinct URLs counted one by one; the total goes on */
#define BUCKETS            16384
#define OUT_BYTES          (16 * 1024)
#define PIECE_BYTES        (64 * 1024)
#define PATTERN_BYTES      (1024 * 1024)
#define PATTERN_MASK       0xffffffffffffff0ULL
#define REPLY_FIELDS_BYTES 8192
#define TEXT_BYTES         4096
#define SOCKET_TIMEOUT_S   60
#define DELAY_MAX_MS       600000
#define STACK_BYTES        (256 * 1024)

static const char help[] =
    "usage: origin --listen ADDRESS:PORT [--root DIR]\n"
    "\n"
    "  /              an HTML page, or DIR/index.html; with --root every other path is a file\n"
    "  /demo          a slow, cacheable text\n"
    "  /r, /r/...     what the query says:\n"
    "      status=N size=N body=TEXT type=TEXT    the response (a size without body is a pattern)\n"
    "      header=NAME:VALUE etag=E vary=V lm=DATE  fields; header may be repeated\n"
    "      delay_ms=N pace_ms=N                   wait before the head, wait after each piece\n"
    "      chunked=1 trailer=NAME:VALUE piece=N   chunked, in pieces of N bytes\n"
    "      interim=N                              an interim response first, such as 103\n"
    "      length=N                               a Content-Length that may be a lie\n"
    "      cut=N rst=1 drop=1 close=1             end after N bytes, by reset, at once, in order\n"
    "  /echo          the request as JSON: line, fields, length and FNV-1a 64 of the body\n"
    "  /count?url=U   how often U was asked for; U is percent-encoded\n"
    "  /counts        all of them; ?reset=1 starts again\n"
    "\n"
    "Every 16 bytes of a pattern are their own offset: 15 hex digits and a newline.\n";

static const char page[] =
    "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Demo origin</title>\n"
    "<h1>Demo origin</h1>\n<p>Ask twice and look at <code>Age</code> and "
    "<code>Cache-Status</code>.</p>\n<ul>\n"
    "<li><a href=\"/demo\">/demo</a>: slow, cacheable for a minute</li>\n"
    "<li><a href=\"/r?size=100000&amp;header=Cache-Control:max-age=60\">/r?size=100000</a>: "
    "a pattern of any size</li>\n"
    "<li><a href=\"/r?status=503&amp;delay_ms=1000\">/r?status=503&amp;delay_ms=1000</a>: "
    "trouble</li>\n<li><a href=\"/echo\">/echo</a>: your request as it arrived</li>\n"
    "<li><a href=\"/counts\">/counts</a>: requests per URL</li>\n</ul></html>\n";

struct slice {
    const char *at;
    size_t len;
};

struct field {
    struct slice name, value;
};

struct request {
    struct slice method, target, path, query;
    int minor; /* HTTP/1.minor */
    struct field fields[FIELDS_MAX];
    int field_count;
    bool keep_alive, chunked, expects_continue;
    uint64_t length; /* as declared */
    uint64_t body_bytes, body_hash;
};

/* What to answer. The numbers are the query's, by way of the table below. */
struct reply {
    int64_t status, size, delay_ms, pace_ms, chunked, piece, interim, length, cut, rst, drop, close;
    char fields[REPLY_FIELDS_BYTES], trailers[256], text_copy[TEXT_BYTES];
    char etag[256], modified[64];
    bool typed, overflow;
    const char *text; /* the body, else `file`, else the pattern */
    char *text_owned;
    int file;
    uint64_t first, count; /* the part of the representation that is sent */
};

struct conn {
    int fd;
    bool failed; /* nothing more can be written */
    size_t in_len, out_len;
    char in[HEAD_MAX_BYTES], out[OUT_BYTES], piece[PIECE_BYTES];
};

struct url_count {
    struct url_count *next;
    atomic_ulong requests;
    size_t len;
    char url[];
};

static char pattern[PATTERN_BYTES];
static int root_fd = -1;
static atomic_int connections, urls;
static atomic_ulong requests_total;
static _Atomic(struct url_count *) buckets[BUCKETS];

/* ---- text ---- */

static bool equals(struct slice s, const char *text)
{
    return s.len == strlen(text) && !memcmp(s.at, text, s.len);
}

/* The same for tokens, in which case does not matter. */
static bool is(struct slice s, const char *text)
{
    return s.len == strlen(text) && !strncasecmp(s.at, text, s.len);
}

static struct slice trim(struct slice s)
{
    while (s.len && strchr(" \t", s.at[0])) s.at++, s.len--;
    while (s.len && strchr(" \t", s.at[s.len - 1])) s.len--;
    return s;
}

/* Cuts `s` at the first `mark`, which is dropped; all of `s` and an empty rest if there is none. */
static struct slice cut_at(struct slice *s, char mark)
{
    const char *end = s->len ? memchr(s->at, mark, s->len) : NULL;
    struct slice head = { s->at, end ? (size_t)(end - s->at) : s->len };
    size_t used = head.len + (end != NULL);
    *s = (struct slice){ s->at + used, s->len - used };
    return head;
}

static bool parse_number(struct slice s, int base, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i] | 0x20;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (digit >= base || *value > (uint64_t)INT64_MAX / 16 - 16) return false;
        *value = *value * (uint64_t)base + (uint64_t)digit;
    }
    return s.len > 0;
}

/* Percent-decodes into `out`, NUL-terminated. Controls are refused: they would split a response. */
static bool decode(struct slice s, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint64_t c = (unsigned char)s.at[i];
        if (c == '%') {
            if (i + 2 >= s.len || !parse_number((struct slice){ s.at + i + 1, 2 }, 16, &c))
                return false;
            i += 2;
        }
        if (c < 0x20 || c == 0x7f || n + 1 >= cap) return false;
        out[n++] = (char)c;
    }
    out[n] = 0;
    return true;
}

static void json_string(FILE *f, struct slice s)
{
    fputc('"', f);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (c < 0x20 || c >= 0x7f)
            fprintf(f, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            fprintf(f, "\\%c", c);
        else
            fputc(c, f);
    }
    fputc('"', f);
}

static const char date_format[] = "%a, %d %b %Y %H:%M:%S GMT";

static void format_date(time_t at, char *out, size_t cap)
{
    struct tm tm;
    strftime(out, cap, date_format, gmtime_r(&at, &tm));
}

static bool parse_date(const char *text, time_t *at)
{
    struct tm tm = { 0 };
    const char *end = strptime(text, date_format, &tm);
    *at = end ? timegm(&tm) : 0;
    return end && !*end;
}

static uint64_t fnv1a(uint64_t hash, const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++) hash = (hash ^ (unsigned char)at[i]) * 0x100000001b3ULL;
    return hash;
}

static const uint64_t fnv_seed = 0xcbf29ce484222325ULL;

/* ---- counts: a table that only grows, so that readers need no lock ---- */

static struct url_count *find_in(struct url_count *c, struct slice url)
{
    while (c && (c->len != url.len || memcmp(c->url, url.at, url.len))) c = c->next;
    return c;
}

static _Atomic(struct url_count *) *bucket_of(struct slice url)
{
    return &buckets[fnv1a(fnv_seed, url.at, url.len) % BUCKETS];
}

static void count_url(struct slice url)
{
    _Atomic(struct url_count *) *bucket = bucket_of(url);
    struct url_count *head = atomic_load(bucket), *found = find_in(head, url), *fresh = NULL;
    atomic_fetch_add(&requests_total, 1);
    while (!found) {
        if (!fresh) {
            if (atomic_fetch_add(&urls, 1) >= URLS_MAX) return;
            fresh = calloc(1, sizeof *fresh + url.len);
            if (!fresh) return;
            fresh->len = url.len;
            memcpy(fresh->url, url.at, url.len);
        }
        fresh->next = head;
        if (atomic_compare_exchange_strong(bucket, &head, fresh))
            found = fresh;
        else
            found = find_in(head, url);
    }
    if (fresh && found != fresh) free(fresh);
    atomic_fetch_add(&found->requests, 1);
}

static char *counts_json(bool reset)
{
    const char *comma = "";
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    if (!f) return NULL;
    fprintf(f, "{\"total\":%lu,\"urls\":{", atomic_load(&requests_total));
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct url_count *c = atomic_load(&buckets[i]); c; c = c->next) {
            unsigned long n = reset ? atomic_exchange(&c->requests, 0) : atomic_load(&c->requests);
            if (!n) continue;
            fputs(comma, f), comma = ",";
            json_string(f, (struct slice){ c->url, c->len });
            fprintf(f, ":%lu", n);
        }
    }
    if (reset) atomic_store(&requests_total, 0);
    fputs("}}\n", f);
    fclose(f);
    return text;
}

/* ---- output ---- */

static void send_all(struct conn *c, const char *at, size_t len)
{
    while (len && !c->failed) {
        ssize_t n = send(c->fd, at, len, MSG_NOSIGNAL);
        if (n > 0)
            at += n, len -= (size_t)n;
        else if (errno != EINTR)
            c->failed = true;
    }
}

static void flush(struct conn *c)
{
    send_all(c, c->out, c->out_len);
    c->out_len = 0;
}

/* Small things gather, so that a head and a short body leave in one segment; large ones go out. */
static void put(struct conn *c, const char *at, size_t len)
{
    if (len > sizeof c->out - c->out_len) flush(c);
    if (len > sizeof c->out) {
        send_all(c, at, len);
        return;
    }
    memcpy(c->out + c->out_len, at, len);
    c->out_len += len;
}

__attribute__((format(printf, 2, 3))) static void putf(struct conn *c, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    put(c, line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
}

static void sleep_ms(int64_t ms)
{
    if (ms <= 0) return;
    if (ms > DELAY_MAX_MS) ms = DELAY_MAX_MS;
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

/* ---- input ---- */

static bool receive(struct conn *c)
{
    if (c->in_len == sizeof c->in) return false;
    ssize_t n;
    do n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0) return false;
    c->in_len += (size_t)n;
    return true;
}

static void consume(struct conn *c, size_t n)
{
    memmove(c->in, c->in + n, c->in_len - n);
    c->in_len -= n;
}

static struct slice find_field(const struct request *q, const char *name)
{
    for (int i = 0; i < q->field_count; i++)
        if (is(q->fields[i].name, name)) return q->fields[i].value;
    return (struct slice){ NULL, 0 };
}

static bool parse_fields(struct request *q, struct slice text)
{
    while (text.len) {
        struct slice line = cut_at(&text, '\n');
        if (!line.len || line.at[line.len - 1] != '\r' || q->field_count == FIELDS_MAX)
            return false;
        line.len--;
        struct field *f = &q->fields[q->field_count++];
        if (!memchr(line.at, ':', line.len)) return false;
        f->name = cut_at(&line, ':');
        f->value = trim(line);
        if (!f->name.len || f->name.len != strcspn(f->name.at, " \t:")) return false;
    }
    return true;
}

static bool parse_line(struct request *q, struct slice line)
{
    q->method = cut_at(&line, ' ');
    q->target = cut_at(&line, ' ');
    if (!q->method.len || !q->target.len) return false;
    if (!is(line, "HTTP/1.1") && !is(line, "HTTP/1.0")) return false;
    q->minor = line.at[7] - '0';
    q->query = q->target;
    q->path = cut_at(&q->query, '?');
    return true;
}

/* `head` is everything up to the empty line, each line with its CRLF. */
static bool parse_head(struct request *q, struct slice head)
{
    *q = (struct request){ .body_hash = fnv_seed };
    struct slice line = cut_at(&head, '\n');
    if (!line.len || line.at[--line.len] != '\r') return false;
    if (!parse_line(q, line) || !parse_fields(q, head)) return false;
    struct slice connection = find_field(q, "Connection"), length = find_field(q, "Content-Length");
    q->keep_alive = q->minor ? !is(connection, "close") : is(connection, "keep-alive");
    q->expects_continue = is(find_field(q, "Expect"), "100-continue");
    q->chunked = is(find_field(q, "Transfer-Encoding"), "chunked");
    return !length.at || (!q->chunked && parse_number(length, 10, &q->length));
}

/* Takes `n` bytes of body off the connection, into the length and the hash. */
static bool read_body_bytes(struct conn *c, struct request *q, uint64_t n)
{
    while (n) {
        if (!c->in_len && !receive(c)) return false;
        size_t now = n < c->in_len ? (size_t)n : c->in_len;
        q->body_hash = fnv1a(q->body_hash, c->in, now);
        q->body_bytes += now;
        n -= now;
        consume(c, now);
    }
    return true;
}

/* One line without its CRLF, copied out because the buffer moves on. */
static bool read_line(struct conn *c, char *line, size_t cap)
{
    char *end;
    while (!(end = memchr(c->in, '\n', c->in_len)))
        if (!receive(c)) return false;
    size_t len = (size_t)(end - c->in);
    if (!len || len > cap || end[-1] != '\r') return false;
    memcpy(line, c->in, len - 1);
    line[len - 1] = 0;
    consume(c, len + 1);
    return true;
}

static bool read_chunks(struct conn *c, struct request *q)
{
    char line[1024];
    for (;;) {
        uint64_t size;
        if (!read_line(c, line, sizeof line)) return false;
        struct slice number = { line, strcspn(line, "; \t") };
        if (!parse_number(number, 16, &size)) return false;
        if (!size) break;
        if (!read_body_bytes(c, q, size) || !read_line(c, line, sizeof line) || *line) return false;
    }
    do
        if (!read_line(c, line, sizeof line)) return false;
    while (*line);
    return true;
}

/* ---- replies ---- */

static void add_field(struct reply *r, const char *format, const char *value)
{
    size_t used = strlen(r->fields), room = sizeof r->fields - used;
    if (snprintf(r->fields + used, room, format, value) < (int)room) return;
    r->fields[used] = 0;
    r->overflow = true;
}

static void copy_text(struct reply *r, char *to, size_t cap, const char *value)
{
    size_t len = strlen(value);
    if (len >= cap)
        r->overflow = true;
    else
        memcpy(to, value, len + 1);
}

static void set_text(struct reply *r, const char *text, const char *type)
{
    r->text = text;
    r->size = (int64_t)strlen(text);
    if (!r->typed) add_field(r, "Content-Type: %s\r\n", type);
    r->typed = true;
}

static void set_error(struct reply *r, int status, const char *text)
{
    r->fields[0] = 0;
    r->typed = false;
    r->status = status;
    set_text(r, text, "text/plain");
}

static const struct {
    const char *name;
    size_t offset;
} numbers[] = {
    { "status", offsetof(struct reply, status) },
    { "size", offsetof(struct reply, size) },
    { "delay_ms", offsetof(struct reply, delay_ms) },
    { "pace_ms", offsetof(struct reply, pace_ms) },
    { "chunked", offsetof(struct reply, chunked) },
    { "piece", offsetof(struct reply, piece) },
    { "interim", offsetof(struct reply, interim) },
    { "length", offsetof(struct reply, length) },
    { "cut", offsetof(struct reply, cut) },
    { "rst", offsetof(struct reply, rst) },
    { "drop", offsetof(struct reply, drop) },
    { "close", offsetof(struct reply, close) },
};

static bool apply_number(struct reply *r, struct slice name, struct slice value)
{
    uint64_t number;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (!is(name, numbers[i].name)) continue;
        if (parse_number(value, 10, &number))
            memcpy((char *)r + numbers[i].offset, &number, sizeof number);
        return true;
    }
    return false;
}

static void apply_text(struct reply *r, struct slice name, const char *value)
{
    if (is(name, "header"))
        add_field(r, "%s\r\n", value);
    else if (is(name, "vary"))
        add_field(r, "Vary: %s\r\n", value);
    else if (is(name, "etag"))
        copy_text(r, r->etag, sizeof r->etag, value);
    else if (is(name, "lm"))
        copy_text(r, r->modified, sizeof r->modified, value);
    else if (is(name, "trailer"))
        copy_text(r, r->trailers, sizeof r->trailers, value);
    else if (is(name, "type"))
        add_field(r, "Content-Type: %s\r\n", value), r->typed = true;
    else if (is(name, "body"))
        set_text(r, strcpy(r->text_copy, value), "text/plain; charset=utf-8");
}

static void apply_query(struct reply *r, struct slice query)
{
    char value[TEXT_BYTES - 2];
    while (query.len) {
        struct slice rest = cut_at(&query, '&'), name = cut_at(&rest, '=');
        if (apply_number(r, name, rest)) continue;
        if (decode(rest, value, sizeof value))
            apply_text(r, name, value);
        else
            r->overflow = true;
    }
}

static const char *type_of(const char *path)
{
    static const char *const types[][2] = {
        { ".html", "text/html; charset=utf-8" },
        { ".css", "text/css" },
        { ".js", "text/javascript" },
        { ".json", "application/json" },
        { ".txt", "text/plain; charset=utf-8" },
        { ".svg", "image/svg+xml" },
        { ".png", "image/png" },
        { ".jpg", "image/jpeg" },
        { ".webp", "image/webp" },
        { ".ico", "image/x-icon" },
        { ".woff2", "font/woff2" },
        { ".pdf", "application/pdf" },
        { ".mp4", "video/mp4" },
        { ".wasm", "application/wasm" },
    };
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof types[0]; i++)
        if (!strcasecmp(dot, types[i][0])) return types[i][1];
    return "application/octet-stream";
}

/* Opens the regular file at `path` under the root, or index.html where that is a directory. */
static int open_file(const char *path, struct stat *st)
{
    char name[TEXT_BYTES + 16];
    size_t len = strlen(path);
    snprintf(name, sizeof name, "%s%s", path, !len || path[len - 1] == '/' ? "index.html" : "");
    if (root_fd < 0 || name[0] == '/' || strstr(name, "..")) return -1;
    int fd = openat(root_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && (fstat(fd, st) || !S_ISREG(st->st_mode))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool reply_file(struct reply *r, struct slice path)
{
    char name[TEXT_BYTES];
    struct stat st;
    if (!path.len || path.at[0] != '/') return false;
    if (!decode((struct slice){ path.at + 1, path.len - 1 }, name, sizeof name)) return false;
    if ((r->file = open_file(name, &st)) < 0) return false;
    r->size = st.st_size;
    add_field(r, "Content-Type: %s\r\n", type_of(*name ? name : ".html"));
    format_date(st.st_mtime, r->modified, sizeof r->modified);
    snprintf(r->etag, sizeof r->etag, "\"%llx-%llx\"", (long long)st.st_mtime,
             (long long)st.st_size);
    return true;
}

static void reply_echo(struct reply *r, const struct request *q)
{
    size_t len;
    FILE *f = open_memstream(&r->text_owned, &len);
    if (!f) return;
    fputs("{\"method\":", f), json_string(f, q->method);
    fputs(",\"target\":", f), json_string(f, q->target);
    fprintf(f, ",\"version\":\"HTTP/1.%d\",\"fields\":[", q->minor);
    for (int i = 0; i < q->field_count; i++) {
        fputs(i ? ",[" : "[", f), json_string(f, q->fields[i].name);
        fputc(',', f), json_string(f, q->fields[i].value);
        fputc(']', f);
    }
    fprintf(f, "],\"body_length\":%llu,\"body_fnv1a\":\"%016llx\"}\n",
            (unsigned long long)q->body_bytes, (unsigned long long)q->body_hash);
    fclose(f);
    set_text(r, r->text_owned, "application/json");
}

static void reply_count(struct reply *r, struct slice query)
{
    struct slice name = cut_at(&query, '=');
    char url[TEXT_BYTES];
    if (!is(name, "url") || !decode(query, url, sizeof url)) {
        set_error(r, 400, "ask for /count?url=PATH\n");
        return;
    }
    struct slice wanted = { url, strlen(url) };
    struct url_count *c = find_in(atomic_load(bucket_of(wanted)), wanted);
    snprintf(r->text_copy, sizeof r->text_copy, "{\"count\":%lu}\n",
             c ? atomic_load(&c->requests) : 0);
    set_text(r, r->text_copy, "application/json");
}

static void reply_counts(struct reply *r, struct slice query)
{
    r->text_owned = counts_json(is(query, "reset=1"));
    if (r->text_owned) set_text(r, r->text_owned, "application/json");
}

static void reply_demo(struct reply *r, struct slice query)
{
    add_field(r, "%s\r\n", "Cache-Control: max-age=60");
    r->delay_ms = 200;
    set_text(r, "Two hundred milliseconds away, and fresh for a minute.\n", "text/plain");
    apply_query(r, query);
}

/* Fills the reply for one request. The counting pages do not count themselves. */
static void answer(struct reply *r, const struct request *q)
{
    struct slice path = q->path;
    if (equals(path, "/count")) {
        reply_count(r, q->query);
        return;
    }
    if (equals(path, "/counts")) {
        reply_counts(r, q->query);
        return;
    }
    count_url(q->target);
    if (equals(path, "/echo"))
        reply_echo(r, q);
    else if (equals(path, "/demo"))
        reply_demo(r, q->query);
    else if (equals(path, "/r") || (path.len > 2 && !memcmp(path.at, "/r/", 3)))
        apply_query(r, q->query);
    else if (!reply_file(r, path) && equals(path, "/"))
        set_text(r, page, "text/html; charset=utf-8");
    else if (r->file < 0)
        set_error(r, 404, "not found\n");
    if (r->overflow) set_error(r, 400, "the query asks for too much, or for a control character\n");
}

/* RFC 9110 section 13.1.2: weak comparison against a list. A comma inside a tag is not looked for.
 */
static bool etag_listed(struct slice list, const char *etag)
{
    if (is(list, "*")) return true;
    const char *bare = strncmp(etag, "W/", 2) ? etag : etag + 2;
    while (list.len) {
        struct slice one = trim(cut_at(&list, ','));
        if (one.len > 2 && !memcmp(one.at, "W/", 2)) one.at += 2, one.len -= 2;
        if (one.len == strlen(bare) && !memcmp(one.at, bare, one.len)) return true;
    }
    return false;
}

static bool not_modified(const struct reply *r, const struct request *q)
{
    struct slice match = find_field(q, "If-None-Match"), since = find_field(q, "If-Modified-Since");
    if (match.at) return *r->etag && etag_listed(match, r->etag);
    char text[64];
    time_t then, modified;
    if (!since.at || !decode(since, text, sizeof text)) return false;
    return parse_date(text, &then) && parse_date(r->modified, &modified) && modified <= then;
}

static bool if_range_holds(const struct reply *r, const struct request *q)
{
    struct slice value = find_field(q, "If-Range");
    if (!value.at) return true;
    return (equals(value, r->etag) && r->etag[0] == '"') || equals(value, r->modified);
}

/* RFC 9110 section 14.2, one range only; anything else is answered with the whole. */
static void apply_range(struct reply *r, const struct request *q)
{
    struct slice value = find_field(q, "Range");
    uint64_t size = (uint64_t)r->size, from, to = size - 1;
    if (value.len < 6 || memcmp(value.at, "bytes=", 6) || !if_range_holds(r, q)) return;
    value = (struct slice){ value.at + 6, value.len - 6 };
    struct slice start = cut_at(&value, '-');
    if (value.len && !parse_number(value, 10, &to)) return;
    if (!start.len)
        from = to < size ? size - to : 0, to = to ? size - 1 : 0;
    else if (!parse_number(start, 10, &from))
        return;
    if (to >= size) to = size - 1;
    char line[96];
    if (from >= size || to < from) {
        snprintf(line, sizeof line, "Content-Range: bytes */%llu", (unsigned long long)size);
        r->status = 416, r->count = 0;
    } else {
        snprintf(line, sizeof line, "Content-Range: bytes %llu-%llu/%llu", (unsigned long long)from,
                 (unsigned long long)to, (unsigned long long)size);
        r->status = 206, r->first = from, r->count = to - from + 1;
    }
    add_field(r, "%s\r\n", line);
}

static void apply_conditions(struct reply *r, const struct request *q)
{
    if (*r->etag) add_field(r, "ETag: %s\r\n", r->etag);
    if (*r->modified) add_field(r, "Last-Modified: %s\r\n", r->modified);
    r->count = (uint64_t)r->size;
    if (r->status != 200 || (!equals(q->method, "GET") && !equals(q->method, "HEAD"))) return;
    if (not_modified(r, q))
        r->status = 304;
    else
        apply_range(r, q);
}

static void fill_pattern(char *out, uint64_t offset, size_t len)
{
    char record[20];
    for (size_t i = 0; i < len; i++, offset++) {
        if (!i || offset % 16 == 0)
            snprintf(record, sizeof record, "%015llx\n",
                     (unsigned long long)(offset & PATTERN_MASK));
        out[i] = record[offset % 16];
    }
}

/* The next bytes of the body at `offset`; empty when a file has become shorter meanwhile. */
static struct slice body_piece(struct conn *c, struct reply *r, uint64_t offset, size_t len)
{
    if (r->text) return (struct slice){ r->text + offset, len };
    if (r->file >= 0) {
        ssize_t n = pread(r->file, c->piece, len, (off_t)offset);
        return (struct slice){ c->piece, n > 0 ? (size_t)n : 0 };
    }
    if (offset + len <= sizeof pattern) return (struct slice){ pattern + offset, len };
    fill_pattern(c->piece, offset, len);
    return (struct slice){ c->piece, len };
}

static size_t piece_size(const struct reply *r, uint64_t left, uint64_t allowed)
{
    size_t size = r->piece > 0 && r->piece < PIECE_BYTES ? (size_t)r->piece : PIECE_BYTES;
    if (left < size) size = (size_t)left;
    return allowed < size ? (size_t)allowed : size;
}

/* Returns false when the body was cut, by the query or by the world. */
static bool send_body(struct conn *c, struct reply *r)
{
    uint64_t allowed = r->cut >= 0 ? (uint64_t)r->cut : UINT64_MAX, left = r->count;
    for (uint64_t offset = r->first; left && !c->failed;) {
        struct slice piece = body_piece(c, r, offset, piece_size(r, left, allowed));
        if (!piece.len) return false;
        if (r->chunked) putf(c, "%zx\r\n", piece.len);
        put(c, piece.at, piece.len);
        if (r->chunked) put(c, "\r\n", 2);
        offset += piece.len, left -= piece.len, allowed -= piece.len;
        if (r->pace_ms) {
            flush(c);
            sleep_ms(r->pace_ms);
        }
    }
    if (!c->failed && r->cut == (int64_t)r->count && r->chunked) return false;
    if (r->chunked) putf(c, "0\r\n%s%s\r\n", r->trailers, *r->trailers ? "\r\n" : "");
    return !c->failed;
}

static void send_head(struct conn *c, const struct reply *r, bool bodiless)
{
    /* Formatting takes a lock in libc; once a second per connection is enough. */
    static _Thread_local char date[64];
    static _Thread_local time_t date_at;
    time_t now = time(NULL);
    if (now != date_at) format_date(date_at = now, date, sizeof date);
    putf(c, "HTTP/1.1 %d Status\r\nDate: %s\r\n", (int)r->status, date);
    put(c, r->fields, strlen(r->fields));
    if (r->chunked)
        put(c, "Transfer-Encoding: chunked\r\n", 28);
    else if (!bodiless)
        putf(c, "Content-Length: %llu\r\n",
             (unsigned long long)(r->length >= 0 ? (uint64_t)r->length : r->count));
    if (r->close) put(c, "Connection: close\r\n", 19);
    put(c, "\r\n", 2);
}

/* Returns whether the connection goes on. */
static bool send_reply(struct conn *c, struct reply *r, const struct request *q)
{
    bool bodiless = r->status == 204 || r->status == 304;
    r->close |= !q->keep_alive;
    if (!q->minor && q->keep_alive) add_field(r, "%s\r\n", "Connection: keep-alive");
    r->chunked = r->chunked && q->minor && !bodiless;
    if (r->interim > 100 && r->interim < 200 && q->minor)
        putf(c, "HTTP/1.1 %d Interim\r\nLink: </style.css>; rel=preload\r\n\r\n", (int)r->interim);
    flush(c);
    sleep_ms(r->delay_ms);
    if (r->drop) return false;
    send_head(c, r, bodiless);
    bool whole = bodiless || equals(q->method, "HEAD") || send_body(c, r);
    flush(c);
    /* A declared length that was not kept leaves nothing that could follow on this connection. */
    return whole && !c->failed && !r->close && (r->length < 0 || (uint64_t)r->length == r->count);
}

/* ---- connections ---- */

static void reset_on_close(int fd)
{
    struct linger l = { .l_onoff = 1 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

static bool reply_to(struct conn *c, const struct request *q, int refusal)
{
    struct reply *r = calloc(1, sizeof *r);
    if (!r) return false;
    r->status = 200, r->length = r->cut = r->file = -1;
    r->close = refusal != 0;
    if (refusal)
        set_error(r, refusal, "refused\n");
    else
        answer(r, q);
    if (r->status < 200 || r->status > 599) r->status = 200;
    apply_conditions(r, q);
    bool goes_on = send_reply(c, r, q) && !refusal;
    if (r->rst && !goes_on) reset_on_close(c->fd);
    if (r->file >= 0) close(r->file);
    free(r->text_owned);
    free(r);
    return goes_on;
}

/*
 * Reads until the empty line and copies the head out, since a body reuses the buffer. Returns its
 * length, 0 when the client has gone, -1 when the head is too long.
 */
static ssize_t read_head(struct conn *c, char *head)
{
    for (;;) {
        while (c->in_len >= 2 && !memcmp(c->in, "\r\n", 2)) consume(c, 2);
        char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
        if (end) {
            size_t len = (size_t)(end - c->in) + 2;
            memcpy(head, c->in, len);
            consume(c, len + 2);
            return (ssize_t)len;
        }
        if (c->in_len == sizeof c->in) return -1;
        if (!receive(c)) return 0;
    }
}

static bool serve_one(struct conn *c, char *head, struct request *q)
{
    ssize_t len = read_head(c, head);
    if (!len) return false;
    *q = (struct request){ .minor = 1 };
    if (len < 0) return reply_to(c, q, 431);
    head[len] = 0;
    if (!parse_head(q, (struct slice){ head, (size_t)len })) return reply_to(c, q, 400);
    if (q->expects_continue) {
        put(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        flush(c);
    }
    if (!(q->chunked ? read_chunks(c, q) : read_body_bytes(c, q, q->length))) return false;
    return reply_to(c, q, 0);
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    struct conn *c = calloc(1, sizeof *c);
    struct request *q = calloc(1, sizeof *q);
    char *head = malloc(HEAD_MAX_BYTES + 1);
    if (c && q && head) {
        c->fd = fd;
        while (serve_one(c, head, q)) {
        }
    }
    close(fd);
    free(head), free(q), free(c);
    atomic_fetch_sub(&connections, 1);
    return NULL;
}

static void prepare(int fd)
{
    struct timeval limit = { .tv_sec = SOCKET_TIMEOUT_S };
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void accept_forever(int listener)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    for (;;) {
        pthread_t thread;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            sleep_ms(errno == EMFILE || errno == ENFILE ? 10 : 0);
            continue;
        }
        prepare(fd);
        if (atomic_fetch_add(&connections, 1) < CONNECTIONS_MAX &&
            !pthread_create(&thread, &attr, serve, (void *)(intptr_t)fd))
            continue;
        atomic_fetch_sub(&connections, 1);
        close(fd);
    }
}

static int listen_at(const char *where)
{
    char host[64];
    const char *colon = strrchr(where, ':');
    struct sockaddr_in addr = { .sin_family = AF_INET };
    if (!colon || colon - where >= (ptrdiff_t)sizeof host) return errno = EINVAL, -1;
    snprintf(host, sizeof host, "%.*s", (int)(colon - where), where);
    addr.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &addr.sin_addr) != 1) return errno = EINVAL, -1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) || listen(fd, 4096)) return -1;
    return fd;
}

static void on_signal(int signal)
{
    (void)signal;
    _exit(0);
}

static int fail(const char *what)
{
    fprintf(stderr, "origin: %s: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    const char *where = NULL, *root = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help"))
            return fputs(help, stdout) < 0;
        else if (!strcmp(argv[i], "--listen") && i + 1 < argc)
            where = argv[++i];
        else if (!strcmp(argv[i], "--root") && i + 1 < argc)
            root = argv[++i];
        else
            return fputs(help, stderr), 2;
    }
    if (!where) return fputs(help, stderr), 2;
    if (root && (root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) return fail(root);
    int listener = listen_at(where);
    if (listener < 0) return fail(where);
    fill_pattern(pattern, 0, sizeof pattern);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    accept_forever(listener);
}
