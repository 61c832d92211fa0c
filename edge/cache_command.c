#include "edge/cache_command.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "edge/admin_client.h"
#include "edge/base/json.h"
#include "edge/config.h"
#include "edge/run.h"

#define ADDRESS_DEFAULT "127.0.0.1:9145"
#define PAGE_ROWS       "500"
#define CURSOR_BYTES    64

struct command {
    const char *address;
    char configured[INET6_ADDRSTRLEN + sizeof "[]:65535"];
    bool json;
    const char *argument; /* NULL: none */
    struct arena arena;
};

/* ---- asking ---- */

/* Everything that is not unreserved in a URI (RFC 3986 section 2.3). */
static const char *encode(struct slice s, struct arena *a)
{
    char *text = arena_alloc(a, 3 * s.n + 1), *at = text;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= '0' && c <= '9') ||
                     (ascii_lower((char)c) >= 'a' && ascii_lower((char)c) <= 'z') ||
                     (c && strchr("-._~", c));
        at += sprintf(at, plain ? "%c" : "%%%02X", c);
    }
    *at = 0;
    return text;
}

/* The answer's body, in the arena; p == NULL where there is none: then it is said why. */
static struct slice ask(struct command *c, const char *method, const char *target)
{
    struct admin_answer answer;
    if (!admin_ask(c->address, method, target, &answer)) return SLICE_NONE;
    struct slice body = arena_copy(&c->arena, answer.body);
    if (answer.status != 200) fprintf(stderr, "verge: the node says: %.*s", SLICE_ARGS(body));
    free(answer.text);
    return answer.status == 200 ? body : SLICE_NONE;
}

static struct slice ask_object(struct command *c, const char *method)
{
    const char *key = encode(slice_str(c->argument), &c->arena);
    return ask(c, method, arena_printf(&c->arena, "/cache/object?key=%s", key).p);
}

/* ---- for people ---- */

static struct slice member(struct slice object, const char *name)
{
    struct slice value;
    return json_member(object, name, &value) ? value : SLICE_NONE;
}

static int64_t number(struct slice object, const char *name)
{
    return json_integer(member(object, name), 0);
}

/* What a terminal could take for an order is shown as an escape. */
static void put_string(struct slice value, struct arena *a)
{
    struct slice s = json_string(value, a);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        printf(c < 0x20 || c > 0x7e ? "%%%02X" : "%c", c);
    }
}

#define TEXT_BYTES 24

/* "12.3M"; text has TEXT_BYTES. */
static const char *size_text(int64_t bytes, char *text)
{
    static const char units[] = "BKMGTP";
    double n = (double)bytes;
    size_t unit = 0;
    for (; n >= 1023.95 && unit < sizeof units - 2; unit++) n /= 1024;
    snprintf(text, TEXT_BYTES, unit ? "%.1f%c" : "%.0f%c", n, units[unit]);
    return text;
}

static const char *size_of(struct slice object, const char *name, char *text)
{
    return size_text(number(object, name), text);
}

/* As it stands there, "-" where it is not known. */
static struct slice shown(struct slice object, const char *name)
{
    struct slice value = member(object, name);
    return value.p ? value : SLICE("-");
}

/* ---- stat ---- */

static void print_memory(struct slice memory)
{
    char used[TEXT_BYTES], budget[TEXT_BYTES];
    printf("memory  %s of %s used, %" PRId64 " objects, %" PRId64 " pending\n",
           size_of(memory, "used", used), size_of(memory, "budget", budget),
           number(memory, "objects"), number(memory, "pending"));
}

static void print_disk(struct slice disk, struct arena *a)
{
    char used[TEXT_BYTES], size[TEXT_BYTES], queue[TEXT_BYTES], in[TEXT_BYTES], out[TEXT_BYTES];
    printf("disk    %s of %s used, %" PRId64 " objects, %s queued\n        ",
           size_of(disk, "used", used), size_of(disk, "size", size), number(disk, "objects"),
           size_of(disk, "queue", queue));
    put_string(member(disk, "path"), a);
    printf(", %s; since the start %s read, %s written, %" PRId64 " objects dropped\n",
           slice_eq(member(disk, "up"), SLICE("true")) ? "up" : "down", size_of(disk, "read", in),
           size_of(disk, "written", out), number(disk, "dropped"));
}

static int run_stat(struct command *c)
{
    struct slice answer = ask(c, "GET", "/cache"), disk = member(answer, "disk");
    if (!answer.p) return EXIT_SYSTEM;
    if (c->json) {
        printf("%.*s", SLICE_ARGS(answer));
        return EXIT_SUCCESS;
    }
    print_memory(member(answer, "memory"));
    if (slice_eq(disk, SLICE("null")))
        puts("disk    none");
    else
        print_disk(disk, &c->arena);
    return EXIT_SUCCESS;
}

