#include "contract.h"

#include "sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { RACERS = 12, ROUNDS = 20 };

static struct store *store;

/* A user with one session, both in the store. */
struct login {
    struct user user;
    struct session_record session;
};

static struct login log_in(struct task *task)
{
    struct login login = {.user = sample_user(task->mem)};

    login.session = sample_session(task->mem, login.user.id);
    sample_create(task, store, &login.user, &login.session);
    return login;
}

static enum session_refreshed refresh(struct task *task, const char *id, const char *token,
                                      int64_t now_ms, struct chain_link *ret_successor)
{
    struct chain_link fresh = sample_link(task->mem);
    enum session_refreshed refreshed;

    assert_int_equal(
        store_session_refresh(task, store, id, token, &fresh, now_ms, &refreshed, ret_successor),
        OK);
    return refreshed;
}

/* Users */

static void test_a_created_user_is_found_by_address_and_by_id_with_its_session(void **state)
{
    struct task *task = *state;
    struct user user = sample_user(task->mem), by_email;
    struct session_record session = sample_session(task->mem, user.id), read;
    bool found;

    user.is_admin = true;
    user.valid_from_ms = 17;
    sample_create(task, store, &user, &session);
    assert_int_equal(store_user_by_email(task, store, user.email, &found, &by_email), OK);
    assert_true(found);
    assert_same_user(&by_email, &user);
    by_email = sample_read_user(task, store, user.id);
    assert_same_user(&by_email, &user);
    read = sample_read_session(task, store, session.id);
    assert_same_session(&read, &session);
}

static void test_text_is_kept_byte_for_byte_and_no_hash_stays_no_hash(void **state)
{
    struct task *task = *state;
    struct user user = sample_user(task->mem), read;
    struct session_record session = sample_session(task->mem, user.id), read_session;

    user.fullname = "\xd8\xb2\xd9\x8a\xd9\x86\xd8\xa8 '\";-- $where {\xf0\x9f\x90\xab} \\0%s";
    user.password_hash = NULL;
    user.is_active = false;
    session.agent = "";
    sample_create(task, store, &user, &session);
    read = sample_read_user(task, store, user.id);
    assert_same_user(&read, &user);
    read_session = sample_read_session(task, store, session.id);
    assert_same_session(&read_session, &session);
}

static void test_who_is_unknown_is_not_found_and_the_result_is_untouched(void **state)
{
    struct task *task = *state;
    struct user user = {.id = "untouched"};
    struct session_record session = {.id = "untouched"};
    bool found = true;

    assert_int_equal(store_user_by_email(task, store, sample_email(task->mem), &found, &user), OK);
    assert_false(found);
    found = true;
    assert_int_equal(store_user_by_id(task, store, crypto_id(task->mem), &found, &user), OK);
    assert_false(found);
    found = true;
    assert_int_equal(store_session_by_id(task, store, crypto_id(task->mem), &found, &session), OK);
    assert_false(found);
    assert_string_equal(user.id, "untouched");
    assert_string_equal(session.id, "untouched");
}

static void test_a_taken_address_is_told_and_leaves_nothing(void **state)
{
    struct task *task = *state;
    struct login first = log_in(task);
    struct user second = sample_user(task->mem), read;
    struct session_record session = sample_session(task->mem, second.id);
    enum user_created created;
    bool found;

    second.email = first.user.email;
    assert_int_equal(store_user_create(task, store, &second, &session, NULL, &created), OK);
    assert_int_equal(created, USER_EMAIL_TAKEN);
    assert_int_equal(store_user_by_id(task, store, second.id, &found, &read), OK);
    assert_false(found);
    assert_false(sample_has_session(task, store, session.id));
    read = sample_read_user(task, store, first.user.id);
    assert_same_user(&read, &first.user);
}

static void test_a_user_comes_with_its_session_or_not_at_all(void **state)
{
    struct task *task = *state;
    struct login first = log_in(task);
    struct user second = sample_user(task->mem);
    struct session_record session = sample_session(task->mem, second.id), read;
    enum user_created created;

    session.id = first.session.id;
    assert_int_not_equal(store_user_create(task, store, &second, &session, NULL, &created), OK);
    assert_false(sample_has_email(task, store, second.email));
    read = sample_read_session(task, store, first.session.id);
    assert_same_session(&read, &first.session);
}

