/* cache_command: `verge cache`: what a running node has in its cache, by its admin listener. */
#ifndef VERGE_EDGE_CACHE_COMMAND_H
#define VERGE_EDGE_CACHE_COMMAND_H

/* argv begins with "cache". Returns the exit code: 0; 1 where nothing was found, the node refused
 * or did not answer; 2 where the command line or the configuration is wrong, said on standard
 * error, but for *wrong: what is to be said with the usage. */
int cache_command(int argc, char **argv, const char **wrong);

#endif
