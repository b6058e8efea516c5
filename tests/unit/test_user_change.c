#include "store/user_change.h"

#include "unit.h"

enum { THEN = 1000, NOW = 5000 };

static struct user ann(void)
{
    return (struct user){.id = "ann",
                         .fullname = "Ann",
                         .email = "ann@example.com",
                         .password_hash = "old",
                         .language = "en",
                         .is_active = true,
                         .updated_ms = THEN,
                         .valid_from_ms = THEN,
                         .spared_s = 1};
}

static struct user_outcome change(const struct user *user, enum user_change change,
                                  const char *text, bool flag)
{
    return user_change(
        user, &(struct user_wanted){.change = change, .text = text, .flag = flag, .at_ms = NOW});
}

static void test_what_each_change_ends_and_forgets(void **state)
{
    static const struct {
        enum user_change change;
        const char *text;
        bool flag, ends, codes, mails, trial, traces, renames;
        int64_t updated_ms, valid_from_ms;
    } rows[] = {
        {CHANGE_PASSWORD, "new", false, .ends = true, .codes = true, .updated_ms = NOW,
         .valid_from_ms = NOW},
        {CHANGE_FULLNAME, "Anna", false, .traces = true, .renames = true, .updated_ms = NOW,
         .valid_from_ms = THEN},
        {CHANGE_EMAIL, "a@example.com", false, .ends = true, .codes = true, .trial = true,
         .traces = true, .renames = true, .updated_ms = NOW, .valid_from_ms = NOW},
        {CHANGE_LANGUAGE, "ar", false, .updated_ms = NOW, .valid_from_ms = THEN},
        {CHANGE_ACTIVE, NULL, false, .ends = true, .codes = true, .updated_ms = NOW,
         .valid_from_ms = NOW},
        {CHANGE_ROLE, NULL, true, .ends = true, .updated_ms = NOW, .valid_from_ms = NOW},
        {CHANGE_VERIFIED, NULL, false, .codes = true, .updated_ms = THEN, .valid_from_ms = THEN},
        {CHANGE_SESSIONS, NULL, false, .ends = true, .updated_ms = THEN, .valid_from_ms = NOW},
        {CHANGE_GONE, NULL, false, .codes = true, .mails = true, .traces = true, .updated_ms = THEN,
         .valid_from_ms = THEN},
    };
    const struct user user = ann();

    (void)state;
    for (size_t i = 0; i < count_of(rows); i++) {
        struct user_outcome outcome = change(&user, rows[i].change, rows[i].text, rows[i].flag);

        assert_int_equal(outcome.answer, USER_CHANGED);
        assert_true(outcome.is_written);
        assert_int_equal(outcome.ends_sessions, rows[i].ends);
        assert_int_equal(outcome.forgets_codes, rows[i].codes);
        assert_int_equal(outcome.forgets_mails, rows[i].mails);
        assert_int_equal(outcome.carries_trial, rows[i].trial);
        assert_int_equal(outcome.leaves_traces, rows[i].traces);
        assert_int_equal(outcome.renames, rows[i].renames);
        assert_int_equal(outcome.after.updated_ms, rows[i].updated_ms);
        assert_int_equal(outcome.after.valid_from_ms, rows[i].valid_from_ms);
    }
}

static void test_a_change_changes_what_it_is_about_and_nothing_else(void **state)
{
    const struct user user = ann();
    struct user_outcome outcome = change(&user, CHANGE_EMAIL, "a@example.com", false);

    (void)state;
    assert_string_equal(outcome.after.email, "a@example.com");
    assert_int_equal(outcome.after.verified_ms, NOW);
    assert_string_equal(outcome.after.fullname, "Ann");
    assert_string_equal(outcome.after.password_hash, "old");
    outcome = change(&user, CHANGE_PASSWORD, "new", false);
    assert_string_equal(outcome.after.password_hash, "new");
    assert_string_equal(outcome.after.email, "ann@example.com");
    assert_int_equal(outcome.after.verified_ms, 0);
    outcome = change(&user, CHANGE_LANGUAGE, NULL, false);
    assert_null(outcome.after.language);
    outcome = change(&user, CHANGE_VERIFIED, NULL, false);
    assert_int_equal(outcome.after.verified_ms, NOW);
    assert_string_equal(outcome.codes, CODE_VERIFY);
    assert_null(change(&user, CHANGE_GONE, NULL, false).codes);
}

