/* Operations on Stripe's events, on subscriptions, and on the setup at Stripe. */
#include "api/operations.h"

#include "billing/doctor.h"
#include "billing/reconcile.h"
#include "core/clock.h"
#include "core/log.h"

#include <stdio.h>
#include <string.h>

enum { PIECE_MS = 30000 };

#define DAY_MS INT64_C(86400000)

static enum err check_stripe(struct task *task)
{
    if (stripe_is_configured(task->settings))
        return OK;
    return fail(task, ERR_STRIPE_OFF, "Billing is not configured: set STRIPE_SECRET_KEY");
}

/* Events */

static void put_event(struct answer *a, const char *name, const struct event *event)
{
    answer_row(a, name,
               "{id}  {state:7}  received {received_at}  attempts {attempts}  {type}  user "
               "{user_id|unknown}  {error}");
    answer_string(a, "id", event->id);
    answer_string(a, "type", event->type);
    answer_string(a, "state", event->state);
    answer_string(a, "error", event->error);
    answer_string(a, "reason", event_reason_word(event->reason));
    answer_string(a, "user_id", event->user_id);
    answer_time(a, "received_at", event->received_ms);
    answer_number(a, "attempts", event->attempts);
    answer_row_end(a);
}

enum err event_list(struct task *task, struct operation_call *call)
{
    const struct store_page newest = {NULL, STORE_PAGE};
    struct answer *a = call->answer;
    struct event_counts counts;
    struct event *events;
    size_t count;
    const char *next;
    enum err e = store_events(task, call->app->store, operation_value(call, "state"), &newest,
                              &events, &count, &next);

    if (e == OK)
        e = store_event_counts(task, call->app->store, &counts);
    if (e != OK)
        return e;
    answer_list(a, "events");
    for (size_t i = 0; i < count; i++)
        put_event(a, NULL, &events[i]);
    answer_list_end(a);
    if (next != NULL)
        answer_say(a, "… and older ones");
    answer_row(a, NULL, "{waiting} wait, {dead} were given up");
    answer_number(a, "waiting", counts.waiting);
    answer_number(a, "dead", counts.dead);
    answer_row_end(a);
    return OK;
}

enum err event_show(struct task *task, struct operation_call *call)
{
    struct answer *a = call->answer;
    struct event event;
    bool found;
    enum err e = store_event_by_id(task, call->app->store, operation_value(call, "event"), &found,
                                   &event);

    if (e == OK && !found)
        return fail(task, ERR_NOT_FOUND, "Event not found");
    if (e != OK)
        return e;
    put_event(a, "event", &event);
    answer_row(a, NULL, "{payload*}");
    answer_string(a, "payload", event.payload);
    answer_row_end(a);
    return OK;
}

static void tell_replayed(struct answer *a, unsigned count)
{
    answer_row(a, NULL, "{replayed} will be applied anew");
    answer_number(a, "replayed", count);
    answer_row_end(a);
}

enum err event_replay(struct task *task, struct operation_call *call)
{
    const char *id = operation_value(call, "event");
    enum err e = billing_replay(task, call->app->billing, id);

    if (e == OK)
        e = operation_note(task, call, "", id);
    if (e == OK)
        tell_replayed(call->answer, 1);
    return e;
}

static enum err replay_page(struct task *task, struct operation_call *call, struct store_page *page,
                            unsigned *replayed)
{
    struct event *events;
    size_t count;
    enum err e = store_events(task, call->app->store, EVENT_DEAD, page, &events, &count,
                              &page->cursor);

    for (size_t i = 0; e == OK && i < count; i++, (*replayed)++)
        e = billing_replay(task, call->app->billing, events[i].id);
    return e;
}

/* A cursor that outlives the piece that it comes from. */
static const char *kept(struct task *task, const char *cursor)
{
    return cursor == NULL ? NULL : mem_string(task->mem, cursor);
}

/* False: nobody waits for what is to come. */
static bool report(struct operation_call *call, int64_t done, int64_t total)
{
    return call->progress == NULL || call->progress(call, done, total);
}

enum err event_replay_dead(struct task *task, struct operation_call *call)
{
    struct store_page page = {NULL, STORE_PAGE};
    struct event_counts counts;
    unsigned replayed = 0;
    enum err e = store_event_counts(task, call->app->store, &counts);

    do {
        auto_tree void *mem = mem_tree(0);
        struct task piece = *task;

        piece.mem = mem;
        if (call->progress != NULL)
            piece.deadline_ms = clock_mono_ms() + PIECE_MS;
        if (e == OK)
            e = replay_page(&piece, call, &page, &replayed);
        if (e != OK)
            return fail(task, e, mem_string(task->mem, piece.text));
        page.cursor = kept(task, page.cursor);
    } while (page.cursor != NULL && report(call, replayed, counts.dead));
    e = operation_note(task, call, "", mem_printf(task->mem, "%u dead events", replayed));
    if (e == OK)
        tell_replayed(call->answer, replayed);
    return e;
}

/* Subscriptions */

