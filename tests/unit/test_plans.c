#include "billing/plans.h"

#include "unit.h"

static const char *basic_prices[] = {"price_b1", "price_b0"};
static const struct settings settings = {.stripe_price_basic = {basic_prices, 2}};

static const struct plans *parse(void *mem, const char *text, struct texts *ret)
{
    return plans_parse(mem, &settings, "plans.json", text, strlen(text), ret);
}

static void assert_refused(void *mem, const char *text, const char *why)
{
    struct texts problems;

    assert_null(parse(mem, text, &problems));
    for (size_t i = 0; i < problems.count; i++) {
        assert_non_null(strstr(problems.of[i], "PLANS_FILE: plans.json: "));
        if (strstr(problems.of[i], why) != NULL)
            return;
    }
    fail_msg("%s: not told: %s", text, why);
}

static void test_the_built_in_plans_are_the_contracts(void **state)
{
    struct texts problems;
    const struct plans *plans = plans_load(*state, &settings, &problems);

    assert_int_equal(plans->count, 4);
    assert_int_equal(plans_free(plans)->runs, 10);
    assert_int_equal(plans_by_name(plans, "basic")->runs, 1000);
    assert_int_equal(plans_by_name(plans, "PRO")->runs, 5000);
    assert_int_equal(plans_by_name(plans, "enterprise")->runs, PLAN_UNLIMITED);
    assert_int_equal(plans->trial_days, 14);
    assert_int_equal(plans->trial_runs, 50);
    assert_null(plans_by_name(plans, "hobby"));
    assert_null(plan_price(plans_free(plans)));
}

static void test_the_first_price_is_sold_and_every_price_is_known(void **state)
{
    struct texts problems;
    const struct plans *plans = plans_load(*state, &settings, &problems);

    assert_string_equal(plan_price(plans_by_name(plans, "basic")), "price_b1");
    assert_string_equal(plans_by_price(plans, "price_b0")->name, "basic");
    assert_null(plans_by_price(plans, "price_x"));
    assert_null(plan_price(plans_by_name(plans, "pro")));
}

static void test_a_file_brings_plans_of_its_own(void **state)
{
    struct texts problems;
    const struct plans *plans = parse(
        *state,
        "{\"trial\":{\"days\":7,\"runs\":5},\"plans\":[{\"name\":\"free\",\"runs\":3},"
        "{\"name\":\"team\",\"runs\":-1,\"amount\":9900,\"currency\":\"eur\","
        "\"stripe_prices\":[\"price_t\"],\"features\":[\"all\"]},{\"name\":\"basic\",\"runs\":9}]}",
        &problems);

    assert_non_null(plans);
    assert_int_equal(plans->count, 3);
    assert_int_equal(plans->trial_days, 7);
    assert_int_equal(plans->trial_runs, 5);
    assert_string_equal(plans_by_price(plans, "price_t")->name, "team");
    assert_int_equal(plans_by_name(plans, "team")->amount, 9900);
    assert_string_equal(plans_by_name(plans, "team")->currency, "eur");
    assert_string_equal(plans_by_name(plans, "team")->features.of[0], "all");
    assert_string_equal(plan_price(plans_by_name(plans, "basic")), "price_b1");
    assert_int_equal(plan_rank(plans, plans_by_name(plans, "team")), 1);
}

static void test_without_a_trial_in_the_file_there_is_none(void **state)
{
    struct texts problems;

    assert_int_equal(
        parse(*state, "{\"plans\":[{\"name\":\"free\",\"runs\":3}]}", &problems)->trial_days, 0);
}

static void test_what_is_wrong_in_a_file_is_told(void **state)
{
    assert_refused(*state, "", "is not JSON");
    assert_refused(*state, "[]", "{\"plans\": [...]}");
    assert_refused(*state, "{\"plans\":[]}", "1 to 32");
    assert_refused(*state, "{\"plans\":[{\"name\":\"pro\",\"runs\":1}]}", "no plan \"free\"");
    assert_refused(*state, "{\"plans\":[{\"name\":\"Free\",\"runs\":1}]}", "small letters");
    assert_refused(*state, "{\"plans\":[{\"name\":\"free\"}]}", "runs is missing");
    assert_refused(*state, "{\"plans\":[{\"name\":\"free\",\"runs\":-2}]}", "at least -1");
    assert_refused(*state, "{\"plans\":[{\"name\":\"free\",\"runs\":1.5}]}", "whole number");
    assert_refused(*state, "{\"plans\":[{\"name\":\"free\",\"runs\":1,\"limit\":2}]}",
                   "no member \"limit\"");
    assert_refused(*state,
                   "{\"plans\":[{\"name\":\"free\",\"runs\":1},{\"name\":\"free\",\"runs\":2}]}",
                   "twice");
    assert_refused(*state, "{\"plans\":[{\"name\":\"free\",\"runs\":1,\"stripe_prices\":[\"p\"]}]}",
                   "has no price");
    assert_refused(*state, "{\"plans\":[{\"name\":\"free\",\"runs\":1,\"currency\":\"USD\"}]}",
                   "small letters");
    assert_refused(*state,
                   "{\"plans\":[{\"name\":\"free\",\"runs\":1},{\"name\":\"a\",\"runs\":1,"
                   "\"stripe_prices\":[\"p/1\"]}]}",
                   "a price");
    assert_refused(
        *state,
        "{\"plans\":[{\"name\":\"free\",\"runs\":1},{\"name\":\"a\",\"runs\":1,"
        "\"stripe_prices\":[\"p\"]},{\"name\":\"b\",\"runs\":1,\"stripe_prices\":[\"p\"]}]}",
        "plan a too");
    assert_refused(*state, "{\"plans\":[{\"name\":\"free\",\"runs\":1}],\"trial\":5}",
                   "trial: must");
    assert_refused(*state, "{\"plans\":[{\"name\":\"free\",\"runs\":1}],\"trail\":{}}",
                   "no member \"trail\"");
}

static void test_every_problem_is_told_at_once(void **state)
{
    struct texts problems;

    assert_null(parse(
        *state, "{\"plans\":[{\"name\":\"a\",\"amount\":\"x\"},{\"name\":5}],\"x\":1}", &problems));
    assert_int_equal(problems.count, 5);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT(test_the_built_in_plans_are_the_contracts),
        UNIT(test_the_first_price_is_sold_and_every_price_is_known),
        UNIT(test_a_file_brings_plans_of_its_own),
        UNIT(test_without_a_trial_in_the_file_there_is_none),
        UNIT(test_what_is_wrong_in_a_file_is_told),
        UNIT(test_every_problem_is_told_at_once),
    };

    return RUN_UNITS(tests);
}
