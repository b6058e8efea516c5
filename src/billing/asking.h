/* What Stripe is asked about a customer's subscriptions. A part is never taken for the whole, and
 * what a list leaves out is asked for before it counts as gone. Changes nothing. Waits for Stripe
 * and the store. */
#pragma once

#include "billing/billing.h"
#include "billing/reading.h"

/* All subscriptions of a customer, with their latest invoices: a new array. *ret_missing: Stripe
 * knows no such customer. */
must_check enum err asking_list(struct task *task, struct billing *billing, const char *customer_id,
                                json_t **ret, bool *ret_missing);

/* All items of a subscription that Stripe has answered with: ten of them stand in it, the others
 * are asked for and put there. */
must_check enum err asking_items(struct task *task, struct stripe *stripe, json_t *subscription);

/* The subscription's metadata name a user of ours from now on, or nobody: if it is a live one with
 * a price of a plan and names none itself, whom a session of its names. `known_id` is not asked
 * about, since whose it is stands already; it may be NULL. */
must_check enum err asking_name(struct task *task, struct billing *billing, json_t *subscription,
                                const char *known_id);

/* Whether an invoice of the subscription is open. */
must_check enum err asking_owes(struct task *task, struct billing *billing,
                                const json_t *subscription, bool *ret);

/* Other programs write `user_id` as well: whoever is no user here is named by nobody. */
must_check enum err asking_user(struct task *task, struct billing *billing, const char *user_id,
                                bool *ret);

/* asking_list(), in which only users of ours are named. `known_id` is what the user has by this
 * customer already; NULL: nothing. Of a customer that is somebody's (`is_somebodys`) the first that
 * is paid is theirs, whatever its session says. */
must_check enum err asking_known(struct task *task, struct billing *billing,
                                 const char *customer_id, const char *known_id, bool is_somebodys,
                                 json_t **ret, bool *ret_missing);

/* What of the subscription is not paid, if it says that something is. The newest hundred invoices
 * tell: a debt that is longer is long past its grace. */
must_check enum err asking_debt(struct task *task, struct billing *billing,
                                const json_t *subscription, struct debt *ret);

/* asking_known() for a user's customer, with what is stored of it in any case. *ret_gone: the
 * customer is deleted, or never was, and nothing is lost with it. */
must_check enum err asking_all(struct task *task, struct billing *billing, const char *customer_id,
                               const struct subscription *stored, json_t **ret, bool *ret_gone);
