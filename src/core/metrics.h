/* Metrics of this process: one table (metrics.def), printed in the text format of Prometheus
 * (version 0.0.4).
 *
 * Each thread counts in a block of its own, so that counting takes no lock, no allocation (but for
 * the first of a thread) and no other core's cache line; printing adds the blocks up. What a metric
 * is told apart by are small numbers, whose texts come from tables: no text of a stranger becomes
 * one. Any thread; never waits. Times: microseconds. */
#pragma once

#include "core/text.h"

enum metric {
#define METRIC(member, ...) METRIC_##member,
#define HISTOGRAM(member, ...) METRIC_##member,
#include "core/metrics.def"
    METRIC_COUNT
};

enum metric_label {
#define LABEL(member, ...) LABEL_##member,
#include "core/metrics.def"
    LABEL_COUNT
};

/* Values of the labels that have them in the table, in its order. */
enum { STATUS_2XX, STATUS_3XX, STATUS_4XX, STATUS_5XX };
enum { ANSWER_ADMITTED, ANSWER_REFUSED };
enum { STATE_UP_NOW, STATE_DOWN_NOW };

/* The values of a label. Before anything is counted; the texts stay valid. */
void metric_name_values(enum metric_label label, const char *const *values, unsigned count);

/* A counter without labels, or a gauge that goes up and down. */
void metric_add(enum metric metric, int64_t count);

/* The same by its labels; `second` is 0 of a metric that has one. A value that nobody has named is
 * not counted. */
void metric_add_of(enum metric metric, unsigned value, unsigned second, int64_t count);

/* A histogram; `value` is 0 of one without a label. */
void metric_observe(enum metric metric, unsigned value, int64_t us);

/* A gauge whose value is not known: it is left out. */
#define METRIC_UNKNOWN INT64_MIN

/* A gauge without labels. */
void metric_set(enum metric metric, int64_t value);

/* A gauge that is read when it is printed, for each value of its label; before anything is printed.
 * `read` never waits. */
typedef int64_t metric_read(const void *arg, unsigned value);
void metric_read_by(enum metric metric, metric_read *read, const void *arg);

/* All that are known. */
void metrics_print(struct text *out);

/* What docs/metrics.md holds and `manus metrics` prints. */
char *metrics_as_markdown(void *mem);
