/* What stands before every store, with one that only notes what it is asked. */
#include "store/implementation.h"

#include "core/clock.h"
#include "core/loop.h"

#include "unit.h"

#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOMENT_MS = 250 };

struct noting_store {
    struct store store;
    int asked;
    int64_t deadline_ms; /* of the task with which it was asked last */
    enum err answer;
    unsigned told[2]; /* by enum store_work */
};

static enum err note(struct task *task, struct store *store)
{
    struct noting_store *noting = container_of(store, struct noting_store, store);

    noting->asked++;
    noting->deadline_ms = task->deadline_ms;
    return noting->answer;
}

static enum err by_email(struct task *task, struct store *store, const char *email, bool *ret_found,
                         struct user *ret)
{
    (void)email;
    (void)ret;
    *ret_found = false;
    return note(task, store);
}

static enum err mail_done(struct task *task, struct store *store, const char *id)
{
    (void)id;
    return note(task, store);
}

static enum err code_issue(struct task *task, struct store *store, const struct code *code,
                           int64_t wait_ms, const struct mail *mail, enum code_issued *ret,
                           int64_t *ret_left_ms)
{
    (void)code;
    (void)wait_ms;
    (void)mail;
    (void)ret;
    (void)ret_left_ms;
    return note(task, store);
}

static enum err event_done(struct task *task, struct store *store, const char *id,
                           const char *state, enum event_reason reason, const char *user_id,
                           const char *error, const struct mail *mail, int64_t now_ms)
{
    (void)id;
    (void)state;
    (void)reason;
    (void)user_id;
    (void)error;
    (void)mail;
    (void)now_ms;
    return note(task, store);
}

static enum err put_later(struct task *task, struct store *store, const struct event *event,
                          int64_t lease_ms, struct event_kept *ret, struct store_later *later)
{
    (void)event;
    (void)lease_ms;
    (void)ret;
    (void)later;
    return note(task, store);
}

static const struct store_users_operations users = {.user_by_email = by_email};
static const struct store_mails_operations mails = {.mail_done = mail_done};
static const struct store_codes_operations codes = {.code_issue = code_issue};
static const struct store_billing_operations billing = {.event_done = event_done,
                                                        .event_put_later = put_later};
static const struct store_operations operations = {
    .users = &users, .mails = &mails, .codes = &codes, .billing = &billing};

static enum err find(struct noting_store *noting, struct task *task)
{
    bool found;
    struct user user;

    return store_user_by_email(task, &noting->store, "ann@example.com", &found, &user);
}

static void test_an_operation_whose_deadline_has_passed_is_refused_without_the_store(void **state)
{
    struct noting_store noting = {.store = {.operations = &operations}};
    struct task task = {.mem = *state, .deadline_ms = clock_mono_ms() - 1};
    struct event_kept kept;
    struct store_later later = {0};

    assert_int_equal(find(&noting, &task), ERR_BUSY);
    assert_int_equal(task.err, ERR_BUSY);
    assert_non_null(task.text);
    assert_int_equal(store_event_put_later(&task, &noting.store, NULL, 0, &kept, &later), ERR_BUSY);
    assert_int_equal(noting.asked, 0);
    task.deadline_ms = clock_mono_ms() + 60000;
    assert_int_equal(find(&noting, &task), OK);
    assert_int_equal(noting.deadline_ms, task.deadline_ms);
    task.deadline_ms = 0;
    assert_int_equal(find(&noting, &task), OK);
    assert_int_equal(noting.asked, 2);
}

static void test_what_has_happened_elsewhere_is_noted_for_a_moment_longer(void **state)
{
    struct noting_store noting = {.store = {.operations = &operations}};
    int64_t now_ms = clock_mono_ms(), passed_ms = now_ms - 1000;
    struct task task = {.mem = *state, .deadline_ms = passed_ms};

    assert_int_equal(store_mail_done(&task, &noting.store, "1"), OK);
    assert_in_range(noting.deadline_ms, now_ms + MOMENT_MS, clock_mono_ms() + MOMENT_MS);
    assert_int_equal(task.deadline_ms, passed_ms);
    task.deadline_ms = now_ms + 60000;
    assert_int_equal(store_mail_done(&task, &noting.store, "1"), OK);
    assert_int_equal(noting.deadline_ms, now_ms + 60000);
}

static void count_told(void *argument, enum store_work work)
{
    ((unsigned *)argument)[work]++;
}

static void test_work_that_was_put_in_is_told_once_it_is_in(void **state)
{
    struct noting_store noting = {.store = {.operations = &operations}};
    struct task task = {.mem = *state};
    const struct mail mail = {.to = ""};
    enum code_issued issued;
    int64_t left_ms;

    store_tell(&noting.store, count_told, noting.told);
    assert_int_equal(store_code_issue(&task, &noting.store, NULL, 0, NULL, &issued, &left_ms), OK);
    assert_int_equal(noting.told[STORE_WORK_MAILS] + noting.told[STORE_WORK_EVENTS], 0);
    assert_int_equal(store_code_issue(&task, &noting.store, NULL, 0, &mail, &issued, &left_ms), OK);
    assert_int_equal(noting.told[STORE_WORK_MAILS], 1);
    noting.answer = ERR_STORE;
    assert_int_equal(store_code_issue(&task, &noting.store, NULL, 0, &mail, &issued, &left_ms),
                     ERR_STORE);
    assert_int_equal(noting.told[STORE_WORK_MAILS], 1);
    noting.answer = OK;
    assert_int_equal(
        store_event_done(&task, &noting.store, "", EVENT_DONE, REASON_NONE, NULL, NULL, &mail, 0),
        OK);
    assert_int_equal(noting.told[STORE_WORK_MAILS], 2);
    assert_int_equal(noting.told[STORE_WORK_EVENTS], 1);
}

static struct noting_store asked_on_loop = {.store = {.operations = &operations}};

static void ask_on_loop(struct post *post)
{
    auto_tree void *mem = mem_tree(0);
    struct task task = {.mem = mem};

    (void)post;
    (void)!find(&asked_on_loop, &task);
    _exit(0);
}

static void test_an_operation_on_a_loop_ends_the_program(void **state)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        struct post post = {.run = ask_on_loop};

        fclose(stderr);
        assert_true(loop_post(loop_start(*state, 0), &post));
        pause();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_an_operation_whose_deadline_has_passed_is_refused_without_the_store),
        UNIT(test_what_has_happened_elsewhere_is_noted_for_a_moment_longer),
        UNIT(test_work_that_was_put_in_is_told_once_it_is_in),
        UNIT(test_an_operation_on_a_loop_ends_the_program),
    };

    return RUN_UNITS(tests);
}
