#include "billing/inbox.h"

#include "billing/checkout.h"
#include "billing/goodbye.h"
#include "billing/notice.h"
#include "core/clock.h"
#include "core/crypto.h"
#include "core/json.h"
#include "core/json_writer.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "core/unicode.h"

#include <string.h>

enum {
    INLINE = 4, /* that are applied while Stripe waits for the reply */
    INLINE_MS = 4000,
    LEASE_MS = 8000, /* longer than one may take */
    APPLY_MS = 7000,
    UNPLACED_TRIES = 3, /* some seconds: who has paid may be told by an event to come */
    DUPLICATE_TRIES = 8,
};

#define GIVE_UP_MS (3 * INT64_C(86400000))
#define KEPT_MS (30 * INT64_C(86400000))

/* What is done about each type */

enum event_action {
    ACTION_SYNC,
    ACTION_INVOICE, /* sync, if it has a subscription */
    ACTION_SESSION, /* fulfil */
    ACTION_TRIAL,   /* sync, and a mail */
    ACTION_DELETED, /* sync, and the customer is unlinked */
    ACTION_ALERT, /* told in the log, with whose: money goes back; what that means is for people to
                   decide */
    ACTION_GOODBYE, /* our own: a user was removed */
    ACTION_FOUND,   /* our own: a subscription that nobody is linked to; sync */
};

static const struct row {
    const char *type;
    enum event_action action;
    bool is_needed; /* the endpoint at Stripe must send it; the others are told by these too */
} rows[] = {
    {"checkout.session.completed", ACTION_SESSION, true},
    {"checkout.session.async_payment_succeeded", ACTION_SESSION, true},
    {"checkout.session.async_payment_failed", ACTION_SESSION, true},
    {"checkout.session.expired", ACTION_SESSION, true},
    {"customer.subscription.created", ACTION_SYNC, true},
    {"customer.subscription.updated", ACTION_SYNC, true},
    {"customer.subscription.deleted", ACTION_SYNC, true},
    {"customer.subscription.paused", ACTION_SYNC, true},
    {"customer.subscription.resumed", ACTION_SYNC, true},
    {"customer.subscription.pending_update_applied", ACTION_SYNC},
    {"customer.subscription.pending_update_expired", ACTION_SYNC},
    {"customer.subscription.trial_will_end", ACTION_TRIAL, true},
    {"invoice.paid", ACTION_INVOICE, true},
    {"invoice.payment_succeeded", ACTION_INVOICE},
    {"invoice.payment_failed", ACTION_INVOICE, true},
    {"invoice.payment_action_required", ACTION_INVOICE, true},
    {"invoice.finalization_failed", ACTION_INVOICE},
    {"invoice.voided", ACTION_INVOICE},
    {"invoice.marked_uncollectible", ACTION_INVOICE},
    {"customer.deleted", ACTION_DELETED, true},
    {"charge.refunded", ACTION_ALERT, true},
    {"charge.dispute.created", ACTION_ALERT, true},
    {"charge.dispute.closed", ACTION_ALERT},
    {STORE_EVENT_GOODBYE, ACTION_GOODBYE},
    {INBOX_EVENT_FOUND, ACTION_FOUND},
};

const char *inbox_type(size_t n)
{
    for (size_t i = 0; i < count_of(rows); i++) {
        if (rows[i].is_needed && n-- == 0)
            return rows[i].type;
    }
    return NULL;
}

static const struct row *row_of(const char *type)
{
    for (size_t i = 0; i < count_of(rows); i++) {
        if (strcmp(rows[i].type, type) == 0)
            return &rows[i];
    }
    return NULL;
}

/* Links */

static const char *text_or_null(void *mem, const char *text)
{
    return *text == '\0' ? NULL : mem_string(mem, text);
}

/* Below `parent` since 2025-03-31, on the invoice itself before. */
static const char *subscription_of_invoice(const json_t *invoice)
{
    const json_t *parent = json_object_get(json_object_get(invoice, "parent"),
                                           "subscription_details");
    const char *id = stripe_id_of(parent, "subscription");

    return *id != '\0' ? id : stripe_id_of(invoice, "subscription");
}

static struct sync_links links_of(void *mem, const json_t *object)
{
    const char *kind = stripe_text(object, "object"), *user_id;
    struct sync_links links = {.customer_id = text_or_null(mem, stripe_id_of(object, "customer"))};

