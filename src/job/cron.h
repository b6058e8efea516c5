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

/* NULL, or what is wrong and how to mend it, as text in `mem`. What is right matches sometime. */
const char *cron_parse(void *mem, const char *text, struct cron *ret);

/* The first minute behind `after_ms` that matches; ms since the epoch, not before it. */
int64_t cron_next(const struct cron *cron, int64_t after_ms);
