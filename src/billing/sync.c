#include "billing/sync.h"

#include "billing/notice.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"

#include <string.h>

enum { PAGES = 10, PAGE = 100, APPLY_TRIES = 4 };

/* Reading */

struct status_row {
    const char *stripe, *ours;
    int rank; /* which one counts, of several */
    bool is_live;
};

static const struct status_row *status_row(const char *status)
{
    static const struct status_row rows[] = {
        {"active", "active", 6, true},      {"trialing", "trialing", 6, true},
        {"past_due", "past_due", 5, true},  {"unpaid", "unpaid", 4, false},
        {"paused", "canceled", 3, false},   {"incomplete", "incomplete", 2, false},
        {"canceled", "canceled", 1, false}, {"incomplete_expired", "canceled", 0, false},
    };
    /* What is new grants nothing. */
    static const struct status_row unknown = {"", "incomplete", 2, false};

    for (size_t i = 0; i < count_of(rows); i++) {
        if (strcmp(rows[i].stripe, status) == 0)
            return &rows[i];
    }
    return &unknown;
}

static const struct status_row *status_of(const json_t *subscription)
{
    return status_row(stripe_text(subscription, "status"));
}

static const json_t *items_of(const json_t *subscription)
{
    return json_object_get(json_object_get(subscription, "items"), "data");
}

static const char *price_of(const json_t *item)
{
    const char *price = stripe_id_of(item, "price");

    return *price != '\0' ? price : stripe_id_of(item, "plan");
}

/* The largest plan among the items, and its item; NULL: none of them is ours. */
static const struct plan *plan_of(const struct plans *plans, const json_t *subscription,
                                  const json_t **ret_item)
{
    const json_t *items = items_of(subscription), *item;
    const struct plan *best = NULL;
    size_t i;

    *ret_item = json_array_get(items, 0);
    json_array_foreach(items, i, item)
    {
        const struct plan *plan = plans_by_price(plans, price_of(item));

        if (plan != NULL && (best == NULL || plan_rank(plans, plan) > plan_rank(plans, best))) {
            best = plan;
            *ret_item = item;
        }
    }
    return best;
}

/* On the item since 2025-03-31, on the subscription before. */
static int64_t period_ms(const json_t *subscription, const json_t *item, const char *name)
{
    int64_t at_ms = stripe_time_ms(item, name);

    return at_ms != 0 ? at_ms : stripe_time_ms(subscription, name);
}

static int64_t unpaid_since_ms(const json_t *subscription, int64_t otherwise)
{
    int64_t at_ms = stripe_time_ms(json_object_get(subscription, "latest_invoice"), "created");

    return at_ms != 0 ? at_ms : otherwise;
}

static bool is_ending(const json_t *subscription)
{
    return stripe_int(subscription, "cancel_at") != 0 ||
           json_is_true(json_object_get(subscription, "cancel_at_period_end"));
}

/* As if nothing had been bought. */
static void read_nothing(const struct subscription *stored, struct subscription *ret,
                         const char *status)
{
    ret->plan = PLAN_FREE;
    ret->status = stored->is_trial && strcmp(status, "active") == 0 ? "trialing" : status;
    ret->stripe_id = ret->price_id = NULL;
    ret->period_start_ms = ret->period_end_ms = ret->canceled_ms = ret->past_due_ms = 0;
    ret->cancel_at_period_end = false;
}

bool sync_read(const struct plans *plans, const json_t *subscription,
               const struct subscription *stored, void *mem, struct subscription *ret)
{
    const struct status_row *status = status_of(subscription);
    const json_t *item;
    const struct plan *plan = plan_of(plans, subscription, &item);
    const char *id = stripe_text(subscription, "id");
    int64_t ended_ms = stripe_time_ms(subscription, "ended_at");

    *ret = *stored;
    if (status->rank <= 1) {
        read_nothing(stored, ret, status->rank == 1 ? "canceled" : "active");
        if (status->rank == 1)
            ret->canceled_ms = ended_ms != 0 ? ended_ms
                                             : stripe_time_ms(subscription, "canceled_at");
        return true;
    }
    ret->status = status->ours;
    ret->period_start_ms = period_ms(subscription, item, "current_period_start");
    ret->period_end_ms = period_ms(subscription, item, "current_period_end");
    ret->canceled_ms = stripe_time_ms(subscription, "canceled_at");
    ret->cancel_at_period_end = is_ending(subscription);
    ret->past_due_ms = strcmp(ret->status, "past_due") == 0
                           ? unpaid_since_ms(subscription, ret->period_start_ms)
                           : 0;
    ret->price_id = item == NULL ? NULL : mem_string(mem, price_of(item));
    /* Whoever pays keeps the plan that they had, until somebody says which one the price is of. */
    ret->plan = plan != NULL ? plan->name : stored->plan;
    ret->stripe_id = mem_string(mem, id);
    return plan != NULL;
}