static void test_an_id_in_use_is_given_to_nobody_else(void **state)
{
    struct task *task = *state;
    struct login first = log_in(task);
    struct user second = sample_user(task->mem), read;
    struct session_record session = sample_session(task->mem, first.user.id);
    enum user_created created;

    second.id = first.user.id;
    assert_int_not_equal(store_user_create(task, store, &second, &session, NULL, &created), OK);
    assert_false(sample_has_email(task, store, second.email));
    assert_false(sample_has_session(task, store, session.id));
    read = sample_read_user(task, store, first.user.id);
    assert_same_user(&read, &first.user);
}

static void test_voiding_tokens_never_goes_back_and_touches_one_user(void **state)
{
    struct task *task = *state;
    struct login one = log_in(task), other = log_in(task);
    struct user read;

    assert_int_equal(store_user_void_tokens(task, store, one.user.id, SAMPLE_MS), OK);
    assert_int_equal(store_user_void_tokens(task, store, one.user.id, SAMPLE_MS - 1), OK);
    one.user.valid_from_ms = SAMPLE_MS;
    read = sample_read_user(task, store, one.user.id);
    assert_same_user(&read, &one.user);
    assert_int_equal(store_user_void_tokens(task, store, one.user.id, SAMPLE_MS + 1), OK);
    assert_int_equal(sample_read_user(task, store, one.user.id).valid_from_ms, SAMPLE_MS + 1);
    read = sample_read_user(task, store, other.user.id);
    assert_same_user(&read, &other.user);
}

/* Sessions */

static void test_an_opened_session_is_read_back_and_the_login_noted(void **state)
{
    struct task *task = *state;
    struct login login = log_in(task);
    struct session_record session = sample_session(task->mem, login.user.id), read;
    struct user user;

    session.created_ms = session.last_used_ms = SAMPLE_MS + 5000;
    sample_open(task, store, &session);
    read = sample_read_session(task, store, session.id);
    assert_same_session(&read, &session);
    login.user.last_login_ms = session.created_ms;
    user = sample_read_user(task, store, login.user.id);
    assert_same_user(&user, &login.user);
    read = sample_read_session(task, store, login.session.id);
    assert_same_session(&read, &login.session);
}

static void test_a_session_of_nobody_is_not_opened(void **state)
{
    struct task *task = *state;
    struct session_record session = sample_session(task->mem, crypto_id(task->mem));
    enum session_opened opened;

    assert_int_equal(store_session_open(task, store, &session, 0, &opened), OK);
    assert_int_equal(opened, SESSION_USER_CHANGED);
    assert_false(sample_has_session(task, store, session.id));
}

static void test_an_id_is_opened_once_live_or_ended_and_nothing_changes(void **state)
{
    struct task *task = *state;
    struct login login = log_in(task);
    struct session_record again = sample_session(task->mem, login.user.id), read;
    enum session_opened opened = SESSION_OPENED;

    again.id = login.session.id;
    again.created_ms = SAMPLE_MS + 9000;
    again.agent = "another";
    assert_int_equal(store_session_open(task, store, &again, 0, &opened), OK);
    assert_int_equal(opened, SESSION_EXISTS);
    read = sample_read_session(task, store, again.id);
    assert_same_session(&read, &login.session);

    assert_int_equal(store_session_end(task, store, again.id, SAMPLE_MS + 1, NULL), OK);
    opened = SESSION_OPENED;
    assert_int_equal(store_session_open(task, store, &again, 0, &opened), OK);
    assert_int_equal(opened, SESSION_EXISTS);
    login.session.ended_ms = SAMPLE_MS + 1;
    read = sample_read_session(task, store, again.id);
    assert_same_session(&read, &login.session);
    assert_int_equal(sample_read_user(task, store, login.user.id).last_login_ms,
                     login.user.last_login_ms);
}

static void test_a_session_ends_once(void **state)
{
    struct task *task = *state;
    struct login login = log_in(task);
    struct session_record other = sample_session(task->mem, login.user.id), read;

    sample_open(task, store, &other);
    assert_int_equal(store_session_end(task, store, login.session.id, SAMPLE_MS + 7, NULL), OK);
    assert_int_equal(store_session_end(task, store, login.session.id, SAMPLE_MS + 8, NULL), OK);
    assert_int_equal(store_session_end(task, store, crypto_id(task->mem), SAMPLE_MS, NULL), OK);
    login.session.ended_ms = SAMPLE_MS + 7;
    read = sample_read_session(task, store, login.session.id);
    assert_same_session(&read, &login.session);
    read = sample_read_session(task, store, other.id);
    assert_same_session(&read, &other);
}

