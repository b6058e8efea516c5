/* Who may make a session of Stripe's checkout for a user: the rule of store_checkout_reserve(), for
 * every store. Pure; a store runs it inside its atomic write. */
#pragma once

#include "store/billing.h"

/* `stored` NULL: the user has none. Whoever makes the stored one has it until `leased_ms`.
 * *ret_one: with CHECKOUT_RESERVED what is to be stored, leased anew; else the stored one. */
enum checkout_reserved checkout_judge(const struct checkout *stored, int64_t leased_ms,
                                      const struct checkout *wanted, struct checkout *ret_one);
