/* Who waits for the writer of the embedded store does so until their deadline, while another
 * program keeps it from writing. */
#include "store/sqlite.h"

#include "core/clock.h"
#include "sample.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* A machine may stand still for a while: one try in so many need not. */
enum { TRIES = 20, SHORT_MS = 20, MOMENT_MS = 250 };

struct place {
    struct task *task;
    char folder[64];
    struct store *store;
    sqlite3 *other;
};

static int begin(void **state)
{
    struct place *place = calloc(1, sizeof *place);

    *state = place;
    sample_begin((void **)&place->task);
    snprintf(place->folder, sizeof place->folder, "/tmp/manus-deadlines-XXXXXX");
    if (mkdtemp(place->folder) == NULL)
        return -1;
    place->store = sqlite_open(place->task, place->task->mem, place->folder);
    return place->store == NULL ? -1 : 0;
}

static int end(void **state)
{
    struct place *place = *state;
    void *task = place->task;
    const char *remove = mem_printf(place->task->mem, "rm -r %s", place->folder);

    store_close(place->store);
    if (system(remove) != 0)
        return -1;
    free(place);
    return sample_end(&task);
}

/* Nobody writes until let_write(). */
static void keep_from_writing(struct place *place)
{
    const char *path = mem_printf(place->task->mem, "%s/manus.sqlite", place->folder);

    assert_int_equal(sqlite3_open(path, &place->other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(place->other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
}

static void let_write(struct place *place)
{
    assert_int_equal(sqlite3_exec(place->other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(place->other), SQLITE_OK);
}

/* How long it waits to be refused. */
static int64_t mark(struct place *place, int64_t deadline_ms)
{
    int64_t began_ms = clock_mono_ms();

    place->task->deadline_ms = deadline_ms;
    assert_int_equal(store_user_void_tokens(place->task, place->store, "ann", 1), ERR_BUSY);
    return clock_mono_ms() - began_ms;
}

static int64_t note(struct place *place, int64_t deadline_ms)
{
    int64_t began_ms = clock_mono_ms();

    place->task->deadline_ms = deadline_ms;
    assert_int_equal(store_customer_forget(place->task, place->store, "cus_1"), ERR_BUSY);
    return clock_mono_ms() - began_ms;
}

static void test_a_write_waits_until_its_deadline_and_no_longer(void **state)
{
    struct place *place = *state;
    int64_t least_ms = INT64_MAX;

    keep_from_writing(place);
    for (int i = 0; i < TRIES && least_ms > MOMENT_MS / 2; i++) {
        int64_t took_ms = mark(place, clock_mono_ms() + SHORT_MS);

        assert_true(took_ms >= SHORT_MS - 1);
        least_ms = took_ms < least_ms ? took_ms : least_ms;
    }
    assert_in_range(least_ms, SHORT_MS - 1, MOMENT_MS / 2);
    let_write(place);
}

static void test_what_tells_of_the_past_waits_a_moment_behind_its_deadline(void **state)
{
    struct place *place = *state;
    int64_t passed_ms = clock_mono_ms() - 1000;

    place->task->deadline_ms = passed_ms;
    assert_int_equal(store_customer_forget(place->task, place->store, "cus_1"), OK);
    assert_int_equal(place->task->deadline_ms, passed_ms);
    keep_from_writing(place);
    assert_true(note(place, passed_ms) >= MOMENT_MS - 1);
    let_write(place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_write_waits_until_its_deadline_and_no_longer, begin,
                                        end),
        cmocka_unit_test_setup_teardown(
            test_what_tells_of_the_past_waits_a_moment_behind_its_deadline, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
