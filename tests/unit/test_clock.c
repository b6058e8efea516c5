#include "core/clock.h"
#include "core/loop.h"

#include "unit.h"

#include <semaphore.h>

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

/* What one turn of a loop is told, before and after a while. */
struct told {
    struct post post;
    sem_t done;
    int64_t wall_ms[2], mono_us[2], now_us;
};

static void ask_twice(struct post *post)
{
    struct told *told = container_of(post, struct told, post);

    for (int i = 0; i < 2; i++) {
        told->wall_ms[i] = clock_turn_wall_ms();
        told->mono_us[i] = clock_turn_mono_us();
        usleep(3000);
    }
    told->now_us = clock_mono_us();
    sem_post(&told->done);
}

static void a_turn_of_a_loop_has_one_time_and_the_next_one_another(void **state)
{
    struct loop *loop = loop_start(*state, 0);
    int64_t began_us = clock_mono_us(), last_us = began_us;
    int64_t began_ms = clock_wall_ms();

    for (int i = 0; i < 3; i++) {
        struct told told = {.post.run = ask_twice};

        sem_init(&told.done, 0, 0);
        assert_true(loop_post(loop, &told.post));
        sem_wait(&told.done);
        sem_destroy(&told.done);
        assert_int_equal(told.wall_ms[0], told.wall_ms[1]);
        assert_int_equal(told.mono_us[0], told.mono_us[1]);
        assert_true(told.mono_us[0] >= last_us && told.mono_us[0] < told.now_us);
        assert_true(told.wall_ms[0] >= began_ms);
        last_us = told.now_us;
    }
    loop_stop(loop);
    loop_join(loop);
}

static void where_no_loop_turns_the_time_is_now(void **state)
{
    int64_t before_us = clock_turn_mono_us();

    (void)state;
    usleep(1000);
    assert_true(clock_turn_mono_us() > before_us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(times_that_others_say_are_bounded),
        UNIT(a_turn_of_a_loop_has_one_time_and_the_next_one_another),
        UNIT(where_no_loop_turns_the_time_is_now),
    };

    return RUN_UNITS(tests);
}
