/* disk: a store in a folder, through its writer: what is written is listed and reads back, goes
 * round, is kept while it is in use, and is there after a restart. Without workers: values are read
 * as a worker would find them, at the place the directory tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/disk.h"
#include "cache/reader.h"
#include "cache/index.h"
#include "cache/record.h"
#include "tests/unit/broken_rule.h"

#define SIZE_BYTES ((uint64_t)64 << 20)
#define WAIT_MAX   20000 /* milliseconds: a limit, not a measure */

static char folder[64];
static struct index ix;
static struct disk *disk;
static struct arena arena;

/* ---- the store ---- */

static uint64_t open_store(void)
{
    uint64_t highest = 0;
    struct disk_settings settings = { folder, SIZE_BYTES, 16 << 20 };
    index_init(&ix, (size_t)256 << 20, 4, 65536);
    ix.disk = disk = disk_open(&settings, &ix, &highest);
    return highest;
}

static void close_store(void)
{
    disk_stop(disk);
    index_free(&ix);
    disk_free(&disk);
}

static void restart(void)
{
    close_store();
    open_store();
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *at)
{
    (void)s, (void)type, (void)at;
    return remove(path);
}

static int open_folder(void **state)
{
    (void)state;
    key_seed(1, 2);
    arena_init(&arena, 65536);
    snprintf(folder, sizeof folder, "/tmp/verge-test-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    open_store();
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    close_store();
    arena_free(&arena);
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- objects ---- */

static struct key key_of(const char *name)
{
    struct slice text = slice_str(name);
    return (struct key){ .hash = key_hash(text), .text = text, .target = SLICE("/") };
}

static char byte_at(const char *name, uint64_t at)
{
    return (char)(name[at % strlen(name)] + at / 7);
}

static struct object *make_variant(struct key key, struct slice vary, struct slice vary_key,
                                   const char *name, size_t body_bytes, uint64_t purge_seq)
{
    struct object *o = object_new(&key, &ix.budget, purge_seq, 65536);
    struct response head = { .status = 200, .length = (int64_t)body_bytes };
    struct freshness fresh = { .lifetime_ms = 60000 };
    fields_add(&head.fields, &arena, FIELD_ETAG, SLICE("\"e\""));
    object_set_head(o, &head, &fresh, vary, vary_key, AUDIENCE_REUSE);
    for (size_t at = 0; at < body_bytes;) {
        size_t n = body_bytes - at < 100000 ? body_bytes - at : 100000;
        struct block *b = block_new(n);
        for (size_t i = 0; i < n; i++) b->data[i] = byte_at(name, at + i);
        struct span s = { b, 0, (uint32_t)n };
        object_append(o, &s);
        at += n;
    }
    object_complete(o, NULL);
    return o;
}

static struct object *make_object_of(struct key key, const char *name, size_t body_bytes,
                                     uint64_t purge_seq)
{
    return make_variant(key, SLICE_NONE, SLICE_NONE, name, body_bytes, purge_seq);
}

static struct object *make_object(const char *name, size_t body_bytes, uint64_t purge_seq)
{
    return make_object_of(key_of(name), name, body_bytes, purge_seq);
}

static bool is_over(struct object *o)
{
    struct disk_write *w = atomic_load(&o->write);
    return atomic_load(&w->over);
}

static void wait_over(struct object *o)
{
    for (int i = 0; i < WAIT_MAX && !is_over(o); i++) usleep(1000);
    assert_true(is_over(o));
}

/* Published, written, and dropped: from now on it is where the index and the disk have it. */
static void store(const char *name, size_t body_bytes)
{
    struct object *o = make_object(name, body_bytes, atomic_load(&ix.purge_seq));
    assert_true(index_publish(&ix, o));
    assert_true(disk_write(disk, o));
    wait_over(o);
    object_drop(&o);
}

/* What the memory has of it goes, as eviction would do it. */
static void evict_all(void)
{
    size_t limit = atomic_load(&ix.budget.limit_bytes);
    atomic_store(&ix.budget.limit_bytes, 0);
    for (int i = 0; i < 100; i++) index_make_room(&ix);
    atomic_store(&ix.budget.limit_bytes, limit);
}

static struct stored *find(const char *name)
{
    struct key key = key_of(name);
    struct stored *found[4];
    unsigned n = directory_find(&disk->directory, disk_hash(disk, &key), 0, found, 4);
    assert_true(n <= 1);
    return n ? found[0] : NULL;
}

static size_t read_value(struct stored *s, uint32_t chunk, char *out, struct disk_value *v)
{
    uint32_t page, size;
    assert_true(stored_locate(&disk->directory, s, chunk, &page, &size));
    if (!size) size = disk_chunk_size(s->body_bytes, chunk);
    assert_int_equal(pread(atomic_load(&disk->fd), out, size, (off_t)disk_log_offset(page)), size);
    assert_true(disk_value_check(slice_of(out, size), s, chunk, v));
    return size;
}

static void assert_body(struct stored *s, const char *name)
{
    static char bytes[DISK_VALUE_BYTES];
    struct disk_value v;
    uint64_t at = 0;
    for (uint32_t chunk = 0; at < s->body_bytes; chunk++) {
        read_value(s, chunk, bytes, &v);
        for (uint32_t i = 0; i < v.body_bytes; i++, at++)
            assert_int_equal(bytes[sizeof v + i], byte_at(name, at));
    }
    assert_int_equal(at, s->body_bytes);
}

static void assert_stored(const char *name, size_t body_bytes)
{
    static char bytes[DISK_VALUE_BYTES];
    struct disk_value v;
    struct record r;
    struct stored *s = find(name);
    assert_non_null(s);
    assert_int_equal(s->body_bytes, body_bytes);
    read_value(s, STORED_HEAD, bytes, &v);
    struct slice head = slice_of(bytes + sizeof v + v.body_bytes, v.head_bytes);
    assert_true(record_read(head, &arena, &r));
    assert_true(slice_eq(r.key, slice_str(name)));
    assert_body(s, name);
    stored_drop(&disk->directory, &s);
}

static void assert_gone(const char *name)
{
    struct stored *s = find(name);
    assert_null(s);
}

static struct lookup_result look(const char *name)
{
    static const struct cache_policy policy;
    struct request r = { .method = METHOD_GET };
    struct key key = key_of(name);
    struct lookup_result out;
    index_lookup(&ix, &key, &policy, &r, 120000, &arena, &out); /* what is stored is stale */
    return out;
}

/* ---- the tests ---- */

static void test_what_is_written_reads_back(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0,     1,      4000,   65000,  65300,  65471,   65472,
                                    65473, 130943, 130944, 130945, 196416, 1000000, 3000000 };
    char name[32];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(name, sizeof name, "object %zu", sizes[i]);
        store(name, sizes[i]);
    }
    for (int round = 0; round < 2; round++, restart()) {
        evict_all();
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            snprintf(name, sizeof name, "object %zu", sizes[i]);
            assert_stored(name, sizes[i]);
        }
    }
}