/* Fills a user up to the most live sessions; session i was last used at SAMPLE_MS + i. */
static struct session_record *fill(struct task *task, const struct login *login)
{
    struct session_record *sessions = mem_array(task->mem, struct session_record,
                                                STORE_SESSIONS_PER_USER);

    sessions[0] = login->session;
    for (int i = 1; i < STORE_SESSIONS_PER_USER; i++) {
        sessions[i] = sample_session(task->mem, login->user.id);
        sessions[i].created_ms = sessions[i].last_used_ms = SAMPLE_MS + i;
        sample_open(task, store, &sessions[i]);
    }
    return sessions;
}

static unsigned count_live(struct task *task, const struct session_record *sessions, unsigned count)
{
    unsigned live = 0;

    for (unsigned i = 0; i < count; i++)
        live += sample_read_session(task, store, sessions[i].id).ended_ms == 0;
    return live;
}

static void test_a_login_beyond_the_most_ends_the_session_unused_for_longest(void **state)
{
    struct task *task = *state;
    struct login login = log_in(task), neighbour = log_in(task);
    struct session_record *sessions = fill(task, &login);
    struct session_record next = sample_session(task->mem, login.user.id);
    struct chain_link successor;

    assert_int_equal(count_live(task, sessions, STORE_SESSIONS_PER_USER), STORE_SESSIONS_PER_USER);
    assert_int_equal(
        refresh(task, sessions[0].id, sample_token(&sessions[0]), SAMPLE_MS + 500, &successor),
        SESSION_REFRESHED);
    next.created_ms = next.last_used_ms = SAMPLE_MS + 1000;
    sample_open(task, store, &next);
    assert_int_equal(sample_read_session(task, store, sessions[1].id).ended_ms, next.created_ms);
    assert_int_equal(sample_read_session(task, store, next.id).ended_ms, 0);
    assert_int_equal(count_live(task, sessions, STORE_SESSIONS_PER_USER),
                     STORE_SESSIONS_PER_USER - 1);
    assert_int_equal(sample_read_session(task, store, neighbour.session.id).ended_ms, 0);
}

static void test_ended_and_expired_sessions_take_no_place(void **state)
{
    struct task *task = *state;
    struct login login = log_in(task);
    struct session_record *sessions = fill(task, &login), next[2], expired;

    expired = sample_session(task->mem, login.user.id);
    expired.created_ms = expired.last_used_ms = SAMPLE_MS + 200;
    expired.expires_ms = SAMPLE_MS + 300;
    sample_open(task, store, &expired); /* ends session 0 */
    assert_int_equal(store_session_end(task, store, sessions[50].id, SAMPLE_MS + 400, NULL), OK);
    for (int i = 0; i < 2; i++) {
        next[i] = sample_session(task->mem, login.user.id);
        next[i].created_ms = next[i].last_used_ms = SAMPLE_MS + 400 + i;
        sample_open(task, store, &next[i]);
    }
    assert_int_equal(count_live(task, sessions, STORE_SESSIONS_PER_USER),
                     STORE_SESSIONS_PER_USER - 2);
    assert_int_equal(sample_read_session(task, store, sessions[1].id).ended_ms, 0);
    assert_int_equal(sample_read_session(task, store, expired.id).ended_ms, 0);
}

/* Refreshing */

static void test_a_refresh_hands_out_the_fresh_token_and_is_kept(void **state)
{
    struct task *task = *state;
    struct login login = log_in(task);
    struct session_record expected = login.session, read;
    struct chain_link fresh = sample_link(task->mem), successor;
    enum session_refreshed refreshed;

    assert_int_equal(store_session_refresh(task, store, login.session.id,
                                           sample_token(&login.session), &fresh, SAMPLE_MS + 30,
                                           &refreshed, &successor),
                     OK);
    assert_int_equal(refreshed, SESSION_REFRESHED);
    assert_same_link(&successor, &fresh);
    expected.last_used_ms = SAMPLE_MS + 30;
    expected.chain.links[0].used_ms = SAMPLE_MS + 30;
    expected.chain.links[expected.chain.count++] = fresh;
    read = sample_read_session(task, store, login.session.id);
    assert_same_session(&read, &expected);
}