    if (strcmp(kind, "customer") == 0)
        links.customer_id = text_or_null(mem, stripe_text(object, "id"));
    if (strcmp(kind, "subscription") == 0)
        links.subscription_id = text_or_null(mem, stripe_text(object, "id"));
    else if (strcmp(kind, "invoice") == 0)
        links.subscription_id = text_or_null(mem, subscription_of_invoice(object));
    else
        links.subscription_id = text_or_null(mem, stripe_id_of(object, "subscription"));
    user_id = stripe_text(object, "client_reference_id");
    if (*user_id == '\0')
        user_id = stripe_text(json_object_get(object, "metadata"), "user_id");
    links.user_id = text_or_null(mem, user_id);
    return links;
}

static const json_t *object_of(const json_t *event)
{
    return json_object_get(json_object_get(event, "data"), "object");
}

/* Applying */

/* The event's own links serve where Stripe does not know the session any more. */
static enum err apply_session(struct task *task, struct billing *billing, const json_t *object,
                              const struct sync_links *links, struct sync_outcome *ret)
{
    const char *status;
    enum err e = checkout_fulfil(task, billing, stripe_text(object, "id"), NULL, &status, ret);

    if (e == ERR_NOT_FOUND)
        return sync_subscription(task, billing, links, ret);
    if (e == OK && (strcmp(status, "open") == 0 ||
                    (strcmp(status, "expired") == 0 && ret->result == SYNC_NOBODY)))
        ret->result = SYNC_DONE; /* nothing was bought */
    return e;
}

static enum err apply_deleted(struct task *task, struct billing *billing,
                              const struct sync_links *links, struct sync_outcome *ret)
{
    bool gone = false;
    enum err e = sync_subscription(task, billing, links, ret);

    if (e == OK && stripe_is_id(links->customer_id, "cus_"))
        e = sync_is_gone(task, billing, links->customer_id, &gone);
    if (e != OK || !gone)
        return e;
    e = store_customer_unlink(task, billing->store, links->customer_id, clock_wall_ms());
    if (ret->user_id != NULL)
        billing_forget(billing, ret->user_id);
    if (ret->result == SYNC_NOBODY)
        ret->result = SYNC_GONE;
    return e;
}

static enum err apply_trial(struct task *task, struct billing *billing, const json_t *object,
                            const struct sync_links *links, struct sync_outcome *ret)
{
    int64_t end_ms = stripe_time_ms(object, "trial_end"), ends_ms;
    enum err e = sync_subscription(task, billing, links, ret);

    /* Who has canceled by then goes on with nothing, and pays nothing. */
    ends_ms = ret->found.ends_ms;
    if (e == OK && ret->result == SYNC_DONE && strcmp(ret->found.status, "trialing") == 0 &&
        end_ms > clock_wall_ms() && (ends_ms == 0 || ends_ms > end_ms))
        ret->mail = notice_of_bought_trial(task, billing, ret->user_id, end_ms);
    return e;
}

static enum err apply_goodbye(struct task *task, struct billing *billing, const json_t *payload,
                              struct sync_outcome *ret)
{
    ret->result = SYNC_GONE;
    return goodbye_say(task, billing, stripe_text(payload, "customer"),
                       stripe_text(payload, "subscription"), stripe_text(payload, "user"));
}

/* A dispute names its charge alone; that names the customer. Left out if Stripe refuses to say. */
static enum err find_customer_of(struct task *task, struct billing *billing, const char *charge_id,
                                 const char **ret_id, const char **ret_missing_right)
{
    auto_call struct stripe_call call = {.method = "GET"};
    enum err e;

    if (!stripe_is_id(charge_id, "ch_") && !stripe_is_id(charge_id, "py_"))
        return OK;
    call.path = mem_printf(task->mem, "/v1/charges/%s", charge_id);
    e = stripe_ask(task, billing->stripe, &call);
    if (e == OK)
        *ret_id = text_or_null(task->mem, stripe_id_of(call.reply, "customer"));
    if (call.status == 401 || call.status == 403)
        *ret_missing_right = "Charges: read";
    return e == ERR_STRIPE || e == ERR_STRIPE_OFF ? OK : e;
}

