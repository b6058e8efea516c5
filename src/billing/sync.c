#include "billing/sync.h"

#include "billing/notice.h"
#include "billing/page.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"

#include <assert.h>
#include <string.h>

enum { APPLY_TRIES = 4 };

/* A second live subscription of our plans is paid for nothing. False: one is left. */
static bool end_duplicates(struct task *task, struct billing *billing, const json_t *ours,
                           const json_t *kept, const char *user_id)
{
    const json_t *one;
    bool all = true;
    size_t i;

    json_array_foreach(ours, i, one)
    {
        const char *id = stripe_text(one, "id");
        /* Nobody is credited for what was not paid. */
        bool is_paid = !reading_owes(one);
        auto_call struct stripe_call call = {.method = "DELETE",
                                             .form = is_paid ? "prorate=true&invoice_now=true"
                                                             : "prorate=false",
                                             .about = stripe_id_of(one, "customer")};

        if (!reading_is_duplicate(billing->plans, one, kept, user_id) || !stripe_is_id(id, "sub_"))
            continue;
        call.path = mem_printf(task->mem, "/v1/subscriptions/%s", id);
        if (stripe_ask(task, billing->stripe, &call) != OK && !stripe_is_missing(&call)) {
            log_error(task, "a second subscription could not be ended", LOG_S("user", user_id),
                      LOG_S("subscription", id), LOG_S("detail", task->text));
            all = false;
            continue;
        }
        metric_add(METRIC_subscriptions_healed, 1);
        log_error(task, "a second subscription was ended; its payment became a credit",
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
           a->anchor_ms == b->anchor_ms && a->stripe_anchor_ms == b->stripe_anchor_ms &&
           a->ends_ms == b->ends_ms && a->past_due_ms == b->past_due_ms &&
           a->unpaid_from_ms == b->unpaid_from_ms && a->is_trial == b->is_trial &&
           a->cancel_at_period_end == b->cancel_at_period_end && same(a->notes, b->notes);
}

/* What Stripe has answered about a customer. */
struct answer {
    json_t *list; /* all of their subscriptions */
    json_t *ours;
    const json_t *chosen; /* NULL: none of ours */
    struct debt debt;     /* of the chosen one */
};

static void answer_end(struct answer *answer)
{
    json_decref(answer->list);
    json_decref(answer->ours);
}
#define auto_answer __attribute__((cleanup(answer_end)))

static enum err weigh(struct task *task, struct billing *billing, const struct subscription *stored,
                      struct answer *answer)
{
    answer->ours = reading_ours(billing->plans, answer->list, stored);
    answer->chosen = reading_choose(billing->plans, answer->ours, stored);
    return answer->chosen == NULL ? OK : asking_debt(task, billing, answer->chosen, &answer->debt);
}

/* One that was bought here, by its own word or a session's, whose price stands in no plan. */
static const json_t *find_unknown(const struct billing *billing, const json_t *list,
                                  const char *user_id, const struct sync_links *links)
{
    const json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        bool is_bought = links->user_id != NULL && links->subscription_id != NULL &&
                         strcmp(links->subscription_id, stripe_text(one, "id")) == 0;

        if (reading_is_unknown_plan(billing->plans, one, user_id, is_bought))
            return one;
    }
    return NULL;
}

/* What is stored, as the answer says it should be. False: what is paid stands in no plan. */
static bool work_out(struct task *task, const struct billing *billing, const struct answer *answer,
                     const struct subscription *stored, const struct sync_outcome *outcome,
                     struct subscription *ret)
{
    struct subscription base = *stored;

    const char *none = stored->was_canceled ? "canceled" : "active";

    base.customer_id = outcome->customer_id;
    base.synced_ms = outcome->asked_ms;
    /* What others pay for somebody takes nothing away from them when it ends, no trial either. */
    if (stored->customer_is_foreign && answer->chosen != NULL &&
        !reading_gives(billing->plans, answer->chosen)) {
        reading_take_nothing(&base, none, ret);
        return true;
    }
    base.is_trial = stored->is_trial && (stored->customer_is_foreign ||
                                         !reading_ends_trial(answer->ours, stored->trial_start_ms));
    if (answer->chosen != NULL && (!base.is_trial || reading_is_live(answer->chosen)))
        return reading_take(billing->plans, answer->chosen, &answer->debt, &base, task->mem, ret);
    reading_take_nothing(&base, none, ret);
    return true;
}

/* What an event was about is a plan of another user's, whom it names. */
static const json_t *find_others(const struct billing *billing, const struct answer *answer,
                                 const struct sync_links *links, const struct subscription *stored)
{
    const json_t *one;
    size_t i;

    json_array_foreach(answer->list, i, one)
    {
        if (links->subscription_id != NULL &&
            strcmp(links->subscription_id, stripe_text(one, "id")) == 0 &&
            reading_is_anothers(billing->plans, one, stored))
            return one;
    }
    return NULL;
}

/* A live one with a plan that is another user's. */
static bool has_others(const struct billing *billing, const struct answer *answer,
                       const struct subscription *stored)
{
    const json_t *one;
    size_t i;

    json_array_foreach(answer->list, i, one)
    {
        if (reading_is_anothers(billing->plans, one, stored))
            return true;
    }
    return false;
}

/* The session's subscription gives a plan, or gave it and is over. Another plan than its own is
 * not what was bought, unless it stays in its place. */
static bool is_given(const struct billing *billing, const struct answer *answer,
                     const char *subscription_id, const struct subscription *state)
{
    const json_t *one;
    size_t i;

    bool has_plan = strcmp(state->plan, PLAN_FREE) != 0;

    if (subscription_id == NULL || (has_plan && same(state->stripe_id, subscription_id)))
        return has_plan;
    json_array_foreach(answer->ours, i, one)
    {
        if (strcmp(stripe_text(one, "id"), subscription_id) == 0)
            return reading_is_over(one) || (has_plan && reading_is_paid_plan(billing->plans, one));
    }
    return false;
}

static void tell_unknown(struct task *task, const char *user_id, const json_t *subscription)
{
    const json_t *items = json_object_get(json_object_get(subscription, "items"), "data");

    log_error(
        task,
        "the price of a paid subscription is in no plan: add it to PLANS_FILE or STRIPE_PRICE_ID_…",
        LOG_S("user", user_id), LOG_S("subscription", stripe_text(subscription, "id")),
        LOG_S("price", stripe_id_of(json_array_get(items, 0), "price")));
}

/* *ret_outdated: what is stored has changed since it was read. */
static enum err take_over(struct task *task, struct billing *billing,
                          const struct subscription *stored, const struct answer *answer,
                          const struct sync_links *links, struct sync_outcome *ret,
                          bool *ret_outdated)
{
    const json_t *unknown = find_unknown(billing, answer->list, ret->user_id, links);
    const json_t *others = find_others(billing, answer, links, stored);
    struct subscription state;
    enum subscription_applied applied;
    const struct mail *mail;
    enum err e;

    if (!work_out(task, billing, answer, stored, ret, &state))
        unknown = answer->chosen;
    ret->result = unknown == NULL ? SYNC_DONE : SYNC_PRICE_UNKNOWN;
    if (unknown != NULL)
        ret->subscription_id = mem_string(task->mem, stripe_text(unknown, "id"));
    if (others != NULL) {
        ret->result = SYNC_UNPLACED;
        ret->subscription_id = mem_string(task->mem, stripe_text(others, "id"));
        ret->named_id = mem_string(task->mem,
                                   stripe_text(json_object_get(others, "metadata"), "user_id"));
    }
    ret->has_others = has_others(billing, answer, stored);
    ret->is_given = is_given(billing, answer, links->subscription_id, &state);
    ret->differs = !is_same(stored, &state);
    ret->found = ret->is_dry ? *stored : state;
    *ret_outdated = false;
    if (ret->is_dry)
        return OK;
    if (unknown != NULL)
        tell_unknown(task, ret->user_id, unknown);
    mail = notice_of_change(task, billing, stored, &state);
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
        reading_take_nothing(
            &ret->found,
            ret->found.customer_is_foreign && !ret->found.was_canceled ? "active" : "canceled",
            &ret->found);
    ret->found.customer_is_foreign = ret->found.was_canceled = false;
    return e;
}

/* Once. What is stored is read before Stripe is asked, so that no older answer overtakes a newer
 * one, whatever the clocks say. */
static enum err compare(struct task *task, struct billing *billing, const struct sync_links *links,
                        struct sync_outcome *ret, bool *ret_outdated)
{
    auto_answer struct answer answer = {0};
    struct subscription stored;
    bool found, gone;
    enum err e = store_subscription_by_user(task, billing->store, ret->user_id, &found, &stored);

    *ret_outdated = false;
    if (e != OK)
        return e;
    ret->result = SYNC_NOBODY;
    if (!found)
        return OK;
    ret->is_moved = !same(stored.customer_id, ret->customer_id);
    if (ret->is_moved)
        return OK;
    ret->asked_ms = clock_wall_ms();
    e = asking_all(task, billing, ret->customer_id, &stored, &answer.list, &gone);
    if (e == OK)
        e = weigh(task, billing, &stored, &answer);
    if (e == OK)
        e = take_over(task, billing, &stored, &answer, links, ret, ret_outdated);
    if (e != OK || *ret_outdated || ret->is_dry)
        return e;
    if (gone)
        return unlink_gone(task, billing, ret);
    /* What others have at their own customer is not known to be for nothing. */
    if (answer.chosen != NULL && !stored.customer_is_foreign)
        ret->has_duplicate = !end_duplicates(task, billing, answer.ours, answer.chosen,
                                             ret->user_id);
    return OK;
}

static enum err compare_often(struct task *task, struct billing *billing,
                              const struct sync_links *links, struct sync_outcome *ret)
{
    for (int i = 0; i < APPLY_TRIES; i++) {
        bool outdated;
        enum err e = compare(task, billing, links, ret, &outdated);

        if (e != OK || !outdated)
            return e;
    }
    return fail(task, ERR_BUSY, "the subscription changes all the time");
}

/* Whom it concerns */

/* The customer and the user of a subscription that Stripe knows. */
static enum err follow_subscription(struct task *task, struct billing *billing,
                                    struct sync_links *links)
{
    auto_call struct stripe_call call = {.method = "GET", .about = links->customer_id};
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

/* A customer whom nobody has yet. */
struct stranger {
    const char *customer_id;
    bool is_gone, is_missing; /* deleted at Stripe; or Stripe does not know it */
    bool is_own;              /* it names the user itself, or they have proved that it is theirs */
    const char *user_id;      /* whom it names, or what is paid, or a session; NULL: nobody */
    const char *paid_id; /* a live subscription of theirs, with a price of a plan; NULL: none */
    bool is_in_order;    /* one of them owes nothing: for what is not paid nobody makes room */
    const char *others_id, *others_user_id; /* one that names somebody else, and whom; NULL: none */
    const char *unknown_id; /* one that was bought here and stands in no plan; NULL: none */
};

/* The first who is a user here. */
static enum err name_user(struct task *task, struct billing *billing, const char *user_id,
                          struct stranger *stranger)
{
    bool is_user;
    enum err e = OK;

    if (stranger->user_id == NULL)
        e = asking_user(task, billing, user_id, &is_user);
    if (e == OK && stranger->user_id == NULL && is_user)
        stranger->user_id = mem_string(task->mem, user_id);
    return e;
}

static enum err read_customer(struct task *task, struct billing *billing, struct stranger *stranger)
{
    auto_call struct stripe_call call = {0};
    enum err e = stripe_ask_customer(task, billing->stripe, stranger->customer_id, &call);

    stranger->is_gone = json_is_true(json_object_get(call.reply, "deleted"));
    if (e == ERR_STRIPE && stripe_is_missing(&call)) {
        stranger->is_missing = true;
        return OK;
    }
    if (e == OK)
        e = name_user(task, billing,
                      stripe_text(json_object_get(call.reply, "metadata"), "user_id"), stranger);
    stranger->is_own = stranger->is_own || stranger->user_id != NULL;
    return e;
}

/* What was proved once holds on, whoever has taken the customer's place meanwhile. */
static enum err read_noted(struct task *task, struct billing *billing, struct stranger *stranger)
{
    struct other_customer noted;
    bool found;
    enum err e = store_customer_other(task, billing->store, stranger->customer_id, &found, &noted);

    if (e != OK || !found || !noted.is_own)
        return e;
    e = name_user(task, billing, noted.user_id, stranger);
    stranger->is_own = stranger->is_own ||
                       (stranger->user_id != NULL && strcmp(stranger->user_id, noted.user_id) == 0);
    return e;
}

/* Of their live subscriptions with a price of a plan those count that name nobody else. */
static void weigh_stranger(struct task *task, const struct billing *billing, const json_t *list,
                           struct stranger *stranger)
{
    const json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        const char *id = stripe_text(one, "id");
        const char *named = stripe_text(json_object_get(one, "metadata"), "user_id");

        if (!reading_is_paid_plan(billing->plans, one))
            continue;
        if (stranger->user_id != NULL && *named != '\0' && strcmp(named, stranger->user_id) != 0) {
            stranger->others_id = mem_string(task->mem, id);
            stranger->others_user_id = mem_string(task->mem, named);
            continue;
        }
        stranger->paid_id = mem_string(task->mem, id);
        stranger->is_in_order = stranger->is_in_order || reading_is_in_order(billing->plans, one);
    }
}

/* Whom it names if that is not known yet: first what is paid, then the session that led here. */
static enum err read_stranger(struct task *task, struct billing *billing,
                              const struct sync_links *links, struct stranger *stranger)
{
    auto_json json_t *list = NULL;
    const json_t *one;
    bool missing;
    size_t i;
    enum err e = asking_known(task, billing, stranger->customer_id, NULL, stranger->is_own, &list,
                              &missing);

    json_array_foreach(list, i, one)
    {
        if (e == OK && reading_is_paid_plan(billing->plans, one))
            e = name_user(task, billing, stripe_text(json_object_get(one, "metadata"), "user_id"),
                          stranger);
    }
    if (e == OK && links->user_id != NULL)
        e = name_user(task, billing, links->user_id, stranger);
    if (e != OK)
        return e;
    weigh_stranger(task, billing, list, stranger);
    one = find_unknown(billing, list, stranger->user_id, links);
    stranger->unknown_id = one == NULL ? NULL : mem_string(task->mem, stripe_text(one, "id"));
    if (one != NULL && stranger->paid_id == NULL)
        tell_unknown(task, stranger->user_id, one);
    return OK;
}

/* Whether something is had by what the user's present customer pays. */
static enum err has_live(struct task *task, struct billing *billing,
                         const struct subscription *subscription, bool *ret)
{
    auto_json json_t *list = NULL;
    const json_t *one;
    bool missing;
    size_t i;
    enum err e = OK;

    *ret = false;
    if (entitlement_of(billing->plans, task->settings, subscription, clock_wall_ms()).verdict ==
        STANDING_NOT_PAID)
        return OK;
    if (subscription->customer_id != NULL)
        e = asking_known(task, billing, subscription->customer_id, subscription->stripe_id, true,
                         &list, &missing);
    json_array_foreach(list, i, one)
    {
        *ret = *ret || (reading_is_ours(billing->plans, one, subscription) &&
                        reading_gives(billing->plans, one));
    }
    return e;
}

/* *ret_noted false: the user is gone meanwhile, and with them whoever would end what is paid. */
static enum err note_other(struct task *task, struct billing *billing,
                           const struct stranger *stranger, bool *ret_noted)
{
    const struct other_customer other = {stranger->customer_id, stranger->user_id,
                                         stranger->is_own};

    return store_customer_note(task, billing->store, &other, clock_wall_ms(), ret_noted);
}

/* Of a customer who makes room no page may be paid any more. */
static enum err relink(struct task *task, struct billing *billing, const struct stranger *stranger,
                       const struct subscription *subscription)
{
    struct customer_link link = {.user_id = stranger->user_id,
                                 .generation = subscription->generation,
                                 .former = subscription->customer_id,
                                 .customer_id = stranger->customer_id,
                                 .is_foreign = !stranger->is_own,
                                 .former_is_foreign = subscription->customer_is_foreign,
                                 .now_ms = clock_wall_ms()};
    const char *linked = NULL;
    enum err e = OK;

    assert(billing_is_locked(billing, stranger->user_id));
    if (link.former != NULL)
        e = page_close_all(task, billing, link.former);
    if (e == OK)
        e = store_customer_link(task, billing->store, &link, &linked);
    billing_forget(billing, stranger->user_id);
    if (e != OK || linked == NULL || strcmp(linked, stranger->customer_id) != 0)
        return e != OK ? e : fail(task, ERR_BUSY, "the customer changes at this moment");
    if (link.former != NULL)
        log_warning(task, "a user has another customer at Stripe now",
                    LOG_S("user", stranger->user_id), LOG_S("customer", stranger->customer_id),
                    LOG_S("former", link.former));
    return OK;
}

/* Gives the stranger to the user whom it names. Under that user's lock. A customer by whom nothing
 * is had makes room, and a foreign one for one of the user's own that pays; where both give
 * otherwise, an operator has to say which one stays. */
static enum err adopt(struct task *task, struct billing *billing, const struct stranger *stranger,
                      struct sync_outcome *ret)
{
    struct subscription subscription;
    bool live = false, pays = stranger->is_in_order, is_noted = true;
    enum err e = billing_subscription(task, billing, stranger->user_id, &subscription);

    assert(billing_is_locked(billing, stranger->user_id));
    if (e == ERR_NOT_FOUND) {
        ret->result = stranger->paid_id != NULL ? SYNC_UNPLACED : SYNC_NOBODY;
        return OK;
    }
    if (e == OK && !(pays && stranger->is_own && subscription.customer_is_foreign))
        e = has_live(task, billing, &subscription, &live);
    if (e != OK)
        return e;
    if (live || (!pays && (subscription.customer_id != NULL || !stranger->is_own))) {
        if (live && pays)
            e = note_other(task, billing, stranger, &is_noted);
        ret->result = live && pays ? SYNC_PAID_TWICE : SYNC_NOBODY;
        ret->named_id = is_noted ? stranger->user_id : NULL;
        if (!is_noted)
            ret->result = SYNC_UNPLACED;
        return e;
    }
    e = relink(task, billing, stranger, &subscription);
    if (e == OK)
        ret->user_id = stranger->user_id;
    return e;
}

/* Taking another's place */

/* One by whom nothing is paid any more and that was made elsewhere is forgotten: what it buys anew
 * comes by its events. */
static enum err forget_other(struct task *task, struct billing *billing, struct stranger *stranger)
{
    const char *user_id = stranger->user_id;
    bool is_noted;
    enum err e;

    stranger->user_id = NULL;
    e = read_customer(task, billing, stranger);
    stranger->is_own = stranger->user_id != NULL && strcmp(stranger->user_id, user_id) == 0;
    stranger->user_id = user_id;
    if (e != OK || stranger->is_missing)
        return e;
    return stranger->is_own ? note_other(task, billing, stranger, &is_noted)
                            : store_customer_forget(task, billing->store, stranger->customer_id);
}

/* Whether the customer, whom the user has beside the linked one, pays for a plan of theirs. */
static enum err look_at_other(struct task *task, struct billing *billing, struct stranger *stranger)
{
    const char *user_id = stranger->user_id;
    struct sync_links links = {.customer_id = stranger->customer_id};
    struct subscription stored;
    bool is_linked = false, names_other;
    enum err e = store_subscription_by_customer(task, billing->store, stranger->customer_id,
                                                &is_linked, &stored);

    if (e != OK || is_linked) {
        stranger->is_own = false;
        return e;
    }
    e = read_stranger(task, billing, &links, stranger);
    if (e == OK && !stranger->is_own && stranger->paid_id == NULL && stranger->others_id == NULL)
        return forget_other(task, billing, stranger);
    if (e != OK || !stranger->is_in_order)
        return e;
    stranger->user_id = NULL;
    e = read_customer(task, billing, stranger);
    names_other = stranger->user_id != NULL && strcmp(stranger->user_id, user_id) != 0;
    stranger->is_in_order = !names_other && !stranger->is_gone;
    stranger->is_own = stranger->is_own && !names_other;
    stranger->user_id = user_id;
    return e;
}

static enum err compare_as(struct task *task, struct billing *billing,
                           const struct stranger *stranger, struct sync_outcome *ret)
{
    *ret = (struct sync_outcome){.user_id = stranger->user_id,
                                 .customer_id = stranger->customer_id};
    return compare_often(task, billing, &(struct sync_links){0}, ret);
}

/* Once nothing is had any more by what others pay, the user's own customer is theirs again: with
 * what it owes, and what it has credit for. */
static enum err give_back(struct task *task, struct billing *billing, struct stranger *own,
                          struct sync_outcome *ret)
{
    struct subscription subscription;
    enum err e = read_customer(task, billing, own);

    if (e == OK && own->is_gone)
        return store_customer_forget(task, billing->store, own->customer_id);
    if (e == OK && !own->is_missing)
        e = billing_subscription(task, billing, own->user_id, &subscription);
    if (e == OK && !own->is_missing)
        e = relink(task, billing, own, &subscription);
    return e != OK || own->is_missing ? e : compare_as(task, billing, own, ret);
}

/* Who has nothing by the linked customer has what another one of theirs pays. */
static enum err take_other(struct task *task, struct billing *billing, struct sync_outcome *ret)
{
    bool has_own = ret->found.customer_id != NULL && !ret->found.customer_is_foreign;
    struct stranger own = {0};
    struct other_customer *others;
    size_t count;
    enum err e = store_customers_other(task, billing->store, ret->user_id, &others, &count);

    assert(billing_is_locked(billing, ret->user_id));
    for (size_t i = 0; e == OK && i < count; i++) {
        struct stranger stranger = {.customer_id = others[i].customer_id,
                                    .user_id = ret->user_id,
                                    .is_own = others[i].is_own};
        struct sync_outcome other = {.customer_id = stranger.customer_id};

        e = look_at_other(task, billing, &stranger);
        if (e == OK && stranger.is_own && own.customer_id == NULL)
            own = stranger;
        if (e != OK || !stranger.is_in_order)
            continue;
        e = adopt(task, billing, &stranger, &other);
        if (e == OK && other.user_id != NULL)
            return compare_as(task, billing, &stranger, ret);
    }
    return e != OK || has_own || own.customer_id == NULL ? e : give_back(task, billing, &own, ret);
}

static enum err compare_until_kept(struct task *task, struct billing *billing,
                                   const struct sync_links *links, struct sync_outcome *ret)
{
    enum err e = compare_often(task, billing, links, ret);
    if (e != OK || ret->is_dry || ret->is_moved || ret->user_id == NULL ||
        ret->result != SYNC_DONE ||
        entitlement_of(billing->plans, task->settings, &ret->found, clock_wall_ms()).is_paid)
        return e;
    return take_other(task, billing, ret);
}

enum err sync_compare(struct task *task, struct billing *billing, const char *user_id,
                      const char *customer_id, bool dry, struct sync_outcome *ret)
{
    assert(billing_is_locked(billing, user_id));
    *ret = (struct sync_outcome){.user_id = user_id, .customer_id = customer_id, .is_dry = dry};
    return compare_until_kept(task, billing, &(struct sync_links){0}, ret);
}

enum err sync_locked(struct task *task, struct billing *billing, const char *user_id,
                     const char *customer_id, struct sync_outcome *ret)
{
    return sync_compare(task, billing, user_id, customer_id, false, ret);
}

/* The customer is linked to nobody: to whom it belongs, if that can be told, and then their state.
 * No e-mail address is looked at: whoever pays may give any. */
static enum err place(struct task *task, struct billing *billing, const struct sync_links *links,
                      struct sync_outcome *ret)
{
    struct stranger stranger = {.customer_id = links->customer_id};
    enum err e = read_customer(task, billing, &stranger);

    if (e == OK && !stranger.is_gone)
        e = read_noted(task, billing, &stranger);
    if (e != OK || stranger.is_gone) {
        ret->result = stranger.is_gone ? SYNC_GONE : SYNC_NOBODY;
        return e;
    }
    e = read_stranger(task, billing, links, &stranger);
    ret->subscription_id = stranger.paid_id;
    if (e == OK && stranger.paid_id == NULL && stranger.others_id != NULL) {
        ret->result = SYNC_UNPLACED;
        ret->user_id = stranger.user_id;
        ret->subscription_id = stranger.others_id;
        ret->named_id = stranger.others_user_id;
        return OK;
    }
    if (stranger.user_id == NULL)
        ret->result = stranger.paid_id != NULL ? SYNC_UNPLACED : SYNC_NOBODY;
    /* Nobody's customer is exchanged for what may be another product. */
    else if (stranger.paid_id == NULL && stranger.unknown_id != NULL && !stranger.is_own) {
        ret->result = SYNC_PRICE_UNKNOWN;
        ret->subscription_id = stranger.unknown_id;
    }
    if (e != OK || stranger.user_id == NULL || ret->result == SYNC_PRICE_UNKNOWN)
        return e;
    e = billing_lock(task, billing, stranger.user_id);
    if (e != OK)
        return e;
    e = adopt(task, billing, &stranger, ret);
    if (e == OK && ret->user_id != NULL)
        e = compare_until_kept(task, billing, links, ret);
    billing_unlock(billing, stranger.user_id);
    return e;
}

/* Once. Whose customer it is may change before that user's lock is had (`is_moved`). */
static enum err sync_customer(struct task *task, struct billing *billing,
                              const struct sync_links *links, struct sync_outcome *ret)
{
    struct subscription subscription;
    bool found = false;
    enum err e;

    *ret = (struct sync_outcome){.result = SYNC_NOBODY, .customer_id = links->customer_id};
    e = store_subscription_by_customer(task, billing->store, links->customer_id, &found,
                                       &subscription);
    if (e != OK)
        return e;
    if (!found)
        return place(task, billing, links, ret);
    ret->user_id = subscription.user_id;
    e = billing_lock(task, billing, ret->user_id);
    if (e != OK)
        return e;
    e = compare_until_kept(task, billing, links, ret);
    billing_unlock(billing, subscription.user_id);
    return e;
}

enum err sync_subscription(struct task *task, struct billing *billing,
                           const struct sync_links *given, struct sync_outcome *ret)
{
    struct sync_links links = *given;
    bool is_user = false;
    enum err e = OK;

    assert_off_loops();
    if (!stripe_is_id(links.customer_id, "cus_"))
        e = follow_subscription(task, billing, &links);
    /* Other programs put in their own names. */
    if (e == OK && links.user_id != NULL)
        e = asking_user(task, billing, links.user_id, &is_user);
    if (!is_user)
        links.user_id = NULL;
    *ret = (struct sync_outcome){.result = SYNC_NOBODY, .customer_id = links.customer_id};
    if (e != OK || !stripe_is_id(links.customer_id, "cus_"))
        return e;
    for (int i = 0; i < APPLY_TRIES; i++) {
        e = sync_customer(task, billing, &links, ret);
        if (e != OK || !ret->is_moved)
            return e;
    }
    return fail(task, ERR_BUSY, "the customer changes all the time");
}

enum err sync_keep_as_own(struct task *task, struct billing *billing,
                          const struct subscription *subscription)
{
    struct customer_link link = {.user_id = subscription->user_id,
                                 .generation = subscription->generation,
                                 .former = subscription->customer_id,
                                 .customer_id = subscription->customer_id,
                                 .now_ms = clock_wall_ms()};
    const char *linked;
    enum err e = store_customer_link(task, billing->store, &link, &linked);

    billing_forget(billing, subscription->user_id);
    return e;
}

/* Theirs already: now an operator says that it is their own. */
static enum err keep_linked(struct task *task, struct billing *billing, const char *customer_id,
                            struct sync_outcome *ret)
{
    struct subscription subscription;
    bool found;
    enum err e = store_subscription_by_customer(task, billing->store, customer_id, &found,
                                                &subscription);

    if (e == OK && !found)
        return fail(task, ERR_BUSY, "the customer changes at this moment");
    if (e == OK && subscription.customer_is_foreign)
        e = sync_keep_as_own(task, billing, &subscription);
    if (e == OK)
        ret->user_id = subscription.user_id;
    return e;
}

enum err sync_is_gone(struct task *task, struct billing *billing, const char *customer_id,
                      bool *ret)
{
    struct stranger stranger = {.customer_id = customer_id};
    enum err e = read_customer(task, billing, &stranger);

    assert_off_loops();
    *ret = stranger.is_gone || stranger.is_missing;
    return e;
}

enum err sync_link(struct task *task, struct billing *billing, const char *user_id,
                   const char *customer_id, struct sync_outcome *ret)
{
    struct stranger stranger = {.customer_id = customer_id};
    struct sync_links links = {.customer_id = customer_id};
    struct subscription subscription;
    bool found;
    enum err e;

    assert_off_loops();
    *ret = (struct sync_outcome){.result = SYNC_NOBODY, .customer_id = customer_id};
    if (!stripe_is_id(customer_id, "cus_"))
        return fail(task, ERR_INVALID, "give the id of a customer at Stripe, such as cus_A1b2");
    e = store_subscription_by_customer(task, billing->store, customer_id, &found, &subscription);
    if (e == OK && found && strcmp(subscription.user_id, user_id) != 0)
        return fail(
            task, ERR_CONFLICT,
            mem_printf(task->mem, "this customer is that of the user %s", subscription.user_id));
    if (e == OK)
        e = read_customer(task, billing, &stranger);
    if (e == OK && (stranger.is_gone || stranger.is_missing))
        return fail(task, ERR_NOT_FOUND,
                    stranger.is_gone ? "this customer is deleted at Stripe"
                                     : "Stripe knows no such customer");
    stranger.user_id = user_id;
    stranger.is_own = true;
    if (e == OK)
        e = read_stranger(task, billing, &links, &stranger);
    if (e != OK)
        return e;
    e = billing_lock(task, billing, user_id);
    if (e != OK)
        return e;
    if (found)
        e = keep_linked(task, billing, customer_id, ret);
    else
        e = adopt(task, billing, &stranger, ret);
    if (e == OK && ret->user_id != NULL)
        e = compare_until_kept(task, billing, &links, ret);
    billing_unlock(billing, user_id);
    return e;
}
