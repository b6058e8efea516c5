/* Can Redis be used? It may answer and yet refuse what the limiter asks of it: as a read-only
 * replica, without memory, or by the rights of its user. So the limiter's own scripts are run, on
 * keys that no client has. */
#pragma once

#include "remote/redis.h"

/* NULL if it can; else what is wrong, static, without addresses or secrets. Each answer must come
 * within the timeout. Blocks: a lane's work. */
const char *limit_probe(const struct redis_target *target, int64_t timeout_ms);
