/* sink: a file or stream that is only appended to, by a thread of its own, never by the caller.
 *
 * Producers hand over whole lines, best many at once (a worker's 32 KiB of access log), through a
 * queue with a limit in bytes. What does not fit is dropped and its lines are counted
 * (verge_log_lines_dropped_total): a blocked pipe or a full disk holds up the sink's thread and
 * nobody else. Belongs to whoever opened it; any thread may write and reopen. */
#ifndef VERGE_BASE_SINK_H
#define VERGE_BASE_SINK_H

#include "edge/base/slice.h"

struct sink;

/* path: a file, created where it is missing; "-" or "stdout", "stderr": that stream. queue_bytes:
 * the limit, with about 64 bytes of overhead per write. NULL where the file or the thread cannot be
 * had; errno says why. */
struct sink *sink_open(const char *path, size_t queue_bytes);

/* Queues a copy of text, which ends with a newline and has so many lines. Never blocks: the lock is
 * held for the append only. False where it was dropped, and counted. */
bool sink_write(struct sink *s, struct slice text, unsigned lines);

/* Asks for the file to be opened anew under its path (logrotate, USR1), after the text that is
 * being written; where that fails the old file stays in use and the error log says so. Streams stay
 * as they are. Never blocks. */
void sink_reopen(struct sink *s);

/* Writes out what is queued, for so long at most; drops and counts the rest. Nobody may be using
 * the sink. */
void sink_close(struct sink **s, int64_t wait_ms);

#endif
