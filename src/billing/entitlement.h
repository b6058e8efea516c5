/* Where somebody stands: what a stored subscription means at a moment. The one place that knows
 * which plan is in force, what is left of it, and why not. Pure; any thread.
 *
 * A period is a calendar month (UTC) for the free plan and for gifts, the trial for who tries. For
 * what is paid it is a month from the day on which Stripe's periods turn, whatever the price's
 * interval: from the 31st to the last day of a shorter month. It never begins anew by what is not
 * paid: behind the end of Stripe's period, and while an invoice is due, the count goes on. */
#pragma once

#include "billing/plans.h"
#include "store/billing.h"

enum entitlement_verdict {
    STANDING_GOOD, /* a run may begin */
    STANDING_INACTIVE,
    STANDING_TRIAL_OVER,
    STANDING_NOT_PAID, /* past its grace, or never paid */
    STANDING_EXHAUSTED,
};

struct entitlement {
    const struct plan *plan; /* in force; never NULL */
    const char *plan_name;   /* the wire's */
    const char *status;      /* the wire's */
    int64_t limit;           /* runs in a period; PLAN_UNLIMITED */
    int64_t used;
    int64_t period_ms; /* when the period of `used` began */
    int64_t resets_ms; /* when the next begins; 0: never */
    bool in_trial;
    bool is_paid; /* by Stripe: a plan that is not free */
    bool is_gift;
    enum entitlement_verdict verdict;
};

struct entitlement entitlement_of(const struct plans *plans, const struct settings *settings,
                                  const struct subscription *subscription, int64_t now_ms);

/* Why no run may begin, for people; NULL if one may. */
const char *entitlement_reason(void *mem, const struct entitlement *entitlement);
