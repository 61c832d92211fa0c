#include "edge/config.h"

#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/mem.h"
#include "edge/config_builder.h"

#define TEXT_CHUNK_BYTES (32 * 1024)
#define READ_BYTES       (64 * 1024)

static _Atomic uint64_t generations;

static struct config *new_config(void)
{
    struct config *c = xcalloc(1, sizeof *c);
    arena_init(&c->arena, TEXT_CHUNK_BYTES);
    atomic_init(&c->references, 1);
    return c;
}

static struct slice warnings_text(const struct conf_report *r, struct arena *a)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = r->count ? open_memstream(&text, &bytes) : NULL;
    if (!out) return SLICE("");
    conf_report_print(r, out);
    fclose(out);
    struct slice kept = arena_copy(a, slice_of(text, bytes));
    free(text);
    return kept;
}

/* Consumes c, whose text has been set. */
static struct config *build(struct config *c, const char *name, FILE *errors)
{
    struct config_builder b = { .config = c };
    conf_report_init(&b.report, "error", c->text, name, &c->arena);
    conf_report_init(&b.warnings, "warning", c->text, name, &c->arena);
    struct conf_item *root = conf_parse(&b.report, &c->arena);
    if (root) {
        config_build_block(&b, CONTEXT_TOP, root, c);
        config_build_listens(&b, root);
    }
    if (b.report.count) {
        conf_report_print(&b.report, errors);
        config_drop(&c);
        return NULL;
    }
    config_doubt(&b, root);
    c->warnings = warnings_text(&b.warnings, &c->arena);
    c->generation = atomic_fetch_add(&generations, 1) + 1;
    return c;
}

struct config *config_parse(struct slice text, const char *name, FILE *errors)
{
    struct config *c = new_config();
    c->text = arena_copy(&c->arena, text);
    return build(c, name, errors);
}

/* All of a stream, at most one byte more than a configuration may have; false where reading fails.
 */
static bool read_all(FILE *in, char **text, size_t *bytes)
{
    size_t room = 0, got;
    do {
        if (*bytes == room) *text = xrealloc(*text, room += READ_BYTES);
        got = fread(*text + *bytes, 1, room - *bytes, in);
        *bytes += got;
    } while (got && *bytes <= CONF_TEXT_MAX);
    return !ferror(in);
}

struct config *config_load(const char *path, FILE *errors)
{
    char *text = NULL;
    size_t bytes = 0;
    struct config *c = NULL;
    FILE *in = fopen(path, "re");
    if (in && read_all(in, &text, &bytes))
        c = config_parse(slice_of(text, bytes), path, errors);
    else
        fprintf(errors, "%s: error: cannot be read: %m\n", path);
    if (in) fclose(in);
    free(text);
    return c;
}

struct config *config_hold(struct config *c)
{
    atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
    return c;
}

void config_drop(struct config **c)
{
    struct config *old = *c;
    *c = NULL;
    if (!old) return;
    unsigned before = atomic_fetch_sub_explicit(&old->references, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before > 1) return;
    for (size_t i = 0; i < old->certificate_count; i++) tls_context_drop(&old->certificates[i]);
    for (size_t i = 0; i < old->connector_count; i++) tls_connector_free(&old->connectors[i]);
    arena_free(&old->arena);
    free(old);
}