static void test_what_is_forgotten_stays_away(void **state)
{
    (void)state;
    struct key key = key_of("forgotten");
    store("forgotten", 10000);
    store("not forgotten", 10000);
    evict_all();
    assert_stored("forgotten", 10000);
    assert_int_equal(index_invalidate(&ix, &key), 1);
    assert_gone("forgotten");
    restart();
    assert_gone("forgotten");
    assert_stored("not forgotten", 10000);
}

static struct object *publish_slice(const struct key *whole, uint32_t n)
{
    struct key key;
    key_slice(whole, n, &arena, &key);
    struct object *o = make_object_of(key, "slice", 1000, atomic_load(&ix.purge_seq));
    assert_true(index_publish(&ix, o));
    return o;
}

static void publish_variant(const char *name, const char *value, bool written)
{
    struct object *o = make_variant(key_of(name), SLICE("X"), slice_str(value), name, 1000,
                                    atomic_load(&ix.purge_seq));
    assert_true(index_publish(&ix, o));
    if (written) assert_true(disk_write(disk, o));
    if (written) wait_over(o);
    object_drop(&o);
}

/* A variant takes the place of that variant alone, also of one that only the disk has. */
static void test_variants_on_the_disk_are_told_apart(void **state)
{
    (void)state;
    struct key key = key_of("varies");
    size_t before = atomic_load(&disk->directory.count);
    publish_variant("varies", "a", true);
    publish_variant("varies", "b", true);
    evict_all();
    publish_variant("varies", "a", false);
    assert_int_equal(atomic_load(&disk->directory.count), before + 1);
    restart();
    assert_true(disk_has_unloaded(disk, &key));
    publish_variant("varies", "c", false);
    assert_true(disk_has_unloaded(disk, &key));
    assert_int_equal(index_invalidate(&ix, &key), 2); /* one in memory, one on the disk */
    assert_false(disk_has_unloaded(disk, &key));
}