/* ---- ls ---- */

static void print_row(struct slice row, struct arena *a)
{
    char size[TEXT_BYTES];
    struct slice status = shown(row, "status"), age = shown(row, "age"), ttl = shown(row, "ttl"),
                 hits = shown(row, "hits"), tier = json_string(member(row, "tier"), a),
                 variant = member(row, "variant");
    printf("%-6.*s  %6.*s  %7s  %7.*s  %7.*s  %6.*s  ", SLICE_ARGS(tier), SLICE_ARGS(status),
           size_of(row, "size", size), SLICE_ARGS(age), SLICE_ARGS(ttl), SLICE_ARGS(hits));
    put_string(member(row, "key"), a);
    if (variant.p) {
        printf("  [");
        put_string(variant, a);
        putchar(']');
    }
    putchar('\n');
}

static void print_rows(struct slice page, struct arena *a)
{
    struct slice rows = member(page, "objects"), row;
    while (json_next(&rows, &row)) print_row(row, a);
}

/* cursor: what the page before ended with; empty: the first page. */
static const char *list_target(struct command *c, const char *cursor)
{
    struct arena *a = &c->arena;
    const char *prefix = c->argument ? encode(slice_str(c->argument), a) : "";
    return arena_printf(a, "/cache/objects?limit=" PAGE_ROWS "%s%s%s%s", *cursor ? "&cursor=" : "",
                        encode(slice_str(cursor), a), c->argument ? "&prefix=" : "", prefix)
        .p;
}

/* Takes over what the next page begins with; false where there is none. */
static bool take_cursor(struct slice page, char cursor[CURSOR_BYTES], struct arena *a)
{
    struct slice text = json_string(member(page, "cursor"), a);
    snprintf(cursor, CURSOR_BYTES, "%.*s", SLICE_ARGS(text));
    return text.n;
}

/* Somebody who has read enough has closed it: no reason to complain. */
static bool is_read(void)
{
    return fflush(stdout) == 0 && !ferror(stdout);
}

/* A page at a time, so that a long list begins at once. */
static int run_list(struct command *c)
{
    char cursor[CURSOR_BYTES] = "";
    bool more = true, all = true;
    if (!c->json) puts("TIER    STATUS     SIZE      AGE      TTL    HITS  KEY");
    while (more && is_read()) {
        struct slice page = ask(c, "GET", list_target(c, cursor));
        if (!page.p) return EXIT_SYSTEM;
        if (c->json)
            printf("%.*s", SLICE_ARGS(page));
        else
            print_rows(page, &c->arena);
        all = slice_eq(member(page, "disk_listed"), SLICE("true"));
        more = take_cursor(page, cursor, &c->arena);
        arena_reset(&c->arena);
    }
    if (!all)
        fputs("verge: what only the disk has is not among them, for its keys are there as well\n",
              stderr);
    return EXIT_SUCCESS;
}

/* ---- get, rm ---- */

static void print_fields(struct slice fields, struct arena *a)
{
    struct slice field;
    while (json_next(&fields, &field)) {
        struct slice name, value;
        if (!json_next(&field, &name) || !json_next(&field, &value)) continue;
        fputs("    ", stdout);
        put_string(name, a);
        fputs(": ", stdout);
        put_string(value, a);
        putchar('\n');
    }
}

static void print_object(struct slice o, struct arena *a)
{
    char size[TEXT_BYTES];
    struct slice hits = shown(o, "hits"), variant = member(o, "variant");
    put_string(member(o, "key"), a);
    printf("\n    %.*s (%.*s), %s; age %" PRId64 " s, ttl %" PRId64 " s of %" PRId64
           " s; hits %.*s, tags %" PRId64 "\n",
           SLICE_ARGS(json_string(member(o, "tier"), a)),
           SLICE_ARGS(json_string(member(o, "state"), a)), size_of(o, "size", size),
           number(o, "age"), number(o, "ttl"), number(o, "lifetime"), SLICE_ARGS(hits),
           number(o, "tags"));
    if (variant.p) {
        fputs("    variant: ", stdout);
        put_string(variant, a);
        putchar('\n');
    }
    printf("    status %" PRId64 "\n", number(o, "status"));
    print_fields(member(o, "fields"), a);
}

static int run_get(struct command *c)
{
    struct slice answer = ask_object(c, "GET"), objects = member(answer, "objects"), object;
    if (!answer.p) return EXIT_SYSTEM;
    if (c->json) {
        printf("%.*s", SLICE_ARGS(answer));
        return EXIT_SUCCESS;
    }
    while (json_next(&objects, &object)) print_object(object, &c->arena);
    if (slice_eq(member(answer, "more"), SLICE("true"))) puts("and more");
    return EXIT_SUCCESS;
}

