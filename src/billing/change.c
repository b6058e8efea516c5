#include "billing/change.h"

#include "billing/checkout.h"
#include "billing/portal.h"
#include "core/clock.h"
#include "core/crypto.h"
#include "core/loop.h"
#include "remote/advice.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    PREVIEW_S = 900, /* for so long a preview's price is had */
    ITEMS_MOST = 20, /* of a subscription */
};

#define MONTH_MS_MOST (32 * INT64_C(86400000))

/* The live subscription as it is now, and its item that has our plan. */
static enum err read_live(struct task *task, struct billing *billing,
                          const struct subscription *subscription, json_t **ret)
{
    auto_call struct stripe_call call = {
        .method = "GET", .form = "expand[0]=latest_invoice", .about = subscription->customer_id};
    enum err e;

    if (!checkout_is_subscribed(subscription) || !stripe_is_id(subscription->stripe_id, "sub_"))
        return fail(task, ERR_BAD_REQUEST, "There is no subscription to change");
    call.path = mem_printf(task->mem, "/v1/subscriptions/%s", subscription->stripe_id);
    e = stripe_ask(task, billing->stripe, &call);
    if (e == ERR_STRIPE && stripe_is_missing(&call))
        return fail(task, ERR_BAD_REQUEST, "There is no subscription to change");
    if (e == OK)
        e = asking_items(task, billing->stripe, call.reply);
    if (e == OK && (strcmp(stripe_id_of(call.reply, "customer"), subscription->customer_id) != 0 ||
                    !reading_is_ours(billing->plans, call.reply, subscription) ||
                    !reading_is_live(call.reply)))
        return fail(task, ERR_BAD_REQUEST, "There is no subscription to change");
    if (e == OK)
        *ret = json_incref(call.reply);
    return e;
}

/* What a schedule says would come over any change. */
static enum err fail_if_scheduled(struct task *task, const json_t *live)
{
    const char *schedule = stripe_id_of(live, "schedule");

    if (*schedule == '\0')
        return OK;
    return fail(task, ERR_CONFLICT,
                mem_printf(task->mem,
                           "A schedule (%s) already plans a change of this subscription: ask for "
                           "help to change it",
                           schedule));
}

/* Which items a switch changes: the one that becomes the new plan, and others that are plans too,
 * which go. */
struct items_changed {
    const char *kept;
    const char *gone[ITEMS_MOST];
    size_t gone_count;
};

/* Kept is the one that has the new price already, else the plan's. False: which one it is cannot be
 * told. */
static bool choose_items(const struct billing *billing, const json_t *live,
                         const struct subscription *subscription, const char *new_price,
                         struct items_changed *ret)
{
    const json_t *items = json_object_get(json_object_get(live, "items"), "data"), *item;
    const struct plan *plan;
    const json_t *kept = reading_plan_item(billing->plans, live, subscription, &plan);
    size_t i;

    *ret = (struct items_changed){0};
    json_array_foreach(items, i, item)
    {
        const json_t *quantity = json_object_get(item, "quantity");
        bool is_none = json_is_integer(quantity) && json_integer_value(quantity) == 0;

        if (strcmp(stripe_id_of(item, "price"), new_price) == 0 && !is_none)
            kept = item;
    }
    json_array_foreach(items, i, item)
    {
        if (item != kept && ret->gone_count < ITEMS_MOST &&
            plans_by_price(billing->plans, stripe_id_of(item, "price")) != NULL)
            ret->gone[ret->gone_count++] = stripe_text(item, "id");
    }
    ret->kept = kept == NULL ? NULL : stripe_text(kept, "id");
    return kept != NULL;
}

/* As Stripe wants them, below `prefix`. */
static void put_items(struct task *task, struct text *form, const char *prefix,
                      const struct items_changed *items, const char *new_price)
{
    stripe_put(form, mem_printf(task->mem, "%s[0][id]", prefix), items->kept);
    stripe_put(form, mem_printf(task->mem, "%s[0][price]", prefix), new_price);
    for (size_t i = 0; i < items->gone_count; i++) {
        stripe_put(form, mem_printf(task->mem, "%s[%zu][id]", prefix, i + 1), items->gone[i]);
        stripe_put(form, mem_printf(task->mem, "%s[%zu][deleted]", prefix, i + 1), "true");
    }
}

