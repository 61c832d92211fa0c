#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "edge/base/log.h"
#include "edge/base/metrics.h"
#include "edge/base/sink.h"

#define LONG_MS 20000 /* more than any wait here should need */

static char directory[] = "/tmp/verge-sink-XXXXXX";
static char path[64], moved_path[64];

static int make_directory(void **state)
{
    (void)state;
    strcpy(directory + sizeof directory - 7, "XXXXXX");
    if (!mkdtemp(directory)) return -1;
    snprintf(path, sizeof path, "%s/log", directory);
    snprintf(moved_path, sizeof moved_path, "%s/log.1", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    unlink(path);
    unlink(moved_path);
    return rmdir(directory);
}

/* The whole file, NUL-terminated; "" where there is none. */
static char *read_file(const char *name)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n), *in = fopen(name, "r");
    for (int c; in && (c = getc(in)) != EOF;) putc(c, out);
    if (in) fclose(in);
    fclose(out);
    return text;
}

static void assert_file(const char *name, const char *expected)
{
    char *text = read_file(name);
    assert_string_equal(text, expected);
    free(text);
}

static bool file_exists(const char *name)
{
    return access(name, F_OK) == 0;
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ 0, ms * 1000000 }, NULL);
}

/* Waits for a condition with a deadline that only a failure meets. */
#define wait_for(condition)                                                                        \
    do {                                                                                           \
        int tries_ = LONG_MS;                                                                      \
        while (!(condition)) {                                                                     \
            assert_true(tries_-- > 0);                                                             \
            sleep_ms(1);                                                                           \
        }                                                                                          \
    } while (0)

static int64_t dropped(void)
{
    return metric_sum(METRIC_LOG_LINES_DROPPED);
}

static struct sink *must_open(const char *name, size_t queue_bytes)
{
    struct sink *s = sink_open(name, queue_bytes);
    assert_non_null(s);
    return s;
}

static void test_appends(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct sink *s = must_open(path, 4096);
        assert_true(sink_write(s, SLICE("a\n"), 1));
        assert_true(sink_write(s, SLICE("b\nc\n"), 2));
        sink_close(&s, LONG_MS);
        assert_null(s);
    }
    assert_file(path, "a\nb\nc\na\nb\nc\n");
}

static void test_cannot_open(void **state)
{
    (void)state;
    errno = 0;
    assert_null(sink_open("/nowhere/at/all", 4096));
    assert_int_equal(errno, ENOENT);
    struct sink *none = NULL;
    sink_close(&none, 0);
}

/* ---- many producers ---- */

#define PRODUCERS 4
#define LINES     2000

struct producer {
    struct sink *sink;
    int number;
    pthread_t thread;
};

static void *produce(void *argument)
{
    struct producer *p = argument;
    char line[32];
    for (int i = 0; i < LINES; i++) {
        int n = snprintf(line, sizeof line, "%d %d\n", p->number, i);
        assert_true(sink_write(p->sink, slice_of(line, (size_t)n), 1));
    }
    return NULL;
}

static void test_producers_keep_their_order(void **state)
{
    (void)state;
    struct producer producers[PRODUCERS];
    struct sink *s = must_open(path, 16 << 20);
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){ .sink = s, .number = i };
        assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    for (int i = 0; i < PRODUCERS; i++) pthread_join(producers[i].thread, NULL);
    sink_close(&s, LONG_MS);
    int next[PRODUCERS] = { 0 }, number, line;
    FILE *in = fopen(path, "r");
    while (fscanf(in, "%d %d\n", &number, &line) == 2) assert_int_equal(line, next[number]++);
    fclose(in);
    for (int i = 0; i < PRODUCERS; i++) assert_int_equal(next[i], LINES);
}

/* ---- what cannot be written ---- */

#define BLOCK_LINES 1024
#define BLOCK_BYTES (BLOCK_LINES * 8)

