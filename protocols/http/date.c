#include "protocols/http/date.h"

#include "protocols/http/value.h"

static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char day_names[] = "SunMonTueWedThuFriSat";

enum { DAY_S = 86400 };

struct civil {
    int64_t year;
    int month, day, hour, minute, second; /* month and day from 1 */
};

/* Days between 1970-01-01 and a day of the proleptic Gregorian calendar, by eras of 400 years that
 * begin on the first of March (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t days, struct civil *c)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    c->day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    c->month = (int)(month < 10 ? month + 3 : month - 9);
    c->year = year_of_era + era * 400 + (c->month <= 2);
}

/* Without regard to case (RFC 9111 section 4.2), here and below: so do other recipients read it. */
static bool take(struct slice *s, struct slice literal)
{
    if (s->n < literal.n || !slice_eq_nocase(slice_of(s->p, literal.n), literal)) return false;
    *s = slice_skip(*s, literal.n);
    return true;
}

static bool take_number(struct slice *s, size_t digits, int *out)
{
    if (s->n < digits || value_span(slice_of(s->p, digits), CHAR_DIGIT) != digits) return false;
    *out = 0;
    for (size_t i = 0; i < digits; i++) *out = *out * 10 + (s->p[i] - '0');
    *s = slice_skip(*s, digits);
    return true;
}

/* One of a row of three-letter names; *out counts from 1. */
static bool take_name(struct slice *s, const char *names, int *out)
{
    if (s->n < 3) return false;
    for (int i = 0; names[3 * i]; i++) {
        if (!slice_eq_nocase(slice_of(s->p, 3), slice_of(names + 3 * i, 3))) continue;
        *out = i + 1;
        *s = slice_skip(*s, 3);
        return true;
    }
    return false;
}

static bool take_time(struct slice *s, struct civil *c)
{
    return take_number(s, 2, &c->hour) && take(s, SLICE(":")) && take_number(s, 2, &c->minute) &&
           take(s, SLICE(":")) && take_number(s, 2, &c->second);
}

static bool take_year(struct slice *s, struct civil *c)
{
    int year;
    if (!take_number(s, 4, &year)) return false;
    c->year = year;
    return true;
}

/* ", 06 Nov 1994 08:49:37 GMT" */
static bool parse_fixdate(struct slice s, struct civil *c)
{
    return take(&s, SLICE(", ")) && take_number(&s, 2, &c->day) && take(&s, SLICE(" ")) &&
           take_name(&s, month_names, &c->month) && take(&s, SLICE(" ")) && take_year(&s, c) &&
           take(&s, SLICE(" ")) && take_time(&s, c) && slice_eq_nocase(s, SLICE(" GMT"));
}

/* " Nov  6 08:49:37 1994" */
static bool parse_asctime(struct slice s, struct civil *c)
{
    if (!take(&s, SLICE(" ")) || !take_name(&s, month_names, &c->month)) return false;
    if (take(&s, SLICE("  ")) ? !take_number(&s, 1, &c->day)
                              : !take(&s, SLICE(" ")) || !take_number(&s, 2, &c->day)) {
        return false;
    }
    return take(&s, SLICE(" ")) && take_time(&s, c) && take(&s, SLICE(" ")) && take_year(&s, c) &&
           s.n == 0;
}

static int64_t year_of(int64_t seconds)
{
    struct civil c;
    civil_from_days(seconds / DAY_S, &c);
    return c.year;
}

/* "day, 06-Nov-94 08:49:37 GMT", after the first three letters of the day */
static bool parse_rfc850(struct slice s, int day_name, int64_t now_s, struct civil *c)
{
    static const struct slice rest[] = { SLICE("day"),    SLICE("day"),   SLICE("sday"),
                                         SLICE("nesday"), SLICE("rsday"), SLICE("day"),
                                         SLICE("urday") };
    int year;
    if (!take(&s, rest[day_name - 1]) || !take(&s, SLICE(", ")) || !take_number(&s, 2, &c->day) ||
        !take(&s, SLICE("-")) || !take_name(&s, month_names, &c->month) || !take(&s, SLICE("-")) ||
        !take_number(&s, 2, &year) || !take(&s, SLICE(" ")) || !take_time(&s, c) ||
        !slice_eq_nocase(s, SLICE(" GMT"))) {
        return false;
    }
    /* The year with those digits that is at most 50 after now's. */
    int64_t latest = year_of(now_s) + 50;
    c->year = latest - (latest - year) % 100;
    return true;
}

static int days_in_month(int64_t year, int month)
{
    return (int)(days_from_civil(year + month / 12, month % 12 + 1, 1) -
                 days_from_civil(year, month, 1));
}

/* A second of 60 is a leap second, which the grammar allows. */
static bool is_on_calendar(const struct civil *c)
{
    return c->day >= 1 && c->day <= days_in_month(c->year, c->month) && c->hour <= 23 &&
           c->minute <= 59 && c->second <= 60;
}

bool http_date_parse(struct slice s, int64_t now_s, int64_t *out_s)
{
    int day_name;
    struct civil c;
    if (!take_name(&s, day_names, &day_name)) return false;
    if (!parse_fixdate(s, &c) && !parse_asctime(s, &c) && !parse_rfc850(s, day_name, now_s, &c)) {
        return false;
    }
    if (!is_on_calendar(&c)) return false;
    *out_s =
        days_from_civil(c.year, c.month, c.day) * DAY_S + c.hour * 3600 + c.minute * 60 + c.second;
    return true;
}

static char *put_number(char *at, int64_t n, int digits)
{
    for (int i = digits; i-- > 0; n /= 10) at[i] = (char)('0' + n % 10);
    return at + digits;
}

static char *put_bytes(char *at, const char *p, size_t n)
{
    memcpy(at, p, n);
    return at + n;
}

void http_date_format(int64_t seconds, char out[HTTP_DATE_BYTES])
{
    int64_t days = seconds / DAY_S, rest = seconds % DAY_S;
    if (rest < 0) rest += DAY_S, days--;
    struct civil c;
    civil_from_days(days, &c);
    /* 1970-01-01 was a Thursday. */
    char *at = put_bytes(out, day_names + 3 * (((days + 4) % 7 + 7) % 7), 3);
    at = put_number(put_bytes(at, ", ", 2), c.day, 2);
    at = put_bytes(put_bytes(at, " ", 1), month_names + 3 * (c.month - 1), 3);
    at = put_number(put_bytes(at, " ", 1), c.year, 4);
    at = put_number(put_bytes(at, " ", 1), rest / 3600, 2);
    at = put_number(put_bytes(at, ":", 1), rest / 60 % 60, 2);
    at = put_number(put_bytes(at, ":", 1), rest % 60, 2);
    put_bytes(at, " GMT", 4);
}
