/* AUTH_PROVIDER local and none: the one account that the settings make.
 *
 * Calls wait for the store, and compute password hashes. */
#pragma once

#include "account/account.h"

/* The ids that the replaced system gave them. */
#define PROVIDER_LOCAL_ID "local_admin"
#define PROVIDER_NONE_ID "anonymous"

/* Before the first request: makes that account what the settings say, and stops the ones that other
 * providers made. With a password or an address that is new, the sessions of before end. */
must_check enum err provider_prepare(struct task *task, const struct accounts *accounts);

/* Logs what an operator should know of them. */
void provider_warn(const struct settings *settings);

/* Whether the user may use this server by a token. */
bool provider_admits(const struct settings *settings, const struct user *user);

/* As account_login() finds the user; with none, everybody is right. */
must_check enum err provider_login(struct task *task, const struct accounts *accounts,
                                   const char *email, const char *password, struct user *ret);