static enum err fail_payment(struct task *task, const struct phrase *phrase)
{
    (void)fail(task, ERR_PAYMENT, phrase->in[LANGUAGE_ENGLISH]);
    task->phrase = phrase;
    return ERR_PAYMENT;
}

/* For people: "2026-11-27". */
static const char *day_of(void *mem, int64_t at_ms)
{
    char time[TEXT_TIME_SIZE];

    text_time(time, at_ms);
    return mem_printf(mem, "%.10s", time);
}

static enum err fail_paused(struct task *task)
{
    return fail(task, ERR_CONFLICT,
                "The billing of this subscription is paused: ask for help to change it");
}

/* Whether the plan of what runs can be changed now. Who owes would get credit for what was never
 * paid, and be active again. */
static enum err may_switch(struct task *task, const struct billing *billing, const json_t *live,
                           const struct subscription *subscription, const struct plan *plan,
                           struct items_changed *ret)
{
    const char *status = stripe_text(live, "status");
    const struct plan *now;

    if (reading_is_paused(live))
        return fail(task, ERR_CONFLICT,
                    "Your trial is over, and your subscription paused: resume it first, then "
                    "change the plan, or cancel it and buy another one");
    if (strcmp(status, "active") != 0 && strcmp(status, "trialing") != 0)
        return fail_payment(task, advice_payment_due);
    if (*stripe_text(json_object_get(live, "pause_collection"), "behavior") != '\0')
        return fail_paused(task);
    /* It would be paid, and end all the same. */
    if (reading_ends_with_period(live, reading_plan_item(billing->plans, live, subscription, &now)))
        return fail(
            task, ERR_CONFLICT,
            mem_printf(task->mem,
                       "Your subscription ends on %s: resume it first, then change the plan",
                       day_of(task->mem, reading_ends_ms(live))));
    if (!choose_items(billing, live, subscription, plan_price(plan), ret))
        return fail(task, ERR_CONFLICT,
                    "It is not clear which part of this subscription is the plan: change it in the "
                    "portal, or ask for help");
    return fail_if_scheduled(task, live);
}

static enum err find_plan(struct task *task, const struct billing *billing,
                          const struct subscription *subscription, const char *name,
                          const struct plan **ret)
{
    *ret = plans_by_name(billing->plans, name);
    if (*ret == NULL || plan_price(*ret) == NULL)
        return fail(task, ERR_BAD_REQUEST, mem_printf(task->mem, "Invalid plan: %s", name));
    if (strcmp((*ret)->name, subscription->plan) == 0)
        return fail(task, ERR_BAD_REQUEST, "This is your plan already");
    return OK;
}

/* Nobody is credited for what they have used, or not paid: who goes to a smaller plan with more
 * runs used than that has, or with an open invoice, has it without a credit. */
static enum err choose_proration(struct task *task, struct billing *billing,
                                 const struct subscription *subscription, const json_t *live,
                                 const struct plan *plan, bool *ret_credits)
{
    const struct plan *now = plans_by_name(billing->plans, subscription->plan);
    struct subscription stored;
    bool owes = false, found = false;
    enum err e;

    *ret_credits = true;
    /* Of a year what was used in a month is the smaller part. */
    if (subscription->period_end_ms - subscription->period_start_ms > MONTH_MS_MOST)
        return OK;
    if (now == NULL || plan_rank(billing->plans, plan) > plan_rank(billing->plans, now))
        return OK;
    e = asking_owes(task, billing, live, &owes);
    /* What is remembered knows not of the last runs. */
    if (e == OK)
        e = store_subscription_by_user(task, billing->store, subscription->user_id, &found,
                                       &stored);
    *ret_credits = !owes && found &&
                   (plan->runs < 0 ||
                    entitlement_of(billing->plans, task->settings, &stored, clock_wall_ms()).used <=
                        plan->runs);
    return e;
}

/* Of a switch that costs nothing now, and gives nothing back. */
static json_t *free_switch(const json_t *live)
{
    return json_pack("{s:i,s:i,s:s,s:{s:[]}}", "amount_due", 0, "total", 0, "currency",
                     stripe_text(live, "currency"), "lines", "data");
}

