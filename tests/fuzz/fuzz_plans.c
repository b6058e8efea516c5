/* PLANS_FILE, and what its plans say of a subscription. */
#include "billing/entitlement.h"
#include "billing/plans.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void try_plan(const struct plans *plans, const struct plan *plan)
{
    assert(strlen(plan->name) >= 1 && strlen(plan->name) <= PLAN_NAME_BYTES);
    assert(plan->runs >= PLAN_UNLIMITED && plan->amount >= -1);
    assert(plan_rank(plans, plan) < plans->count && plans_by_name(plans, plan->name) == plan);
    for (size_t i = 0; i < plan->price_ids.count; i++)
        assert(plans_by_price(plans, plan->price_ids.of[i]) == plan);
    for (size_t i = 0; i < plan->limit_count; i++)
        assert(plan->limits[i].route != NULL && plan->limits[i].text != NULL);
}

static void try_entitlement(const struct plans *plans, const struct settings *settings,
                            const char *plan, const char *status)
{
    const struct subscription subscription = {
        .id = "1", .user_id = "u", .plan = plan, .status = status};
    struct entitlement entitlement = entitlement_of(plans, settings, &subscription,
                                                    INT64_C(1800000000000));

    assert(entitlement.plan != NULL && entitlement.plan_name != NULL && entitlement.status != NULL);
    assert(entitlement.limit >= PLAN_UNLIMITED && entitlement.used >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);
    const char *prices[] = {"price_b", "price_old"};
    const struct settings settings = {.stripe_price_basic = {prices, 2}};
    struct texts problems = {0};
    const struct plans *plans = plans_parse(mem, &settings, "plans.json", (const char *)bytes, len,
                                            &problems);

    assert((plans == NULL) == (problems.count > 0));
    for (size_t i = 0; i < problems.count; i++)
        assert(strncmp(problems.of[i], "PLANS_FILE: plans.json: ", 24) == 0);
    if (plans == NULL)
        return 0;
    assert(plans->count >= 1 && plans->count <= PLANS_MOST && plans_free(plans) != NULL);
    assert(plans->trial_days >= 0 && plans->trial_runs >= PLAN_UNLIMITED);
    for (size_t i = 0; i < plans->count; i++) {
        try_plan(plans, &plans->of[i]);
        try_entitlement(plans, &settings, plans->of[i].name, "active");
    }
    try_entitlement(plans, &settings, "sold no more", "past_due");
    return 0;
}
