#include "contract.h"

#include "sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { RACERS = 16, LIMIT = 500, LEASE_MS = 1000, WAIT_MS = 2000, HOUR_MS = 3600 * 1000 };

static struct store *store;

/* A new user's id. */
static const char *person(struct task *task)
{
    struct user user = sample_user(task->mem);
    struct session_record session = sample_session(task->mem, user.id);

    sample_create(task, store, &user, &session);
    return user.id;
}

static struct subscription open_for(struct task *task, const char *user_id)
{
    struct subscription subscription = {0};
    bool found;

    assert_int_equal(store_subscription_open(task, store, user_id, crypto_id(task->mem), SAMPLE_MS,
                                             &found, &subscription),
                     OK);
    assert_true(found);
    return subscription;
}

static struct subscription read_of(struct task *task, const char *user_id)
{
    struct subscription subscription = {0};
    bool found;

    assert_int_equal(store_subscription_by_user(task, store, user_id, &found, &subscription), OK);
    assert_true(found);
    return subscription;
}

static bool has_subscription(struct task *task, const char *user_id)
{
    struct subscription subscription;
    bool found;

    assert_int_equal(store_subscription_by_user(task, store, user_id, &found, &subscription), OK);
    return found;
}

/* What Stripe says of somebody who pays for "basic". */
static struct subscription paid(struct task *task, const struct subscription *stored)
{
    struct subscription state = *stored;

    state.plan = "basic";
    state.customer_id = mem_printf(task->mem, "cus_%s", crypto_id(task->mem));
    state.stripe_id = mem_printf(task->mem, "sub_%s", crypto_id(task->mem));
    state.price_id = "price_basic";
    state.period_start_ms = SAMPLE_MS;
    state.period_end_ms = SAMPLE_MS + 30 * (int64_t)SAMPLE_DAY_MS;
    state.synced_ms = SAMPLE_MS + 1;
    return state;
}

static enum subscription_applied apply(struct task *task, const struct subscription *state)
{
    enum subscription_applied applied;

    assert_int_equal(store_subscription_apply(task, store, state, NULL, SAMPLE_MS + 2, &applied),
                     OK);
    return applied;
}

static enum trial_started start_trial(struct task *task, const char *user_id)
{
    enum trial_started started;

    assert_int_equal(store_trial_start(task, store, user_id, SAMPLE_MS,
                                       SAMPLE_MS + 14 * (int64_t)SAMPLE_DAY_MS, &started),
                     OK);
    return started;
}

static enum usage_consumed consume(struct task *task, const struct usage *usage, int64_t *ret_runs)
{
    enum usage_consumed consumed;

    assert_int_equal(store_usage_consume(task, store, usage, &consumed, ret_runs), OK);
    return consumed;
}

static struct usage usage_of(const struct subscription *subscription, int64_t limit)
{
    return (struct usage){.user_id = subscription->user_id,
                          .revision = subscription->revision,
                          .period_ms = SAMPLE_MS,
                          .limit = limit,
                          .day = SAMPLE_MS / SAMPLE_DAY_MS};
}

/* Subscriptions */

static void test_the_first_question_makes_a_free_subscription_and_the_next_finds_it(void **state)
{
    struct task *task = *state;
    const char *user_id = person(task);
    struct subscription first = open_for(task, user_id), again = open_for(task, user_id);

    assert_string_equal(first.user_id, user_id);
    assert_string_equal(first.plan, "free");
    assert_string_equal(first.status, "active");
    assert_null(first.customer_id);
    assert_false(first.is_trial);
    assert_int_equal(first.created_ms, SAMPLE_MS);
    assert_string_equal(again.id, first.id);
    assert_int_equal(again.revision, first.revision);
}

static void test_nobody_has_no_subscription_and_gets_none(void **state)
{
    struct task *task = *state;
    struct subscription subscription;
    bool found;

    assert_int_equal(store_subscription_open(task, store, "nobody", crypto_id(task->mem), SAMPLE_MS,
                                             &found, &subscription),
                     OK);
    assert_false(found);
    assert_int_equal(start_trial(task, "nobody"), TRIAL_NOBODY);
}

struct opening {
    const char *user_id;
    char ids[RACERS][64];
    enum err e[RACERS];
};

static void run_open(struct task *task, unsigned number, void *argument)
{
    struct opening *o = argument;
    struct subscription subscription = {.id = ""};
    bool found;

    o->e[number] = store_subscription_open(task, store, o->user_id, crypto_id(task->mem), SAMPLE_MS,
                                           &found, &subscription);
    snprintf(o->ids[number], sizeof o->ids[number], "%s", subscription.id);
}

static void test_of_many_first_questions_at_once_one_makes_the_subscription(void **state)
{
    struct task *task = *state;
    struct opening *o = mem_new(task->mem, struct opening);

    o->user_id = person(task);
    sample_race(RACERS, run_open, o);
    for (unsigned i = 0; i < RACERS; i++) {
        assert_int_equal(o->e[i], OK);
        assert_string_equal(o->ids[i], o->ids[0]);
    }
}

static void test_what_stripe_says_is_taken_over_whole(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task)), said = paid(task, &stored), now;
    bool found;

    said.status = "past_due";
    said.past_due_ms = SAMPLE_MS + 3;
    said.canceled_ms = SAMPLE_MS + 4;
    said.cancel_at_period_end = true;
    said.anchor_ms = SAMPLE_MS + 5;
    said.ends_ms = SAMPLE_MS + 6;
    said.unpaid_from_ms = SAMPLE_MS + 7;
    said.notes = "quantity 3";
    said.stripe_anchor_ms = SAMPLE_MS + 8;
    said.item_id = "si_1";
    assert_int_equal(apply(task, &said), APPLIED);
    assert_int_equal(store_subscription_by_customer(task, store, said.customer_id, &found, &now),
                     OK);
    assert_true(found);
    assert_string_equal(now.id, stored.id);
    assert_string_equal(now.plan, "basic");
    assert_string_equal(now.status, "past_due");
    assert_string_equal(now.stripe_id, said.stripe_id);
    assert_string_equal(now.price_id, "price_basic");
    assert_int_equal(now.period_start_ms, said.period_start_ms);
    assert_int_equal(now.period_end_ms, said.period_end_ms);
    assert_int_equal(now.past_due_ms, said.past_due_ms);
    assert_int_equal(now.canceled_ms, said.canceled_ms);
    assert_true(now.cancel_at_period_end);
    assert_int_equal(now.anchor_ms, said.anchor_ms);
    assert_int_equal(now.ends_ms, said.ends_ms);
    assert_int_equal(now.unpaid_from_ms, said.unpaid_from_ms);
    assert_string_equal(now.notes, said.notes);
    assert_int_equal(now.stripe_anchor_ms, said.stripe_anchor_ms);
    assert_string_equal(now.item_id, said.item_id);
    assert_int_equal(now.synced_ms, said.synced_ms);
    assert_int_equal(now.updated_ms, SAMPLE_MS + 2);
    assert_true(now.revision > stored.revision);
}

static void test_what_was_worked_out_from_something_older_never_overwrites(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task)), said = paid(task, &stored), next;

    assert_int_equal(apply(task, &said), APPLIED);
    assert_int_equal(apply(task, &said), APPLY_OUTDATED);
    /* A clock that was set back orders nothing. */
    next = read_of(task, stored.user_id);
    next.synced_ms = said.synced_ms - 3600000;
    next.plan = "pro";
    assert_int_equal(apply(task, &next), APPLIED);
    assert_string_equal(read_of(task, stored.user_id).plan, "pro");
}

static void test_a_mail_goes_with_what_is_taken_over_or_not_at_all(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task)), said = paid(task, &stored);
    struct mail mail = {.to = "ann@example.com", .content = "hello", .created_ms = SAMPLE_MS},
                *rows;
    enum subscription_applied applied;
    int64_t count;
    size_t listed;

    for (int i = 0; i < 2; i++)
        assert_int_equal(
            store_subscription_apply(task, store, &said, &mail, SAMPLE_MS + 2, &applied), OK);
    assert_int_equal(applied, APPLY_OUTDATED);
    assert_int_equal(store_mail_count(task, store, &count), OK);
    assert_int_equal(count, 1);
    assert_int_equal(store_mails(task, store, &rows, &listed), OK);
    assert_int_equal(store_mail_done(task, store, rows[0].id), OK);
}

