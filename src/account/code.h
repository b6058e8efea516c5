/* One-time codes by mail: six digits, good for five minutes, five tries and one use.
 *
 * What a stranger can see is the same for addresses that are known, unknown and stopped. Calls wait
 * for the store; addresses are email_sent()'s (core/email.h). */
#pragma once

#include "account/manage.h"
#include "mail/letter.h"

enum { CODE_MINUTES = 5 };

/* A new code that is not stored yet; *ret_digits is what its reader types. */
struct code code_make(struct task *task, const struct settings *settings, const char *purpose,
                      const char *email, const char **ret_digits);

/* Stores it with its mail. Mails of one `kind` count together: once strangers have caused as many
 * as they may (account/bound.h), it goes to nobody, and no caller is told. ERR_BAD_REQUEST with its
 * text when the last one is less than a minute old. */
must_check enum err code_issue(struct task *task, const struct accounts *accounts,
                               const struct settings *settings, const struct code *code,
                               const char *kind, struct mail *mail);

struct code_use {
    const char *purpose, *email, *digits;
    const char *password_hash; /* becomes the user's; NULL: no */
    const char *client;        /* the address that asks */
};

/* A right code is used up, the user gets the new password, and the address is verified: all of that
 * or nothing. *ret: the user as before. A wrong code is ERR_UNAUTHENTICATED with its text, and
 * counts. */
must_check enum err code_use(struct task *task, const struct accounts *accounts,
                             const struct settings *settings, const struct code_use *use,
                             struct user *ret);

/* Whether the code is right, and whose it is, as code_use() but for doing anything: a right one
 * stays good, and a wrong one counts. */
must_check enum err code_look(struct task *task, const struct accounts *accounts,
                              const struct settings *settings, const struct code_use *use,
                              struct user *ret);

/* Mails a code for a new password to the address, if it is an active user's. ERR_BAD_REQUEST with
 * its text when mail is not configured, or as code_issue(). */
must_check enum err code_send(struct task *task, const struct accounts *accounts,
                              const struct settings *settings, const char *email,
                              enum language language);

/* Uses it; every session of the user ends. *ret_common: as account_register(). Belongs on the hash
 * lane. */
must_check enum err code_reset_password(struct task *task, const struct accounts *accounts,
                                        const struct settings *settings, const char *email,
                                        const char *code, const char *new_password,
                                        const char *client, enum language language,
                                        bool *ret_common);
