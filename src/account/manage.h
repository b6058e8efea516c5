/* What people do to their own account, and administrators to others': each change with its line in
 * the audit trail, and felt at once by every token that it concerns.
 *
 * Whose password is changed is told by mail: in the language that they chose, else in the one
 * given. Calls wait for the store; those that take a password belong on the hash lane. Refusals are
 * ERR_BAD_REQUEST, ERR_NOT_FOUND, … with their text. */
#pragma once

#include "account/account.h"

/* Whether the password is this user's, who was read from the store. A wrong one is
 * ERR_WRONG_PASSWORD with `text`, as it is from all that take one here. */
must_check enum err manage_confirm(struct task *task, const struct user *user, const char *password,
                                   const char *text);

/* `keep` goes on (NULL: none); every other login ends. */
must_check enum err manage_change_password(struct task *task, const struct accounts *accounts,
                                           const char *user_id, const struct keep *keep,
                                           const char *old_password, const char *new_password,
                                           const struct audit *audit, enum language language,
                                           bool *ret_common);

/* Without asking for the old one; every session ends. */
must_check enum err manage_set_password(struct task *task, const struct accounts *accounts,
                                        const struct user *user, const char *hash,
                                        const struct audit *audit, enum language language);

/* *ret is the user with the new name. */
must_check enum err manage_change_fullname(struct task *task, const struct accounts *accounts,
                                           const char *user_id, const char *fullname,
                                           const struct audit *audit, struct user *ret);

/* "en" or "ar", in which mails are written to them; NULL: no choice. *ret is the user with it. */
must_check enum err manage_change_language(struct task *task, const struct accounts *accounts,
                                           const char *user_id, const char *language,
                                           const struct audit *audit, struct user *ret);

/* With all that is held about the person but the audit trail. */
must_check enum err manage_delete_self(struct task *task, const struct accounts *accounts,
                                       const char *user_id, const char *password,
                                       const struct audit *audit);

must_check enum err manage_set_active(struct task *task, const struct accounts *accounts,
                                      const char *user_id, bool is_active,
                                      const struct audit *audit);
must_check enum err manage_set_role(struct task *task, const struct accounts *accounts,
                                    const char *user_id, bool is_admin, const struct audit *audit,
                                    struct user *ret);

/* All but `keep` (NULL: all). */
must_check enum err manage_end_sessions(struct task *task, const struct accounts *accounts,
                                        const char *user_id, const struct keep *keep,
                                        const struct audit *audit, unsigned *ret_count);

/* One of the user's own sessions. */
must_check enum err manage_end_session(struct task *task, const struct accounts *accounts,
                                       const char *user_id, const char *session_id,
                                       const struct audit *audit);

/* ERR_NOT_FOUND if there is nobody. */
must_check enum err manage_find_user(struct task *task, const struct accounts *accounts,
                                     const char *user_id, struct user *ret);
