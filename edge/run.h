/* run: the life of a node, on the main thread: start, signals, end. */
#ifndef VERGE_EDGE_RUN_H
#define VERGE_EDGE_RUN_H

#define EXIT_SYSTEM 1 /* the system does not give what is needed */
#define EXIT_WRONG  2 /* command line or configuration */

/* Serves until a signal ends it. file: the configuration; NULL: the built-in one before the origin,
 * with a disk cache in disk_folder unless that is NULL.
 * HUP reads the file again, USR1 opens the logs anew, QUIT finishes what is in flight, TERM and INT
 * do not. Returns the exit status, after having said on standard error why it is not 0. Once per
 * process. */
int run(const char *file, const char *origin, const char *disk_folder);

#endif
