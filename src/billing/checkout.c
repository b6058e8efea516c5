#include "billing/checkout.h"

#include "billing/page.h"
#include "billing/return_url.h"
#include "core/clock.h"
#include "core/crypto.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/unicode.h"

#include <assert.h>
#include <string.h>

enum {
    LEASE_MS = 30000, /* longer than any request may take */
    WAITERS = 2,      /* of the lane's threads */
    WAIT_MS = 3000,
    LOOK_MS = 50,
    ROUNDS = 4, /* sessions that turn out to be over, customers that are gone, others to close */
    NAME_CHARACTERS = 256, /* of a customer's name, by Stripe's rule */
};

/* Customers */

/* Stripe counts characters. */
static const char *cut(void *mem, const char *text, unsigned characters)
{
    size_t len = strlen(text), end = 0;

    while (end < len && characters-- > 0) {
        size_t width = unicode_width(text + end, len - end);

        end += width == 0 ? 1 : width;
    }
    return mem_copy(mem, text, end);
}

/* What a customer can do without, if Stripe takes it not: their address it asks for at its page. */
struct optional {
    const char *name, *value;
    bool is_refused;
};

static bool is_refused(const struct stripe_call *call, const struct optional *optional)
{
    return call->status == 400 && !optional->is_refused &&
           (strcmp(call->param, optional->name) == 0 ||
            (strcmp(call->code, "email_invalid") == 0 && strcmp(optional->name, "email") == 0));
}

/* Asks once; another form has another key. */
static enum err ask_for_customer(struct task *task, struct billing *billing,
                                 const struct user *user, const char *key,
                                 const struct optional *optional, size_t count,
                                 struct stripe_call *call)
{
    struct text form = text_open(task->mem, 256), whole_key = text_open(task->mem, 128);

    text_add(&whole_key, key);
    for (size_t i = 0; i < count; i++) {
        if (optional[i].is_refused)
            text_printf(&whole_key, ":no_%s", optional[i].name);
        else
            stripe_put(&form, optional[i].name, optional[i].value);
    }
    stripe_put(&form, "metadata[user_id]", user->id);
    call->form = form.s;
    call->key = whole_key.s;
    return stripe_ask(task, billing->stripe, call);
}

static enum err make_customer(struct task *task, struct billing *billing, const struct user *user,
                              int64_t generation, unsigned attempt, const char **ret_id,
                              bool *ret_burnt)
{
    auto_call struct stripe_call call = {
        .method = "POST", .path = "/v1/customers", .about = user->id};
    struct optional optional[] = {
        {.name = "email", .value = user->email},
        {.name = "name", .value = cut(task->mem, user->fullname, NAME_CHARACTERS)}};
    const char *key = mem_printf(task->mem, "manus:customer:%s:%lld:%u", user->id,
                                 (long long)generation, attempt);
    enum err e = ask_for_customer(task, billing, user, key, optional, count_of(optional), &call);

    for (size_t i = 0; i < count_of(optional) && e == ERR_STRIPE;) {
        if (!is_refused(&call, &optional[i])) {
            i++;
            continue;
        }
        log_warning(task,
                    "Stripe rejected a field of a customer: the customer was created without it",
                    LOG_S("param", optional[i].name), LOG_S("said", call.message));
        optional[i].is_refused = true;
        e = ask_for_customer(task, billing, user, key, optional, count_of(optional), &call);
        i = 0;
    }
    *ret_burnt = call.is_burnt || strcmp(call.type, "idempotency_error") == 0;
    if (e != OK)
        return e;
    if (!stripe_is_id(stripe_text(call.reply, "id"), "cus_"))
        return fail(task, ERR_STRIPE_DOWN, "Stripe's customer has no id");
    *ret_id = mem_string(task->mem, stripe_text(call.reply, "id"));
    return OK;
}

/* One of the user's own that they had before, with its credit; *ret_id NULL: there is none. */
static enum err former_own(struct task *task, struct billing *billing, const char *user_id,
                           const char **ret_id)
{
    struct other_customer *others;
    size_t count;
    enum err e = store_customers_other(task, billing->store, user_id, &others, &count);

    *ret_id = NULL;
    for (size_t i = 0; e == OK && i < count && others[i].is_own && *ret_id == NULL; i++) {
        bool is_gone;

        e = sync_is_gone(task, billing, others[i].customer_id, &is_gone);
        if (e == OK && !is_gone)
            *ret_id = others[i].customer_id;
    }
    return e;
}

