/* bench-cache: replays a trace through the code that decides what the two tiers hold, beside what
 * others do with the same RAM and disk.
 *
 *     build/bench/cache [--ram 1%] [--disk 10%] TRACE
 *
 * The node's RAM tier is its index itself, with objects that have a head and cost what they would,
 * but no bytes. Its disk tier is the admission policy before a log of ids. The shares are of the
 * trace's footprint: all its keys, each once. In RAM an object costs what the node charges for it,
 * head, entry and the allocator's share included; the peers are charged the same, so that policies
 * are compared and not allocators, and a share of RAM is one of what all objects would cost there.
 * On disk bytes are bytes, to all. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/tiers.h"
#include "cache/admission.h"
#include "cache/index.h"
#include "edge/base/check.h"
#include "edge/base/mem.h"

#define KEY_BYTES 64 /* of a URL of the usual length */

/* ---- the node's RAM tier ---- */

struct memory {
    struct tier tier;
    struct index index;
    struct arena arena;
    struct object *pending; /* of the last miss */
};

static const struct cache_policy policy;
static const struct freshness fresh = { .received_ms = 1, .lifetime_ms = INT64_MAX / 2 };
static const struct request request = { .method = METHOD_GET };

static struct key key_of(uint32_t id, char text[KEY_BYTES])
{
    memset(text, '/', KEY_BYTES);
    memcpy(text, &id, sizeof id);
    struct slice s = slice_of(text, KEY_BYTES);
    return (struct key){ .hash = key_hash(s), .text = s, .target = SLICE("/") };
}

static bool memory_hit(struct tier *tier, uint32_t id)
{
    struct memory *m = (struct memory *)tier;
    char text[KEY_BYTES];
    struct key key = key_of(id, text);
    struct lookup_result found;
    index_lookup(&m->index, &key, &policy, &request, 1, &m->arena, &found);
    m->pending = found.pending;
    if (found.verdict != LOOKUP_HIT) return false;
    index_touch(&m->index, found.object);
    object_drop(&found.object);
    return true;
}

static struct response usual_head(void)
{
    static struct field v[] = {
        { SLICE("content-type"), SLICE("text/html; charset=utf-8"), 0 },
        { SLICE("cache-control"), SLICE("public, max-age=86400"), 0 },
        { SLICE("last-modified"), SLICE("Mon, 01 Jan 2024 00:00:00 GMT"), 0 },
        { SLICE("etag"), SLICE("\"0123456789abcdef\""), 0 },
    };
    enum { COUNT = sizeof v / sizeof *v };
    return (struct response){ .status = 200, .fields = { v, COUNT, COUNT } };
}

/* What a fill, or a load from the disk, does at its end; the body is charged and not there. */
static void memory_offer(struct tier *tier, uint32_t id)
{
    struct memory *m = (struct memory *)tier;
    struct object *o = m->pending;
    struct response head = usual_head();
    size_t body_cost = block_cost(tier->sizes[id]);
    object_set_head(o, &head, &fresh, SLICE_NONE, SLICE_NONE, AUDIENCE_REUSE);
    o->payload->cost_bytes = body_cost;
    budget_charge(&m->index.budget, body_cost);
    object_complete(o, NULL);
    CHECK(index_publish(&m->index, o));
    object_drop(&m->pending);
}

static void memory_init(struct memory *m, const struct requests *r, uint64_t limit_bytes)
{
    m->tier = (struct tier){ .hit = memory_hit, .offer = memory_offer, .sizes = r->sizes };
    arena_init(&m->arena, 4096);
    index_init(&m->index, limit_bytes, 1, 1);
}

static void memory_free(struct memory *m)
{
    index_free(&m->index);
    arena_free(&m->arena);
}

/* What an object costs the node's budget beside its body. */
static uint64_t head_cost(struct memory *m)
{
    uint64_t nothing = 0;
    const struct requests one = { .sizes = &nothing, .id_count = 1 };
    memory_init(m, &one, UINT64_MAX);
    memory_hit(&m->tier, 0);
    memory_offer(&m->tier, 0);
    uint64_t cost = m->index.budget.used_bytes - block_cost(0);
    memory_free(m);
    return cost;
}