static void test_lists_are_newest_first_by_pages_and_by_what_is_asked(void **state)
{
    struct task *task = *state;
    struct subscription one = open_for(task, person(task)), two = open_for(task, person(task));
    struct subscription said = paid(task, &one), *rows;
    struct store_page page = {NULL, 1};
    size_t count;
    const char *next;

    said.status = "unpaid";
    assert_int_equal(apply(task, &said), APPLIED);
    assert_int_equal(store_subscriptions(task, store, &(struct subscription_filter){0}, &page,
                                         &rows, &count, &next),
                     OK);
    assert_int_equal(count, 1);
    assert_string_equal(rows[0].id, two.id);
    page.cursor = next;
    assert_int_equal(store_subscriptions(task, store, &(struct subscription_filter){0}, &page,
                                         &rows, &count, &next),
                     OK);
    assert_string_equal(rows[0].id, one.id);
    page = (struct store_page){NULL, 1};
    assert_int_equal(store_subscriptions(task, store, &(struct subscription_filter){"unpaid", true},
                                         &page, &rows, &count, &next),
                     OK);
    assert_string_equal(rows[0].id, one.id);
}

static void test_a_cursor_that_is_not_the_stores_is_refused_by_every_list(void **state)
{
    static const char *const cursors[] = {
        "", "x", "0", "-1", "+1", " 1", "1 ", "1x", "01", "9999999999999999999", "\xc3\xa4"};
    const struct subscription_filter all = {0};
    struct task *task = *state;
    struct subscription *rows;
    struct event *events;
    struct audit *trail;
    struct user *users;
    const char *next;
    size_t count;

    for (size_t i = 0; i < count_of(cursors); i++) {
        const struct store_page page = {cursors[i], 1};

        assert_int_equal(store_users(task, store, NULL, &page, &users, &count, &next),
                         ERR_BAD_REQUEST);
        assert_int_equal(store_users(task, store, "-", &page, &users, &count, &next),
                         ERR_BAD_REQUEST);
        assert_int_equal(store_audit_trail(task, store, NULL, &page, &trail, &count, &next),
                         ERR_BAD_REQUEST);
        assert_int_equal(store_audit_by(task, store, "user:x", &page, &trail, &count, &next),
                         ERR_BAD_REQUEST);
        assert_int_equal(store_subscriptions(task, store, &all, &page, &rows, &count, &next),
                         ERR_BAD_REQUEST);
        assert_int_equal(store_events(task, store, NULL, &page, &events, &count, &next),
                         ERR_BAD_REQUEST);
    }
}

/* Customers */

/* The one that is linked then. */
static const char *link_for(struct task *task, const char *user_id, int64_t generation,
                            const char *former, const char *customer_id)
{
    struct customer_link link = {.user_id = user_id,
                                 .generation = generation,
                                 .former = former,
                                 .customer_id = customer_id,
                                 .now_ms = SAMPLE_MS};
    const char *linked;

    assert_int_equal(store_customer_link(task, store, &link, &linked), OK);
    return linked;
}

static void test_a_customer_that_goes_takes_its_subscription_along(void **state)
{
    struct task *task = *state;
    const char *user_id = person(task);
    struct subscription stored = open_for(task, user_id), said = paid(task, &stored), left;

    said.status = "past_due";
    said.past_due_ms = SAMPLE_MS;
    said.cancel_at_period_end = true;
    assert_int_equal(apply(task, &said), APPLIED);
    assert_int_equal(store_customer_unlink(task, store, said.customer_id, SAMPLE_MS + 3), OK);
    left = read_of(task, user_id);
    assert_null(left.customer_id);
    assert_null(left.stripe_id);
    assert_null(left.price_id);
    assert_string_equal(left.plan, "free");
    assert_string_equal(left.status, "canceled");
    assert_int_equal(left.canceled_ms, SAMPLE_MS + 3);
    assert_int_equal(left.period_end_ms, 0);
    assert_int_equal(left.past_due_ms, 0);
    assert_false(left.cancel_at_period_end);
    assert_int_equal(left.anchor_ms + left.ends_ms + left.unpaid_from_ms, 0);
    assert_null(left.notes);
}

static void test_a_customer_takes_the_place_of_another_only_while_that_is_linked(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task)), said = paid(task, &stored), now;
    const char *former = said.customer_id;
    const char *next = mem_printf(task->mem, "%s_next", former);

    assert_int_equal(apply(task, &said), APPLIED);
    assert_string_equal(link_for(task, stored.user_id, said.generation, "cus_other", next), former);
    assert_string_equal(link_for(task, stored.user_id, said.generation, former, next), next);
    now = read_of(task, stored.user_id);
    assert_int_equal(now.generation, said.generation + 1);
    assert_true(now.revision > stored.revision + 1);
}

static size_t others_of(struct task *task, const char *user_id, struct other_customer **ret)
{
    size_t count;

    assert_int_equal(store_customers_other(task, store, user_id, ret, &count), OK);
    return count;
}

static bool note(struct task *task, const char *customer_id, const char *user_id, bool is_own,
                 int64_t now_ms)
{
    const struct other_customer other = {customer_id, user_id, is_own};
    bool is_noted;

    assert_int_equal(store_customer_note(task, store, &other, now_ms, &is_noted), OK);
    return is_noted;
}

static void test_a_former_customer_and_a_second_one_are_remembered_until_one_is_linked(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task)), said = paid(task, &stored);
    const char *former = said.customer_id, *user_id = stored.user_id;
    struct other_customer *others;
    const char *next = mem_printf(task->mem, "%s_next", former);
    const char *second = mem_printf(task->mem, "%s_second", former);

    assert_int_equal(apply(task, &said), APPLIED);
    for (int i = 0; i < 2; i++)
        assert_true(note(task, second, user_id, i == 0, SAMPLE_MS + i));
    assert_string_equal(link_for(task, user_id, said.generation, former, next), next);
    assert_int_equal(others_of(task, user_id, &others), 2);
    assert_string_equal(others[0].customer_id, second);
    assert_string_equal(others[1].customer_id, former);
    assert_true(others[0].is_own && others[1].is_own);
    assert_string_equal(link_for(task, user_id, said.generation + 1, next, second), second);
    assert_int_equal(others_of(task, user_id, &others), 2);
    assert_true(strcmp(others[0].customer_id, second) != 0 &&
                strcmp(others[1].customer_id, second) != 0);
}

static void
test_of_other_customers_own_ones_come_first_and_each_is_known_and_forgotten(void **state)
{
    struct task *task = *state;
    const char *user_id = open_for(task, person(task)).user_id;
    struct other_customer of[] = {{mem_printf(task->mem, "cus_%s_a", user_id), user_id, true},
                                  {mem_printf(task->mem, "cus_%s_b", user_id), user_id, false}};
    struct other_customer *others, found;
    bool is_found;

    for (int i = 0; i < 2; i++)
        assert_true(note(task, of[i].customer_id, user_id, of[i].is_own, SAMPLE_MS + i));
    assert_int_equal(others_of(task, user_id, &others), 2);
    assert_string_equal(others[0].customer_id, of[0].customer_id);
    assert_false(others[1].is_own);
    assert_int_equal(store_customer_other(task, store, of[0].customer_id, &is_found, &found), OK);
    assert_true(is_found && found.is_own);
    assert_string_equal(found.user_id, user_id);
    for (int i = 0; i < 2; i++)
        assert_int_equal(store_customer_forget(task, store, of[i].customer_id), OK);
    assert_int_equal(store_customer_other(task, store, of[0].customer_id, &is_found, &found), OK);
    assert_false(is_found);
}