static int run_remove(struct command *c)
{
    struct slice answer = ask_object(c, "DELETE");
    if (!answer.p) return EXIT_SYSTEM;
    if (c->json)
        printf("%.*s", SLICE_ARGS(answer));
    else
        printf("removed %" PRId64 "\n", number(answer, "removed"));
    if (slice_eq(member(answer, "lasting"), SLICE("false")))
        fputs("verge: the disk is down: what it has may come back with a restart\n", stderr);
    return EXIT_SUCCESS;
}

/* ---- the command line ---- */

/* What a configuration's admin listener is reached by: any address of the machine's is this one. */
static void set_address(struct command *c, const struct config_listen *listen)
{
    char host[INET6_ADDRSTRLEN];
    bool v4 = listen->address.ss_family == AF_INET;
    const struct sockaddr_in *in = (const struct sockaddr_in *)&listen->address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&listen->address;
    const void *bytes = v4 ? (const void *)&in->sin_addr : &in6->sin6_addr;
    bool any =
        v4 ? in->sin_addr.s_addr == htonl(INADDR_ANY) : IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
    if (any)
        strcpy(host, v4 ? "127.0.0.1" : "::1");
    else
        inet_ntop(listen->address.ss_family, bytes, host, sizeof host);
    snprintf(c->configured, sizeof c->configured, v4 ? "%s:%u" : "[%s]:%u", host,
             (unsigned)ntohs(v4 ? in->sin_port : in6->sin6_port));
    c->address = c->configured;
}

/* False where there is none, and said why. */
static bool configure(struct command *c, const char *file)
{
    struct config *config = config_load(file, stderr);
    if (!config) return false;
    if (config->admin.enabled)
        set_address(c, &config->admin.listen);
    else
        fprintf(stderr, "verge: %s has no admin listener: nobody to ask\n", file);
    config_drop(&config);
    return c->address;
}

static const struct subcommand {
    const char *name;
    int least, most; /* words behind it */
    int (*run)(struct command *c);
} subcommands[] = {
    { "stat", 0, 0, run_stat },
    { "ls", 0, 1, run_list },
    { "get", 1, 1, run_get },
    { "rm", 1, 1, run_remove },
};

static const struct subcommand *find_subcommand(int argc, char **argv)
{
    for (size_t i = 0; argc > 0 && i < sizeof subcommands / sizeof *subcommands; i++) {
        const struct subcommand *s = &subcommands[i];
        if (strcmp(s->name, argv[0]) == 0)
            return argc - 1 >= s->least && argc - 1 <= s->most ? s : NULL;
    }
    return NULL;
}

/* Whether all could be printed; a reader who has left did not want more. */
static int finish(int rc)
{
    if (fflush(stdout) == 0 || errno == EPIPE) return rc;
    fprintf(stderr, "verge: cannot write: %s\n", strerror(errno));
    return EXIT_SYSTEM;
}

/* False where there is one that is not known, or without its argument. */
static bool read_options(int argc, char **argv, struct command *c, const char **file)
{
    static const struct option options[] = {
        { "admin", required_argument, NULL, 'a' },
        { "config", required_argument, NULL, 'c' },
        { "json", no_argument, NULL, 'j' },
        { 0 },
    };
    bool known = true;
    opterr = 0; /* said once, in one sentence */
    for (int option; (option = getopt_long(argc, argv, "c:", options, NULL)) != -1;) {
        if (option == 'a') c->address = optarg;
        if (option == 'c') *file = optarg;
        if (option == 'j') c->json = true;
        if (option == '?') known = false;
    }
    return known && (!c->address || !*file);
}

int cache_command(int argc, char **argv, const char **wrong)
{
    struct command c = { 0 };
    const char *file = NULL;
    bool understood = read_options(argc, argv, &c, &file);
    const struct subcommand *sub = find_subcommand(argc - optind, argv + optind);
    if (!understood || !sub) {
        *wrong = "cache takes stat, ls, get KEY or rm KEY, and either --admin HOST:PORT or -c FILE";
        return EXIT_WRONG;
    }
    if (argc - optind > 1) c.argument = argv[optind + 1];
    if (file && !configure(&c, file)) return EXIT_WRONG;
    if (!c.address) c.address = ADDRESS_DEFAULT;
    arena_init(&c.arena, 1u << 16);
    int rc = sub->run(&c);
    arena_free(&c.arena);
    return finish(rc);
}