static void test_the_same_token_gets_the_same_successor_until_that_is_used(void **state)
{
    struct task *task = *state;
    struct login login = log_in(task);
    const char *id = login.session.id, *token = sample_token(&login.session);
    struct chain_link first, again;

    assert_int_equal(refresh(task, id, token, SAMPLE_MS, &first), SESSION_REFRESHED);
    for (int i = 1; i <= 20; i++) {
        assert_int_equal(refresh(task, id, token, SAMPLE_MS + i * 60000, &again),
                         SESSION_REFRESHED);
        assert_same_link(&again, &first);
    }
    assert_int_equal(sample_read_session(task, store, id).last_used_ms, SAMPLE_MS + 20 * 60000);
}

static void test_a_replaced_token_is_good_for_the_grace_and_then_ends_the_session(void **state)
{
    struct task *task = *state;
    struct login login = log_in(task);
    const char *id = login.session.id, *token = sample_token(&login.session);
    int64_t retired_ms = SAMPLE_MS + 1000;
    struct chain_link first, second, again;

    assert_int_equal(refresh(task, id, token, SAMPLE_MS, &first), SESSION_REFRESHED);
    assert_int_equal(refresh(task, id, first.id, retired_ms, &second), SESSION_REFRESHED);
    assert_int_equal(refresh(task, id, token, retired_ms + CHAIN_GRACE_MS, &again),
                     SESSION_REFRESHED);
    assert_string_equal(again.id, first.id);
    assert_int_equal(refresh(task, id, token, retired_ms + CHAIN_GRACE_MS + 1, &again),
                     SESSION_REUSED);
    assert_int_equal(sample_read_session(task, store, id).ended_ms,
                     retired_ms + CHAIN_GRACE_MS + 1);
    assert_int_equal(refresh(task, id, second.id, retired_ms + CHAIN_GRACE_MS + 2, &again),
                     SESSION_OVER);
    assert_int_equal(refresh(task, id, token, retired_ms + CHAIN_GRACE_MS + 2, &again),
                     SESSION_OVER);
}

static void test_a_token_of_another_session_ends_the_session_it_is_used_on(void **state)
{
    struct task *task = *state;
    struct login one = log_in(task), other = log_in(task);
    struct chain_link successor;

    assert_int_equal(
        refresh(task, one.session.id, sample_token(&other.session), SAMPLE_MS + 1, &successor),
        SESSION_REUSED);
    assert_int_equal(sample_read_session(task, store, one.session.id).ended_ms, SAMPLE_MS + 1);
    assert_int_equal(sample_read_session(task, store, other.session.id).ended_ms, 0);
}

static void test_what_is_over_is_not_refreshed_and_not_changed(void **state)
{
    struct task *task = *state;
    struct login ended = log_in(task), expired = log_in(task);
    struct session_record read;
    struct chain_link successor;

    assert_int_equal(store_session_end(task, store, ended.session.id, SAMPLE_MS + 1, NULL), OK);
    ended.session.ended_ms = SAMPLE_MS + 1;
    assert_int_equal(
        refresh(task, ended.session.id, sample_token(&ended.session), SAMPLE_MS + 2, &successor),
        SESSION_OVER);
    assert_int_equal(
        refresh(task, ended.session.id, "no-token-of-this-chain", SAMPLE_MS + 2, &successor),
        SESSION_OVER);
    read = sample_read_session(task, store, ended.session.id);
    assert_same_session(&read, &ended.session);

    assert_int_equal(refresh(task, expired.session.id, sample_token(&expired.session),
                             expired.session.expires_ms, &successor),
                     SESSION_OVER);
    read = sample_read_session(task, store, expired.session.id);
    assert_same_session(&read, &expired.session);
    assert_int_equal(refresh(task, expired.session.id, sample_token(&expired.session),
                             expired.session.expires_ms - 1, &successor),
                     SESSION_REFRESHED);

    assert_int_equal(
        refresh(task, crypto_id(task->mem), "no-token-of-this-chain", SAMPLE_MS, &successor),
        SESSION_OVER);
}

static void test_a_session_is_refreshed_again_and_again(void **state)
{
    struct task *task = *state;
    struct login login = log_in(task);
    struct chain_link token = login.session.chain.links[0];

    for (int i = 0; i < 50; i++)
        assert_int_equal(refresh(task, login.session.id, token.id, SAMPLE_MS + i * 100, &token),
                         SESSION_REFRESHED);
    assert_in_range(sample_read_session(task, store, login.session.id).chain.count, 2, CHAIN_LINKS);
}

/* Sweeping */

