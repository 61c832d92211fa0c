/* fault: a disk that fails on demand. Preloaded into the node by scenarios (LD_PRELOAD), it stands
 * before the calls of libc that write files, and where the file is below FAULT_FOLDER does what the
 * text in the file FAULT_CONTROL says:
 *
 *     ENOSPC, EIO, EROFS    fails with that
 *     PARTIAL               writes half of what it was given, and says so
 *     FULL                  likewise, and there is no room left
 *     HANG                  does not come back while the text is this
 *     HANG_READS            reads of the log do not; then they end without a byte
 *     anything else, none   works
 *
 * What goes through the kernel without libc, as io_uring's reads do, it does not see. But those
 * look their descriptor up as they begin: with HANG_READS the log's is a pipe's that nobody writes
 * to, and what libc does with it is done with the file. The file FAULT_CONTROL.hangs is there
 * meanwhile. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const struct {
    const char *name;
    int error;
} errors[] = { { "ENOSPC", ENOSPC }, { "EIO", EIO }, { "EROFS", EROFS } };

static void read_control(char text[32])
{
    text[0] = 0;
    const char *path = getenv("FAULT_CONTROL");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? 0 : syscall(SYS_read, fd, text, 31);
    if (fd >= 0) syscall(SYS_close, fd);
    text[n > 0 ? n : 0] = 0;
}

static bool is_below(const char *path)
{
    const char *folder = getenv("FAULT_FOLDER");
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static bool is_file_below(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return false;
    path[n] = 0;
    return is_below(path);
}

/* ---- reads that hang ---- */

/* Descriptors of the log, as the node knows them, and the file that each stands for. They change
 * under the threads that use them, as the program's own do not: by system calls that
 * ThreadSanitizer does not see. */
#define LOGS_MAX 16
static struct {
    _Atomic int fd;
    int file;
} logs[LOGS_MAX];
static _Atomic int log_count;

static int file_of(int fd)
{
    for (int i = 0; i < log_count; i++) {
        if (logs[i].fd == fd) return logs[i].file;
    }
    return fd;
}

static void tell_hanging(bool hangs)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s.hangs", getenv("FAULT_CONTROL"));
    if (hangs)
        close((int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    else
        unlink(path);
}

static void *watch(void *unused)
{
    char text[32];
    int ends[2];
    bool hangs = false;
    for (;; nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL)) {
        read_control(text);
        bool should = strcmp(text, "HANG_READS") == 0;
        if (should == hangs) continue;
        hangs = should;
        if (hangs && syscall(SYS_pipe2, ends, O_CLOEXEC) < 0) abort();
        for (int i = 0; i < log_count; i++) {
            int fd = logs[i].fd;
            if (fd >= 0) syscall(SYS_dup3, hangs ? ends[0] : logs[i].file, fd, O_CLOEXEC);
        }
        for (int i = 0; i < 2 && !hangs; i++) syscall(SYS_close, ends[i]);
        tell_hanging(hangs);
    }
    return unused;
}

/* One thread for all logs of the process, which takes none of its signals. */
static void watch_log(int fd)
{
    pthread_t thread;
    sigset_t all, before;
    int n = log_count;
    if (n == LOGS_MAX) abort();
    logs[n].fd = fd;
    logs[n].file = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
    log_count = n + 1;
    if (n) return;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_create(&thread, NULL, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static bool is_log(const char *path)
{
    size_t n = strlen(path);
    return is_below(path) && n > 4 && strcmp(path + n - 4, "/log") == 0;
}

/* What is to happen; hangs, where it is that. Sets errno where it is an error. */
enum fault { FAULT_NONE, FAULT_ERROR, FAULT_PARTIAL };

static enum fault due(void)
{
    char text[32];
    for (read_control(text); strcmp(text, "HANG") == 0; read_control(text))
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (strcmp(text, errors[i].name)) continue;
        errno = errors[i].error;
        return FAULT_ERROR;
    }
    bool partial = strcmp(text, "PARTIAL") == 0 || strcmp(text, "FULL") == 0;
    return partial ? FAULT_PARTIAL : FAULT_NONE;
}

static enum fault due_for_file(int fd)
{
    return is_file_below(file_of(fd)) ? due() : FAULT_NONE;
}

/* The call of that name behind this one. */
#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t n)
{
    enum fault fault = due_for_file(fd);
    size_t given = fault == FAULT_PARTIAL ? n / 2 : n;
    return fault == FAULT_ERROR ? -1 : REAL(write)(file_of(fd), data, given);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    enum fault fault = due_for_file(fd);
    size_t given = fault == FAULT_PARTIAL ? n / 2 : n;
    return fault == FAULT_ERROR ? -1 : REAL(pwrite)(file_of(fd), data, given, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    switch (due_for_file(fd)) {
    case FAULT_ERROR: return -1;
    case FAULT_PARTIAL: return REAL(write)(file_of(fd), parts[0].iov_base, parts[0].iov_len / 2);
    case FAULT_NONE: break;
    }
    return REAL(writev)(file_of(fd), parts, count);
}

int fsync(int fd)
{
    return due_for_file(fd) == FAULT_ERROR ? -1 : REAL(fsync)(file_of(fd));
}

int fdatasync(int fd)
{
    return due_for_file(fd) == FAULT_ERROR ? -1 : REAL(fdatasync)(file_of(fd));
}

int ftruncate(int fd, off_t n)
{
    return due_for_file(fd) == FAULT_ERROR ? -1 : REAL(ftruncate)(file_of(fd), n);
}

int close(int fd)
{
    for (int i = 0; i < log_count; i++) {
        if (logs[i].fd == fd) logs[i].fd = -1;
    }
    return REAL(close)(fd);
}

off_t lseek(int fd, off_t at, int whence)
{
    return REAL(lseek)(file_of(fd), at, whence);
}

ssize_t pread(int fd, void *to, size_t n, off_t at)
{
    return REAL(pread)(file_of(fd), to, n, at);
}

int fstat(int fd, struct stat *out)
{
    return REAL(fstat)(file_of(fd), out);
}

int statvfs(const char *path, struct statvfs *out)
{
    char text[32];
    int rc = REAL(statvfs)(path, out);
    read_control(text);
    if (rc == 0 && is_below(path) && strcmp(text, "FULL") == 0) out->f_bavail = 0;
    return rc;
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    bool writes = flags & (O_WRONLY | O_RDWR | O_CREAT);
    if (writes && is_below(path) && due() == FAULT_ERROR) return -1;
    int fd = REAL(open)(path, flags, mode);
    if (fd >= 0 && is_log(path)) watch_log(fd);
    return fd;
}

int rename(const char *from, const char *to)
{
    return is_below(to) && due() == FAULT_ERROR ? -1 : REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode)
{
    return is_below(path) && due() == FAULT_ERROR ? -1 : REAL(mkdir)(path, mode);
}
