#include "edge/base/conf.h"

enum token_kind { TOKEN_WORD, TOKEN_SEMICOLON, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_END };

struct parser {
    struct conf_report *report;
    struct arena *arena;
    struct slice text;
    size_t at;
    unsigned line;
    size_t last_word_line; /* to tell the first word of a line */
    unsigned depth;
    bool unbalanced;
    bool line_lost; /* a string went to the end of the line: take that for the directive's end */

    enum token_kind kind; /* the token in hand */
    struct conf_word word;
    bool word_damaged;
    struct conf_span previous; /* the token before it */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool ends_word(char c)
{
    return is_blank(c) || c == ';' || c == '{' || c == '}';
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && !is_blank(c)) || c == 0x7f;
}

static struct conf_span span(size_t from, size_t to)
{
    return (struct conf_span){ from, to - from };
}

static void skip_blanks(struct parser *p)
{
    bool comment = false;
    for (; p->at < p->text.n; p->at++) {
        char c = p->text.p[p->at];
        if (c == '\n') p->line++;
        if (c == '\n') comment = false;
        if (c == '#') comment = true;
        if (!comment && !is_blank(c)) return;
    }
}

/* One mistake is enough to say about a word. */
static void fail_word(struct parser *p, struct conf_span at, const char *hint, const char *reason)
{
    if (!p->word_damaged) conf_fail(p->report, at, hint, "%s", reason);
    p->word_damaged = true;
}

static void fail_byte(struct parser *p, const char *reason)
{
    fail_word(p, span(p->at, p->at + 1), NULL, reason);
}

static void read_plain(struct parser *p)
{
    size_t start = p->at;
    for (; p->at < p->text.n && !ends_word(p->text.p[p->at]); p->at++) {
        char c = p->text.p[p->at];
        if (is_control(c)) fail_byte(p, "a control byte");
        if (c == '"') fail_byte(p, "a quote within a word");
    }
    p->word.text = arena_copy(p->arena, slice_of(p->text.p + start, p->at - start));
}

/* What a backslash and c stand for; 0 where that is nothing. */
static char unescape(char c)
{
    if (c == 'n') return '\n';
    return c == '"' || c == '\\' ? c : 0;
}

static void read_escape(struct parser *p, char **out)
{
    char c = p->at + 1 < p->text.n ? unescape(p->text.p[p->at + 1]) : 0;
    if (!c) {
        fail_word(p, span(p->at, p->at + 2), "known are \\\" \\\\ and \\n", "unknown escape");
        c = '\\';
        p->at++;
    } else {
        p->at += 2;
    }
    *(*out)++ = c;
}

/* Bytes from here to the quote or the end of the line that ends the string. */
static size_t string_bytes(const struct parser *p, char quote)
{
    size_t at = p->at;
    while (at < p->text.n && p->text.p[at] != '\n' && p->text.p[at] != quote) {
        bool escapes = quote == '"' && p->text.p[at] == '\\';
        at += escapes && at + 1 < p->text.n && p->text.p[at + 1] != '\n' ? 2 : 1;
    }
    return at - p->at;
}

static void read_string_byte(struct parser *p, char quote, char **out)
{
    char c = p->text.p[p->at];
    if (c == '\\' && quote == '"') {
        read_escape(p, out);
        return;
    }
    if (is_control(c)) fail_byte(p, "a control byte");
    *(*out)++ = c;
    p->at++;
}

static void read_quoted(struct parser *p)
{
    char quote = p->text.p[p->at];
    size_t start = p->at++, end = p->at + string_bytes(p, quote);
    char *begin = arena_alloc(p->arena, end - p->at + 1), *out = begin;
    while (p->at < end) read_string_byte(p, quote, &out);
    *out = 0;
    p->word.text = slice_of(begin, (size_t)(out - begin));
    p->word.quoted = true;
    if (p->at == p->text.n || p->text.p[p->at] != quote) {
        fail_word(p, span(start, p->at), "add the closing quote",
                  "the string does not end on its line");
        p->line_lost = true;
        return;
    }
    p->at++;
    if (p->at < p->text.n && !ends_word(p->text.p[p->at]))
        fail_byte(p, "a space or \";\" belongs after a string");
}

static void read_word(struct parser *p)
{
    size_t start = p->at;
    p->word_damaged = false;
    p->word = (struct conf_word){ .line = p->line, .first_of_line = p->line != p->last_word_line };
    if (p->text.p[p->at] == '"' || p->text.p[p->at] == '\'')
        read_quoted(p);
    else
        read_plain(p);
    p->word.at = span(start, p->at);
    p->last_word_line = p->line;
    p->kind = TOKEN_WORD;
}

