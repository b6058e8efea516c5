/* Accounts: who may come in, and by which password.
 *
 * Calls compute password hashes and wait for the store: they belong on the hash lane. */
#pragma once

#include "account/session.h"

struct accounts {
    struct sessions sessions;
};

/* Who has the address, in whichever spelling it is stored: the one that is given before others.
 * `email` is email_sent()'s (core/email.h). *ret_found false: nobody, and *ret is untouched. */
must_check enum err account_find(struct task *task, const struct accounts *accounts,
                                 const char *email, bool *ret_found, struct user *ret);

/* Makes a user and logs it in. An address that is taken is ERR_INVALID with its text. `email` as
 * above. *ret_user and *ret_tokens are in the task's memory; *ret_common: the password is
 * one of the most common. */
must_check enum err account_register(struct task *task, const struct accounts *accounts,
                                     const char *fullname, const char *email, const char *password,
                                     const struct device *device, struct user *ret_user,
                                     struct tokens *ret_tokens, bool *ret_common);

/* Unknown, inactive and wrong are one failure, after the same work. */
must_check enum err account_login(struct task *task, const struct accounts *accounts,
                                  const char *email, const char *password,
                                  const struct device *device, struct user *ret_user,
                                  struct tokens *ret_tokens);