/* The user's customer, made if there is none. What somebody else has stored at a foreign one, a
 * card perhaps, nobody else buys by. Under the user's lock. */
static enum err customer_of(struct task *task, struct billing *billing, const struct user *user,
                            const struct subscription *subscription, const char **ret_id)
{
    bool burnt = false;
    enum err e;

    *ret_id = subscription->customer_id;
    if (*ret_id != NULL && !subscription->customer_is_foreign)
        return OK;
    e = former_own(task, billing, user->id, ret_id);
    if (e == OK && *ret_id == NULL)
        e = make_customer(task, billing, user, subscription->generation, 1, ret_id, &burnt);
    /* A failure that Stripe has stored, or the address has changed since: another key. */
    if (e != OK && burnt)
        e = make_customer(task, billing, user, subscription->generation,
                          (unsigned)(clock_wall_ms() / 1000), ret_id, &burnt);
    if (e == OK)
        e = store_customer_link(
            task, billing->store,
            &(struct customer_link){.user_id = user->id,
                                    .generation = subscription->generation,
                                    .former = subscription->customer_id,
                                    .customer_id = *ret_id,
                                    .former_is_foreign = subscription->customer_is_foreign,
                                    .now_ms = clock_wall_ms()},
            ret_id);
    billing_forget(billing, user->id);
    if (e == OK && *ret_id == NULL)
        return fail(task, ERR_CONFLICT, "The account has just changed: try again");
    return e;
}

/* Checkout */

static enum err refuse_subscribed(struct task *task)
{
    return fail(task, ERR_CONFLICT,
                "You have a subscription already: change its plan, or manage it in the portal");
}

bool checkout_is_subscribed(const struct subscription *subscription)
{
    return subscription->stripe_id != NULL && strcmp(subscription->plan, PLAN_FREE) != 0 &&
           strcmp(subscription->status, "incomplete") != 0;
}

static bool is_kept_from_buying(const struct billing *billing, const struct settings *settings,
                                const struct subscription *subscription)
{
    /* By what others have stopped paying nobody is kept. */
    if (subscription->customer_is_foreign &&
        !entitlement_of(billing->plans, settings, subscription, clock_wall_ms()).is_paid)
        return false;
    return checkout_is_subscribed(subscription);
}

static const char *form_of(struct task *task, const struct checkout *checkout,
                           const char *customer_id)
{
    struct text form = text_open(task->mem, 512);

    stripe_put(&form, "mode", "subscription");
    stripe_put(&form, "customer", customer_id);
    stripe_put(&form, "client_reference_id", checkout->user_id);
    stripe_put(&form, "line_items[0][price]", checkout->price_id);
    stripe_put(&form, "line_items[0][quantity]", "1");
    stripe_put(&form, "payment_method_types[0]", "card");
    stripe_put(&form, "success_url", checkout->success_url);
    stripe_put(&form, "cancel_url", checkout->cancel_url);
    stripe_put(&form, "metadata[user_id]", checkout->user_id);
    stripe_put(&form, "metadata[plan]", checkout->plan);
    stripe_put(&form, "subscription_data[metadata][user_id]", checkout->user_id);
    stripe_put(&form, "subscription_data[metadata][plan]", checkout->plan);
    return form.s;
}

enum made {
    MADE,
    MADE_NOT,      /* the failure stands */
    MADE_ANOTHER,  /* another key is needed */
    MADE_STRANGER, /* Stripe has lost the customer */
};

static enum err make_session(struct task *task, struct billing *billing,
                             const struct checkout *checkout, const char *customer_id,
                             struct checkout_session *ret, enum made *ret_made)
{
    auto_call struct stripe_call call = {.method = "POST",
                                         .path = "/v1/checkout/sessions",
                                         .form = form_of(task, checkout, customer_id),
                                         .key = checkout->key,
                                         .about = customer_id};
    enum err e = stripe_ask(task, billing->stripe, &call);
    bool kept;