static void test_a_customer_is_foreign_from_its_link_until_another_word_or_its_end(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task)), now;
    struct customer_link link = {
        .user_id = stored.user_id,
        .generation = stored.generation,
        .customer_id = mem_printf(task->mem, "cus_%s", crypto_id(task->mem)),
        .is_foreign = true,
        .now_ms = SAMPLE_MS};
    struct other_customer *others;
    const char *linked;

    stored.status = "canceled";
    assert_int_equal(apply(task, &stored), APPLIED);
    assert_int_equal(store_customer_link(task, store, &link, &linked), OK);
    now = read_of(task, stored.user_id);
    assert_true(now.customer_is_foreign && now.was_canceled);
    now.plan = "basic";
    assert_int_equal(apply(task, &now), APPLIED);
    now = read_of(task, stored.user_id);
    assert_true(now.customer_is_foreign);
    link_for(task, stored.user_id, now.generation, link.customer_id, link.customer_id);
    now = read_of(task, stored.user_id);
    assert_false(now.customer_is_foreign || now.was_canceled);
    assert_string_equal(now.plan, "basic");
    assert_int_equal(others_of(task, stored.user_id, &others), 0);
}

/* Written by an earlier version; nothing may take it for something to cancel. */
static void test_a_subscription_without_a_customer_is_read_as_over(void **state)
{
    struct task *task = *state;
    const char *user_id = person(task);
    struct subscription stored = open_for(task, user_id), said = paid(task, &stored), left;

    said.customer_id = NULL;
    assert_int_equal(apply(task, &said), APPLIED);
    left = read_of(task, user_id);
    assert_null(left.stripe_id);
    assert_null(left.price_id);
    assert_string_equal(left.plan, "free");
}

static void test_the_first_customer_stays_until_stripe_has_lost_it(void **state)
{
    struct task *task = *state;
    const char *user_id = person(task);
    struct subscription stored = open_for(task, user_id);
    const char *mine = mem_printf(task->mem, "cus_%s", crypto_id(task->mem));

    assert_string_equal(link_for(task, user_id, stored.generation, NULL, mine), mine);
    assert_string_equal(link_for(task, user_id, stored.generation, NULL, "cus_b"), mine);
    assert_int_equal(store_customer_unlink(task, store, mine, SAMPLE_MS), OK);
    assert_int_equal(read_of(task, user_id).generation, stored.generation + 1);
    assert_null(link_for(task, user_id, stored.generation, NULL, mine));
}

static void test_anothers_customer_is_not_linked(void **state)
{
    struct task *task = *state;
    const char *ann = person(task), *bob = person(task);
    struct subscription stored = open_for(task, ann), other = open_for(task, bob), taken;
    const char *customer = mem_printf(task->mem, "cus_%s", crypto_id(task->mem));
    enum subscription_applied applied;

    link_for(task, ann, stored.generation, NULL, customer);
    assert_null(link_for(task, bob, other.generation, NULL, customer));
    taken = paid(task, &other);
    taken.customer_id = customer;
    assert_int_not_equal(store_subscription_apply(task, store, &taken, NULL, SAMPLE_MS, &applied),
                         OK);
    assert_string_equal(read_of(task, bob).plan, "free");
}

/* The trial */

struct trying {
    const char *user_id;
    enum trial_started started[RACERS];
    enum err e[RACERS];
};

static void run_try(struct task *task, unsigned number, void *argument)
{
    struct trying *t = argument;

    t->e[number] = store_trial_start(task, store, t->user_id, SAMPLE_MS, SAMPLE_MS + 1,
                                     &t->started[number]);
}

static void test_of_many_trials_begun_at_once_one_is(void **state)
{
    struct task *task = *state;
    struct trying *t = mem_new(task->mem, struct trying);
    unsigned started = 0;

    t->user_id = person(task);
    open_for(task, t->user_id);
    sample_race(RACERS, run_try, t);
    for (unsigned i = 0; i < RACERS; i++) {
        assert_int_equal(t->e[i], OK);
        assert_true(t->started[i] == TRIAL_STARTED || t->started[i] == TRIAL_USED);
        started += t->started[i] == TRIAL_STARTED;
    }
    assert_int_equal(started, 1);
}

static void test_a_trial_keeps_what_was_used_and_is_had_once_for_ever(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task)), said;
    struct usage usage = usage_of(&stored, 10);
    int64_t runs;

    assert_int_equal(consume(task, &usage, &runs), USAGE_CONSUMED);
    assert_int_equal(start_trial(task, stored.user_id), TRIAL_STARTED);
    stored = read_of(task, stored.user_id);
    assert_true(stored.is_trial);
    assert_string_equal(stored.status, "trialing");
    assert_string_equal(stored.plan, "free");
    assert_int_equal(stored.trial_start_ms, SAMPLE_MS);
    assert_int_equal(stored.runs, 1);
    said = paid(task, &stored);
    said.is_trial = false;
    assert_int_equal(apply(task, &said), APPLIED);
    assert_int_equal(start_trial(task, stored.user_id), TRIAL_USED);
}

static const char *person_at(struct task *task, const char *email)
{
    struct user user = sample_user(task->mem);
    enum user_created created;

    user.email = email;
    assert_int_equal(store_user_create(task, store, &user, NULL, NULL, &created), OK);
    assert_int_equal(created, USER_CREATED);
    open_for(task, user.id);
    return user.id;
}

static void remove_person(struct task *task, const char *user_id)
{
    struct audit audit = {SAMPLE_MS, "user:admin", "test", user_id, "", ""};
    enum user_changed changed;

    assert_int_equal(store_user_delete(task, store, user_id, NULL, &audit, &changed), OK);
    assert_int_equal(changed, USER_CHANGED);
}

static void test_a_mailbox_has_one_trial_whoever_has_it(void **state)
{
    struct task *task = *state;
    const char *name = crypto_id(task->mem);
    const char *plain = mem_printf(task->mem,
                                   "%s@b\xc3\xbc"
                                   "cher.example",
                                   name);
    const char *first = person_at(task, plain), *tagged;

    assert_int_equal(start_trial(task, first), TRIAL_STARTED);
    tagged = person_at(task, mem_printf(task->mem,
                                        "%s+two@b\xc3\xbc"
                                        "cher.example",
                                        name));
    assert_int_equal(start_trial(task, tagged), TRIAL_USED);
    assert_false(read_of(task, tagged).is_trial);
    remove_person(task, first);
    remove_person(task, tagged);
    assert_int_equal(start_trial(task, person_at(task, plain)), TRIAL_USED);
    tagged = person_at(task, mem_printf(task->mem, "%s+3@xn--bcher-kva.example", name));
    assert_int_equal(start_trial(task, tagged), TRIAL_USED);
    assert_int_equal(start_trial(task, person_at(task, mem_printf(task->mem, "x%s", plain))),
                     TRIAL_STARTED);
}

static void test_who_removes_an_account_without_a_trial_may_have_it_in_the_next(void **state)
{
    struct task *task = *state;
    const char *email = sample_email(task->mem);

    remove_person(task, person_at(task, email));
    assert_int_equal(start_trial(task, person_at(task, email)), TRIAL_STARTED);
}

static void test_a_trial_follows_to_a_new_address_and_stays_with_the_old_one(void **state)
{
    struct task *task = *state;
    const char *old = sample_email(task->mem), *name = crypto_id(task->mem);
    const char *user_id = person_at(task, old);
    struct audit audit = {SAMPLE_MS, "user:admin", "test", user_id, "", ""};
    enum user_changed changed;

    assert_int_equal(start_trial(task, user_id), TRIAL_STARTED);
    assert_int_equal(store_user_set_email(task, store, user_id,
                                          mem_printf(task->mem, "%s@example.org", name), &audit,
                                          &changed),
                     OK);
    assert_int_equal(changed, USER_CHANGED);
    assert_int_equal(start_trial(task, person_at(task, old)), TRIAL_USED);
    assert_int_equal(
        start_trial(task, person_at(task, mem_printf(task->mem, "%s+x@example.org", name))),
        TRIAL_USED);
}

static void test_who_has_paid_or_was_given_a_plan_begins_no_trial(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task)), said = paid(task, &stored);
    const char *given = person(task);
    struct audit audit = {SAMPLE_MS, "user:admin", "test", given, "", ""};
    bool found;

    assert_int_equal(apply(task, &said), APPLIED);
    assert_int_equal(start_trial(task, stored.user_id), TRIAL_PAID);
    open_for(task, given);
    assert_int_equal(
        store_subscription_give(task, store, given, "enterprise", -1, 0, &audit, &found), OK);
    assert_true(found);
    assert_int_equal(start_trial(task, given), TRIAL_PAID);
}

