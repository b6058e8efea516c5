/* What people see of their plan, and administrators of everybody's. */
#include "billing/change.h"
#include "billing/checkout.h"
#include "billing/portal.h"

#include "api/app.h"
#include "api/handlers.h"
#include "api/language.h"
#include "api/shapes.h"
#include "core/clock.h"
#include "http/reply.h"
#include "remote/advice.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_PAGE = 50, PORTAL_MS = 3000 };

#define DAY_MS INT64_C(86400000)

static struct billing *billing_of(const struct request *req)
{
    return app_of(req)->billing;
}

static int64_t number_of(const struct request *req, const char *name)
{
    const char *text = request_str(req, name);

    return text == NULL ? 0 : strtoll(text, NULL, 10);
}

static enum err reply_subscription(struct request *req, const struct subscription *subscription)
{
    struct text body = text_open(req->task.mem, 640);
    struct json_writer w = json_write(&body);

    put_subscription(&w, NULL, billing_of(req)->plans, req->task.settings, subscription);
    return reply_json_text(req, 200, body.s, body.len);
}

/* A fresh portal session as a reply's data, within a while; NULL if it is not to be had. What has
 * failed stays the task's failure. */
static const char *portal_data(struct request *req)
{
    struct task task = req->task;
    int64_t soon_ms = clock_mono_ms() + PORTAL_MS;
    struct text data = text_open(task.mem, 256);
    struct json_writer w = json_write(&data);
    const char *url;

    task.deadline_ms = soon_ms < task.deadline_ms ? soon_ms : task.deadline_ms;
    if (portal_open(&task, billing_of(req), req->user->id, NULL, &url) != OK || *url == '\0')
        return NULL;
    put_object(&w, NULL);
    put_string(&w, "portal_url", url);
    put_end(&w);
    return data.s;
}

/* Returns the failure, with what its reader can do about it. */
static enum err advise(struct request *req, enum err e)
{
    const struct phrase *phrase = req->task.err == e ? req->task.phrase : NULL;

    if (e == OK || phrase == NULL)
        return e;
    req->failure.of = e;
    req->failure.msg = phrase->in[language_of_user(req)];
    if (advice_needs_portal(phrase))
        req->failure.data = portal_data(req);
    return e;
}

enum err billing_own_subscription(struct request *req)
{
    struct subscription subscription;
    enum err e = billing_subscription(&req->task, billing_of(req), req->user->id, &subscription);

    return e == OK ? reply_subscription(req, &subscription) : e;
}

enum err billing_activate_trial(struct request *req)
{
    struct subscription subscription;
    struct json_writer w;
    struct text body;
    enum err e = billing_start_trial(&req->task, billing_of(req), req->user->id, &subscription);

    if (e != OK)
        return e;
    w = reply_begin(req, &body);
    put_string(&w, "message", "Trial activated successfully");
    put_time(&w, "trial_end", subscription.trial_end_ms);
    put_number(&w, "runs_limit", billing_of(req)->plans->trial_runs);
    return reply_end(req, 200, &w);
}

static void put_plan(struct json_writer *w, const struct plan *plan)
{
    put_object(w, NULL);
    put_string(w, "name", plan->name);
    put_number(w, "runs", plan->runs);
    if (plan->amount < 0)
        put_null(w, "amount");
    else
        put_number(w, "amount", plan->amount);
    put_string(w, "interval", plan->interval);
    put_string(w, "currency", plan->currency);
    put_boolean(w, "can_be_bought", plan_price(plan) != NULL);
    put_list(w, "features");
    for (size_t i = 0; i < plan->features.count; i++)
        put_string(w, NULL, plan->features.of[i]);
    put_end(w);
    put_end(w);
}

enum err billing_plans(struct request *req)
{
    const struct plans *plans = billing_of(req)->plans;
    struct text body;
    struct json_writer w = reply_begin(req, &body);

    put_list(&w, "plans");
    for (size_t i = 0; i < plans->count; i++)
        put_plan(&w, &plans->of[i]);
    put_end(&w);
    if (plans->trial_days == 0) {
        put_null(&w, "trial");
        return reply_end(req, 200, &w);
    }
    put_object(&w, "trial");
    put_number(&w, "days", plans->trial_days);
    put_number(&w, "runs", plans->trial_runs);
    put_end(&w);
    return reply_end(req, 200, &w);
}

/* Buying */

static json_t *plan_problem(struct request *req, const char *name)
{
    const struct plans *plans = billing_of(req)->plans;
    const char *names[PLANS_MOST + 1] = {NULL};

    for (size_t i = 0; i < plans->count; i++)
        names[i] = plans->of[i].name;
    return fields_choice_problem(req->task.mem, "plan", name, names);
}

static enum err begin_checkout(struct request *req)
{
    struct checkout_wanted wanted = {request_str(req, "plan"), request_str(req, "success_url"),
                                     request_str(req, "cancel_url")};
    struct checkout_session session;
    enum err e;