static void advance(struct parser *p)
{
    p->previous = p->word.at;
    if (p->line_lost) {
        p->line_lost = false;
        p->kind = TOKEN_SEMICOLON;
        return;
    }
    skip_blanks(p);
    p->word.at = span(p->at, p->at + 1);
    if (p->at == p->text.n) {
        p->word.at.bytes = 0;
        p->kind = TOKEN_END;
        return;
    }
    switch (p->text.p[p->at]) {
    case ';': p->kind = TOKEN_SEMICOLON; break;
    case '{': p->kind = TOKEN_OPEN; break;
    case '}': p->kind = TOKEN_CLOSE; break;
    default: read_word(p); return;
    }
    p->at++;
}

/* The place right behind the token before this one: where something was forgotten. */
static struct conf_span behind(const struct parser *p)
{
    size_t end = p->previous.offset + p->previous.bytes;
    return span(end, end);
}

static void read_arguments(struct parser *p, struct conf_item *item)
{
    size_t room = 0;
    for (; p->kind == TOKEN_WORD; advance(p)) {
        item->damaged |= p->word_damaged;
        if (item->arg_count == room) {
            struct conf_word *old = item->args;
            room = room ? room * 2 : 2;
            item->args = arena_alloc(p->arena, room * sizeof *old);
            if (item->arg_count) memcpy(item->args, old, item->arg_count * sizeof *old);
        }
        item->args[item->arg_count++] = p->word;
    }
}

static void read_items(struct parser *p, struct conf_item *parent);

static void read_block(struct parser *p, struct conf_item *item)
{
    item->has_block = true;
    if (p->depth == CONF_DEPTH_MAX) {
        conf_fail(p->report, p->word.at, NULL, "more than %d blocks within one another",
                  CONF_DEPTH_MAX);
        p->unbalanced = true;
        p->at = p->text.n;
    }
    advance(p);
    p->depth++;
    read_items(p, item);
    p->depth--;
    if (p->kind == TOKEN_CLOSE) {
        advance(p);
        return;
    }
    /* The innermost unclosed block is the likeliest culprit, and one message is enough. */
    if (!p->unbalanced)
        conf_fail(p->report, item->name.at, NULL, "the block of \"%.*s\" is never closed",
                  CONF_SHOWN(item->name.text));
    p->unbalanced = true;
}

static struct conf_item *read_item(struct parser *p)
{
    struct conf_item *item = arena_new(p->arena, struct conf_item);
    item->name = p->word;
    item->damaged = p->word_damaged;
    advance(p);
    read_arguments(p, item);
    if (p->kind == TOKEN_OPEN) {
        read_block(p, item);
    } else if (p->kind == TOKEN_SEMICOLON) {
        advance(p);
    } else {
        struct slice last =
            item->arg_count ? item->args[item->arg_count - 1].text : item->name.text;
        conf_fail(p->report, behind(p), NULL, "\";\" is missing after \"%.*s\"", CONF_SHOWN(last));
    }
    return item;
}

/* A ';' or '{' where a name should be. */
static void refuse_token(struct parser *p)
{
    if (p->kind == TOKEN_SEMICOLON) {
        conf_fail(p->report, p->word.at, "a block ends without one",
                  "nothing stands before this \";\"");
        advance(p);
        return;
    }
    conf_fail(p->report, p->word.at, NULL, "a block without a name");
    struct conf_item nameless = { .name = p->word };
    nameless.name.text = SLICE("{");
    read_block(p, &nameless);
}

static void read_items(struct parser *p, struct conf_item *parent)
{
    struct conf_item **end = &parent->children;
    while (p->kind != TOKEN_CLOSE && p->kind != TOKEN_END) {
        if (p->kind != TOKEN_WORD) {
            refuse_token(p);
            continue;
        }
        *end = read_item(p);
        end = &(*end)->next;
        parent->child_count++;
    }
}

struct conf_item *conf_parse(struct conf_report *r, struct arena *a)
{
    struct parser p = { .report = r, .arena = a, .text = r->text, .line = 1 };
    if (r->text.n > CONF_TEXT_MAX) {
        conf_fail(r, span(0, 0), NULL, "larger than %d bytes", CONF_TEXT_MAX);
        return NULL;
    }
    if (slice_starts(p.text, SLICE("\xef\xbb\xbf")))
        p.at = 3; /* some editors mark UTF-8 this way */
    struct conf_item *root = arena_new(a, struct conf_item);
    root->has_block = true;
    advance(&p);
    read_items(&p, root);
    root->name.at = behind(&p);
    if (p.kind == TOKEN_CLOSE) {
        conf_fail(r, p.word.at, NULL, "this \"}\" closes nothing");
        p.unbalanced = true;
    }
    return p.unbalanced ? NULL : root;
}