static void test_only_what_expired_before_the_time_is_swept(void **state)
{
    enum { SESSIONS = 250, BEFORE_MS = 1000000 };
    struct task *task = *state;
    struct login login = log_in(task);
    struct session_record kept = sample_session(task->mem, login.user.id);
    struct session_record *swept = mem_array(task->mem, struct session_record, SESSIONS);
    unsigned total = 0, count;

    kept.created_ms = kept.last_used_ms = 1;
    kept.expires_ms = BEFORE_MS;
    sample_open(task, store, &kept);
    for (int i = 0; i < SESSIONS; i++) {
        swept[i] = sample_session(task->mem, login.user.id);
        swept[i].created_ms = swept[i].last_used_ms = BEFORE_MS + 1;
        swept[i].expires_ms = BEFORE_MS - 1 - i;
        sample_open(task, store, &swept[i]);
    }
    assert_true(sample_has_session(task, store, swept[0].id));
    do {
        assert_int_equal(store_session_sweep(task, store, BEFORE_MS, &count), OK);
        total += count;
    } while (count > 0);
    assert_int_equal(total, SESSIONS);
    for (int i = 0; i < SESSIONS; i++)
        assert_false(sample_has_session(task, store, swept[i].id));
    assert_true(sample_has_session(task, store, kept.id));
    assert_true(sample_has_session(task, store, login.session.id));
    assert_true(sample_has_email(task, store, login.user.email));
    assert_int_equal(store_session_sweep(task, store, BEFORE_MS + 1, &count), OK);
    assert_int_equal(count, 1);
}

/* Health */

static void test_a_sound_store_says_so(void **state)
{
    struct task *task = *state;
    const char *fault = "unset";

    log_in(task);
    assert_int_equal(store_ping(task, store), OK);
    assert_int_equal(store_check(task, store, &fault), OK);
    assert_null(fault);
    assert_true(strlen(store_name(store)) > 0);
}

/* Races. Each racer notes what it saw; the errors are OK or the round fails. */

struct registering {
    const char *email;
    struct user users[RACERS];
    struct session_record sessions[RACERS];
    enum err e[RACERS];
    enum user_created created[RACERS];
};

static void run_register(struct task *task, unsigned number, void *argument)
{
    struct registering *r = argument;

    r->e[number] = store_user_create(task, store, &r->users[number], &r->sessions[number], NULL,
                                     &r->created[number]);
}

static void test_of_many_who_register_an_address_at_once_one_wins(void **state)
{
    struct task *task = *state;
    struct registering *r = mem_new(task->mem, struct registering);

    for (int round = 0; round < ROUNDS; round++) {
        struct user read;
        bool found;
        unsigned winner = RACERS;

        r->email = sample_email(task->mem);
        for (unsigned i = 0; i < RACERS; i++) {
            r->users[i] = sample_user(task->mem);
            r->users[i].email = r->email;
            r->sessions[i] = sample_session(task->mem, r->users[i].id);
        }
        sample_race(RACERS, run_register, r);
        assert_int_equal(store_user_by_email(task, store, r->email, &found, &read), OK);
        assert_true(found);
        for (unsigned i = 0; i < RACERS; i++) {
            bool won = strcmp(r->users[i].id, read.id) == 0;

            assert_int_equal(r->e[i], OK);
            assert_int_equal(r->created[i], won ? USER_CREATED : USER_EMAIL_TAKEN);
            assert_int_equal(sample_has_session(task, store, r->sessions[i].id), won);
            if (won)
                winner = i;
        }
        assert_in_range(winner, 0, RACERS - 1);
        assert_same_user(&read, &r->users[winner]);
    }
}

struct refreshing {
    const char *id, *token;
    int64_t now_ms;
    struct chain_link fresh[RACERS], successors[RACERS];
    enum err e[RACERS];
    enum session_refreshed refreshed[RACERS];
};

static void run_refresh(struct task *task, unsigned number, void *argument)
{
    struct refreshing *r = argument;

    r->e[number] = store_session_refresh(task, store, r->id, r->token, &r->fresh[number], r->now_ms,
                                         &r->refreshed[number], &r->successors[number]);
}