static void test_who_is_in_a_trial_that_ends_is_told_once(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task)), *rows;
    int64_t end_ms = SAMPLE_MS + 14 * (int64_t)SAMPLE_DAY_MS;
    struct mail mail = {.to = "ann@example.com", .content = "hello", .created_ms = SAMPLE_MS},
                *mails;
    size_t count, waiting;
    bool told;

    assert_int_equal(start_trial(task, stored.user_id), TRIAL_STARTED);
    assert_int_equal(store_trials_ending(task, store, end_ms - 9, end_ms, &rows, &count), OK);
    for (size_t i = 0; i < count; i++)
        assert_string_not_equal(rows[i].user_id, stored.user_id);
    assert_int_equal(store_trials_ending(task, store, end_ms, end_ms + 1, &rows, &count), OK);
    for (size_t i = 0; i < count; i++)
        assert_string_not_equal(rows[i].user_id, stored.user_id);
    assert_int_equal(store_trials_ending(task, store, end_ms - 1, end_ms + 1, &rows, &count), OK);
    assert_true(count >= 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_trial_told(task, store, stored.user_id, &mail, &told), OK);
        assert_int_equal(told, i == 0);
    }
    assert_int_equal(store_mails(task, store, &mails, &waiting), OK);
    assert_int_equal(waiting, 1);
    assert_int_equal(store_mail_done(task, store, mails[0].id), OK);
    assert_int_equal(store_trials_ending(task, store, end_ms - 1, end_ms + 1, &rows, &count), OK);
    for (size_t i = 0; i < count; i++)
        assert_string_not_equal(rows[i].user_id, stored.user_id);
}

/* Usage */

struct charging {
    struct usage usage;
    atomic_int consumed, exhausted, failed;
};

static void run_charge(struct task *task, unsigned number, void *argument)
{
    struct charging *c = argument;
    enum usage_consumed consumed;
    int64_t runs;

    (void)number;
    for (int i = 0; i < 500 / RACERS + 1; i++) {
        if (store_usage_consume(task, store, &c->usage, &consumed, &runs) != OK)
            atomic_fetch_add(&c->failed, 1);
        else if (consumed == USAGE_CONSUMED)
            atomic_fetch_add(&c->consumed, 1);
        else if (consumed == USAGE_EXHAUSTED)
            atomic_fetch_add(&c->exhausted, 1);
    }
}

static void test_no_more_is_charged_at_once_than_is_left(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task));
    struct charging *c = mem_new(task->mem, struct charging);
    struct usage_day *days;
    size_t count;
    int64_t runs;

    c->usage = usage_of(&stored, LIMIT);
    for (int i = 0; i < LIMIT - 10; i++)
        assert_int_equal(consume(task, &c->usage, &runs), USAGE_CONSUMED);
    assert_int_equal(runs, LIMIT - 10);
    sample_race(RACERS, run_charge, c);
    assert_int_equal(c->failed, 0);
    assert_int_equal(c->consumed, 10);
    assert_int_equal(c->exhausted, (500 / RACERS + 1) * RACERS - 10);
    assert_int_equal(read_of(task, stored.user_id).runs, LIMIT);
    assert_int_equal(store_usage_days(task, store, stored.user_id, &days, &count), OK);
    assert_int_equal(count, 1);
    assert_int_equal(days[0].day, c->usage.day);
    assert_int_equal(days[0].runs, LIMIT);
}

static void test_a_later_period_begins_at_nothing_and_an_earlier_one_never_comes_back(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task));
    struct usage usage = usage_of(&stored, 2), earlier = usage;
    int64_t runs;

    assert_int_equal(consume(task, &usage, &runs), USAGE_CONSUMED);
    assert_int_equal(consume(task, &usage, &runs), USAGE_CONSUMED);
    assert_int_equal(consume(task, &usage, &runs), USAGE_EXHAUSTED);
    assert_int_equal(runs, 2);
    usage.period_ms += SAMPLE_DAY_MS;
    usage.day++;
    assert_int_equal(consume(task, &usage, &runs), USAGE_CONSUMED);
    assert_int_equal(runs, 1);
    assert_int_equal(consume(task, &earlier, &runs), USAGE_CONSUMED);
    assert_int_equal(runs, 2);
    assert_int_equal(consume(task, &earlier, &runs), USAGE_EXHAUSTED);
}

static void test_unlimited_is_counted_and_never_exhausted(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task));
    struct usage usage = usage_of(&stored, -1);
    int64_t runs;

    for (int i = 1; i <= 20; i++) {
        assert_int_equal(consume(task, &usage, &runs), USAGE_CONSUMED);
        assert_int_equal(runs, i);
    }
}

static void test_a_run_is_not_charged_to_a_subscription_that_has_changed(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task)), said = paid(task, &stored);
    struct usage usage = usage_of(&stored, 10);
    int64_t runs;

    assert_int_equal(apply(task, &said), APPLIED);
    assert_int_equal(consume(task, &usage, &runs), USAGE_OUTDATED);
    usage.user_id = "nobody";
    assert_int_equal(consume(task, &usage, &runs), USAGE_OUTDATED);
    assert_int_equal(read_of(task, stored.user_id).runs, 0);
}

/* Gifts */

static void test_a_gift_leaves_its_line_and_what_stripe_says_alone(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task)), said = paid(task, &stored);
    struct audit audit = {SAMPLE_MS, "user:admin", "billing.give", stored.user_id, "", "pro"},
                 *rows;
    struct store_page page = {NULL, 10};
    size_t count;
    const char *next;
    bool found;

    assert_int_equal(apply(task, &said), APPLIED);
    assert_int_equal(store_subscription_give(task, store, stored.user_id, "pro", 70, SAMPLE_MS + 9,
                                             &audit, &found),
                     OK);
    assert_true(found);
    stored = read_of(task, stored.user_id);
    assert_string_equal(stored.gift_plan, "pro");
    assert_int_equal(stored.gift_runs, 70);
    assert_int_equal(stored.gift_until_ms, SAMPLE_MS + 9);
    assert_string_equal(stored.plan, "basic");
    assert_int_equal(store_audit_trail(task, store, stored.user_id, &page, &rows, &count, &next),
                     OK);
    assert_int_equal(count, 1);
    assert_int_equal(
        store_subscription_give(task, store, stored.user_id, NULL, 0, 0, &audit, &found), OK);
    assert_null(read_of(task, stored.user_id).gift_plan);
    assert_int_equal(store_subscription_give(task, store, "nobody", "pro", 0, 0, &audit, &found),
                     OK);
    assert_false(found);
}

/* Checkouts */

static struct checkout wanted(struct task *task, const char *user_id, const char *plan,
                              int64_t at_ms)
{
    return (struct checkout){.user_id = user_id,
                             .plan = plan,
                             .price_id = mem_printf(task->mem, "price_%s", plan),
                             .success_url = "https://a.example/ok",
                             .cancel_url = "https://a.example/no",
                             .key = crypto_id(task->mem),
                             .created_ms = at_ms};
}

static enum checkout_reserved reserve(struct task *task, const struct checkout *checkout,
                                      struct checkout *ret)
{
    enum checkout_reserved reserved;

    assert_int_equal(store_checkout_reserve(task, store, checkout, LEASE_MS, &reserved, ret), OK);
    return reserved;
}

static bool opened(struct task *task, const char *key, const char *session_id, int64_t expires_ms)
{
    bool kept;

    assert_int_equal(store_checkout_opened(task, store, key, session_id, "https://pay.example",
                                           expires_ms, &kept),
                     OK);
    return kept;
}

