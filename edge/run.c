#include "edge/run.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "edge/base/clock.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/change.h"
#include "edge/forward.h"
#include "edge/io/offload.h"

#define OFFLOAD_THREADS   2
#define OFFLOAD_QUEUE_MAX 1024
#define ABORT_MS          5000 /* for edges to end once nothing is waited for */

/* ---- the process ---- */

/* Those with a meaning, and those that would end the process without one. */
static sigset_t signals(void)
{
    static const int numbers[] = { SIGHUP,    SIGUSR1, SIGQUIT, SIGTERM,   SIGINT, SIGUSR2, SIGALRM,
                                   SIGVTALRM, SIGPROF, SIGIO,   SIGSTKFLT, SIGPWR, SIGXCPU };
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaddset(&set, numbers[i]);
    for (int i = SIGRTMIN; i <= SIGRTMAX; i++) sigaddset(&set, i); /* NODE_ENDED_SIGNAL, too */
    return set;
}

/* Before there are threads, which inherit it: signals are waited for, never handled. */
static void block_signals(void)
{
    sigset_t set = signals();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of its write */
}

static void raise_file_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0) return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files); /* where it fails, change_check_files warns */
}

static bool choose_seeds(void)
{
    uint64_t random[3];
    if (getrandom(random, sizeof random, 0) != sizeof random) {
        fprintf(stderr, "verge: no random numbers: %s\n", strerror(errno));
        return false;
    }
    key_seed(random[0], random[1]);
    forward_init(random[2]);
    return true;
}

static const char *name_store_reason(unsigned index)
{
    _Static_assert(STORE_REASON_COUNT <= METRIC_STORED_LAST - METRIC_STORED + 1,
                   "metrics.def has too few members for it");
    return index < STORE_REASON_COUNT ? store_reason_name((enum store_reason)index) : NULL;
}

static bool prepare_process(void)
{
    block_signals();
    raise_file_limit();
    metric_set_namer(METRIC_STORED, name_store_reason);
    return worker_probe() == 0;
}

/* ---- starting ---- */

static struct config *read_config(const char *file, const char *origin, const char *disk_folder)
{
    struct config *c;
    if (file) {
        c = config_load(file, stderr);
    } else {
        struct arena arena;
        arena_init(&arena, 4096);
        c = config_parse(config_default_text(&arena, origin, disk_folder), "built-in", stderr);
        arena_free(&arena);
    }
    if (c) fwrite(c->warnings.p, 1, c->warnings.n, stderr);
    return c;
}

static bool open_error_log(struct node *n, const struct config *c)
{
    n->error_path = xstrdup(change_error_path(c));
    n->error_log = sink_open(n->error_path, LOG_QUEUE_BYTES);
    if (!n->error_log)
        fprintf(stderr, "verge: cannot open %s: %s\n", n->error_path, strerror(errno));
    return n->error_log;
}

static bool start_threads(struct node *n, const struct config *c)
{
    if (c->cache.disk_path.n == 0) metric_leave_out(METRIC_DISK_UP);
    if (offload_start(OFFLOAD_THREADS, OFFLOAD_QUEUE_MAX) < 0) return false;
    return node_start(n, c) == 0;
}

static void report_start(const struct node *n, const struct config *c)
{
    log_set_sink(n->error_log);
    change_check_files(c, n->edge_count);
    for (size_t i = 0; i < listen_count(c); i++)
        log_always(LOG_INFO, "listening on %.*s", SLICE_ARGS(listen_at(c, i)->text));
    log_always(LOG_INFO, "started, %u worker%s", n->edge_count, n->edge_count == 1 ? "" : "s");
}

/* Takes c. What goes wrong is said on standard error, wherever the error log is: somebody is
 * watching. And all is said before the first client is answered, so that who gets an answer finds
 * it in the log. */
static bool start(struct node *n, struct config **c)
{
    struct change first;
    if (!prepare_process() || !open_error_log(n, *c)) {
        config_drop(c);
        return false;
    }
    if (!change_prepare(&first, n, c)) return false;
    if (!start_threads(n, first.config)) {
        change_undo(&first, n);
        return false;
    }
    report_start(n, first.config);
    change_apply(&first, n);
    return true;
}

