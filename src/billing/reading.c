#include "billing/reading.h"

#include <string.h>

/* Statuses */

struct status_row {
    const char *stripe, *ours;
    int rank; /* which one counts, of several */
    bool is_live;
    bool never_began; /* as if it had never been */
};

/* What is paid comes before what is tried. */
enum { OVER = 1, INCOMPLETE = 2, PAUSED = 3, TRIED = 6, PAID = 7 };

static const struct status_row rows[] = {
    {"active", "active", PAID, .is_live = true},
    {"trialing", "trialing", TRIED, .is_live = true},
    {"past_due", "past_due", 5, .is_live = true},
    {"unpaid", "unpaid", 4},
    {"paused", "canceled", PAUSED},
    {"incomplete", "incomplete", INCOMPLETE, .never_began = true},
    {"canceled", "canceled", OVER},
    {"incomplete_expired", "canceled", 0, .never_began = true},
};

static const struct status_row *status_row(const char *status)
{
    /* What is new grants nothing. */
    static const struct status_row unknown = {"", "incomplete", INCOMPLETE};

    for (size_t i = 0; i < count_of(rows); i++) {
        if (strcmp(rows[i].stripe, status) == 0)
            return &rows[i];
    }
    return &unknown;
}

static bool is_voiding(const json_t *subscription)
{
    const json_t *pause = json_object_get(subscription, "pause_collection");

    return strcmp(stripe_text(pause, "behavior"), "void") == 0;
}

/* What is voided is not paid: from the end of what was, it is paused whatever its status says. */
static bool is_void_now(const json_t *subscription)
{
    const json_t *invoice = json_object_get(subscription, "latest_invoice");
    const char *status = stripe_text(invoice, "status");

    /* One for a change within a period that was paid says nothing of the period. */
    return is_voiding(subscription) && *status != '\0' && strcmp(status, "paid") != 0 &&
           strcmp(status, "open") != 0 &&
           strcmp(stripe_text(invoice, "billing_reason"), "subscription_update") != 0;
}

static bool is_owed(const json_t *invoice, const char *status)
{
    return strcmp(stripe_text(invoice, "status"), status) == 0 &&
           stripe_int(invoice, "amount_remaining") > 0;
}

static const struct status_row *status_of(const json_t *subscription)
{
    const struct status_row *row = status_row(stripe_text(subscription, "status"));

    return row->rank >= TRIED && is_void_now(subscription) ? status_row("paused") : row;
}

/* Items and plans */

static const json_t *items_of(const json_t *subscription)
{
    return json_object_get(json_object_get(subscription, "items"), "data");
}

static const char *price_of(const json_t *item)
{
    const char *price = stripe_id_of(item, "price");

    return *price != '\0' ? price : stripe_id_of(item, "plan");
}

/* Metered prices have no quantity; none of something is nothing. */
static int64_t quantity_of(const json_t *item)
{
    return json_is_integer(json_object_get(item, "quantity")) ? stripe_int(item, "quantity") : 1;
}

static bool is_stored(const json_t *subscription, const struct subscription *stored)
{
    return stored->stripe_id != NULL &&
           strcmp(stored->stripe_id, stripe_text(subscription, "id")) == 0;
}

static bool is_text(const char *text, const char *stored)
{
    return stored != NULL && strcmp(text, stored) == 0;
}

/* By which somebody keeps the plan that they had, while its price stands in no plan: the one that
 * was the plan, by its price or, if that was changed, by its id. One that is left alone when the
 * plan's was taken out is none. NULL: there is none. */
static const json_t *kept_item(const json_t *subscription, const struct subscription *stored)
{
    const json_t *items = items_of(subscription), *item, *found = NULL;
    size_t i;

    if (stored == NULL || strcmp(stored->plan, PLAN_FREE) == 0 || !is_stored(subscription, stored))
        return NULL;
    json_array_foreach(items, i, item)
    {
        /* Which one it was is not known of what was stored before that was. */
        bool is_only = stored->item_id == NULL && json_array_size(items) == 1;

        if (quantity_of(item) == 0)
            continue;
        if (is_text(price_of(item), stored->price_id))
            return item;
        if (is_only || is_text(stripe_text(item, "id"), stored->item_id))
            found = item;
    }
    return found;
}

