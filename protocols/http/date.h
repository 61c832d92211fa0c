/* date: HTTP-date (RFC 9110 section 5.6.7). Pure functions, any thread; no locale, no time zone, no
 * clock. */
#ifndef VERGE_PROTOCOLS_HTTP_DATE_H
#define VERGE_PROTOCOLS_HTTP_DATE_H

#include "edge/base/slice.h"

enum { HTTP_DATE_BYTES = 29 };

/* Seconds since 1970 of an IMF-fixdate, an RFC 850 date or an asctime date; false where it is none
 * of the three to the letter (case counts), or no day of the calendar. now_s: with a two-digit
 * year, what appears to be more than 50 years after it is in the past. Whether the name of the day
 * is the right one is not checked. */
bool http_date_parse(struct slice s, int64_t now_s, int64_t *out_s);
/* Writes an IMF-fixdate, without a NUL. Years 1 to 9999. */
void http_date_format(int64_t seconds, char out[HTTP_DATE_BYTES]);

#endif