/* What has no Vary would go on answering as any variant, and is answered for by all. */
static void test_what_has_no_vary_goes_for_any_variant(void **state)
{
    (void)state;
    struct key key = key_of("began to vary");
    store("began to vary", 1000);
    evict_all();
    publish_variant("began to vary", "a", true);
    assert_int_equal(index_invalidate(&ix, &key), 1);
}

/* One is on the disk by then, the other begins to be written after it. */
static void test_slices_go_with_the_whole(void **state)
{
    (void)state;
    struct key whole = key_of("sliced");
    struct object *written = publish_slice(&whole, 0), *late = publish_slice(&whole, 1);
    assert_true(disk_write(disk, written));
    wait_over(written);
    assert_int_equal(disk_hash(disk, &written->key), disk_hash(disk, &whole));
    index_invalidate(&ix, &whole);
    assert_true(disk_write(disk, late));
    wait_over(late);
    struct key keys[] = { written->key, late->key };
    for (int i = 0; i < 2; i++) keys[i].text = arena_copy(&arena, keys[i].text);
    object_drop(&written);
    object_drop(&late);
    evict_all();
    for (int i = 0; i < 2; i++) assert_false(disk_has_unloaded(disk, &keys[i]));
}

static void test_purges_go_on_from_where_they_were(void **state)
{
    (void)state;
    struct key key = key_of("whatever");
    for (int i = 0; i < 100; i++) index_invalidate(&ix, &key);
    uint64_t seq = atomic_load(&ix.purge_seq);
    store("after a hundred purges", 1000);
    close_store();
    assert_int_equal(open_store(), seq);
}

/* An object that another has taken the place of while it was on its way is not listed. */
static void test_what_is_displaced_on_the_way(void **state)
{
    (void)state;
    struct object *o = make_object("displaced", 200000, atomic_load(&ix.purge_seq));
    struct key key = key_of("displaced");
    assert_true(index_publish(&ix, o));
    index_invalidate(&ix, &key);
    assert_true(disk_write(disk, o));
    for (int i = 0; i < WAIT_MAX && !is_over(o); i++) usleep(1000);
    assert_true(is_over(o));
    object_drop(&o);
    assert_gone("displaced");
    restart();
    assert_gone("displaced");
}

/* Three times what fits: the oldest go, but for what was asked for and what is being read. */
static void test_the_log_goes_round(void **state)
{
    (void)state;
    char name[32];
    store("hot", 300000);
    store("pinned", 300000);
    store("cold", 300000);
    evict_all();
    struct stored *hot = find("hot"), *pinned = find("pinned");
    assert_true(stored_pin(&disk->directory, pinned));
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "filler %d", i);
        store(name, 1000000);
        stored_hit(hot);
        evict_all();
    }
    assert_stored("hot", 300000);
    assert_stored("pinned", 300000);
    assert_gone("cold");
    assert_gone("filler 0");
    assert_stored("filler 199", 1000000);
    stored_unpin(pinned);
    stored_drop(&disk->directory, &hot);
    stored_drop(&disk->directory, &pinned);
    restart();
    assert_stored("hot", 300000);
    assert_stored("filler 199", 1000000);
}

/* Appended again, and killed before the catalog knew: the new place is found. */
static void test_the_catalog_catches_up(void **state)
{
    (void)state;
    static char bytes[DISK_VALUE_BYTES];
    char path[128], *at;
    struct disk_value v;
    struct disk_log l;
    uint32_t before, after, found, head_size;
    store("moved", 200000);
    evict_all();
    struct stored *s = find("moved");
    assert_true(stored_locate(&disk->directory, s, 1, &before, &head_size));
    size_t n = read_value(s, 1, bytes, &v);
    stored_drop(&disk->directory, &s);
    close_store();
    snprintf(path, sizeof path, "%s/log", folder);
    assert_int_equal(disk_log_open(&l, path, (size_t)60 << 20), 0);
    assert_int_equal(disk_log_begin(&l), 0);
    assert_int_equal(disk_log_append(&l, n, &at, &after), 0);
    memcpy(at, bytes, n);
    assert_int_equal(disk_log_commit(&l), 0);
    disk_log_close(&l);
    for (int round = 0; round < 2; round++) {
        open_store();
        s = find("moved");
        assert_true(stored_locate(&disk->directory, s, 1, &found, &head_size));
        assert_int_equal(found, after);
        assert_int_not_equal(found, before);
        stored_drop(&disk->directory, &s);
        assert_stored("moved", 200000);
        if (round == 0) close_store();
    }
}

