/* The Stripe-Signature of a delivery: t=SECONDS,v1=HEX,…, where v1 is the HMAC-SHA-256 of "t.body"
 * under a secret of the endpoint (Stripe: "Verify webhook signatures manually"). Pure; any thread.
 */
#pragma once

#include "core/settings.h"

enum { SIGNATURE_TOLERANCE_S = 300 };

/* Whether the header has the form of a signature, of a time within the tolerance: what is wrong
 * without the body. */
bool signature_may_be_right(const char *header, int64_t now_s);

/* One of the header's v1 is right for one of the secrets, and its time within the tolerance. Takes
 * the same time whichever is wrong. */
bool signature_is_right(const struct secrets *secrets, const char *header, const char *body,
                        size_t len, int64_t now_s);