    *ret_made = MADE_NOT;
    if (call.is_burnt)
        *ret_made = MADE_ANOTHER;
    if (e == ERR_STRIPE && stripe_is_missing(&call) && strcmp(call.param, "customer") == 0)
        *ret_made = MADE_STRANGER;
    if (e != OK)
        return e;
    ret->id = mem_string(task->mem, stripe_text(call.reply, "id"));
    ret->url = mem_string(task->mem, stripe_text(call.reply, "url"));
    if (!stripe_is_id(ret->id, "cs_") || *ret->url == '\0') {
        *ret_made = MADE_ANOTHER; /* a repeated key gets the session as it was, without its page */
        return fail(task, ERR_STRIPE_DOWN, "Stripe's session has no page");
    }
    *ret_made = MADE;
    return store_checkout_opened(task, billing->store, checkout->key, ret->id, ret->url,
                                 stripe_time_ms(call.reply, "expires_at"), &kept);
}

/* With the reservation, under the user's lock. */
static enum err make_reserved(struct task *task, struct billing *billing, const struct user *user,
                              const struct checkout *checkout, struct checkout_session *ret,
                              enum made *ret_made)
{
    struct subscription subscription;
    struct sync_outcome outcome;
    const char *customer_id;
    enum err e = billing_subscription(task, billing, user->id, &subscription);

    assert(billing_is_locked(billing, user->id));
    *ret_made = MADE_NOT;
    if (e == OK && subscription.customer_id != NULL) {
        /* What was bought meanwhile, and not heard of. */
        e = sync_locked(task, billing, user->id, subscription.customer_id, &outcome);
        if (e == OK)
            e = billing_subscription(task, billing, user->id, &subscription);
        if (e == OK && is_kept_from_buying(billing, task->settings, &subscription))
            return refuse_subscribed(task);
        if (e == OK && outcome.result == SYNC_PRICE_UNKNOWN)
            return fail(task, ERR_CONFLICT,
                        "You pay for a plan that is not known here yet: ask for help");
    }
    if (e == OK)
        e = customer_of(task, billing, user, &subscription, &customer_id);
    if (e == OK)
        e = make_session(task, billing, checkout, customer_id, ret, ret_made);
    if (*ret_made == MADE_STRANGER) {
        (void)!store_customer_unlink(task, billing->store, customer_id, clock_wall_ms());
        billing_forget(billing, user->id);
    }
    return e;
}

/* The page for something else, which could be paid beside the new one. One that was made and not
 * noted is had again by its key. Under the user's lock. */
static enum err close_other(struct task *task, struct billing *billing, const char *user_id,
                            const struct checkout *other)
{
    struct checkout_session session = {.id = other->session_id};
    struct subscription subscription;
    enum made made;
    enum err e = billing_subscription(task, billing, user_id, &subscription);

    if (e != OK)
        return e;
    if (session.id == NULL && subscription.customer_id != NULL) {
        e = make_session(task, billing, other, subscription.customer_id, &session, &made);
        if (e != OK && (e == ERR_STRIPE || made == MADE_ANOTHER || made == MADE_STRANGER))
            session.id = NULL; /* there is none */
        else if (e != OK)
            return e;
    }
    if (session.id == NULL)
        return store_checkout_close(task, billing->store, other->key);
    e = page_close(task, billing, session.id);
    if (e == ERR_CONFLICT)
        return refuse_subscribed(task);
    return e == OK ? store_checkout_close(task, billing->store, session.id) : e;
}

/* Gives the reservation back as the failure asks for; *ret_again: it is worth another round. */
static void settle_failure(struct task *task, struct billing *billing,
                           const struct checkout *checkout, enum err e, enum made made,
                           bool *ret_again)
{
    const char *text = task->text, *where = task->where;
    const struct phrase *phrase = task->phrase;
    bool is_unknown = err_info(e)->blame == BLAME_REMOTE && e != ERR_STRIPE && made == MADE_NOT;

    if (made == MADE) /* at Stripe; only our note of it failed */
        is_unknown = true;
    *ret_again = made == MADE_ANOTHER || made == MADE_STRANGER;
    if (is_unknown)
        (void)!store_checkout_release(task, billing->store, checkout->key);
    else
        (void)!store_checkout_close(task, billing->store, checkout->key);
    task->err = e;
    task->text = text;
    task->where = where;
    task->phrase = phrase;
}

