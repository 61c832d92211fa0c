#include "protocols/http/field.h"

#include "protocols/http/value.h"

#define HOP     FIELD_HOP
#define FRAMING FIELD_FRAMING
#define LIST    FIELD_LIST
#define SINGLE  FIELD_SINGLE
#define END     FIELD_END
#define CLAIM   FIELD_CLAIM

#define IN_TRAILERS FIELD_IN_TRAILERS

static const struct {
    struct slice name;
    uint8_t flags;
} known[FIELD_COUNT] = {
    [FIELD_OTHER] = { { "", 0 }, 0 },
#define FIELD(id, name, flags) [FIELD_##id] = { { name, sizeof(name) - 1 }, flags },
#include "protocols/http/field.def"
#undef FIELD
};

#undef HOP
#undef FRAMING
#undef LIST
#undef SINGLE
#undef END
#undef CLAIM
#undef IN_TRAILERS

/* Name to id, open addressing. The multipliers of slot_of were searched so that no two names of
 * field.def share a slot; one that is added later and does collide still works, it costs a second
 * probe. */
enum { SLOT_COUNT = 512 };
static uint8_t slots[SLOT_COUNT];

_Static_assert(FIELD_COUNT < SLOT_COUNT / 4, "ids fit a byte and the table stays sparse");

/* Setting bit 5 folds letters and leaves '-' and digits alone, which is all the known names have.
 */
static unsigned slot_of(struct slice name)
{
    const unsigned char *p = (const unsigned char *)name.p;
    unsigned first = p[0] | 0x20, middle = p[name.n / 2] | 0x20, last = p[name.n - 1] | 0x20;
    return ((unsigned)name.n * 212 + first * 439 + middle * 397 + last * 245) % SLOT_COUNT;
}

enum { NAME_BYTES = 28 };
static char lower_names[FIELD_COUNT][NAME_BYTES];

#define FIELD(id, name, flags)                                                                     \
    _Static_assert(sizeof(name) - 1 <= NAME_BYTES, "a name fits its place in lower_names");
#include "protocols/http/field.def"
#undef FIELD

__attribute__((constructor)) static void fill_tables(void)
{
    for (unsigned id = 1; id < FIELD_COUNT; id++) {
        struct slice name = known[id].name;
        for (size_t i = 0; i < name.n; i++) lower_names[id][i] = ascii_lower(name.p[i]);
        unsigned at = slot_of(known[id].name);
        while (slots[at]) at = (at + 1) % SLOT_COUNT;
        slots[at] = (uint8_t)id;
    }
}

static uint64_t load8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Eight bytes of a known name against eight bytes of input. Only letters have bit 6 set in a known
 * name, and only they may differ, in bit 5; so the compare is exact, never "'\r' equals '-'". */
static uint64_t differ8(uint64_t name, uint64_t input)
{
    return (name ^ input) & ~((name & 0x4040404040404040) >> 1);
}

static bool equals_known(struct slice name, const char *input)
{
    const char *p = name.p;
    if (name.n < 8) return slice_eq_nocase(name, slice_of(input, name.n));
    uint64_t diff = 0;
    for (size_t i = 0; i + 8 < name.n; i += 8) diff |= differ8(load8(p + i), load8(input + i));
    size_t tail = name.n - 8;
    return (diff | differ8(load8(p + tail), load8(input + tail))) == 0;
}

enum field_id field_lookup(struct slice name)
{
    if (name.n == 0) return FIELD_OTHER;
    for (unsigned at = slot_of(name); slots[at]; at = (at + 1) % SLOT_COUNT) {
        unsigned id = slots[at];
        if (known[id].name.n == name.n && equals_known(known[id].name, name.p)) return id;
    }
    return FIELD_OTHER;
}

struct slice field_name_lower(enum field_id id)
{
    return slice_of(lower_names[id], known[id].name.n);
}

struct slice field_name(enum field_id id)
{
    return known[id].name;
}

unsigned field_flags(enum field_id id)
{
    return known[id].flags;
}

static void append(struct fields *f, struct arena *a, struct field line)
{
    if (f->n == f->cap) {
        uint32_t cap = f->cap ? f->cap * 2 : 16;
        struct field *v = arena_alloc(a, cap * sizeof *v);
        if (f->n) memcpy(v, f->v, f->n * sizeof *v);
        f->v = v;
        f->cap = cap;
    }
    f->v[f->n++] = line;
}

void fields_add(struct fields *f, struct arena *a, enum field_id id, struct slice value)
{
    append(f, a, (struct field){ field_name(id), value, (uint16_t)id });
}

void fields_add_named(struct fields *f, struct arena *a, struct slice name, struct slice value)
{
    append(f, a, (struct field){ name, value, (uint16_t)field_lookup(name) });
}

/* What a line is looked for by: the id, and for a name field.def does not know, that name. */
struct wanted {
    enum field_id id;
    struct slice name;
};

static struct wanted wanted_named(struct slice name)
{
    return (struct wanted){ field_lookup(name), name };
}

