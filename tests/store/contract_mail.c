#include "contract.h"

#include "sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { RACERS = 12, WAIT_MS = 60000, LIFE_MS = 300000, LEASE_MS = 1000 };

static struct store *store;

static struct mail mail_at(int64_t at_ms, const char *to)
{
    return (struct mail){.to = to, .content = "Subject: one\r\n\r\nhello\r\n", .created_ms = at_ms};
}

static struct code code_at(struct task *task, int64_t at_ms, const char *email)
{
    struct code code = {
        .purpose = "reset", .email = email, .created_ms = at_ms, .expires_ms = at_ms + LIFE_MS};

    (void)task;
    crypto_random(code.hash, sizeof code.hash);
    return code;
}

static enum code_issued issue(struct task *task, const struct code *code, const struct mail *mail,
                              int64_t *ret_left_ms)
{
    enum code_issued issued;

    assert_int_equal(store_code_issue(task, store, code, WAIT_MS, mail, &issued, ret_left_ms), OK);
    return issued;
}

static bool try_code(struct task *task, const struct code *code, const char *purpose,
                     int64_t now_ms)
{
    bool right;

    assert_int_equal(
        store_code_try(task, store, purpose, code->email, code->hash, now_ms, NULL, &right), OK);
    return right;
}

static int64_t count_mails(struct task *task)
{
    int64_t count;

    assert_int_equal(store_mail_count(task, store, &count), OK);
    return count;
}

static bool take(struct task *task, int64_t now_ms, struct mail *ret)
{
    bool found;

    assert_int_equal(store_mail_take(task, store, now_ms, LEASE_MS, &found, ret), OK);
    return found;
}

static unsigned retry(struct task *task, const char *id, int64_t now_ms)
{
    unsigned count;

    assert_int_equal(store_mail_retry(task, store, id, now_ms, &count), OK);
    return count;
}

/* Codes */

static void test_a_code_is_right_once_for_its_purpose_and_address(void **state)
{
    struct task *task = *state;
    struct code code = code_at(task, SAMPLE_MS, sample_email(task->mem));
    int64_t left_ms;

    assert_int_equal(issue(task, &code, NULL, &left_ms), CODE_ISSUED);
    assert_false(try_code(task, &code, "verify", SAMPLE_MS));
    assert_true(try_code(task, &code, "reset", SAMPLE_MS + LIFE_MS - 1));
    assert_false(try_code(task, &code, "reset", SAMPLE_MS));
}

static void test_a_code_that_is_only_looked_at_stays_as_good_as_it_was(void **state)
{
    const struct code_action look = {.only_look = true};
    struct task *task = *state;
    struct code code = code_at(task, SAMPLE_MS, sample_email(task->mem)), wrong = code;
    int64_t left_ms;
    bool right;

    wrong.hash[0] ^= 1;
    assert_int_equal(issue(task, &code, NULL, &left_ms), CODE_ISSUED);
    for (int i = 0; i < 2 * CODE_TRIES; i++) {
        assert_int_equal(
            store_code_try(task, store, "reset", code.email, code.hash, SAMPLE_MS, &look, &right),
            OK);
        assert_true(right);
    }
    for (int i = 1; i < CODE_TRIES; i++) {
        assert_int_equal(
            store_code_try(task, store, "reset", code.email, wrong.hash, SAMPLE_MS, &look, &right),
            OK);
        assert_false(right);
    }
    assert_true(try_code(task, &code, "reset", SAMPLE_MS));
}

static void test_a_code_expires(void **state)
{
    struct task *task = *state;
    struct code code = code_at(task, SAMPLE_MS, sample_email(task->mem));
    int64_t left_ms;

    assert_int_equal(issue(task, &code, NULL, &left_ms), CODE_ISSUED);
    assert_false(try_code(task, &code, "reset", SAMPLE_MS + LIFE_MS));
}

static void test_after_the_last_try_the_right_code_is_wrong_and_a_new_one_is_right(void **state)
{
    struct task *task = *state;
    struct code code = code_at(task, SAMPLE_MS, sample_email(task->mem)), wrong = code;
    int64_t left_ms;

    wrong.hash[0] ^= 1;
    assert_int_equal(issue(task, &code, NULL, &left_ms), CODE_ISSUED);
    for (int i = 0; i < CODE_TRIES; i++)
        assert_false(try_code(task, &wrong, "reset", SAMPLE_MS));
    assert_false(try_code(task, &code, "reset", SAMPLE_MS));
    code.created_ms += WAIT_MS;
    code.expires_ms += WAIT_MS;
    assert_int_equal(issue(task, &code, NULL, &left_ms), CODE_ISSUED);
    assert_true(try_code(task, &code, "reset", SAMPLE_MS + WAIT_MS));
}

