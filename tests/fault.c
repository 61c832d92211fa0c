/* fault: a disk that fails on demand. Preloaded into the node by scenarios (LD_PRELOAD), it stands
 * before the calls of libc that write files, and where the file is below FAULT_FOLDER does what the
 * text in the file FAULT_CONTROL says:
 *
 *     ENOSPC, EIO, EROFS    fails with that
 *     PARTIAL               writes half of what it was given, and says so
 *     HANG                  does not come back while the text is this
 *     anything else, none   works
 *
 * What goes through the kernel without libc, as io_uring's reads do, it does not see. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
    return strcmp(text, "PARTIAL") == 0 ? FAULT_PARTIAL : FAULT_NONE;
}

static enum fault due_for_file(int fd)
{
    return is_file_below(fd) ? due() : FAULT_NONE;
}

/* The call of that name behind this one. */
#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t n)
{
    enum fault fault = due_for_file(fd);
    return fault == FAULT_ERROR ? -1 : REAL(write)(fd, data, fault == FAULT_PARTIAL ? n / 2 : n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    enum fault fault = due_for_file(fd);
    return fault == FAULT_ERROR ? -1
                                : REAL(pwrite)(fd, data, fault == FAULT_PARTIAL ? n / 2 : n, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    switch (due_for_file(fd)) {
    case FAULT_ERROR: return -1;
    case FAULT_PARTIAL: return REAL(write)(fd, parts[0].iov_base, parts[0].iov_len / 2);
    case FAULT_NONE: break;
    }
    return REAL(writev)(fd, parts, count);
}

int fsync(int fd)
{
    return due_for_file(fd) == FAULT_ERROR ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    return due_for_file(fd) == FAULT_ERROR ? -1 : REAL(fdatasync)(fd);
}

int ftruncate(int fd, off_t n)
{
    return due_for_file(fd) == FAULT_ERROR ? -1 : REAL(ftruncate)(fd, n);
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    bool writes = flags & (O_WRONLY | O_RDWR | O_CREAT);
    return writes && is_below(path) && due() == FAULT_ERROR ? -1 : REAL(open)(path, flags, mode);
}

int rename(const char *from, const char *to)
{
    return is_below(to) && due() == FAULT_ERROR ? -1 : REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode)
{
    return is_below(path) && due() == FAULT_ERROR ? -1 : REAL(mkdir)(path, mode);
}
