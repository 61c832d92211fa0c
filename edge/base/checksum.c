#include "edge/base/checksum.h"

/* What a processor without the instruction does: half a byte at a time (polynomial 0x82f63b78,
 * reflected). */
static uint32_t crc_plain(uint32_t crc, const char *p, size_t n)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)p[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return crc;
}

static void quarters_plain(uint64_t crc[4], const char *p, size_t quarter)
{
    for (int i = 0; i < 4; i++) crc[i] = crc_plain((uint32_t)crc[i], p + i * quarter, quarter);
}

#ifdef __x86_64__
static uint64_t word(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

/* The instruction takes three cycles, but one can begin in each: hence four streams. quarter is a
 * multiple of eight. */
__attribute__((target("sse4.2"))) static void quarters_fast(uint64_t crc[4], const char *p,
                                                            size_t quarter)
{
    uint64_t a = crc[0], b = crc[1], c = crc[2], d = crc[3];
    for (const char *end = p + quarter; p < end; p += 8) {
        a = __builtin_ia32_crc32di(a, word(p));
        b = __builtin_ia32_crc32di(b, word(p + quarter));
        c = __builtin_ia32_crc32di(c, word(p + 2 * quarter));
        d = __builtin_ia32_crc32di(d, word(p + 3 * quarter));
    }
    crc[0] = a, crc[1] = b, crc[2] = c, crc[3] = d;
}

static void quarters(uint64_t crc[4], const char *p, size_t quarter)
{
    if (__builtin_cpu_supports("sse4.2"))
        quarters_fast(crc, p, quarter);
    else
        quarters_plain(crc, p, quarter);
}
#else
static void quarters(uint64_t crc[4], const char *p, size_t quarter)
{
    quarters_plain(crc, p, quarter);
}
#endif

/* Quarters are whole words; what is left over goes to the last one. */
struct checksum checksum_of(struct slice bytes)
{
    uint64_t crc[4] = { UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX };
    size_t quarter = bytes.n / 32 * 8, rest = bytes.n - 4 * quarter;
    quarters(crc, bytes.p, quarter);
    crc[3] = crc_plain((uint32_t)crc[3], bytes.p + 4 * quarter, rest);
    struct checksum sum;
    for (int i = 0; i < 4; i++) sum.quarters[i] = ~(uint32_t)crc[i];
    return sum;
}