/* Choosing */

static bool is_better(const struct plans *plans, const json_t *a, const json_t *b)
{
    const struct status_row *status_a = status_of(a), *status_b = status_of(b);
    const json_t *item;
    const struct plan *plan_a = plan_of(plans, a, &item), *plan_b = plan_of(plans, b, &item);
    bool a_is_older = stripe_int(a, "created") < stripe_int(b, "created");

    if (status_a->rank != status_b->rank)
        return status_a->rank > status_b->rank;
    if (!status_a->is_live)
        return !a_is_older && stripe_int(a, "created") != stripe_int(b, "created");
    if (plan_a != plan_b)
        return plan_b == NULL ||
               (plan_a != NULL && plan_rank(plans, plan_a) > plan_rank(plans, plan_b));
    /* Who bought again while the first one runs out wants the one that goes on. */
    if (is_ending(a) != is_ending(b))
        return is_ending(b);
    return a_is_older;
}

/* The one that counts; NULL if there is none. */
static const json_t *choose(const struct plans *plans, const json_t *list)
{
    const json_t *best = NULL, *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        if (best == NULL || is_better(plans, one, best))
            best = one;
    }
    return best;
}

/* Something was bought since it began, or runs, so the trial is over for good. */
static bool ends_trial(const json_t *list, int64_t trial_start_ms)
{
    const json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        int rank = status_of(one)->rank;
        bool is_over = rank <= 1, never_began = rank == 0 || rank == 2;

        if (!never_began && (!is_over || stripe_time_ms(one, "created") > trial_start_ms))
            return true;
    }
    return false;
}

/* Asking */

/* All of the customer's subscriptions: a new array. *ret_missing: Stripe knows no such customer. */
static enum err list_all(struct task *task, struct billing *billing, const char *customer_id,
                         json_t **ret, bool *ret_missing)
{
    const char *after = NULL;
    enum err e = OK;

    *ret = json_array();
    *ret_missing = false;
    for (int i = 0; i < PAGES; i++) {
        auto_call struct stripe_call call = {.method = "GET", .path = "/v1/subscriptions"};
        struct text query = text_open(task->mem, 160);
        json_t *data;

        stripe_put(&query, "customer", customer_id);
        stripe_put(&query, "status", "all");
        stripe_put_int(&query, "limit", PAGE);
        stripe_put(&query, "expand[0]", "data.latest_invoice");
        if (after != NULL)
            stripe_put(&query, "starting_after", after);
        call.form = query.s;
        e = stripe_ask(task, billing->stripe, &call);
        *ret_missing = e == ERR_STRIPE && stripe_is_missing(&call);
        if (*ret_missing)
            return OK;
        if (e != OK)
            return e;
        data = json_object_get(call.reply, "data");
        if (!json_is_array(data))
            return fail(task, ERR_STRIPE_DOWN, "Stripe's list of subscriptions is none");
        json_array_extend(*ret, data);
        if (!json_is_true(json_object_get(call.reply, "has_more")) || json_array_size(data) == 0)
            return OK;
        after = mem_string(task->mem,
                           stripe_text(json_array_get(data, json_array_size(data) - 1), "id"));
    }
    return OK;
}

static enum err fail_stranger(struct task *task)
{
    return fail(task, ERR_STRIPE,
                "Stripe does not know what is paid for here: is STRIPE_SECRET_KEY of the right "
                "account and mode?");
}

