#include "edge/io/offload.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/list.h"
#include "edge/base/log.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/io/worker.h"

static struct {
    pthread_mutex_t lock; /* of the queue */
    pthread_cond_t changed;
    struct job *first, **end;
    unsigned queued, queue_max;
    atomic_bool running; /* changes under the lock only, so that nobody sleeps through its end */

    pthread_t *threads; /* the main thread's */
    unsigned thread_count;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* ---- the queue ---- */

static bool put(struct job *j)
{
    j->next = NULL;
    pthread_mutex_lock(&pool.lock);
    bool room = pool.running && pool.queued < pool.queue_max;
    if (room) {
        *pool.end = j;
        pool.end = &j->next;
        pool.queued++;
    }
    pthread_mutex_unlock(&pool.lock);
    if (room) pthread_cond_signal(&pool.changed);
    return room;
}

/* The oldest job, as soon as there is one; NULL: the pool is stopping. */
static struct job *take(void)
{
    struct job *j = NULL;
    pthread_mutex_lock(&pool.lock);
    while (pool.running && !pool.first) pthread_cond_wait(&pool.changed, &pool.lock);
    if (pool.running) {
        j = pool.first;
        pool.first = j->next;
        if (!pool.first) pool.end = &pool.first;
        pool.queued--;
    }
    pthread_mutex_unlock(&pool.lock);
    return j;
}

static void open_queue(unsigned queue_max)
{
    pthread_mutex_lock(&pool.lock);
    pool.first = NULL;
    pool.end = &pool.first;
    pool.queued = 0;
    pool.queue_max = queue_max;
    pool.running = true;
    pthread_mutex_unlock(&pool.lock);
}

static void close_queue(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.running = false;
    pthread_mutex_unlock(&pool.lock);
    pthread_cond_broadcast(&pool.changed);
}

/* ---- a job's way ---- */

static void run_done(struct note *n)
{
    struct job *j = container_of(n, struct job, note);
    j->submitted = false;
    j->done(j);
}

bool offload_submit(struct job *j)
{
    j->worker = worker_self();
    j->note.run = run_done;
    CHECK(j->worker && !j->submitted);
    j->submitted = true;
    if (put(j)) return true;
    j->submitted = false;
    metric_add(METRIC_OFFLOAD_REFUSED, 1);
    return false;
}

/* Once the pool stops the job's worker may have ended, and its descriptors may be others'. */
static void *run_jobs(void *unused)
{
    for (struct job *j; (j = take());) {
        j->work(j);
        if (pool.running) worker_post(j->worker, &j->note);
    }
    return unused;
}

/* ---- life ---- */

int offload_start(unsigned threads, unsigned queue_max)
{
    CHECK(!pool.threads && threads > 0);
    pool.threads = xcalloc(threads, sizeof *pool.threads);
    open_queue(queue_max);
    for (pool.thread_count = 0; pool.thread_count < threads; pool.thread_count++) {
        int rc = pthread_create(&pool.threads[pool.thread_count], NULL, run_jobs, NULL);
        if (rc == 0) continue;
        log_event(LOG_ERROR, "offload thread could not start: %s", strerror(rc));
        offload_stop();
        return -E_SYSTEM;
    }
    return 0;
}

void offload_stop(void)
{
    close_queue();
    while (pool.thread_count) pthread_join(pool.threads[--pool.thread_count], NULL);
    free(pool.threads);
    pool.threads = NULL;
}
