/* Who holds a user keeps nobody else waiting. */
#include "billing/billing.h"

#include "core/clock.h"

#include "unit.h"

#include <pthread.h>
#include <unistd.h>

enum { OTHERS = 2000 };

static struct billing *opened(void *mem)
{
    struct settings *settings = mem_new(mem, struct settings);

    return billing_open(mem, NULL, settings, NULL);
}

static void test_who_holds_a_user_keeps_no_other_user_waiting(void **state)
{
    struct billing *billing = opened(*state);

    assert_true(billing_lock_soon(billing, "slow"));
    for (int i = 0; i < OTHERS; i++) {
        const char *other = mem_printf(*state, "user-%d", i);

        assert_true(billing_lock_soon(billing, other));
        billing_unlock(billing, other);
    }
    billing_unlock(billing, "slow");
}

static void test_who_waits_for_a_user_leaves_at_the_deadline(void **state)
{
    struct billing *billing = opened(*state);
    struct task task = {.mem = *state, .deadline_ms = clock_mono_ms() + 60000};

    assert_int_equal(billing_lock(&task, billing, "ann"), OK);
    task.deadline_ms = clock_mono_ms() + 50;
    assert_int_equal(billing_lock(&task, billing, "ann"), ERR_BUSY);
    assert_int_equal(billing_lock(&task, billing, "bob"), OK);
    billing_unlock(billing, "ann");
    assert_int_equal(billing_lock(&task, billing, "ann"), OK);
    billing_unlock(billing, "ann");
    billing_unlock(billing, "bob");
}

static void test_a_user_who_is_held_is_waited_for_a_second_and_no_longer(void **state)
{
    struct billing *billing = opened(*state);
    int64_t started_ms = clock_mono_ms(), took_ms;

    assert_true(billing_lock_soon(billing, "ann"));
    assert_false(billing_lock_soon(billing, "ann"));
    took_ms = clock_mono_ms() - started_ms;
    assert_in_range(took_ms, 900, 5000);
    billing_unlock(billing, "ann");
    assert_true(billing_lock_soon(billing, "ann"));
    billing_unlock(billing, "ann");
}

struct racer {
    struct billing *billing;
    int *inside;
};

static void *race(void *argument)
{
    struct racer *racer = argument;
    struct task task = {.deadline_ms = clock_mono_ms() + 120000};

    for (int i = 0; i < 200; i++) {
        assert_int_equal(billing_lock(&task, racer->billing, "ann"), OK);
        assert_int_equal(++*racer->inside, 1);
        if (i % 50 == 0)
            usleep(100);
        --*racer->inside;
        billing_unlock(racer->billing, "ann");
    }
    return NULL;
}

static void test_one_at_a_time_holds_a_user(void **state)
{
    int inside = 0;
    struct racer racer = {opened(*state), &inside};
    pthread_t threads[8];

    for (size_t i = 0; i < count_of(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racer), 0);
    for (size_t i = 0; i < count_of(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(inside, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT(test_who_holds_a_user_keeps_no_other_user_waiting),
        UNIT(test_who_waits_for_a_user_leaves_at_the_deadline),
        UNIT(test_a_user_who_is_held_is_waited_for_a_second_and_no_longer),
        UNIT(test_one_at_a_time_holds_a_user),
    };

    return RUN_UNITS(tests);
}
