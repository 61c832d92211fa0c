/* The files that operators give a node: the bytes are a certificate's file, its key's, or both in
 * one, and a file of ticket keys. Whatever is in them, a file is taken whole or refused with words,
 * and nothing of it is left behind. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/io/tls_certificate.h"
#include "edge/io/tls_tickets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One file in memory, written anew for each input: its path. */
static const char *file_of(const uint8_t *data, size_t size)
{
    static char path[64];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    CHECK(fd >= 0 && ftruncate(fd, 0) == 0);
    CHECK(pwrite(fd, data, size, 0) == (ssize_t)size);
    return path;
}

static void check_certificate(const char *path)
{
    struct tls_certificate c;
    const char *why = tls_certificate_load(&c, path, path);
    if (why) {
        CHECK(*why && !c.chain && !c.chain_count && !c.key);
        return;
    }
    CHECK(c.chain_count && c.key);
    tls_certificate_free(&c);
}

static void check_ticket_key(const char *path, size_t size)
{
    struct tls_ticket_key key;
    const char *why = tls_ticket_key_load(&key, path);
    CHECK(!why == (size == 48 || size == 80));
    CHECK(why || key.secret_bytes == (size == 48 ? 16 : 32));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = file_of(data, size);
    check_certificate(path);
    check_ticket_key(path, size);
    return 0;
}