const json_t *reading_plan_item(const struct plans *plans, const json_t *subscription,
                                const struct subscription *stored, const struct plan **ret_plan)
{
    const json_t *items = items_of(subscription), *item;
    const json_t *found = kept_item(subscription, stored);
    size_t i;

    *ret_plan = NULL;
    json_array_foreach(items, i, item)
    {
        const struct plan *plan = plans_by_price(plans, price_of(item));

        if (plan == NULL || quantity_of(item) == 0)
            continue;
        if (*ret_plan == NULL || plan_rank(plans, plan) > plan_rank(plans, *ret_plan)) {
            *ret_plan = plan;
            found = item;
        }
    }
    return found;
}

static const struct plan *plan_of(const struct plans *plans, const json_t *subscription)
{
    const struct plan *plan;

    (void)reading_plan_item(plans, subscription, NULL, &plan);
    return plan;
}

/* Whatever its quantity. */
static bool has_plan_price(const struct plans *plans, const json_t *subscription)
{
    const json_t *items = items_of(subscription), *item;
    size_t i;

    json_array_foreach(items, i, item)
    {
        if (plans_by_price(plans, price_of(item)) != NULL)
            return true;
    }
    return false;
}

static bool names_another(const json_t *subscription, const char *user_id)
{
    const char *named = stripe_text(json_object_get(subscription, "metadata"), "user_id");

    return *named != '\0' && user_id != NULL && strcmp(named, user_id) != 0;
}

bool reading_is_ours(const struct plans *plans, const json_t *subscription,
                     const struct subscription *stored)
{
    /* One that is somebody else's is theirs, on whosever customer it is. */
    if (has_plan_price(plans, subscription))
        return stored == NULL || !names_another(subscription, stored->user_id) ||
               is_stored(subscription, stored);
    return stored != NULL && strcmp(stored->plan, PLAN_FREE) != 0 &&
           is_stored(subscription, stored);
}

bool reading_is_unknown_plan(const struct plans *plans, const json_t *subscription,
                             const char *user_id, bool is_bought)
{
    const json_t *metadata = json_object_get(subscription, "metadata");
    bool is_ours = user_id != NULL && strcmp(stripe_text(metadata, "user_id"), user_id) == 0 &&
                   *stripe_text(metadata, "plan") != '\0';

    return reading_is_live(subscription) && !has_plan_price(plans, subscription) &&
           (is_bought || is_ours);
}

bool reading_is_live(const json_t *subscription)
{
    return status_of(subscription)->rank >= PAUSED;
}

bool reading_is_paid_plan(const struct plans *plans, const json_t *subscription)
{
    return reading_is_live(subscription) && plan_of(plans, subscription) != NULL;
}

bool reading_is_anothers(const struct plans *plans, const json_t *subscription,
                         const struct subscription *stored)
{
    return reading_is_paid_plan(plans, subscription) &&
           names_another(subscription, stored->user_id);
}

bool reading_gives(const struct plans *plans, const json_t *subscription)
{
    return status_of(subscription)->is_live &&
           (plan_of(plans, subscription) != NULL || !has_plan_price(plans, subscription));
}

bool reading_is_in_order(const struct plans *plans, const json_t *subscription)
{
    return status_of(subscription)->rank >= TRIED && plan_of(plans, subscription) != NULL;
}

bool reading_owes(const json_t *subscription)
{
    const json_t *invoice = json_object_get(subscription, "latest_invoice");

    return strcmp(stripe_text(subscription, "status"), "past_due") == 0 ||
           is_owed(invoice, "open") || is_owed(invoice, "uncollectible");
}

bool reading_is_paused(const json_t *subscription)
{
    return strcmp(stripe_text(subscription, "status"), "paused") == 0;
}

bool reading_is_over(const json_t *subscription)
{
    return status_of(subscription)->rank == OVER;
}

bool reading_is_final(const json_t *subscription)
{
    return status_of(subscription)->rank <= OVER;
}

json_t *reading_ours(const struct plans *plans, const json_t *list,
                     const struct subscription *stored)
{
    json_t *ours = json_array(), *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        if (reading_is_ours(plans, one, stored))
            json_array_append(ours, one);
    }
    return ours;
}

/* Times */