/* ---- the node's disk tier ---- */

struct log {
    struct queue_tier base;
    struct admission admission;
    bool *declined; /* of each id: not written when it came */
};

static bool log_hit(struct tier *tier, uint32_t id)
{
    struct queue_tier *t = &((struct log *)tier)->base;
    if (t->queues.where[id] != QUEUE_FIRST) return false;
    if (t->hits[id] < HITS_MAX) t->hits[id]++;
    return true;
}

static void log_append(struct tier *tier, uint32_t id)
{
    struct queue_tier *t = &((struct log *)tier)->base;
    t->hits[id] = 0;
    queues_add(&t->queues, QUEUE_FIRST, id);
    tier->written_bytes += tier->sizes[id];
}

static void log_pass(struct tier *tier)
{
    struct queue_tier *t = &((struct log *)tier)->base;
    uint32_t oldest = queues_oldest(&t->queues, QUEUE_FIRST);
    queues_remove(&t->queues, oldest);
    if (admission_keeps(t->hits[oldest], false)) log_append(tier, oldest);
}

static void log_write(struct tier *tier, uint32_t id)
{
    const struct queues *q = &((struct log *)tier)->base.queues;
    if (tier->sizes[id] > tier->limit_bytes) return;
    while (q->used_bytes[QUEUE_FIRST] + tier->sizes[id] > tier->limit_bytes) log_pass(tier);
    log_append(tier, id);
}

static void log_offer(struct tier *tier, uint32_t id)
{
    struct log *log = (struct log *)tier;
    const struct queues *q = &log->base.queues;
    char text[KEY_BYTES];
    struct admission_store store = { q->used_bytes[QUEUE_FIRST], tier->limit_bytes,
                                     q->counts[QUEUE_FIRST] };
    bool admitted =
        admission_admits(&log->admission, key_of(id, text).hash, tier->sizes[id], &store);
    log->declined[id] = !admitted;
    if (admitted) log_write(tier, id);
}

/* A hit in RAM is a second request. What fell out of the log meanwhile is not written again. */
static void log_want(struct tier *tier, uint32_t id)
{
    struct log *log = (struct log *)tier;
    if (log->declined[id]) log_write(tier, id);
    log->declined[id] = false;
}

static void log_init(struct log *log, const struct requests *r, uint64_t limit_bytes)
{
    queue_tier_init(&log->base, r, limit_bytes);
    log->base.tier.hit = log_hit;
    log->base.tier.offer = log_offer;
    log->base.tier.wanted = log_want;
    log->declined = xcalloc(r->id_count, sizeof *log->declined);
    admission_init(&log->admission, limit_bytes);
}

static void log_free(struct log *log)
{
    admission_free(&log->admission);
    free(log->declined);
    queue_tier_free(&log->base);
}

/* ---- a replay ---- */

enum figure { OBJECTS_MISSED, BYTES_MISSED, RAM_HITS, BYTES_WRITTEN, FIGURES };

struct figures {
    double v[FIGURES];
};

/* Whatever is not in RAM comes there, from the disk or the origin; what came from the origin is
 * offered to the disk. */
static struct figures replay(const struct requests *r, struct tier *ram, struct tier *disk)
{
    uint64_t misses = 0, missed_bytes = 0, ram_hits = 0;
    for (size_t i = 0; i < r->count; i++) {
        uint32_t id = r->ids[i];
        bool in_ram = ram->hit(ram, id), on_disk = disk->hit(disk, id);
        ram_hits += in_ram;
        if (!in_ram) ram->offer(ram, id);
        if (in_ram && !on_disk && disk->wanted) disk->wanted(disk, id);
        if (in_ram || on_disk) continue;
        misses++;
        missed_bytes += r->sizes[id];
        disk->offer(disk, id);
    }
    double requests = (double)r->count, bytes = (double)r->requested_bytes;
    return (struct figures){ { (double)misses / requests, (double)missed_bytes / bytes,
                               (double)ram_hits / requests, (double)disk->written_bytes / bytes } };
}

typedef void init_queue_tier(struct queue_tier *t, const struct requests *r, uint64_t limit_bytes);

