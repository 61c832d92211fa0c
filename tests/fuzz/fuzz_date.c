/* An HTTP-date in one of its three forms, after eight bytes that say what time it is and what is to
 * be written: a date that is read is written and read again as the same second, whatever its case;
 * and whatever second of the years 1 to 9999 is written reads back as itself, by the C library's
 * calendar too. */
#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "edge/base/check.h"
#include "protocols/http/date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t first_s = -62135596800, last_s = 253402300799; /* of years 1 and 9999 */

static void check_writing(int64_t second)
{
    char text[HTTP_DATE_BYTES], theirs[64];
    time_t t = (time_t)second;
    struct tm tm;
    int64_t again_s;
    http_date_format(second, text);
    CHECK(http_date_parse(slice_of(text, sizeof text), 0, &again_s) && again_s == second);
    CHECK(gmtime_r(&t, &tm));
    size_t n = strftime(theirs, sizeof theirs, "%a, %d %b ", &tm);
    n += (size_t)snprintf(theirs + n, sizeof theirs - n, "%04d", tm.tm_year + 1900);
    n += strftime(theirs + n, sizeof theirs - n, " %H:%M:%S GMT", &tm);
    CHECK(slice_eq(slice_of(text, sizeof text), slice_of(theirs, n)));
}

static void check_reading(struct slice text, int64_t now_s)
{
    char upper[64];
    int64_t second, again_s;
    if (!http_date_parse(text, now_s, &second)) return;
    CHECK(text.n < sizeof upper && second >= first_s - 366 * 86400 && second <= last_s + 1);
    for (size_t i = 0; i < text.n; i++) upper[i] = (char)toupper((unsigned char)text.p[i]);
    CHECK(http_date_parse(slice_of(upper, text.n), now_s, &again_s) && again_s == second);
    if (second >= first_s && second <= last_s) check_writing(second);
    for (size_t n = 0; n < text.n; n++)
        CHECK(!http_date_parse(slice_of(text.p, n), now_s, &again_s));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t random = 0;
    size_t n = size < sizeof random ? size : sizeof random;
    for (size_t i = 0; i < n; i++) random = random << 8 | data[i];
    int64_t second = first_s + (int64_t)(random % (uint64_t)(last_s - first_s + 1));
    check_writing(second);
    check_reading(slice_of((const char *)data + n, size - n), second);
    return 0;
}
