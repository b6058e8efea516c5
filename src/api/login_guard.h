/* Guards passwords against guessing from many addresses, without locking the owner out.
 *
 * Failed logins, and wrong passwords that come with a token, count for each account
 * (RATE_LIMIT_LOGIN_FAILURES), whether it exists or not, over all devices that are not known
 * together. A known device has a count of its own: one that sends the signed cookie of an earlier
 * login there, or from which a session of the account was opened. So who fills the first count
 * keeps strangers out, and nobody else. On the hash lane. */
#pragma once

#include "api/limits.h"

struct login_guard {
    struct limit_charge charge;
};

/* Before a password is verified, whichever request brings it: counts the attempt as a failure.
 * False: there were too many, and the request is answered. `email` is the account's. */
bool login_guard_enter(struct request *req, const char *email, struct login_guard *ret);

/* After it, with what came of that, which is returned: takes the count back unless the password was
 * wrong. */
enum err login_guard_leave(struct request *req, const struct login_guard *guard, enum err outcome);

/* Gives this device the cookie by which it is known, where failures are counted. */
void login_guard_remember(struct request *req, const char *email);