static void test_a_code_too_soon_leaves_the_last_one_and_sends_nothing(void **state)
{
    struct task *task = *state;
    const char *email = sample_email(task->mem);
    struct code first = code_at(task, SAMPLE_MS, email), next;
    struct mail mail = mail_at(SAMPLE_MS, email);
    int64_t left_ms, before;

    next = code_at(task, SAMPLE_MS + WAIT_MS - 1, email);
    assert_int_equal(issue(task, &first, NULL, &left_ms), CODE_ISSUED);
    before = count_mails(task);
    assert_int_equal(issue(task, &next, &mail, &left_ms), CODE_TOO_SOON);
    assert_int_equal(left_ms, 1);
    assert_int_equal(count_mails(task), before);
    assert_true(try_code(task, &first, "reset", SAMPLE_MS + WAIT_MS));
}

struct guessing {
    const struct code *code;
    enum err e[RACERS];
    bool right[RACERS];
};

static void run_guess(struct task *task, unsigned number, void *argument)
{
    struct guessing *g = argument;

    g->e[number] = store_code_try(task, store, "reset", g->code->email, g->code->hash, SAMPLE_MS,
                                  NULL, &g->right[number]);
}

static void test_of_many_who_use_a_code_at_once_one_does(void **state)
{
    struct task *task = *state;
    struct code code = code_at(task, SAMPLE_MS, sample_email(task->mem));
    struct guessing *g = mem_new(task->mem, struct guessing);
    unsigned right = 0;
    int64_t left_ms;

    g->code = &code;
    assert_int_equal(issue(task, &code, NULL, &left_ms), CODE_ISSUED);
    sample_race(RACERS, run_guess, g);
    for (unsigned i = 0; i < RACERS; i++) {
        assert_int_equal(g->e[i], OK);
        right += g->right[i];
    }
    assert_int_equal(right, 1);
}

/* Mails: each test leaves none behind */

static void test_a_mail_is_taken_by_one_until_its_lease_is_over(void **state)
{
    struct task *task = *state;
    struct mail mail = mail_at(SAMPLE_MS, "ann@example.com"), taken, again;

    assert_int_equal(store_mail_put(task, store, &mail, &(bool){false}), OK);
    assert_false(take(task, SAMPLE_MS - 1, &taken));
    assert_true(take(task, SAMPLE_MS, &taken));
    assert_string_equal(taken.to, mail.to);
    assert_string_equal(taken.content, mail.content);
    assert_int_equal(taken.attempts, 1);
    assert_false(take(task, SAMPLE_MS + LEASE_MS - 1, &again));
    assert_true(take(task, SAMPLE_MS + LEASE_MS, &again));
    assert_string_equal(again.id, taken.id);
    assert_int_equal(again.attempts, 2);
    assert_int_equal(store_mail_done(task, store, taken.id), OK);
    assert_int_equal(count_mails(task), 0);
}

static void test_a_postponed_mail_waits_and_is_due_when_retried(void **state)
{
    struct task *task = *state;
    struct mail mail = mail_at(SAMPLE_MS, "ann@example.com"), taken, *all;
    size_t count;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_mail_put(task, store, &mail, &(bool){false}), OK);
        assert_true(take(task, SAMPLE_MS, &taken));
        assert_int_equal(store_mail_postpone(task, store, taken.id, SAMPLE_MS + 5000, "it refuses"),
                         OK);
    }
    assert_int_equal(store_mails(task, store, &all, &count), OK);
    assert_int_equal(count, 2);
    assert_string_equal(all[0].error, "it refuses");
    assert_false(take(task, SAMPLE_MS + 4999, &taken));
    assert_int_equal(retry(task, all[1].id, SAMPLE_MS + 1), 1);
    assert_int_equal(retry(task, "987654321", SAMPLE_MS + 1), 0);
    assert_int_equal(retry(task, "none", SAMPLE_MS + 1), 0);
    assert_true(take(task, SAMPLE_MS + 1, &taken));
    assert_string_equal(taken.id, all[1].id);
    assert_false(take(task, SAMPLE_MS + 1, &taken));
    assert_int_equal(store_mail_done(task, store, all[1].id), OK);
    assert_int_equal(retry(task, NULL, SAMPLE_MS + 2), 1);
    assert_true(take(task, SAMPLE_MS + 2, &taken));
    assert_int_equal(store_mail_done(task, store, all[0].id), OK);
}

