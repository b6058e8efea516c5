/* What a user may see and do of a customer at Stripe, whose card it is: the customer portal and
 * invoices.
 *
 * What a customer that was made elsewhere pays (customer_is_foreign) its user can use and end. What
 * costs more, or shows what is the payer's, is ERR_CONFLICT until the customer's address is the one
 * that the user has proved, or an operator has linked it. Waits for Stripe: the remote lane's work.
 */
#pragma once

#include "billing/sync.h"

/* ERR_CONFLICT: the customer is a foreign one, and not proved to be the user's. */
must_check enum err portal_fail_unless_own(struct task *task, struct billing *billing,
                                           const struct subscription *subscription);

/* A fresh link to the portal. ERR_BAD_REQUEST for who is no customer. */
must_check enum err portal_open(struct task *task, struct billing *billing, const char *user_id,
                                const char *return_url, const char **ret_url);

/* Stripe's list; json_decref() is the caller's. NULL for who is no customer, or a foreign one. */
must_check enum err portal_invoices(struct task *task, struct billing *billing, const char *user_id,
                                    json_t **ret);