/* On the item since 2025-03-31, on the subscription before. */
static int64_t period_ms(const json_t *subscription, const json_t *item, const char *name)
{
    int64_t at_ms = stripe_time_ms(item, name);

    return at_ms != 0 ? at_ms : stripe_time_ms(subscription, name);
}

int64_t reading_last_end_ms(const json_t *subscription)
{
    const json_t *items = items_of(subscription), *item;
    int64_t last_ms = stripe_time_ms(subscription, "current_period_end");
    size_t i;

    json_array_foreach(items, i, item)
    {
        int64_t end_ms = stripe_time_ms(item, "current_period_end");

        last_ms = end_ms > last_ms ? end_ms : last_ms;
    }
    return last_ms;
}

static bool is_flagged(const json_t *subscription)
{
    return json_is_true(json_object_get(subscription, "cancel_at_period_end"));
}

int64_t reading_period_end_ms(const json_t *subscription, const json_t *item)
{
    int64_t at_ms = period_ms(subscription, item, "current_period_end");

    return at_ms != 0 ? at_ms : reading_last_end_ms(subscription);
}

/* By the flag alone a subscription ends with its longest period. */
static int64_t asked_end_ms(const json_t *subscription)
{
    int64_t at_ms = stripe_time_ms(subscription, "cancel_at");

    return at_ms == 0 && is_flagged(subscription) ? reading_last_end_ms(subscription) : at_ms;
}

bool reading_ends_with_period(const json_t *subscription, const json_t *item)
{
    int64_t at_ms = asked_end_ms(subscription);

    return at_ms == 0 ? is_flagged(subscription)
                      : at_ms <= reading_period_end_ms(subscription, item);
}

int64_t reading_ends_ms(const json_t *subscription)
{
    int64_t at_ms = asked_end_ms(subscription), end_ms = reading_last_end_ms(subscription);
    const json_t *pause = json_object_get(subscription, "pause_collection");
    int64_t resumes_ms = stripe_time_ms(pause, "resumes_at");

    /* The present period is not paid: access ended with the one before. */
    if (is_void_now(subscription))
        return period_ms(subscription, json_array_get(items_of(subscription), 0),
                         "current_period_start");
    /* What was paid is had; the next period is not paid, unless the pause ends before it. */
    if (is_voiding(subscription) && end_ms != 0 && (resumes_ms == 0 || resumes_ms > end_ms) &&
        (at_ms == 0 || at_ms > end_ms))
        at_ms = end_ms;
    return at_ms;
}

/* Debts */

/* When it was paid, or given up by who sent it; 0: it was not. */
static int64_t settled_ms(const json_t *invoice)
{
    static const char *const ways[][2] = {
        {"paid", "paid_at"}, {"void", "voided_at"}, {"uncollectible", "marked_uncollectible_at"}};
    const json_t *times = json_object_get(invoice, "status_transitions");
    int64_t at_ms = 0;

    for (size_t i = 0; i < count_of(ways); i++) {
        if (strcmp(stripe_text(invoice, "status"), ways[i][0]) == 0)
            at_ms = stripe_time_ms(times, ways[i][1]);
    }
    return at_ms;
}

static int64_t due_ms(const json_t *invoice)
{
    int64_t at_ms = stripe_time_ms(invoice, "due_date");

    if (at_ms == 0)
        at_ms = stripe_time_ms(json_object_get(invoice, "status_transitions"), "finalized_at");
    return at_ms != 0 ? at_ms : stripe_time_ms(invoice, "created");
}

static int64_t service_ms(const json_t *invoice)
{
    const json_t *lines = json_object_get(json_object_get(invoice, "lines"), "data"), *line;
    int64_t first_ms = 0;
    size_t i;

    json_array_foreach(lines, i, line)
    {
        int64_t start_ms = stripe_time_ms(json_object_get(line, "period"), "start");

        if (start_ms != 0 && stripe_int(line, "amount") > 0 &&
            (first_ms == 0 || start_ms < first_ms))
            first_ms = start_ms;
    }
    return first_ms;
}

/* The plan that an invoice for a switch gives credit for, and until when that was paid. NULL: it is
 * for no switch. */
