/* One-time codes by mail: who lost a password gets it back.
 *
 * What a stranger can see is the same for addresses that are known, unknown and stopped. Calls wait
 * for the store. */
#pragma once

#include "account/manage.h"
#include "mail/letter.h"

/* Mails a code to the address, if it is an active user's. ERR_BAD_REQUEST with its text when mail
 * is not configured, or the last code is less than a minute old. `email` is in its stored form. */
must_check enum err code_send(struct task *task, const struct accounts *accounts,
                              const struct settings *settings, const char *email,
                              enum language language);

/* Uses the code; every session of the user ends. A wrong one is ERR_UNAUTHENTICATED with its text,
 * and counts. *ret_common: as account_register(). Belongs on the hash lane. */
must_check enum err code_reset_password(struct task *task, const struct accounts *accounts,
                                        const struct settings *settings, const char *email,
                                        const char *code, const char *new_password,
                                        const char *client, bool *ret_common);
