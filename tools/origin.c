/*
 * The demo origin: a small keep-alive HTTP/1.1 server that does what the query tells it to, and
 * counts what it was asked. It exists for `make run` and the tests, and links nothing of Verge, so
 * that no mistake is made on both sides. One thread per connection, blocking calls, a stdio stream
 * for each direction; not meant to face the internet. Its help, below, says what it answers.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <ctype.h>
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEAD_BYTES       (32 * 1024) /* of a request */
#define PIECE_BYTES      (64 * 1024) /* of a body, sent at a time */
#define NUMBER_MAX       1000000000000000
#define DELAY_MAX_MS     60000
#define SOCKET_TIMEOUT_S 60
#define FILES_MAX        2048  /* open ones: two for a connection, which bounds these too */
#define URLS_MAX         32768 /* counted one by one; the total goes on */
#define URL_BYTES_MAX    1024

static const char help[] =
    "usage: origin --listen ADDRESS:PORT [--root DIR]\n"
    "\n"
    "  /              this text; with --root DIR/index.html, and every other path is a file\n"
    "  /demo          a slow, cacheable text\n"
    "  /r, /r/...     what the query says:\n"
    "      status=N size=N body=TEXT type=TEXT    the response (a size without body is a pattern)\n"
    "      header=NAME:VALUE etag=E vary=V        fields; header may be repeated\n"
    "      delay_ms=N pace_ms=N                   wait before the head, wait after each piece\n"
    "      chunked=1 trailer=NAME:VALUE piece=N   chunked, in pieces of N bytes\n"
    "      length=N                               a Content-Length that may be a lie\n"
    "      cut=N rst=1 drop=1 close=1             end after N bytes, by reset, at once, in order\n"
    "  /echo          the request as JSON: line, fields, length and FNV-1a 64 of the body\n"
    "  /count?url=U   how often U, percent-encoded, was asked for; /counts: all of them\n"
    "\n"
    "Every 16 bytes of a pattern are their own offset: 15 hex digits and a newline.\n";

/* What /demo stands for. */
static const char demo_options[] = "delay_ms=200\0header=Cache-Control: max-age=300\0";
static const char demo_text[] = "Two hundred milliseconds away, and fresh for five minutes.\n";

/*
 * The fields of a request and the options of a query are lists: strings one behind the other, each
 * a name, a mark and a value, and an empty one at the end.
 */
struct request {
    FILE *in, *out;         /* the connection's */
    char head[HEAD_BYTES];  /* the three below point into it */
    char parts[HEAD_BYTES]; /* the target once more, to be taken apart */
    char *method, *target;
    const char *fields;
    bool keep_alive, takes_chunks;
    uint64_t body_bytes, body_hash;
};

/* What to answer. The body is the text, else the file, else a pattern. */
struct reply {
    uint64_t status, size, first, count; /* of the whole body; the part of it that is sent */
    const char *options, *type, *etag, *text;
    char *allocated; /* to be freed afterwards */
    int file;
    char file_etag[48], modified[48], content_range[80];
};

struct url_count {
    char *url;
    unsigned long requests;
};

static int root_fd = -1;
static pthread_mutex_t counts_lock = PTHREAD_MUTEX_INITIALIZER; /* for the three below */
static struct url_count counts[2 * URLS_MAX];                   /* a hash table, half empty */
static size_t urls;
static unsigned long requests_total;

/* ---- text ---- */

static const char *find(const char *list, const char *name, char mark)
{
    size_t len = strlen(name);
    for (; *list; list += strlen(list) + 1)
        if (!strncasecmp(list, name, len) && list[len] == mark)
            return list + len + 1 + strspn(list + len + 1, " \t");
    return NULL;
}

static const char *field(const struct request *q, const char *name)
{
    return find(q->fields, name, ':');
}

/* Nothing above NUMBER_MAX comes in, so that no sum of two numbers can overflow. */
static bool parse_number(const char *text, int base, uint64_t *number)
{
    if (!isxdigit((unsigned char)*text)) return false;
    *number = strtoull(text, NULL, base);
    if (*number > NUMBER_MAX) *number = NUMBER_MAX;
    return true;
}

static uint64_t option(const struct reply *r, const char *name, uint64_t otherwise)
{
    const char *text = find(r->options, name, '=');
    uint64_t number;
    return text && parse_number(text, 10, &number) ? number : otherwise;
}

