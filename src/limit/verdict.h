/* What a limiter says of one request. */
#pragma once

#include "limit/rule.h"

struct verdict {
    bool admitted;
    bool closed;                      /* refused because nobody could be asked, not for its count */
    int64_t at_us;                    /* admitted: the time under which it was noted here */
    int64_t shared_us;                /* and in Redis, by its clock; 0: it was not */
    int64_t wait_us;                  /* refused: until it would be admitted if nobody else asks */
    uint32_t remaining[RULE_WINDOWS]; /* after this one */
    int64_t reset_us[RULE_WINDOWS];   /* until a unit of the window comes back; 0: it is whole */
};

/* Of a log of `count` times, the n-th newest of which `time` gives (n from 1): may one more be
 * admitted now? Nothing is charged. */
typedef int64_t log_time(const void *log, uint32_t n);
struct verdict verdict_of(const void *log, uint32_t count, log_time *time, const struct rule *rule,
                          int64_t now_us);

/* The same after a charge. */
void verdict_spend(struct verdict *verdict, const struct rule *rule);

/* Of a request that several keys count: it needs all of them. */
void verdict_join(struct verdict *verdict, const struct verdict *other, const struct rule *rule);
