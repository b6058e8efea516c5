/* Buying a plan at Stripe, and coming back from there.
 *
 * Each intention has a key at Stripe that is stored, or follows from what is stored, before Stripe
 * is called, so that whoever repeats it, after a crash too, does nothing twice. Refusals have their
 * texts. Waits for Stripe: the remote lane's work. */
#pragma once

#include "billing/sync.h"

struct checkout_wanted {
    const char *plan;
    const char *success_url, *cancel_url; /* NULL: the default ones */
};

struct checkout_session {
    const char *id, *url;
};

/* A second subscription beside this one would be billed beside it; also one that is paused would,
 * once it goes on. */
bool checkout_is_subscribed(const struct subscription *subscription);

/* One session for each user at a time: who asks again gets the same one, who asks while it is made
 * may be told ERR_CONFLICT; ERR_CONFLICT too for who has a plan already. */
must_check enum err checkout_begin(struct task *task, struct billing *billing,
                                   const struct user *user, const struct checkout_wanted *wanted,
                                   struct checkout_session *ret);

/* Who comes back from a session, or an event about it: takes over what it led to. `user_id` NULL:
 * anybody's; else ERR_NOT_FOUND unless it is theirs. *ret_status: "complete", "pending", "open",
 * "expired". */
must_check enum err checkout_fulfil(struct task *task, struct billing *billing,
                                    const char *session_id, const char *user_id,
                                    const char **ret_status, struct sync_outcome *ret);