/* A customer that was deleted, or one with whom nothing is lost, is gone. Another that Stripe does
 * not know is a wrong key of ours rather. */
static enum err look_for_customer(struct task *task, struct billing *billing,
                                  const char *customer_id, const struct subscription *stored,
                                  bool *ret_gone)
{
    auto_call struct stripe_call call = {
        .method = "GET", .path = mem_printf(task->mem, "/v1/customers/%s", customer_id)};
    enum err e = stripe_ask(task, billing->stripe, &call);
    bool is_missing = e == ERR_STRIPE && stripe_is_missing(&call);

    *ret_gone = is_missing || json_is_true(json_object_get(call.reply, "deleted"));
    if (is_missing && stored->stripe_id != NULL)
        return fail_stranger(task);
    return is_missing ? OK : e;
}

static bool has_subscription(const json_t *list, const char *id)
{
    const json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        if (strcmp(stripe_text(one, "id"), id) == 0)
            return true;
    }
    return false;
}

/* One that somebody has here is not over because a list leaves it out. */
static enum err look_for_known(struct task *task, struct billing *billing,
                               const struct subscription *stored, const char *customer_id,
                               json_t *list)
{
    auto_call struct stripe_call call = {.method = "GET", .form = "expand[0]=latest_invoice"};
    enum err e;

    if (stored->stripe_id == NULL || !stripe_is_id(stored->stripe_id, "sub_") ||
        has_subscription(list, stored->stripe_id))
        return OK;
    call.path = mem_printf(task->mem, "/v1/subscriptions/%s", stored->stripe_id);
    e = stripe_ask(task, billing->stripe, &call);
    if (e == ERR_STRIPE && stripe_is_missing(&call))
        return fail_stranger(task);
    if (e == OK && strcmp(stripe_id_of(call.reply, "customer"), customer_id) == 0)
        json_array_append(list, call.reply);
    return e;
}

static enum err read_all(struct task *task, struct billing *billing, const char *customer_id,
                         const struct subscription *stored, json_t **ret, bool *ret_gone)
{
    bool missing;
    enum err e = list_all(task, billing, customer_id, ret, &missing);

    *ret_gone = false;
    if (e == OK && missing)
        e = look_for_customer(task, billing, customer_id, stored, ret_gone);
    if (e == OK && !*ret_gone)
        e = look_for_known(task, billing, stored, customer_id, *ret);
    return e;
}

/* A second live subscription of our plans is paid for nothing. False: one is left. */
static bool end_duplicates(struct task *task, struct billing *billing, const json_t *list,
                           const json_t *kept, const char *user_id)
{
    const json_t *one, *item;
    bool all = true;
    size_t i;

    json_array_foreach(list, i, one)
    {
        const char *id = stripe_text(one, "id");
        /* Nobody is credited for what was not paid. */
        bool is_paid = status_of(one)->rank == 6;
        auto_call struct stripe_call call = {.method = "DELETE",
                                             .form = is_paid ? "prorate=true&invoice_now=true"
                                                             : "prorate=false"};

        if (one == kept || !status_of(one)->is_live || !status_of(kept)->is_live ||
            plan_of(billing->plans, one, &item) == NULL ||
            plan_of(billing->plans, kept, &item) == NULL || !stripe_is_id(id, "sub_"))
            continue;
        call.path = mem_printf(task->mem, "/v1/subscriptions/%s", id);
        if (stripe_ask(task, billing->stripe, &call) != OK && !stripe_is_missing(&call)) {
            log_error(task, "a second subscription could not be ended", LOG_S("user", user_id),
                      LOG_S("subscription", id), LOG_S("detail", task->text));
            all = false;
            continue;
        }
        metric_add(METRIC_subscriptions_healed, 1);
        log_error(task, "a second subscription was ended; what was paid for it is a credit",
                  LOG_S("user", user_id), LOG_S("subscription", id));
    }
    return all;
}

/* Taking over */

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool is_same(const struct subscription *a, const struct subscription *b)
{
    return same(a->plan, b->plan) && same(a->status, b->status) &&
           same(a->customer_id, b->customer_id) && same(a->stripe_id, b->stripe_id) &&
           same(a->price_id, b->price_id) && a->period_start_ms == b->period_start_ms &&
           a->period_end_ms == b->period_end_ms && a->canceled_ms == b->canceled_ms &&
           a->past_due_ms == b->past_due_ms && a->is_trial == b->is_trial &&
           a->cancel_at_period_end == b->cancel_at_period_end;
}