/* in_ram: the same requests with the costs of RAM for sizes. */
static struct figures replay_peer(const struct requests *r, const struct requests *in_ram,
                                  init_queue_tier *init_ram, init_queue_tier *init_disk,
                                  double ram_share, double disk_share)
{
    struct queue_tier ram, disk;
    init_ram(&ram, in_ram, (uint64_t)(ram_share * (double)in_ram->footprint_bytes));
    init_disk(&disk, r, (uint64_t)(disk_share * (double)r->footprint_bytes));
    struct figures f = replay(r, &ram.tier, &disk.tier);
    queue_tier_free(&ram);
    queue_tier_free(&disk);
    return f;
}

static struct figures replay_node(const struct requests *r, const struct requests *in_ram,
                                  struct memory *memory, double ram_share, double disk_share)
{
    struct log log;
    memory_init(memory, r, (uint64_t)(ram_share * (double)in_ram->footprint_bytes));
    log_init(&log, r, (uint64_t)(disk_share * (double)r->footprint_bytes));
    struct figures f = replay(r, &memory->tier, &log.base.tier);
    log_free(&log);
    memory_free(memory);
    return f;
}

/* ---- the table ---- */

static void print_row(const char *name, struct figures f, const struct figures *base)
{
    printf("| %-50s |", name);
    for (int i = 0; i < FIGURES; i++) {
        if (base && base->v[i] > 0)
            printf(" %.4f (%.2fx) |", f.v[i], f.v[i] / base->v[i]);
        else
            printf(" %.4f         |", f.v[i]);
    }
    printf("\n");
}

static void print_table(const struct requests *r, double ram_share, double disk_share)
{
    static struct memory memory; /* larger than a stack frame should be */
    uint64_t fixed = head_cost(&memory);
    struct requests in_ram = *r;
    in_ram.sizes = xcalloc(r->id_count, sizeof *in_ram.sizes);
    in_ram.footprint_bytes = 0;
    for (uint32_t id = 0; id < r->id_count; id++) {
        in_ram.sizes[id] = fixed + block_cost(r->sizes[id]);
        in_ram.footprint_bytes += in_ram.sizes[id];
    }
    struct figures lru = replay_peer(r, &in_ram, lru_init, lru_init, ram_share, disk_share);
    struct figures s3 = replay_peer(r, &in_ram, s3fifo_init, fifo_init, ram_share, disk_share);
    struct figures node = replay_node(r, &in_ram, &memory, ram_share, disk_share);
    printf("| RAM, disk, written %31s | objects missed | bytes missed   | RAM hits       | bytes "
           "written  |\n|---|---:|---:|---:|---:|\n",
           "");
    print_row("LRU, LRU, everything (nginx)", lru, NULL);
    print_row("S3-FIFO, FIFO, everything (Traffic Server)", s3, &lru);
    print_row("verge: GDSF, log, what is asked for again or small", node, &lru);
    free(in_ram.sizes);
}

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: cache [--ram 1%%] [--disk 10%%] TRACE\n");
    exit(2);
}

static double share_of(const char *text)
{
    char *end;
    double percent = strtod(text, &end);
    if (end == text || (*end && strcmp(end, "%") != 0) || !(percent > 0)) usage();
    return percent / 100;
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "ram", required_argument, NULL, 'r' },
                                             { "disk", required_argument, NULL, 'd' },
                                             { 0 } };
    double ram_share = 0.01, disk_share = 0.1;
    struct requests r;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'r')
            ram_share = share_of(optarg);
        else if (c == 'd')
            disk_share = share_of(optarg);
        else
            usage();
    }
    if (optind != argc - 1) usage();
    key_seed(1, 2); /* the same figures every time */
    requests_read(&r, argv[optind]);
    printf("%zu requests, %" PRIu32 " keys; %.1f MB requested, %.1f MB of keys, RAM %g %% of that, "
           "disk %g %%\n\n",
           r.count, r.id_count, (double)r.requested_bytes / 1e6, (double)r.footprint_bytes / 1e6,
           100 * ram_share, 100 * disk_share);
    print_table(&r, ram_share, disk_share);
    requests_free(&r);
}
