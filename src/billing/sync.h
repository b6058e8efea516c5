/* The one way in which what Stripe says comes here: ask for the customer's subscriptions as they
 * are now, under the user's lock, and take the answer over. Whoever hears of a change, by an event,
 * a returning customer or the daily comparison, ends here, so that neither the order of what is
 * heard nor its repetition nor a loss that is followed by anything at all makes a difference.
 *
 * Of several subscriptions one counts: one that is live before one that is not, the larger plan,
 * the older. A second live one of our plans is ended, with a credit for its rest.
 * Statuses: Stripe's, but paused is canceled here, and incomplete_expired counts as if it had never
 * been. Waits for Stripe and the store. */
#pragma once

#include "billing/billing.h"

/* What is known of whom an event or a session concerns; any may be NULL. */
struct sync_links {
    const char *customer_id;
    const char *subscription_id;
    const char *user_id; /* said by a session or a subscription of ours; never takes a customer that
                            is another's */
};

enum sync_result {
    SYNC_DONE,
    SYNC_GONE,         /* the customer is deleted at Stripe, and nobody has it */
    SYNC_NOBODY,       /* no user of ours is concerned */
    SYNC_PRICE_UNKNOWN /* taken over as far as it goes: a price stands in no plan */
};

struct sync_outcome {
    enum sync_result result;
    const char *user_id;       /* with SYNC_DONE and SYNC_PRICE_UNKNOWN */
    const char *customer_id;   /* whom it led to; NULL: none */
    int64_t asked_ms;          /* what was heard before is in the answer */
    bool differs;              /* from what was stored */
    bool is_dry;               /* nothing was changed */
    bool has_duplicate;        /* a second live subscription could not be ended */
    const struct mail *mail;   /* to go out once what led here is finished; NULL: none */
    struct subscription found; /* as stored now */
};

must_check enum err sync_subscription(struct task *task, struct billing *billing,
                                      const struct settings *settings,
                                      const struct sync_links *links, struct sync_outcome *ret);

/* The same for a user whose lock the caller holds, and whose customer is known. */
must_check enum err sync_locked(struct task *task, struct billing *billing,
                                const struct settings *settings, const char *user_id,
                                const char *customer_id, struct sync_outcome *ret);

/* With `dry`, nothing is changed, here or at Stripe. */
must_check enum err sync_compare(struct task *task, struct billing *billing,
                                 const struct settings *settings, const char *user_id,
                                 const char *customer_id, bool dry, struct sync_outcome *ret);

/* A subscription as Stripe shows it (of any version that is still about) as a stored one; `stored`
 * gives what Stripe does not know. False: its price stands in no plan. Pure. */
bool sync_read(const struct plans *plans, const json_t *subscription,
               const struct subscription *stored, void *mem, struct subscription *ret);
