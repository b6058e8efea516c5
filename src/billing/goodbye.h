/* What is left at Stripe of a user who was deleted. Waits for Stripe, so it belongs in a job. */
#pragma once

#include "billing/sync.h"

/* Stops the billing of a deleted user: ends their subscription to a plan of ours, and deletes the
 * customer unless the customer has other subscriptions or was not created by us. */
must_check enum err goodbye_say(struct task *task, struct billing *billing, const char *customer_id,
                                const char *subscription_id, const char *user_id);
