#include "store/subscription.h"

#include <string.h>

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Before a customer of somebody else's: so it is again once that is over. */
static bool was_canceled(const struct subscription *subscription)
{
    return subscription->customer_is_foreign ? subscription->was_canceled
                                             : strcmp(subscription->plan, "free") == 0 &&
                                                   strcmp(subscription->status, "canceled") == 0;
}

bool subscription_after_link(struct subscription *subscription, const struct customer_link *link)
{
    if (subscription->generation != link->generation ||
        !same(subscription->customer_id, link->former))
        return false;
    subscription->was_canceled = link->is_foreign && was_canceled(subscription);
    subscription->customer_is_foreign = link->is_foreign;
    subscription->customer_id = link->customer_id;
    subscription->generation += link->former != NULL;
    subscription->updated_ms = link->now_ms;
    return true;
}

static const char *status_without(const struct subscription *subscription)
{
    if (subscription->is_trial)
        return "trialing";
    return subscription->customer_is_foreign && !subscription->was_canceled ? "active" : "canceled";
}

void subscription_unlink(struct subscription *subscription, int64_t now_ms)
{
    if (subscription->stripe_id != NULL) {
        subscription->plan = "free";
        subscription->status = status_without(subscription);
        subscription->canceled_ms = now_ms;
    }
    subscription->customer_id = subscription->stripe_id = subscription->price_id = NULL;
    subscription->notes = NULL;
    subscription->customer_is_foreign = subscription->was_canceled = false;
    subscription->cancel_at_period_end = false;
    subscription->period_start_ms = subscription->period_end_ms = 0;
    subscription->anchor_ms = subscription->stripe_anchor_ms = 0;
    subscription->past_due_ms = subscription->unpaid_from_ms = subscription->ends_ms = 0;
    subscription->generation++;
    subscription->updated_ms = now_ms;
}
