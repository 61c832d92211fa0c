#include "bench/requests.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define LINE_MAX_BYTES 4096
#define NOBODY         UINT32_MAX

/* The keys seen so far: open addressing, a slot in two taken at most. */
struct names {
    char **texts; /* of each id */
    uint32_t *slots, slot_count;
};

static _Noreturn void fail(const char *path, size_t line, const char *what)
{
    if (line)
        fprintf(stderr, "%s:%zu: %s\n", path, line, what);
    else
        fprintf(stderr, "%s: %s\n", path, what);
    exit(1);
}

static void *grown(void *p, size_t count, size_t size)
{
    p = realloc(p, count * size);
    if (!p) fail("trace", 0, "out of memory");
    return p;
}

/* Room for one more in an array whose capacity is always a power of two. */
static void *room_for_one(void *p, size_t count, size_t size)
{
    bool full = (count & (count - 1)) == 0;
    return full ? grown(p, count ? 2 * count : 1, size) : p;
}

static uint32_t *slot_of(const struct names *n, const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (const char *p = text; *p; p++) hash = (hash ^ (unsigned char)*p) * 0x100000001b3u;
    uint32_t at = (uint32_t)(hash ^ hash >> 32) & (n->slot_count - 1);
    while (n->slots[at] != NOBODY && strcmp(n->texts[n->slots[at]], text) != 0)
        at = (at + 1) & (n->slot_count - 1);
    return &n->slots[at];
}

static void widen(struct names *n, uint32_t id_count)
{
    n->slot_count = n->slot_count ? 2 * n->slot_count : 1024;
    n->slots = grown(n->slots, n->slot_count, sizeof *n->slots);
    memset(n->slots, 0xff, n->slot_count * sizeof *n->slots);
    for (uint32_t id = 0; id < id_count; id++) *slot_of(n, n->texts[id]) = id;
}

static uint32_t id_of(struct requests *r, struct names *n, const char *key, uint64_t size_bytes)
{
    if (2 * r->id_count >= n->slot_count) widen(n, r->id_count);
    uint32_t *slot = slot_of(n, key);
    if (*slot != NOBODY) return *slot;
    n->texts = room_for_one(n->texts, r->id_count, sizeof *n->texts);
    r->sizes = room_for_one(r->sizes, r->id_count, sizeof *r->sizes);
    n->texts[r->id_count] = strdup(key);
    r->sizes[r->id_count] = size_bytes;
    r->footprint_bytes += size_bytes;
    return *slot = r->id_count++;
}

/* Cuts the key out of the line. */
static bool parse(char *line, char **key, uint64_t *size_bytes)
{
    char *first = strchr(line, ','), *last = strrchr(line, ',');
    if (!first || first == last || !isdigit((unsigned char)last[1])) return false;
    char *end;
    *size_bytes = strtoull(last + 1, &end, 10);
    *key = first + 1;
    *last = '\0';
    return end[strspn(end, "\r\n")] == '\0';
}

static void add(struct requests *r, struct names *n, const char *key, uint64_t size_bytes)
{
    uint32_t id = id_of(r, n, key, size_bytes);
    r->ids = room_for_one(r->ids, r->count, sizeof *r->ids);
    r->ids[r->count++] = id;
    r->requested_bytes += r->sizes[id];
}

void requests_read(struct requests *r, const char *path)
{
    char line[LINE_MAX_BYTES], *key;
    struct names names = { 0 };
    uint64_t size_bytes;
    int error;
    *r = (struct requests){ 0 };
    gzFile file = gzopen(path, "rb"); /* reads what is not compressed as it is */
    if (!file) fail(path, 0, "cannot be opened");
    gzbuffer(file, 1 << 18);
    while (gzgets(file, line, sizeof line)) {
        if (!parse(line, &key, &size_bytes))
            fail(path, r->count + 1, "not `timestamp_s,key,size_bytes`");
        add(r, &names, key, size_bytes);
    }
    gzerror(file, &error);
    if (error != Z_OK && error != Z_STREAM_END) fail(path, r->count + 1, "cannot be read");
    if (!r->count) fail(path, 0, "has no requests");
    gzclose(file);
    for (uint32_t id = 0; id < r->id_count; id++) free(names.texts[id]);
    free(names.texts);
    free(names.slots);
}

void requests_free(struct requests *r)
{
    free(r->ids);
    free(r->sizes);
}