enum err change_preview(struct task *task, struct billing *billing, const char *user_id,
                        const char *name, int64_t *ret_date_s, json_t **ret)
{
    auto_call struct stripe_call call = {.method = "POST", .path = "/v1/invoices/create_preview"};
    auto_json json_t *live = NULL;
    struct subscription subscription;
    struct text form = text_open(task->mem, 512);
    struct items_changed items = {0};
    const struct plan *plan;
    bool credits = true;
    enum err e = stripe_need(task, billing->stripe);

    assert_off_loops();
    if (e == OK)
        e = billing_subscription(task, billing, user_id, &subscription);
    if (e == OK)
        e = find_plan(task, billing, &subscription, name, &plan);
    if (e == OK)
        e = read_live(task, billing, &subscription, &live);
    if (e == OK)
        e = portal_fail_unless_own(task, billing, &subscription);
    if (e == OK)
        e = may_switch(task, billing, live, &subscription, plan, &items);
    if (e == OK)
        e = choose_proration(task, billing, &subscription, live, plan, &credits);
    if (e != OK)
        return e;
    *ret_date_s = clock_wall_ms() / 1000;
    if (!credits) {
        *ret = free_switch(live);
        return OK;
    }
    stripe_put(&form, "customer", subscription.customer_id);
    stripe_put(&form, "subscription", subscription.stripe_id);
    put_items(task, &form, "subscription_details[items]", &items, plan_price(plan));
    stripe_put(&form, "subscription_details[proration_behavior]", "always_invoice");
    stripe_put_int(&form, "subscription_details[proration_date]", *ret_date_s);
    call.form = form.s;
    call.key = mem_printf(task->mem, "manus:preview:%s", crypto_id(task->mem));
    call.about = subscription.customer_id;
    e = stripe_ask(task, billing->stripe, &call);
    if (e == OK)
        *ret = json_incref(call.reply);
    return e;
}

/* What Stripe says of it now. Under the user's lock. */
static enum err read_again(struct task *task, struct billing *billing,
                           const struct subscription *subscription, struct subscription *ret)
{
    struct sync_outcome outcome;
    enum err e = sync_locked(task, billing, subscription->user_id, subscription->customer_id,
                             &outcome);

    assert(billing_is_locked(billing, subscription->user_id));
    if (e == OK && outcome.found.user_id == NULL)
        return fail(task, ERR_BAD_REQUEST, "There is no subscription to change");
    if (e == OK)
        *ret = outcome.found;
    return e;
}

/* Asks Stripe, then takes over what has come of it. Under the user's lock. */
static enum err change(struct task *task, struct billing *billing,
                       const struct subscription *subscription, struct stripe_call *call,
                       struct subscription *ret)
{
    enum err e;

    call->about = subscription->customer_id;
    e = stripe_ask(task, billing->stripe, call);
    if (e == ERR_STRIPE && call->status == 402)
        return fail_payment(task, task->phrase);
    return e == OK ? read_again(task, billing, subscription, ret) : e;
}

static enum err switch_plan(struct task *task, struct billing *billing, const char *user_id,
                            const char *name, int64_t date_s, struct subscription *ret)
{
    auto_call struct stripe_call call = {.method = "POST"};
    auto_json json_t *live = NULL;
    struct text form = text_open(task->mem, 384);
    int64_t now_s = clock_wall_ms() / 1000;
    struct items_changed items = {0};
    const struct plan *plan;
    bool credits = true;
    enum err e = billing_subscription(task, billing, user_id, ret);

    if (date_s != 0 && (date_s > now_s + 5 || date_s < now_s - PREVIEW_S))
        return fail(task, ERR_BAD_REQUEST, "This preview is too old: ask for a new one");
    if (e == OK)
        e = find_plan(task, billing, ret, name, &plan);
    if (e == OK)
        e = read_live(task, billing, ret, &live);
    if (e == OK)
        e = portal_fail_unless_own(task, billing, ret);
    if (e == OK)
        e = may_switch(task, billing, live, ret, plan, &items);
    /* What is credited is not used while Stripe is asked. */
    if (e == OK)
        billing_hold_runs(billing, user_id, plan->runs);
    if (e == OK)
        e = choose_proration(task, billing, ret, live, plan, &credits);
    if (e != OK)
        return e;
    if (!credits)
        billing_hold_runs(billing, user_id, -1);
    put_items(task, &form, "items", &items, plan_price(plan));
    stripe_put(&form, "proration_behavior", credits ? "always_invoice" : "none");
    stripe_put(&form, "payment_behavior", "error_if_incomplete");
    if (date_s != 0 && credits)
        stripe_put_int(&form, "proration_date", date_s);
    call.form = form.s;
    call.path = mem_printf(task->mem, "/v1/subscriptions/%s", ret->stripe_id);
    call.key = mem_printf(task->mem, "manus:switch:%s", crypto_id(task->mem));
    return change(task, billing, ret, &call, ret);
}

