/* The grammar of the configuration file, and how its mistakes are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "edge/base/conf.h"

struct parsed {
    struct arena arena;
    struct conf_report report;
    struct conf_item *root;
};

static void parse(struct parsed *p, struct slice text)
{
    arena_init(&p->arena, 1024);
    conf_report_init(&p->report, "error", text, "t", &p->arena);
    p->root = conf_parse(&p->report, &p->arena);
}

/* The tree on one line: name(argument,argument){...} */
static void write_items(const struct conf_item *item, FILE *out)
{
    for (; item; item = item->next) {
        fprintf(out, "%.*s(", SLICE_ARGS(item->name.text));
        for (size_t i = 0; i < item->arg_count; i++)
            fprintf(out, "%s%.*s", i ? "," : "", SLICE_ARGS(item->args[i].text));
        fputc(')', out);
        if (item->has_block) fputc('{', out);
        write_items(item->children, out);
        if (item->has_block) fputc('}', out);
    }
}

static void assert_tree(const char *text, const char *wanted)
{
    struct parsed p;
    char got[512] = "";
    FILE *out = fmemopen(got, sizeof got, "w");
    parse(&p, slice_str(text));
    assert_int_equal(p.report.count, 0);
    write_items(p.root->children, out);
    fclose(out);
    assert_string_equal(got, wanted);
    arena_free(&p.arena);
}

static void assert_report(const char *text, const char *wanted)
{
    struct parsed p;
    char got[4096] = "";
    FILE *out = fmemopen(got, sizeof got, "w");
    parse(&p, slice_str(text));
    conf_report_print(&p.report, out);
    fclose(out);
    assert_string_equal(got, wanted);
    arena_free(&p.arena);
}

static void test_tree(void **state)
{
    (void)state;
    assert_tree("", "");
    assert_tree("# only a comment", "");
    assert_tree("a;b c;", "a()b(c)");
    assert_tree("a b c{d;e f;}g;", "a(b,c){d()e(f)}g()");
    assert_tree("a{}b{ c{} }", "a(){}b(){c(){}}");
    assert_tree("a b#c # comment ; {\n;", "a(b#c)");
    assert_tree("a\r\n\tb\r\n;\r\n", "a(b)");
    assert_tree("\xef\xbb\xbf"
                "a;",
                "a()");
    assert_tree("a \"\" \"x ;{}#y\" \"\\\"\\\\\\n\";", "a(,x ;{}#y,\"\\\n)");
    assert_tree("a '' 'x ;{}#y\"' '\\n\\' \"it's\" it's;", "a(,x ;{}#y\",\\n\\,it's,it's)");
}

static void test_words_end_in_nul_and_know_their_place(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, SLICE("one\n  \"t\\\"wo\" three\n four;"));
    const struct conf_word *args = p.root->children->args;
    assert_int_equal(p.root->children->arg_count, 3);
    assert_string_equal(args[0].text.p, "t\"wo");
    assert_true(args[0].quoted && args[0].first_of_line);
    assert_int_equal(args[0].at.offset, 6);
    assert_int_equal(args[0].at.bytes, 7);
    assert_string_equal(args[1].text.p, "three");
    assert_false(args[1].quoted || args[1].first_of_line);
    assert_int_equal(args[2].line, 3);
    assert_true(args[2].first_of_line);
    arena_free(&p.arena);
}

static void test_many_arguments_keep_their_order(void **state)
{
    (void)state;
    char text[8192];
    size_t n = (size_t)snprintf(text, sizeof text, "a");
    for (int i = 0; i < 1000; i++) n += (size_t)snprintf(text + n, sizeof text - n, " %d", i);
    text[n++] = ';';
    struct parsed p;
    parse(&p, slice_of(text, n));
    assert_int_equal(p.root->children->arg_count, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(atoi(p.root->children->args[i].text.p), i);
    arena_free(&p.arena);
}

static void test_reports(void **state)
{
    (void)state;
    assert_report("a b", "t:1:4: error: \";\" is missing after \"b\"\n    1 | a b\n      |    ^\n");
    assert_report("x;\n}", "t:2:1: error: this \"}\" closes nothing\n    2 | }\n      | ^\n");
    assert_report("a {\n\tb {}",
                  "t:1:1: error: the block of \"a\" is never closed\n    1 | a {\n      | ^\n");
    /* Two columns wide in bytes, one on the screen. */
    assert_report("\xc3\xa9 \"x", "t:1:4: error: the string does not end on its line\n"
                                  "    1 | \xc3\xa9 \"x\n"
                                  "      |   ^^ add the closing quote\n");
    /* No escape sequence reaches the terminal. */
    assert_report("a\x1b[2J;", "t:1:2: error: a control byte\n"
                               "    1 | a [2J;\n"
                               "      |  ^\n");
}

static void test_nul_is_a_control_byte(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, slice_of("a b\0c;", 6));
    assert_int_equal(p.report.count, 1);
    assert_int_equal(p.report.errors[0].at.offset, 3);
    assert_true(p.root->children->damaged);
    arena_free(&p.arena);
    parse(&p, slice_of("a \"b\0c\";", 8));
    assert_int_equal(p.report.count, 1);
    arena_free(&p.arena);
}

static void test_first_ten_are_kept_in_order(void **state)
{
    (void)state;
    struct arena a;
    struct conf_report r;
    arena_init(&a, 1024);
    conf_report_init(&r, "error", SLICE("0123456789abcdef"), "t", &a);
    static const unsigned char offsets[] = { 15, 3, 14, 1, 13, 5, 12, 7, 11, 9, 10, 2, 8, 4, 6, 0 };
    for (size_t i = 0; i < sizeof offsets; i++)
        conf_fail(&r, (struct conf_span){ offsets[i], 1 }, NULL, "%u", offsets[i]);
    assert_int_equal(r.count, CONF_ERRORS_MAX);
    assert_int_equal(r.dropped, 6);
    for (size_t i = 0; i < r.count; i++) {
        assert_int_equal(r.errors[i].at.offset, i);
        assert_int_equal(atoi(r.errors[i].message.p), i);
    }
    arena_free(&a);
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    char text[100000];
    memset(text, '{', sizeof text);
    for (size_t i = 0; i < sizeof text; i += 2) text[i] = 'a';
    struct parsed p;
    parse(&p, slice_of(text, sizeof text));
    assert_null(p.root);
    assert_int_equal(p.report.count, 1);
    arena_free(&p.arena);
}

static void test_suggestions(void **state)
{
    (void)state;
    static const struct {
        const char *word, *best;
    } cases[] = {
        { "memroy", "memory" },
        { "memor", "memory" },
        { "Memory", "memory" },
        { "mmeory", "memory" },
        { "orgin", "origin" },
        { "xyzzy", "" },
        { "m", "" },
        { "", "" },
        { "windwo", "window" },
        { "original", "origin" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct conf_suggestion s = conf_suggest(slice_str(cases[i].word));
        conf_suggest_offer(&s, SLICE("memory"));
        conf_suggest_offer(&s, SLICE("origin"));
        conf_suggest_offer(&s, SLICE("window"));
        assert_true(slice_eq(s.best, slice_str(cases[i].best)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_words_end_in_nul_and_know_their_place),
        cmocka_unit_test(test_many_arguments_keep_their_order),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_nul_is_a_control_byte),
        cmocka_unit_test(test_first_ten_are_kept_in_order),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_suggestions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
