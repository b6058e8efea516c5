#include "billing/entitlement.h"

#include <assert.h>
#include <string.h>
#include <time.h>

/* A paid period stays good for SLACK_DAYS after its end: the event of its renewal may be late. */
#define DAY_MS INT64_C(86400000)
enum { SLACK_DAYS = 2, LONGEST_PERIOD_DAYS = 31 };

static int64_t month_ms(int64_t now_ms, int months_on)
{
    time_t now_s = (time_t)(now_ms / 1000);
    struct tm at;

    gmtime_r(&now_s, &at);
    at = (struct tm){.tm_year = at.tm_year, .tm_mon = at.tm_mon + months_on, .tm_mday = 1};
    return (int64_t)timegm(&at) * 1000;
}

static void use_month(struct entitlement *s, int64_t now_ms)
{
    s->period_ms = month_ms(now_ms, 0);
    s->resets_ms = month_ms(now_ms, 1);
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* The moment so many months later: the same day and time, or the last day of a shorter month. */
static int64_t months_after(int64_t anchor_ms, int months)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    time_t anchor_s = (time_t)(anchor_ms / 1000);
    int month, last;
    struct tm at;

    assert(anchor_ms >= 0);
    gmtime_r(&anchor_s, &at);
    month = at.tm_year * 12 + at.tm_mon + months;
    at.tm_year = month / 12;
    at.tm_mon = month % 12;
    last = days[at.tm_mon] + (at.tm_mon == 1 && is_leap(at.tm_year + 1900));
    at.tm_mday = at.tm_mday < last ? at.tm_mday : last;
    return (int64_t)timegm(&at) * 1000;
}

/* How many whole months lie between the anchor and that moment; negative if it is before the
 * anchor. */
static int months_between(int64_t anchor_ms, int64_t at_ms)
{
    time_t anchor_s = (time_t)(anchor_ms / 1000), at_s = (time_t)(at_ms / 1000);
    struct tm anchor, at;
    int months;

    gmtime_r(&anchor_s, &anchor);
    gmtime_r(&at_s, &at);
    months = (at.tm_year - anchor.tm_year) * 12 + at.tm_mon - anchor.tm_mon;
    return months_after(anchor_ms, months) > at_ms ? months - 1 : months;
}

/* The moment from which the months of the subscription are counted. */
static int64_t anchor_of(const struct subscription *sub, int64_t now_ms)
{
    return sub->anchor_ms == 0 || sub->anchor_ms > now_ms ? sub->period_start_ms : sub->anchor_ms;
}

static void use_paid_month(struct entitlement *s, const struct subscription *sub, int64_t now_ms)
{
    int64_t anchor_ms = anchor_of(sub, now_ms), at_ms = now_ms;
    int months;

    if (sub->period_end_ms != 0 && at_ms >= sub->period_end_ms)
        at_ms = sub->period_end_ms - 1;
    if (sub->unpaid_from_ms != 0 && at_ms >= sub->unpaid_from_ms)
        at_ms = sub->unpaid_from_ms - 1;
    months = months_between(anchor_ms, at_ms);
    /* Stripe's times are whole seconds. One more, so that it is later than a trial of that
     * second. */
    s->period_ms = months_after(anchor_ms, months) + 1;
    s->resets_ms = months_after(anchor_ms, months + 1);
}

static bool has_gift(const struct subscription *sub, int64_t now_ms)
{
    return sub->gift_plan != NULL && (sub->gift_until_ms == 0 || sub->gift_until_ms > now_ms);
}

static void judge_gift(struct entitlement *s, const struct plans *plans,
                       const struct subscription *sub, int64_t now_ms)
{
    const struct plan *plan = plans_by_name(plans, sub->gift_plan);

    assert(sub->gift_plan != NULL);
    s->is_gift = true;
    s->plan = plan == NULL ? plans_free(plans) : plan;
    s->plan_name = sub->gift_plan;
    s->status = "active";
    s->limit = sub->gift_runs != 0 ? sub->gift_runs : s->plan->runs;
    use_month(s, now_ms);
}

static void judge_trial(struct entitlement *s, const struct plans *plans,
                        const struct subscription *sub, int64_t now_ms)
{
    s->in_trial = sub->trial_end_ms > now_ms;
    s->status = s->in_trial ? "trialing" : "canceled";
    s->verdict = s->in_trial ? STANDING_GOOD : STANDING_TRIAL_OVER;
    if (!s->in_trial)
        return;
    s->limit = plans->trial_runs;
    s->period_ms = sub->trial_start_ms;
    s->resets_ms = 0;
}