/* "1900 usd, customer cus_1" */
static const char *describe_alert(struct task *task, int64_t amount, const char *currency,
                                  const char *customer_id, const char *missing_right)
{
    struct text out = text_open(task->mem, 128);

    text_printf(&out, "%lld %s", (long long)amount, currency);
    if (customer_id != NULL)
        text_printf(&out, ", customer %s", customer_id);
    if (missing_right != NULL)
        text_printf(&out, "; whose it is Stripe does not tell this key: give it the right %s",
                    missing_right);
    return out.s;
}

static enum err apply_alert(struct task *task, struct billing *billing, const struct event *event,
                            const json_t *object, const char *customer_id, struct sync_outcome *ret)
{
    bool is_dispute = strcmp(stripe_text(object, "object"), "dispute") == 0, found = false;
    int64_t amount = stripe_int(object, is_dispute ? "amount" : "amount_refunded");
    const char *currency = stripe_said(task->mem, stripe_text(object, "currency"));
    const char *missing_right = NULL;
    struct subscription subscription;
    enum err e = OK;

    if (customer_id == NULL && is_dispute)
        e = find_customer_of(task, billing, stripe_id_of(object, "charge"), &customer_id,
                             &missing_right);
    if (e == OK && customer_id != NULL)
        e = store_subscription_by_customer(task, billing->store, customer_id, &found,
                                           &subscription);
    if (e != OK)
        return e;
    ret->user_id = found ? subscription.user_id : NULL;
    ret->customer_id = customer_id;
    ret->note = describe_alert(task, amount, currency, customer_id, missing_right);
    log_warning(task, "a refund or a dispute: look at it in Stripe's dashboard",
                LOG_S("event", event->id), LOG_S("type", event->type), LOG_S("user", ret->user_id),
                LOG_S("customer", customer_id), LOG_I("amount", amount),
                LOG_S("currency", currency), LOG_S("missing_right", missing_right));
    return OK;
}

static enum err act_on(struct task *task, struct billing *billing, const struct event *event,
                       const json_t *payload, enum event_action action, struct sync_outcome *ret)
{
    const json_t *object = object_of(payload);
    struct sync_links links = links_of(task->mem, object);

    *ret = (struct sync_outcome){.result = SYNC_DONE};
    switch (action) {
    case ACTION_SESSION:
        return apply_session(task, billing, object, &links, ret);
    case ACTION_TRIAL:
        return apply_trial(task, billing, object, &links, ret);
    case ACTION_DELETED:
        return apply_deleted(task, billing, &links, ret);
    case ACTION_GOODBYE:
        return apply_goodbye(task, billing, payload, ret);
    case ACTION_FOUND:
        links = (struct sync_links){.customer_id = stripe_text(payload, "customer"),
                                    .subscription_id = stripe_text(payload, "subscription")};
        return sync_subscription(task, billing, &links, ret);
    case ACTION_ALERT:
        return apply_alert(task, billing, event, object, links.customer_id, ret);
    default:
        return sync_subscription(task, billing, &links, ret);
    }
}

enum err inbox_put_found(struct task *task, struct store *store, const char *customer_id,
                         const char *subscription_id)
{
    struct text payload = text_open(task->mem, 96);
    struct json_writer w = json_write(&payload);
    struct event event = {
        .id = mem_printf(task->mem, "found_%s", subscription_id),
        .type = INBOX_EVENT_FOUND,
        .customer_id = customer_id,
        .state = EVENT_WAITING,
        .error = "",
        .received_ms = clock_wall_ms(),
    };
    struct event_kept kept;
    bool found;
    enum err e;

    put_object(&w, NULL);
    put_string(&w, "customer", customer_id);
    put_string(&w, "subscription", subscription_id);
    put_end(&w);
    event.payload = payload.s;
    e = store_event_put(task, store, &event, 0, &kept);
    if (e != OK || kept.is_new || strcmp(kept.state, EVENT_WAITING) == 0)
        return e;
    return store_event_replay(task, store, event.id, clock_wall_ms(), &found);
}

/* Settling */

static enum err put_off(struct task *task, struct billing *billing, const struct event *event,
                        const char *why)
{
    return store_event_postpone(task, billing->store, event->id, clock_wall_ms(), false, why);
}