static void write_stamp(const char *from, const char *to)
{
    char path[128], text[256] = "", *at = NULL;
    snprintf(path, sizeof path, "%s/stamp", folder);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    assert_true(n > 0 && (at = strstr(text, from)));
    memcpy(at, to, strlen(to));
    f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

static void test_another_boot(void **state)
{
    (void)state;
    store("before the power went", 1000);
    close_store();
    write_stamp("boot ", "boot x"); /* closed in order: what was before does not matter */
    open_store();
    assert_stored("before the power went", 1000);
    close_store();
    write_stamp("clean", "open ");
    write_stamp("boot ", "boot x");
    open_store();
    assert_gone("before the power went");
}

static void test_another_format(void **state)
{
    (void)state;
    char path[128], format[32];
    struct stat s;
    store("of another format", 1000);
    close_store();
    snprintf(format, sizeof format, "format %u", DISK_FORMAT);
    write_stamp(format, "format 9");
    open_store();
    assert_gone("of another format");
    snprintf(path, sizeof path, "%s/log.format-9", folder);
    assert_int_equal(stat(path, &s), 0);
}

/* What was not to be written when it came is written at its first hit, once. */
static void test_a_hit_in_memory_is_written(void **state)
{
    (void)state;
    struct object *o = make_object("wanted", 1000, atomic_load(&ix.purge_seq));
    size_t before = atomic_load(&disk->directory.count);
    assert_true(index_publish(&ix, o));
    assert_null(atomic_load(&o->write));
    index_touch(&ix, o);
    const struct disk_write *w = atomic_load(&o->write);
    assert_non_null(w);
    wait_over(o);
    for (int i = 0; i < 10; i++) index_touch(&ix, o);
    assert_ptr_equal(atomic_load(&o->write), w);
    assert_int_equal(atomic_load(&disk->directory.count), before + 1);
    object_drop(&o);
    evict_all();
    assert_stored("wanted", 1000);
}

/* A 304 brings a head that does not fit into the value with the body any more: the write is over
 * all the same, or the object could never be evicted. */
static void test_all_that_it_has_is_evicted(void **state)
{
    (void)state;
    unsigned queued;
    struct object *o = make_object("not on the disk", 1000, atomic_load(&ix.purge_seq));
    assert_true(index_publish(&ix, o));
    for (int i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof name, "object %d", i);
        store(name, 1000);
    }
    assert_int_equal(index_evict_stored(&ix, &queued), 100);
    assert_int_equal(queued, 0);
    assert_int_equal(index_evict_stored(&ix, &queued), 0);
    struct key key = key_of("not on the disk");
    struct object *there;
    assert_int_equal(index_variants(&ix, &key, &there, 1), 1);
    assert_ptr_equal(there, o);
    object_drop(&there);
    object_drop(&o);
}

/* Evicted while it is validated: what is on the disk is not waited for at the origin. */
static void test_a_load_joins_no_fetch(void **state)
{
    (void)state;
    store("stale", 1000);
    struct lookup_result fetch = look("stale");
    assert_int_equal(fetch.verdict, LOOKUP_VALIDATE);
    evict_all();
    struct lookup_result load = look("stale"), other = look("stale");
    assert_int_equal(load.verdict, LOOKUP_LOAD);
    assert_ptr_not_equal(load.pending, fetch.pending);
    assert_int_equal(other.verdict, LOOKUP_JOIN);
    assert_ptr_equal(other.pending, load.pending);
    index_release(&ix, load.pending, 0);
    index_release(&ix, fetch.pending, 0);
    object_drop(&fetch.object);
    object_drop(&fetch.pending);
    object_drop(&load.pending);
    object_drop(&other.pending);
}

/* The body that a 304 confirms stays on the disk, though what had it was evicted meanwhile, and
 * though it was loaded again. */
