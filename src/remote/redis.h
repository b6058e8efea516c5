/* Redis, on hiredis. */
#pragma once

#include "core/settings.h"

/* Connects, logs in and pings, within `timeout_ms` for each of the three. NULL if it answers; else
 * what is wrong, static, without addresses or secrets. Blocks: a lane's work. */
const char *redis_probe(const struct settings *settings, int64_t timeout_ms);