static void test_of_many_who_refresh_a_token_at_once_all_get_the_same_successor(void **state)
{
    struct task *task = *state;
    struct login login = log_in(task);
    struct refreshing *r = mem_new(task->mem, struct refreshing);

    r->id = login.session.id;
    r->token = sample_token(&login.session);
    for (int round = 0; round < ROUNDS; round++) {
        r->now_ms = SAMPLE_MS + round;
        for (unsigned i = 0; i < RACERS; i++)
            r->fresh[i] = sample_link(task->mem);
        sample_race(RACERS, run_refresh, r);
        for (unsigned i = 0; i < RACERS; i++) {
            assert_int_equal(r->e[i], OK);
            assert_int_equal(r->refreshed[i], SESSION_REFRESHED);
            assert_same_link(&r->successors[i], &r->successors[0]);
        }
        r->token = mem_string(task->mem, r->successors[0].id);
    }
}

static void test_of_many_who_reuse_a_token_at_once_one_ends_the_session(void **state)
{
    struct task *task = *state;
    struct refreshing *r = mem_new(task->mem, struct refreshing);

    for (int round = 0; round < ROUNDS; round++) {
        struct login login = log_in(task);
        struct chain_link first, second;
        unsigned enders = 0;

        r->id = login.session.id;
        r->token = sample_token(&login.session);
        assert_int_equal(refresh(task, r->id, r->token, SAMPLE_MS, &first), SESSION_REFRESHED);
        assert_int_equal(refresh(task, r->id, first.id, SAMPLE_MS, &second), SESSION_REFRESHED);
        r->now_ms = SAMPLE_MS + CHAIN_GRACE_MS + 1;
        for (unsigned i = 0; i < RACERS; i++)
            r->fresh[i] = sample_link(task->mem);
        sample_race(RACERS, run_refresh, r);
        for (unsigned i = 0; i < RACERS; i++) {
            assert_int_equal(r->e[i], OK);
            assert_int_not_equal(r->refreshed[i], SESSION_REFRESHED);
            enders += r->refreshed[i] == SESSION_REUSED;
        }
        assert_int_equal(enders, 1);
    }
}

static void run_refresh_or_end(struct task *task, unsigned number, void *argument)
{
    struct refreshing *r = argument;

    if (number == 0)
        r->e[0] = store_session_end(task, store, r->id, r->now_ms, NULL);
    else
        run_refresh(task, number, argument);
}

static void test_no_refresh_brings_an_ended_session_back(void **state)
{
    struct task *task = *state;
    struct refreshing *r = mem_new(task->mem, struct refreshing);

    for (int round = 0; round < ROUNDS; round++) {
        struct login login = log_in(task);
        struct chain_link successor;

        r->id = login.session.id;
        r->token = sample_token(&login.session);
        r->now_ms = SAMPLE_MS + 1;
        for (unsigned i = 0; i < RACERS; i++)
            r->fresh[i] = sample_link(task->mem);
        sample_race(RACERS, run_refresh_or_end, r);
        assert_int_equal(r->e[0], OK);
        for (unsigned i = 1; i < RACERS; i++) {
            assert_int_equal(r->e[i], OK);
            assert_int_not_equal(r->refreshed[i], SESSION_REUSED);
        }
        assert_int_equal(sample_read_session(task, store, r->id).ended_ms, SAMPLE_MS + 1);
        assert_int_equal(refresh(task, r->id, r->token, SAMPLE_MS + 2, &successor), SESSION_OVER);
    }
}

struct opening {
    struct session_record sessions[RACERS];
    enum err e[RACERS];
    enum session_opened opened[RACERS];
};

static void run_open(struct task *task, unsigned number, void *argument)
{
    struct opening *o = argument;

    o->e[number] = store_session_open(task, store, &o->sessions[number], 0, &o->opened[number]);
}

static void test_of_many_who_open_a_session_at_once_one_does(void **state)
{
    struct task *task = *state;
    struct opening *o = mem_new(task->mem, struct opening);

    for (int round = 0; round < ROUNDS; round++) {
        const char *user_id = log_in(task).user.id, *id = crypto_id(task->mem);
        struct session_record read;
        unsigned openers = 0;

        for (unsigned i = 0; i < RACERS; i++) {
            o->sessions[i] = sample_session(task->mem, user_id);
            o->sessions[i].id = id;
        }
        sample_race(RACERS, run_open, o);
        read = sample_read_session(task, store, id);
        for (unsigned i = 0; i < RACERS; i++) {
            assert_int_equal(o->e[i], OK);
            openers += o->opened[i] == SESSION_OPENED;
            if (o->opened[i] == SESSION_OPENED)
                assert_same_session(&read, &o->sessions[i]);
        }
        assert_int_equal(openers, 1);
    }
}