/*
 * Percent-decodes in place; every `mark` becomes the end of a string. Returns false for a control
 * character, which could split a response.
 */
static bool decode(char *text, char mark)
{
    char *to = text;
    for (; *text; text++) {
        unsigned c = (unsigned char)*text;
        bool end = *text == mark;
        int n = 0;
        if (c == '%' && sscanf(text + 1, "%2x%n", &c, &n) == 1) text += n;
        if (iscntrl((unsigned char)c)) return false;
        *to++ = end ? 0 : (char)c;
    }
    memset(to, 0, (size_t)(text - to));
    return true;
}

static void json_string(FILE *f, const char *at, size_t len)
{
    fputc('"', f);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)at[i];
        bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
        fprintf(f, plain ? "%c" : "\\u%04x", c);
    }
    fputc('"', f);
}

static void format_date(time_t at, char *out, size_t cap)
{
    struct tm tm;
    strftime(out, cap, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&at, &tm));
}

static const uint64_t fnv_seed = 0xcbf29ce484222325;

static uint64_t fnv1a(uint64_t hash, const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++) hash = (hash ^ (unsigned char)at[i]) * 0x100000001b3;
    return hash;
}

static void sleep_ms(uint64_t ms)
{
    usleep((useconds_t)(ms < DELAY_MAX_MS ? ms : DELAY_MAX_MS) * 1000);
}

/* ---- counts: under counts_lock ---- */

/* Where a URL is, or would be: a slot without one. */
static struct url_count *slot_of(const char *url)
{
    size_t i = fnv1a(fnv_seed, url, strlen(url)) % (2 * URLS_MAX);
    while (counts[i].url && strcmp(counts[i].url, url)) i = (i + 1) % (2 * URLS_MAX);
    return &counts[i];
}

static void count_url(const char *url)
{
    pthread_mutex_lock(&counts_lock);
    struct url_count *c = slot_of(url);
    if (!c->url && urls < URLS_MAX && strlen(url) <= URL_BYTES_MAX) c->url = strdup(url), urls++;
    if (c->url) c->requests++;
    requests_total++;
    pthread_mutex_unlock(&counts_lock);
}

static void write_counts(FILE *f)
{
    const char *comma = "";
    fprintf(f, "{\"total\":%lu,\"urls\":{", requests_total);
    for (size_t i = 0; i < 2 * URLS_MAX; i++) {
        if (!counts[i].url) continue;
        fputs(comma, f), comma = ",";
        json_string(f, counts[i].url, strlen(counts[i].url));
        fprintf(f, ":%lu", counts[i].requests);
    }
    fputs("}}\n", f);
}

/* ---- requests ---- */

/*
 * Reads a line, takes its end off, and returns where the next one may go; NULL when there is none.
 * One that is too long or has a NUL shows no end within the buffer.
 */
static char *read_line(FILE *in, char *line, const char *limit)
{
    if (limit - line < 2 || !fgets(line, (int)(limit - line), in)) return NULL;
    char *end = strchr(line, '\n');
    if (!end) return NULL;
    if (end > line && end[-1] == '\r') end--;
    *end = 0;
    return end + 1;
}

static bool parse_request_line(struct request *q)
{
    char *line = q->head;
    q->fields = line + strlen(line) + 1;
    q->method = strsep(&line, " ");
    q->target = strsep(&line, " ");
    if (!line || q->target[0] != '/') return false;
    const char *connection = field(q, "Connection");
    q->takes_chunks = !strcmp(line, "HTTP/1.1");
    q->keep_alive = q->takes_chunks && strcasecmp(connection ?: "", "close");
    return true;
}

/* The line that ends the head also ends the list of its fields. */
static bool read_head(struct request *q)
{
    char *line, *next = q->head;
    do {
        line = next;
        next = read_line(q->in, line, q->head + sizeof q->head);
    } while (next && *line);
    return next && *q->head && parse_request_line(q);
}

/* The body is only measured and hashed, for /echo. */
static bool read_bytes(struct request *q, uint64_t left)
{
    char piece[4096];
    while (left) {
        size_t n = fread(piece, 1, left < sizeof piece ? (size_t)left : sizeof piece, q->in);
        if (!n) return false;
        q->body_hash = fnv1a(q->body_hash, piece, n);
        q->body_bytes += n;
        left -= n;
    }
    return true;
}