static enum err find_subscription(struct task *task, const struct operation_call *call,
                                  struct subscription *ret)
{
    struct user user = {.id = operation_value(call, "user")};
    bool found = false;
    enum err e = operation_user(task, call, &user);

    /* Stripe may know somebody who is gone here. */
    if (e == ERR_NOT_FOUND)
        e = OK;
    if (e == OK)
        e = store_subscription_by_user(task, call->app->store, user.id, &found, ret);
    if (e == OK && !found)
        *ret = (struct subscription){.user_id = user.id};
    return e;
}

enum err subscription_sync(struct task *task, struct operation_call *call)
{
    struct reconcile_counts counts = {0};
    bool dry = operation_value(call, "dry_run") != NULL;
    struct subscription subscription;
    enum err e = check_stripe(task);

    if (e == OK)
        e = find_subscription(task, call, &subscription);
    if (e == OK && subscription.customer_id == NULL)
        return fail(task, ERR_NOT_FOUND, "Stripe knows no such user: give an address or an id");
    if (e != OK)
        return e;
    answer_list(call->answer, "subscriptions");
    e = reconcile_one(task, call->app->billing, &subscription, dry, call->answer, &counts);
    answer_list_end(call->answer);
    return e == OK ? operation_note(task, call, subscription.user_id,
                                    dry                    ? "only compared"
                                    : counts.different > 0 ? "corrected"
                                                           : "nothing differed")
                   : e;
}

/* Where the comparison of all goes on: first those who are stored, then what nobody is linked to.
 * As text "s17" with the store's cursor, or "f2sub_…". */
struct sync_place {
    bool finds, is_done;
    const char *below; /* the store's cursor; NULL: the first page */
    struct find_cursor found;
};

static bool read_place(const char *text, struct sync_place *ret)
{
    size_t digits;
    char *end;

    *ret = (struct sync_place){0};
    if (text == NULL)
        return true;
    if (*text == 's')
        ret->below = text + 1;
    if (*text != 'f')
        return *text == 's' && text[1] != '\0';
    digits = strspn(text + 1, "0123456789");
    if (digits < 1 || digits > 18)
        return false;
    ret->finds = true;
    ret->found.price = strtoul(text + 1, &end, 10);
    if (*end != '\0' && !stripe_is_id(end, "sub_"))
        return false;
    snprintf(ret->found.after, sizeof ret->found.after, "%s", end);
    return true;
}

static const char *place_text(void *mem, const struct sync_place *place)
{
    if (place->is_done)
        return NULL;
    return place->finds ? mem_printf(mem, "f%zu%s", place->found.price, place->found.after)
                        : mem_printf(mem, "s%s", place->below);
}

struct sync_all {
    struct operation_call *call;
    struct sync_place place;
    struct reconcile_counts counts;
    unsigned unlinked;
    bool dry;
};

static enum err sync_piece(struct task *task, struct sync_all *all)
{
    struct operation_call *call = all->call;
    struct sync_place *place = &all->place;
    enum err e;

    if (place->finds) {
        e = reconcile_find(task, call->app->billing, &place->found, &all->unlinked);
        place->is_done = place->found.is_done;
        return e;
    }
    e = reconcile_page(task, call->app->billing, place->below, all->dry, call->answer, &all->counts,
                       &place->below);
    place->finds = place->below == NULL;
    place->is_done = place->finds && all->dry;
    return e;
}

static void tell_sync(struct task *task, struct sync_all *all)
{
    struct answer *a = all->call->answer;

    answer_row(a, NULL,
               all->dry ? "{compared} compared, {different} different, {failed} failed"
                        : "{compared} compared, {different} mended, {failed} failed");
    answer_number(a, "compared", all->counts.compared);
    answer_number(a, "different", all->counts.different);
    answer_number(a, "failed", all->counts.failed);
    answer_number(a, "unlinked", all->unlinked);
    answer_string(a, "next", place_text(task->mem, &all->place));
    answer_row_end(a);
    if (all->call->progress != NULL && !all->place.is_done)
        answer_say(a, "stopped before the end");
    if (all->unlinked > 0)
        answer_say(a, "%u subscriptions of plans were linked to nobody: see inbox list",
                   all->unlinked);
}

enum err subscription_sync_all(struct task *task, struct operation_call *call)
{
    const char *why = NULL;
    struct sync_all all = {.call = call, .dry = operation_value(call, "dry_run") != NULL};
    enum err e = check_stripe(task);