/* ---- signals ---- */

static int64_t now_ms(void)
{
    return clock_monotonic_us() / 1000;
}

/* The next signal; 0 when it is until_ms. */
static int wait_signal(int64_t until_ms)
{
    sigset_t set = signals();
    int64_t left_ms;
    while ((left_ms = until_ms - now_ms()) > 0) {
        time_t s = left_ms < 3600000 ? left_ms / 1000 : 3600;
        int number = sigtimedwait(&set, NULL, &(struct timespec){ s, left_ms % 1000 * 1000000 });
        if (number > 0) return number;
    }
    return 0;
}

static void reload(struct node *n, const char *file)
{
    if (n->stopping) return;
    if (file)
        change_reload(n, file);
    else
        log_always(LOG_WARNING, "no configuration file to read again: started with --origin");
}

static void reopen_logs(struct node *n)
{
    sink_reopen(n->error_log);
    if (n->access_log) sink_reopen(n->access_log);
}

/* How long it may take is returned. */
static int64_t stop(struct node *n)
{
    log_always(LOG_INFO, "stopping, once what is in flight is finished");
    node_stop(n);
    return n->config->shutdown_timeout_ms + ABORT_MS;
}

static int64_t abort_all(struct node *n)
{
    log_always(LOG_INFO, "stopping at once");
    node_abort(n);
    return ABORT_MS;
}

static void ignore(int number)
{
    const char *name = sigabbrev_np(number);
    if (number == NODE_ENDED_SIGNAL) return;
    log_event(LOG_WARNING, "signal %s%s ignored: it means nothing to a node", name ? "SIG" : "",
              name ? name : "of an application");
}

/* Until all edges have ended; false where they do not in time. */
static bool serve_signals(struct node *n, const char *file)
{
    int64_t until_ms = INT64_MAX;
    while (n->running) {
        int number = wait_signal(until_ms);
        bool graceful = number == SIGQUIT && !n->stopping;
        bool end = number == SIGQUIT || number == SIGTERM || number == SIGINT;
        if (number == 0) return false;
        if (number == SIGHUP)
            reload(n, file);
        else if (number == SIGUSR1)
            reopen_logs(n);
        else if (!end)
            ignore(number);
        if (graceful)
            until_ms = now_ms() + stop(n);
        else if (end && !n->aborting)
            until_ms = now_ms() + abort_all(n);
    }
    return true;
}

/* ---- the end ---- */

static void close_logs(struct node *n)
{
    log_set_sink(NULL);
    sink_close(&n->access_log, LOG_CLOSE_MS);
    sink_close(&n->error_log, LOG_CLOSE_MS);
    free(n->error_path);
}

/* A name server that does not answer, or a mistake of ours: the process can end nevertheless, and
 * the system frees the rest. The logs' own threads have had all the time to write what there was.
 */
static _Noreturn void end_now(void)
{
    log_set_sink(NULL);
    log_always(LOG_WARNING, "something did not end in time; ended without it");
    _exit(EXIT_SUCCESS);
}

/* Bodies are blocks of up to 256 KiB that come and go all the time: left to itself the allocator
 * maps them, or gives the end of its heap back and takes it again, and a page fault costs more than
 * copying the page. */
static void tune_allocator(void)
{
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, WORKER_OWN_BYTES);
}

int run(const char *file, const char *origin, const char *disk_folder)
{
    static struct node node;
    tune_allocator();
    if (!choose_seeds()) return EXIT_SYSTEM; /* a configuration has tables of hashes */
    struct config *c = read_config(file, origin, disk_folder);
    if (!c) return EXIT_WRONG;
    bool started = start(&node, &c);
    if (started && !serve_signals(&node, file)) end_now();
    if (started) node_join(&node);
    offload_stop();
    if (started) node_free(&node);
    tls_tickets_forget();
    config_drop(&node.config);
    close_logs(&node);
    return started ? EXIT_SUCCESS : EXIT_SYSTEM;
}
