#include "edge/change.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

#define FILES_PER_EDGE 8  /* ring, bell, and what comes and goes */
#define FILES_BESIDES  64 /* logs, the resolver's sockets, what the process was started with */

/* ---- what can fail ---- */

static bool same_access_log(const struct config *a, const struct config *b)
{
    return a && slice_eq(a->log.access_path, b->log.access_path);
}

static bool open_access_log(struct change *ch, const struct node *n)
{
    const char *path = ch->config->log.access_path.p;
    if (same_access_log(n->config, ch->config)) {
        ch->access_log = n->access_log;
        return true;
    }
    if (ch->config->log.access_path.n == 0) return true;
    ch->access_log = sink_open(path, LOG_QUEUE_BYTES);
    if (!ch->access_log) log_event(LOG_ERROR, "cannot open %s: %s", path, strerror(errno));
    return ch->access_log;
}

void change_undo(struct change *ch, const struct node *n)
{
    if (ch->access_log != n->access_log) sink_close(&ch->access_log, LOG_CLOSE_MS);
    if (ch->sockets) listen_sockets_free(ch->sockets, ch->edge_count);
    config_drop(&ch->config);
}

bool change_prepare(struct change *ch, const struct node *n, struct config **c)
{
    *ch = (struct change){ .config = *c, .edge_count = n->edge_count };
    *c = NULL;
    if (ch->edge_count == 0) ch->edge_count = node_edges(ch->config);
    bool opened = open_access_log(ch, n);
    if (opened) ch->sockets = listen_open(ch->config, n->config, ch->edge_count);
    if (ch->sockets) return true;
    change_undo(ch, n);
    return false;
}

/* ---- what cannot ---- */

void change_apply(struct change *ch, struct node *n)
{
    struct config *old = n->config;
    struct sink *old_log = n->access_log;
    tls_tickets_configure(ch->config->ticket_keys, ch->config->ticket_key_count,
                          ch->config->ticket_rotation_ms);
    node_configure(n, ch->config, ch->sockets, ch->access_log);
    n->config = ch->config;
    n->access_log = ch->access_log;
    /* Only now: until its edge had changed, a worker may have written to it. */
    if (old_log != n->access_log) sink_close(&old_log, LOG_CLOSE_MS);
    listen_sockets_free(ch->sockets, ch->edge_count);
    config_drop(&old);
}

/* ---- reloading ---- */

/* Messages about a file have several lines, with carets below words: they are written as they are.
 */
static void write_messages(struct node *n, struct slice text)
{
    unsigned lines = 0;
    for (size_t i = 0; i < text.n; i++) lines += text.p[i] == '\n';
    if (lines) sink_write(n->error_log, text, lines);
}

static struct config *load(struct node *n, const char *file)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *errors = open_memstream(&text, &bytes);
    if (!errors) return NULL;
    struct config *c = config_load(file, errors);
    fclose(errors);
    write_messages(n, slice_of(text, bytes));
    free(text);
    return c;
}

const char *change_error_path(const struct config *c)
{
    return c->log.error_path.n ? c->log.error_path.p : "stderr";
}

static void warn_of_restart(const struct node *n, const struct config *c)
{
    if (node_edges(c) != n->edge_count)
        log_always(LOG_WARNING, "%u workers go on: another number of them needs a restart",
                   n->edge_count);
    if (!slice_eq(c->cache.disk_path, n->config->cache.disk_path) ||
        c->cache.disk_bytes != n->config->cache.disk_bytes ||
        c->cache.disk_queue_bytes != n->config->cache.disk_queue_bytes)
        log_always(LOG_WARNING, "the disk cache goes on as it is: to change it needs a restart");
    if (strcmp(change_error_path(c), n->error_path) != 0)
        log_always(LOG_WARNING, "this log goes on in %s: another place for it needs a restart",
                   n->error_path);
}

void change_check_files(const struct config *c, unsigned edge_count)
{
    struct rlimit allowed;
    uint64_t needed = FILES_BESIDES + edge_count * (FILES_PER_EDGE + listen_count(c));
    needed += (uint64_t)c->limits.connections + client_limits_refused_max(&c->limits);
    for (size_t i = 0; i < c->origin_count; i++) needed += c->origins[i].connections_max;
    if (getrlimit(RLIMIT_NOFILE, &allowed) < 0 || needed <= allowed.rlim_cur) return;
    log_always(
        LOG_WARNING,
        "connections to clients and origins may need %llu open files, %llu are allowed; raise "
        "LimitNOFILE or ulimit -Hn, or lower limits { connections } or connections_max",
        (unsigned long long)needed, (unsigned long long)allowed.rlim_cur);
}

void change_reload(struct node *n, const char *file)
{
    struct change ch;
    struct config *c = load(n, file);
    if (!c || !change_prepare(&ch, n, &c)) {
        log_always(LOG_ERROR, "configuration refused, the running one stays: %s", file);
        return;
    }
    warn_of_restart(n, ch.config);
    change_check_files(ch.config, n->edge_count);
    change_apply(&ch, n);
    log_always(LOG_INFO, "configuration %llu in use", (unsigned long long)n->config->generation);
    write_messages(n, n->config->warnings);
}
