/* mem: allocation that cannot fail, for small things of our own. Anything whose size or number a
 * client decides goes through a limit first (a pool, a cap, the cache budget); those return NULL,
 * which means "not now". Any thread. */
#ifndef VERGE_BASE_MEM_H
#define VERGE_BASE_MEM_H

#include <stddef.h>

/* As malloc, calloc, realloc, strdup, strndup; end the process with one line when memory is out. */
void *xmalloc(size_t size_bytes);
void *xcalloc(size_t count, size_t size_bytes);
void *xrealloc(void *p, size_t size_bytes);
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t size_bytes);

#endif
