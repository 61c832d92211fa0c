/* conf_report: what is to be said of one configuration text, mistakes or doubts, kept until it can
 * be told in the order of the file.
 *
 * Owned by whoever reads the text, one thread. Keeps the CONF_ERRORS_MAX that stand first and
 * counts the rest. A message and its hint are copied; the text and the name are borrowed. */
#ifndef VERGE_BASE_CONF_REPORT_H
#define VERGE_BASE_CONF_REPORT_H

#include <stdio.h>

#include "edge/base/arena.h"

#define CONF_ERRORS_MAX 10

/* Where something stands in the text. */
struct conf_span {
    size_t offset, bytes;
};

struct conf_error {
    struct conf_span at;
    struct slice message, hint; /* hint: goes behind the caret; may be empty */
};

struct conf_report {
    const char *severity; /* "error", "warning": of all of them */
    struct slice text;
    const char *name;
    struct arena *arena;
    struct conf_error errors[CONF_ERRORS_MAX]; /* by offset */
    size_t count, dropped;
};

void conf_report_init(struct conf_report *r, const char *severity, struct slice text,
                      const char *name, struct arena *arena);

/* Adds a mistake. hint may be NULL. */
void conf_fail(struct conf_report *r, struct conf_span at, const char *hint, const char *format,
               ...) __attribute__((format(printf, 4, 5)));

/* Line of an offset, from 1. */
unsigned conf_line(const struct conf_report *r, size_t offset);

/* Writes every mistake: name:line:column, the reason, the line, a caret, the hint. Columns are
 * bytes. */
void conf_report_print(const struct conf_report *r, FILE *out);

/* For "%.*s": a word of the text within a message, cut where it is absurdly long. */
#define CONF_SHOWN(s) (int)((s).n < 80 ? (s).n : 80), (s).p

/* The candidate nearest to a mistyped word. */
struct conf_suggestion {
    struct slice word, best; /* best: empty while nothing is near */
    size_t distance;         /* of best: inserted, dropped, changed or swapped letters */
};

struct conf_suggestion conf_suggest(struct slice word);
void conf_suggest_offer(struct conf_suggestion *s, struct slice candidate);
/* 'did you mean "best"?' in the arena; NULL where nothing is near. */
const char *conf_suggest_hint(const struct conf_suggestion *s, struct arena *a);

#endif
