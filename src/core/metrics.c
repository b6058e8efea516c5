#include "core/metrics.h"

#include <stdatomic.h>

static const struct metric_row {
    const char *type, *name, *help;
} rows[] = {
#define METRIC(member, type, name, help) {#type, (name), (help)},
#include "core/metrics.def"
#undef METRIC
};

static _Atomic(int64_t) values[METRIC_COUNT];

void metric_add(enum metric metric, int64_t count)
{
    atomic_fetch_add_explicit(&values[metric], count, memory_order_relaxed);
}

void metric_set(enum metric metric, int64_t value)
{
    atomic_store_explicit(&values[metric], value, memory_order_relaxed);
}

void metrics_print(struct text *out)
{
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        const struct metric_row *row = &rows[i];
        int64_t value = atomic_load_explicit(&values[i], memory_order_relaxed);

        if (value == METRIC_UNKNOWN)
            continue;
        text_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %lld\n", row->name, row->help, row->name,
                    row->type, row->name, (long long)value);
    }
}