static bool read_chunks(struct request *q)
{
    char line[1024], *limit = line + sizeof line;
    uint64_t size;
    do {
        if (!read_line(q->in, line, limit) || !parse_number(line, 16, &size)) return false;
        if (!read_bytes(q, size)) return false;
        do /* behind a chunk the end of its line; behind the last one trailers, an empty line */
            if (!read_line(q->in, line, limit)) return false;
        while (!size && *line);
    } while (size);
    return true;
}

static bool read_body(struct request *q)
{
    const char *length = field(q, "Content-Length"), *coding = field(q, "Transfer-Encoding");
    uint64_t bytes = 0;
    q->body_bytes = 0, q->body_hash = fnv_seed;
    if (coding) return !length && !strcasecmp(coding, "chunked") && read_chunks(q);
    return !length || (parse_number(length, 10, &bytes) && read_bytes(q, bytes));
}

/* ---- replies ---- */

static void set_text(struct reply *r, unsigned status, const char *text, const char *type)
{
    r->status = status;
    r->text = text;
    r->size = strlen(text);
    if (!r->type) r->type = type;
}

static void reply_as_told(struct reply *r, const char *options)
{
    r->options = options;
    r->size = option(r, "size", 0);
    r->type = find(options, "type", '=');
    r->etag = find(options, "etag", '=');
    const char *body = find(options, "body", '=');
    if (body) set_text(r, 200, body, "text/plain; charset=utf-8");
    r->status = option(r, "status", 200);
}

static void write_echo(FILE *f, const struct request *q)
{
    const char *comma = "";
    fputs("{\"method\":", f), json_string(f, q->method, strlen(q->method));
    fputs(",\"target\":", f), json_string(f, q->target, strlen(q->target));
    fputs(",\"fields\":[", f);
    for (const char *line = q->fields; *line; line += strlen(line) + 1, comma = ",") {
        size_t len = strcspn(line, ":");
        const char *value = line + len + strspn(line + len, ": \t");
        fprintf(f, "%s[", comma), json_string(f, line, len);
        fputc(',', f), json_string(f, value, strlen(value));
        fputc(']', f);
    }
    fprintf(f, "],\"body_length\":%" PRIu64 ",\"body_fnv1a\":\"%016" PRIx64 "\"}\n", q->body_bytes,
            q->body_hash);
}

/* What is known: the request, one URL's count, or all counts. */
static void reply_json(struct reply *r, const struct request *echo, const char *url)
{
    size_t len;
    FILE *f = open_memstream(&r->allocated, &len);
    if (!f) return;
    pthread_mutex_lock(&counts_lock);
    if (echo)
        write_echo(f, echo);
    else if (url)
        fprintf(f, "{\"count\":%lu}\n", slot_of(url)->requests);
    else
        write_counts(f);
    pthread_mutex_unlock(&counts_lock);
    fclose(f);
    set_text(r, 200, r->allocated ?: "", "application/json");
}

static const char *type_of(const char *path)
{
    static const char types[] = "html=text/html; charset=utf-8\0txt=text/plain; charset=utf-8\0"
                                "css=text/css\0js=text/javascript\0json=application/json\0"
                                "svg=image/svg+xml\0png=image/png\0jpg=image/jpeg\0";
    const char *dot = strrchr(path, '.'), *type = dot ? find(types, dot + 1, '=') : NULL;
    return type ?: "application/octet-stream";
}

/* Opens the regular file at `path` under the root, or index.html where that names a directory. */
static int open_file(const char *path, struct stat *st)
{
    char name[4096];
    size_t len = strlen(path);
    const char *index = !len || path[len - 1] == '/' ? "index.html" : "";
    if (root_fd < 0 || path[0] == '/' || strstr(path, "..")) return -1;
    if (snprintf(name, sizeof name, "%s%s", path, index) >= (int)sizeof name) return -1;
    /* Not to be held up by a named pipe. */
    int fd = openat(root_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || (!fstat(fd, st) && S_ISREG(st->st_mode))) return fd;
    close(fd);
    return -1;
}

static void reply_file(struct reply *r, const char *path)
{
    struct stat st;
    r->file = open_file(path + 1, &st);
    if (r->file < 0) return set_text(r, 404, "not found\n", "text/plain");
    r->size = (uint64_t)st.st_size;
    r->type = type_of(path[strlen(path) - 1] == '/' ? ".html" : path);
    format_date(st.st_mtime, r->modified, sizeof r->modified);
    snprintf(r->file_etag, sizeof r->file_etag, "\"%lx-%lx\"", st.st_mtime, st.st_size);
    r->etag = r->file_etag;
}

