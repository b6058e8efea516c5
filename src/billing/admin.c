#include "billing/admin.h"

#include "billing/reconcile.h"
#include "core/clock.h"
#include "core/email.h"
#include "core/log.h"

#include <stdlib.h>
#include <string.h>

static void put_event(struct text *out, const struct event *event)
{
    char received[TEXT_TIME_SIZE];

    text_time(received, event->received_ms);
    text_printf(out, "%s  %-7s  received %s  attempts %u  %s  user %s  %s\n", event->id,
                event->state, received, event->attempts, event->type,
                event->user_id == NULL ? "unknown" : event->user_id, event->error);
}

static enum err list(struct task *task, struct billing *billing, const struct settings *settings,
                     const struct billing_request *request, struct text *out)
{
    static const char *const states[] = {EVENT_WAITING, EVENT_DONE, EVENT_IGNORED, EVENT_DEAD};
    const struct store_page newest = {NULL, STORE_PAGE};
    struct event_counts counts;
    struct event *events;
    bool known = request->what == NULL;
    size_t count;
    const char *next;
    enum err e;

    (void)settings;
    for (size_t i = 0; i < count_of(states) && !known; i++)
        known = strcmp(states[i], request->what) == 0;
    if (!known)
        return fail(task, ERR_INVALID, "give a state: waiting, done, ignored or dead");
    e = store_events(task, billing->store, request->what, &newest, &events, &count, &next);
    if (e == OK)
        e = store_event_counts(task, billing->store, &counts);
    if (e != OK)
        return e;
    for (size_t i = 0; i < count; i++)
        put_event(out, &events[i]);
    if (next != NULL)
        text_add(out, "… and older ones\n");
    text_printf(out, "%lld wait, %lld were given up\n", (long long)counts.waiting,
                (long long)counts.dead);
    return OK;
}

static enum err show(struct task *task, struct billing *billing, const struct settings *settings,
                     const struct billing_request *request, struct text *out)
{
    struct event event;
    bool found;
    enum err e = store_event_by_id(task, billing->store, request->what, &found, &event);

    (void)settings;
    if (e != OK)
        return e;
    if (!found)
        return fail(task, ERR_NOT_FOUND, "Event not found");
    put_event(out, &event);
    text_add(out, event.payload);
    text_char(out, '\n');
    return OK;
}

enum err billing_replay(struct task *task, struct billing *billing, const char *event_id)
{
    bool found;
    enum err e = store_event_replay(task, billing->store, event_id, clock_wall_ms(), &found);

    if (e == OK && !found)
        return fail(task, ERR_NOT_FOUND, "Event not found");
    return e;
}

/* One event, or all that were given up. */
static enum err replay(struct task *task, struct billing *billing, const struct settings *settings,
                       const struct billing_request *request, struct text *out)
{
    struct store_page page = {NULL, STORE_PAGE};
    unsigned replayed = 0;
    enum err e = OK;

    (void)settings;
    if (strcmp(request->what, EVENT_DEAD) != 0) {
        e = billing_replay(task, billing, request->what);
        replayed = 1;
    } else {
        do {
            struct event *events;
            size_t count;

            e = store_events(task, billing->store, EVENT_DEAD, &page, &events, &count,
                             &page.cursor);
            for (size_t i = 0; e == OK && i < count; i++, replayed++)
                e = billing_replay(task, billing, events[i].id);
        } while (e == OK && page.cursor != NULL);
    }
    if (e == OK)
        text_printf(out, "%u will be applied anew\n", replayed);
    return e;
}

static enum err find_subscription(struct task *task, struct billing *billing, const char *who,
                                  struct subscription *ret)
{
    const char *email = email_normalise(task->mem, who);
    struct user user = {.id = who};
    bool found = false;
    enum err e = OK;

    if (email != NULL)
        e = store_user_by_email(task, billing->store, email, &found, &user);
    if (e == OK)
        e = store_subscription_by_user(task, billing->store, user.id, &found, ret);
    if (e == OK && !found)
        *ret = (struct subscription){.user_id = user.id};
    return e;
}

static enum err sync_user(struct task *task, struct billing *billing,
                          const struct settings *settings, const struct billing_request *request,
                          bool dry, struct text *out)
{
    struct reconcile_counts counts = {0};
    struct subscription subscription;
    enum err e = find_subscription(task, billing, request->what, &subscription);

    if (e == OK && subscription.customer_id == NULL)
        return fail(task, ERR_NOT_FOUND, "Stripe knows no such user: give an address or an id");
    return e == OK ? reconcile_one(task, billing, settings, &subscription, dry, out, &counts) : e;
}

static enum err sync_one(struct task *task, struct billing *billing,
                         const struct settings *settings, const struct billing_request *request,
                         struct text *out)
{
    return sync_user(task, billing, settings, request, false, out);
}