static void test_logins_at_once_leave_no_more_than_the_most(void **state)
{
    struct task *task = *state;
    struct login login = log_in(task);
    struct session_record *sessions = fill(task, &login);
    struct opening *o = mem_new(task->mem, struct opening);

    for (unsigned i = 0; i < RACERS; i++) {
        o->sessions[i] = sample_session(task->mem, login.user.id);
        o->sessions[i].created_ms = o->sessions[i].last_used_ms = SAMPLE_MS + 1000;
    }
    sample_race(RACERS, run_open, o);
    for (unsigned i = 0; i < RACERS; i++) {
        assert_int_equal(o->e[i], OK);
        assert_int_equal(o->opened[i], SESSION_OPENED);
    }
    assert_int_equal(count_live(task, o->sessions, RACERS), RACERS);
    assert_int_equal(count_live(task, sessions, STORE_SESSIONS_PER_USER),
                     STORE_SESSIONS_PER_USER - RACERS);
}

struct voiding {
    const char *id;
    enum err e[RACERS];
};

static void run_void(struct task *task, unsigned number, void *argument)
{
    struct voiding *v = argument;

    v->e[number] = store_user_void_tokens(task, store, v->id, SAMPLE_MS + number);
}

static void test_of_tokens_voided_at_once_the_latest_time_stays(void **state)
{
    struct task *task = *state;
    struct voiding v;

    for (int round = 0; round < ROUNDS; round++) {
        v.id = log_in(task).user.id;
        sample_race(RACERS, run_void, &v);
        for (unsigned i = 0; i < RACERS; i++)
            assert_int_equal(v.e[i], OK);
        assert_int_equal(sample_read_user(task, store, v.id).valid_from_ms, SAMPLE_MS + RACERS - 1);
    }
}

enum { WRITERS = 16, WRITES = 25 };

struct writing {
    struct login logins[WRITERS][WRITES];
    bool ok[WRITERS][WRITES];
};

static void run_write(struct task *task, unsigned number, void *argument)
{
    struct writing *w = argument;

    for (unsigned i = 0; i < WRITES; i++) {
        struct login *login = &w->logins[number][i];
        enum user_created created;
        enum err e = store_user_create(task, store, &login->user, &login->session, NULL, &created);

        w->ok[number][i] = e == OK && created == USER_CREATED;
    }
}

static void test_what_many_write_at_once_is_all_there(void **state)
{
    struct task *task = *state;
    struct writing *w = mem_new(task->mem, struct writing);

    for (unsigned i = 0; i < WRITERS * WRITES; i++) {
        struct login *login = &w->logins[i / WRITES][i % WRITES];

        login->user = sample_user(task->mem);
        login->session = sample_session(task->mem, login->user.id);
    }
    sample_race(WRITERS, run_write, w);
    for (unsigned i = 0; i < WRITERS * WRITES; i++) {
        const struct login *login = &w->logins[i / WRITES][i % WRITES];
        struct user user;
        struct session_record session;

        assert_true(w->ok[i / WRITES][i % WRITES]);
        user = sample_read_user(task, store, login->user.id);
        assert_same_user(&user, &login->user);
        session = sample_read_session(task, store, login->session.id);
        assert_same_session(&session, &login->session);
    }
}

struct watching {
    struct login logins[ROUNDS];
    atomic_bool done, half;
    enum err e[4];
};

/* Whoever is found has a session already, and still has it after. */
static enum err watch(struct task *task, struct watching *w)
{
    for (int i = 0; i < ROUNDS; i++) {
        const struct login *login = &w->logins[i];
        struct user user;
        struct session_record session;
        bool has_user, has_session = true;
        enum err e = store_user_by_email(task, store, login->user.email, &has_user, &user);

        if (e == OK && has_user)
            e = store_session_by_id(task, store, login->session.id, &has_session, &session);
        if (e != OK)
            return e;
        if (!has_session)
            atomic_store(&w->half, true);
    }
    return OK;
}

static void run_watch(struct task *task, unsigned number, void *argument)
{
    struct watching *w = argument;

    if (number > 0) {
        while (!atomic_load(&w->done) && w->e[number] == OK)
            w->e[number] = watch(task, w);
        return;
    }
    for (int i = 0; i < ROUNDS && w->e[0] == OK; i++) {
        enum user_created created;

        w->e[0] = store_user_create(task, store, &w->logins[i].user, &w->logins[i].session, NULL,
                                    &created);
    }
    atomic_store(&w->done, true);
}

