/* Rules about events of the inbox, for every store. Pure. */
#pragma once

#include "store/billing.h"

struct subscription;

/* It says only that something has changed, so that whatever is learned of the customer later
 * settles it (store_events_done()): events of invoices, and of subscriptions, but for
 * trial_will_end. */
bool event_says_only_change(const char *type);

/* Whose customer it concerns is all that was wrong with it (store_customer_link()). */
bool event_is_settled_by_link(enum event_reason reason);

/* When one that was put off `waits` times before is due again (store_event_postpone()). */
int64_t event_next_ms(int64_t now_ms, unsigned waits);

/* What a removal leaves behind (store_user_delete()): an event by which what the user has at Stripe
 * ends there, for the customer that is linked, and for one beside it. In `mem`. */
struct event event_goodbye(void *mem, const struct subscription *subscription, int64_t now_ms);
struct event event_goodbye_other(void *mem, const struct other_customer *other, int64_t now_ms);