/* One that is open here: is it at Stripe too? *ret_over: no. */
static enum err reuse(struct task *task, struct billing *billing, const struct user *user,
                      const struct checkout *checkout, struct checkout_session *ret, bool *ret_over)
{
    struct sync_outcome outcome;
    const char *status;
    enum err e = checkout_fulfil(task, billing, checkout->session_id, user->id, &status, &outcome);

    *ret_over = false;
    if (e == OK && strcmp(status, "open") == 0) {
        *ret = (struct checkout_session){checkout->session_id, checkout->url};
        return OK;
    }
    if (e == OK && strcmp(status, "complete") == 0 && checkout_is_subscribed(&outcome.found))
        return refuse_subscribed(task);
    if (e == OK && strcmp(status, "pending") == 0)
        return fail(task, ERR_CONFLICT, "A payment is in progress: wait until it is complete");
    if (e != OK && e != ERR_NOT_FOUND)
        return e;
    *ret_over = true;
    return store_checkout_close(task, billing->store, checkout->session_id);
}

/* Somebody makes one for the same user: a few wait for it. True: look again. */
static bool wait_for_other(struct task *task, struct billing *billing, int64_t until_ms)
{
    bool may = atomic_fetch_add(&billing->waiting, 1) < WAITERS;
    int64_t now_ms = clock_mono_ms();

    if (may && now_ms < until_ms && now_ms < task->deadline_ms)
        usleep(LOOK_MS * 1000);
    else
        may = false;
    atomic_fetch_sub(&billing->waiting, 1);
    return may;
}

static enum err close_other_locked(struct task *task, struct billing *billing, const char *user_id,
                                   const struct checkout *other)
{
    enum err e = billing_lock(task, billing, user_id);

    if (e != OK)
        return e;
    e = close_other(task, billing, user_id, other);
    billing_unlock(billing, user_id);
    return e;
}

static enum err make_locked(struct task *task, struct billing *billing, const struct user *user,
                            const struct checkout *checkout, struct checkout_session *ret,
                            enum made *ret_made)
{
    enum err e = billing_lock(task, billing, user->id);

    *ret_made = MADE_NOT;
    if (e != OK)
        return e;
    e = make_reserved(task, billing, user, checkout, ret, ret_made);
    billing_unlock(billing, user->id);
    return e;
}

static enum err begin(struct task *task, struct billing *billing, const struct user *user,
                      struct checkout *wanted, struct checkout_session *ret)
{
    int64_t until_ms = clock_mono_ms() + WAIT_MS;

    for (int round = 0; round < ROUNDS;) {
        enum checkout_reserved reserved;
        struct checkout checkout;
        bool again = false;
        enum made made;
        enum err e;

        wanted->key = mem_printf(task->mem, "manus:checkout:%s", crypto_id(task->mem));
        wanted->created_ms = clock_wall_ms();
        e = store_checkout_reserve(task, billing->store, wanted, LEASE_MS, &reserved, &checkout);
        if (e != OK)
            return e;
        if (reserved == CHECKOUT_BUSY) {
            if (wait_for_other(task, billing, until_ms))
                continue;
            return fail(task, ERR_CONFLICT, "A checkout is being opened: try again");
        }
        round++;
        if (reserved == CHECKOUT_OPEN) {
            e = reuse(task, billing, user, &checkout, ret, &again);
        } else if (reserved == CHECKOUT_OTHER) {
            e = close_other_locked(task, billing, user->id, &checkout);
            again = e == OK;
        } else {
            e = make_locked(task, billing, user, &checkout, ret, &made);
            if (e != OK)
                settle_failure(task, billing, &checkout, e, made, &again);
        }
        if (!again)
            return e;
    }
    return fail(task, ERR_STRIPE_DOWN, "no session could be had");
}

static const char *chosen_url(struct task *task, const char *given, const char *suffix)
{
    return given != NULL ? given
                         : mem_printf(task->mem, "%s?%s",
                                      return_url_default(task->mem, task->settings), suffix);
}

