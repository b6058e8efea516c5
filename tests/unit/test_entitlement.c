#include "billing/entitlement.h"

#include "unit.h"

#include <time.h>

#define DAY INT64_C(86400000)
#define NOW INT64_C(1750000000000)   /* 2025-06-15 15:06:40 */
#define MONTH INT64_C(1748736000000) /* 2025-06-01 */
#define NEXT INT64_C(1751328000000)  /* 2025-07-01 */

static const struct settings settings = {.past_due_grace_days = 3};

static struct entitlement stand_at(void *mem, const struct subscription *subscription,
                                   int64_t now_ms)
{
    struct texts problems;

    return entitlement_of(plans_load(mem, &settings, &problems), &settings, subscription, now_ms);
}

static struct entitlement stand(void *mem, const struct subscription *subscription)
{
    return stand_at(mem, subscription, NOW);
}

static struct subscription free_one(void)
{
    return (struct subscription){.plan = "free", .status = "active"};
}

static struct subscription paid_one(void)
{
    return (struct subscription){.plan = "basic",
                                 .status = "active",
                                 .period_start_ms = NOW - 5 * DAY,
                                 .period_end_ms = NOW + 25 * DAY,
                                 .usage_period_ms = NOW - 5 * DAY + 1,
                                 .runs = 7};
}

static void test_free_is_ten_runs_of_a_calendar_month(void **state)
{
    struct subscription sub = free_one();
    struct entitlement s = stand(*state, &sub);

    assert_int_equal(s.verdict, STANDING_GOOD);
    assert_int_equal(s.limit, 10);
    assert_int_equal(s.period_ms, MONTH);
    assert_int_equal(s.resets_ms, NEXT);
    sub.runs = 10;
    sub.usage_period_ms = MONTH;
    s = stand(*state, &sub);
    assert_int_equal(s.verdict, STANDING_EXHAUSTED);
    assert_string_equal(
        entitlement_reason(*state, &s),
        "Monthly limit of 10 agent runs reached. Please upgrade your plan to continue.");
    sub.usage_period_ms = MONTH - 1;
    s = stand(*state, &sub);
    assert_int_equal(s.verdict, STANDING_GOOD);
    assert_int_equal(s.used, 0);
}

static void test_paid_is_the_plans_runs_in_stripes_period(void **state)
{
    struct subscription sub = paid_one();
    struct entitlement s = stand(*state, &sub);

    assert_int_equal(s.verdict, STANDING_GOOD);
    assert_int_equal(s.limit, 1000);
    assert_int_equal(s.used, 7);
    assert_int_equal(s.period_ms, sub.period_start_ms + 1);
    assert_int_equal(s.resets_ms, sub.period_end_ms);
    sub.usage_period_ms--;
    assert_int_equal(stand(*state, &sub).used, 0);
}

static int64_t noon(int year, int month, int day)
{
    struct tm at = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = 12};

    return (int64_t)timegm(&at) * 1000;
}

