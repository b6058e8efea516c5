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
void verify_welcome(struct task *task, const struct accounts *accounts, const struct user *user,
                    enum language language);

/* Mails link and code. ERR_BAD_REQUEST with its text when the address is verified already, mail is
 * not configured, or the last code is less than a minute old. */
must_check enum err verify_send(struct task *task, const struct accounts *accounts,
                                const struct user *user, enum language language);

/* What is sent to prove an address: the token of a link, or the code. */
struct verification {
    const char *token; /* NULL: by code */
    const char *email; /* email_sent()'s (core/email.h) */
    const char *code;
    const char *client; /* the address that asks */
};

/* Whose address it would prove; nothing is used up by that. It shows who has the mailbox, and not
 * who has registered with it. A wrong one is ERR_UNAUTHENTICATED with its text, and a wrong code
 * counts. */
must_check enum err verify_look(struct task *task, const struct accounts *accounts,
                                const struct verification *verification, struct user *ret);

/* For who has shown besides that the account is theirs: proves it, once. Fails as above. */
must_check enum err verify_do(struct task *task, const struct accounts *accounts,
                              const struct verification *verification, const struct user *user);