    if (plans_by_name(billing_of(req)->plans, wanted.plan) == NULL)
        return reply_json(req, 422, plan_problem(req, wanted.plan));
    e = checkout_begin(&req->task, billing_of(req), req->user, &wanted, &session);
    if (e != OK)
        return advise(req, e);
    return reply_json(
        req, 200,
        json_pack("{s:s,s:s}", "checkout_session_id", session.id, "checkout_url", session.url));
}

static enum err fulfil(struct request *req)
{
    struct subscription subscription;
    struct sync_outcome outcome;
    const char *status;
    struct json_writer w;
    struct text body;
    enum err e = checkout_fulfil(&req->task, billing_of(req), request_param(req, "session_id"),
                                 req->user->id, &status, &outcome);

    if (e == OK)
        e = billing_subscription(&req->task, billing_of(req), req->user->id, &subscription);
    if (e != OK)
        return advise(req, e);
    w = reply_begin(req, &body);
    put_string(&w, "status", status);
    put_subscription(&w, "subscription", billing_of(req)->plans, req->task.settings, &subscription);
    return reply_end(req, 200, &w);
}

static enum err open_portal(struct request *req)
{
    const char *return_url = request_str(req, "return_url"), *url;
    enum err e;

    if (return_url == NULL)
        return_url = request_query(req, "return_url");
    e = portal_open(&req->task, billing_of(req), req->user->id, return_url, &url);
    return e == OK ? reply_json(req, 200, json_pack("{s:s}", "portal_url", url)) : advise(req, e);
}

static void put_text(struct json_writer *w, const json_t *object, const char *name)
{
    const char *value = stripe_text(object, name);

    put_string(w, name, *value == '\0' ? NULL : value);
}

static void put_invoice(struct json_writer *w, const json_t *invoice)
{
    put_object(w, NULL);
    put_string(w, "id", stripe_text(invoice, "id"));
    put_text(w, invoice, "number");
    put_text(w, invoice, "status");
    put_number(w, "amount_due", stripe_int(invoice, "amount_due"));
    put_number(w, "amount_paid", stripe_int(invoice, "amount_paid"));
    put_string(w, "currency", stripe_text(invoice, "currency"));
    put_time(w, "created_at", stripe_time_ms(invoice, "created"));
    put_text(w, invoice, "hosted_invoice_url");
    put_text(w, invoice, "invoice_pdf");
    put_end(w);
}

static enum err list_invoices(struct request *req)
{
    auto_json json_t *invoices = NULL;
    struct text body;
    struct json_writer w = reply_begin(req, &body);
    const json_t *invoice;
    size_t i;
    enum err e = portal_invoices(&req->task, billing_of(req), req->user->id, &invoices);

    if (e != OK)
        return advise(req, e);
    put_list(&w, "invoices");
    json_array_foreach(invoices, i, invoice) put_invoice(&w, invoice);
    put_end(&w);
    return reply_end(req, 200, &w);
}

static void put_lines(struct json_writer *w, const json_t *invoice)
{
    const json_t *lines = json_object_get(json_object_get(invoice, "lines"), "data"), *line;
    size_t i;

    put_list(w, "lines");
    json_array_foreach(lines, i, line)
    {
        put_object(w, NULL);
        put_string(w, "description", stripe_text(line, "description"));
        put_number(w, "amount", stripe_int(line, "amount"));
        put_end(w);
    }
    put_end(w);
}

static enum err preview(struct request *req)
{
    const char *name = request_str(req, "plan");
    auto_json json_t *invoice = NULL;
    struct text body;
    struct json_writer w = reply_begin(req, &body);
    int64_t date_s;
    enum err e;

    if (plans_by_name(billing_of(req)->plans, name) == NULL)
        return reply_json(req, 422, plan_problem(req, name));
    e = change_preview(&req->task, billing_of(req), req->user->id, name, &date_s, &invoice);
    if (e != OK)
        return advise(req, e);
    put_string(&w, "plan", plans_by_name(billing_of(req)->plans, name)->name);
    put_number(&w, "amount_due", stripe_int(invoice, "amount_due"));
    put_number(&w, "total", stripe_int(invoice, "total"));
    put_string(&w, "currency", stripe_text(invoice, "currency"));
    put_number(&w, "proration_date", date_s);
    put_lines(&w, invoice);
    return reply_end(req, 200, &w);
}

static enum err change_plan(struct request *req)
{
    const char *name = request_str(req, "plan");
    struct subscription subscription;
    enum err e;

    if (plans_by_name(billing_of(req)->plans, name) == NULL)
        return reply_json(req, 422, plan_problem(req, name));
    e = change_switch(&req->task, billing_of(req), req->user->id, name,
                      number_of(req, "proration_date"), &subscription);
    return e == OK ? reply_subscription(req, &subscription) : advise(req, e);
}

static enum err cancel(struct request *req)
{
    struct subscription subscription;
    enum err e = change_cancel(&req->task, billing_of(req), req->user->id, &subscription);

    return e == OK ? reply_subscription(req, &subscription) : advise(req, e);
}

static enum err resume(struct request *req)
{
    struct subscription subscription;
    enum err e = change_resume(&req->task, billing_of(req), req->user->id, &subscription);