/* A clock was a day ahead, and is right again. */
enum { AHEAD_MS = 86400000 };

static void test_a_mail_that_a_clock_ahead_put_off_is_due(void **state)
{
    struct task *task = *state;
    struct mail early = mail_at(SAMPLE_MS, "ann@example.com"), late = early, taken, again;

    late.created_ms += AHEAD_MS;
    assert_int_equal(store_mail_put(task, store, &late, &(bool){false}), OK);
    assert_int_equal(store_mail_put(task, store, &early, &(bool){false}), OK);
    assert_true(take(task, SAMPLE_MS, &taken));
    assert_int_equal(taken.created_ms, early.created_ms);
    assert_true(take(task, SAMPLE_MS, &again));
    assert_int_equal(again.created_ms, late.created_ms);
    assert_false(take(task, SAMPLE_MS + LEASE_MS - 1, &again));
    assert_int_equal(store_mail_postpone(task, store, taken.id, SAMPLE_MS + 3600000, "no"), OK);
    assert_int_equal(store_mail_postpone(task, store, again.id, SAMPLE_MS + AHEAD_MS, "no"), OK);
    assert_true(take(task, SAMPLE_MS + LEASE_MS, &again));
    assert_false(take(task, SAMPLE_MS + LEASE_MS, &taken));
    assert_true(take(task, SAMPLE_MS + 3600000, &taken));
    assert_true(take(task, SAMPLE_MS + 3600000, &again));
    assert_int_equal(store_mail_done(task, store, taken.id), OK);
    assert_int_equal(store_mail_done(task, store, again.id), OK);
}

static void test_a_code_of_a_clock_ahead_is_over(void **state)
{
    struct task *task = *state;
    const char *email = sample_email(task->mem);
    struct code ahead = code_at(task, SAMPLE_MS + AHEAD_MS, email), now;
    int64_t left_ms;

    assert_int_equal(issue(task, &ahead, NULL, &left_ms), CODE_ISSUED);
    assert_false(try_code(task, &ahead, "reset", SAMPLE_MS));
    now = code_at(task, SAMPLE_MS, email);
    assert_int_equal(issue(task, &now, NULL, &left_ms), CODE_ISSUED);
    assert_true(try_code(task, &now, "reset", SAMPLE_MS));
    ahead = code_at(task, SAMPLE_MS + 600000, email);
    assert_int_equal(issue(task, &ahead, NULL, &left_ms), CODE_ISSUED);
    assert_true(try_code(task, &ahead, "reset", SAMPLE_MS));
}

struct taking {
    enum err e[RACERS];
    bool found[RACERS];
    char ids[RACERS][32]; /* the mails end with the racers' tasks */
};

static void run_take(struct task *task, unsigned number, void *argument)
{
    struct taking *t = argument;

    struct mail mail = {.id = ""};

    t->e[number] = store_mail_take(task, store, SAMPLE_MS, LEASE_MS, &t->found[number], &mail);
    snprintf(t->ids[number], sizeof t->ids[number], "%s", t->found[number] ? mail.id : "");
}

static void test_no_mail_is_taken_twice_at_once(void **state)
{
    struct task *task = *state;
    struct taking *t = mem_new(task->mem, struct taking);
    struct mail mail = mail_at(SAMPLE_MS, "ann@example.com");
    unsigned found = 0;

    for (unsigned i = 0; i < RACERS / 2; i++)
        assert_int_equal(store_mail_put(task, store, &mail, &(bool){false}), OK);
    sample_race(RACERS, run_take, t);
    for (unsigned i = 0; i < RACERS; i++) {
        assert_int_equal(t->e[i], OK);
        found += t->found[i];
        for (unsigned j = 0; j < i && t->found[i]; j++)
            assert_false(t->found[j] && strcmp(t->ids[i], t->ids[j]) == 0);
        if (t->found[i])
            assert_int_equal(store_mail_done(task, store, t->ids[i]), OK);
    }
    assert_int_equal(found, RACERS / 2);
}

static struct mail_bound bound_of(const char *key)
{
    return (struct mail_bound){key, 2, {{3, 3600}, {4, 86400}}};
}

/* Whether it is withheld; what was accepted is taken out again. */
static bool put_bounded(struct task *task, const struct mail_bound *bounds, int64_t at_ms)
{
    struct mail mail = mail_at(at_ms, "ann@example.com"), taken;
    bool withheld;

    mail.bounds = bounds;
    mail.bound_count = 2;
    assert_int_equal(store_mail_put(task, store, &mail, &withheld), OK);
    assert_true(take(task, at_ms, &taken));
    assert_string_equal(taken.to, withheld ? "" : "ann@example.com");
    assert_int_equal(store_mail_done(task, store, taken.id), OK);
    return withheld;
}

