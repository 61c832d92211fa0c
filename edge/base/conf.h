/* conf: the grammar of the configuration file; it knows no directive.
 *
 *     name argument "quoted argument" ...;
 *     name argument ... { directives }        # a comment goes to the end of the line
 *
 * A word ends at white space, ';', '{' or '}'. In double quotes, \" \\ and \n stand for a
 * quote, a backslash and a line feed; in single quotes everything stands for itself. A string ends
 * on its line. The result is a tree in the caller's arena, immutable, its words NUL-terminated. */
#ifndef VERGE_BASE_CONF_H
#define VERGE_BASE_CONF_H

#include "edge/base/conf_report.h"

#define CONF_DEPTH_MAX 16                 /* blocks within blocks */
#define CONF_TEXT_MAX  (16 * 1024 * 1024) /* bytes */

struct conf_word {
    struct slice text; /* without quotes, escapes undone */
    struct conf_span at;
    unsigned line;
    bool quoted;
    bool first_of_line;
};

struct conf_item {
    struct conf_word name;
    struct conf_word *args;
    size_t arg_count;
    bool has_block;
    bool damaged; /* name or arguments are not what they seem: reported, nothing more to say */
    struct conf_item *children; /* first of the block */
    size_t child_count;
    struct conf_item *next;
};

/* Reads the report's text. The result is a nameless item whose block is the whole text; NULL where
 * braces do not match, so that nothing sensible can be said about what belongs where. Mistakes go
 * to the report, and reading goes on behind the next ';' or '}'. */
struct conf_item *conf_parse(struct conf_report *r, struct arena *a);

#endif
