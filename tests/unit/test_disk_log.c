/* disk_log and disk_catalog: values found where they are said to be, in the file itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/directory.h"
#include "cache/disk_catalog.h"

#define LOG_BYTES (8 << 20)

static char folder[64], log_path[96], catalog_path[96];

static int open_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/verge-test-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(log_path, sizeof log_path, "%s/log", folder);
    snprintf(catalog_path, sizeof catalog_path, "%s/catalog", folder);
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    unlink(log_path);
    unlink(catalog_path);
    return rmdir(folder);
}

/* A value of which every byte tells its number. */
static uint32_t append(struct disk_log *l, unsigned number, size_t size_bytes)
{
    char *at;
    uint32_t page;
    assert_int_equal(disk_log_append(l, size_bytes, &at, &page), 0);
    memset(at, (int)(number & 0xff), size_bytes);
    return page;
}

static void assert_in_file(const struct disk_log *l, unsigned number, uint32_t page, size_t size)
{
    char bytes[DISK_VALUE_BYTES];
    assert_int_equal(pread(l->fd, bytes, size, (off_t)disk_log_offset(page)), size);
    for (size_t i = 0; i < size; i++) assert_int_equal((unsigned char)bytes[i], number & 0xff);
}

static void test_values_are_where_they_are_said_to_be(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 2000, 2047, 2048, 4080, 4081, 9000, DISK_VALUE_BYTES };
    struct disk_log l;
    uint32_t pages[8];
    assert_int_equal(disk_log_open(&l, log_path, LOG_BYTES), 0);
    assert_int_equal(disk_log_begin(&l), 0);
    for (unsigned i = 0; i < 8; i++) pages[i] = append(&l, i, sizes[i]);
    assert_int_equal(disk_log_commit(&l), 0);
    for (unsigned i = 0; i < 8; i++) assert_in_file(&l, i, pages[i], sizes[i]);
    disk_log_close(&l);
}

/* Four times what fits goes through it: what is left stays where it was, and the file does not
 * grow. */
static void test_a_log_that_is_full_goes_round(void **state)
{
    (void)state;
    struct disk_log l;
    struct disk_log_oldest oldest;
    struct stat file;
    uint32_t pages[1024];
    unsigned first = 0, next = 0;
    assert_int_equal(disk_log_open(&l, log_path, LOG_BYTES), 0);
    uint64_t limit = l.limit_bytes - (1 << 20);
    while (next < 4 * LOG_BYTES / 65536) {
        assert_int_equal(disk_log_begin(&l), 0);
        for (int i = 0; i < 4; i++, next++) {
            while (l.used_bytes + 65536 > limit) {
                assert_true(disk_log_oldest(&l, &oldest));
                if (first < next && oldest.page == pages[first % 1024]) first++;
                assert_int_equal(disk_log_remove_oldest(&l), 0);
            }
            pages[next % 1024] = append(&l, next, DISK_VALUE_BYTES);
        }
        assert_int_equal(disk_log_commit(&l), 0);
        for (unsigned i = first; i < next; i++)
            assert_in_file(&l, i, pages[i % 1024], DISK_VALUE_BYTES);
    }
    assert_true(first > 0);
    assert_int_equal(fstat(l.fd, &file), 0);
    assert_true(file.st_size <= LOG_BYTES);
    disk_log_close(&l);
}

static void test_what_was_committed_is_there_again(void **state)
{
    (void)state;
    struct disk_log l;
    struct disk_log_oldest oldest;
    unlink(log_path);
    assert_int_equal(disk_log_open(&l, log_path, LOG_BYTES), 0);
    assert_int_equal(disk_log_begin(&l), 0);
    uint32_t page = append(&l, 7, 5000);
    assert_int_equal(disk_log_commit(&l), 0);
    assert_int_equal(disk_log_begin(&l), 0);
    append(&l, 8, 5000);
    disk_log_abort(&l);
    disk_log_close(&l);
    assert_int_equal(disk_log_open(&l, log_path, LOG_BYTES), 0);
    assert_int_equal(disk_log_begin(&l), 0);
    assert_true(disk_log_oldest(&l, &oldest));
    assert_int_equal(oldest.page, page);
    assert_int_equal(oldest.size_bytes, 5000);
    assert_int_equal(l.used_bytes, disk_log_cost(5000));
    assert_int_equal(disk_log_remove_oldest(&l), 0);
    assert_false(disk_log_oldest(&l, &oldest));
    disk_log_abort(&l);
    disk_log_close(&l);
}