static enum err fail_changing(struct task *task)
{
    return fail(task, ERR_CONFLICT, "Another change is under way: try again");
}

enum err change_switch(struct task *task, struct billing *billing, const char *user_id,
                       const char *plan, int64_t date_s, struct subscription *ret)
{
    enum err e = stripe_need(task, billing->stripe);

    assert_off_loops();
    if (e != OK)
        return e;
    if (!billing_lock_soon(billing, user_id))
        return fail_changing(task);
    e = switch_plan(task, billing, user_id, plan, date_s, ret);
    billing_unlock(billing, user_id);
    return e;
}

static const char *former_end(const json_t *live)
{
    return stripe_text(json_object_get(live, "metadata"), "manus_cancel_at");
}

/* An end that stood there already is kept in the metadata ("FORMER NEW"), for who takes the new one
 * back. Of items with periods of several lengths Stripe's mark means the longest. */
static const char *form_to_end(struct task *task, const json_t *live, const json_t *item)
{
    int64_t end_ms = reading_period_end_ms(live, item), former_s = stripe_int(live, "cancel_at");
    struct text form = text_open(task->mem, 96);

    if (end_ms <= clock_wall_ms() || (former_s == 0 && end_ms == reading_last_end_ms(live)))
        stripe_put(&form, "cancel_at_period_end", "true");
    else
        stripe_put_int(&form, "cancel_at", end_ms / 1000);
    if (former_s == 0 && *former_end(live) != '\0')
        stripe_put(&form, "metadata[manus_cancel_at]", "");
    else if (former_s != 0)
        stripe_put(
            &form, "metadata[manus_cancel_at]",
            mem_printf(task->mem, "%lld %lld", (long long)former_s, (long long)end_ms / 1000));
    return form.s;
}

/* The end that stood there before the present one; 0: none. */
static int64_t former_end_s(const json_t *live)
{
    char *rest;
    int64_t former_s = strtoll(former_end(live), &rest, 10), end_s = strtoll(rest, NULL, 10);

    return end_s == stripe_int(live, "cancel_at") && former_s > clock_wall_ms() / 1000 ? former_s
                                                                                       : 0;
}

/* Whichever of the two marks stands is taken away; both at once Stripe refuses. NULL: none does. */
static const char *form_to_resume(struct task *task, const json_t *live)
{
    int64_t former_s = former_end_s(live);
    struct text form = text_open(task->mem, 96);

    if (json_is_true(json_object_get(live, "cancel_at_period_end")))
        return "cancel_at_period_end=false";
    if (stripe_int(live, "cancel_at") == 0)
        return NULL;
    if (former_s == 0)
        return "cancel_at=";
    stripe_put_int(&form, "cancel_at", former_s);
    return form.s;
}

/* An end that is further away was agreed on: by whoever ends it here it was not asked for. */
static enum err fail_if_agreed(struct task *task, const json_t *live, const json_t *item)
{
    int64_t at_ms = reading_ends_ms(live);

    if (at_ms == 0 || reading_ends_with_period(live, item))
        return OK;
    if (stripe_int(live, "cancel_at") == 0)
        return fail_paused(task);
    return fail(task, ERR_CONFLICT,
                mem_printf(task->mem,
                           "Your subscription ends on %s as agreed: ask for help to change that",
                           day_of(task->mem, at_ms)));
}