static const struct plan *plan_credited(const struct plans *plans, const json_t *invoice,
                                        int64_t *ret_until_ms)
{
    const json_t *lines = json_object_get(json_object_get(invoice, "lines"), "data"), *line;
    const struct plan *found = NULL;
    size_t i;

    if (strcmp(stripe_text(invoice, "billing_reason"), "subscription_update") != 0)
        return NULL;
    json_array_foreach(lines, i, line)
    {
        const json_t *pricing = json_object_get(json_object_get(line, "pricing"), "price_details");
        const char *price_id = price_of(*stripe_id_of(pricing, "price") != '\0' ? pricing : line);
        const struct plan *plan = plans_by_price(plans, price_id);

        if (stripe_int(line, "amount") >= 0 || plan == NULL ||
            (found != NULL && plan_rank(plans, plan) <= plan_rank(plans, found)))
            continue;
        found = plan;
        *ret_until_ms = stripe_time_ms(json_object_get(line, "period"), "end");
    }
    return found;
}

/* What was paid before a switch is had to its end, whatever becomes of the switch. */
static void add_invoice(const struct plans *plans, const json_t *invoice, struct debt *debt)
{
    int64_t at_ms = due_ms(invoice), from_ms = service_ms(invoice), until_ms = 0;
    const struct plan *before = plan_credited(plans, invoice, &until_ms);

    if (before != NULL)
        debt->plan_before = before; /* the oldest comes last */
    if (until_ms > at_ms)
        at_ms = from_ms = until_ms;
    if (debt->due_ms == 0 || at_ms < debt->due_ms)
        debt->due_ms = at_ms;
    if (from_ms != 0 && (debt->service_ms == 0 || from_ms < debt->service_ms))
        debt->service_ms = from_ms;
}

/* Stripe makes a subscription active again with its newest invoice, whatever older ones are open
 * still: what was due before a newer one was settled is no part of the present debt. */
static void add_debt(const struct plans *plans, const json_t *invoices, const char *status,
                     struct debt *debt)
{
    const json_t *invoice;
    int64_t over_ms = 0;
    size_t i;

    json_array_foreach(invoices, i, invoice)
    {
        if (is_owed(invoice, status) && due_ms(invoice) > over_ms)
            add_invoice(plans, invoice, debt);
        if (settled_ms(invoice) > over_ms)
            over_ms = settled_ms(invoice);
    }
}

void reading_debt(const struct plans *plans, const json_t *invoices, struct debt *debt)
{
    *debt = (struct debt){0};
    add_debt(plans, invoices, "open", debt);
    if (debt->due_ms == 0)
        add_debt(plans, invoices, "uncollectible", debt);
}

/* Choosing */

/* Something is had from it, or would be if it were paid. */
static bool gives(const struct plans *plans, const json_t *subscription,
                  const struct subscription *stored)
{
    const struct status_row *status = status_of(subscription);
    const struct plan *plan;

    return status->rank > OVER && !status->never_began &&
           reading_plan_item(plans, subscription, stored, &plan) != NULL;
}

static bool is_better(const struct plans *plans, const json_t *a, const json_t *b,
                      const struct subscription *stored)
{
    const struct status_row *status_a = status_of(a), *status_b = status_of(b);
    const struct plan *plan_a = plan_of(plans, a), *plan_b = plan_of(plans, b);
    bool ends_a = reading_ends_ms(a) != 0, ends_b = reading_ends_ms(b) != 0;
    int64_t created_a = stripe_int(a, "created"), created_b = stripe_int(b, "created");
    bool gives_a = gives(plans, a, stored), gives_b = gives(plans, b, stored);

    if (gives_a != gives_b)
        return gives_a;
    if (status_a->never_began != status_b->never_began)
        return status_b->never_began;
    if (status_a->rank != status_b->rank)
        return status_a->rank > status_b->rank;
    if (!status_a->is_live && created_a != created_b)
        return created_a > created_b;
    if (status_a->is_live && plan_a != plan_b)
        return plan_b == NULL ||
               (plan_a != NULL && plan_rank(plans, plan_a) > plan_rank(plans, plan_b));
    /* Who bought again while the first one runs out wants the one that goes on. */
    if (status_a->is_live && ends_a != ends_b)
        return ends_b;
    if (created_a != created_b)
        return created_a < created_b;
    /* Whatever the order in which they are listed. */
    return strcmp(stripe_text(a, "id"), stripe_text(b, "id")) < 0;
}