/* An operator looks at it, and is told by mail if one is set: once for each customer and reason. */
static enum err give_up(struct task *task, struct billing *billing, const struct event *event,
                        enum event_reason reason, const char *user_id, const char *why)
{
    metric_add(METRIC_events_dead, 1);
    log_error(task, "an event was given up: see manus billing inbox", LOG_S("event", event->id),
              LOG_S("type", event->type), LOG_S("reason", event_reason_word(reason)),
              LOG_S("user", user_id), LOG_S("detail", why));
    return store_event_done(task, billing->store, event->id, EVENT_DEAD, reason, user_id, why,
                            notice_for_operator(task, event, why), clock_wall_ms());
}

static enum err finish(struct task *task, struct billing *billing, const struct event *event,
                       const char *state, const struct sync_outcome *outcome, const char *why)
{
    unsigned settled = 0;
    enum err e = store_event_done(task, billing->store, event->id, state, REASON_NONE,
                                  outcome->user_id, why, outcome->mail, clock_wall_ms());

    metric_add(METRIC_events_applied, 1);
    /* What concerns somebody else is told by its own event. */
    if (e == OK && outcome->user_id != NULL && outcome->customer_id != NULL &&
        outcome->asked_ms != 0 && !outcome->has_others)
        e = store_events_done(task, billing->store, outcome->customer_id, outcome->asked_ms,
                              outcome->user_id, clock_wall_ms(), &settled);
    metric_add(METRIC_events_applied, settled);
    return e;
}

/* It did not go through: Stripe or the store is down, or Stripe refuses us. */
static enum err settle_failure(struct task *task, struct billing *billing,
                               const struct event *event, enum err failure)
{
    const char *why = task->text == NULL ? err_info(failure)->name : task->text;

    log_warning(task, "an event could not be applied and will be retried",
                LOG_S("event", event->id), LOG_S("error", err_info(failure)->name),
                LOG_S("detail", why));
    /* A goodbye is all that stands between who is gone and being billed on. */
    if (clock_wall_ms() - event->received_ms > GIVE_UP_MS &&
        strcmp(event->type, STORE_EVENT_GOODBYE) != 0)
        return give_up(task, billing, event, REASON_FAILED, NULL, why);
    /* What has failed for one of the customer's would now fail for the others. */
    return store_event_postpone(task, billing->store, event->id, clock_wall_ms(), true, why);
}

/* A plan is paid, and is nobody's, or a second one of somebody's. */
static enum err settle_unplaced(struct task *task, struct billing *billing,
                                const struct event *event, const struct sync_outcome *outcome)
{
    metric_add(METRIC_payments_unplaced, 1);
    if (outcome->result == SYNC_PAID_TWICE)
        return give_up(task, billing, event, REASON_PAID_TWICE, outcome->named_id,
                       mem_printf(task->mem,
                                  "paid twice: %s of the customer %s, by the user %s who pays as "
                                  "another customer; cancel and refund one of them",
                                  outcome->subscription_id, outcome->customer_id,
                                  outcome->named_id));
    if (outcome->named_id != NULL)
        return give_up(task, billing, event, REASON_PAID_FOR_ANOTHER, outcome->named_id,
                       mem_printf(task->mem,
                                  "%s pays for a plan of the user %s, as the customer %s of the "
                                  "user %s: sell it to a customer of their own, and cancel and "
                                  "refund this one",
                                  outcome->subscription_id, outcome->named_id, outcome->customer_id,
                                  outcome->user_id));
    if (event->attempts < UNPLACED_TRIES)
        return put_off(task, billing, event, "a plan is paid, and nobody is known to have paid it");
    return give_up(
        task, billing, event, REASON_NAMES_NOBODY, NULL,
        mem_printf(task->mem,
                   "%s of the customer %s pays for a plan, and names no user here: say whose "
                   "it is by manus billing link USER %s, or cancel and refund it",
                   outcome->subscription_id, outcome->customer_id, outcome->customer_id));
}

