#include "edge/query.h"

#include "protocols/http/value.h"

static struct query_param *find(struct query_param *params, size_t count, struct slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(params[i].name, name)) return &params[i];
    }
    return NULL;
}

static const char *read_one(struct slice text, struct query_param *params, size_t count,
                            struct arena *a)
{
    size_t equals = slice_find(text, '=');
    struct slice name = slice_of(text.p, equals);
    struct query_param *param = find(params, count, name);
    if (!param) return arena_printf(a, "there is no parameter \"%.*s\"", SLICE_ARGS(name)).p;
    if (param->value.p) return arena_printf(a, "%.*s is given twice", SLICE_ARGS(name)).p;
    if (equals == text.n) return arena_printf(a, "%.*s has no value", SLICE_ARGS(name)).p;
    if (!value_percent_decode(slice_skip(text, equals + 1), a, &param->value))
        return arena_printf(a, "%.*s has a '%%' without two digits", SLICE_ARGS(name)).p;
    return NULL;
}

const char *query_read(struct slice query, struct query_param *params, size_t count,
                       struct arena *a)
{
    const char *wrong = NULL;
    while (query.n && !wrong) {
        struct slice text = slice_of(query.p, slice_find(query, '&'));
        query = slice_skip(query, text.n + (text.n < query.n));
        wrong = read_one(text, params, count, a);
    }
    return wrong;
}
