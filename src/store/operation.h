/* Each operation of the store is timed by what stands before its implementations. */
#pragma once

#include "core/clock.h"
#include "core/err.h"
#include "core/metrics.h"

enum store_operation {
#define STORE_OPERATION(name) STORE_OPERATION_##name,
#include "store/operations.def"
#undef STORE_OPERATION
};

/* Before anything is counted. */
void store_name_metrics(void);

static inline enum err store_operation_end(enum store_operation operation, int64_t began_us,
                                           enum err outcome)
{
    metric_observe(METRIC_store_seconds, operation, clock_mono_us() - began_us);
    if (outcome != OK)
        metric_add_of(METRIC_store_failures, operation, 0, 1);
    return outcome;
}

/* The outcome of a call, whose time is counted. */
#define OPERATION(name, call)                                                                      \
    ({                                                                                             \
        int64_t began_us_ = clock_mono_us();                                                       \
        enum err outcome_ = (call);                                                                \
        store_operation_end(STORE_OPERATION_##name, began_us_, outcome_);                          \
    })