    if (e == OK && !read_place(operation_value(call, "cursor"), &all.place))
        return fail(task, ERR_INVALID, "give the next of the last answer");
    if (e != OK)
        return e;
    answer_list(call->answer, "subscriptions");
    do {
        auto_tree void *mem = mem_tree(0);
        struct task piece = *task;

        piece.mem = mem;
        if (call->progress != NULL)
            piece.deadline_ms = clock_mono_ms() + PIECE_MS;
        e = sync_piece(&piece, &all);
        why = e == OK ? NULL : mem_string(task->mem, piece.text);
        if (e == ERR_BAD_REQUEST) /* the cursor is not the store's */
            e = ERR_INVALID;
        if (e == OK)
            all.place.below = kept(task, all.place.below);
    } while (e == OK && !all.place.is_done && call->progress != NULL &&
             call->progress(call, all.counts.compared, 0));
    answer_list_end(call->answer);
    /* Whoever reads along is told what was done before it failed. */
    if (e == OK || all.place.finds)
        tell_sync(task, &all);
    if (e != OK && call->progress != NULL)
        call->progress(call, all.counts.compared, 0);
    if (e != OK)
        return fail(task, e, why);
    return operation_note(task, call, "",
                          mem_printf(task->mem, "%u compared, %u different%s", all.counts.compared,
                                     all.counts.different, all.dry ? ", only compared" : ""));
}

enum err subscription_link(struct task *task, struct operation_call *call)
{
    const char *customer_id = operation_value(call, "customer");
    struct answer *a = call->answer;
    struct subscription subscription;
    struct sync_outcome outcome;
    enum err e = check_stripe(task);

    if (e == OK)
        e = find_subscription(task, call, &subscription);
    if (e == OK)
        e = sync_link(task, call->app->billing, subscription.user_id, customer_id, &outcome);
    if (e != OK)
        return e;
    if (outcome.result == SYNC_PAID_TWICE)
        return fail(task, ERR_CONFLICT,
                    "the user pays as another customer: cancel and refund one of the two first");
    if (outcome.user_id == NULL)
        return fail(task, ERR_NOT_FOUND, "there is no such user, or the customer pays for nothing");
    log_info(task, "a customer was linked by hand", LOG_S("user", outcome.user_id),
             LOG_S("customer", customer_id), LOG_S("actor", call->actor));
    answer_row(a, NULL, "{user_id}  {customer_id}  {plan}, {status}");
    answer_string(a, "user_id", outcome.user_id);
    answer_string(a, "customer_id", customer_id);
    answer_string(a, "plan", outcome.found.plan);
    answer_string(a, "status", outcome.found.status);
    answer_row_end(a);
    return operation_note(task, call, outcome.user_id, customer_id);
}

static void put_plan(struct task *task, const char *name, const struct operation_call *call,
                     const struct subscription *subscription)
{
    struct answer *a = call->answer;
    struct entitlement entitlement = entitlement_of(call->app->billing->plans, task->settings,
                                                    subscription, clock_wall_ms());

    answer_row(a, name,
               "{user_id}  {plan}  {status}  runs {used} of {runs}  until {until|-}  "
               "{customer_id|no customer}");
    answer_string(a, "user_id", subscription->user_id);
    answer_string(a, "plan", entitlement.plan_name);
    answer_string(a, "status", entitlement.status);
    answer_number(a, "used", entitlement.used);
    answer_number(a, "runs", entitlement.limit);
    answer_time(a, "until",
                entitlement.is_gift   ? subscription->gift_until_ms
                : entitlement.is_paid ? subscription->period_end_ms
                                      : 0);
    answer_string(a, "customer_id", subscription->customer_id);
    answer_row_end(a);
}

enum err subscription_list(struct task *task, struct operation_call *call)
{
    const struct store_page newest = {NULL, STORE_PAGE};
    struct subscription_filter filter = {.status = operation_value(call, "status")};
    struct subscription *rows;
    size_t count;
    const char *next;
    enum err e = store_subscriptions(task, call->app->store, &filter, &newest, &rows, &count,
                                     &next);

    if (e != OK)
        return e;
    answer_list(call->answer, "subscriptions");
    for (size_t i = 0; i < count; i++)
        put_plan(task, NULL, call, &rows[i]);
    answer_list_end(call->answer);
    if (next != NULL)
        answer_say(call->answer, "… and older ones");
    return OK;
}

static enum err give(struct task *task, struct operation_call *call, const char *plan, int64_t runs,
                     int64_t days)
{
    struct subscription subscription;
    struct audit audit;
    struct user user;
    enum err e = operation_user(task, call, &user);

    if (e != OK)
        return e;
    audit = operation_audit(call, user.id,
                            billing_gift(task->mem, call->app->billing->plans, plan, runs, days));
    e = billing_give(task, call->app->billing, user.id, plan, runs,
                     days == 0 ? 0 : audit.at_ms + days * DAY_MS, &audit, &subscription);
    if (e == OK)
        put_plan(task, "subscription", call, &subscription);
    return e;
}

enum err subscription_give(struct task *task, struct operation_call *call)
{
    return give(task, call, operation_value(call, "plan"), operation_number(call, "runs", 0),
                operation_number(call, "days", 0));
}

enum err subscription_take(struct task *task, struct operation_call *call)
{
    return give(task, call, NULL, 0, 0);
}

enum err billing_doctor(struct task *task, struct operation_call *call)
{
    bool good;

    answer_list(call->answer, "findings");
    good = doctor_examine(task, call->app->billing->plans, call->answer);
    answer_list_end(call->answer);
    call->is_bad = !good;
    return OK;
}
