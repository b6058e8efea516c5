/* The one way in which what Stripe says comes here: ask for the customer's subscriptions as they
 * are now, under the user's lock, and take the answer over. Whoever hears of a change, by an event,
 * a returning customer or the daily comparison, ends here, so that neither the order of what is
 * heard nor its repetition nor a loss that is followed by anything at all makes a difference.
 *
 * What the answer means is billing/reading.h's. A second live subscription with a plan is ended,
 * with a credit for its rest. A customer whom nobody has is given to the user whom they, or a
 * session of theirs, name, unless that one has another who pays; it takes that one's place once
 * nothing is paid there any more. Waits for Stripe and the store.
 */
#pragma once

#include "billing/asking.h"

/* What is known of whom an event or a session concerns; any may be NULL. */
struct sync_links {
    const char *customer_id;
    const char *subscription_id;
    const char *user_id; /* said by a session or an object of Stripe's; never takes a customer that
                            is another's */
};

enum sync_result {
    SYNC_DONE,
    SYNC_GONE,          /* the customer is deleted at Stripe, and nobody has it */
    SYNC_NOBODY,        /* no user of ours is concerned, and nothing of ours is paid */
    SYNC_PRICE_UNKNOWN, /* taken over but for what stands in no plan, which changes nothing */
    SYNC_UNPLACED,      /* a plan is paid, and nobody knows by whom */
    SYNC_PAID_TWICE,    /* a plan is paid, by a second customer of somebody who pays already */
};

struct sync_outcome {
    enum sync_result result;
    const char *user_id;         /* with SYNC_DONE and SYNC_PRICE_UNKNOWN */
    const char *named_id;        /* the user, with SYNC_PAID_TWICE; with SYNC_UNPLACED if it is
                                    another one than the customer's; else NULL */
    const char *subscription_id; /* with SYNC_UNPLACED, SYNC_PAID_TWICE and SYNC_PRICE_UNKNOWN: what
                                    is paid */
    const char *customer_id;     /* whom it led to; NULL: none */
    int64_t asked_ms;            /* what was heard before is in the answer */
    bool differs;                /* from what was stored */
    bool is_given;               /* what was bought gives a plan, or gave it and is over */
    bool is_dry;                 /* nothing was changed */
    bool is_moved;               /* the user has another customer by now: nothing was done */
    bool has_duplicate;          /* a second live subscription could not be ended */
    bool has_others;             /* the customer pays for somebody else too, whom an event names */
    const char *note;            /* for the operator, kept with the event; NULL: nothing */
    const struct mail *mail;     /* to go out once what led here is finished; NULL: none */
    struct subscription found;   /* as stored now */
};

must_check enum err sync_subscription(struct task *task, struct billing *billing,
                                      const struct sync_links *links, struct sync_outcome *ret);

/* The same for a user whose lock the caller holds, and whose customer is known. */
must_check enum err sync_locked(struct task *task, struct billing *billing, const char *user_id,
                                const char *customer_id, struct sync_outcome *ret);

/* With `dry`, nothing is changed, here or at Stripe. */
must_check enum err sync_compare(struct task *task, struct billing *billing, const char *user_id,
                                 const char *customer_id, bool dry, struct sync_outcome *ret);

/* Stripe says itself that the customer is deleted, or has never been. */
must_check enum err sync_is_gone(struct task *task, struct billing *billing,
                                 const char *customer_id, bool *ret);

/* The customer that is linked is no foreign one any more (customer_is_foreign). */
must_check enum err sync_keep_as_own(struct task *task, struct billing *billing,
                                     const struct subscription *subscription);

/* Gives the customer to the user, as their own, as an operator says, unless another customer of
 * theirs pays (SYNC_PAID_TWICE). ERR_CONFLICT, ERR_NOT_FOUND, ERR_INVALID with their texts. */
must_check enum err sync_link(struct task *task, struct billing *billing, const char *user_id,
                              const char *customer_id, struct sync_outcome *ret);
