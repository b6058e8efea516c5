#include "job/cron.h"

#include "unit.h"

#include <string.h>
#include <time.h>

static int64_t at(const char *text)
{
    struct tm tm = {0};

    assert_non_null(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
    return (int64_t)timegm(&tm) * 1000;
}

static const char *shown(int64_t ms)
{
    static char text[32];
    time_t s = (time_t)(ms / 1000);
    struct tm tm;

    gmtime_r(&s, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    return text;
}

static void test_next_times_are_right(void **state)
{
    static const struct {
        const char *cron, *after, *next;
    } rows[] = {
        {"* * * * *", "2026-01-01 00:00:00", "2026-01-01 00:01:00"},
        {"* * * * *", "2026-01-01 00:00:59", "2026-01-01 00:01:00"},
        {"30 3 * * *", "2026-11-28 03:29:59", "2026-11-28 03:30:00"},
        {"30 3 * * *", "2026-11-28 03:30:00", "2026-11-29 03:30:00"},
        {"30 3 * * *", "2026-12-31 23:59:00", "2027-01-01 03:30:00"},
        {"*/15 * * * *", "2026-11-28 01:46:00", "2026-11-28 02:00:00"},
        {"10-50/20 1,3 * * *", "2026-11-28 01:50:00", "2026-11-28 03:10:00"},
        {"0 0 31 * *", "2026-03-31 00:00:00", "2026-05-31 00:00:00"},
        {"0 0 30 * *", "2026-01-30 00:00:00", "2026-03-30 00:00:00"},
        {"0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00"},
        {"0 0 29 2 *", "2096-02-29 00:00:00", "2104-02-29 00:00:00"},
        {"59 23 28-31 2 *", "2027-02-28 23:59:00", "2028-02-28 23:59:00"},
        {"0 12 * * 1-5", "2026-11-27 12:00:00", "2026-11-30 12:00:00"},
        {"0 12 * * 7", "2026-11-28 00:00:00", "2026-11-29 12:00:00"},
        {"0 12 * * 0", "2026-11-28 00:00:00", "2026-11-29 12:00:00"},
        /* Either of the days, unless one of the fields begins with a star. */
        {"0 0 13 * 5", "2026-11-12 12:00:00", "2026-11-13 00:00:00"},
        {"0 0 13 * 5", "2026-11-13 00:00:00", "2026-11-20 00:00:00"},
        {"0 0 13 * */5", "2026-11-13 00:00:00", "2026-12-13 00:00:00"},
        {"0 0 29 2 */5", "2026-11-13 00:00:00", "2032-02-29 00:00:00"},
        {" 0  0 1 1-12/3  * ", "2026-11-13 00:00:00", "2027-01-01 00:00:00"},
        {"5,1,3 0 * * *", "2026-11-13 00:01:00", "2026-11-13 00:03:00"},
    };

    (void)state;
    for (size_t i = 0; i < count_of(rows); i++) {
        struct cron cron;
        const char *wrong = cron_parse(NULL, rows[i].cron, &cron);

        if (wrong != NULL)
            fail_msg("%s: %s", rows[i].cron, wrong);
        assert_string_equal(shown(cron_next(&cron, at(rows[i].after))), rows[i].next);
    }
}

static void test_the_next_time_lies_behind_each_other_over_leap_years(void **state)
{
    static const char *const crons[] = {"0 0 * * *", "0 0 1 * *", "0 0 29 2 *", "0 0 * * 0"};
    /* Of eight years with two leap days, and the first of what follows. */
    static const int counts[] = {2923, 97, 3, 418};

    (void)state;
    for (size_t i = 0; i < count_of(crons); i++) {
        int64_t now = at("2023-12-31 23:59:00"), runs = 0;
        struct cron cron;

        assert_null(cron_parse(NULL, crons[i], &cron));
        while (now < at("2031-12-31 23:59:00")) {
            int64_t next = cron_next(&cron, now);

            assert_true(next > now);
            assert_int_equal(cron_next(&cron, next - 1), next);
            now = next;
            runs++;
        }
        assert_int_equal(runs, counts[i]);
    }
}

static void test_what_is_wrong_is_told_with_how_to_mend_it(void **state)
{
    static const struct {
        const char *cron, *told;
    } rows[] = {
        {"", "too few fields: give five"},
        {"* * * *", "too few fields"},
        {"* * * * * *", "too many fields"},
        {"60 * * * *", "minute, from 0 to 59"},
        {"* 24 * * *", "hour, from 0 to 23"},
        {"* * 0 * *", "day of the month, from 1 to 31"},
        {"* * 32 * *", "out of bounds"},
        {"* * * 13 *", "month, from 1 to 12"},
        {"* * * * 8", "day of the week, from 0 to 7"},
        {"-1 * * * *", "give *, a number"},
        {"1, * * * *", "give *, a number"},
        {",1 * * * *", "give *, a number"},
        {"a * * * *", "give *, a number"},
        {"1a * * * *", "give *, a number"},
        {"** * * * *", "give *, a number"},
        {"001 * * * *", "give *, a number"},
        {"99999999999999999999 * * * *", "give *, a number"},
        {"1- * * * *", "a number at each end"},
        {"5-1 * * * *", "lower end"},
        {"*/0 * * * *", "a step is a number from 1 up"},
        {"*/ * * * *", "a step is a number"},
        {"5/10 * * * *", "a step stands behind * or a range"},
        {"1-5/2/2 * * * *", "give *"},
        {"0 0 30 2 *", "no such date ever comes"},
        {"0 0 31 2,4,6,9,11 *", "no such date ever comes"},
        {"@daily", "cannot be read"},
        {"0\t0 * * *", "give *, a number"},
    };
    void *mem = mem_tree(0);

    (void)state;
    for (size_t i = 0; i < count_of(rows); i++) {
        struct cron cron;
        const char *wrong = cron_parse(mem, rows[i].cron, &cron);

        if (wrong == NULL || strstr(wrong, rows[i].told) == NULL)
            fail_msg("\"%s\": %s", rows[i].cron, wrong == NULL ? "taken" : wrong);
    }
    talloc_free(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_times_are_right),
        cmocka_unit_test(test_the_next_time_lies_behind_each_other_over_leap_years),
        cmocka_unit_test(test_what_is_wrong_is_told_with_how_to_mend_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