static void test_a_checkout_is_open_for_the_same_and_replaced_for_another(void **state)
{
    struct task *task = *state;
    const char *user_id = person(task), *id = mem_printf(task->mem, "cs_%s", crypto_id(task->mem));
    struct checkout basic = wanted(task, user_id, "basic", SAMPLE_MS), next, one;

    assert_int_equal(reserve(task, &basic, &one), CHECKOUT_RESERVED);
    assert_string_equal(one.key, basic.key);
    assert_null(one.session_id);
    assert_true(opened(task, one.key, id, SAMPLE_MS + HOUR_MS));

    basic = wanted(task, user_id, "basic", SAMPLE_MS + 1);
    assert_int_equal(reserve(task, &basic, &one), CHECKOUT_OPEN);
    assert_string_equal(one.session_id, id);
    assert_string_equal(one.url, "https://pay.example");

    basic = wanted(task, user_id, "pro", SAMPLE_MS + 2);
    assert_int_equal(reserve(task, &basic, &one), CHECKOUT_OTHER);
    assert_string_equal(one.session_id, id);
    assert_int_equal(store_checkout_close(task, store, id), OK);
    assert_int_equal(reserve(task, &basic, &one), CHECKOUT_RESERVED);
    assert_string_equal(one.key, basic.key);
    /* It may have been made although nobody noted it. */
    assert_int_equal(store_checkout_release(task, store, basic.key), OK);
    next = wanted(task, user_id, "basic", SAMPLE_MS + 3);
    assert_int_equal(reserve(task, &next, &one), CHECKOUT_OTHER);
    assert_null(one.session_id);
    assert_string_equal(one.key, basic.key);
    next.created_ms = SAMPLE_MS + 2 + STORE_KEY_MS;
    assert_int_equal(reserve(task, &next, &one), CHECKOUT_RESERVED);
}

static void test_an_expired_or_closed_checkout_is_made_anew(void **state)
{
    struct task *task = *state;
    const char *user_id = person(task), *id = mem_printf(task->mem, "cs_%s", crypto_id(task->mem));
    struct checkout first = wanted(task, user_id, "basic", SAMPLE_MS), next, one;

    reserve(task, &first, &one);
    opened(task, first.key, id, SAMPLE_MS + HOUR_MS);
    next = wanted(task, user_id, "basic", SAMPLE_MS + HOUR_MS);
    assert_int_equal(reserve(task, &next, &one), CHECKOUT_RESERVED);
    assert_string_equal(one.key, next.key);
    assert_null(one.session_id);
    opened(task, next.key, id, SAMPLE_MS + 3 * HOUR_MS);
    assert_int_equal(store_checkout_close(task, store, id), OK);
    first = wanted(task, user_id, "basic", SAMPLE_MS + HOUR_MS + 1);
    assert_int_equal(reserve(task, &first, &one), CHECKOUT_RESERVED);
    assert_string_equal(one.key, first.key);
}

static void test_whoever_left_a_reservation_leaves_its_key(void **state)
{
    struct task *task = *state;
    const char *user_id = person(task);
    struct checkout first = wanted(task, user_id, "basic", SAMPLE_MS), next, one;

    reserve(task, &first, &one);
    next = wanted(task, user_id, "basic", SAMPLE_MS + 1);
    assert_int_equal(reserve(task, &next, &one), CHECKOUT_BUSY);
    next.created_ms = SAMPLE_MS + LEASE_MS;
    assert_int_equal(reserve(task, &next, &one), CHECKOUT_RESERVED);
    assert_string_equal(one.key, first.key);
    assert_int_equal(store_checkout_release(task, store, first.key), OK);
    next.created_ms++;
    assert_int_equal(reserve(task, &next, &one), CHECKOUT_RESERVED);
    assert_string_equal(one.key, first.key);
    assert_int_equal(store_checkout_release(task, store, first.key), OK);
    next.created_ms = SAMPLE_MS + STORE_KEY_MS;
    assert_int_equal(reserve(task, &next, &one), CHECKOUT_RESERVED);
    assert_string_equal(one.key, next.key);
    assert_false(opened(task, first.key, "cs_late", SAMPLE_MS + STORE_KEY_MS + HOUR_MS));
}

struct reserving {
    const char *user_id;
    enum checkout_reserved reserved[RACERS];
    enum err e[RACERS];
};

static void run_reserve(struct task *task, unsigned number, void *argument)
{
    struct reserving *r = argument;
    struct checkout checkout = wanted(task, r->user_id, "basic", SAMPLE_MS), one;

    r->e[number] = store_checkout_reserve(task, store, &checkout, LEASE_MS, &r->reserved[number],
                                          &one);
}

static void test_of_many_who_check_out_at_once_one_reserves(void **state)
{
    struct task *task = *state;
    struct reserving *r = mem_new(task->mem, struct reserving);
    unsigned reserved = 0;

    r->user_id = person(task);
    sample_race(RACERS, run_reserve, r);
    for (unsigned i = 0; i < RACERS; i++) {
        assert_int_equal(r->e[i], OK);
        reserved += r->reserved[i] == CHECKOUT_RESERVED;
        assert_int_not_equal(r->reserved[i], CHECKOUT_OPEN);
    }
    assert_int_equal(reserved, 1);
}

/* Events */

static struct event event_at(struct task *task, int64_t at_ms)
{
    return (struct event){.id = mem_printf(task->mem, "evt_%s", crypto_id(task->mem)),
                          .type = "invoice.paid",
                          .customer_id = "cus_1",
                          .payload = "{\"id\":\"evt\"}",
                          .state = EVENT_WAITING,
                          .received_ms = at_ms};
}

static bool put(struct task *task, const struct event *event, const char **ret_state)
{
    struct event_kept kept;

    assert_int_equal(store_event_put(task, store, event, LEASE_MS, &kept), OK);
    *ret_state = kept.state;
    return kept.is_new;
}

/* Of a customer of its own, or of nobody. */
static struct event event_for(struct task *task, const char *customer_id, int64_t at_ms)
{
    struct event event = event_at(task, at_ms);

    event.customer_id = customer_id;
    return event;
}

/* Whether the event is to be applied at once. */
static bool is_taken(struct task *task, const struct event *event, int64_t lease_ms)
{
    struct event_kept kept;

    assert_int_equal(store_event_put(task, store, event, lease_ms, &kept), OK);
    assert_string_equal(kept.state, EVENT_WAITING);
    assert_int_equal(kept.is_taken, kept.attempts > 0);
    return kept.is_taken;
}

static void postpone(struct task *task, const char *id, int64_t now_ms, bool others)
{
    assert_int_equal(store_event_postpone(task, store, id, now_ms, others, "down"), OK);
}

static bool take(struct task *task, int64_t now_ms, struct event *ret)
{
    bool found;

    assert_int_equal(store_event_take(task, store, now_ms, LEASE_MS, &found, ret), OK);
    return found;
}

static struct event event_of(struct task *task, const char *id)
{
    struct event event = {0};
    bool found;

    assert_int_equal(store_event_by_id(task, store, id, &found, &event), OK);
    assert_true(found);
    return event;
}

static void finish(struct task *task, const char *id, const char *event_state)
{
    assert_int_equal(
        store_event_done(task, store, id, event_state, REASON_NONE, "ann", "", NULL, SAMPLE_MS + 5),
        OK);
}

static void test_an_event_is_accepted_once_and_tells_what_became_of_it(void **state)
{
    struct task *task = *state;
    struct event event = event_at(task, SAMPLE_MS), taken;
    const char *said;

    assert_true(put(task, &event, &said));
    assert_false(put(task, &event, &said));
    assert_string_equal(said, EVENT_WAITING);
    assert_false(take(task, SAMPLE_MS, &taken));
    assert_true(take(task, SAMPLE_MS + LEASE_MS, &taken));
    assert_string_equal(taken.id, event.id);
    assert_string_equal(taken.payload, event.payload);
    assert_int_equal(taken.attempts, 2);
    finish(task, event.id, EVENT_DONE);
    assert_false(put(task, &event, &said));
    assert_string_equal(said, EVENT_DONE);
    assert_false(take(task, SAMPLE_MS + HOUR_MS, &taken));
    assert_string_equal(event_of(task, event.id).user_id, "ann");
}