/* The zeros behind the copy of the target end the list that its query becomes. */
static void answer(struct reply *r, struct request *q)
{
    char *path = strncpy(q->parts, q->target, sizeof q->parts - 1);
    char *query = path + strcspn(path, "?");
    if (*query) *query++ = 0;
    bool counting = !strcmp(path, "/count") || !strcmp(path, "/counts");
    if (!counting) count_url(q->target);
    if (!decode(path, 0) || !decode(query, '&'))
        set_text(r, 400, "a control character\n", "text/plain");
    else if (counting)
        reply_json(r, NULL, find(query, "url", '='));
    else if (!strcmp(path, "/echo"))
        reply_json(r, q, NULL);
    else if (!strcmp(path, "/demo"))
        reply_as_told(r, demo_options), set_text(r, 200, demo_text, "text/plain");
    else if (!strcmp(path, "/r") || !strncmp(path, "/r/", 3))
        reply_as_told(r, query);
    else if (!strcmp(path, "/") && root_fd < 0)
        set_text(r, 200, help, "text/plain");
    else
        reply_file(r, path);
}

/* One range, FIRST-LAST or FIRST-, that is there; anything else is answered with the whole. */
static void apply_range(struct reply *r, const char *range)
{
    uint64_t first, last = UINT64_MAX;
    if (strchr(range, ',')) return;
    if (sscanf(range, "bytes=%" SCNu64 "-%" SCNu64, &first, &last) < 1) return;
    if (first >= r->size || first > last) return;
    if (last >= r->size) last = r->size - 1;
    r->status = 206;
    r->first = first, r->count = last - first + 1;
    snprintf(r->content_range, sizeof r->content_range, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
             first, last, r->size);
}

/* Entity tags are looked for as text, which is enough where nobody lies. */
static void apply_conditions(struct reply *r, const struct request *q)
{
    const char *match = field(q, "If-None-Match"), *range = field(q, "Range");
    const char *validator = field(q, "If-Range");
    r->count = r->size;
    if (r->status != 200) return;
    if (match && r->etag && strstr(match, r->etag))
        r->status = 304;
    else if (range && (!validator || !strcmp(validator, r->etag ?: "")))
        apply_range(r, range);
}

/* ---- output ---- */

static void put_field(FILE *out, const char *name, const char *value)
{
    if (value && *value) fprintf(out, "%s: %s\r\n", name, value);
}

static void send_head(FILE *out, const struct reply *r, bool keep_alive, bool chunked)
{
    char date[48];
    format_date(time(NULL), date, sizeof date);
    fprintf(out, "HTTP/1.1 %" PRIu64 " \r\nDate: %s\r\n", r->status, date);
    for (const char *o = r->options; *o; o += strlen(o) + 1)
        if (!strncmp(o, "header=", 7)) fprintf(out, "%s\r\n", o + 7);
    put_field(out, "Content-Type", r->type);
    put_field(out, "ETag", r->etag);
    put_field(out, "Last-Modified", r->modified);
    put_field(out, "Vary", find(r->options, "vary", '='));
    put_field(out, "Content-Range", r->content_range);
    if (chunked)
        put_field(out, "Transfer-Encoding", "chunked");
    else if (r->status != 204 && r->status != 304)
        fprintf(out, "Content-Length: %" PRIu64 "\r\n", option(r, "length", r->count));
    if (!keep_alive) put_field(out, "Connection", "close");
    fputs("\r\n", out);
}

static char pattern_at(uint64_t offset)
{
    unsigned i = offset % 16;
    return i == 15 ? '\n' : "0123456789abcdef"[(offset - i) >> (4 * (14 - i)) & 15];
}

/* The bytes of the body at `offset`; 0 when a file has become shorter meanwhile. */
static size_t fill_piece(const struct reply *r, char *out, uint64_t offset, size_t len)
{
    if (r->text) return memcpy(out, r->text + offset, len), len;
    if (r->file >= 0) {
        ssize_t n = pread(r->file, out, len, (off_t)offset);
        return n > 0 ? (size_t)n : 0;
    }
    for (size_t i = 0; i < len; i++) out[i] = pattern_at(offset + i);
    return len;
}