static enum err settle(struct task *task, struct billing *billing, const struct event *event,
                       const struct sync_outcome *outcome, struct event_verdict *ret)
{
    switch (outcome->result) {
    case SYNC_NOBODY:
        ret->result = EVENT_UNKNOWN;
        return finish(task, billing, event, EVENT_IGNORED, outcome, "nobody of ours is concerned");
    case SYNC_UNPLACED:
    case SYNC_PAID_TWICE:
        ret->result = EVENT_UNKNOWN;
        return settle_unplaced(task, billing, event, outcome);
    case SYNC_PRICE_UNKNOWN:
        ret->result = EVENT_LATER;
        return give_up(task, billing, event, REASON_PRICE_UNKNOWN, outcome->user_id,
                       mem_printf(task->mem,
                                  "its price is in no plan: add the price of %s to PLANS_FILE or "
                                  "STRIPE_PRICE_ID_…, then replay this",
                                  outcome->subscription_id));
    default:
        ret->result = EVENT_APPLIED;
        ret->user_id = outcome->user_id;
        if (outcome->has_duplicate && event->attempts < DUPLICATE_TRIES)
            return put_off(task, billing, event, "a second subscription could not be ended yet");
        return finish(task, billing, event, EVENT_DONE, outcome,
                      outcome->note == NULL ? "" : outcome->note);
    }
}

static enum err apply_payload(struct task *task, struct billing *billing, const struct event *event,
                              const json_t *payload, struct event_verdict *ret)
{
    const struct row *row = row_of(event->type);
    struct sync_outcome outcome = {.result = SYNC_DONE};
    enum err e;

    *ret = (struct event_verdict){.result = EVENT_LATER, .type = event->type};
    if (row == NULL || payload == NULL) {
        ret->result = EVENT_SKIPPED;
        return finish(task, billing, event, EVENT_IGNORED, &outcome, "of no concern");
    }
    e = act_on(task, billing, event, payload, row->action, &outcome);
    if (e != OK)
        return settle_failure(task, billing, event, e);
    return settle(task, billing, event, &outcome, ret);
}

enum err inbox_apply(struct task *task, struct billing *billing, const struct event *event,
                     struct event_verdict *ret)
{
    struct json_problem problem;
    auto_json json_t *payload = json_read_mended(event->payload, strlen(event->payload), &problem);

    assert_off_loops();
    return apply_payload(task, billing, event, payload, ret);
}

/* Accepting */

struct inbox {
    struct billing *billing;
    atomic_int inlined;
};

/* Why an event is recorded and not applied; NULL: it is to be applied. `*ret_message` as in struct
 * event_verdict. */
static const char *reason_to_skip(const struct settings *settings, const json_t *event,
                                  const struct row *row, const char **ret_message)
{
    const json_t *live = json_object_get(event, "livemode");

    *ret_message = NULL;
    if (row == NULL || row->action == ACTION_GOODBYE || row->action == ACTION_FOUND)
        return "its type is of no concern";
    if (stripe_is_configured(settings) && json_is_boolean(live) &&
        json_is_true(live) != stripe_is_live(settings))
        *ret_message = "Event of the other mode (livemode)";
    else if (*stripe_text(event, "account") != '\0' || *stripe_text(event, "context") != '\0')
        *ret_message = "Event of another account";
    else if (row->action == ACTION_INVOICE && *subscription_of_invoice(object_of(event)) == '\0')
        *ret_message = "No subscription in invoice";
    return *ret_message;
}

static bool is_event(const json_t *event)
{
    return strcmp(stripe_text(event, "object"), "event") == 0 &&
           stripe_is_id(stripe_text(event, "id"), "evt_") && *stripe_text(event, "type") != '\0' &&
           json_is_object(object_of(event));
}

/* What was signed and is no event is kept for whoever wants to know. */
static enum err keep_unreadable(struct task *task, struct inbox *inbox, const char *body,
                                size_t len, struct event_verdict *ret)
{
    uint8_t digest[CRYPTO_HASH_BYTES];
    struct event event = {.type = "unreadable",
                          .state = EVENT_DEAD,
                          .error = "it is not an event from Stripe",
                          .reason = REASON_UNREADABLE,
                          .received_ms = clock_wall_ms()};
    struct event_kept kept;

    crypto_sha256(digest, body, len);
    event.id = mem_printf(task->mem, "body_%s", text_base64url(task->mem, digest, 16));
    event.done_ms = event.received_ms;
    event.payload = strlen(body) == len && unicode_is_valid(body, len) ? body : "";
    ret->result = EVENT_UNREADABLE;
    return store_event_put(task, inbox->billing->store, &event, 0, &kept);
}

static enum err read_again(struct task *task, struct inbox *inbox, const char *id,
                           struct event_verdict *ret)
{
    struct event event;
    bool found;
    enum err e = store_event_by_id(task, inbox->billing->store, id, &found, &event);

