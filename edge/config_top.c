/* Directives of the top level, of cache, limits and admin. target is the struct config. */
#include <errno.h>
#include <sys/stat.h>

#include "edge/config_builder.h"

#define WORKERS_MAX      256
#define OBJECT_SHARE     8
#define DISK_BYTES_LEAST (64ll << 20)
#define DISK_BYTES_MOST  (15ll << 40) /* pages are counted in 32 bits */

#define SLICE_BYTES_LEAST (64 << 10)
#define SLICE_BYTES_MOST  (64 << 20)

/* Fails with reason about a word of the file, unless there is none. */
static bool refuse(struct config_builder *b, const struct conf_word *w, const char *reason,
                   const char *hint)
{
    if (reason) conf_fail(&b->report, w->at, hint, "\"%.*s\" %s", CONF_SHOWN(w->text), reason);
    return reason;
}

void config_apply_workers(struct config_builder *b, const struct config_directive *d,
                          const struct conf_item *item, void *target)
{
    struct config *c = target;
    const struct conf_word *w = &item->args[0];
    int64_t n = 0;
    if (!slice_eq(w->text, SLICE("auto"))) {
        if (refuse(b, w, config_read_number(w->text, &n), "a number, or auto")) return;
        if (n < 1 || n > WORKERS_MAX)
            conf_fail(&b->report, w->at, NULL, "%s must be auto, or 1 to %d", d->name, WORKERS_MAX);
    }
    c->workers = (unsigned)n;
}

static void push_proxy(struct config_builder *b, struct config *c, const struct conf_word *w)
{
    struct config_cidr cidr;
    if (refuse(b, w, config_read_cidr(w->text, &cidr), NULL)) return;
    if (config_cidr_mask(&cidr)) {
        /* 10.0.0.1/8 may mean one host or a network: too important to guess. */
        conf_fail(&b->report, w->at, NULL, "\"%.*s\" has bits set behind its prefix",
                  CONF_SHOWN(w->text));
        return;
    }
    struct config_cidr *proxies = config_room(b, c->trusted, c->trusted_count, sizeof cidr);
    proxies[c->trusted_count++] = cidr;
    c->trusted = proxies;
}

void config_apply_trusted_proxy(struct config_builder *b, const struct config_directive *d,
                                const struct conf_item *item, void *target)
{
    (void)d;
    for (size_t i = 0; i < item->arg_count; i++) push_proxy(b, target, &item->args[i]);
}

/* Whether a log can be opened there, without making it; what this user may do decides nothing, who
 * checks need not be who runs. */
static void check_log(struct config_builder *b, const struct conf_word *w)
{
    static const char *const streams[] = { "-", "stdout", "stderr" };
    struct slice folder = w->text;
    struct stat is;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        if (slice_eq(w->text, slice_str(streams[i]))) return;
    }
    while (folder.n && folder.p[folder.n - 1] != '/') folder.n--;
    const char *path =
        folder.n ? arena_printf(&b->config->arena, "%.*s", SLICE_ARGS(folder)).p : ".";
    if (stat(path, &is) < 0)
        conf_fail(&b->report, w->at, NULL, "\"%s\": %s", path, strerror(errno));
    else if (stat(w->text.p, &is) == 0 && S_ISDIR(is.st_mode))
        refuse(b, w, "is a folder", "the name of a file in it");
}

void config_apply_access_log(struct config_builder *b, const struct config_directive *d,
                             const struct conf_item *item, void *target)
{
    (void)d;
    struct config *c = target;
    static const char *const formats[] = { "combined", "json", NULL };
    bool off = slice_eq(item->args[0].text, SLICE("off"));
    c->log.access_path = off ? SLICE_NONE : item->args[0].text;
    if (!off) check_log(b, &item->args[0]);
    if (item->arg_count == 1) return;
    const struct conf_word *w = &item->args[1];
    if (slice_eq(w->text, SLICE("json")))
        c->log.access_format = LOG_JSON;
    else if (!slice_eq(w->text, SLICE("combined")))
        refuse(b, w, "is not a log format",
               config_word_hint(b, w->text, formats, "combined or json"));
}

void config_apply_error_log(struct config_builder *b, const struct config_directive *d,
                            const struct conf_item *item, void *target)
{
    (void)d;
    struct config *c = target;
    check_log(b, &item->args[0]);
    bool standard = slice_eq(item->args[0].text, SLICE("stderr"));
    c->log.error_path = standard ? SLICE_NONE : item->args[0].text;
}

void config_apply_ticket_keys(struct config_builder *b, const struct config_directive *d,
                              const struct conf_item *item, void *target)
{
    (void)d;
    struct config *c = target;
    if (item->arg_count == 1 && slice_eq(item->args[0].text, SLICE("random"))) return;
    struct tls_ticket_key *keys = arena_alloc(&c->arena, item->arg_count * sizeof *keys);
    for (size_t i = 0; i < item->arg_count; i++) {
        const struct conf_word *w = &item->args[i];
        refuse(b, w, tls_ticket_key_load(&keys[i], w->text.p), NULL);
    }
    c->ticket_keys = keys;
    c->ticket_key_count = item->arg_count;
}

