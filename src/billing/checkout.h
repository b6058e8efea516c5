/* Buying and changing a plan at Stripe: checkout, the customer portal, invoices, switching,
 * cancelling and resuming.
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

/* One session for each user at a time: who asks again gets the same one, who asks while it is made
 * may be told ERR_CONFLICT; ERR_CONFLICT too for who has a plan already. */
must_check enum err checkout_begin(struct task *task, struct billing *billing,
                                   const struct settings *settings, const struct user *user,
                                   const struct checkout_wanted *wanted,
                                   struct checkout_session *ret);

/* Who comes back from a session, or an event about it: takes over what it led to. `user_id` NULL:
 * anybody's; else ERR_NOT_FOUND unless it is theirs. *ret_status: "complete", "pending", "open",
 * "expired". */
must_check enum err checkout_fulfil(struct task *task, struct billing *billing,
                                    const struct settings *settings, const char *session_id,
                                    const char *user_id, const char **ret_status,
                                    struct sync_outcome *ret);

/* What a customer that was made elsewhere pays (customer_is_foreign) its user can use and end. What
 * costs more, or shows what is the payer's, is ERR_CONFLICT until the customer's address is the one
 * that the user has proved, or an operator has linked it. */

/* A fresh link to the portal. ERR_BAD_REQUEST for who is no customer. */
must_check enum err checkout_portal(struct task *task, struct billing *billing,
                                    const struct settings *settings, const char *user_id,
                                    const char *return_url, const char **ret_url);

/* Stripe's list; json_decref() is the caller's. NULL for who is no customer, or a foreign one. */
must_check enum err checkout_invoices(struct task *task, struct billing *billing,
                                      const char *user_id, json_t **ret);

/* What switching to the plan would cost: Stripe's preview; json_decref() is the caller's.
 * *ret_date_s: when it was worked out; checkout_change_plan() with it costs the same. */
must_check enum err checkout_preview(struct task *task, struct billing *billing,
                                     const struct settings *settings, const char *user_id,
                                     const char *plan, int64_t *ret_date_s, json_t **ret);

/* Switches at once; the difference is paid, or credited, but for what was used already or is not
 * paid. Not paid: ERR_PAYMENT, and nothing has changed. `date_s` 0: now. */
must_check enum err checkout_change_plan(struct task *task, struct billing *billing,
                                         const struct settings *settings, const char *user_id,
                                         const char *plan, int64_t date_s,
                                         struct subscription *ret);

/* At the end of the period; and back. */
must_check enum err checkout_cancel(struct task *task, struct billing *billing,
                                    const struct settings *settings, const char *user_id,
                                    struct subscription *ret);
must_check enum err checkout_resume(struct task *task, struct billing *billing,
                                    const struct settings *settings, const char *user_id,
                                    struct subscription *ret);

/* Who has gone is billed no more: ends what is ours and removes the customer, unless something else
 * runs for them or they were made elsewhere. */
must_check enum err checkout_goodbye(struct task *task, struct billing *billing,
                                     const char *customer_id, const char *subscription_id,
                                     const char *user_id);