static void test_runs_are_a_months_from_the_anchors_day_whatever_the_interval(void **state)
{
    static const struct {
        int start[3], end[3]; /* Stripe's period */
        int anchor[3], now[3];
        int from[3], to[3]; /* of the count */
    } samples[] = {
        {{2027, 1, 31}, {2028, 1, 31}, {2027, 1, 31}, {2027, 2, 27}, {2027, 1, 31}, {2027, 2, 28}},
        {{2027, 1, 31}, {2028, 1, 31}, {2027, 1, 31}, {2027, 2, 28}, {2027, 2, 28}, {2027, 3, 31}},
        {{2027, 1, 31}, {2028, 1, 31}, {2027, 1, 31}, {2027, 4, 29}, {2027, 3, 31}, {2027, 4, 30}},
        {{2028, 1, 31}, {2029, 1, 31}, {2027, 1, 31}, {2028, 2, 29}, {2028, 2, 29}, {2028, 3, 31}},
        {{2028, 2, 29},
         {2029, 2, 28},
         {2028, 2, 29},
         {2028, 12, 29},
         {2028, 12, 29},
         {2029, 1, 29}},
        {{2027, 3, 15}, {2028, 3, 15}, {2025, 3, 15}, {2028, 1, 1}, {2027, 12, 15}, {2028, 1, 15}},
        /* A month from the 31st: Stripe's periods are the same. */
        {{2027, 2, 28}, {2027, 3, 31}, {2027, 1, 31}, {2027, 3, 30}, {2027, 2, 28}, {2027, 3, 31}},
        /* Weeks give nothing more. */
        {{2027, 5, 17}, {2027, 5, 24}, {2027, 5, 10}, {2027, 5, 20}, {2027, 5, 10}, {2027, 6, 10}},
        /* Three months. */
        {{2027, 5, 10}, {2027, 8, 10}, {2027, 5, 10}, {2027, 7, 11}, {2027, 7, 10}, {2027, 8, 10}},
        /* No anchor is known, or one to come: a trial at Stripe. */
        {{2027, 5, 10}, {2028, 5, 10}, {1970, 1, 1}, {2027, 7, 9}, {2027, 6, 10}, {2027, 7, 10}},
        {{2027, 5, 10}, {2027, 5, 24}, {2027, 5, 24}, {2027, 5, 20}, {2027, 5, 10}, {2027, 6, 10}},
        /* Behind the period's end nothing begins before it is renewed. */
        {{2027, 5, 10}, {2027, 6, 10}, {2027, 5, 10}, {2027, 6, 11}, {2027, 5, 10}, {2027, 6, 10}},
    };

    for (size_t i = 0; i < count_of(samples); i++) {
        struct subscription sub = paid_one();
        struct entitlement s;

#define NOON(d) noon(samples[i].d[0], samples[i].d[1], samples[i].d[2])
        sub.period_start_ms = NOON(start);
        sub.period_end_ms = NOON(end);
        sub.anchor_ms = samples[i].anchor[0] == 1970 ? 0 : NOON(anchor);
        s = stand_at(*state, &sub, NOON(now));
        assert_int_equal(s.period_ms, NOON(from) + 1);
        assert_int_equal(s.resets_ms, NOON(to));
        assert_int_equal(s.verdict, STANDING_GOOD);
    }
}

static void test_what_is_not_paid_gives_no_fresh_runs(void **state)
{
    struct subscription sub = paid_one();
    struct entitlement s;

    sub.status = "past_due";
    sub.period_start_ms = sub.unpaid_from_ms = noon(2027, 6, 10);
    sub.period_end_ms = noon(2027, 7, 10);
    sub.anchor_ms = noon(2027, 1, 10);
    sub.past_due_ms = noon(2027, 6, 10);
    sub.usage_period_ms = noon(2027, 5, 10) + 1;
    sub.runs = 990;
    s = stand_at(*state, &sub, noon(2027, 6, 12));
    assert_int_equal(s.verdict, STANDING_GOOD);
    assert_int_equal(s.used, 990);
    sub.runs = 1000;
    assert_int_equal(stand_at(*state, &sub, noon(2027, 6, 12)).verdict, STANDING_EXHAUSTED);
    /* The last month that was paid, in which nothing was used. */
    sub.usage_period_ms = noon(2027, 3, 10) + 1;
    assert_int_equal(stand_at(*state, &sub, noon(2027, 6, 12)).used, 0);
    /* A month later, with a second invoice: the debt is the first one's still. */
    sub.usage_period_ms = noon(2027, 5, 10) + 1;
    sub.period_start_ms = noon(2027, 7, 10);
    sub.period_end_ms = noon(2027, 8, 10);
    s = stand_at(*state, &sub, noon(2027, 7, 11));
    assert_int_equal(s.verdict, STANDING_NOT_PAID);
    assert_int_equal(s.used, 1000);
}

static void test_access_ends_when_it_was_asked_to(void **state)
{
    struct subscription sub = paid_one();
    struct entitlement s;

    sub.ends_ms = NOW + 1;
    assert_int_equal(stand(*state, &sub).verdict, STANDING_GOOD);
    sub.ends_ms = NOW;
    s = stand(*state, &sub);
    assert_int_equal(s.verdict, STANDING_INACTIVE);
    assert_string_equal(s.status, "canceled");
}

static void test_what_is_paid_ends_some_days_after_its_period_unless_it_is_renewed(void **state)
{
    struct subscription sub = paid_one();

    sub.period_end_ms = NOW - 2 * DAY + 1;
    assert_int_equal(stand(*state, &sub).verdict, STANDING_GOOD);
    sub.period_end_ms = NOW - 2 * DAY;
    assert_int_equal(stand(*state, &sub).verdict, STANDING_NOT_PAID);
}