/* Returns whether the body went out whole. */
static bool send_body(FILE *out, const struct reply *r, bool chunked)
{
    char piece[PIECE_BYTES];
    uint64_t cut = option(r, "cut", UINT64_MAX), pace_ms = option(r, "pace_ms", 0);
    uint64_t size = option(r, "piece", sizeof piece), left = cut < r->count ? cut : r->count;
    if (!size || size > sizeof piece) size = sizeof piece;
    for (uint64_t offset = r->first; left;) {
        size_t len = fill_piece(r, piece, offset, (size_t)(left < size ? left : size));
        if (!len) return false;
        if (chunked) fprintf(out, "%zx\r\n", len);
        fwrite(piece, 1, len, out);
        if (chunked) fputs("\r\n", out);
        offset += len, left -= len;
        if (pace_ms) fflush(out), sleep_ms(pace_ms);
        if (ferror(out)) return false;
    }
    if (cut != UINT64_MAX) return false;
    const char *trailer = find(r->options, "trailer", '=');
    if (chunked) fprintf(out, "0\r\n%s%s\r\n", trailer ?: "", trailer ? "\r\n" : "");
    return true;
}

/* Returns whether the connection goes on. */
static bool send_reply(struct request *q, const struct reply *r)
{
    bool bodiless = r->status == 204 || r->status == 304;
    bool chunked = option(r, "chunked", 0) && q->takes_chunks && !bodiless;
    bool keep_alive = q->keep_alive && !option(r, "close", 0);
    struct linger reset = { .l_onoff = option(r, "rst", 0) != 0 };
    setsockopt(fileno(q->out), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    sleep_ms(option(r, "delay_ms", 0));
    if (option(r, "drop", 0)) return false;
    send_head(q->out, r, keep_alive, chunked);
    if (!bodiless && strcmp(q->method, "HEAD")) keep_alive &= send_body(q->out, r, chunked);
    /* Nothing can follow a declared length that was not kept. */
    bool honest = option(r, "length", r->count) == r->count;
    return !fflush(q->out) && keep_alive && honest && !reset.l_onoff;
}

/* ---- connections ---- */

static bool serve_one(struct request *q)
{
    struct reply r = { .status = 200, .file = -1, .options = "" };
    if (!read_head(q) || !read_body(q)) {
        if (!feof(q->in) && !ferror(q->in))
            fputs("HTTP/1.1 400 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n", q->out);
        return false;
    }
    answer(&r, q);
    apply_conditions(&r, q);
    bool goes_on = send_reply(q, &r);
    if (r.file >= 0) close(r.file);
    free(r.allocated);
    return goes_on;
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg, on = 1;
    struct timeval limit = { .tv_sec = SOCKET_TIMEOUT_S };
    struct request q = { .in = fdopen(fd, "r"), .out = fdopen(dup(fd), "w") };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (q.in && q.out && serve_one(&q)) continue;
    if (q.out) fclose(q.out);
    if (q.in) fclose(q.in);
    return NULL;
}

static void accept_one(int listener)
{
    pthread_t thread;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        sleep_ms(10); /* out of descriptors, which does not pass at once */
    else if (!pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd))
        pthread_detach(thread);
    else
        serve((void *)(intptr_t)fd); /* no thread to be had: by this one, then */
}

static int listen_at(const char *where)
{
    char host[16];
    struct sockaddr_in addr = { .sin_family = AF_INET };
    if (sscanf(where, "%15[0-9.]:%" SCNu16, host, &addr.sin_port) != 2 ||
        !inet_aton(host, &addr.sin_addr))
        errx(1, "%s is not ADDRESS:PORT", where);
    addr.sin_port = htons(addr.sin_port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) || listen(fd, 4096)) err(1, "%s", where);
    return fd;
}

static void on_signal(int signal)
{
    (void)signal;
    _exit(0);
}

int main(int argc, char **argv)
{
    const char *where = NULL, *root = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--listen")) where = argv[i + 1];
        if (!strcmp(argv[i], "--root")) root = argv[i + 1];
    }
    if (!where) return fputs(help, stderr), 2;
    if (root && (root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) err(1, "%s", root);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){ FILES_MAX, FILES_MAX });
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    for (int listener = listen_at(where);;) accept_one(listener);
}
