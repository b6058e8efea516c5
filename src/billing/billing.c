#include "billing/billing.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "core/loop.h"
#include "core/metrics.h"

#include <assert.h>
#include <string.h>
#include <time.h>

enum { CONSUME_TRIES = 4, LOCK_MS = 1000, LONGEST_MS = 30000 };

#define DAY_MS INT64_C(86400000)

/* A row of the cache, found by the user's id. */
struct remembered {
    const char *user_id;
    struct subscription subscription;
};

static const char *append(char **at, const char *text)
{
    size_t size = text == NULL ? 0 : strlen(text) + 1;
    char *copy = text == NULL ? NULL : memcpy(*at, text, size);

    *at += size;
    return copy;
}

static size_t size_of(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

static void *copy_remembered(void *mem, const void *record)
{
    const struct subscription *from = &((const struct remembered *)record)->subscription;
    struct remembered *copy = mem_zero(mem, sizeof *copy + size_of(from->user_id) +
                                                size_of(from->plan) + size_of(from->status) +
                                                size_of(from->gift_plan));
    struct subscription *to = &copy->subscription;
    char *at = (char *)(copy + 1);

    *to = *from;
    to->user_id = copy->user_id = append(&at, from->user_id);
    to->plan = append(&at, from->plan);
    to->status = append(&at, from->status);
    to->gift_plan = append(&at, from->gift_plan);
    to->id = to->customer_id = to->stripe_id = to->price_id = to->notes = NULL;
    return copy;
}

static int close_billing(struct billing *billing)
{
    pthread_cond_destroy(&billing->released);
    pthread_mutex_destroy(&billing->lock);
    return 0;
}

static void open_locks(struct billing *billing)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&billing->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&billing->released, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

struct billing *billing_open(void *mem, struct store *store, const struct settings *settings,
                             const struct plans *plans)
{
    struct billing *billing = mem_new(mem, struct billing);

    billing->store = store;
    billing->plans = plans;
    billing->stripe = stripe_open(billing, settings);
    open_locks(billing);
    for (size_t i = 0; i < BILLING_HELD; i++)
        billing->held_runs[i] = -1;
    talloc_set_destructor(billing, close_billing);
    billing->subscriptions = cache_open(billing, copy_remembered);
    return billing;
}

/* A free place for the user. NULL: the user is locked, or all places are taken. */
static const char **free_place(struct billing *billing, const char *user_id)
{
    const char **place = NULL;

    for (size_t i = 0; i < BILLING_HELD; i++) {
        if (billing->held[i] == NULL)
            place = &billing->held[i];
        else if (strcmp(billing->held[i], user_id) == 0)
            return NULL;
    }
    return place;
}

static bool lock_until(struct billing *billing, const char *user_id, int64_t until_ms)
{
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    const char **place;
    int waited = 0;

    pthread_mutex_lock(&billing->lock);
    while ((place = free_place(billing, user_id)) == NULL && waited == 0)
        waited = pthread_cond_timedwait(&billing->released, &billing->lock, &until);
    if (place != NULL)
        *place = user_id;
    pthread_mutex_unlock(&billing->lock);
    return place != NULL;
}

enum err billing_lock(struct task *task, struct billing *billing, const char *user_id)
{
    int64_t until_ms = task->deadline_ms == 0 ? clock_mono_ms() + LONGEST_MS : task->deadline_ms;

    assert_off_loops();
    return lock_until(billing, user_id, until_ms)
               ? OK
               : fail(task, ERR_BUSY, "somebody else asks Stripe about this user");
}

bool billing_lock_soon(struct billing *billing, const char *user_id)
{
    assert_off_loops();
    return lock_until(billing, user_id, clock_mono_ms() + LOCK_MS);
}

static bool is_held(const struct billing *billing, size_t i, const char *user_id)
{
    return billing->held[i] != NULL && strcmp(billing->held[i], user_id) == 0;
}

static void set_runs(struct billing *billing, size_t i, int64_t runs)
{
    assert(billing->held[i] != NULL || runs < 0);
    atomic_fetch_add(&billing->holding, (runs >= 0) - (billing->held_runs[i] >= 0));
    billing->held_runs[i] = runs;
}

void billing_unlock(struct billing *billing, const char *user_id)
{
    assert(billing_is_locked(billing, user_id));
    pthread_mutex_lock(&billing->lock);
    for (size_t i = 0; i < BILLING_HELD; i++) {
        if (!is_held(billing, i, user_id))
            continue;
        billing->held[i] = NULL;
        set_runs(billing, i, -1);
    }
    pthread_cond_broadcast(&billing->released);
    pthread_mutex_unlock(&billing->lock);
}

bool billing_is_locked(struct billing *billing, const char *user_id)
{
    bool locked = false;

    pthread_mutex_lock(&billing->lock);
    for (size_t i = 0; i < BILLING_HELD && !locked; i++)
        locked = is_held(billing, i, user_id);
    pthread_mutex_unlock(&billing->lock);
    return locked;
}

void billing_hold_runs(struct billing *billing, const char *user_id, int64_t runs)
{
    assert(billing_is_locked(billing, user_id));
    pthread_mutex_lock(&billing->lock);
    for (size_t i = 0; i < BILLING_HELD; i++) {
        if (is_held(billing, i, user_id))
            set_runs(billing, i, runs);
    }
    pthread_mutex_unlock(&billing->lock);
}

/* Lowers the limit to the runs that a change of plan under way allows (billing_hold_runs()). */
static void apply_hold(struct billing *billing, const char *user_id,
                       struct entitlement *entitlement)
{
    int64_t runs = -1;

    assert(entitlement->verdict == STANDING_GOOD);
    if (atomic_load(&billing->holding) == 0)
        return;
    pthread_mutex_lock(&billing->lock);
    for (size_t i = 0; i < BILLING_HELD; i++) {
        if (is_held(billing, i, user_id))
            runs = billing->held_runs[i];
    }
    pthread_mutex_unlock(&billing->lock);
    if (runs < 0 || (entitlement->limit >= 0 && entitlement->limit <= runs))
        return;
    entitlement->limit = runs;
    if (entitlement->used >= runs)
        entitlement->verdict = STANDING_EXHAUSTED;
}

bool billing_enter(struct billing *billing, const char *user_id)
{
    const char **place = NULL;
    unsigned count = 0;

    pthread_mutex_lock(&billing->lock);
    for (size_t i = 0; i < BILLING_HELD; i++) {
        if (billing->asking[i] == NULL)
            place = &billing->asking[i];
        else if (strcmp(billing->asking[i], user_id) == 0)
            count++;
    }
    if (count == BILLING_ASKED)
        place = NULL;
    if (place != NULL)
        *place = user_id;
    pthread_mutex_unlock(&billing->lock);
    return place != NULL;
}

void billing_leave(struct billing *billing, const char *user_id)
{
    unsigned left = 0;

    pthread_mutex_lock(&billing->lock);
    for (size_t i = 0; i < BILLING_HELD; i++) {
        if (billing->asking[i] != user_id)
            continue;
        billing->asking[i] = NULL;
        left++;
    }
    assert(left == 1);
    pthread_mutex_unlock(&billing->lock);
}

enum err billing_subscription(struct task *task, struct billing *billing, const char *user_id,
                              struct subscription *ret)
{
    uint64_t generation = cache_generation(billing->subscriptions, user_id);
    bool found;
    enum err e = store_subscription_open(task, billing->store, user_id, crypto_uuid(task->mem),
                                         clock_wall_ms(), &found, ret);

    assert_off_loops();
    if (e != OK)
        return e;
    if (!found)
        return fail(task, ERR_NOT_FOUND, "User not found");
    cache_put(billing->subscriptions, &(struct remembered){ret->user_id, *ret}, generation);
    return OK;
}

const struct subscription *billing_peek(struct billing *billing, void *mem, const char *user_id,
                                        int64_t within_ms)
{
    const struct remembered *found = cache_peek(billing->subscriptions, mem, user_id, within_ms);

    return found == NULL ? NULL : &found->subscription;
}

void billing_forget(struct billing *billing, const char *user_id)
{
    cache_forget(billing->subscriptions, user_id);
}

enum err billing_start_trial(struct task *task, struct billing *billing, const char *user_id,
                             struct subscription *ret)
{
    const struct plans *plans = billing->plans;
    int64_t now_ms = clock_wall_ms() / 1000 * 1000;
    enum trial_started started;
    enum err e;

    assert_off_loops();
    if (plans->trial_days == 0)
        return fail(task, ERR_BAD_REQUEST, "Trial is not available");
    e = billing_subscription(task, billing, user_id, ret);
    if (e == OK)
        e = store_trial_start(task, billing->store, user_id, now_ms,
                              now_ms + plans->trial_days * DAY_MS, &started);
    billing_forget(billing, user_id);
    if (e != OK)
        return e;
    if (started == TRIAL_USED)
        return fail(task, ERR_BAD_REQUEST, "Trial already activated");
    if (started == TRIAL_PAID)
        return fail(task, ERR_BAD_REQUEST, "Cannot activate trial for paid subscription");
    return billing_subscription(task, billing, user_id, ret);
}

static struct usage usage_of(const struct subscription *subscription,
                             const struct entitlement *entitlement, int64_t now_ms)
{
    return (struct usage){.user_id = subscription->user_id,
                          .revision = subscription->revision,
                          .period_ms = entitlement->period_ms,
                          .limit = entitlement->limit,
                          .day = now_ms / DAY_MS};
}

static void note_charged(struct billing *billing, const struct usage *usage,
                         enum usage_consumed consumed, int64_t runs,
                         struct entitlement *entitlement)
{
    entitlement->used = runs;
    metric_add(consumed == USAGE_CONSUMED ? METRIC_runs_consumed : METRIC_runs_refused, 1);
    if (consumed == USAGE_EXHAUSTED) {
        entitlement->verdict = STANDING_EXHAUSTED;
        billing_forget(billing, usage->user_id);
    }
}

/* Tries once to charge a run. *ret_outdated: the subscription has changed since it was read, and
 * nothing was charged. */
static enum err charge(struct task *task, struct billing *billing,
                       const struct subscription *subscription, int64_t now_ms,
                       struct entitlement *entitlement, bool *ret_outdated)
{
    struct usage usage = usage_of(subscription, entitlement, now_ms);
    enum usage_consumed consumed;
    int64_t runs;
    enum err e = store_usage_consume(task, billing->store, &usage, &consumed, &runs);

    *ret_outdated = e == OK && consumed == USAGE_OUTDATED;
    if (e == OK && !*ret_outdated)
        note_charged(billing, &usage, consumed, runs, entitlement);
    return e;
}

struct entitlement billing_entitlement(struct billing *billing, const struct settings *settings,
                                       const struct subscription *known, int64_t now_ms)
{
    struct entitlement entitlement = entitlement_of(billing->plans, settings, known, now_ms);

    if (entitlement.verdict == STANDING_GOOD)
        apply_hold(billing, known->user_id, &entitlement);
    return entitlement;
}

enum err billing_consume(struct task *task, struct billing *billing, const char *user_id,
                         const struct subscription *known, struct entitlement *ret)
{
    struct subscription read;
    bool outdated = false;

    assert_off_loops();
    for (int i = 0; i < CONSUME_TRIES; i++) {
        int64_t now_ms = clock_wall_ms();
        enum err e = OK;

        if (known == NULL || outdated) {
            e = billing_subscription(task, billing, user_id, &read);
            known = &read;
        }
        if (e != OK)
            return e;
        *ret = billing_entitlement(billing, task->settings, known, now_ms);
        if (ret->verdict != STANDING_GOOD)
            return OK;
        e = charge(task, billing, known, now_ms, ret, &outdated);
        if (e != OK || !outdated)
            return e;
    }
    return fail(task, ERR_BUSY, "the subscription changes all the time");
}

static void on_charged(struct store_later *later, enum err e)
{
    struct billing_charge *charge = container_of(later, struct billing_charge, later);

    charge->is_outdated = e == OK && charge->consumed == USAGE_OUTDATED;
    if (charge->is_outdated)
        billing_forget(charge->billing, charge->usage.user_id);
    else if (e == OK)
        note_charged(charge->billing, &charge->usage, charge->consumed, charge->runs,
                     &charge->entitlement);
    charge->done(charge, e);
}

enum err billing_consume_later(struct task *task, struct billing *billing,
                               const struct subscription *known, int64_t now_ms,
                               struct billing_charge *charge)
{
    charge->billing = billing;
    charge->usage = usage_of(known, &charge->entitlement, now_ms);
    charge->later = (struct store_later){on_charged, charge->gone, charge->usage.user_id};
    return store_usage_consume_later(task, billing->store, &charge->usage, &charge->consumed,
                                     &charge->runs, &charge->later);

    assert(charge->done != NULL && charge->entitlement.verdict == STANDING_GOOD);
}

enum err billing_give(struct task *task, struct billing *billing, const char *user_id,
                      const char *plan, int64_t runs, int64_t until_ms, const struct audit *audit,
                      struct subscription *ret)
{
    const struct plan *known = plan == NULL ? NULL : plans_by_name(billing->plans, plan);
    bool found;
    enum err e;

    assert_off_loops();
    if (plan != NULL && known == NULL)
        return fail(task, ERR_BAD_REQUEST, mem_printf(task->mem, "Invalid plan: %s", plan));
    e = billing_subscription(task, billing, user_id, ret);
    if (e == OK)
        e = store_subscription_give(task, billing->store, user_id,
                                    known == NULL ? NULL : known->name, runs, until_ms, audit,
                                    &found);
    billing_forget(billing, user_id);
    return e == OK ? billing_subscription(task, billing, user_id, ret) : e;
}

enum err billing_replay(struct task *task, struct billing *billing, const char *event_id)
{
    bool found;
    enum err e = store_event_replay(task, billing->store, event_id, clock_wall_ms(), &found);

    if (e == OK && !found)
        return fail(task, ERR_NOT_FOUND, "Event not found");
    return e;
}

const char *billing_gift(void *mem, const struct plans *plans, const char *plan, int64_t runs,
                         int64_t days)
{
    const struct plan *known = plan == NULL ? NULL : plans_by_name(plans, plan);
    struct text detail = text_open(mem, 64);

    text_add(&detail, known == NULL ? "nothing" : known->name);
    if (plan != NULL && runs != 0)
        text_printf(&detail, ", %lld runs", (long long)runs);
    if (plan != NULL && days != 0)
        text_printf(&detail, ", %lld days", (long long)days);
    return detail.s;
}
