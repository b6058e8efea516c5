/* A user who is gone, at Stripe. Waits for Stripe: a job's work. */
#pragma once

#include "billing/sync.h"

/* Who has gone is billed no more: ends what is ours and removes the customer, unless something else
 * runs for them or they were made elsewhere. */
must_check enum err goodbye_say(struct task *task, struct billing *billing, const char *customer_id,
                                const char *subscription_id, const char *user_id);
