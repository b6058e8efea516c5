/* What a change of a user does to them, and what else it ends and forgets: the rule, for every
 * store. Pure; a store reads the user, asks, and does all of the answer or nothing of it. */
#pragma once

#include "store/store.h"

enum user_change {
    CHANGE_PASSWORD,
    CHANGE_FULLNAME,
    CHANGE_EMAIL,
    CHANGE_LANGUAGE,
    CHANGE_ACTIVE,
    CHANGE_ROLE,
    CHANGE_VERIFIED,
    CHANGE_SESSIONS, /* they end, and tokens without one are void */
    CHANGE_GONE,
};

struct user_wanted {
    enum user_change change;
    const char *text;             /* the hash, the name, the address, the language */
    bool flag;                    /* is active, is an administrator */
    const struct keep *keep;      /* the login that goes on; NULL: none */
    const int64_t *valid_from_ms; /* NULL, or the user's when they were looked at last */
    int64_t at_ms;
};

struct user_outcome {
    enum user_changed answer;
    bool is_written;        /* false: the answer is all */
    bool needs_other_admin; /* somebody else counts (user_counts_as_admin()), or the answer is
                               USER_LAST_ADMIN and nothing is written */
    struct user after;      /* to be stored in place of what is; not with CHANGE_GONE */
    bool renames;           /* `after` has another name or address; one that is somebody else's
                               makes the answer USER_EMAIL_IN_USE, and nothing is written */
    bool ends_sessions;     /* all but the one that is kept */
    bool forgets_codes;     /* for the address that they had: those of `codes`, NULL: all */
    const char *codes;
    bool forgets_mails; /* that wait for the address: they would go to its next owner */
    bool carries_trial; /* their new mailbox has had the trial that they began */
    bool leaves_traces; /* a name or an address is no longer theirs (store_erase()) */
};

struct user_outcome user_change(const struct user *user, const struct user_wanted *wanted);

/* One of those of whom the last must not go. */
bool user_counts_as_admin(const struct user *user);
