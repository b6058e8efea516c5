/* Readiness: are the things that manus depends on there? Each is probed on a thread of its own,
 * with a deadline; the answers serve for a second, so that a busy balancer costs the dependencies
 * one probe a second at most.
 *
 * Any thread. ready_look() never waits; ready_check() waits for READY_DEADLINE_MS at most. */
#pragma once

#include "core/lane.h"
#include "core/settings.h"
#include "store/store.h"

struct ready;

enum { READY_DEADLINE_MS = 1500 };

enum check_status { CHECK_SKIPPED, CHECK_HEALTHY, CHECK_UNHEALTHY };
enum check_name { CHECK_STORE, CHECK_MONGODB, CHECK_REDIS, CHECK_STRIPE, CHECKS };

struct check {
    enum check_status status;
    const char *message; /* static */
    int64_t latency_ms;  /* 0 if it was skipped */
};

enum readiness { READY, READY_DEGRADED, READY_NOT };

struct ready_report {
    enum readiness readiness;
    struct check checks[CHECKS];
};

struct redis_target;

/* NULL if Redis can be used as the program uses it, else what is wrong (static). Blocks. */
typedef const char *redis_use(const struct redis_target *target, int64_t timeout_ms);

/* Settings and lanes outlive it: the probes of the store run on the store's lane, the others on the
 * remote one. Close the lanes before freeing it. */
struct ready *ready_open(void *mem, const struct settings *settings,
                         const struct redis_target *redis, redis_use *use_redis,
                         struct store *store, struct lane *store_lane, struct lane *remote_lane);

/* What was found within the last second, or lately while somebody is looking again; false if that
 * is too long ago. */
bool ready_look(struct ready *ready, struct ready_report *ret);

/* Looks again, or joins whoever does. */
void ready_check(struct ready *ready, struct ready_report *ret);

const char *check_name(enum check_name name);
const char *check_status_name(enum check_status status);
