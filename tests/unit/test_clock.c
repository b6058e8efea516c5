#include "core/clock.h"

#include "unit.h"

static void times_that_others_say_are_bounded(void **state)
{
    static const struct {
        int64_t said_s, ms;
    } rows[] = {
        {0, 0},
        {1, 1000},
        {1700000000, INT64_C(1700000000000)},
        {CLOCK_LAST_S, CLOCK_LAST_S * 1000},
        {CLOCK_LAST_S + 1, CLOCK_LAST_S * 1000},
        {INT64_MAX / 1000, CLOCK_LAST_S * 1000},
        {INT64_MAX, CLOCK_LAST_S * 1000},
        {-1, 0},
        {INT64_MIN, 0},
    };

    (void)state;
    for (size_t i = 0; i < count_of(rows); i++)
        assert_int_equal(clock_ms_of(rows[i].said_s), rows[i].ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(times_that_others_say_are_bounded),
    };

    return RUN_UNITS(tests);
}