static void test_the_mail_of_an_event_is_put_when_it_ends_and_once(void **state)
{
    struct task *task = *state;
    struct event event = event_at(task, SAMPLE_MS);
    const struct mail mail = {.to = "ann@example.com", .content = "x", .created_ms = SAMPLE_MS};
    const char *said;
    int64_t before, after;

    put(task, &event, &said);
    assert_int_equal(store_mail_count(task, store, &before), OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(store_event_done(task, store, event.id, EVENT_DONE, REASON_NONE, "ann", "",
                                          &mail, SAMPLE_MS + 5 + i),
                         OK);
    assert_int_equal(store_mail_count(task, store, &after), OK);
    assert_int_equal(after, before + 1);
    assert_int_equal(event_of(task, event.id).done_ms, SAMPLE_MS + 5);
}

static void test_an_event_that_is_put_off_waits_and_a_dead_one_until_it_is_replayed(void **state)
{
    struct task *task = *state;
    struct event event = event_at(task, SAMPLE_MS), taken;
    struct event_counts counts;
    const char *said;
    bool found;

    put(task, &event, &said);
    postpone(task, event.id, SAMPLE_MS, false);
    assert_false(take(task, SAMPLE_MS + WAIT_MS - 1, &taken));
    assert_true(take(task, SAMPLE_MS + WAIT_MS, &taken));
    assert_string_equal(taken.error, "down");
    finish(task, event.id, EVENT_DEAD);
    assert_int_equal(store_event_counts(task, store, &counts), OK);
    assert_int_equal(counts.dead, 1);
    assert_false(take(task, SAMPLE_MS + 9 * HOUR_MS, &taken));
    assert_int_equal(store_event_replay(task, store, event.id, SAMPLE_MS + 9 * HOUR_MS, &found),
                     OK);
    assert_true(found);
    assert_true(take(task, SAMPLE_MS + 9 * HOUR_MS, &taken));
    assert_int_equal(taken.attempts, 1);
    finish(task, event.id, EVENT_DONE);
    assert_int_equal(store_event_replay(task, store, "evt_none", SAMPLE_MS, &found), OK);
    assert_false(found);
}

static void test_one_answer_settles_what_the_customers_events_waited_for(void **state)
{
    struct task *task = *state;
    struct event before = event_at(task, SAMPLE_MS), after = event_at(task, SAMPLE_MS + 10), taken;
    const char *said;
    unsigned count;

    put(task, &before, &said);
    put(task, &after, &said);
    assert_int_equal(
        store_events_done(task, store, "cus_1", SAMPLE_MS + 10, "ann", SAMPLE_MS + 20, &count), OK);
    assert_int_equal(count, 1);
    assert_string_equal(event_of(task, before.id).state, EVENT_DONE);
    assert_true(take(task, SAMPLE_MS + HOUR_MS, &taken));
    assert_string_equal(taken.id, after.id);
    finish(task, after.id, EVENT_IGNORED);
}

static void test_events_are_listed_by_state_and_swept_when_they_are_old(void **state)
{
    struct task *task = *state;
    struct event done = event_at(task, SAMPLE_MS), dead = event_at(task, SAMPLE_MS), *rows;
    struct store_page page = {NULL, 10};
    const char *said;
    size_t count;
    const char *next;
    unsigned swept;
    bool found;

    put(task, &done, &said);
    put(task, &dead, &said);
    finish(task, done.id, EVENT_DONE);
    finish(task, dead.id, EVENT_DEAD);
    assert_int_equal(store_events(task, store, EVENT_DEAD, &page, &rows, &count, &next), OK);
    assert_int_equal(count, 1);
    assert_string_equal(rows[0].id, dead.id);
    assert_int_equal(store_event_sweep(task, store, SAMPLE_MS + 5, &swept), OK);
    assert_int_equal(swept, 0);
    assert_int_equal(store_event_sweep(task, store, SAMPLE_MS + HOUR_MS, &swept), OK);
    assert_true(swept >= 1);
    assert_int_equal(store_event_by_id(task, store, done.id, &found, &done), OK);
    assert_false(found);
    assert_string_equal(event_of(task, dead.id).state, EVENT_DEAD);
    finish(task, dead.id, EVENT_DONE);
    assert_int_equal(store_event_sweep(task, store, SAMPLE_MS + HOUR_MS, &swept), OK);
}

struct taking {
    bool found[RACERS];
    char ids[RACERS][64];
    enum err e[RACERS];
};

static void run_take(struct task *task, unsigned number, void *argument)
{
    struct taking *t = argument;
    struct event event = {.id = ""};

    t->e[number] = store_event_take(task, store, SAMPLE_MS + LEASE_MS, LEASE_MS, &t->found[number],
                                    &event);
    if (t->found[number])
        snprintf(t->ids[number], sizeof t->ids[number], "%s", event.id);
}

static void test_what_has_failed_is_due_at_once_when_it_is_hastened(void **state)
{
    struct task *task = *state;
    struct event failed = event_at(task, SAMPLE_MS), kept = event_at(task, SAMPLE_MS + HOUR_MS);
    const char *said;
    unsigned count = 0;
    int64_t kept_ms;

    put(task, &failed, &said);
    put(task, &kept, &said);
    kept_ms = event_of(task, kept.id).next_ms;
    for (int i = 0; i < 12; i++)
        postpone(task, failed.id, SAMPLE_MS, false);
    assert_int_equal(event_of(task, failed.id).next_ms, SAMPLE_MS + HOUR_MS);
    assert_int_equal(store_events_hasten(task, store, SAMPLE_MS + 1, &count), OK);
    assert_true(count >= 1);
    assert_int_equal(event_of(task, failed.id).next_ms, SAMPLE_MS + 1);
    assert_int_equal(event_of(task, failed.id).waits, 12);
    assert_int_equal(event_of(task, kept.id).next_ms, kept_ms);
    finish(task, failed.id, EVENT_DONE);
    finish(task, kept.id, EVENT_DONE);
}

static void test_no_event_is_taken_twice_at_once(void **state)
{
    struct task *task = *state;
    struct taking *t = mem_new(task->mem, struct taking);
    unsigned found = 0;
    const char *said;

    for (unsigned i = 0; i < RACERS / 2; i++) {
        struct event event = event_for(task, mem_printf(task->mem, "cus_race%u", i), SAMPLE_MS);

        put(task, &event, &said);
    }
    sample_race(RACERS, run_take, t);
    for (unsigned i = 0; i < RACERS; i++) {
        assert_int_equal(t->e[i], OK);
        found += t->found[i];
        for (unsigned j = 0; j < i && t->found[i]; j++)
            assert_false(t->found[j] && strcmp(t->ids[i], t->ids[j]) == 0);
        if (t->found[i])
            finish(task, t->ids[i], EVENT_DONE);
    }
    assert_int_equal(found, RACERS / 2);
}

static void test_of_a_customers_events_one_is_in_work_and_the_others_wait(void **state)
{
    struct task *task = *state;
    struct event first = event_for(task, "cus_busy", SAMPLE_MS),
                 second = event_for(task, "cus_busy", SAMPLE_MS),
                 other = event_for(task, "cus_other", SAMPLE_MS), taken;

    assert_true(is_taken(task, &first, LEASE_MS));
    assert_false(is_taken(task, &first, LEASE_MS));
    assert_false(is_taken(task, &second, LEASE_MS));
    assert_false(take(task, SAMPLE_MS + 1, &taken));
    assert_false(is_taken(task, &other, 0));
    assert_true(take(task, SAMPLE_MS + 1, &taken));
    assert_string_equal(taken.id, other.id);
    finish(task, other.id, EVENT_DONE);

    finish(task, first.id, EVENT_DONE);
    assert_true(take(task, SAMPLE_MS + 2, &taken));
    assert_string_equal(taken.id, second.id);
    assert_int_equal(taken.attempts, 1);
    postpone(task, second.id, SAMPLE_MS + 3, false);
    first.id = "evt_busy_new";
    assert_true(is_taken(task, &first, LEASE_MS));
    finish(task, first.id, EVENT_DONE);
    finish(task, second.id, EVENT_DONE);
}

static void test_a_lease_that_is_over_lets_the_customers_next_event_go(void **state)
{
    struct task *task = *state;
    struct event first = event_for(task, "cus_lost", SAMPLE_MS),
                 second = event_for(task, "cus_lost", SAMPLE_MS), taken;

    assert_true(is_taken(task, &first, LEASE_MS));
    assert_false(is_taken(task, &second, LEASE_MS));
    assert_false(take(task, SAMPLE_MS + LEASE_MS - 1, &taken));
    assert_true(take(task, SAMPLE_MS + LEASE_MS, &taken));
    assert_false(take(task, SAMPLE_MS + LEASE_MS, &taken));
    finish(task, first.id, EVENT_DONE);
    finish(task, second.id, EVENT_DONE);
}

static void test_events_of_nobody_are_each_for_themselves(void **state)
{
    struct task *task = *state;
    struct event first = event_for(task, NULL, SAMPLE_MS),
                 second = event_for(task, NULL, SAMPLE_MS);

    assert_true(is_taken(task, &first, LEASE_MS));
    assert_true(is_taken(task, &second, LEASE_MS));
    assert_false(is_taken(task, &second, LEASE_MS));
    postpone(task, first.id, SAMPLE_MS, true);
    assert_int_equal(event_of(task, second.id).next_ms, SAMPLE_MS + LEASE_MS);
    finish(task, first.id, EVENT_DONE);
    finish(task, second.id, EVENT_DONE);
}

static void test_what_fails_for_a_customer_puts_off_what_else_waits_of_theirs(void **state)
{
    struct task *task = *state;
    struct event events[5], other = event_for(task, "cus_quick", SAMPLE_MS + 1), taken;
    int64_t now_ms = SAMPLE_MS;

    for (size_t i = 0; i < count_of(events); i++) {
        events[i] = event_for(task, "cus_slow", SAMPLE_MS);
        assert_false(is_taken(task, &events[i], 0));
    }
    assert_false(is_taken(task, &other, 0));
    /* One try for each wait, and each event has its turn. */
    for (unsigned i = 0; i < count_of(events); i++) {
        assert_true(take(task, now_ms, &taken));
        assert_string_equal(taken.customer_id, "cus_slow");
        assert_int_equal(taken.attempts, 1);
        postpone(task, taken.id, now_ms, true);
        now_ms += (int64_t)WAIT_MS << i;
        if (i == 0) {
            assert_true(take(task, SAMPLE_MS + 1, &taken));
            assert_string_equal(taken.id, other.id);
            finish(task, other.id, EVENT_DONE);
        }
        assert_false(take(task, now_ms - 1, &taken));
    }
    for (size_t i = 0; i < count_of(events); i++)
        finish(task, events[i].id, EVENT_DONE);
}

static void test_what_is_wrong_with_one_event_delays_the_customers_others_little(void **state)
{
    struct task *task = *state;
    struct event wrong = event_for(task, "cus_wrong", SAMPLE_MS),
                 sound = event_for(task, "cus_wrong", SAMPLE_MS), taken;

    assert_false(is_taken(task, &wrong, 0));
    for (int i = 0; i < 15; i++)
        postpone(task, wrong.id, SAMPLE_MS, true);
    assert_int_equal(event_of(task, wrong.id).next_ms, SAMPLE_MS + HOUR_MS);
    assert_false(is_taken(task, &sound, 0));
    postpone(task, wrong.id, SAMPLE_MS, true);
    assert_true(take(task, SAMPLE_MS + WAIT_MS, &taken));
    assert_string_equal(taken.id, sound.id);
    finish(task, sound.id, EVENT_DONE);
    finish(task, wrong.id, EVENT_DONE);
}

static void test_what_comes_first_is_taken_before_what_is_tried_again(void **state)
{
    struct task *task = *state;
    struct event again = event_for(task, "cus_again", SAMPLE_MS),
                 first = event_for(task, "cus_first", SAMPLE_MS + HOUR_MS), taken;

    assert_false(is_taken(task, &again, 0));
    postpone(task, again.id, SAMPLE_MS, true);
    assert_false(is_taken(task, &first, 0));
    assert_true(take(task, SAMPLE_MS + HOUR_MS, &taken));
    assert_string_equal(taken.id, first.id);
    assert_true(take(task, SAMPLE_MS + HOUR_MS, &taken));
    assert_string_equal(taken.id, again.id);
    finish(task, first.id, EVENT_DONE);
    finish(task, again.id, EVENT_DONE);
}

/* A clock was a day ahead, and is right again. */

static void test_events_that_a_clock_ahead_put_off_are_due(void **state)
{
    struct task *task = *state;
    const int64_t ahead_ms = SAMPLE_MS + SAMPLE_DAY_MS;
    struct event leased = event_for(task, "cus_ahead", ahead_ms),
                 other = event_for(task, "cus_ahead", SAMPLE_MS),
                 failed = event_for(task, "cus_failed", ahead_ms), taken;

    assert_true(is_taken(task, &leased, LEASE_MS));
    assert_true(is_taken(task, &failed, LEASE_MS));
    postpone(task, failed.id, ahead_ms, true);
    assert_true(is_taken(task, &other, LEASE_MS));
    finish(task, other.id, EVENT_DONE);
    assert_true(take(task, SAMPLE_MS, &taken));
    assert_string_equal(taken.id, leased.id);
    assert_true(take(task, SAMPLE_MS, &taken));
    assert_string_equal(taken.id, failed.id);
    assert_false(take(task, SAMPLE_MS, &taken));
    finish(task, leased.id, EVENT_DONE);
    finish(task, failed.id, EVENT_DONE);
}

static void test_one_that_comes_again_is_not_held_up_by_a_lease_of_a_clock_ahead(void **state)
{
    struct task *task = *state;
    struct event event = event_for(task, "cus_again", SAMPLE_MS + SAMPLE_DAY_MS);

    assert_true(is_taken(task, &event, LEASE_MS));
    event.received_ms = SAMPLE_MS;
    assert_true(is_taken(task, &event, LEASE_MS));
    assert_false(is_taken(task, &event, LEASE_MS));
    finish(task, event.id, EVENT_DONE);
}

static void test_a_checkout_reserved_by_a_clock_ahead_keeps_nobody(void **state)
{
    struct task *task = *state;
    struct checkout ahead = wanted(task, person(task), "basic",
                                   SAMPLE_MS + INT64_C(30) * SAMPLE_DAY_MS),
                    now = wanted(task, ahead.user_id, "pro", SAMPLE_MS), one;

    assert_int_equal(reserve(task, &ahead, &one), CHECKOUT_RESERVED);
    assert_int_equal(reserve(task, &now, &one), CHECKOUT_RESERVED);
    assert_string_equal(one.key, now.key);
}

static void test_a_period_begun_by_a_clock_far_ahead_is_over(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task));
    struct usage usage = usage_of(&stored, 2), ahead = usage;
    int64_t runs;

    ahead.period_ms += INT64_C(400) * SAMPLE_DAY_MS;
    ahead.day += 400;
    for (int i = 0; i < 2; i++)
        assert_int_equal(consume(task, &ahead, &runs), USAGE_CONSUMED);
    assert_int_equal(consume(task, &ahead, &runs), USAGE_EXHAUSTED);
    for (int i = 0; i < 2; i++)
        assert_int_equal(consume(task, &usage, &runs), USAGE_CONSUMED);
    assert_int_equal(runs, 2);
    assert_int_equal(consume(task, &usage, &runs), USAGE_EXHAUSTED);
}

