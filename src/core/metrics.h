/* Metrics of this process: one table (metrics.def), printed in the text format of Prometheus
 * (version 0.0.4). Any thread; never waits. */
#pragma once

#include "core/text.h"

enum metric {
#define METRIC(member, ...) METRIC_##member,
#include "core/metrics.def"
#undef METRIC
    METRIC_COUNT
};

/* A counter. */
void metric_add(enum metric metric, int64_t count);

/* A gauge whose value is not known: it is left out. */
#define METRIC_UNKNOWN INT64_MIN

/* A gauge. */
void metric_set(enum metric metric, int64_t value);

/* All that are known. */
void metrics_print(struct text *out);