    ret->result = EVENT_LATER;
    if (e != OK || !found)
        return e;
    ret->user_id = event.user_id;
    if (strcmp(event.state, EVENT_DONE) == 0)
        ret->result = EVENT_APPLIED;
    else if (strcmp(event.state, EVENT_IGNORED) == 0)
        ret->result = EVENT_SKIPPED;
    return OK;
}

/* While Stripe waits. */
static enum err apply_now(struct task *task, struct inbox *inbox, struct inbox_delivery *delivery)
{
    const struct event *event = &delivery->event;
    struct event_verdict *ret = &delivery->verdict;
    int64_t deadline_ms = task->deadline_ms, soon_ms = clock_mono_ms() + INLINE_MS;
    enum err e;

    task->deadline_ms = soon_ms < deadline_ms ? soon_ms : deadline_ms;
    if (delivery->json == NULL)
        e = inbox_apply(task, inbox->billing, event, ret);
    else
        e = apply_payload(task, inbox->billing, event, *delivery->json, ret);
    task->deadline_ms = deadline_ms;
    if (e == OK)
        return OK;
    /* It is stored: whatever went wrong, it will be applied. */
    log_warning(task, "an event is applied later", LOG_S("event", event->id),
                LOG_S("detail", task->text));
    ret->result = EVENT_LATER;
    return OK;
}

/* Reads what was signed. False: it is no event. */
static bool read_event(struct task *task, const json_t *json, struct event *event,
                       struct event_verdict *ret)
{
    if (json == NULL || !is_event(json))
        return false;
    event->id = mem_string(task->mem, stripe_text(json, "id"));
    event->type = ret->type = mem_string(task->mem, stripe_text(json, "type"));
    event->customer_id = links_of(task->mem, object_of(json)).customer_id;
    event->error = reason_to_skip(task->settings, json, row_of(event->type), &ret->message);
    event->state = event->error != NULL ? EVENT_IGNORED : EVENT_WAITING;
    event->done_ms = event->error != NULL ? event->received_ms : 0;
    return true;
}

/* `now`: it is applied here, unless another one of its customer is in work. */
static enum err take_in(struct task *task, struct inbox *inbox, struct inbox_delivery *delivery,
                        bool now)
{
    struct event *event = &delivery->event;
    struct event_verdict *ret = &delivery->verdict;
    struct event_kept kept;
    enum err e = store_event_put(task, inbox->billing->store, event, now ? LEASE_MS : 0, &kept);

    if (e != OK)
        return e;
    if (kept.is_new)
        metric_add(METRIC_webhook_events, 1);
    ret->result = EVENT_SKIPPED;
    if (event->error != NULL)
        return OK;
    if (strcmp(kept.state, EVENT_WAITING) != 0)
        return read_again(task, inbox, event->id, ret);
    ret->result = EVENT_LATER;
    event->attempts = kept.attempts;
    return kept.is_taken ? apply_now(task, inbox, delivery) : OK;
}

static int free_json(json_t **json)
{
    json_decref(*json);
    return 0;
}

void inbox_read(struct task *task, const char *body, size_t len, struct inbox_delivery *delivery)
{
    struct json_problem problem;

    delivery->body = body;
    delivery->len = len;
    delivery->json = mem_new(task->mem, json_t *);
    *delivery->json = json_read_mended(body, len, &problem);
    talloc_set_destructor(delivery->json, free_json);
    delivery->event = (struct event){.received_ms = clock_wall_ms(), .payload = body};
    delivery->verdict = (struct event_verdict){0};
    delivery->is_event = read_event(task, *delivery->json, &delivery->event, &delivery->verdict);
}

enum err inbox_accept(struct task *task, struct inbox *inbox, struct inbox_delivery *delivery)
{
    bool now;
    enum err e;

    assert_off_loops();
    delivery->event.received_ms = clock_wall_ms(); /* from when on its lease counts */
    if (!delivery->is_event)
        return keep_unreadable(task, inbox, delivery->body, delivery->len, &delivery->verdict);
    now = atomic_fetch_add(&inbox->inlined, 1) < INLINE;
    e = take_in(task, inbox, delivery, now);
    atomic_fetch_sub(&inbox->inlined, 1);
    return e;
}

