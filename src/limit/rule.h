/* Rules of rate limits: "5/minute;20/hour" is at most 5 in any minute and 20 in any hour.
 *
 * Grammar: windows separated by semicolons, each COUNT/UNIT or COUNT/NUNIT; a unit is second,
 * minute, hour, day (also plural, or s, m, h, d); "unlimited" alone is no limit. A last part local,
 * open or closed says what happens while Redis is away. Pure; any thread. */
#pragma once

#include "core/mem.h"

#include <stdint.h>

enum { RULE_WINDOWS = 4, RULE_COUNT_MAX = 100000, RULE_SECONDS_MAX = 30 * 86400 };

struct rule_window {
    uint32_t limit;
    uint32_t seconds;
};

/* While Redis does not answer. */
enum fallback {
    FALLBACK_LOCAL,  /* this process counts, with its share of the limit */
    FALLBACK_OPEN,   /* everything is admitted */
    FALLBACK_CLOSED, /* everything is refused, with 503 */
    FALLBACK_UNSAID,
};

struct rule {
    unsigned count; /* 0: unlimited */
    struct rule_window windows[RULE_WINDOWS];
    uint32_t most;    /* the largest limit: so many stamps answer every window */
    uint32_t longest; /* window, in seconds */
    enum fallback fallback;
    const char *wire; /* as Redis is told it: script_compile_rule() */
    size_t wire_len;
};

/* Reads a rule. Returns NULL, or a static text that says what is wrong and what to write
 * instead. */
const char *rule_parse(const char *text, struct rule *ret);

/* The same windows with limits `times` as large. Its `wire` is still that of the rule, so it is not
 * sent to Redis. */
struct rule rule_times(const struct rule *rule, uint32_t times);

/* "5 per minute", "10 per 30 seconds": in `mem`. */
const char *rule_window_text(void *mem, const struct rule_window *window);