static void test_what_is_so_already_is_not_written(void **state)
{
    struct user user = ann();

    (void)state;
    assert_false(change(&user, CHANGE_FULLNAME, "Ann", false).is_written);
    assert_false(change(&user, CHANGE_LANGUAGE, "en", false).is_written);
    assert_false(change(&user, CHANGE_ACTIVE, NULL, true).is_written);
    assert_false(change(&user, CHANGE_ROLE, NULL, false).is_written);
    user.verified_ms = THEN;
    assert_int_equal(change(&user, CHANGE_VERIFIED, NULL, false).answer, USER_VERIFIED);
    assert_false(change(&user, CHANGE_VERIFIED, NULL, false).is_written);
}

static void test_a_login_that_goes_on_is_spared_and_nothing_goes_back(void **state)
{
    const struct keep keep = {.issued_s = 4};
    struct user user = ann();
    struct user_wanted wanted = {.change = CHANGE_SESSIONS, .keep = &keep, .at_ms = NOW};

    (void)state;
    assert_int_equal(user_change(&user, &wanted).after.spared_s, 4);
    wanted.change = CHANGE_PASSWORD;
    assert_int_equal(user_change(&user, &wanted).after.spared_s, 4);
    assert_int_equal(change(&user, CHANGE_PASSWORD, "new", false).after.spared_s, 0);
    /* What ended their sessions was later than this. */
    user.valid_from_ms = NOW + 1;
    assert_int_equal(user_change(&user, &wanted).after.valid_from_ms, NOW + 1);
    wanted.change = CHANGE_SESSIONS;
    assert_int_equal(user_change(&user, &wanted).after.valid_from_ms, NOW + 1);
    assert_int_equal(user_change(&user, &wanted).after.spared_s, 1);
}

static void test_who_was_looked_at_before_their_sessions_ended_is_not_changed(void **state)
{
    const struct user user = ann();
    int64_t looked_ms = THEN - 1;
    struct user_wanted wanted = {.change = CHANGE_GONE, .valid_from_ms = &looked_ms, .at_ms = NOW};

    (void)state;
    assert_int_equal(user_change(&user, &wanted).answer, USER_OUTDATED);
    assert_false(user_change(&user, &wanted).is_written);
    looked_ms = THEN;
    assert_int_equal(user_change(&user, &wanted).answer, USER_CHANGED);
}

static void test_the_last_administrator_stays_one(void **state)
{
    struct user user = ann();

    (void)state;
    assert_false(change(&user, CHANGE_GONE, NULL, false).needs_other_admin);
    user.is_admin = true;
    assert_true(user_counts_as_admin(&user));
    assert_true(change(&user, CHANGE_GONE, NULL, false).needs_other_admin);
    assert_true(change(&user, CHANGE_ROLE, NULL, false).needs_other_admin);
    assert_true(change(&user, CHANGE_ACTIVE, NULL, false).needs_other_admin);
    assert_false(change(&user, CHANGE_PASSWORD, "new", false).needs_other_admin);
    user.is_active = false;
    assert_false(user_counts_as_admin(&user));
    assert_false(change(&user, CHANGE_ACTIVE, NULL, true).needs_other_admin);
    assert_false(change(&user, CHANGE_GONE, NULL, false).needs_other_admin);
    user.is_active = true;
    user.password_hash = STORE_SETTINGS_HASH "hash";
    assert_false(user_counts_as_admin(&user));
    assert_false(change(&user, CHANGE_GONE, NULL, false).needs_other_admin);
    user.password_hash = NULL;
    assert_true(user_counts_as_admin(&user));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_what_each_change_ends_and_forgets),
        UNIT(test_a_change_changes_what_it_is_about_and_nothing_else),
        UNIT(test_what_is_so_already_is_not_written),
        UNIT(test_a_login_that_goes_on_is_spared_and_nothing_goes_back),
        UNIT(test_who_was_looked_at_before_their_sessions_ended_is_not_changed),
        UNIT(test_the_last_administrator_stays_one),
    };

    return RUN_UNITS(tests);
}
