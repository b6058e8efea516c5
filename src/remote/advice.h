/* What people are told to do when Stripe refuses, in their language: a table from Stripe's words to
 * ours. Stripe's own texts are for developers, and go to the log alone.
 * Pure; any thread. */
#pragma once

#include "core/language.h"
#include "core/mem.h"

struct stripe_call;

/* Who owes pays first. */
extern const struct phrase *const advice_payment_due;

/* For a call that has failed; never NULL. A language without a text: the error's public one. */
const struct phrase *advice_for(const struct stripe_call *call);

/* It sends people to the portal. `phrase` may be NULL. */
bool advice_needs_portal(const struct phrase *phrase);
