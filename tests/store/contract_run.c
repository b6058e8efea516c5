#include "contract.h"
#include "killed.h"
#include "sample.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { ROWS_MOST = 64 };

static const struct contract_store *tried;

/* One test's store. */
struct trial {
    struct task *task;
    const char *folder;
    struct store *store; /* open, or NULL */
    const struct contract_test *row;
};

static void open_again(struct trial *trial)
{
    assert_null(trial->store);
    trial->store = tried->open(trial->task, trial->folder);
    if (trial->store == NULL)
        fail_msg("%s", trial->task->text);
}

static void shut(struct trial *trial)
{
    store_close(take_ptr(trial->store));
}

static int begin_closed(void **state)
{
    const struct contract_test *row = *state;
    struct task *task;
    struct trial *trial;

    sample_begin((void **)&task);
    trial = mem_new(task->mem, struct trial);
    *trial = (struct trial){.task = task, .folder = sample_folder(task->mem), .row = row};
    *state = trial;
    return trial->folder == NULL ? -1 : 0;
}

static int begin(void **state)
{
    int failed = begin_closed(state);

    if (failed == 0)
        open_again(*state);
    return failed;
}

static int end(void **state)
{
    struct trial *trial = *state;
    void *task = trial->task;

    if (trial->store != NULL)
        shut(trial);
    if (tried->remove != NULL)
        tried->remove(trial->folder);
    sample_remove(trial->folder);
    return sample_end(&task);
}

static void assert_sound(const struct trial *trial)
{
    const char *fault;

    assert_int_equal(store_check(trial->task, trial->store, &fault), OK);
    if (fault != NULL)
        fail_msg("%s", fault);
}

/* Closing, opening and being killed */

static void test_what_was_written_is_there_after_closing_and_opening(void **state)
{
    struct trial *trial = *state;
    struct user written = sample_user(trial->task->mem), user;
    struct session_record session = sample_session(trial->task->mem, written.id), read;

    sample_create(trial->task, trial->store, &written, &session);
    assert_int_equal(store_session_end(trial->task, trial->store, session.id, SAMPLE_MS, NULL), OK);
    session.ended_ms = SAMPLE_MS;
    for (int i = 0; i < 3; i++) {
        shut(trial);
        open_again(trial);
        user = sample_read_user(trial->task, trial->store, written.id);
        assert_same_user(&user, &written);
        read = sample_read_session(trial->task, trial->store, session.id);
        assert_same_session(&read, &session);
    }
}

static void test_what_was_acknowledged_is_there_after_kill_9(void **state)
{
    enum { KILLS = 3, LEAST = 50 };
    struct trial *trial = *state;
    struct acknowledged *list = NULL;
    size_t count = 0;

    for (int i = 0; i < KILLS; i++) {
        int fd;
        pid_t pid = killed_start(trial->task, tried->open, trial->folder, &fd);

        list = killed_read(trial->task->mem, fd, list, &count, count + LEAST);
        killed_end(pid);
        list = killed_read(trial->task->mem, fd, list, &count, SIZE_MAX);
        close(fd);
        open_again(trial);
        assert_sound(trial);
        for (size_t k = 0; k < count; k++)
            assert_kept(trial->task, trial->store, &list[k]);
        shut(trial);
    }
    assert_true(count >= KILLS * LEAST);
}

static int run_opening(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_written_is_there_after_closing_and_opening,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_what_was_acknowledged_is_there_after_kill_9,
                                        begin_closed, end),
    };

    return cmocka_run_group_tests_name("closing and opening", tests, NULL, NULL);
}

/* Rows */

static void run_row(void **state)
{
    struct trial *trial = *state;

    trial->row->run(trial->store);
    contract_end();
    assert_sound(trial);
    assert_int_equal(store_ping(trial->task, trial->store), OK);
}

/* One group, a test for each row. */
static int run_rows(void)
{
    struct CMUnitTest tests[ROWS_MOST];
    size_t count = 0;

    for (; contract_tests[count].name != NULL; count++) {
        assert(count < count_of(tests));
        tests[count] = (struct CMUnitTest){contract_tests[count].name, run_row, begin, end,
                                           (void *)&contract_tests[count]};
    }
    return _cmocka_run_group_tests("contract", tests, count, NULL, NULL);
}

int contract_run(const struct contract_store *of)
{
    struct trial *trial = NULL;
    int failed;

    tried = of;
    print_message("The contract, with %s:\n", tried->name);
    failed = run_opening() + run_rows();
    begin((void **)&trial);
    failed += contract_sessions_run(trial->store);
    failed += contract_mail_run(trial->store);
    failed += contract_billing_run(trial->store);
    end((void **)&trial);
    return failed;
}