static void on_stored(struct store_later *later, enum err e)
{
    struct inbox_delivery *delivery = container_of(later, struct inbox_delivery, later);
    bool skipped = delivery->event.error != NULL;

    if (e == OK) {
        metric_add(METRIC_webhook_events, delivery->kept.is_new);
        delivery->is_settled = skipped || strcmp(delivery->kept.state, EVENT_WAITING) == 0;
        delivery->verdict.result = skipped ? EVENT_SKIPPED : EVENT_LATER;
    }
    delivery->done(delivery, e);
}

/* What is to be applied while Stripe waits is none of it, unless enough of that is under way. */
enum err inbox_accept_later(struct task *task, struct inbox *inbox, struct inbox_delivery *delivery,
                            bool *ret_begun)
{
    struct event *event = &delivery->event;
    enum err e;

    assert_on_a_loop();
    *ret_begun = false;
    if (!delivery->is_event || (event->error == NULL && atomic_load(&inbox->inlined) < INLINE))
        return OK;
    talloc_free(take_ptr(delivery->json)); /* many may wait */
    delivery->later = (struct store_later){on_stored, delivery->gone, event->customer_id};
    e = store_event_put_later(task, inbox->billing->store, event, 0, &delivery->kept,
                              &delivery->later);
    *ret_begun = e == OK;
    return e;
}

enum err inbox_put(struct task *task, struct inbox *inbox, const json_t *event, bool *ret_new)
{
    struct event read = {.received_ms = clock_wall_ms()};
    char *payload = NULL;
    struct event_verdict verdict = {0};
    struct event_kept kept = {0};
    enum err e = OK;

    assert_off_loops();
    if (read_event(task, event, &read, &verdict))
        read.payload = payload = json_dumps(event, JSON_COMPACT);
    if (payload != NULL)
        e = store_event_put(task, inbox->billing->store, &read, 0, &kept);
    free(payload);
    *ret_new = e == OK && kept.is_new;
    return e;
}

/* Working off */

enum err inbox_run(struct task *task, struct inbox *inbox, struct job_run *run)
{
    assert_off_loops();
    while (job_goes_on(run)) {
        auto_tree void *mem = mem_tree(16384);
        struct task one = {.mem = mem,
                           .settings = job_settings(run),
                           .job = "inbox",
                           .deadline_ms = clock_mono_ms() + APPLY_MS};
        struct event_verdict verdict;
        struct event event;
        bool found = false;
        enum err e = store_event_take(&one, inbox->billing->store, clock_wall_ms(), LEASE_MS,
                                      &found, &event);

        if (e == OK && !found)
            return OK;
        one.is_repetition = e == OK && event.waits > 0;
        if (e == OK) {
            job_needs_help(run);
            e = inbox_apply(&one, inbox->billing, &event, &verdict);
        }
        if (e != OK) {
            log_bounded(LOG_WARNING, &one, "the inbox of events cannot be read",
                        LOG_S("detail", one.text));
            return fail(task, e, mem_string(task->mem, one.text));
        }
    }
    return OK;
}

enum err inbox_sweep(struct task *task, struct inbox *inbox, struct job_run *run)
{
    unsigned count = 1;
    enum err e = OK;

    assert_off_loops();
    while (e == OK && count > 0 && job_goes_on(run)) {
        task->deadline_ms = clock_mono_ms() + APPLY_MS;
        e = store_event_sweep(task, inbox->billing->store, clock_wall_ms() - KEPT_MS, &count);
    }
    if (e != OK)
        log_bounded(LOG_WARNING, task, "old events cannot be removed", LOG_S("detail", task->text));
    return e;
}

enum err inbox_hasten(struct task *task, struct inbox *inbox, struct job_run *run)
{
    unsigned count = 0;
    enum err e;

    (void)run;
    task->deadline_ms = clock_mono_ms() + APPLY_MS;
    e = store_events_hasten(task, inbox->billing->store, clock_wall_ms(), &count);
    if (e != OK)
        log_warning(task, "waiting events cannot be retried early", LOG_S("detail", task->text));
    else if (count > 0)
        log_info(task, "Stripe answers again: failed events are retried now",
                 LOG_I("events", count));
    return e;
}

struct inbox *inbox_open(void *mem, struct billing *billing)
{
    struct inbox *inbox = mem_new(mem, struct inbox);

    inbox->billing = billing;
    return inbox;
}
