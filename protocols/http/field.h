/* field: one field line of a message, and a list of them in the order received.
 *
 * Names and values are slices into memory that lives as long as the message (a request's arena, an
 * object's head). A list belongs to one message and one thread, or is immutable. Knows names and
 * their properties (field.def), not what the values mean: that is protocols/http/value.h and its
 * neighbours. */
#ifndef VERGE_PROTOCOLS_HTTP_FIELD_H
#define VERGE_PROTOCOLS_HTTP_FIELD_H

#include "edge/base/arena.h"
#include "edge/base/slice.h"

enum field_id {
    FIELD_OTHER = 0,
#define FIELD(id, name, flags) FIELD_##id,
#include "protocols/http/field.def"
#undef FIELD
    FIELD_COUNT
};

enum field_flags {
    FIELD_HOP = 1,
    FIELD_FRAMING = 2,
    FIELD_LIST = 4,
    FIELD_SINGLE = 8,
    FIELD_END = 16,
    FIELD_IN_TRAILERS = 32,
    FIELD_CLAIM = 64,
};

struct field {
    struct slice name;  /* as received; compare by id, or without case */
    struct slice value; /* without white space at both ends */
    uint16_t id;        /* enum field_id */
};

struct fields {
    struct field *v;
    uint32_t n, cap;
};

/* Id of a name in any case; FIELD_OTHER where field.def does not have it. One probe and one
 * compare: a few nanoseconds. */
enum field_id field_lookup(struct slice name);
struct slice field_name(enum field_id id); /* canonical spelling */
struct slice field_name_lower(enum field_id id);
unsigned field_flags(enum field_id id); /* enum field_flags, or-ed; 0 for FIELD_OTHER */

/* Appends; grows in the arena. The slices are kept, not copied. */
void fields_add(struct fields *f, struct arena *a, enum field_id id, struct slice value);
void fields_add_named(struct fields *f, struct arena *a, struct slice name, struct slice value);

/* First line with that id or name, NULL where there is none. */
const struct field *fields_get(const struct fields *f, enum field_id id);
const struct field *fields_get_named(const struct fields *f, struct slice name);
/* Value of the first line, or an empty slice with p == NULL. */
struct slice fields_value(const struct fields *f, enum field_id id);
bool fields_has(const struct fields *f, enum field_id id);
unsigned fields_count(const struct fields *f, enum field_id id);
/* All lines of that id joined with ", " (RFC 9110 section 5.3); one line is returned as it is,
 * without a copy. */
struct slice fields_joined(const struct fields *f, enum field_id id, struct arena *a);
struct slice fields_joined_named(const struct fields *f, struct slice name, struct arena *a);

/* Removes every line with that id or name; the order of the others stays. */
void fields_remove(struct fields *f, enum field_id id);
void fields_remove_named(struct fields *f, struct slice name);
/* Does a pattern stand for that name? It is a name, or ends in a '*' and stands for all that begin
 * so. Without case. */
bool field_name_matches(struct slice pattern, struct slice name);
void fields_remove_matching(struct fields *f, struct slice pattern);
/* Every line that a comma-separated list of names has. */
void fields_remove_listed(struct fields *f, struct slice names);
/* Removes all, then appends one line. */
void fields_set(struct fields *f, struct arena *a, enum field_id id, struct slice value);

/* Removes what must not pass a hop: the fields flagged HOP and every field that Connection names,
 * but for those flagged END. RFC 9110 section 7.6.1. */
void fields_remove_hop_by_hop(struct fields *f);
/* Removes from a trailer section what has no business there: framing, routing, authentication,
 * cookies, caching, and whatever else is known by name but for what is flagged IN_TRAILERS (RFC
 * 9110 section 6.5.1). What a name like that decides is decided by heads alone. */
void fields_remove_misplaced(struct fields *trailers);

#endif