static struct slice block_of_lines(void)
{
    static char block[BLOCK_BYTES];
    for (int i = 0; i < BLOCK_LINES; i++) memcpy(block + 8 * i, "1234567\n", 8);
    return slice_of(block, sizeof block);
}

/* A sink on a pipe that came as standard error: blocking, as a shell hands it over. */
static struct sink *open_on_pipe(int *reader, size_t queue_bytes)
{
    int ends[2], before = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    struct sink *s = must_open("stderr", queue_bytes);
    dup2(before, STDERR_FILENO);
    close(before);
    close(ends[1]);
    *reader = ends[0];
    return s;
}

static unsigned fill_until_dropped(struct sink *s)
{
    for (unsigned written = 0; written < 1000; written++) {
        if (!sink_write(s, block_of_lines(), BLOCK_LINES)) return written;
    }
    fail_msg("the queue has no limit");
    return 0;
}

static void *read_to_end(void *argument)
{
    static char text[65536];
    size_t *bytes = argument;
    int fd = (int)*bytes;
    *bytes = 0;
    for (ssize_t n; (n = read(fd, text, sizeof text)) > 0;) *bytes += (size_t)n;
    close(fd);
    return NULL;
}

static void test_a_blocked_pipe_drops_and_goes_on(void **state)
{
    (void)state;
    int64_t before = dropped();
    int reader;
    struct sink *s = open_on_pipe(&reader, 4 * BLOCK_BYTES);
    unsigned written = fill_until_dropped(s);
    assert_in_range(written, 3, 64);
    assert_int_equal(dropped() - before, BLOCK_LINES);

    pthread_t thread;
    size_t bytes = (size_t)reader;
    assert_int_equal(pthread_create(&thread, NULL, read_to_end, &bytes), 0);
    sink_close(&s, LONG_MS);
    pthread_join(thread, NULL);
    assert_int_equal(bytes, written * BLOCK_BYTES);
    assert_int_equal(dropped() - before, BLOCK_LINES);
}

/* What close could not flush in time is counted. The first line's page leaves the pipe with room
 * for half a block in the end, where writing a whole one would hang. */
static void test_close_does_not_wait_for_a_blocked_pipe(void **state)
{
    (void)state;
    int64_t before = dropped();
    int reader;
    struct sink *s = open_on_pipe(&reader, 4 * BLOCK_BYTES);
    assert_true(sink_write(s, SLICE("first\n"), 1));
    unsigned written = fill_until_dropped(s);
    sink_close(&s, 1);
    int64_t counted = dropped() - before;
    size_t bytes = (size_t)reader;
    read_to_end(&bytes);
    size_t first = strlen("first\n"); /* which may not have been written either */
    size_t whole = bytes < first ? 0 : 1 + (bytes - first) / 8;
    assert_int_equal(counted, 1 + (written + 1) * BLOCK_LINES - whole);
}

static void test_a_reader_that_went_is_no_signal(void **state)
{
    (void)state;
    int64_t before = dropped();
    int reader;
    struct sink *s = open_on_pipe(&reader, 4 * BLOCK_BYTES);
    close(reader);
    assert_true(sink_write(s, SLICE("a\nb\nc\n"), 3));
    sink_close(&s, LONG_MS);
    assert_int_equal(dropped() - before, 3);
}

static void test_a_full_disk_drops(void **state)
{
    (void)state;
    int64_t before = dropped();
    struct sink *s = must_open("/dev/full", 4 * BLOCK_BYTES);
    unsigned written = fill_until_dropped(s);
    sink_close(&s, 1);
    assert_int_equal(dropped() - before, (written + 1) * BLOCK_LINES);
}

