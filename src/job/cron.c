#include "job/cron.h"

#include <assert.h>
#include <string.h>
#include <time.h>

enum { FIELDS = 5, FIELD_BYTES = 128, DAY_S = 86400, DAY_MINUTES = 1440, MINUTE_MS = 60000 };

/* The 29th of February falls on each day of the week within 40 years, also around 2100. */
enum { DAYS_MOST = 50 * 366 };

static const struct field {
    const char *name;
    unsigned min, max;
} fields[FIELDS] = {
    {"minute", 0, 59}, {"hour", 0, 23},           {"day of the month", 1, 31},
    {"month", 1, 12},  {"day of the week", 0, 7},
};

static bool read_number(const char **at, unsigned *ret)
{
    size_t digits = strspn(*at, "0123456789");

    *ret = 0;
    for (size_t i = 0; i < digits && digits <= 2; i++)
        *ret = *ret * 10 + (unsigned)((*at)[i] - '0');
    *at += digits;
    return digits == 1 || digits == 2;
}

/* "*", "N" or "N-M", with "/S" behind the first and the last. NULL, or what it should be. */
static const char *read_part(const char *part, const struct field *field, uint64_t *bits)
{
    unsigned first = field->min, last = field->max, step = 1;
    bool is_one = false;

    if (*part == '*') {
        part++;
    } else {
        if (!read_number(&part, &first))
            return "give *, a number, a range such as 1-5, or a list of these with commas";
        is_one = *part != '-';
        last = first;
        if (!is_one && (part++, !read_number(&part, &last)))
            return "a range has a number at each end, such as 1-5";
    }
    if (*part == '/' && is_one)
        return "a step stands behind * or a range: */5, 10-50/5";
    if (*part == '/' && (part++, !read_number(&part, &step) || step == 0))
        return "a step is a number from 1 up: */5";
    if (*part != '\0')
        return "give *, a number, a range such as 1-5, or a list of these with commas";
    if (first > last)
        return "a range begins with its lower end: write 22-23,0-5 in place of 22-5";
    if (first < field->min || last > field->max)
        return "it is out of bounds";
    for (unsigned i = first; i <= last; i += step)
        *bits |= UINT64_C(1) << i;
    return NULL;
}

/* A word of the expression, cut into its parts. */
static const char *read_field(char *word, const struct field *field, uint64_t *bits)
{
    const char *wrong = NULL;
    char *part;

    *bits = 0;
    while (wrong == NULL && (part = strsep(&word, ",")) != NULL)
        wrong = read_part(part, field, bits);
    return wrong;
}

/* February has 29 days sometimes; no month has the 31st if none of these has 31. */
static bool has_a_date(const struct cron *cron)
{
    static const unsigned longest[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    for (unsigned month = 1; month <= 12; month++) {
        uint32_t its_days = (uint32_t)((UINT64_C(2) << longest[month]) - 1);

        if ((cron->months >> month & 1) != 0 && (cron->days & its_days) != 0)
            return true;
    }
    return false;
}

const char *cron_parse(void *mem, const char *text, struct cron *ret)
{
    uint64_t bits[FIELDS];
    char first[FIELDS];

    for (size_t i = 0; i < FIELDS; i++) {
        char word[FIELD_BYTES];
        size_t len = strcspn(text += strspn(text, " "), " ");
        const char *wrong;

        if (len == 0)
            return "it has too few fields: give five, such as 30 3 * * * for 03:30 UTC every day";
        if (len >= sizeof word)
            return mem_printf(mem, "its %s is too long", fields[i].name);
        memcpy(word, text, len);
        word[len] = '\0';
        first[i] = *word;
        wrong = read_field(word, &fields[i], &bits[i]);
        if (wrong != NULL)
            return mem_printf(mem, "its %s, from %u to %u, cannot be read: %s", fields[i].name,
                              fields[i].min, fields[i].max, wrong);
        text += len;
    }
    if (text[strspn(text, " ")] != '\0')
        return "it has too many fields: give five, for minute, hour, day of the month, month and "
               "day of the week";
    *ret = (struct cron){.minutes = bits[0],
                         .hours = (uint32_t)bits[1],
                         .days = (uint32_t)bits[2],
                         .months = (uint32_t)bits[3],
                         .weekdays = (uint32_t)(bits[4] | bits[4] >> 7), /* 7 is Sunday too */
                         .either_day = first[2] != '*' && first[4] != '*'};
    if (!ret->either_day && !has_a_date(ret))
        return "no such date ever comes: name a day that one of its months has";
    return NULL;
}

static bool matches_day(const struct cron *cron, int64_t day)
{
    time_t at = (time_t)(day * DAY_S);
    struct tm tm;
    bool by_date, by_weekday;

    gmtime_r(&at, &tm);
    if ((cron->months >> (tm.tm_mon + 1) & 1) == 0)
        return false;
    by_date = (cron->days >> tm.tm_mday & 1) != 0;
    by_weekday = (cron->weekdays >> tm.tm_wday & 1) != 0;
    return cron->either_day ? by_date || by_weekday : by_date && by_weekday;
}

/* The first one from `from` on; DAY_MINUTES if the rest of the day has none. */
static int64_t minute_of_day(const struct cron *cron, int64_t from)
{
    while (from < DAY_MINUTES &&
           ((cron->hours >> (from / 60) & 1) == 0 || (cron->minutes >> (from % 60) & 1) == 0))
        from++;
    return from;
}

int64_t cron_next(const struct cron *cron, int64_t after_ms)
{
    int64_t from = after_ms / MINUTE_MS + 1, day = from / DAY_MINUTES;

    assert(cron->minutes != 0 && cron->hours != 0);
    from %= DAY_MINUTES;
    for (int i = 0; i < DAYS_MOST; i++, day++, from = 0) {
        if (!matches_day(cron, day))
            continue;
        from = minute_of_day(cron, from);
        if (from < DAY_MINUTES)
            return (day * DAY_MINUTES + from) * MINUTE_MS;
    }
    return INT64_MAX;
}