static void test_a_mark_is_kept_under_its_name(void **state)
{
    struct task *task = *state;
    int64_t at_ms;
    bool found;

    assert_int_equal(store_mark(task, store, "seen", &found, &at_ms), OK);
    assert_false(found);
    for (int64_t i = 2; i > 0; i--)
        assert_int_equal(store_mark_set(task, store, "seen", SAMPLE_MS + i), OK);
    assert_int_equal(store_mark(task, store, "seen", &found, &at_ms), OK);
    assert_true(found);
    assert_int_equal(at_ms, SAMPLE_MS + 1);
    assert_int_equal(store_mark(task, store, "unseen", &found, &at_ms), OK);
    assert_false(found);
}

/* Who goes */

static void
test_of_a_customer_that_is_linked_the_dead_events_that_this_settles_wait_again(void **state)
{
    struct task *task = *state;
    struct subscription stored = open_for(task, person(task));
    static const struct {
        enum event_reason reason;
        const char *error; /* for people: what it says decides nothing */
        const char *state;
    } of[] = {{REASON_PAID_TWICE, "a", EVENT_WAITING},
              {REASON_NAMES_NOBODY, "b", EVENT_WAITING},
              {REASON_FAILED, "paid twice: it names no user here", EVENT_DEAD},
              {REASON_PRICE_UNKNOWN, "c", EVENT_DEAD}};
    const char *customer_id = mem_printf(task->mem, "cus_%s", crypto_id(task->mem)), *said;
    struct event events[count_of(of)], found;
    bool is_found;

    for (size_t i = 0; i < count_of(of); i++) {
        events[i] = event_at(task, SAMPLE_MS);
        events[i].customer_id = customer_id;
        put(task, &events[i], &said);
        assert_int_equal(store_event_done(task, store, events[i].id, EVENT_DEAD, of[i].reason, NULL,
                                          of[i].error, NULL, SAMPLE_MS),
                         OK);
        assert_int_equal(event_of(task, events[i].id).reason, of[i].reason);
    }
    link_for(task, stored.user_id, stored.generation, NULL, customer_id);
    for (size_t i = 0; i < count_of(of); i++) {
        bool waits = strcmp(of[i].state, EVENT_WAITING) == 0;

        found = event_of(task, events[i].id);
        assert_string_equal(found.state, of[i].state);
        assert_int_equal(found.reason, waits ? REASON_NONE : of[i].reason);
        if (!waits)
            assert_int_equal(store_event_replay(task, store, events[i].id, SAMPLE_MS, &is_found),
                             OK);
        finish(task, events[i].id, EVENT_DONE);
    }
}

