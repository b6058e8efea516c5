/* What becomes of a subscription when its customer at Stripe is another one, or is gone: rules for
 * every store. Pure; a store runs them inside its atomic write. */
#pragma once

#include "store/billing.h"

/* store_customer_link(): false, and nothing has changed, if the user has another customer than the
 * former one, or the generation is another. */
bool subscription_after_link(struct subscription *subscription, const struct customer_link *link);

/* store_customer_unlink(): what was subscribed to goes with the customer. */
void subscription_unlink(struct subscription *subscription, int64_t now_ms);
