/* config_table: the table of directives (config.def) as data. Constant; any thread. */
#ifndef VERGE_EDGE_CONFIG_TABLE_H
#define VERGE_EDGE_CONFIG_TABLE_H

#include "edge/base/conf.h"

/* Where a directive may stand: one bit each, the kinds of block. */
enum config_context {
    CONTEXT_TOP = 1,
    CONTEXT_CACHE = 2,
    CONTEXT_LIMITS = 4,
    CONTEXT_ADMIN = 8,
    CONTEXT_ORIGIN = 16,
    CONTEXT_SITE = 32,
    CONTEXT_ROUTE = 64,
};

enum config_type {
    TYPE_NUMBER,
    TYPE_SIZE,
    TYPE_DURATION,
    TYPE_SWITCH,
    TYPE_SWITCH_NOT, /* the member is true where the directive is off */
    TYPE_FORM,
    TYPE_BLOCK,
};

enum config_occurs { OCCURS_ONCE = 0, OCCURS_MANY = 1, OCCURS_NEEDED = 2 };

/* What a route makes of its site's. */
enum config_merge { MERGE_REPLACE, MERGE_BEFORE, MERGE_AFTER };

struct config_builder;
struct config_directive;

/* Evaluates one directive whose shape (number of arguments, block) is right. target is what its
 * block builds: a struct config for the top level, cache, limits and admin, a struct config_origin,
 * a struct config_site_build or config_route. */
typedef void (*config_apply)(struct config_builder *b, const struct config_directive *d,
                             const struct conf_item *item, void *target);

struct config_directive {
    const char *name;
    unsigned contexts; /* enum config_context, or-ed */
    enum config_type type;
    const char *syntax; /* of the arguments; NULL: follows from the type */
    size_t args_min, args_max;
    unsigned occurs;      /* enum config_occurs, or-ed */
    const char *fallback; /* the default as it would be written */
    const char *min, *max;
    enum config_merge merge;
    size_t member_offset, member_bytes;
    config_apply apply;
    const char *prose;
};

extern const struct config_directive config_directives[];
extern const size_t config_directive_count;

/* The directive of that name in that context; NULL where there is none. */
const struct config_directive *config_directive_find(struct slice name,
                                                     enum config_context context);
/* The contexts in which a name means something; 0 where it never does. */
unsigned config_directive_contexts(struct slice name);
/* "in cache", "at the top level": for messages. contexts may have several bits: "in site or in
 * route". */
const char *config_context_name(unsigned contexts, char buffer[128]);
/* What the arguments look like. */
const char *config_directive_syntax(const struct config_directive *d);

#endif