    return e == OK ? reply_subscription(req, &subscription) : advise(req, e);
}

/* A request that asks Stripe */

static enum err ask_stripe(struct request *req, handler *handle)
{
    enum err e;

    if (!billing_enter(billing_of(req), req->user->id))
        return fail(&req->task, ERR_CONFLICT,
                    "Other requests of yours are under way: try again when they are done");
    e = handle(req);
    billing_leave(billing_of(req), req->user->id);
    return e;
}

enum err billing_create_checkout(struct request *req)
{
    return ask_stripe(req, begin_checkout);
}

enum err billing_fulfil(struct request *req)
{
    return ask_stripe(req, fulfil);
}

enum err billing_create_portal(struct request *req)
{
    return ask_stripe(req, open_portal);
}

enum err billing_invoices(struct request *req)
{
    return ask_stripe(req, list_invoices);
}

enum err billing_preview(struct request *req)
{
    return ask_stripe(req, preview);
}

enum err billing_change_plan(struct request *req)
{
    return ask_stripe(req, change_plan);
}

enum err billing_cancel(struct request *req)
{
    return ask_stripe(req, cancel);
}

enum err billing_resume(struct request *req)
{
    return ask_stripe(req, resume);
}

/* Administrators */

enum err billing_subscriptions(struct request *req)
{
    struct store_page page = {.cursor = request_query(req, "cursor"),
                              .limit = (unsigned)request_query_number(req, "limit", DEFAULT_PAGE)};
    struct subscription_filter filter = {.status = request_query(req, "status")};
    struct subscription *rows;
    struct json_writer w;
    struct text body;
    size_t count;
    const char *next;
    enum err e = store_subscriptions(&req->task, app_of(req)->store, &filter, &page, &rows, &count,
                                     &next);

    if (e != OK)
        return e;
    w = reply_begin_ok(req, &body);
    put_object(&w, "data");
    put_list(&w, "subscriptions");
    for (size_t i = 0; i < count; i++)
        put_managed_subscription(&w, NULL, billing_of(req)->plans, req->task.settings, &rows[i]);
    put_end(&w);
    put_next(&w, next);
    put_end(&w);
    return reply_end_ok(req, &w);
}

static struct audit audit_of(struct request *req, const char *action, const char *subject,
                             const char *detail)
{
    return (struct audit){.at_ms = clock_wall_ms(),
                          .actor = mem_printf(req->task.mem, "user:%s", req->user->id),
                          .action = action,
                          .subject = subject,
                          .address = req->client_text,
                          .detail = detail};
}

enum err billing_set_plan(struct request *req)
{
    const char *user_id = request_param(req, "user_id"), *plan = request_str(req, "plan");
    int64_t runs = number_of(req, "runs"), days = number_of(req, "days");
    const struct audit audit = audit_of(
        req, "billing.give", user_id,
        billing_gift(req->task.mem, billing_of(req)->plans, plan, runs, days));
    int64_t until_ms = days == 0 ? 0 : audit.at_ms + days * DAY_MS;
    struct subscription subscription;
    struct json_writer w;
    struct text body;
    enum err e = billing_give(&req->task, billing_of(req), user_id, plan, runs, until_ms, &audit,
                              &subscription);

    if (e != OK)
        return e;
    w = reply_begin_ok(req, &body);
    put_managed_subscription(&w, "data", billing_of(req)->plans, req->task.settings, &subscription);
    return reply_end_ok(req, &w);
}

static void put_event(struct json_writer *w, const struct event *event)
{
    put_object(w, NULL);
    put_string(w, "id", event->id);
    put_string(w, "type", event->type);
    put_string(w, "state", event->state);
    put_string(w, "error", event->error);
    put_string(w, "reason", event_reason_word(event->reason));
    put_string(w, "user_id", event->user_id);
    put_time(w, "received_at", event->received_ms);
    put_number(w, "attempts", event->attempts);
    put_end(w);
}

enum err billing_events(struct request *req)
{
    struct store_page page = {.cursor = request_query(req, "cursor"),
                              .limit = (unsigned)request_query_number(req, "limit", DEFAULT_PAGE)};
    struct event *events;
    struct json_writer w;
    struct text body;
    size_t count;
    const char *next;
    enum err e = store_events(&req->task, app_of(req)->store, request_query(req, "state"), &page,
                              &events, &count, &next);

    if (e != OK)
        return e;
    w = reply_begin_ok(req, &body);
    put_object(&w, "data");
    put_list(&w, "events");
    for (size_t i = 0; i < count; i++)
        put_event(&w, &events[i]);
    put_end(&w);
    put_next(&w, next);
    put_end(&w);
    return reply_end_ok(req, &w);
}

enum err billing_replay_event(struct request *req)
{
    const char *id = request_param(req, "event_id");
    const struct audit audit = audit_of(req, "event.replay", "", id);
    enum err e = billing_replay(&req->task, billing_of(req), id);

    if (e == OK)
        e = store_audit_append(&req->task, app_of(req)->store, &audit);
    return e == OK ? reply_ok(req, json_object()) : e;
}