static enum entitlement_verdict judge_paid(const struct settings *settings,
                                           const struct subscription *sub, int64_t now_ms)
{
    int64_t grace_ms = settings->past_due_grace_days * DAY_MS;
    bool is_late = strcmp(sub->status, "past_due") == 0;

    if (strcmp(sub->status, "canceled") == 0 || strcmp(sub->status, "unpaid") == 0)
        return STANDING_INACTIVE;
    if (is_late && sub->past_due_ms != 0)
        return now_ms < sub->past_due_ms + grace_ms ? STANDING_GOOD : STANDING_NOT_PAID;
    /* A subscription that is past due without a debt has only invoices that are drafts or
     * credited. */
    if (!is_late && strcmp(sub->status, "active") != 0 && strcmp(sub->status, "trialing") != 0)
        return STANDING_NOT_PAID;
    return sub->period_end_ms == 0 || now_ms < sub->period_end_ms + SLACK_DAYS * DAY_MS
               ? STANDING_GOOD
               : STANDING_NOT_PAID;
}

/* What holds for the user if what was bought is left aside. */
static struct entitlement without_plan(const struct plans *plans, const struct settings *settings,
                                       const struct subscription *sub, int64_t now_ms)
{
    struct subscription none = *sub;

    none.plan = PLAN_FREE;
    none.status = sub->was_canceled ? "canceled" : "active";
    none.ends_ms = none.past_due_ms = none.unpaid_from_ms = 0;
    none.period_start_ms = none.period_end_ms = none.anchor_ms = 0;
    return entitlement_of(plans, settings, &none, now_ms);
}

struct entitlement entitlement_of(const struct plans *plans, const struct settings *settings,
                                  const struct subscription *sub, int64_t now_ms)
{
    const struct plan *plan = plans_by_name(plans, sub->plan);
    struct entitlement s = {.plan_name = sub->plan,
                            .status = sub->status,
                            .is_paid = strcmp(sub->plan, PLAN_FREE) != 0};

    /* A plan that was renamed is found by its price. */
    if (plan == NULL && sub->price_id != NULL)
        plan = plans_by_price(plans, sub->price_id);
    s.plan = plan == NULL ? plans_free(plans) : plan;

    assert(s.plan != NULL);
    s.limit = s.plan->runs;
    use_month(&s, now_ms);
    if (has_gift(sub, now_ms)) {
        judge_gift(&s, plans, sub, now_ms);
    } else if (s.is_paid) {
        s.verdict = judge_paid(settings, sub, now_ms);
        if (sub->ends_ms != 0 && now_ms >= sub->ends_ms) {
            s.status = "canceled";
            s.verdict = STANDING_INACTIVE;
        }
        if (sub->period_start_ms != 0)
            use_paid_month(&s, sub, now_ms);
        /* If somebody else paid and stops, the user still has what they would have without it. */
        if (sub->customer_is_foreign && s.verdict != STANDING_GOOD)
            return without_plan(plans, settings, sub, now_ms);
    } else if (sub->is_trial) {
        judge_trial(&s, plans, sub, now_ms);
    } else if (strcmp(sub->status, "active") != 0) {
        s.verdict = STANDING_INACTIVE;
    }
    /* A period that begins so far ahead was written while a clock was wrong. */
    s.used = sub->usage_period_ms < s.period_ms ||
                     sub->usage_period_ms > (now_ms / DAY_MS + 1 + LONGEST_PERIOD_DAYS) * DAY_MS
                 ? 0
                 : sub->runs;
    if (s.verdict == STANDING_GOOD && s.limit >= 0 && s.used >= s.limit)
        s.verdict = STANDING_EXHAUSTED;
    return s;
}

const char *entitlement_reason(void *mem, const struct entitlement *s)
{
    switch (s->verdict) {
    case STANDING_GOOD:
        return NULL;
    case STANDING_INACTIVE:
        return mem_printf(mem, "Your subscription is inactive (%s). Please subscribe to continue.",
                          s->status);
    case STANDING_TRIAL_OVER:
        return "Your trial has expired. Please subscribe to continue.";
    case STANDING_EXHAUSTED:
        return mem_printf(mem,
                          "%s of %lld agent runs reached. Please upgrade your plan to continue.",
                          s->in_trial ? "Trial limit" : "Monthly limit", (long long)s->limit);
    default:
        return "Your subscription is not paid. Please update your payment method to continue.";
    }
}
