/* What Stripe's subscriptions mean here: which of a customer's are ours, which of them counts, and
 * what that one gives. Pure; of any API version that is still about.
 *
 * Ours is a subscription that has a price of a plan, as a whole with whatever else it holds, or the
 * one that somebody has their plan from while its price stands in no plan. All others are as if
 * they were not there: they give nothing, take nothing, and are never changed.
 *
 * Of several of ours one counts: one that gives a plan before one that gives none (any more), one
 * that is live before one that is not, the larger plan, the one that goes on, the older. Statuses
 * are Stripe's, but paused is canceled here, and what was never paid (incomplete,
 * incomplete_expired) counts as if it had never been. */
#pragma once

#include "billing/plans.h"
#include "remote/stripe.h"
#include "store/billing.h"

/* The first invoice of a subscription that is not paid; all 0: there is none. That of a switch is
 * due when what was paid before is over. */
struct debt {
    int64_t due_ms;
    int64_t service_ms;             /* when that begins which it is for */
    const struct plan *plan_before; /* what was paid before a switch that is not; NULL: no switch */
};

/* Whether it gives, or gave, something here: not if its metadata names another user. `stored` is
 * what is known of its user; NULL: nobody. */
bool reading_is_ours(const struct plans *plans, const json_t *subscription,
                     const struct subscription *stored);

/* A plan is paid, and another user named: an operator says whose it is. Until then who has it by
 * `stored` keeps it. */
bool reading_is_anothers(const struct plans *plans, const json_t *subscription,
                         const struct subscription *stored);

/* It is live and was bought here by the user, as its metadata or a session (`is_bought`) says, but
 * its price stands in no plan. `user_id` may be NULL. */
bool reading_is_unknown_plan(const struct plans *plans, const json_t *subscription,
                             const char *user_id, bool is_bought);

/* Something runs, or would if it were paid: a second one beside it would be billed beside it. */
bool reading_is_live(const json_t *subscription);

/* It is live and has a price of a plan. */
bool reading_is_paid_plan(const struct plans *plans, const json_t *subscription);

/* One of ours by which runs are had now. */
bool reading_gives(const struct plans *plans, const json_t *subscription);

/* It gives a plan, and owes nothing for it. */
bool reading_is_in_order(const struct plans *plans, const json_t *subscription);

/* Its present period is not paid yet. */
bool reading_owes(const json_t *subscription);

/* A trial is over and was not paid: it goes on when somebody resumes it. */
bool reading_is_paused(const json_t *subscription);

/* It has begun, and is over. */
bool reading_is_over(const json_t *subscription);

/* It is over, or never began and cannot any more. */
bool reading_is_final(const json_t *subscription);

/* Those of the list that are ours: a new array. */
json_t *reading_ours(const struct plans *plans, const json_t *list,
                     const struct subscription *stored);

/* The one that counts of a list of ours; NULL: it is empty. */
const json_t *reading_choose(const struct plans *plans, const json_t *ours,
                             const struct subscription *stored);

/* A second live one of the user beside the chosen, with a plan: paid for nothing. */
bool reading_is_duplicate(const struct plans *plans, const json_t *subscription,
                          const json_t *chosen, const char *user_id);

/* Something of the list was bought since `trial_start_ms`, or runs, so the trial is over for good.
 */
bool reading_ends_trial(const json_t *ours, int64_t trial_start_ms);

/* The item that has the largest plan (*ret_plan), else the one from which the user has theirs while
 * its price stands in no plan (*ret_plan NULL; `stored` may be NULL), else NULL. */
const json_t *reading_plan_item(const struct plans *plans, const json_t *subscription,
                                const struct subscription *stored, const struct plan **ret_plan);

/* When the present period of the item ends, that of the plan. `item` may be NULL. */
int64_t reading_period_end_ms(const json_t *subscription, const json_t *item);

/* The same of its item that runs longest. */
int64_t reading_last_end_ms(const json_t *subscription);

/* It is canceled by then: its end is asked for, and comes with that period or before. */
bool reading_ends_with_period(const json_t *subscription, const json_t *item);

/* When access ends by what is asked for already; 0: it goes on. */
int64_t reading_ends_ms(const json_t *subscription);

/* Invoices of a subscription, newest first: *debt becomes the earliest of the present debt. Drafts
 * and what was credited or paid are none, nor is what was open when a newer one was settled; what
 * was written off is owed as well, if nothing else is. */
void reading_debt(const struct plans *plans, const json_t *invoices, struct debt *debt);

/* The chosen one as a stored one; `stored` gives what Stripe does not know. False: its price stands
 * in no plan, and the plan is the stored one. Texts are in `mem` or `stored`. */
bool reading_take(const struct plans *plans, const json_t *subscription, const struct debt *debt,
                  const struct subscription *stored, void *mem, struct subscription *ret);

/* As if nothing had been bought. `status`: "active", or "canceled". */
void reading_take_nothing(const struct subscription *stored, const char *status,
                          struct subscription *ret);
