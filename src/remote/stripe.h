/* Stripe's API, on libcurl. */
#pragma once

#include "core/settings.h"

/* A secret or restricted key is set. */
bool stripe_is_configured(const struct settings *settings);

/* Reads the account's balance, which every key may. NULL if Stripe answers; else what is wrong,
 * static. Blocks for `timeout_ms` at most, but for the name's resolution: a lane's work. */
const char *stripe_probe(const struct settings *settings, int64_t timeout_ms);
