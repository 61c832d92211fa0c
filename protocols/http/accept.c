#include "protocols/http/accept.h"

#include "protocols/http/value.h"

enum { ANY = CODING_GZIP | CODING_BR | CODING_ZSTD | CODING_IDENTITY };

static unsigned coding_of(struct slice name)
{
    if (slice_eq_nocase(name, SLICE("gzip")) || slice_eq_nocase(name, SLICE("x-gzip"))) {
        return CODING_GZIP;
    }
    if (slice_eq_nocase(name, SLICE("br"))) return CODING_BR;
    if (slice_eq_nocase(name, SLICE("zstd"))) return CODING_ZSTD;
    if (slice_eq_nocase(name, SLICE("identity"))) return CODING_IDENTITY;
    return slice_eq_nocase(name, SLICE("*")) ? ANY : 0;
}

/* Quality of a member's parameters in thousandths, 1000 where it has none; -1 where it is
 * malformed. */
static int quality_of(struct slice parameters)
{
    struct slice parameter, name, value;
    parameters = slice_trim(parameters);
    if (parameters.n && parameters.p[0] != ';') return -1;
    while (value_next_split(&parameters, ';', &parameter)) {
        if (!value_parse_parameter(parameter, &name, &value)) return -1;
        if (slice_eq_nocase(name, SLICE("q"))) return value_quality(value);
    }
    return 1000;
}

unsigned accept_encoding_parse(struct slice value)
{
    unsigned accepted = 0, named = 0, others = CODING_IDENTITY;
    struct slice member;
    while (value_next(&value, &member)) {
        unsigned coding = coding_of(value_take_token(&member));
        int quality = quality_of(member);
        if (coding == 0 || quality < 0) continue;
        if (coding == ANY) {
            others = quality ? ANY : 0;
            continue;
        }
        named |= coding;
        accepted = quality ? accepted | coding : accepted & ~coding;
    }
    return accepted | (others & ~named);
}

struct slice accept_encoding_text(unsigned codings)
{
    static const struct slice text[] = {
        { "identity", 8 }, { "gzip", 4 },        { "br", 2 },       { "br, gzip", 8 },
        { "zstd", 4 },     { "zstd, gzip", 10 }, { "zstd, br", 8 }, { "zstd, br, gzip", 14 },
    };
    return text[codings & (CODING_GZIP | CODING_BR | CODING_ZSTD)];
}