static void test_more_than_fits_is_told(void **state)
{
    (void)state;
    struct disk_log l;
    char *at;
    uint32_t page;
    int rc = 0;
    unlink(log_path);
    assert_int_equal(disk_log_open(&l, log_path, 1 << 20), 0);
    assert_int_equal(disk_log_begin(&l), 0);
    for (int i = 0; i < 32 && !rc; i++) rc = disk_log_append(&l, DISK_VALUE_BYTES, &at, &page);
    assert_true(disk_log_is_full(rc));
    disk_log_abort(&l);
    assert_int_equal(disk_log_begin(&l), 0);
    append(&l, 1, 100);
    assert_int_equal(disk_log_commit(&l), 0);
    disk_log_close(&l);
}

static void test_a_file_that_is_none_is_told(void **state)
{
    (void)state;
    struct disk_log l;
    FILE *f = fopen(log_path, "w");
    assert_non_null(f);
    for (int i = 0; i < 20000; i++) fputc('x', f);
    fclose(f);
    assert_true(disk_log_is_corrupt(disk_log_open(&l, log_path, LOG_BYTES)));
}

/* ---- the catalog ---- */

struct seen {
    unsigned count, records;
    uint64_t last_id;
};

static void on_count(void *context, size_t n)
{
    ((struct seen *)context)->count = (unsigned)n;
}

static void on_record(void *context, uint64_t id, const struct disk_record *r,
                      const uint32_t *pages)
{
    struct seen *seen = context;
    assert_true(id > seen->last_id);
    assert_int_equal(r->hash, id * 3);
    assert_int_equal(r->page_count, id % 5);
    for (uint32_t i = 0; i < r->page_count; i++)
        assert_int_equal(pages[i], id == 44 && i == 2 ? 9 : i);
    if (id == 45) assert_int_equal(r->head_page, 77);
    seen->last_id = id;
    seen->records++;
}

static void test_records_come_back(void **state)
{
    (void)state;
    struct disk_catalog c;
    struct seen seen = { 0 };
    static const uint32_t pages[] = { 0, 1, 2, 3, 4 };
    assert_int_equal(disk_catalog_open(&c, catalog_path, 4 << 20), 0);
    assert_int_equal(disk_catalog_begin(&c), 0);
    for (uint64_t id = 1; id <= 1000; id++) {
        struct disk_record r = { .hash = id * 3, .page_count = id % 5 };
        assert_int_equal(disk_catalog_put(&c, id, &r, pages), 0);
    }
    for (uint64_t id = 100; id < 200; id++) assert_int_equal(disk_catalog_remove(&c, id), 0);
    assert_int_equal(disk_catalog_remove(&c, 5000), 0);
    assert_int_equal(disk_catalog_move(&c, 44, 2, 9, 0), 0);
    assert_int_equal(disk_catalog_move(&c, 45, STORED_HEAD, 77, 100), 0);
    assert_int_equal(disk_catalog_move(&c, 5000, 0, 1, 0), 0);
    assert_int_equal(disk_catalog_commit(&c), 0);
    disk_catalog_close(&c);
    assert_int_equal(disk_catalog_open(&c, catalog_path, 4 << 20), 0);
    assert_int_equal(disk_catalog_load(&c, on_count, on_record, &seen), 0);
    assert_int_equal(seen.count, 900);
    assert_int_equal(seen.records, 900);
    disk_catalog_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_where_they_are_said_to_be),
        cmocka_unit_test(test_a_log_that_is_full_goes_round),
        cmocka_unit_test(test_what_was_committed_is_there_again),
        cmocka_unit_test(test_more_than_fits_is_told),
        cmocka_unit_test(test_a_file_that_is_none_is_told),
        cmocka_unit_test(test_records_come_back),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
