#include "protocols/http/inbox.h"

/* The unread bytes move to a new block when there is no room behind them; spans keep the old one.
 */
static bool make_room(struct inbox *in, struct worker *w, size_t n)
{
    if (in->block && in->block->size_bytes - in->end >= n) return true;
    struct slice old = inbox_unread(in);
    size_t need = old.n + n;
    struct block *b = need <= WORKER_BLOCK_BYTES ? worker_block(w) : block_new(need * 2);
    if (!b) return false;
    if (old.n) memcpy(b->data, old.p, old.n);
    worker_block_put(w, &in->block);
    *in = (struct inbox){ .block = b, .end = old.n };
    return true;
}

bool inbox_append(struct inbox *in, struct worker *w, struct slice bytes)
{
    if (!make_room(in, w, bytes.n)) return false;
    memcpy(in->block->data + in->end, bytes.p, bytes.n);
    in->end += bytes.n;
    return true;
}

void inbox_consume(struct inbox *in, struct worker *w, size_t n)
{
    in->at += n;
    if (in->at == in->end) inbox_clear(in, w);
}

void inbox_clear(struct inbox *in, struct worker *w)
{
    worker_block_put(w, &in->block);
    in->at = in->end = 0;
}