static void test_a_failed_payment_has_its_grace(void **state)
{
    struct subscription sub = paid_one();

    sub.status = "past_due";
    sub.past_due_ms = NOW - 3 * DAY + 1;
    assert_int_equal(stand(*state, &sub).verdict, STANDING_GOOD);
    sub.past_due_ms = NOW - 3 * DAY;
    assert_int_equal(stand(*state, &sub).verdict, STANDING_NOT_PAID);
}

static void test_what_is_not_usable_admits_no_run(void **state)
{
    static const struct {
        const char *status;
        enum entitlement_verdict verdict;
    } rows[] = {{"unpaid", STANDING_INACTIVE},
                {"canceled", STANDING_INACTIVE},
                {"incomplete", STANDING_NOT_PAID},
                {"something new", STANDING_NOT_PAID},
                {"trialing", STANDING_GOOD}};

    for (size_t i = 0; i < count_of(rows); i++) {
        struct subscription sub = paid_one();

        sub.status = rows[i].status;
        assert_int_equal(stand(*state, &sub).verdict, rows[i].verdict);
    }
}

static void test_who_has_cancelled_is_inactive(void **state)
{
    struct subscription sub = free_one();
    struct entitlement s;

    sub.status = "canceled";
    s = stand(*state, &sub);
    assert_int_equal(s.verdict, STANDING_INACTIVE);
    assert_string_equal(s.plan_name, "free");
    assert_non_null(strstr(entitlement_reason(*state, &s), "canceled"));
}

static void test_a_trial_ends_by_itself(void **state)
{
    struct subscription sub = free_one();
    struct entitlement s;

    sub.status = "trialing";
    sub.is_trial = true;
    sub.trial_start_ms = sub.usage_period_ms = NOW - 14 * DAY + 1;
    sub.trial_end_ms = NOW + 1;
    sub.runs = 49;
    s = stand(*state, &sub);
    assert_int_equal(s.verdict, STANDING_GOOD);
    assert_true(s.in_trial);
    assert_int_equal(s.limit, 50);
    assert_string_equal(s.plan_name, "free");
    assert_string_equal(s.status, "trialing");
    sub.trial_end_ms = NOW;
    s = stand(*state, &sub);
    assert_int_equal(s.verdict, STANDING_TRIAL_OVER);
    assert_false(s.in_trial);
    assert_string_equal(s.status, "canceled");
    sub.plan = "pro";
    sub.status = "active";
    sub.is_trial = false;
    assert_int_equal(stand(*state, &sub).verdict, STANDING_GOOD);
}

static void test_a_gift_is_in_force_until_it_ends_whatever_else_is(void **state)
{
    struct subscription sub = paid_one();
    struct entitlement s;

    sub.status = "unpaid";
    sub.gift_plan = "enterprise";
    s = stand(*state, &sub);
    assert_int_equal(s.verdict, STANDING_GOOD);
    assert_int_equal(s.limit, PLAN_UNLIMITED);
    assert_string_equal(s.plan_name, "enterprise");
    assert_string_equal(s.status, "active");
    sub.gift_runs = 8;
    assert_int_equal(stand(*state, &sub).limit, 8);
    sub.gift_until_ms = NOW;
    assert_int_equal(stand(*state, &sub).verdict, STANDING_INACTIVE);
}

static void test_a_plan_that_the_table_lost_gives_what_is_free(void **state)
{
    struct subscription sub = paid_one();
    struct entitlement s;

    sub.plan = "old";
    s = stand(*state, &sub);
    assert_int_equal(s.limit, 10);
    assert_string_equal(s.plan_name, "old");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT(test_free_is_ten_runs_of_a_calendar_month),
        UNIT(test_paid_is_the_plans_runs_in_stripes_period),
        UNIT(test_what_is_paid_ends_some_days_after_its_period_unless_it_is_renewed),
        UNIT(test_a_failed_payment_has_its_grace),
        UNIT(test_runs_are_a_months_from_the_anchors_day_whatever_the_interval),
        UNIT(test_what_is_not_paid_gives_no_fresh_runs),
        UNIT(test_access_ends_when_it_was_asked_to),
        UNIT(test_what_is_not_usable_admits_no_run),
        UNIT(test_who_has_cancelled_is_inactive),
        UNIT(test_a_trial_ends_by_itself),
        UNIT(test_a_gift_is_in_force_until_it_ends_whatever_else_is),
        UNIT(test_a_plan_that_the_table_lost_gives_what_is_free),
    };

    return RUN_UNITS(tests);
}
