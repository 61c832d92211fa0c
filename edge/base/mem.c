#include "edge/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_die(void *p)
{
    if (p) return p;
    fputs("verge: out of memory\n", stderr);
    abort();
}

void *xmalloc(size_t size_bytes)
{
    return or_die(malloc(size_bytes ? size_bytes : 1));
}

void *xcalloc(size_t count, size_t size_bytes)
{
    return or_die(calloc(count, size_bytes));
}

void *xrealloc(void *p, size_t size_bytes)
{
    return or_die(realloc(p, size_bytes ? size_bytes : 1));
}

char *xstrdup(const char *text)
{
    return or_die(strdup(text));
}

char *xstrndup(const char *text, size_t size_bytes)
{
    return or_die(strndup(text, size_bytes));
}
