/* What nghttp2 calls. Nothing is sent from in here, and no stream is freed: h2_update does the
 * first when nghttp2 has done, the loop the second. */
#include "edge/base/check.h"
#include "edge/base/error.h"
#include "edge/base/pool.h"
#include "protocols/h2/connection.h"

#define CONTINUATIONS 8   /* of one head (CVE-2024-27316) */
#define ACKS_QUEUED   100 /* of pings and settings, before the connection ends */
#define WINDOWS       8   /* of streams, that the connection's makes */

static struct h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* ---- what the client sends ---- */

/* Requests whose streams are gone may still be on their way through the edge: resetting them does
 * not make room for more. A response that is queued does, once: its client may have it before the
 * kernel says so. */
static bool may_open(const struct h2_server *s)
{
    unsigned most = h2_limits(s)->streams;
    return !s->goaway && s->stream_count - s->queued_count < most && s->stream_count < 2 * most;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_server *s = user;
    int32_t id = frame->hd.stream_id;
    s->head_open = id;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        struct h2_stream *st = stream_of(session, id);
        if (!st || st->ended) return 0;
        st->section = arena_alloc(&st->x.arena, sizeof *st->section);
        pseudo_begin_trailers(st->section, h2_limits(s), &st->x.arena);
        return 0;
    }
    if (may_open(s))
        nghttp2_session_set_stream_user_data(session, id, h2_stream_open(s, id));
    else
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    return 0;
}

/* What is too much is not kept, but counted: a field that refers to the client's table costs it a
 * byte. After a flood nghttp2 only unpacks what is left of the head. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    (void)flags;
    struct h2_server *s = user;
    struct h2_stream *st = stream_of(session, frame->hd.stream_id);
    if (!st || !st->section) return 0;
    pseudo_field(st->section, slice_of((const char *)name, name_n),
                 slice_of((const char *)value, value_n));
    if (st->section->error == -E_HEADER_TOO_LARGE) h2_waste(s, FLOOD_HEADERS);
    return s->flooded ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

/* nghttp2 would leave it out: what is no field is no request. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_n, const uint8_t *value,
                             size_t value_n, uint8_t flags, void *user)
{
    (void)name, (void)name_n, (void)value, (void)value_n, (void)flags, (void)user;
    struct h2_stream *st = stream_of(session, frame->hd.stream_id);
    if (st && st->section && !st->section->error) st->section->error = -E_BAD_REQUEST;
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t n, void *user)
{
    (void)flags, (void)user;
    struct h2_stream *st = stream_of(session, id);
    if (st)
        h2_stream_data(st, slice_of((const char *)data, n));
    else
        nghttp2_session_consume(session, id, n);
    return 0;
}

static void take_headers(struct h2_server *s, struct h2_stream *st, bool ended)
{
    s->head_open = 0;
    if (st && st->section) h2_stream_section_end(st, ended);
    if (st && ended) h2_stream_input_end(st);
}

static void take_data(struct h2_stream *st, const nghttp2_frame *frame)
{
    if (st && frame->hd.flags & NGHTTP2_FLAG_END_STREAM) h2_stream_input_end(st);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_server *s = user;
    struct h2_stream *st = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id) : NULL;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS: take_headers(s, st, frame->hd.flags & NGHTTP2_FLAG_END_STREAM); break;
    case NGHTTP2_DATA: take_data(st, frame); break;
    case NGHTTP2_SETTINGS: s->greeted = true; break;
    default: break;
    }
    return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int code,
                            void *user)
{
    (void)session, (void)code;
    struct h2_server *s = user;
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    s->head_open = 0;
    h2_frames_expect_late(&s->frames, frame->hd.stream_id);
    return 0;
}

/* ---- what is sent ---- */

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_server *s = user;
    uint8_t type = frame->hd.type;
    if (type == NGHTTP2_DATA) h2_frames_sent_data(&s->frames, frame->hd.length);
    if (type == NGHTTP2_RST_STREAM) {
        if (nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) != 1)
            h2_frames_expect_late(&s->frames, frame->hd.stream_id);
        uint32_t code = frame->rst_stream.error_code;
        if (code != NGHTTP2_NO_ERROR && code != NGHTTP2_INTERNAL_ERROR) h2_waste(s, FLOOD_ERROR);
    } else if (type == NGHTTP2_DATA || type == NGHTTP2_HEADERS) {
        struct h2_stream *st = stream_of(session, frame->hd.stream_id);
        if (!st || st->ended || !st->answering) return 0;
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
            st->queued = true;
            s->queued_count++;
        }
        if (type == NGHTTP2_HEADERS)
            s->heading = st; /* fill_queue gets its bytes only now */
        else
            h2_response_queued(st);
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)code;
    struct h2_server *s = user;
    struct h2_stream *st = stream_of(session, id);
    if (s->head_open == id) s->head_open = 0;
    if (st) h2_stream_closed(st);
    return 0;
}

/* A frame and its header are to fill one block, which becomes one TLS record. nghttp2 takes less
 * where the windows want less. */
static nghttp2_ssize frame_bytes(nghttp2_session *session, uint8_t type, int32_t id,
                                 int32_t connection_window, int32_t stream_window,
                                 uint32_t frame_max, void *user)
{
    (void)session, (void)type, (void)id, (void)connection_window, (void)stream_window, (void)user;
    return frame_max < H2_DATA_BYTES ? frame_max : H2_DATA_BYTES;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t n,
                     nghttp2_data_source *source, void *user)
{
    (void)source, (void)user;
    /* The frame may have waited for room, and its exchange ended meanwhile. */
    struct h2_stream *st = stream_of(session, frame->hd.stream_id);
    if (!st || st->ended) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return h2_response_write(st, head, n) ? 0 : NGHTTP2_ERR_WOULDBLOCK;
}

/* ---- the session ---- */

static nghttp2_mem memory = POOL_MEMORY;
static nghttp2_session_callbacks *callbacks;
static nghttp2_option *options;

__attribute__((constructor)) static void prepare_library(void)
{
    CHECK(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&options) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_callbacks_set_data_source_read_length_callback2(callbacks, frame_bytes);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
    nghttp2_option_set_no_auto_window_update(options, 1); /* credit follows the edge's pull */
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_max_continuations(options, CONTINUATIONS);
    nghttp2_option_set_max_outbound_ack(options, ACKS_QUEUED);
    /* Resets have our own budget, which has a counter. */
    nghttp2_option_set_stream_reset_rate_limit(options, UINT32_MAX, UINT32_MAX);
    nghttp2_option_set_builtin_recv_extension_type(options, NGHTTP2_PRIORITY_UPDATE);
}

bool h2_session_open(struct h2_server *s)
{
    const struct http_limits *limits = h2_limits(s);
    if (nghttp2_session_server_new3(&s->session, callbacks, s, options, &memory)) return false;
    nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->streams },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)limits->stream_window_bytes },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->head_bytes },
        { NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 }, /* those of RFC 9218 */
    };
    int rc = nghttp2_submit_settings(s->session, NGHTTP2_FLAG_NONE, settings,
                                     sizeof settings / sizeof *settings);
    int32_t window = (int32_t)limits->stream_window_bytes * WINDOWS;
    return rc == 0 &&
           nghttp2_session_set_local_window_size(s->session, NGHTTP2_FLAG_NONE, 0, window) == 0;
}
