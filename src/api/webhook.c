/* Where Stripe delivers its events. */
#include "api/app.h"
#include "api/handlers.h"
#include "api/limits.h"
#include "api/shapes.h"
#include "billing/inbox.h"
#include "billing/signature.h"
#include "core/clock.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "http/reply.h"

#include <assert.h>

/* What is longer would keep a loop busy for too long with its signature and its JSON. */
enum { FAST_BYTES = 8 << 10 };

/* Whoever cannot sign is counted; Stripe itself may come as often as it likes. */
static enum err refuse(struct request *req, int status, const char *msg)
{
    metric_add(METRIC_webhook_refused, 1);
    return limits_charge_refused(req) ? reply_error(req, status, msg) : OK;
}

static enum err say(struct request *req, const char *status, const char *name, const char *value)
{
    struct text body;
    struct json_writer w = reply_begin(req, &body);

    put_string(&w, "status", status);
    if (value != NULL)
        put_string(&w, name, value);
    return reply_end(req, 200, &w);
}

static enum err answer(struct request *req, const struct event_verdict *verdict)
{
    switch (verdict->result) {
    case EVENT_APPLIED:
        req->task.user_id = verdict->user_id;
        return say(req, "success", "user_id", verdict->user_id);
    case EVENT_SKIPPED:
        if (verdict->message != NULL)
            return say(req, "ignored", "message", verdict->message);
        return say(req, "ignored", "event_type", verdict->type);
    case EVENT_UNKNOWN:
        return say(req, "error", "message", "Subscription not found");
    case EVENT_UNREADABLE:
        return reply_error(req, 400, "Webhook processing failed: this is no event");
    default:
        return say(req, "received", NULL, NULL);
    }
}

/* A delivery that cannot be signed, whatever its body, is refused without it. */
const struct refusal *billing_webhook_head(const struct request *req)
{
    static const struct refusal missing = {400, "Missing Stripe-Signature header", NULL},
                                wrong = {401, "Invalid webhook signature", NULL};
    const char *header = request_header(req, HEADER_STRIPE_SIGNATURE);

    if (req->task.settings->stripe_webhook_secret.count == 0)
        return NULL;
    if (req->headers[HEADER_STRIPE_SIGNATURE].count == 0)
        return &missing;
    if (header == NULL || !signature_may_be_right(header, clock_turn_wall_ms() / 1000))
        return &wrong;
    return NULL;
}

/* A delivery whose signature was right. */
struct delivery {
    struct inbox_delivery inbox;
    struct request *req;
    enum err outcome;
};

static struct delivery *read_delivery(struct request *req, const char *body)
{
    struct delivery *delivery = mem_new(req->task.mem, struct delivery);

    delivery->req = req;
    inbox_read(&req->task, body, req->body_len, &delivery->inbox);
    return delivery;
}

static enum err accept_delivery(struct request *req, struct delivery *delivery)
{
    enum err e = inbox_accept(&req->task, app_of(req)->inbox, &delivery->inbox);

    assert(delivery->req == req);
    return e == OK ? answer(req, &delivery->inbox.verdict) : e;
}

static bool is_signed(const struct request *req, const char *body)
{
    const char *header = request_header(req, HEADER_STRIPE_SIGNATURE);

    return header != NULL && signature_is_right(&req->task.settings->stripe_webhook_secret, header,
                                                body, req->body_len, clock_turn_wall_ms() / 1000);
}

/* On the lane. What the loop has read is neither verified nor read again. */
enum err billing_webhook(struct request *req)
{
    const char *body = req->body == NULL ? "" : req->body;

    if (req->writing != NULL)
        return accept_delivery(req, take_ptr(req->writing));
    if (req->task.settings->stripe_webhook_secret.count == 0)
        return fail(&req->task, ERR_STRIPE_OFF, "Billing is not configured");
    if (!is_signed(req, body))
        return refuse(req, 401, "Invalid webhook signature");
    return accept_delivery(req, read_delivery(req, body));
}

static void on_stored(struct inbox_delivery *stored, enum err e)
{
    struct delivery *delivery = container_of(stored, struct delivery, inbox);

    delivery->outcome = e;
    request_go_on(delivery->req);
}

/* False: it was here before, and what became of it must be read on the lane. */
static bool end_delivery(struct request *req)
{
    const struct delivery *delivery = req->writing;

    assert(delivery->req == req);
    if (delivery->outcome == OK && !delivery->inbox.is_settled)
        return false;
    req->writing = NULL;
    if (delivery->outcome == OK)
        answer(req, &delivery->inbox.verdict);
    return true;
}

/* On the loop: what is only to be stored. Who cannot sign is counted where one may wait for that.
 */
bool billing_webhook_fast(struct request *req)
{
    struct delivery *delivery;
    enum err e;

    assert_on_a_loop();
    if (req->writing != NULL)
        return end_delivery(req);
    if (req->body == NULL || req->body_len > FAST_BYTES || !is_signed(req, req->body))
        return false;
    req->writing = delivery = read_delivery(req, req->body);
    delivery->inbox.done = on_stored;
    delivery->inbox.gone = &req->job.gone;
    e = inbox_accept_later(&req->task, app_of(req)->inbox, &delivery->inbox, &req->waits);
    return e != OK || req->waits;
}
