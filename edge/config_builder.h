/* config_builder: a configuration while it is read, and the functions that evaluate its directives.
 *
 * Lives on the stack of config_parse. What the finished generation keeps is in its arena; the rest
 * of the builder is gone when reading ends. One thread. Nothing here is seen outside
 * edge/config*.c. */
#ifndef VERGE_EDGE_CONFIG_BUILDER_H
#define VERGE_EDGE_CONFIG_BUILDER_H

#include "edge/config.h"
#include "edge/config_table.h"

struct config_builder {
    struct config *config;
    struct conf_report report;   /* mistakes: there is no configuration */
    struct conf_report warnings; /* what is allowed, and hardly meant */
    unsigned *origin_lines;      /* of each of config->origins */
    const struct tls_connector
        *system;                     /* one that trusts the system's roots; NULL: none does yet */
    struct config_site_build *sites; /* one for each of config->sites */
    unsigned doubtful; /* contexts whose block, now read, has what was not understood: do not miss
                          anything there */
};

/* An origin with what is needed only until its block is read. */
struct config_origin_build {
    struct config_origin origin; /* first, so that its values are set as they are */
    bool tls, verify;
    const struct conf_word *roots;       /* NULL: the system's */
    const struct conf_word *certificate; /* NULL: none */
    const struct conf_word *key;         /* the same where one file has both */
};

/* A site with what is needed only until its routes are done. */
struct config_site_build {
    struct config_route inherited; /* what routes begin with; first, so that a site's values are set
                                      like a route's */
    struct config_site site;
    bool has_certificate;         /* or one that is wrong, and reported */
    const struct conf_item *item; /* its arguments are site.hosts */
};

/* Evaluates a block: every directive of the table that may stand in that context, in the order of
 * the table, with its default where it is missing. */
void config_build_block(struct config_builder *b, enum config_context context,
                        const struct conf_item *block, void *target);
/* After a site's block: what depends on several of its directives about TLS. */
void config_finish_tls(struct config_builder *b, const struct config_site_build *build);
/* After the top level: what needs all sites (distinct listeners, hosts of each). */
void config_build_listens(struct config_builder *b, const struct conf_item *root);

/* What a directive of other programs is here, as a hint; NULL if the word is none. */
const char *config_foreign_hint(struct slice word);
/* After all else, where there is no mistake: warns of what is allowed, and hardly meant. */
void config_doubt(struct config_builder *b, const struct conf_item *root);

/* An array with room for one more item, the first count being those of old. Doubles, in the arena:
 * an array that was handed on must not be grown by two owners. */
void *config_room(struct config_builder *b, const void *old, size_t count, size_t item_bytes);

/* config_value.c: the units. NULL on success, else the reason, to be read after "\"10x\" ". */
const char *config_read_number(struct slice text, int64_t *out);
const char *config_read_size(struct slice text, int64_t *out);     /* bytes */
const char *config_read_duration(struct slice text, int64_t *out); /* milliseconds */
/* What somebody who wrote this may have meant; NULL where nothing comes to mind. */
const char *config_value_hint(struct config_builder *b, enum config_type type, struct slice text);
/* Which of the words, the last NULL, is near to text; else all of them as given in otherwise. */
const char *config_word_hint(struct config_builder *b, struct slice text, const char *const *words,
                             const char *otherwise);
/* Digits only, at most max. */
bool config_read_digits(struct slice text, uint64_t max, uint64_t *out);
void config_apply_value(struct config_builder *b, const struct config_directive *d,
                        const struct conf_item *item, void *target);

/* config_address.c: as written in listen, server and trusted_proxy. NULL or the reason. */
const char *config_read_listen(struct slice text, struct config_listen *out);
const char *config_read_host_port(struct slice text, struct slice *host, uint16_t *port);
const char *config_read_cidr(struct slice text, struct config_cidr *out);
/* Masks what lies behind the prefix; false where nothing did. */
bool config_cidr_mask(struct config_cidr *c);
/* A reg-name: letters, digits, '-', '_', '.', no empty label. */
bool config_is_host_name(struct slice text);

/* The origin of that name among those read so far; NULL where there is none. */
const struct config_origin *config_origin_find(const struct config_builder *b, struct slice name);
/* As config_read_listen, with the mistake reported. */
void config_take_listen(struct config_builder *b, const struct conf_word *w,
                        struct config_listen *out);

#define VALUE(...)
#define FORM(id, ...)                                                                              \
    void config_apply_##id(struct config_builder *b, const struct config_directive *d,             \
                           const struct conf_item *item, void *target);
#define BLOCK(id, ...) FORM(id, )
#include "edge/config.def"
#undef VALUE
#undef FORM
#undef BLOCK

#endif
