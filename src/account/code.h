/* One-time codes by mail: six digits, valid for five minutes, five tries and one use.
 *
 * A stranger sees the same for an address that is known, unknown or of a deactivated user. Calls
 * wait for the store. Addresses come from email_sent() (core/email.h). */
#pragma once

#include "account/manage.h"
#include "mail/letter.h"

enum { CODE_MINUTES = 5 };

/* Makes a new code without storing it. *ret_digits is what the reader of the mail types. */
struct code code_make(struct task *task, const char *purpose, const char *email,
                      const char **ret_digits);

/* Stores the code together with its mail. Mails of one `kind` count together: once strangers have
 * caused as many as they may (account/bound.h), the mail is not sent, and the caller cannot tell.
 * ERR_BAD_REQUEST with its text if the last code is less than a minute old. */
must_check enum err code_issue(struct task *task, const struct accounts *accounts,
                               const struct code *code, const char *kind, struct mail *mail);

struct code_use {
    const char *purpose, *email, *digits;
    const char *password_hash; /* becomes the user's; NULL: no */
    const char *client;        /* the address that asks */
};

/* Uses a code. If it is right, the code is spent, the user gets the new password and the address is
 * verified, all in one write; *ret is the user before that. A wrong code is ERR_UNAUTHENTICATED
 * with its text, and counts as one of the tries. */
must_check enum err code_use(struct task *task, const struct accounts *accounts,
                             const struct code_use *use, struct user *ret);

/* Tells whether the code is right, and whose it is, without using it. A right code stays valid. A
 * wrong one counts as one of the tries. */
must_check enum err code_look(struct task *task, const struct accounts *accounts,
                              const struct code_use *use, struct user *ret);

/* Mails a code for a new password, if the address belongs to an active user. ERR_BAD_REQUEST with
 * its text if mail is not configured, or as code_issue(). */
must_check enum err code_send(struct task *task, const struct accounts *accounts, const char *email,
                              enum language language);

/* Sets a new password by such a code and ends all sessions of the user. *ret_common: as in
 * account_register(). Belongs on the hash lane. */
must_check enum err code_reset_password(struct task *task, const struct accounts *accounts,
                                        const char *email, const char *code,
                                        const char *new_password, const char *client,
                                        enum language language, bool *ret_common);
