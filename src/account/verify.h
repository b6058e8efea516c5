/* Proof that an address belongs to who registered with it: by a one-time code, or by a link that
 * carries a signed token.
 *
 * The token is USER.EXPIRY.MAC: who it is for, until when (seconds since the epoch), and the
 * HMAC-SHA-256 of both and of the address under the signing key, in base64url. It is used up when
 * the address is verified, by it or otherwise. Calls wait for the store. */
#pragma once

#include "account/account.h"

/* Mails link and code to who has just registered, if EMAIL_VERIFICATION says so. That the mail
 * cannot be accepted is only logged: they can ask for another. */
void verify_welcome(struct task *task, const struct accounts *accounts,
                    const struct settings *settings, const struct user *user,
                    enum language language);

/* Mails link and code. ERR_BAD_REQUEST with its text when the address is verified already, mail is
 * not configured, or the last code is less than a minute old. */
must_check enum err verify_send(struct task *task, const struct accounts *accounts,
                                const struct settings *settings, const struct user *user,
                                enum language language);

/* A wrong one is ERR_UNAUTHENTICATED with its text, and a wrong code counts. `email` is
 * email_sent()'s (core/email.h), `client` the address that asks. */
must_check enum err verify_by_code(struct task *task, const struct accounts *accounts,
                                   const struct settings *settings, const char *email,
                                   const char *code, const char *client);
must_check enum err verify_by_token(struct task *task, const struct accounts *accounts,
                                    const struct settings *settings, const char *token,
                                    const char *client);
