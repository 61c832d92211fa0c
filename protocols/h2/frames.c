/* What arrives, frame by frame, before nghttp2 has it: what a frame costs that leads nowhere, and
 * the rules about streams and priorities that nghttp2 passes over. */
#include <stdlib.h>

#include "edge/base/mem.h"
#include "protocols/h2/connection.h"

/* Each frame of ours may be answered by some of these. */
#define WINDOW_UPDATES_FOR_STREAM 4
#define WINDOW_UPDATES_FOR_FRAME  2
#define BYTES_FOR_WINDOW_UPDATE   1024
#define WINDOW_UPDATES_MAX        100000
/* Late DATA that large is bounded by the windows of the streams it belongs to. */
#define LATE_DATA_BYTES 1024

void h2_frames_open(struct h2_frames *f, unsigned streams)
{
    *f = (struct h2_frames){ .left = NGHTTP2_CLIENT_MAGIC_LEN,
                             .unbroken = 1,
                             .highest = -1,
                             .late_max = streams,
                             .window_updates = WINDOW_UPDATES_FOR_STREAM };
}

void h2_frames_free(struct h2_frames *f)
{
    free(f->late);
}

/* ---- streams ---- */

static bool is_late(const struct h2_frames *f, int32_t id)
{
    unsigned n = f->late_count < f->late_max ? f->late_count : f->late_max;
    for (unsigned i = 0; i < n; i++)
        if (f->late[i] == id) return true;
    return false;
}

void h2_frames_expect_late(struct h2_frames *f, int32_t id)
{
    if (is_late(f, id)) return;
    if (!f->late) f->late = xcalloc(f->late_max, sizeof *f->late);
    f->late[f->late_count++ % f->late_max] = id;
}

/* Of the client's streams that are not open: it may still send on one that we have reset, or have
 * not taken since our GOAWAY. Whatever was left out is closed by a higher number, and may not be
 * used any more (RFC 9113 sections 5.1 and 5.1.1). */
static void judge_closed_stream(struct h2_server *s, const nghttp2_frame_hd *h)
{
    struct h2_frames *f = &s->frames;
    bool is_refused =
        s->goaway && h->stream_id > nghttp2_session_get_last_proc_stream_id(s->session);
    if (!is_refused && !is_late(f, h->stream_id))
        h2_fail(s, h->stream_id < f->unbroken ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_STREAM_CLOSED);
    else if (h->type != NGHTTP2_DATA || h->length < LATE_DATA_BYTES)
        h2_waste(s, FLOOD_EMPTY);
}

/* True if it is the first of a stream. */
static bool opens_stream(struct h2_frames *f, const nghttp2_frame_hd *h)
{
    if (h->type != NGHTTP2_HEADERS || h->stream_id <= f->highest) return false;
    if (h->stream_id > f->highest + 2) f->unbroken = h->stream_id;
    f->highest = h->stream_id;
    return true;
}

static void judge_message(struct h2_server *s, const nghttp2_frame_hd *h)
{
    struct h2_frames *f = &s->frames;
    if (h->stream_id % 2 == 0) return; /* nghttp2 knows that */
    if (opens_stream(f, h))
        f->window_updates += WINDOW_UPDATES_FOR_STREAM;
    else if (h->stream_id <= f->highest &&
             nghttp2_session_get_stream_remote_close(s->session, h->stream_id) < 0)
        judge_closed_stream(s, h);
    else if (h->length == 0 && !(h->flags & NGHTTP2_FLAG_END_STREAM))
        h2_waste(s, FLOOD_EMPTY);
}

/* ---- what a frame costs ---- */

void h2_frames_sent_data(struct h2_frames *f, size_t n)
{
    f->window_updates += WINDOW_UPDATES_FOR_FRAME + (unsigned)(n / BYTES_FOR_WINDOW_UPDATE);
    if (f->window_updates > WINDOW_UPDATES_MAX) f->window_updates = WINDOW_UPDATES_MAX;
}

static void judge_window_update(struct h2_server *s)
{
    if (s->frames.window_updates)
        s->frames.window_updates--;
    else
        h2_waste(s, FLOOD_EMPTY);
}