enum err checkout_begin(struct task *task, struct billing *billing, const struct user *user,
                        const struct checkout_wanted *wanted, struct checkout_session *ret)
{
    const struct plan *plan = plans_by_name(billing->plans, wanted->plan);
    struct subscription subscription;
    struct checkout checkout = {.user_id = user->id};
    enum err e;

    assert_off_loops();
    if (plan == NULL || (plan_price(plan) == NULL && stripe_is_configured(task->settings)))
        return fail(
            task, ERR_BAD_REQUEST,
            mem_printf(task->mem, "Invalid plan: %s", plan == NULL ? wanted->plan : plan->name));
    if ((wanted->success_url != NULL &&
         !return_url_is_allowed(task->settings, wanted->success_url)) ||
        (wanted->cancel_url != NULL && !return_url_is_allowed(task->settings, wanted->cancel_url)))
        return fail(task, ERR_BAD_REQUEST, "Redirect URL is not allowed");
    e = stripe_need(task, billing->stripe);
    if (e == OK)
        e = billing_subscription(task, billing, user->id, &subscription);
    if (e != OK)
        return e;
    if (is_kept_from_buying(billing, task->settings, &subscription))
        return refuse_subscribed(task);
    checkout.plan = plan->name;
    checkout.price_id = plan_price(plan);
    checkout.success_url = chosen_url(task, wanted->success_url,
                                      "success=true&session_id={CHECKOUT_SESSION_ID}");
    checkout.cancel_url = chosen_url(task, wanted->cancel_url, "canceled=true");
    return begin(task, billing, user, &checkout, ret);
}

/* Coming back */

static const char *status_of(const json_t *session)
{
    const char *status = stripe_text(session, "status");

    if (strcmp(status, "complete") != 0)
        return strcmp(status, "open") == 0 ? "open" : "expired";
    return strcmp(stripe_text(session, "payment_status"), "unpaid") == 0 ? "pending" : "complete";
}

static const char *text_or_null(struct task *task, const char *text)
{
    return *text == '\0' ? NULL : mem_string(task->mem, text);
}

/* Whose session it is, by what is stored of its customer, else by what it says itself. */
static bool is_theirs(struct task *task, struct billing *billing, const json_t *session,
                      const char *user_id)
{
    struct subscription subscription;
    bool found = false;
    const char *customer_id = stripe_id_of(session, "customer");

    if (user_id == NULL)
        return true;
    if (*customer_id != '\0' &&
        store_subscription_by_customer(task, billing->store, customer_id, &found, &subscription) ==
            OK &&
        found)
        return strcmp(subscription.user_id, user_id) == 0;
    return strcmp(stripe_text(session, "client_reference_id"), user_id) == 0;
}

enum err checkout_fulfil(struct task *task, struct billing *billing, const char *session_id,
                         const char *user_id, const char **ret_status, struct sync_outcome *ret)
{
    auto_call struct stripe_call call = {.method = "GET"};
    struct sync_links links;
    const char *named;
    bool is_had;
    enum err e = stripe_need(task, billing->stripe);

    assert_off_loops();
    *ret = (struct sync_outcome){.result = SYNC_NOBODY};
    *ret_status = "expired";
    if (e != OK)
        return e;
    if (!stripe_is_id(session_id, "cs_"))
        return fail(task, ERR_NOT_FOUND, "Checkout session not found");
    call.path = mem_printf(task->mem, "/v1/checkout/sessions/%s", session_id);
    e = stripe_ask(task, billing->stripe, &call);
    if (e == ERR_STRIPE && stripe_is_missing(&call))
        return fail(task, ERR_NOT_FOUND, "Checkout session not found");
    if (e != OK)
        return e;
    if (!is_theirs(task, billing, call.reply, user_id))
        return fail(task, ERR_NOT_FOUND, "Checkout session not found");
    *ret_status = status_of(call.reply);
    if (strcmp(*ret_status, "open") == 0)
        return OK;
    if (strcmp(*ret_status, "pending") != 0)
        e = store_checkout_close(task, billing->store, session_id);
    named = stripe_text(call.reply, "client_reference_id");
    if (*named == '\0')
        named = stripe_text(json_object_get(call.reply, "metadata"), "user_id");
    links = (struct sync_links){text_or_null(task, stripe_id_of(call.reply, "customer")),
                                text_or_null(task, stripe_id_of(call.reply, "subscription")),
                                text_or_null(task, named)};
    if (e == OK)
        e = sync_subscription(task, billing, &links, ret);
    if (e == OK && user_id != NULL && ret->result == SYNC_PAID_TWICE)
        return fail(task, ERR_CONFLICT,
                    "You have paid for a second subscription beside the one that you have: ask "
                    "for the money back");
    /* Paid, and not had yet. */
    is_had = ret->is_given &&
             (user_id == NULL || (ret->user_id != NULL && strcmp(ret->user_id, user_id) == 0));
    if (e == OK && strcmp(*ret_status, "complete") == 0 && !is_had)
        *ret_status = "pending";
    return e;
}
