#include "limit/rule.h"

#include "unit.h"

static void assert_rule(const char *text, unsigned count, const uint32_t *limits_and_seconds)
{
    struct rule rule;
    const char *wrong = rule_parse(text, &rule);

    if (wrong != NULL)
        fail_msg("\"%s\" %s", text, wrong);
    assert_int_equal(rule.count, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(rule.windows[i].limit, limits_and_seconds[2 * i]);
        assert_int_equal(rule.windows[i].seconds, limits_and_seconds[2 * i + 1]);
    }
}

#define RULE(text, count, ...) assert_rule(text, count, (const uint32_t[]){__VA_ARGS__})

static void windows_are_read_in_every_spelling(void **state)
{
    (void)state;
    RULE("5/minute;20/hour", 2, 5, 60, 20, 3600);
    RULE("10/30s", 1, 10, 30);
    RULE(" 5 / minute ; 20 / 2 hours ", 2, 5, 60, 20, 7200);
    RULE("1/DAY;2/Seconds;3/m;4/30d", 4, 1, 86400, 2, 1, 3, 60, 4, 2592000);
    RULE("100000/second", 1, 100000, 1);
    RULE("unlimited", 0, 0);
    RULE(" Unlimited ", 0, 0);
}

static void the_largest_limit_and_window_are_told(void **state)
{
    struct rule rule;

    (void)state;
    assert_null(rule_parse("5/minute;20/hour;7/day", &rule));
    assert_int_equal(rule.most, 20);
    assert_int_equal(rule.longest, 86400);
}

static void what_is_no_rule_is_refused_with_its_mend(void **state)
{
    static const char *const wrong[] = {
        "",
        "5",
        "5/",
        "/minute",
        "5/fortnight",
        "5/minute;",
        ";5/minute",
        "5/minute,",
        "-5/minute",
        "0/minute",
        "5/0s",
        "5.5/minute",
        "100001/hour",
        "5/31d",
        "5/minutes5",
        "5 5/minute",
        "unlimited;5",
        "5/minute;;6",
        "1/s;2/s;3/s;4/s;5/s",
        "9999999999/s",
        "5/99999999999s",
        "5/minute x",
        "0x5/minute",
        "5/minutess",
        "unlimitedx",
        "5//minute",
    };
    struct rule rule;

    (void)state;
    for (size_t i = 0; i < count_of(wrong); i++) {
        if (rule_parse(wrong[i], &rule) == NULL)
            fail_msg("\"%s\" was taken", wrong[i]);
    }
}

static void a_window_is_told_in_words(void **state)
{
    assert_string_equal(rule_window_text(*state, &(struct rule_window){5, 60}), "5 per minute");
    assert_string_equal(rule_window_text(*state, &(struct rule_window){10, 30}),
                        "10 per 30 seconds");
    assert_string_equal(rule_window_text(*state, &(struct rule_window){3, 7200}), "3 per 2 hours");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT(windows_are_read_in_every_spelling),
        UNIT(the_largest_limit_and_window_are_told),
        UNIT(what_is_no_rule_is_refused_with_its_mend),
        UNIT(a_window_is_told_in_words),
    };

    return RUN_UNITS(tests);
}
