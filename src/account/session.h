/* Sessions and the tokens that they hand out: one session per login, ended by logout.
 *
 * Calls wait for the store. Texts are in the task's memory. */
#pragma once

#include "account/identity.h"
#include "core/task.h"
#include "mail/letter.h"

/* What the sessions of one installation need. */
struct sessions {
    struct store *store;
    struct identity *identity;
};

/* Where a login comes from, as the person will see it in the list of sessions. */
struct device {
    const char *address;
    const char *agent;      /* User-Agent; NULL: none */
    enum language language; /* that it asks for */
};

struct tokens {
    const char *access, *refresh;
};

/* What two logins from one device have in common: see struct session_record. */
const char *session_device_id(struct task *task, const struct device *device);

/* A session that is not stored yet, and its first tokens. */
struct session_record session_begin(struct task *task, const struct user *user,
                                    const struct device *device, struct tokens *ret);

/* Exchanges a refresh token by the rule of store/chain.h. Tokens without a session, which the
 * system that manus replaces has issued, get one here. What is wrong with the token is
 * ERR_UNAUTHENTICATED with its text. */
must_check enum err session_refresh(struct task *task, const struct sessions *sessions,
                                    const char *token, struct tokens *ret);

/* Ends the session; with a token that has none, every such token of the user. */
must_check enum err session_end(struct task *task, const struct sessions *sessions,
                                const struct user *user, const struct session_record *session);