static enum err compare_one(struct task *task, struct billing *billing,
                            const struct settings *settings, const struct billing_request *request,
                            struct text *out)
{
    return sync_user(task, billing, settings, request, true, out);
}

/* "PLACE", as the last answer had it. Says how many were found, and the place where to go on. */
static enum err find_some(struct task *task, struct billing *billing,
                          const struct settings *settings, const struct billing_request *request,
                          struct text *out)
{
    struct find_cursor cursor = {0};
    unsigned found = 0;
    char *after;
    enum err e;

    (void)settings;
    cursor.price = strtoul(request->what, &after, 10);
    after += strspn(after, " ");
    if (*after != '\0' && !stripe_is_id(after, "sub_"))
        return fail(task, ERR_INVALID, "give a place as the last answer had it");
    snprintf(cursor.after, sizeof cursor.after, "%s", after);
    e = reconcile_find(task, billing, &cursor, &found);
    if (e != OK)
        return e;
    text_printf(out, "%u ", found);
    if (!cursor.is_done)
        text_printf(out, "%zu %s", cursor.price, cursor.after);
    return OK;
}

/* "WHO CUSTOMER". What the customer pays is that user's from now on. */
static enum err link_customer(struct task *task, struct billing *billing,
                              const struct settings *settings,
                              const struct billing_request *request, struct text *out)
{
    const char *blank = strrchr(request->what, ' '), *customer_id = blank + 1;
    struct subscription subscription;
    struct sync_outcome outcome;
    enum err e;

    if (blank == NULL)
        return fail(task, ERR_INVALID, "give a user and a customer at Stripe");
    e = find_subscription(
        task, billing, mem_printf(task->mem, "%.*s", (int)(blank - request->what), request->what),
        &subscription);
    if (e == OK)
        e = sync_link(task, billing, settings, subscription.user_id, customer_id, &outcome);
    if (e != OK)
        return e;
    if (outcome.result == SYNC_PAID_TWICE)
        return fail(task, ERR_CONFLICT,
                    "the user pays as another customer: cancel and refund one of the two first");
    if (outcome.user_id == NULL)
        return fail(task, ERR_NOT_FOUND, "there is no such user, or the customer pays for nothing");
    log_info(task, "a customer was linked by hand", LOG_S("user", outcome.user_id),
             LOG_S("customer", customer_id), LOG_S("actor", request->actor));
    text_printf(out, "%s  %s  %s, %s\n", outcome.user_id, customer_id, outcome.found.plan,
                outcome.found.status);
    return OK;
}

/* The last line is for the command: where to go on, and the counts. */
static enum err sync_page(struct task *task, struct billing *billing,
                          const struct settings *settings, const struct billing_request *request,
                          bool dry, struct text *out)
{
    struct reconcile_counts counts = {0};
    const char *cursor = strcmp(request->what, "0") == 0 ? NULL : request->what, *next = NULL;
    enum err e = reconcile_page(task, billing, settings, cursor, dry, out, &counts, &next);

    text_printf(out, "next %s %u %u %u\n", next == NULL ? "0" : next, counts.compared,
                counts.different, counts.failed);
    return e;
}

static enum err sync_some(struct task *task, struct billing *billing,
                          const struct settings *settings, const struct billing_request *request,
                          struct text *out)
{
    return sync_page(task, billing, settings, request, false, out);
}

static enum err compare_some(struct task *task, struct billing *billing,
                             const struct settings *settings, const struct billing_request *request,
                             struct text *out)
{
    return sync_page(task, billing, settings, request, true, out);
}

const struct billing_action billing_actions[] = {
    {"inbox list", false, list},
    {"inbox show", true, show},
    {"inbox replay", true, replay},
    {"sync", true, sync_one},
    {"sync --dry-run", true, compare_one},
    {"link", true, link_customer},
    {"sync unlinked", true, find_some},
    {"sync page", true, sync_some},
    {"sync page --dry-run", true, compare_some},
    {0},
};

enum err billing_run(struct task *task, struct billing *billing, const struct settings *settings,
                     const struct billing_request *request, struct text *out)
{
    const struct billing_action *action = billing_actions;

    while (action->name != NULL && strcmp(action->name, request->action) != 0)
        action++;
    if (action->name == NULL)
        return fail(task, ERR_INVALID, "there is no such action");
    if (action->needs_what && request->what == NULL)
        return fail(task, ERR_INVALID, "say which one");
    if (strncmp(action->name, "inbox", 5) != 0 && !stripe_is_configured(settings))
        return fail(task, ERR_STRIPE_OFF, "Billing is not configured: set STRIPE_SECRET_KEY");
    return action->run(task, billing, settings, request, out);
}