static void test_a_304_keeps_the_place_of_what_was_evicted(void **state)
{
    (void)state;
    for (int loaded = 0; loaded < 2; loaded++) {
        const char *name = loaded ? "loaded again" : "evicted";
        struct key key = key_of(name);
        struct object *old;
        store(name, 1000);
        assert_int_equal(index_variants(&ix, &key, &old, 1), 1);
        evict_all();
        if (loaded) {
            struct stored *place = find(name);
            struct payload *p = payload_new_stored(&disk->directory, place, true);
            budget_charge(&ix.budget, p->cost_bytes);
            struct object *again = object_whole(&key, &ix.budget, 65536, p, &old->head,
                                                &old->freshness, SLICE_NONE, SLICE_NONE, 1);
            assert_true(index_insert_loaded(&ix, again, place));
            stored_drop(&disk->directory, &place);
            payload_drop(p);
            object_drop(&again);
        }
        struct object *o = object_with_payload(old, &old->head, &old->freshness, SLICE_NONE,
                                               SLICE_NONE, atomic_load(&ix.purge_seq));
        assert_true(index_publish(&ix, o));
        object_drop(&o);
        object_drop(&old);
        evict_all();
        assert_stored(name, 1000);
        struct lookup_result load = look(name);
        assert_int_equal(load.verdict, LOOKUP_LOAD);
        index_release(&ix, load.pending, 0);
        object_drop(&load.pending);
    }
}

static void test_a_head_that_has_no_room(void **state)
{
    (void)state;
    struct response head = { .status = 200, .length = 65000 };
    struct freshness fresh = { .lifetime_ms = 60000 };
    struct object *o = make_object("grows", 65000, atomic_load(&ix.purge_seq));
    assert_true(index_publish(&ix, o));
    assert_true(disk_write(disk, o));
    wait_over(o);
    static char longer[2000];
    memset(longer, 'x', sizeof longer);
    fields_add(&head.fields, &arena, FIELD_ETAG, slice_of(longer, sizeof longer));
    struct object *next =
        object_with_payload(o, &head, &fresh, SLICE_NONE, SLICE_NONE, o->purge_seq);
    assert_true(index_publish(&ix, next));
    assert_true(disk_write(disk, next));
    wait_over(next);
    object_drop(&o);
    object_drop(&next);
    evict_all();
    assert_stored("grows", 65000);
}

static void restart_a_read_that_is_out(void)
{
    struct disk_read read = { .state = DISK_READ_UNANSWERED };
    disk_read_start(&read, disk, NULL, STORED_HEAD, NULL, NULL);
}

static void open_a_reader_whose_read_is_out(void)
{
    struct reader reader = { .read = { .state = DISK_READ_UNANSWERED } };
    reader_open(&reader, NULL, NULL, 0, UINT64_MAX);
}

static void test_a_read_that_is_out_cannot_begin_again(void **state)
{
    (void)state;
    assert_true(check_fires(open_a_reader_whose_read_is_out, "DISK_READ_IDLE"));
    assert_true(check_fires(restart_a_read_that_is_out, "DISK_READ_IDLE"));
}

/* Three reads in a row: then it is left alone, until one is answered. */
static void test_a_disk_that_does_not_answer_is_silent(void **state)
{
    (void)state;
    disk_read_unanswered(disk);
    disk_read_unanswered(disk);
    disk_read_answered(disk);
    disk_read_unanswered(disk);
    disk_read_unanswered(disk);
    assert_false(disk_is_silent(disk));
    disk_read_unanswered(disk);
    assert_true(disk_is_silent(disk));
    disk_read_answered(disk);
    assert_false(disk_is_silent(disk));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_reads_back),
        cmocka_unit_test(test_a_hit_in_memory_is_written),
        cmocka_unit_test(test_what_is_forgotten_stays_away),
        cmocka_unit_test(test_slices_go_with_the_whole),
        cmocka_unit_test(test_purges_go_on_from_where_they_were),
        cmocka_unit_test(test_what_is_displaced_on_the_way),
        cmocka_unit_test(test_a_head_that_has_no_room),
        cmocka_unit_test(test_all_that_it_has_is_evicted),
        cmocka_unit_test(test_a_load_joins_no_fetch),
        cmocka_unit_test(test_a_304_keeps_the_place_of_what_was_evicted),
        cmocka_unit_test(test_the_log_goes_round),
        cmocka_unit_test(test_the_catalog_catches_up),
        cmocka_unit_test(test_another_boot),
        cmocka_unit_test(test_another_format),
        cmocka_unit_test(test_variants_on_the_disk_are_told_apart),
        cmocka_unit_test(test_what_has_no_vary_goes_for_any_variant),
        cmocka_unit_test(test_a_read_that_is_out_cannot_begin_again),
        cmocka_unit_test(test_a_disk_that_does_not_answer_is_silent),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
