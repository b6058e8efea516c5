/* Who holds an access token: the user and the session behind verified claims, from the store by way
 * of a cache that remembers for a second, so that busy clients cost no read.
 *
 * What this process changes is forgotten at once: whoever ends a session or changes a user calls
 * identity_forget_…() after the store has it.
 * Any thread; identity_load() may wait for the store. What is returned is in the given memory. */
#pragma once

#include "account/token.h"

struct identity;

struct identity *identity_open(void *mem, struct store *store);

/* Whether a token without a session was issued before the user's tokens were voided. */
bool identity_is_void(const struct token_claims *claims, const struct user *user);

/* token_verify() for tokens that come again and again. */
struct token_claims *identity_claims(struct identity *identity, void *mem,
                                     const struct settings *settings, const char *token,
                                     int64_t now_s);

enum identity_answer {
    IDENTITY_VALID,
    IDENTITY_REFUSED, /* unknown, inactive or ended */
    IDENTITY_UNKNOWN, /* ask identity_load() */
};

/* Never waits for the store. */
enum identity_answer identity_peek(struct identity *identity, void *mem,
                                   const struct token_claims *claims, struct user **ret_user,
                                   struct session_record **ret_session);

/* By what was read within the last `within_ms`. */
enum identity_answer identity_peek_within(struct identity *identity, void *mem,
                                          const struct token_claims *claims, int64_t within_ms,
                                          struct user **ret_user,
                                          struct session_record **ret_session);

/* *ret_answer is never IDENTITY_UNKNOWN. *ret_session is NULL for tokens without one. */
must_check enum err identity_load(struct task *task, struct identity *identity,
                                  const struct token_claims *claims,
                                  enum identity_answer *ret_answer, struct user **ret_user,
                                  struct session_record **ret_session);

void identity_forget_user(struct identity *identity, const char *id);
/* Every session of the user. */
void identity_forget_sessions_of(struct identity *identity, const char *user_id);
void identity_forget_session(struct identity *identity, const char *id);
