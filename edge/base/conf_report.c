#include "edge/base/conf_report.h"

#include <stdarg.h>

#define LINE_SHOWN_BYTES 120 /* of a longer line only the part around the mistake is shown */
#define MESSAGE_BYTES    400
#define WORD_BYTES       40 /* no directive is longer, so no longer word is near one */

void conf_report_init(struct conf_report *r, const char *severity, struct slice text,
                      const char *name, struct arena *arena)
{
    *r = (struct conf_report){ .severity = severity, .text = text, .name = name, .arena = arena };
}

/* Where an error belongs: after those that stand before it or at the same place. */
static size_t error_place(const struct conf_report *r, size_t offset)
{
    size_t i = r->count;
    while (i > 0 && r->errors[i - 1].at.offset > offset) i--;
    return i;
}

void conf_fail(struct conf_report *r, struct conf_span at, const char *hint, const char *format,
               ...)
{
    size_t place = error_place(r, at.offset);
    if (r->count == CONF_ERRORS_MAX) {
        r->dropped++;
        if (place == CONF_ERRORS_MAX) return;
        r->count--;
    }
    char message[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);

    struct conf_error *e = &r->errors[place];
    memmove(e + 1, e, (r->count - place) * sizeof *e);
    r->count++;
    e->at = at;
    e->message = arena_copy(r->arena, slice_str(message));
    e->hint = hint ? arena_copy(r->arena, slice_str(hint)) : SLICE_NONE;
}

static size_t line_start(struct slice text, size_t offset)
{
    while (offset > 0 && text.p[offset - 1] != '\n') offset--;
    return offset;
}

unsigned conf_line(const struct conf_report *r, size_t offset)
{
    unsigned line = 1;
    for (size_t i = 0; i < offset && i < r->text.n; i++) line += r->text.p[i] == '\n';
    return line;
}

/* A file can hold anything, a terminal should not see it: control bytes become spaces (so a tab is
 * as wide as its caret line assumes), and what does not fit is left out. */
static void print_clean(struct slice s, FILE *out)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        putc(c < 0x20 || c == 0x7f ? ' ' : c, out);
    }
}

/* Bytes that take a column of their own: all but UTF-8 continuations. */
static size_t columns(struct slice s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static void print_run(char c, size_t count, FILE *out)
{
    while (count--) putc(c, out);
}

static void print_source(const struct conf_report *r, const struct conf_error *e, unsigned line,
                         FILE *out)
{
    size_t start = line_start(r->text, e->at.offset);
    struct slice shown = slice_skip(r->text, start);
    shown.n = slice_find(shown, '\n');
    size_t before = e->at.offset - start;
    if (before > LINE_SHOWN_BYTES / 2 && shown.n > LINE_SHOWN_BYTES) {
        size_t cut = before - LINE_SHOWN_BYTES / 2;
        shown = slice_skip(shown, cut);
        before -= cut;
    }
    if (shown.n > LINE_SHOWN_BYTES) shown.n = LINE_SHOWN_BYTES;
    while (shown.n && (shown.p[shown.n - 1] == '\r' || shown.p[shown.n - 1] == ' ')) shown.n--;
    if (before > shown.n) before = shown.n;

    size_t marked = e->at.bytes < shown.n - before ? e->at.bytes : shown.n - before;
    size_t carets = columns(slice_of(shown.p + before, marked));
    fprintf(out, "%5u | ", line);
    print_clean(shown, out);
    fputs("\n      | ", out);
    print_run(' ', columns(slice_of(shown.p, before)), out);
    print_run('^', carets ? carets : 1, out);
    if (e->hint.n) putc(' ', out);
    print_clean(e->hint, out);
    putc('\n', out);
}

void conf_report_print(const struct conf_report *r, FILE *out)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct conf_error *e = &r->errors[i];
        unsigned line = conf_line(r, e->at.offset);
        size_t column = e->at.offset - line_start(r->text, e->at.offset) + 1;
        fprintf(out, "%s:%u:%zu: %s: ", r->name, line, column, r->severity);
        print_clean(e->message, out);
        putc('\n', out);
        print_source(r, e, line, out);
    }
    if (r->dropped) fprintf(out, "%s: %zu more not shown\n", r->name, r->dropped);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: insertions, deletions, changes and swaps of neighbours. Both words at
 * most WORD_BYTES. */
static size_t distance(struct slice a, struct slice b)
{
    size_t row[3][WORD_BYTES + 1];
    for (size_t j = 0; j <= b.n; j++) row[0][j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t *now = row[i % 3], *last = row[(i + 2) % 3], *older = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            bool differs = ascii_lower(a.p[i - 1]) != ascii_lower(b.p[j - 1]);
            now[j] = least(least(now[j - 1], last[j]) + 1, last[j - 1] + differs);
            bool swapped = i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1];
            if (swapped) now[j] = least(now[j], older[j - 2] + 1);
        }
    }
    return row[a.n % 3][b.n];
}

struct conf_suggestion conf_suggest(struct slice word)
{
    /* A third of the letters may be wrong: beyond that the guess would be about another word. */
    return (struct conf_suggestion){ .word = word, .distance = word.n / 3 + 1 + (word.n == 2) };
}

void conf_suggest_offer(struct conf_suggestion *s, struct slice candidate)
{
    if (s->word.n > WORD_BYTES || candidate.n > WORD_BYTES) return;
    size_t d = distance(s->word, candidate);
    if (d >= s->distance) return;
    s->distance = d;
    s->best = candidate;
}

const char *conf_suggest_hint(const struct conf_suggestion *s, struct arena *a)
{
    if (!s->best.n) return NULL;
    return arena_printf(a, "did you mean \"%.*s\"?", CONF_SHOWN(s->best)).p;
}
