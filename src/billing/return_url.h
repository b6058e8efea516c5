/* Where people come back to from Stripe's pages: only to addresses of origins that are configured,
 * so that nobody is led elsewhere in our name. Pure; any thread. */
#pragma once

#include "core/settings.h"

/* BILLING_URL, else /settings/subscription of PUBLIC_URL, else of http://localhost:3000. */
const char *return_url_default(void *mem, const struct settings *settings);

/* An address whose origin is that of BILLING_URL, of PUBLIC_URL, or one of CORS_ORIGINS. */
bool return_url_is_allowed(const struct settings *settings, const char *url);