static enum err mark_end(struct task *task, struct billing *billing, const json_t *live,
                         const char *form, bool ends, struct subscription *ret)
{
    auto_call struct stripe_call call = {
        .method = "POST",
        .path = mem_printf(task->mem, "/v1/subscriptions/%s", ret->stripe_id),
        .form = form,
        .key = mem_printf(task->mem, "manus:%s:%s", ends ? "cancel" : "resume",
                          crypto_id(task->mem))};
    enum err e = fail_if_scheduled(task, live);

    return e == OK ? change(task, billing, ret, &call, ret) : e;
}

/* What was owed when it was resumed before is paid, and no second invoice made. */
static enum err unpause(struct task *task, struct billing *billing, const json_t *live,
                        struct subscription *ret)
{
    const char *invoice_id = reading_owes(live) ? stripe_id_of(live, "latest_invoice") : "";
    const struct stripe_call declined = {
        .status = 402, .code = "", .decline_code = "", .param = "", .message = ""};
    auto_call struct stripe_call call = {
        .method = "POST",
        .path = mem_printf(task->mem, "/v1/subscriptions/%s/resume", ret->stripe_id),
        .form = "billing_cycle_anchor=now",
        .key = mem_printf(task->mem, "manus:unpause:%s", crypto_id(task->mem))};
    enum err e;

    if (stripe_is_id(invoice_id, "in_")) {
        call.path = mem_printf(task->mem, "/v1/invoices/%s/pay", invoice_id);
        call.form = NULL;
    }
    e = change(task, billing, ret, &call, ret);
    if (e == OK && strcmp(ret->status, "canceled") == 0)
        return fail_payment(task, advice_for(&declined));
    return e;
}

/* Nothing of what is paused is paid: it need not run out. */
static enum err end_paused(struct task *task, struct billing *billing, struct subscription *ret)
{
    auto_call struct stripe_call call = {
        .method = "DELETE",
        .path = mem_printf(task->mem, "/v1/subscriptions/%s", ret->stripe_id),
        .form = "prorate=false"};

    return change(task, billing, ret, &call, ret);
}

static enum err set_end(struct task *task, struct billing *billing, const char *user_id, bool ends,
                        struct subscription *ret)
{
    auto_json json_t *live = NULL;
    const struct plan *plan;
    const json_t *item;
    const char *form;
    bool is_paused;
    enum err e = billing_subscription(task, billing, user_id, ret);

    if (e == OK)
        e = read_live(task, billing, ret, &live);
    /* Anybody may stop what is paid for them. */
    if (e == OK && !ends)
        e = portal_fail_unless_own(task, billing, ret);
    if (e != OK)
        return e;
    item = reading_plan_item(billing->plans, live, ret, &plan);
    is_paused = reading_is_paused(live);
    if (ends && is_paused)
        return end_paused(task, billing, ret);
    if (!ends)
        e = fail_if_agreed(task, live, item);
    if (e != OK)
        return e;
    /* It is so already. One that ends later is to end sooner. */
    if (ends)
        form = reading_ends_with_period(live, item) ? NULL : form_to_end(task, live, item);
    else
        form = form_to_resume(task, live);
    if (form != NULL)
        e = mark_end(task, billing, live, form, ends, ret);
    else if (!is_paused)
        e = read_again(task, billing, ret, ret);
    return e == OK && is_paused ? unpause(task, billing, live, ret) : e;
}

static enum err set_end_alone(struct task *task, struct billing *billing, const char *user_id,
                              bool ends, struct subscription *ret)
{
    enum err e = stripe_need(task, billing->stripe);

    if (e != OK)
        return e;
    if (!billing_lock_soon(billing, user_id))
        return fail_changing(task);
    e = set_end(task, billing, user_id, ends, ret);
    billing_unlock(billing, user_id);
    return e;
}

enum err change_cancel(struct task *task, struct billing *billing, const char *user_id,
                       struct subscription *ret)
{
    assert_off_loops();
    return set_end_alone(task, billing, user_id, true, ret);
}

enum err change_resume(struct task *task, struct billing *billing, const char *user_id,
                       struct subscription *ret)
{
    assert_off_loops();
    return set_end_alone(task, billing, user_id, false, ret);
}