static struct wanted wanted_id(enum field_id id)
{
    return (struct wanted){ id, field_name(id) };
}

static bool matches(const struct field *line, struct wanted w)
{
    return line->id == w.id && (w.id != FIELD_OTHER || slice_eq_nocase(line->name, w.name));
}

static const struct field *find(const struct fields *f, struct wanted w)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (matches(&f->v[i], w)) return &f->v[i];
    }
    return NULL;
}

const struct field *fields_get(const struct fields *f, enum field_id id)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->v[i].id == id) return &f->v[i];
    }
    return NULL;
}

const struct field *fields_get_named(const struct fields *f, struct slice name)
{
    return find(f, wanted_named(name));
}

struct slice fields_value(const struct fields *f, enum field_id id)
{
    const struct field *line = fields_get(f, id);
    return line ? line->value : SLICE_NONE;
}

bool fields_has(const struct fields *f, enum field_id id)
{
    return fields_get(f, id) != NULL;
}

unsigned fields_count(const struct fields *f, enum field_id id)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < f->n; i++) count += f->v[i].id == id;
    return count;
}

static char *put(char *at, struct slice s)
{
    if (s.n) memcpy(at, s.p, s.n);
    return at + s.n;
}

/* The values of lines from first on, of which there is at least a second. */
static struct slice join(const struct fields *f, struct wanted w, const struct field *first,
                         struct arena *a)
{
    const struct field *end = f->v + f->n;
    size_t total = 0;
    for (const struct field *line = first; line < end; line++) {
        if (matches(line, w)) total += line->value.n + 2;
    }
    char *p = arena_alloc(a, total), *at = p;
    for (const struct field *line = first; line < end; line++) {
        if (!matches(line, w)) continue;
        if (line != first) at = put(at, SLICE(", "));
        at = put(at, line->value);
    }
    return slice_of(p, (size_t)(at - p));
}

static struct slice joined(const struct fields *f, struct wanted w, struct arena *a)
{
    const struct field *first = find(f, w);
    if (!first) return SLICE_NONE;
    for (const struct field *line = first + 1; line < f->v + f->n; line++) {
        if (matches(line, w)) return join(f, w, first, a);
    }
    return first->value;
}

struct slice fields_joined(const struct fields *f, enum field_id id, struct arena *a)
{
    return joined(f, wanted_id(id), a);
}

struct slice fields_joined_named(const struct fields *f, struct slice name, struct arena *a)
{
    return joined(f, wanted_named(name), a);
}

static void remove_wanted(struct fields *f, struct wanted w)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (!matches(&f->v[i], w)) f->v[kept++] = f->v[i];
    }
    f->n = kept;
}

void fields_remove(struct fields *f, enum field_id id)
{
    remove_wanted(f, wanted_id(id));
}

void fields_remove_named(struct fields *f, struct slice name)
{
    remove_wanted(f, wanted_named(name));
}

bool field_name_matches(struct slice pattern, struct slice name)
{
    bool prefix = pattern.n && pattern.p[pattern.n - 1] == '*';
    if (!prefix) return slice_eq_nocase(pattern, name);
    pattern.n--;
    return name.n >= pattern.n && slice_eq_nocase(slice_of(name.p, pattern.n), pattern);
}

void fields_remove_matching(struct fields *f, struct slice pattern)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (!field_name_matches(pattern, f->v[i].name)) f->v[kept++] = f->v[i];
    }
    f->n = kept;
}

void fields_remove_listed(struct fields *f, struct slice names)
{
    struct slice name;
    while (value_next(&names, &name)) fields_remove_named(f, name);
}

void fields_set(struct fields *f, struct arena *a, enum field_id id, struct slice value)
{
    fields_remove(f, id);
    fields_add(f, a, id, value);
}

/* Makes every line of that name one that the sweep of fields_remove_hop_by_hop takes. */
static void mark_hop(struct fields *f, struct slice name)
{
    struct wanted w = wanted_named(name);
    if (field_flags(w.id) & (FIELD_END | FIELD_HOP)) return;
    for (uint32_t i = 0; i < f->n; i++) {
        if (matches(&f->v[i], w)) f->v[i].id = FIELD_KEEP_ALIVE;
    }
}

void fields_remove_misplaced(struct fields *trailers)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < trailers->n; i++) {
        const struct field *f = &trailers->v[i];
        if (f->id == FIELD_OTHER || field_flags(f->id) & FIELD_IN_TRAILERS)
            trailers->v[kept++] = *f;
    }
    trailers->n = kept;
}

void fields_remove_hop_by_hop(struct fields *f)
{
    struct slice option;
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->v[i].id != FIELD_CONNECTION) continue;
        struct slice options = f->v[i].value;
        while (value_next_plain(&options, &option)) mark_hop(f, option);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (!(field_flags(f->v[i].id) & FIELD_HOP)) f->v[kept++] = f->v[i];
    }
    f->n = kept;
}
