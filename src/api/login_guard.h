/* Guards passwords against guessing from many addresses, without locking the owner out.
 *
 * Failed logins count for each account (RATE_LIMIT_LOGIN_FAILURES), whether it exists or not, over
 * all devices that are not known together. A known device has a count of its own: one that sends
 * the signed cookie of an earlier login there, or from which a session of the account was opened.
 * So who fills the first count keeps strangers out, and nobody else. On the hash lane. */
#pragma once

#include "api/limits.h"

struct login_guard {
    struct limit_charge charge;
};

/* Counts the attempt as a failure. False: there were too many, and the request is answered. */
bool login_guard_enter(struct request *req, const char *email, const char *device,
                       struct login_guard *ret);

/* It was no failure of the password: takes the count back. */
void login_guard_forgive(struct request *req, const struct login_guard *guard);

/* Gives this device the cookie by which it is known, where failures are counted. */
void login_guard_remember(struct request *req, const char *email);