static void test_mails_are_bounded_by_each_of_their_keys_or_charged_to_none(void **state)
{
    struct task *task = *state;
    const int64_t hour_ms = 3600000, minute_ms = 60000;
    const struct mail_bound one = bound_of(sample_email(task->mem));
    const struct mail_bound both[] = {one, bound_of(sample_email(task->mem))};
    const struct mail_bound other[] = {bound_of(sample_email(task->mem)), one};

    for (int i = 0; i < 3; i++)
        assert_false(put_bounded(task, both, SAMPLE_MS + i));
    assert_true(put_bounded(task, both, SAMPLE_MS + hour_ms - 1));
    for (int i = 0; i < 5; i++)
        assert_true(put_bounded(task, other, SAMPLE_MS + i));
    assert_false(put_bounded(task, other, SAMPLE_MS + hour_ms + minute_ms));
    assert_true(put_bounded(task, both, SAMPLE_MS + 3 * hour_ms));
    assert_false(put_bounded(task, both, SAMPLE_MS + 24 * hour_ms + minute_ms));
    assert_false(put_bounded(task, other, SAMPLE_MS + 24 * hour_ms + minute_ms));
}

static void test_what_a_clock_ahead_has_counted_keeps_no_mail(void **state)
{
    struct task *task = *state;
    const struct mail_bound both[] = {bound_of(sample_email(task->mem)),
                                      bound_of(sample_email(task->mem))};

    for (int i = 0; i < 4; i++)
        assert_int_equal(put_bounded(task, both, SAMPLE_MS + AHEAD_MS), i == 3);
    for (int i = 0; i < 4; i++)
        assert_int_equal(put_bounded(task, both, SAMPLE_MS), i == 3);
}

struct bounding {
    struct mail_bound bound;
    enum err e[RACERS];
    enum code_issued issued[RACERS];
};

static void run_issue(struct task *task, unsigned number, void *argument)
{
    struct bounding *b = argument;
    struct code code = code_at(task, SAMPLE_MS, sample_email(task->mem));
    struct mail mail = mail_at(SAMPLE_MS, code.email);
    int64_t left_ms;

    mail.bounds = &b->bound;
    mail.bound_count = 1;
    b->e[number] = store_code_issue(task, store, &code, WAIT_MS, &mail, &b->issued[number],
                                    &left_ms);
}

static void test_of_many_codes_at_once_as_many_are_mailed_as_may_be(void **state)
{
    struct task *task = *state;
    struct bounding *b = mem_new(task->mem, struct bounding);
    unsigned mailed = 0, withheld = 0;

    b->bound = bound_of(sample_email(task->mem));
    sample_race(RACERS, run_issue, b);
    for (unsigned i = 0; i < RACERS; i++) {
        struct mail taken;

        assert_int_equal(b->e[i], OK);
        withheld += b->issued[i] == CODE_WITHHELD;
        assert_true(take(task, SAMPLE_MS, &taken));
        mailed += *taken.to != '\0';
        assert_int_equal(store_mail_done(task, store, taken.id), OK);
    }
    assert_int_equal(mailed, 3);
    assert_int_equal(withheld, RACERS - 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sample_begin, sample_end)

int contract_mail_run(struct store *of)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_a_code_is_right_once_for_its_purpose_and_address),
        TEST(test_a_code_that_is_only_looked_at_stays_as_good_as_it_was),
        TEST(test_a_code_expires),
        TEST(test_after_the_last_try_the_right_code_is_wrong_and_a_new_one_is_right),
        TEST(test_a_code_too_soon_leaves_the_last_one_and_sends_nothing),
        TEST(test_of_many_who_use_a_code_at_once_one_does),
        TEST(test_a_mail_is_taken_by_one_until_its_lease_is_over),
        TEST(test_a_postponed_mail_waits_and_is_due_when_retried),
        TEST(test_a_mail_that_a_clock_ahead_put_off_is_due),
        TEST(test_a_code_of_a_clock_ahead_is_over),
        TEST(test_what_a_clock_ahead_has_counted_keeps_no_mail),
        TEST(test_no_mail_is_taken_twice_at_once),
        TEST(test_mails_are_bounded_by_each_of_their_keys_or_charged_to_none),
        TEST(test_of_many_codes_at_once_as_many_are_mailed_as_may_be),
    };

    store = of;
    return cmocka_run_group_tests_name("codes and mails", tests, NULL, NULL);
}
