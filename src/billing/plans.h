/* What is sold: the built-in table, or that of PLANS_FILE. From it come limits, prices, the trial,
 * GET /billing/plans and the check at the start. Read-only once loaded; any thread. */
#pragma once

#include "core/settings.h"

#define PLAN_FREE "free"

enum { PLANS_MOST = 32, PLAN_NAME_BYTES = 32, PLAN_UNLIMITED = -1 };

/* What users of a plan may ask of a route: its name as RATE_LIMIT_<ROUTE> has it, in small letters,
 * or "default". */
struct plan_limit {
    const char *route, *text;
};

struct plan {
    const char *name;
    int64_t runs;           /* in a period; PLAN_UNLIMITED */
    struct texts price_ids; /* at Stripe: the first is sold, the others are known too */
    int64_t amount;         /* of an interval, as it is shown, in the currency's smallest unit; -1:
                               on request */
    const char *interval;   /* Stripe's: day, week, month or year */
    const char *currency;   /* ISO 4217, in lower case */
    struct texts features;
    const struct plan_limit *limits;
    size_t limit_count;
};

struct plans {
    struct plan *of; /* dearer ones behind cheaper ones */
    size_t count;
    int64_t trial_days, trial_runs; /* trial_days 0: there is no trial */
};

/* NULL, and every problem in a line: what is wrong and how to mend it. */
const struct plans *plans_load(void *mem, const struct settings *settings,
                               struct texts *ret_problems);

/* Of what a file of plans holds; `name` is the file's. */
const struct plans *plans_parse(void *mem, const struct settings *settings, const char *name,
                                const char *text, size_t len, struct texts *ret_problems);

/* NULL if there is none. Names in any case. */
const struct plan *plans_by_name(const struct plans *plans, const char *name);
const struct plan *plans_by_price(const struct plans *plans, const char *price_id);

/* The plan of who has bought nothing. */
const struct plan *plans_free(const struct plans *plans);

/* Its place in the table: what is more has a higher one. */
size_t plan_rank(const struct plans *plans, const struct plan *plan);

/* The price that is sold; NULL: it cannot be bought. */
static inline const char *plan_price(const struct plan *plan)
{
    return plan->price_ids.count == 0 ? NULL : plan->price_ids.of[0];
}
