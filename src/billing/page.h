/* Stripe's pages where a plan is paid: closing those that nobody is to pay any more. Waits for
 * Stripe. */
#pragma once

#include "billing/billing.h"

/* ERR_CONFLICT: it was paid at this moment. One that is over already is none. */
must_check enum err page_close(struct task *task, struct billing *billing, const char *session_id);

/* All that are open for the customer and were made for a user of ours. What was paid at this moment
 * is told by its events. */
must_check enum err page_close_all(struct task *task, struct billing *billing,
                                   const char *customer_id);
