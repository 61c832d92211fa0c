#include "cache/disk_stamp.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cache/disk.h"

#define BOOT_BYTES 64

/* Another one each time the machine starts; "" where the system does not tell, which is no boot. */
static void read_boot(char boot[BOOT_BYTES])
{
    boot[0] = 0;
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!f) return;
    if (!fgets(boot, BOOT_BYTES, f)) boot[0] = 0;
    boot[strcspn(boot, "\n")] = 0;
    fclose(f);
}

/* ---- reading ---- */

static enum disk_stamp_state judge(const char *boot, const char *state, unsigned format)
{
    char now[BOOT_BYTES];
    read_boot(now);
    if (format != DISK_FORMAT) return STAMP_FOREIGN;
    bool clean = strcmp(state, "clean") == 0;
    return clean || (now[0] && strcmp(now, boot) == 0) ? STAMP_TRUSTED : STAMP_UNTRUSTED;
}

enum disk_stamp_state disk_stamp_read(const char *path, struct disk_stamp *out)
{
    char file[PATH_MAX], state[16], boot[BOOT_BYTES];
    snprintf(file, sizeof file, "%s/stamp", path);
    FILE *f = fopen(file, "re");
    if (!f) return STAMP_NONE;
    int first = fscanf(f, "verge cache, format %u\n", &out->format);
    int rest = fscanf(f, "state %15s\nboot %63s\nseed %" SCNx64 " %" SCNx64 "\n", state, boot,
                      &out->seed.v[0], &out->seed.v[1]);
    fclose(f);
    if (first == 1 && out->format != DISK_FORMAT) return STAMP_FOREIGN;
    return first == 1 && rest == 4 ? judge(boot, state, out->format) : STAMP_UNTRUSTED;
}

/* ---- writing ---- */

static int sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno;
    int rc = fsync(fd) < 0 ? errno : 0;
    close(fd);
    return rc;
}

static int write_text(int fd, const char *text, size_t n)
{
    if (pwrite(fd, text, n, 0) != (ssize_t)n || ftruncate(fd, (off_t)n) < 0) return errno;
    return fsync(fd) < 0 ? errno : 0;
}

/* In place: on a file system that is full there is no room for another one. Cut short, it is none.
 */
int disk_stamp_write(const char *path, const struct disk_stamp *stamp, bool clean)
{
    char file[PATH_MAX], boot[BOOT_BYTES], text[256];
    read_boot(boot);
    snprintf(file, sizeof file, "%s/stamp", path);
    int n =
        snprintf(text, sizeof text,
                 "verge cache, format %u\nstate %s\nboot %s\nseed %016" PRIx64 " %016" PRIx64 "\n",
                 stamp->format, clean ? "clean" : "open", boot[0] ? boot : "unknown",
                 stamp->seed.v[0], stamp->seed.v[1]);
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return errno;
    int rc = write_text(fd, text, (size_t)n);
    close(fd);
    return rc ? rc : sync_folder(path);
}

void disk_stamp_remove(const char *path)
{
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s/stamp", path);
    unlink(file);
}