static void judge(struct h2_server *s, const nghttp2_frame_hd *h)
{
    switch (h->type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS: judge_message(s, h); break;
    case NGHTTP2_PRIORITY:
        if (h->stream_id == 0) h2_fail(s, NGHTTP2_PROTOCOL_ERROR);
        h2_waste(s, FLOOD_PRIORITY);
        break;
    case NGHTTP2_PRIORITY_UPDATE:
        if (h->stream_id != 0) h2_fail(s, NGHTTP2_PROTOCOL_ERROR);
        s->prioritises = true;
        h2_waste(s, FLOOD_PRIORITY);
        break;
    case NGHTTP2_RST_STREAM: h2_waste(s, FLOOD_RESET); break;
    case NGHTTP2_SETTINGS:
        if (s->greeted && !(h->flags & NGHTTP2_FLAG_ACK)) h2_waste(s, FLOOD_SETTINGS);
        break;
    case NGHTTP2_PING: h2_waste(s, FLOOD_PING); break; /* we send none to be acknowledged */
    case NGHTTP2_WINDOW_UPDATE: judge_window_update(s); break;
    case NGHTTP2_PUSH_PROMISE:
    case NGHTTP2_GOAWAY:
    case NGHTTP2_CONTINUATION: break;
    default: h2_waste(s, FLOOD_EMPTY); break; /* unknown */
    }
}

/* A stream does not depend on itself (RFC 7540 section 5.3.1), and there is no stream 0 to have a
 * priority (RFC 9218 section 7.1). */
static void judge_priority(struct h2_server *s, const nghttp2_frame_hd *h, int32_t about)
{
    bool breaks_rule = (h->type == NGHTTP2_PRIORITY && about == h->stream_id) ||
                       (h->type == NGHTTP2_PRIORITY_UPDATE && about == 0);
    if (breaks_rule) h2_fail(s, NGHTTP2_PROTOCOL_ERROR);
}

/* ---- frames taken apart ---- */

static uint32_t number(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The frame's head, and where there are any the first four bytes of its payload, wherever what
 * arrived is cut. */
static size_t take(struct h2_frames *f, size_t upto, struct slice bytes)
{
    size_t n = upto - f->seen_n < bytes.n ? upto - f->seen_n : bytes.n;
    memcpy(f->seen + f->seen_n, bytes.p, n);
    f->seen_n += n;
    return n;
}

static size_t take_head(struct h2_server *s, struct slice bytes)
{
    struct h2_frames *f = &s->frames;
    size_t n = take(f, H2_FRAME_HEAD_BYTES, bytes);
    if (f->seen_n < H2_FRAME_HEAD_BYTES) return n;
    f->head = (nghttp2_frame_hd){ .length = number(f->seen) >> 8,
                                  .type = f->seen[3],
                                  .flags = f->seen[4],
                                  .stream_id = (int32_t)(number(f->seen + 5) & INT32_MAX) };
    f->left = f->head.length;
    judge(s, &f->head);
    return n;
}

static size_t take_payload(struct h2_server *s, struct slice bytes)
{
    struct h2_frames *f = &s->frames;
    size_t n = f->left < bytes.n ? f->left : bytes.n;
    if (f->seen_n >= H2_FRAME_HEAD_BYTES && f->seen_n < sizeof f->seen) {
        take(f, sizeof f->seen, slice_of(bytes.p, n));
        if (f->seen_n == sizeof f->seen)
            judge_priority(s, &f->head,
                           (int32_t)(number(f->seen + H2_FRAME_HEAD_BYTES) & INT32_MAX));
    }
    f->left -= n;
    return n;
}

/* How many of these bytes belong to one frame. */
static size_t take_frame(struct h2_server *s, struct slice bytes)
{
    struct h2_frames *f = &s->frames;
    size_t n = 0;
    if (f->left == 0 && f->seen_n >= H2_FRAME_HEAD_BYTES) f->seen_n = 0;
    if (f->left == 0) n = take_head(s, bytes);
    return n + take_payload(s, slice_skip(bytes, n));
}

int h2_receive(struct h2_server *s, struct slice bytes)
{
    nghttp2_ssize n = 0;
    s->receiving = true;
    while (bytes.n && n >= 0 && !s->flooded) {
        struct slice piece = slice_of(bytes.p, take_frame(s, bytes));
        if (s->goaway == GOAWAY_FAILED) break;
        n = nghttp2_session_mem_recv2(s->session, (const uint8_t *)piece.p, piece.n);
        bytes = slice_skip(bytes, piece.n);
    }
    s->receiving = false;
    return n < 0 ? (int)n : 0;
}
