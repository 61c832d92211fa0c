#include "edge/base/error.h"

#include "edge/base/check.h"

/* Labels are lower case; the table is written in upper case because its names are C constants. They
 * are spelled out once at start-up by error_name_init, a constructor, so that every thread reads
 * them without a lock. */
static struct error_info table[E_COUNT] = {
    [E_NONE] = { "none", 200, "", BLAME_NODE, "no error" },
#define ERROR(name, status, proxy_status, blame, text)                                             \
    [E_##name] = { #name, status, proxy_status, BLAME_##blame, text },
#include "edge/base/error.def"
#undef ERROR
};

static char names[E_COUNT][32];

__attribute__((constructor)) static void error_name_init(void)
{
    for (int i = 1; i < E_COUNT; i++) {
        const char *from = table[i].name;
        for (int j = 0; from[j] && j < 31; j++) {
            names[i][j] = (from[j] >= 'A' && from[j] <= 'Z') ? (char)(from[j] | 0x20) : from[j];
        }
        table[i].name = names[i];
    }
}

const struct error_info *error_info(int code)
{
    if (code < 0) code = -code;
    CHECK(code < E_COUNT);
    return &table[code];
}