const json_t *reading_choose(const struct plans *plans, const json_t *ours,
                             const struct subscription *stored)
{
    const json_t *best = NULL, *one;
    size_t i;

    json_array_foreach(ours, i, one)
    {
        if (best == NULL || is_better(plans, one, best, stored))
            best = one;
    }
    return best;
}

bool reading_is_duplicate(const struct plans *plans, const json_t *subscription,
                          const json_t *chosen, const char *user_id)
{
    return !names_another(subscription, user_id) &&
           strcmp(stripe_text(subscription, "id"), stripe_text(chosen, "id")) != 0 &&
           status_of(subscription)->is_live && status_of(chosen)->is_live &&
           plan_of(plans, subscription) != NULL && plan_of(plans, chosen) != NULL;
}

bool reading_ends_trial(const json_t *ours, int64_t trial_start_ms)
{
    const json_t *one;
    size_t i;

    json_array_foreach(ours, i, one)
    {
        int rank = status_of(one)->rank;
        bool is_over = rank <= OVER, never_began = rank == 0 || rank == INCOMPLETE;

        if (!never_began && (!is_over || stripe_time_ms(one, "created") > trial_start_ms))
            return true;
    }
    return false;
}

/* Taking over */

struct taking {
    const json_t *subscription, *item;
    const struct debt *debt;
    void *mem;
    struct text notes;
    struct subscription *ret;
};

static void note(struct taking *t, const char *format, ...) printf_like(2, 3);

static void note(struct taking *t, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    text_printf(&t->notes, "%s%s", t->notes.len == 0 ? "" : "; ",
                talloc_vasprintf(t->mem, format, arguments));
    va_end(arguments);
}

static void take_end(struct taking *t)
{
    t->ret->ends_ms = reading_ends_ms(t->subscription);
    t->ret->cancel_at_period_end = reading_ends_with_period(t->subscription, t->item);
}

static void take_debt(struct taking *t)
{
    bool owes = strcmp(t->ret->status, "past_due") == 0;

    t->ret->past_due_ms = owes ? t->debt->due_ms : 0;
    t->ret->unpaid_from_ms = owes ? t->debt->service_ms : 0;
}

static void take_pause(struct taking *t)
{
    const char *behavior = stripe_text(json_object_get(t->subscription, "pause_collection"),
                                       "behavior");

    if (*behavior != '\0')
        note(t, "collection is paused (%s)", behavior);
}

static void take_schedule(struct taking *t)
{
    const char *id = stripe_id_of(t->subscription, "schedule");

    if (*id != '\0')
        note(t, "follows the schedule %s", id);
}

static void take_pending(struct taking *t)
{
    if (json_is_object(json_object_get(t->subscription, "pending_update")))
        note(t, "a change waits for its payment");
}

static void take_quantity(struct taking *t)
{
    int64_t quantity = quantity_of(t->item);
    size_t others = json_array_size(items_of(t->subscription));

    if (quantity != 1)
        note(t, "quantity %lld", (long long)quantity);
    if (others > 1)
        note(t, "%zu other items", others - 1);
}

static void take_collection(struct taking *t)
{
    if (strcmp(stripe_text(t->subscription, "collection_method"), "send_invoice") == 0)
        note(t, "invoices are sent, due in %lld days",
             (long long)stripe_int(t->subscription, "days_until_due"));
}

/* Everything beside the status that changes what `active` means, or that an operator should see. */
static const struct field {
    const char *name; /* Stripe's */
    void (*take)(struct taking *t);
} fields[] = {
    {"cancel_at, cancel_at_period_end", take_end},
    {"latest_invoice", take_debt},
    {"pause_collection", take_pause},
    {"schedule", take_schedule},
    {"pending_update", take_pending},
    {"items", take_quantity},
    {"collection_method", take_collection},
};

void reading_take_nothing(const struct subscription *stored, const char *status,
                          struct subscription *ret)
{
    *ret = *stored;
    ret->plan = PLAN_FREE;
    ret->status = status;
    if (strcmp(status, "active") == 0 && stored->is_trial)
        ret->status = "trialing";
    /* Who had a plan that is over is no new one for that nothing is left of it. */
    else if (strcmp(status, "active") == 0 && strcmp(stored->plan, PLAN_FREE) == 0 &&
             strcmp(stored->status, "canceled") == 0)
        ret->status = "canceled";
    ret->stripe_id = ret->price_id = ret->item_id = ret->notes = NULL;
    ret->period_start_ms = ret->period_end_ms = ret->canceled_ms = 0;
    ret->anchor_ms = ret->stripe_anchor_ms = 0;
    ret->ends_ms = ret->past_due_ms = ret->unpaid_from_ms = 0;
    ret->cancel_at_period_end = false;
}

