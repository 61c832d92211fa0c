/* change: from the configuration in use to another, as a whole or not at all.
 *
 * First everything that can fail is done, beside what runs: the file read, sockets and logs opened.
 * Then every edge changes, which cannot fail. The main thread's; also for the first configuration,
 * which is a change from nothing. */
#ifndef VERGE_EDGE_CHANGE_H
#define VERGE_EDGE_CHANGE_H

#include "edge/base/log.h"
#include "edge/node.h"

#define LOG_QUEUE_BYTES (1024 * 1024)
#define LOG_CLOSE_MS    1000

struct change {
    struct config *config;
    struct listen_sockets *sockets; /* edge_count */
    unsigned edge_count;
    struct sink *access_log; /* new, or the one in use */
};

/* Takes c. False after what is wrong was logged; nothing has happened then. */
bool change_prepare(struct change *ch, const struct node *n, struct config **c);
/* Instead of change_apply. */
void change_undo(struct change *ch, const struct node *n);
/* Returns when every edge uses it. The node must have been started. */
void change_apply(struct change *ch, struct node *n);

/* Reads the file again and says in the error log what came of it; exactly one line where all is
 * well. */
void change_reload(struct node *n, const char *file);

/* Where its error log is: a path for sink_open. */
const char *change_error_path(const struct config *c);
/* Warns where open files are allowed for less than the configuration does. */
void change_check_files(const struct config *c, unsigned edge_count);

#endif
