#include "store/user_change.h"

#include <string.h>

bool user_counts_as_admin(const struct user *user)
{
    static const char settings[] = STORE_SETTINGS_HASH;

    return user->is_admin && user->is_active &&
           (user->password_hash == NULL ||
            strncmp(user->password_hash, settings, sizeof settings - 1) != 0);
}

static bool same(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* What is so already is neither written nor noted. */
static bool is_so(const struct user *user, const struct user_wanted *wanted)
{
    switch (wanted->change) {
    case CHANGE_FULLNAME:
        return same(user->fullname, wanted->text);
    case CHANGE_LANGUAGE:
        return same(user->language, wanted->text);
    case CHANGE_ROLE:
        return user->is_admin == wanted->flag;
    case CHANGE_ACTIVE:
        return user->is_active == wanted->flag;
    default:
        return false;
    }
}

static void void_tokens(struct user *user, const struct user_wanted *wanted)
{
    if (user->valid_from_ms < wanted->at_ms)
        user->valid_from_ms = wanted->at_ms;
    user->spared_s = wanted->keep == NULL ? 0 : wanted->keep->issued_s;
}

static struct user changed(const struct user *user, const struct user_wanted *wanted)
{
    struct user after = *user;

    if (wanted->change < CHANGE_VERIFIED)
        after.updated_ms = wanted->at_ms;
    switch (wanted->change) {
    case CHANGE_PASSWORD:
        after.password_hash = wanted->text;
        void_tokens(&after, wanted);
        break;
    case CHANGE_FULLNAME:
        after.fullname = wanted->text;
        break;
    case CHANGE_EMAIL:
        after.email = wanted->text;
        after.verified_ms = wanted->at_ms;
        void_tokens(&after, wanted);
        break;
    case CHANGE_LANGUAGE:
        after.language = wanted->text;
        break;
    case CHANGE_ACTIVE:
        after.is_active = wanted->flag;
        after.spared_s = 0;
        if (!wanted->flag)
            void_tokens(&after, wanted);
        break;
    case CHANGE_ROLE:
        after.is_admin = wanted->flag;
        void_tokens(&after, wanted);
        break;
    case CHANGE_VERIFIED:
        after.verified_ms = wanted->at_ms;
        break;
    case CHANGE_SESSIONS:
        if (user->valid_from_ms < wanted->at_ms)
            void_tokens(&after, wanted);
        break;
    case CHANGE_GONE:
        break;
    }
    return after;
}

/* What was mailed before is worth nothing any more. */
static bool forgets_codes(enum user_change change)
{
    return change == CHANGE_PASSWORD || change == CHANGE_EMAIL || change == CHANGE_ACTIVE ||
           change == CHANGE_VERIFIED || change == CHANGE_GONE;
}

static bool ends_sessions(const struct user_wanted *wanted)
{
    return wanted->change == CHANGE_PASSWORD || wanted->change == CHANGE_EMAIL ||
           wanted->change == CHANGE_ROLE || wanted->change == CHANGE_SESSIONS ||
           (wanted->change == CHANGE_ACTIVE && !wanted->flag);
}

static bool needs_other_admin(const struct user *user, const struct user_wanted *wanted)
{
    bool takes = wanted->change == CHANGE_GONE ||
                 ((wanted->change == CHANGE_ACTIVE || wanted->change == CHANGE_ROLE) &&
                  !wanted->flag);

    return takes && user_counts_as_admin(user);
}

struct user_outcome user_change(const struct user *user, const struct user_wanted *wanted)
{
    enum user_change change = wanted->change;

    if (wanted->valid_from_ms != NULL && *wanted->valid_from_ms != user->valid_from_ms)
        return (struct user_outcome){.answer = USER_OUTDATED};
    if (change == CHANGE_VERIFIED && user->verified_ms != 0)
        return (struct user_outcome){.answer = USER_VERIFIED};
    if (is_so(user, wanted))
        return (struct user_outcome){.answer = USER_CHANGED};
    return (struct user_outcome){
        .answer = USER_CHANGED,
        .is_written = true,
        .needs_other_admin = needs_other_admin(user, wanted),
        .after = changed(user, wanted),
        .renames = change == CHANGE_EMAIL || change == CHANGE_FULLNAME,
        .ends_sessions = ends_sessions(wanted),
        .forgets_codes = forgets_codes(change),
        .codes = change == CHANGE_VERIFIED ? CODE_VERIFY : NULL,
        .forgets_mails = change == CHANGE_GONE,
        .carries_trial = change == CHANGE_EMAIL,
        .leaves_traces = change == CHANGE_GONE || change == CHANGE_EMAIL ||
                         change == CHANGE_FULLNAME,
    };
}