/* A switch to a price of another interval makes Stripe turn its periods anew. Months are counted on
 * from where they were, or there would be fresh runs with each switch. Call it before the price and
 * the subscription are taken over. */
static void take_anchor(const json_t *subscription, const char *price_id,
                        const struct subscription *stored, struct subscription *ret)
{
    bool is_same = is_stored(subscription, stored);
    bool is_switch = stored->price_id != NULL && strcmp(stored->price_id, price_id) != 0;

    ret->stripe_anchor_ms = stripe_time_ms(subscription, "billing_cycle_anchor");
    if (is_same && stored->anchor_ms != 0 && stored->anchor_ms <= stored->synced_ms &&
        (is_switch || stored->stripe_anchor_ms == ret->stripe_anchor_ms))
        ret->anchor_ms = stored->anchor_ms;
    else
        ret->anchor_ms = ret->stripe_anchor_ms;
}

/* Of a plan that is bought none times, or was taken out. If it is bought again months are counted
 * on from where they were. */
static void take_none(const struct plans *plans, const json_t *subscription,
                      const struct subscription *stored, struct subscription *ret)
{
    reading_take_nothing(stored, "canceled", ret);
    if (!is_stored(subscription, stored) || !has_plan_price(plans, subscription))
        return;
    ret->stripe_id = stored->stripe_id;
    ret->price_id = stored->price_id;
    ret->item_id = stored->item_id;
    ret->anchor_ms = stored->anchor_ms;
    ret->stripe_anchor_ms = stored->stripe_anchor_ms;
}

/* A larger plan is had once it is paid. */
static bool is_switch_owed(const struct plans *plans, const struct plan *plan,
                           const struct subscription *state, const struct debt *debt)
{
    return strcmp(state->status, "past_due") == 0 && debt->plan_before != NULL &&
           plan_rank(plans, debt->plan_before) < plan_rank(plans, plan);
}

bool reading_take(const struct plans *plans, const json_t *subscription, const struct debt *debt,
                  const struct subscription *stored, void *mem, struct subscription *ret)
{
    const struct status_row *status = status_of(subscription);
    const struct plan *plan;
    const json_t *item = reading_plan_item(plans, subscription, stored, &plan);
    struct taking t = {subscription, item, debt, mem, text_open(mem, 64), ret};
    int64_t ended_ms = stripe_time_ms(subscription, "ended_at");

    if (status->never_began) {
        reading_take_nothing(stored, "active", ret);
        return true;
    }
    if (status->rank == OVER) {
        reading_take_nothing(stored, "canceled", ret);
        ret->canceled_ms = ended_ms != 0 ? ended_ms : stripe_time_ms(subscription, "canceled_at");
        return true;
    }
    if (item == NULL) {
        take_none(plans, subscription, stored, ret);
        return true;
    }
    *ret = *stored;
    ret->status = status->ours;
    /* Whoever pays keeps the plan that they had, until somebody says which one the price is of. */
    ret->plan = plan != NULL ? plan->name : stored->plan;
    if (plan != NULL && is_switch_owed(plans, plan, ret, debt))
        ret->plan = debt->plan_before->name;
    take_anchor(subscription, price_of(item), stored, ret);
    ret->stripe_id = mem_string(mem, stripe_text(subscription, "id"));
    ret->price_id = mem_string(mem, price_of(item));
    ret->item_id = mem_string(mem, stripe_text(item, "id"));
    ret->period_start_ms = period_ms(subscription, item, "current_period_start");
    ret->period_end_ms = period_ms(subscription, item, "current_period_end");
    ret->canceled_ms = stripe_time_ms(subscription, "canceled_at");
    for (size_t i = 0; i < count_of(fields); i++)
        fields[i].take(&t);
    ret->notes = t.notes.len == 0 ? NULL : t.notes.s;
    return plan != NULL;
}