/* What is stored, as the answer says it should be. */
static bool work_out(struct task *task, const struct billing *billing, const json_t *list,
                     const char *customer_id, int64_t asked_ms, const struct subscription *stored,
                     struct subscription *ret)
{
    const json_t *chosen = choose(billing->plans, list);
    struct subscription base = *stored;
    bool known = true;

    base.customer_id = customer_id;
    base.synced_ms = asked_ms;
    base.is_trial = stored->is_trial && !ends_trial(list, stored->trial_start_ms);
    *ret = base;
    if (chosen == NULL || (base.is_trial && status_of(chosen)->rank <= 2))
        read_nothing(&base, ret, "active");
    else
        known = sync_read(billing->plans, chosen, &base, task->mem, ret);
    return known;
}

/* *ret_outdated: what is stored has changed since it was read. */
static enum err take_over(struct task *task, struct billing *billing,
                          const struct settings *settings, const struct subscription *stored,
                          const json_t *list, struct sync_outcome *ret, bool *ret_outdated)
{
    struct subscription state;
    enum subscription_applied applied;
    const struct mail *mail;
    enum err e;

    ret->result = work_out(task, billing, list, ret->customer_id, ret->asked_ms, stored, &state)
                      ? SYNC_DONE
                      : SYNC_PRICE_UNKNOWN;
    ret->differs = !is_same(stored, &state);
    ret->found = ret->is_dry ? *stored : state;
    *ret_outdated = false;
    if (ret->is_dry)
        return OK;
    mail = notice_of_change(task, billing, settings, stored, &state);
    e = store_subscription_apply(task, billing->store, &state, mail, clock_wall_ms(), &applied);
    billing_forget(billing, ret->user_id);
    *ret_outdated = e == OK && applied == APPLY_OUTDATED;
    return e;
}

static enum err unlink_gone(struct task *task, struct billing *billing, struct sync_outcome *ret)
{
    enum err e = store_customer_unlink(task, billing->store, ret->customer_id, clock_wall_ms());

    billing_forget(billing, ret->user_id);
    ret->found.customer_id = NULL;
    if (ret->found.stripe_id != NULL)
        read_nothing(&ret->found, &ret->found, "canceled");
    return e;
}

/* Once. What is stored is read before Stripe is asked, so that no older answer overtakes a newer
 * one, whatever the clocks say. */
static enum err compare(struct task *task, struct billing *billing, const struct settings *settings,
                        struct sync_outcome *ret, bool *ret_outdated)
{
    auto_json json_t *list = NULL;
    struct subscription stored;
    bool found, gone;
    enum err e = store_subscription_by_user(task, billing->store, ret->user_id, &found, &stored);

    *ret_outdated = false;
    if (e != OK)
        return e;
    ret->result = SYNC_NOBODY;
    if (!found)
        return OK;
    ret->asked_ms = clock_wall_ms();
    e = read_all(task, billing, ret->customer_id, &stored, &list, &gone);
    if (e == OK)
        e = take_over(task, billing, settings, &stored, list, ret, ret_outdated);
    if (e != OK || *ret_outdated || ret->is_dry)
        return e;
    if (gone)
        return unlink_gone(task, billing, ret);
    if (json_array_size(list) > 1)
        ret->has_duplicate = !end_duplicates(task, billing, list, choose(billing->plans, list),
                                             ret->user_id);
    return OK;
}

enum err sync_compare(struct task *task, struct billing *billing, const struct settings *settings,
                      const char *user_id, const char *customer_id, bool dry,
                      struct sync_outcome *ret)
{
    *ret = (struct sync_outcome){.user_id = user_id, .customer_id = customer_id, .is_dry = dry};
    for (int i = 0; i < APPLY_TRIES; i++) {
        bool outdated;
        enum err e = compare(task, billing, settings, ret, &outdated);

        if (e != OK || !outdated)
            return e;
    }
    return fail(task, ERR_BUSY, "the subscription changes all the time");
}

