#include "cache/disk_read.h"

#include <string.h>

#include "edge/base/check.h"
#include "edge/base/metrics.h"
#include "edge/io/worker.h"

#define TRIES_MAX 3 /* of a value that moves while it is read */

/* Where the value is now, and a block for it. */
static bool locate(struct disk_read *r)
{
    uint32_t size;
    if (!stored_locate(&r->disk->directory, r->stored, r->chunk, &r->page, &size)) return false;
    if (!size) size = disk_chunk_size(r->stored->body_bytes, r->chunk);
    if (r->block && r->block->size_bytes == size) return true;
    if (r->block) block_release(r->block);
    r->block = block_new(size);
    return r->block;
}

/* Also of a read that was given up, when it ends after all: then nobody is told. */
static void finish(struct disk_read *r, const char *fault)
{
    struct block *block = r->block;
    struct stored *s = r->stored;
    bool awaited = r->state == DISK_READ_OUT;
    r->block = NULL;
    r->stored = NULL;
    r->state = DISK_READ_IDLE;
    timer_cancel(&r->patience);
    if (awaited)
        disk_read_answered(r->disk);
    else
        stored_set_flags(&r->disk->directory, s, 0, STORED_SILENT);
    if (fault && awaited) disk_read_failed(r->disk, s, fault);
    if (block && (fault || !awaited)) {
        block_release(block);
        block = NULL;
    }
    stored_drop(&r->disk->directory, &s);
    if (awaited) r->done(r, block);
}

/* The system may still write to the block. What is there may well be right: it is left alone until
 * this read ends. */
static void on_patience_over(struct timer *t)
{
    struct disk_read *r = container_of(t, struct disk_read, patience);
    r->state = DISK_READ_UNANSWERED;
    stored_set_flags(&r->disk->directory, r->stored, STORED_SILENT, 0);
    disk_read_unanswered(r->disk);
    r->done(r, NULL);
}

static void arm(struct disk_read *r)
{
    uint64_t at = disk_log_offset(r->page) + r->got;
    op_read_at(r->op.scope->worker, &r->op, atomic_load(&r->disk->fd), r->block->data + r->got,
               r->block->size_bytes - r->got, at);
}

/* Where it has moved meanwhile, there is another chance. */
static bool try_again(struct disk_read *r)
{
    uint32_t page = r->page;
    bool awaited = r->state == DISK_READ_OUT;
    if (!awaited || ++r->tries >= TRIES_MAX || !locate(r) || page == r->page) return false;
    r->got = 0;
    arm(r);
    return true;
}

static void on_read(struct op *op, const struct op_result *result)
{
    struct disk_read *r = container_of(op, struct disk_read, op);
    if (result->result > 0) r->got += (uint32_t)result->result;
    bool whole = r->got == r->block->size_bytes;
    if (result->result > 0 && !whole) {
        arm(r);
        return;
    }
    struct slice bytes = slice_of(r->block->data, r->got);
    if (whole && disk_value_check(bytes, r->stored, r->chunk, &r->value)) {
        metric_add(METRIC_DISK_READ_BYTES, r->got);
        finish(r, NULL);
    } else if (!try_again(r)) {
        finish(r, result->result < 0 ? strerror(-result->result)
                  : whole            ? "it is not what was written"
                                     : "the file ends before it");
    }
}

/* Without a block, or a place to read from, there still is a turn before done. */
static void on_not_begun(struct note *n)
{
    struct disk_read *r = container_of(n, struct disk_read, note);
    struct scope *scope = r->op.scope;
    finish(r, "its place is not known");
    scope_leave(scope);
}

/* Likewise where the disk is left alone. */
static void on_refused(struct note *n)
{
    struct disk_read *r = container_of(n, struct disk_read, note);
    struct scope *scope = r->op.scope;
    stored_drop(&r->disk->directory, &r->stored);
    r->state = DISK_READ_UNANSWERED;
    r->done(r, NULL);
    r->state = DISK_READ_IDLE;
    scope_leave(scope);
}

void disk_read_start(struct disk_read *r, struct disk *d, struct stored *s, uint32_t chunk,
                     struct scope *scope, void (*done)(struct disk_read *r, struct block *block))
{
    CHECK(r->state == DISK_READ_IDLE && !r->op.armed);
    *r = (struct disk_read){
        .state = DISK_READ_OUT, .disk = d, .stored = stored_hold(s), .chunk = chunk, .done = done
    };
    op_init(&r->op, scope, on_read);
    timer_init(&r->patience, on_patience_over);
    bool refused = disk_is_silent(d);
    if (!refused && locate(r)) {
        struct worker *w = scope->worker;
        timer_set(&w->wheel, &r->patience, worker_now_ms(w) + DISK_READ_PATIENCE_MS);
        arm(r);
        return;
    }
    r->note.run = refused ? on_refused : on_not_begun;
    scope_enter(scope);
    worker_defer(scope->worker, &r->note);
}
