/* Mails that tell people what happened to their account, in the language that they chose, else in
 * the one given. What was done stands if its notice cannot be sent: that is logged.
 * Calls wait for the store. */
#pragma once

#include "account/account.h"

/* Where mails to the user go: to "", which is nobody, with a line in the log if their address must
 * not stand in a mail, as some that the replaced system took. */
const char *notice_recipient(struct task *task, const struct user *user);

/* `user` as before the change. */
void notice_password_changed(struct task *task, const struct accounts *accounts,
                             const struct user *user, int64_t at_ms, enum language language);

void notice_new_device(struct task *task, const struct accounts *accounts, const struct user *user,
                       const struct session_record *session, enum language language);