enum err sync_locked(struct task *task, struct billing *billing, const struct settings *settings,
                     const char *user_id, const char *customer_id, struct sync_outcome *ret)
{
    return sync_compare(task, billing, settings, user_id, customer_id, false, ret);
}

/* Whom it concerns */

/* The customer and the user of a subscription that Stripe knows. */
static enum err follow_subscription(struct task *task, struct billing *billing,
                                    struct sync_links *links)
{
    auto_call struct stripe_call call = {.method = "GET"};
    const char *user_id;
    enum err e;

    if (!stripe_is_id(links->subscription_id, "sub_"))
        return OK;
    call.path = mem_printf(task->mem, "/v1/subscriptions/%s", links->subscription_id);
    e = stripe_ask(task, billing->stripe, &call);
    if (e == ERR_STRIPE && stripe_is_missing(&call))
        return OK;
    if (e != OK)
        return e;
    links->customer_id = mem_string(task->mem, stripe_id_of(call.reply, "customer"));
    user_id = stripe_text(json_object_get(call.reply, "metadata"), "user_id");
    if (links->user_id == NULL && *user_id != '\0')
        links->user_id = mem_string(task->mem, user_id);
    return OK;
}

/* A customer whom nobody has yet: the user's whom a session of ours, or the customer itself, names,
 * unless that one has another. *ret_user stays NULL if there is none. */
static enum err adopt(struct task *task, struct billing *billing, const struct sync_links *links,
                      const char **ret_user, bool *ret_gone)
{
    auto_call struct stripe_call call = {
        .method = "GET", .path = mem_printf(task->mem, "/v1/customers/%s", links->customer_id)};
    const char *user_id = links->user_id, *named, *linked;
    struct subscription subscription;
    enum err e = stripe_ask(task, billing->stripe, &call);

    *ret_gone = json_is_true(json_object_get(call.reply, "deleted"));
    if (*ret_gone || (e == ERR_STRIPE && stripe_is_missing(&call)))
        return OK;
    if (e != OK)
        return e;
    named = stripe_text(json_object_get(call.reply, "metadata"), "user_id");
    if (*named != '\0')
        user_id = mem_string(task->mem, named);
    if (user_id == NULL || *user_id == '\0')
        return OK;
    e = billing_subscription(task, billing, user_id, &subscription);
    if (e == ERR_NOT_FOUND)
        return OK;
    if (e == OK)
        e = store_customer_link(task, billing->store, user_id, subscription.generation,
                                links->customer_id, clock_wall_ms(), &linked);
    billing_forget(billing, user_id);
    if (e == OK && linked != NULL && strcmp(linked, links->customer_id) == 0)
        *ret_user = user_id;
    return e;
}

static enum err find_user(struct task *task, struct billing *billing, struct sync_links *links,
                          const char **ret_user, bool *ret_gone)
{
    struct subscription subscription;
    bool found = false;
    enum err e = OK;

    *ret_user = NULL;
    *ret_gone = false;
    if (!stripe_is_id(links->customer_id, "cus_"))
        e = follow_subscription(task, billing, links);
    if (e != OK || !stripe_is_id(links->customer_id, "cus_"))
        return e;
    e = store_subscription_by_customer(task, billing->store, links->customer_id, &found,
                                       &subscription);
    if (e == OK && found)
        *ret_user = subscription.user_id;
    else if (e == OK)
        e = adopt(task, billing, links, ret_user, ret_gone);
    return e;
}

enum err sync_subscription(struct task *task, struct billing *billing,
                           const struct settings *settings, const struct sync_links *given,
                           struct sync_outcome *ret)
{
    struct sync_links links = *given;
    const char *user_id;
    bool gone;
    enum err e = find_user(task, billing, &links, &user_id, &gone);

    *ret = (struct sync_outcome){.result = gone ? SYNC_GONE : SYNC_NOBODY,
                                 .customer_id = links.customer_id};
    if (e != OK || user_id == NULL)
        return e;
    billing_lock(billing, user_id);
    e = sync_locked(task, billing, settings, user_id, links.customer_id, ret);
    billing_unlock(billing, user_id);
    return e;
}