void config_apply_cache(struct config_builder *b, const struct config_directive *d,
                        const struct conf_item *item, void *target)
{
    (void)d;
    config_build_block(b, CONTEXT_CACHE, item, target);
}

void config_apply_disk(struct config_builder *b, const struct config_directive *d,
                       const struct conf_item *item, void *target)
{
    struct config *c = target;
    const struct conf_word *size = &item->args[1];
    int64_t bytes = 0;
    if (refuse(b, size, config_read_size(size->text, &bytes),
               config_value_hint(b, TYPE_SIZE, size->text)))
        return;
    if (bytes < DISK_BYTES_LEAST || bytes > DISK_BYTES_MOST)
        conf_fail(&b->report, size->at, NULL, "%s must have 64M to 15T", d->name);
    c->cache.disk_path = item->args[0].text;
    c->cache.disk_bytes = (uint64_t)bytes;
}

/* With a disk, memory is for what many ask for. */
static void share_memory(struct config *c)
{
    uint64_t share = c->cache.memory_bytes / OBJECT_SHARE, most = c->cache.object_max_bytes;
    bool is_shared = c->cache.disk_bytes && share < most;
    c->cache.object_memory_max_bytes = (size_t)(is_shared ? share : most);
}

/* memory and disk have been read: they stand before this one in the table. */
void config_apply_object_max(struct config_builder *b, const struct config_directive *d,
                             const struct conf_item *item, void *target)
{
    struct config *c = target;
    const struct conf_word *w = &item->args[0];
    struct slice share = SLICE("memory/");
    int64_t size;
    uint64_t parts, most = c->cache.disk_bytes ? c->cache.disk_bytes : c->cache.memory_bytes;
    if (slice_eq(w->text, SLICE("auto"))) {
        size = (int64_t)(most / OBJECT_SHARE);
    } else if (slice_starts(w->text, share)) {
        if (!config_read_digits(slice_skip(w->text, share.n), 1024, &parts) || parts == 0) {
            refuse(b, w, "is not a share of memory", "memory/1 to memory/1024");
            return;
        }
        size = (int64_t)(c->cache.memory_bytes / parts);
    } else if (refuse(b, w, config_read_size(w->text, &size),
                      config_value_hint(b, TYPE_SIZE, w->text))) {
        return;
    }
    if (c->cache.memory_bytes == 0) return; /* was wrong, and reported */
    if (size < 1 || (uint64_t)size > most)
        conf_fail(&b->report, w->at, NULL, "%s must be at least 1 byte and at most %s", d->name,
                  c->cache.disk_bytes ? "the disk's size" : "memory");
    c->cache.object_max_bytes = (uint64_t)size;
    share_memory(c);
}

void config_apply_slice(struct config_builder *b, const struct config_directive *d,
                        const struct conf_item *item, void *target)
{
    struct config *c = target;
    const struct conf_word *w = &item->args[0];
    int64_t size = 0;
    if (slice_eq(w->text, SLICE("off"))) return;
    if (refuse(b, w, config_read_size(w->text, &size), config_value_hint(b, TYPE_SIZE, w->text)))
        return;
    if (size && (size < SLICE_BYTES_LEAST || size > SLICE_BYTES_MOST))
        conf_fail(&b->report, w->at, NULL, "%s must be off, or 64K to 64M", d->name);
    c->cache.slice_bytes = (size_t)size;
}

void config_apply_limits(struct config_builder *b, const struct config_directive *d,
                         const struct conf_item *item, void *target)
{
    (void)d;
    config_build_block(b, CONTEXT_LIMITS, item, target);
}

void config_apply_admin(struct config_builder *b, const struct config_directive *d,
                        const struct conf_item *item, void *target)
{
    (void)d;
    struct config *c = target;
    c->admin.enabled = true;
    config_build_block(b, CONTEXT_ADMIN, item, c);
}

void config_apply_admin_listen(struct config_builder *b, const struct config_directive *d,
                               const struct conf_item *item, void *target)
{
    (void)d;
    struct config *c = target;
    config_take_listen(b, &item->args[0], &c->admin.listen);
}

void config_apply_admin_hosts(struct config_builder *b, const struct config_directive *d,
                              const struct conf_item *item, void *target)
{
    (void)d;
    struct config *c = target;
    struct slice *hosts = arena_alloc(&c->arena, item->arg_count * sizeof *hosts);
    for (size_t i = 0; i < item->arg_count; i++) {
        const struct conf_word *w = &item->args[i];
        refuse(b, w, config_is_host_name(w->text) ? NULL : "is no host name", NULL);
        hosts[i] = w->text;
    }
    c->admin.hosts = hosts;
    c->admin.host_count = item->arg_count;
}
