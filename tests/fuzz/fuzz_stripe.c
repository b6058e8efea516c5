/* What Stripe says of a subscription, as it is taken over: a JSON text. */
#include "billing/sync.h"
#include "core/clock.h"
#include "core/json.h"
#include "remote/stripe.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct plans *own_plans(void)
{
    static const char *basic[] = {"price_b", "price_old"}, *pro[] = {"price_p"};
    static struct settings settings = {.stripe_price_basic = {basic, 2},
                                       .stripe_price_pro = {pro, 1}};
    static const struct plans *plans;
    struct texts problems;

    if (plans == NULL)
        plans = plans_load(mem_tree(0), &settings, &problems);
    return plans;
}

static void check_time(int64_t ms)
{
    assert(ms >= 0 && ms <= CLOCK_LAST_S * 1000);
}

static void check(const struct plans *plans, const struct subscription *s, bool known)
{
    static const char *const statuses[] = {"active", "past_due", "canceled",
                                           "unpaid", "trialing", "incomplete"};
    bool is_status = false;

    for (size_t i = 0; i < count_of(statuses); i++)
        is_status = is_status || strcmp(s->status, statuses[i]) == 0;
    assert(is_status && plans_by_name(plans, s->plan) != NULL);
    assert(strcmp(s->customer_id, "cus_1") == 0 && strcmp(s->user_id, "U1") == 0);
    check_time(s->period_start_ms);
    check_time(s->period_end_ms);
    check_time(s->canceled_ms);
    check_time(s->past_due_ms);
    /* Nothing is paid for by a price that is nobody's. */
    if (known && s->stripe_id != NULL)
        assert(strcmp(plans_by_price(plans, s->price_id)->name, s->plan) == 0);
    if (s->stripe_id == NULL)
        assert(s->price_id == NULL && strcmp(s->plan, PLAN_FREE) == 0);
    assert(known || s->stripe_id != NULL);
}

static void read_members(const json_t *object)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)object, name, value)
    {
        assert(stripe_text(object, name) != NULL && stripe_id_of(object, name) != NULL);
        check_time(stripe_time_ms(object, name));
        stripe_is_id(stripe_id_of(object, name), "sub_");
        read_members(value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    auto_tree void *mem = mem_tree(0);
    const struct plans *plans = own_plans();
    struct subscription stored = {.user_id = "U1",
                                  .customer_id = "cus_1",
                                  .plan = PLAN_FREE,
                                  .status = "active"},
                        read;
    struct json_problem problem;
    auto_json json_t *json = json_read((const char *)bytes, len, &problem);
    bool known;

    read_members(json);
    known = sync_read(plans, json, &stored, mem, &read);
    check(plans, &read, known);
    stored.is_trial = true;
    stored.plan = "pro";
    known = sync_read(plans, json, &stored, mem, &read);
    check(plans, &read, known);
    return 0;
}
