/* Parts are opened, told to stop and waited for in their order, and the rows of the server have
 * what is read of them. */
#include "cli/order.h"

#include "core/clock.h"
#include "unit.h"

#include <semaphore.h>

static char said[64];
static sem_t release;

static void say(char what)
{
    said[strlen(said)] = what;
}

static int begin(void **state)
{
    memset(said, 0, sizeof said);
    sem_init(&release, 0, 0);
    return unit_begin(state);
}

static struct program program_in(void *mem)
{
    return (struct program){.mem = mem};
}

static bool open_a(struct program *p, const char **ret_why)
{
    (void)p, (void)ret_why;
    say('a');
    return true;
}

static bool open_b(struct program *p, const char **ret_why)
{
    (void)p, (void)ret_why;
    say('b');
    return true;
}

static bool refuse(struct program *p, const char **ret_why)
{
    (void)p;
    say('!');
    *ret_why = "it rains";
    return false;
}

static void start_a(struct program *p)
{
    (void)p;
    say('s');
}

static void tell_a(struct program *p)
{
    (void)p;
    say('1');
}

static void tell_b(struct program *p)
{
    (void)p;
    say('2');
}

static bool wait_a(struct program *p, int64_t left_ms)
{
    (void)p, (void)left_ms;
    say('A');
    return true;
}

static bool wait_b(struct program *p, int64_t left_ms)
{
    (void)p, (void)left_ms;
    say('B');
    return true;
}

static bool hang(struct program *p, int64_t left_ms)
{
    (void)p, (void)left_ms;
    sem_wait(&release);
    return true;
}

static bool fail_at_once(struct program *p, int64_t left_ms)
{
    (void)p, (void)left_ms;
    return false;
}

/* Rows outlive who reads them, as those of the server do. */
#define A                                                                                          \
    {                                                                                              \
        .name = "a", .open = open_a, .start = start_a, .stop_begin = tell_a, .stop_wait = wait_a   \
    }
#define B                                                                                          \
    {                                                                                              \
        .name = "b", .open = open_b, .stop_begin = tell_b, .stop_wait = wait_b,                    \
        .stops_early = true                                                                        \
    }
#define NOTHING                                                                                    \
    {                                                                                              \
        .name = "nothing"                                                                          \
    }

static void test_all_are_opened_before_one_is_started(void **state)
{
    static const struct part rows[] = {A, NOTHING, B};
    struct program p = program_in(*state);
    const char *why = NULL;

    assert_true(order_open(rows, count_of(rows), &p, &why));
    order_start(rows, count_of(rows), &p);
    assert_string_equal(said, "abs");
}

static void test_what_was_open_is_closed_again_if_one_does_not_open(void **state)
{
    static const struct part rows[] = {A, B, {.name = "c", .open = refuse, .stop_wait = hang}, A};
    struct program p = program_in(*state);
    const char *why = NULL;

    assert_false(order_open(rows, count_of(rows), &p, &why));
    assert_string_equal(why, "it rains");
    assert_string_equal(said, "ab!12BA");
}

static void
test_all_are_told_before_one_is_waited_for_and_the_last_is_waited_for_first(void **state)
{
    static const struct part rows[] = {A, NOTHING, B};
    struct program p = program_in(*state);

    order_stop_early(rows, count_of(rows), &p);
    assert_string_equal(said, "2");
    assert_true(order_stop(rows, count_of(rows), &p));
    assert_string_equal(said, "212BA");
}

static void
test_a_part_that_does_not_end_is_left_behind_and_what_it_may_use_stays_open(void **state)
{
    static const struct part rows[] = {A, {.name = "c", .stop_wait = hang, .stop_ms = 300}, B};
    /* The thread that waits goes on for a moment, with this memory. */
    static void *volatile kept;
    struct program p = program_in(mem_tree(0));
    int64_t since_ms = clock_mono_ms();

    (void)state;
    kept = mem_zero(p.mem, 16);
    assert_false(order_stop(rows, count_of(rows), &p));
    assert_non_null(kept);
    assert_in_range(clock_mono_ms() - since_ms, 300, 5000);
    assert_string_equal(said, "12B");
    sem_post(&release);
    usleep(50000);
    assert_string_equal(said, "12B");
}

static void test_a_part_that_says_it_goes_on_ends_the_waiting_at_once(void **state)
{
    static const struct part rows[] = {A,
                                       {.name = "c", .stop_wait = fail_at_once, .stop_ms = 60000}};
    struct program p = program_in(*state);
    int64_t since_ms = clock_mono_ms();

    assert_false(order_stop(rows, count_of(rows), &p));
    assert_in_range(clock_mono_ms() - since_ms, 0, 30000);
    assert_string_equal(said, "1");
}

/* Others may have used up the time that all have together. */
static void test_a_part_that_ends_at_once_is_given_a_moment_whatever_the_time(void **state)
{
    static const struct part rows[] = {A};
    struct program p = program_in(*state);

    assert_int_equal(rows[0].stop_ms, 0);
    assert_true(order_stop(rows, count_of(rows), &p));
    assert_string_equal(said, "1A");
}

static void test_the_rows_of_the_server_have_what_is_read_of_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < part_count; i++) {
        const struct part *part = &parts[i];
        bool is_probed = part->lane != LANE_LOOP || part->probe_ms != 0;

        if (is_probed != (part->probe != NULL) || (part->probe_ms != 0) != (part->place != NULL) ||
            (part->stop_wait != NULL) != (part->stop_ms > 0) ||
            (part->stops_early && part->stop_begin == NULL) ||
            (part->label != NULL) != (part->shown != NULL) ||
            (part->field != NULL) != (part->shown != NULL) ||
            (part->title != NULL && part->is_configured == NULL))
            fail_msg("the row of %s lacks something", part->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define PARTS(test) cmocka_unit_test_setup_teardown(test, begin, unit_end)
        PARTS(test_all_are_opened_before_one_is_started),
        PARTS(test_what_was_open_is_closed_again_if_one_does_not_open),
        PARTS(test_all_are_told_before_one_is_waited_for_and_the_last_is_waited_for_first),
        PARTS(test_a_part_that_does_not_end_is_left_behind_and_what_it_may_use_stays_open),
        PARTS(test_a_part_that_says_it_goes_on_ends_the_waiting_at_once),
        PARTS(test_a_part_that_ends_at_once_is_given_a_moment_whatever_the_time),
        PARTS(test_the_rows_of_the_server_have_what_is_read_of_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