static void test_nobody_sees_a_user_without_the_first_session(void **state)
{
    struct task *task = *state;
    struct watching *w = mem_new(task->mem, struct watching);

    for (int i = 0; i < ROUNDS; i++) {
        w->logins[i].user = sample_user(task->mem);
        w->logins[i].session = sample_session(task->mem, w->logins[i].user.id);
    }
    sample_race((unsigned)count_of(w->e), run_watch, w);
    for (size_t i = 0; i < count_of(w->e); i++)
        assert_int_equal(w->e[i], OK);
    assert_false(atomic_load(&w->half));
}

/* Every other racer registers with the session of `taken`, which the store refuses. */
struct mixing {
    const struct session_record *taken;
    struct login logins[RACERS];
    enum err e[RACERS];
};

static void run_mixed(struct task *task, unsigned number, void *argument)
{
    struct mixing *m = argument;
    const struct login *login = &m->logins[number];
    enum user_created created;

    m->e[number] = store_user_create(task, store, &login->user,
                                     number % 2 == 0 ? &login->session : m->taken, NULL, &created);
}

static void test_a_write_that_fails_takes_no_other_with_it(void **state)
{
    struct task *task = *state;
    struct login login = log_in(task);
    struct mixing *m = mem_new(task->mem, struct mixing);

    m->taken = &login.session;
    for (int round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < RACERS; i++) {
            m->logins[i].user = sample_user(task->mem);
            m->logins[i].session = sample_session(task->mem, m->logins[i].user.id);
        }
        sample_race(RACERS, run_mixed, m);
        for (unsigned i = 0; i < RACERS; i++) {
            bool good = i % 2 == 0;

            assert_int_equal(m->e[i] == OK, good);
            assert_int_equal(sample_has_email(task, store, m->logins[i].user.email), good);
            assert_int_equal(sample_has_session(task, store, m->logins[i].session.id), good);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sample_begin, sample_end)

int contract_sessions_run(struct store *of)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_a_created_user_is_found_by_address_and_by_id_with_its_session),
        TEST(test_text_is_kept_byte_for_byte_and_no_hash_stays_no_hash),
        TEST(test_who_is_unknown_is_not_found_and_the_result_is_untouched),
        TEST(test_a_taken_address_is_told_and_leaves_nothing),
        TEST(test_a_user_comes_with_its_session_or_not_at_all),
        TEST(test_an_id_in_use_is_given_to_nobody_else),
        TEST(test_voiding_tokens_never_goes_back_and_touches_one_user),
        TEST(test_an_opened_session_is_read_back_and_the_login_noted),
        TEST(test_a_session_of_nobody_is_not_opened),
        TEST(test_an_id_is_opened_once_live_or_ended_and_nothing_changes),
        TEST(test_a_session_ends_once),
        TEST(test_a_login_beyond_the_most_ends_the_session_unused_for_longest),
        TEST(test_ended_and_expired_sessions_take_no_place),
        TEST(test_a_refresh_hands_out_the_fresh_token_and_is_kept),
        TEST(test_the_same_token_gets_the_same_successor_until_that_is_used),
        TEST(test_a_replaced_token_is_good_for_the_grace_and_then_ends_the_session),
        TEST(test_a_token_of_another_session_ends_the_session_it_is_used_on),
        TEST(test_what_is_over_is_not_refreshed_and_not_changed),
        TEST(test_a_session_is_refreshed_again_and_again),
        TEST(test_only_what_expired_before_the_time_is_swept),
        TEST(test_a_sound_store_says_so),
        TEST(test_of_many_who_register_an_address_at_once_one_wins),
        TEST(test_of_many_who_refresh_a_token_at_once_all_get_the_same_successor),
        TEST(test_of_many_who_reuse_a_token_at_once_one_ends_the_session),
        TEST(test_no_refresh_brings_an_ended_session_back),
        TEST(test_of_many_who_open_a_session_at_once_one_does),
        TEST(test_logins_at_once_leave_no_more_than_the_most),
        TEST(test_of_tokens_voided_at_once_the_latest_time_stays),
        TEST(test_what_many_write_at_once_is_all_there),
        TEST(test_nobody_sees_a_user_without_the_first_session),
        TEST(test_a_write_that_fails_takes_no_other_with_it),
    };

    store = of;
    return cmocka_run_group_tests_name("users and sessions", tests, NULL, NULL);
}