static void test_more_than_the_queue_is_dropped(void **state)
{
    (void)state;
    int64_t before = dropped();
    struct sink *s = must_open(path, BLOCK_BYTES);
    assert_false(sink_write(s, block_of_lines(), BLOCK_LINES));
    assert_true(sink_write(s, SLICE("fits\n"), 1));
    sink_close(&s, LONG_MS);
    assert_file(path, "fits\n");
    assert_int_equal(dropped() - before, BLOCK_LINES);
}

static void test_room_comes_back(void **state)
{
    (void)state;
    struct sink *s = must_open(path, 2 * BLOCK_BYTES);
    for (int i = 0; i < 16; i++) wait_for(sink_write(s, block_of_lines(), BLOCK_LINES));
    sink_close(&s, LONG_MS);
    struct stat is;
    assert_int_equal(stat(path, &is), 0);
    assert_int_equal(is.st_size, 16 * BLOCK_BYTES);
}

/* ---- another file ---- */

static void test_reopen_after_a_rename(void **state)
{
    (void)state;
    struct sink *s = must_open(path, 4096);
    sink_write(s, SLICE("old\n"), 1);
    struct stat is;
    wait_for(stat(path, &is) == 0 && is.st_size == 4);
    assert_int_equal(rename(path, moved_path), 0);
    sink_reopen(s);
    wait_for(file_exists(path));
    sink_write(s, SLICE("new\n"), 1);
    sink_close(&s, LONG_MS);
    assert_file(moved_path, "old\n");
    assert_file(path, "new\n");
}

#define ROTATIONS 256

/* Rotation in the midst of writing loses no line and cuts none. */
static void test_reopen_loses_nothing(void **state)
{
    (void)state;
    int64_t before = dropped();
    struct sink *s = must_open(path, 4 << 20);
    for (int i = 0; i < ROTATIONS; i++) {
        if (i == ROTATIONS / 2) assert_int_equal(rename(path, moved_path), 0);
        assert_true(sink_write(s, block_of_lines(), BLOCK_LINES));
        sink_reopen(s);
    }
    sink_close(&s, LONG_MS);
    struct stat first, second;
    assert_int_equal(stat(moved_path, &first), 0);
    assert_int_equal(stat(path, &second), 0);
    assert_int_equal(first.st_size + second.st_size, ROTATIONS * BLOCK_BYTES);
    assert_int_equal(first.st_size % BLOCK_BYTES, 0);
    assert_int_equal(dropped(), before);
}

static void test_a_failed_reopen_keeps_the_old_file(void **state)
{
    (void)state;
    char complaint[80];
    struct sink *errors = must_open(moved_path, 4096);
    struct sink *s = must_open(path, 4096);
    int kept = open(path, O_RDONLY);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    log_set_sink(errors);
    sink_reopen(s);
    struct stat is;
    wait_for(stat(moved_path, &is) == 0 && is.st_size > 0);
    sink_write(s, SLICE("kept\n"), 1);
    sink_close(&s, LONG_MS);
    log_set_sink(NULL);
    sink_close(&errors, LONG_MS);
    char text[8] = { 0 };
    assert_int_equal(read(kept, text, sizeof text), 5);
    assert_string_equal(text, "kept\n");
    close(kept);
    rmdir(path);
    snprintf(complaint, sizeof complaint, "cannot reopen %s", path);
    char *log = read_file(moved_path);
    assert_non_null(strstr(log, complaint));
    free(log);
}

#define sink_test(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        sink_test(test_appends),
        sink_test(test_cannot_open),
        sink_test(test_producers_keep_their_order),
        sink_test(test_a_blocked_pipe_drops_and_goes_on),
        sink_test(test_close_does_not_wait_for_a_blocked_pipe),
        sink_test(test_a_reader_that_went_is_no_signal),
        sink_test(test_a_full_disk_drops),
        sink_test(test_more_than_the_queue_is_dropped),
        sink_test(test_room_comes_back),
        sink_test(test_reopen_after_a_rename),
        sink_test(test_reopen_loses_nothing),
        sink_test(test_a_failed_reopen_keeps_the_old_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
