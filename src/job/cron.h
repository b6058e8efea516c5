/* Cron expressions: five fields, for minute, hour, day of the month, month and day of the week, in
 * UTC. A field is a list of "*", N, N-M, and a step behind the first or the last of these. As in
 * other crons, a day matches by either of its two fields if neither begins with a "*", else by
 * both. */
#pragma once

#include "core/mem.h"

#include <stdbool.h>
#include <stdint.h>

struct cron {
    uint64_t minutes; /* a bit for each value that matches */
    uint32_t hours, days, months, weekdays;
    bool either_day;
};

/* Reads an expression. Returns NULL, or a text in `mem` that says what is wrong and how to mend it.
 * An expression that never matches is wrong. */
const char *cron_parse(void *mem, const char *text, struct cron *ret);

/* The first matching minute after `after_ms`, in ms since the epoch. `after_ms` is not negative. */
int64_t cron_next(const struct cron *cron, int64_t after_ms);
