/* The units of configuration values, and the directives that are one value. */
#include "edge/base/check.h"
#include "edge/config_builder.h"

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit sizes[] = {
    { "", 1 }, { "K", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 }, { "T", (int64_t)1 << 40 },
};
static const struct unit durations[] = {
    { "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "h", 3600 * 1000 }, { "d", 24 * 3600 * 1000 },
};

bool config_read_digits(struct slice text, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    if (!text.n) return false;
    for (size_t i = 0; i < text.n; i++) {
        unsigned digit = (unsigned)text.p[i] - '0';
        if (digit > 9 || n > (max - digit) / 10) return false;
        n = n * 10 + digit;
    }
    *out = n;
    return true;
}

static size_t digits(struct slice text)
{
    size_t n = 0;
    while (n < text.n && text.p[n] >= '0' && text.p[n] <= '9') n++;
    return n;
}

/* A number and one of the units; reason where it is anything else. */
static const char *read_units(struct slice text, const struct unit *units, size_t count,
                              const char *reason, int64_t *out)
{
    size_t n = digits(text);
    for (size_t i = 0; n && i < count; i++) {
        if (!slice_eq_nocase(slice_skip(text, n), slice_str(units[i].name))) continue;
        uint64_t number;
        if (!config_read_digits(slice_of(text.p, n), INT64_MAX / (uint64_t)units[i].factor,
                                &number))
            return "is beyond all bounds";
        *out = (int64_t)number * units[i].factor;
        return NULL;
    }
    return reason;
}

const char *config_read_size(struct slice text, int64_t *out)
{
    return read_units(text, sizes, sizeof sizes / sizeof *sizes,
                      "is not a size: bytes, or a number with K, M, G or T", out);
}

const char *config_read_duration(struct slice text, int64_t *out)
{
    *out = 0;
    if (slice_eq(text, SLICE("0"))) return NULL; /* zero is zero in any unit */
    if (text.n && digits(text) == text.n) return "has no unit: ms, s, m, h or d";
    return read_units(text, durations, sizeof durations / sizeof *durations,
                      "is not a duration: a number with ms, s, m, h or d", out);
}

const char *config_read_number(struct slice text, int64_t *out)
{
    uint64_t n;
    if (!text.n || digits(text) != text.n) return "is not a number";
    if (!config_read_digits(text, INT64_MAX, &n)) return "is beyond all bounds";
    *out = (int64_t)n;
    return NULL;
}

static const char *read_switch(struct slice text, int64_t *out)
{
    *out = slice_eq(text, SLICE("on"));
    return *out || slice_eq(text, SLICE("off")) ? NULL : "is neither on nor off";
}

static const char *read_value(enum config_type type, struct slice text, int64_t *out)
{
    switch (type) {
    case TYPE_NUMBER: return config_read_number(text, out);
    case TYPE_SIZE: return config_read_size(text, out);
    case TYPE_DURATION: return config_read_duration(text, out);
    default: return read_switch(text, out);
    }
}

static bool is_any(struct slice text, const char *const *words)
{
    for (; *words; words++) {
        if (slice_eq_nocase(text, slice_str(*words))) return true;
    }
    return false;
}

const char *config_word_hint(struct config_builder *b, struct slice text, const char *const *words,
                             const char *otherwise)
{
    struct conf_suggestion s = conf_suggest(text);
    for (; *words; words++) conf_suggest_offer(&s, slice_str(*words));
    const char *hint = conf_suggest_hint(&s, &b->config->arena);
    return hint ? hint : otherwise;
}

const char *config_value_hint(struct config_builder *b, enum config_type type, struct slice text)
{
    static const char *const yes[] = { "yes", "true", "1", "enable", "enabled", "ON", NULL };
    static const char *const no[] = { "no", "false", "0", "disable", "disabled", "OFF", NULL };
    if (type == TYPE_SWITCH || type == TYPE_SWITCH_NOT) {
        if (is_any(text, yes)) return "did you mean \"on\"?";
        return is_any(text, no) ? "did you mean \"off\"?" : NULL;
    }
    size_t n = digits(text);
    if (type == TYPE_DURATION && n && n == text.n)
        return arena_printf(&b->config->arena, "did you mean \"%.*ss\"?", CONF_SHOWN(text)).p;
    struct slice unit = slice_skip(text, n);
    if (type == TYPE_SIZE && n && unit.n > 1 && unit.n <= 3 &&
        ascii_lower(unit.p[unit.n - 1]) == 'b')
        return arena_printf(&b->config->arena, "did you mean \"%.*s\"?", (int)n + 1, text.p).p;
    return NULL;
}

static bool within_bounds(struct config_builder *b, const struct config_directive *d,
                          const struct conf_word *w, int64_t value)
{
    if (!d->min[0]) return true;
    int64_t min, max;
    CHECK(!read_value(d->type, slice_str(d->min), &min) &&
          !read_value(d->type, slice_str(d->max), &max));
    if (value < min)
        conf_fail(&b->report, w->at, NULL, "%s must be at least %s", d->name, d->min);
    else if (value > max)
        conf_fail(&b->report, w->at, NULL, "%s must be at most %s", d->name, d->max);
    return value >= min && value <= max;
}

static void store(void *member, size_t bytes, int64_t value)
{
    uint32_t narrow = (uint32_t)value;
    bool boolean = value;
    switch (bytes) {
    case sizeof boolean: memcpy(member, &boolean, bytes); return;
    case sizeof narrow:
        CHECK(narrow == (uint64_t)value);
        memcpy(member, &narrow, bytes);
        return;
    default: CHECK(bytes == sizeof value); memcpy(member, &value, bytes);
    }
}

void config_apply_value(struct config_builder *b, const struct config_directive *d,
                        const struct conf_item *item, void *target)
{
    const struct conf_word *w = &item->args[0];
    int64_t value;
    const char *reason = read_value(d->type, w->text, &value);
    if (reason) {
        conf_fail(&b->report, w->at, config_value_hint(b, d->type, w->text), "\"%.*s\" %s",
                  CONF_SHOWN(w->text), reason);
        return;
    }
    if (!within_bounds(b, d, w, value)) return;
    if (d->type == TYPE_SWITCH_NOT) value = !value;
    store((char *)target + d->member_offset, d->member_bytes, value);
}