static void test_who_goes_takes_all_of_it_along_and_leaves_a_goodbye_for_stripe(void **state)
{
    struct task *task = *state;
    const char *user_id = person(task), *other = person(task), *said;
    struct other_customer *others;
    const char *second = mem_printf(task->mem, "cus_%s", crypto_id(task->mem));
    struct subscription stored = open_for(task, user_id), state_now = paid(task, &stored);
    struct usage usage = usage_of(&stored, 10);
    struct event event = event_at(task, SAMPLE_MS), goodbye;
    struct checkout checkout = wanted(task, user_id, "basic", SAMPLE_MS), one;
    struct audit audit = {SAMPLE_MS, "user:x", "test", user_id, "", ""};
    enum user_changed changed;
    struct usage_day *days;
    size_t count;
    int64_t runs;
    bool found;

    open_for(task, other);
    consume(task, &usage, &runs);
    reserve(task, &checkout, &one);
    apply(task, &state_now);
    event.customer_id = state_now.customer_id;
    put(task, &event, &said);
    assert_true(note(task, second, user_id, false, SAMPLE_MS));
    assert_int_equal(store_user_delete(task, store, user_id, NULL, &audit, &changed), OK);
    assert_int_equal(changed, USER_CHANGED);
    assert_false(note(task, mem_printf(task->mem, "%s_late", second), user_id, true, SAMPLE_MS));
    assert_int_equal(others_of(task, user_id, &others), 0);
    assert_false(has_subscription(task, user_id));
    assert_true(has_subscription(task, other));
    assert_int_equal(store_usage_days(task, store, user_id, &days, &count), OK);
    assert_int_equal(count, 0);
    assert_int_equal(store_event_by_id(task, store, event.id, &found, &event), OK);
    assert_false(found);
    assert_true(take(task, SAMPLE_MS, &goodbye));
    assert_string_equal(goodbye.type, STORE_EVENT_GOODBYE);
    assert_string_equal(goodbye.customer_id, state_now.customer_id);
    assert_non_null(strstr(goodbye.payload, state_now.stripe_id));
    finish(task, goodbye.id, EVENT_DONE);
    assert_true(take(task, SAMPLE_MS, &goodbye));
    assert_string_equal(goodbye.type, STORE_EVENT_GOODBYE);
    assert_string_equal(goodbye.customer_id, second);
    finish(task, goodbye.id, EVENT_DONE);
    assert_int_equal(others_of(task, user_id, &others), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sample_begin, sample_end)

int contract_billing_run(struct store *of)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_the_first_question_makes_a_free_subscription_and_the_next_finds_it),
        TEST(test_nobody_has_no_subscription_and_gets_none),
        TEST(test_of_many_first_questions_at_once_one_makes_the_subscription),
        TEST(test_what_stripe_says_is_taken_over_whole),
        TEST(test_what_was_worked_out_from_something_older_never_overwrites),
        TEST(test_a_mail_goes_with_what_is_taken_over_or_not_at_all),
        TEST(test_lists_are_newest_first_by_pages_and_by_what_is_asked),
        TEST(test_a_cursor_that_is_not_the_stores_is_refused_by_every_list),
        TEST(test_the_first_customer_stays_until_stripe_has_lost_it),
        TEST(test_a_customer_that_goes_takes_its_subscription_along),
        TEST(test_a_customer_takes_the_place_of_another_only_while_that_is_linked),
        TEST(test_a_subscription_without_a_customer_is_read_as_over),
        TEST(test_anothers_customer_is_not_linked),
        TEST(test_a_former_customer_and_a_second_one_are_remembered_until_one_is_linked),
        TEST(test_of_a_customer_that_is_linked_the_dead_events_that_this_settles_wait_again),
        TEST(test_of_other_customers_own_ones_come_first_and_each_is_known_and_forgotten),
        TEST(test_a_customer_is_foreign_from_its_link_until_another_word_or_its_end),
        TEST(test_of_many_trials_begun_at_once_one_is),
        TEST(test_a_trial_keeps_what_was_used_and_is_had_once_for_ever),
        TEST(test_a_mailbox_has_one_trial_whoever_has_it),
        TEST(test_who_removes_an_account_without_a_trial_may_have_it_in_the_next),
        TEST(test_a_trial_follows_to_a_new_address_and_stays_with_the_old_one),
        TEST(test_who_has_paid_or_was_given_a_plan_begins_no_trial),
        TEST(test_who_is_in_a_trial_that_ends_is_told_once),
        TEST(test_no_more_is_charged_at_once_than_is_left),
        TEST(test_a_later_period_begins_at_nothing_and_an_earlier_one_never_comes_back),
        TEST(test_unlimited_is_counted_and_never_exhausted),
        TEST(test_a_run_is_not_charged_to_a_subscription_that_has_changed),
        TEST(test_a_gift_leaves_its_line_and_what_stripe_says_alone),
        TEST(test_a_checkout_is_open_for_the_same_and_replaced_for_another),
        TEST(test_an_expired_or_closed_checkout_is_made_anew),
        TEST(test_whoever_left_a_reservation_leaves_its_key),
        TEST(test_of_many_who_check_out_at_once_one_reserves),
        TEST(test_an_event_is_accepted_once_and_tells_what_became_of_it),
        TEST(test_the_mail_of_an_event_is_put_when_it_ends_and_once),
        TEST(test_an_event_that_is_put_off_waits_and_a_dead_one_until_it_is_replayed),
        TEST(test_one_answer_settles_what_the_customers_events_waited_for),
        TEST(test_events_are_listed_by_state_and_swept_when_they_are_old),
        TEST(test_what_has_failed_is_due_at_once_when_it_is_hastened),
        TEST(test_no_event_is_taken_twice_at_once),
        TEST(test_of_a_customers_events_one_is_in_work_and_the_others_wait),
        TEST(test_a_lease_that_is_over_lets_the_customers_next_event_go),
        TEST(test_events_of_nobody_are_each_for_themselves),
        TEST(test_what_fails_for_a_customer_puts_off_what_else_waits_of_theirs),
        TEST(test_what_is_wrong_with_one_event_delays_the_customers_others_little),
        TEST(test_what_comes_first_is_taken_before_what_is_tried_again),
        TEST(test_events_that_a_clock_ahead_put_off_are_due),
        TEST(test_one_that_comes_again_is_not_held_up_by_a_lease_of_a_clock_ahead),
        TEST(test_a_checkout_reserved_by_a_clock_ahead_keeps_nobody),
        TEST(test_a_period_begun_by_a_clock_far_ahead_is_over),
        TEST(test_a_mark_is_kept_under_its_name),
        TEST(test_who_goes_takes_all_of_it_along_and_leaves_a_goodbye_for_stripe),
    };

    store = of;
    return cmocka_run_group_tests_name("billing", tests, NULL, NULL);
}
