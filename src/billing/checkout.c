#include "billing/checkout.h"

#include "billing/page.h"
#include "billing/return_url.h"
#include "core/clock.h"
#include "core/crypto.h"
#include "core/email.h"
#include "core/log.h"
#include "core/unicode.h"
#include "remote/advice.h"

#include <stdlib.h>
#include <string.h>

enum {
    LEASE_MS = 30000, /* longer than any request may take */
    WAITERS = 2,      /* of the lane's threads */
    WAIT_MS = 3000,
    LOOK_MS = 50,
    ROUNDS = 4, /* sessions that turn out to be over, customers that are gone, others to close */
    PREVIEW_S = 900, /* for so long a preview's price is had */
    INVOICES = 24,
    ITEMS_MOST = 20,       /* of a subscription */
    NAME_CHARACTERS = 256, /* of a customer's name, by Stripe's rule */
};

#define MONTH_MS_MOST (32 * INT64_C(86400000))

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
        return fail(task, ERR_CONFLICT, "The account changes: try again");
    return e;
}

/* Checkout */

static enum err refuse_subscribed(struct task *task)
{
    return fail(task, ERR_CONFLICT,
                "You have a subscription already: change its plan, or manage it in the portal");
}

/* A second subscription beside this one would be billed beside it; also one that is paused would,
 * once it goes on. */
static bool is_subscribed(const struct subscription *subscription)
{
    return subscription->stripe_id != NULL && strcmp(subscription->plan, PLAN_FREE) != 0 &&
           strcmp(subscription->status, "incomplete") != 0;
}

static bool is_kept_from_buying(const struct billing *billing, const struct settings *settings,
                                const struct subscription *subscription)
{
    /* By what others have stopped paying nobody is kept. */
    if (subscription->customer_is_foreign &&
        !standing_of(billing->plans, settings, subscription, clock_wall_ms()).is_paid)
        return false;
    return is_subscribed(subscription);
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
static enum err make_reserved(struct task *task, struct billing *billing,
                              const struct settings *settings, const struct user *user,
                              const struct checkout *checkout, struct checkout_session *ret,
                              enum made *ret_made)
{
    struct subscription subscription;
    struct sync_outcome outcome;
    const char *customer_id;
    enum err e = billing_subscription(task, billing, user->id, &subscription);

    *ret_made = MADE_NOT;
    if (e == OK && subscription.customer_id != NULL) {
        /* What was bought meanwhile, and not heard of. */
        e = sync_locked(task, billing, settings, user->id, subscription.customer_id, &outcome);
        if (e == OK)
            e = billing_subscription(task, billing, user->id, &subscription);
        if (e == OK && is_kept_from_buying(billing, settings, &subscription))
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
static enum err reuse(struct task *task, struct billing *billing, const struct settings *settings,
                      const struct user *user, const struct checkout *checkout,
                      struct checkout_session *ret, bool *ret_over)
{
    struct sync_outcome outcome;
    const char *status;
    enum err e = checkout_fulfil(task, billing, settings, checkout->session_id, user->id, &status,
                                 &outcome);

    *ret_over = false;
    if (e == OK && strcmp(status, "open") == 0) {
        *ret = (struct checkout_session){checkout->session_id, checkout->url};
        return OK;
    }
    if (e == OK && strcmp(status, "complete") == 0 && is_subscribed(&outcome.found))
        return refuse_subscribed(task);
    if (e == OK && strcmp(status, "pending") == 0)
        return fail(task, ERR_CONFLICT, "A payment is under way: wait until it has come");
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

static enum err make_locked(struct task *task, struct billing *billing,
                            const struct settings *settings, const struct user *user,
                            const struct checkout *checkout, struct checkout_session *ret,
                            enum made *ret_made)
{
    enum err e = billing_lock(task, billing, user->id);

    *ret_made = MADE_NOT;
    if (e != OK)
        return e;
    e = make_reserved(task, billing, settings, user, checkout, ret, ret_made);
    billing_unlock(billing, user->id);
    return e;
}

static enum err begin(struct task *task, struct billing *billing, const struct settings *settings,
                      const struct user *user, struct checkout *wanted,
                      struct checkout_session *ret)
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
            e = reuse(task, billing, settings, user, &checkout, ret, &again);
        } else if (reserved == CHECKOUT_OTHER) {
            e = close_other_locked(task, billing, user->id, &checkout);
            again = e == OK;
        } else {
            e = make_locked(task, billing, settings, user, &checkout, ret, &made);
            if (e != OK)
                settle_failure(task, billing, &checkout, e, made, &again);
        }
        if (!again)
            return e;
    }
    return fail(task, ERR_STRIPE_DOWN, "no session could be had");
}

static const char *chosen_url(struct task *task, const struct settings *settings, const char *given,
                              const char *suffix)
{
    return given != NULL
               ? given
               : mem_printf(task->mem, "%s?%s", return_url_default(task->mem, settings), suffix);
}

enum err checkout_begin(struct task *task, struct billing *billing, const struct settings *settings,
                        const struct user *user, const struct checkout_wanted *wanted,
                        struct checkout_session *ret)
{
    const struct plan *plan = plans_by_name(billing->plans, wanted->plan);
    struct subscription subscription;
    struct checkout checkout = {.user_id = user->id};
    enum err e;

    if (plan == NULL || (plan_price(plan) == NULL && stripe_is_configured(settings)))
        return fail(
            task, ERR_BAD_REQUEST,
            mem_printf(task->mem, "Invalid plan: %s", plan == NULL ? wanted->plan : plan->name));
    if ((wanted->success_url != NULL && !return_url_is_allowed(settings, wanted->success_url)) ||
        (wanted->cancel_url != NULL && !return_url_is_allowed(settings, wanted->cancel_url)))
        return fail(task, ERR_BAD_REQUEST, "Redirect URL is not allowed");
    e = stripe_need(task, billing->stripe);
    if (e == OK)
        e = billing_subscription(task, billing, user->id, &subscription);
    if (e != OK)
        return e;
    if (is_kept_from_buying(billing, settings, &subscription))
        return refuse_subscribed(task);
    checkout.plan = plan->name;
    checkout.price_id = plan_price(plan);
    checkout.success_url = chosen_url(task, settings, wanted->success_url,
                                      "success=true&session_id={CHECKOUT_SESSION_ID}");
    checkout.cancel_url = chosen_url(task, settings, wanted->cancel_url, "canceled=true");
    return begin(task, billing, settings, user, &checkout, ret);
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

enum err checkout_fulfil(struct task *task, struct billing *billing,
                         const struct settings *settings, const char *session_id,
                         const char *user_id, const char **ret_status, struct sync_outcome *ret)
{
    auto_call struct stripe_call call = {.method = "GET"};
    struct sync_links links;
    const char *named;
    bool is_had;
    enum err e = stripe_need(task, billing->stripe);

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
        e = sync_subscription(task, billing, settings, &links, ret);
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

/* Whose card it is */

/* A customer that was made elsewhere is the user's if its address is the one that they have proved
 * to be theirs, and is so from now on. */
static enum err prove_own(struct task *task, struct billing *billing,
                          const struct subscription *subscription, bool *ret)
{
    auto_call struct stripe_call call = {0};
    const char *email;
    struct user user;
    bool found;
    enum err e = store_user_by_id(task, billing->store, subscription->user_id, &found, &user);

    *ret = false;
    if (e != OK || !found || user.verified_ms == 0)
        return e;
    e = stripe_ask_customer(task, billing->stripe, subscription->customer_id, &call);
    if (e != OK)
        return e == ERR_STRIPE && stripe_is_missing(&call) ? OK : e;
    email = email_normalise(task->mem, stripe_text(call.reply, "email"));
    *ret = email != NULL && strcmp(email, user.email) == 0;
    return *ret ? sync_keep_as_own(task, billing, subscription) : OK;
}

/* Whether the user may do what is paid by the customer's card, or see what that has paid. */
static enum err is_own(struct task *task, struct billing *billing,
                       const struct subscription *subscription, bool *ret)
{
    *ret = !subscription->customer_is_foreign;
    return *ret ? OK : prove_own(task, billing, subscription, ret);
}

static enum err fail_foreign(struct task *task)
{
    return fail(task, ERR_CONFLICT,
                "Your plan was paid with an e-mail address that is not the confirmed one of your "
                "account: the person who paid can manage it with Stripe's mails, or ask for help");
}

static enum err fail_unless_own(struct task *task, struct billing *billing,
                                const struct subscription *subscription)
{
    bool own;
    enum err e = is_own(task, billing, subscription, &own);

    return e != OK || own ? e : fail_foreign(task);
}

/* Portal and invoices */

/* The customer whose card the user may manage: the one that is linked, else the one of their own
 * that makes room for it meanwhile. *ret NULL: neither. */
static enum err manageable(struct task *task, struct billing *billing,
                           const struct subscription *subscription, const char **ret)
{
    struct other_customer *others;
    bool own;
    size_t count;
    enum err e = is_own(task, billing, subscription, &own);

    *ret = own ? subscription->customer_id : NULL;
    if (e != OK || own)
        return e;
    e = store_customers_other(task, billing->store, subscription->user_id, &others, &count);
    if (e == OK && count > 0 && others[0].is_own)
        *ret = others[0].customer_id;
    return e;
}

/* Stripe says that it knows no such customer. */
static enum err look_whether_gone(struct task *task, struct billing *billing,
                                  const struct settings *settings,
                                  const struct subscription *subscription)
{
    struct sync_outcome outcome;
    enum err e;

    e = billing_lock(task, billing, subscription->user_id);
    if (e != OK)
        return e;
    e = sync_locked(task, billing, settings, subscription->user_id, subscription->customer_id,
                    &outcome);
    billing_unlock(billing, subscription->user_id);
    return e != OK ? e
                   : fail(task, ERR_BAD_REQUEST,
                          mem_printf(task->mem, "No Stripe customer found for user: %s",
                                     subscription->user_id));
}

enum err checkout_portal(struct task *task, struct billing *billing,
                         const struct settings *settings, const char *user_id,
                         const char *return_url, const char **ret_url)
{
    auto_call struct stripe_call call = {.method = "POST", .path = "/v1/billing_portal/sessions"};
    struct subscription subscription;
    struct text form = text_open(task->mem, 256);
    const char *customer_id;
    enum err e;

    if (return_url != NULL && !return_url_is_allowed(settings, return_url))
        return fail(task, ERR_BAD_REQUEST, "Redirect URL is not allowed");
    e = stripe_need(task, billing->stripe);
    if (e == OK)
        e = billing_subscription(task, billing, user_id, &subscription);
    if (e != OK)
        return e;
    if (subscription.customer_id == NULL)
        return fail(task, ERR_BAD_REQUEST,
                    mem_printf(task->mem, "No Stripe customer found for user: %s", user_id));
    e = manageable(task, billing, &subscription, &customer_id);
    if (e != OK || customer_id == NULL)
        return e != OK ? e : fail_foreign(task);
    stripe_put(&form, "customer", customer_id);
    call.about = customer_id;
    stripe_put(&form, "return_url",
               return_url != NULL ? return_url : return_url_default(task->mem, settings));
    call.form = form.s;
    call.key = mem_printf(task->mem, "manus:portal:%s", crypto_id(task->mem));
    e = stripe_ask(task, billing->stripe, &call);
    if (e == ERR_STRIPE && stripe_is_missing(&call) && strcmp(call.param, "customer") == 0)
        return look_whether_gone(task, billing, settings, &subscription);
    if (e == OK)
        *ret_url = mem_string(task->mem, stripe_text(call.reply, "url"));
    return e;
}

enum err checkout_invoices(struct task *task, struct billing *billing, const char *user_id,
                           json_t **ret)
{
    auto_call struct stripe_call call = {.method = "GET", .path = "/v1/invoices"};
    struct subscription subscription;
    struct text query = text_open(task->mem, 96);
    const char *customer_id = NULL;
    enum err e = billing_subscription(task, billing, user_id, &subscription);

    *ret = NULL;
    if (e == OK && subscription.customer_id != NULL)
        e = manageable(task, billing, &subscription, &customer_id);
    if (e != OK || customer_id == NULL)
        return e;
    stripe_put(&query, "customer", customer_id);
    stripe_put_int(&query, "limit", INVOICES);
    call.form = query.s;
    call.about = customer_id;
    e = stripe_ask(task, billing->stripe, &call);
    if (e == ERR_STRIPE && stripe_is_missing(&call))
        return OK;
    if (e == OK)
        *ret = json_incref(json_object_get(call.reply, "data"));
    return e;
}

/* Changing */

/* The live subscription as it is now, and its item that has our plan. */
static enum err read_live(struct task *task, struct billing *billing,
                          const struct subscription *subscription, json_t **ret)
{
    auto_call struct stripe_call call = {
        .method = "GET", .form = "expand[0]=latest_invoice", .about = subscription->customer_id};
    enum err e;

    if (!is_subscribed(subscription) || !stripe_is_id(subscription->stripe_id, "sub_"))
        return fail(task, ERR_BAD_REQUEST, "There is no subscription to change");
    call.path = mem_printf(task->mem, "/v1/subscriptions/%s", subscription->stripe_id);
    e = stripe_ask(task, billing->stripe, &call);
    if (e == ERR_STRIPE && stripe_is_missing(&call))
        return fail(task, ERR_BAD_REQUEST, "There is no subscription to change");
    if (e == OK)
        e = sync_items(task, billing->stripe, call.reply);
    if (e == OK && (strcmp(stripe_id_of(call.reply, "customer"), subscription->customer_id) != 0 ||
                    !reading_is_ours(billing->plans, call.reply, subscription) ||
                    !reading_is_live(call.reply)))
        return fail(task, ERR_BAD_REQUEST, "There is no subscription to change");
    if (e == OK)
        *ret = json_incref(call.reply);
    return e;
}

/* What a schedule says would come over any change. */
static enum err fail_if_scheduled(struct task *task, const json_t *live)
{
    const char *schedule = stripe_id_of(live, "schedule");

    if (*schedule == '\0')
        return OK;
    return fail(task, ERR_CONFLICT,
                mem_printf(task->mem,
                           "A schedule (%s) says already how this subscription goes on: ask for "
                           "help to change that",
                           schedule));
}

/* Which items a switch changes: the one that becomes the new plan, and others that are plans too,
 * which go. */
struct items_changed {
    const char *kept;
    const char *gone[ITEMS_MOST];
    size_t gone_count;
};

/* Kept is the one that has the new price already, else the plan's. False: which one it is cannot be
 * told. */
static bool choose_items(const struct billing *billing, const json_t *live,
                         const struct subscription *subscription, const char *new_price,
                         struct items_changed *ret)
{
    const json_t *items = json_object_get(json_object_get(live, "items"), "data"), *item;
    const struct plan *plan;
    const json_t *kept = reading_plan_item(billing->plans, live, subscription, &plan);
    size_t i;

    *ret = (struct items_changed){0};
    json_array_foreach(items, i, item)
    {
        const json_t *quantity = json_object_get(item, "quantity");
        bool is_none = json_is_integer(quantity) && json_integer_value(quantity) == 0;

        if (strcmp(stripe_id_of(item, "price"), new_price) == 0 && !is_none)
            kept = item;
    }
    json_array_foreach(items, i, item)
    {
        if (item != kept && ret->gone_count < ITEMS_MOST &&
            plans_by_price(billing->plans, stripe_id_of(item, "price")) != NULL)
            ret->gone[ret->gone_count++] = stripe_text(item, "id");
    }
    ret->kept = kept == NULL ? NULL : stripe_text(kept, "id");
    return kept != NULL;
}

/* As Stripe wants them, below `prefix`. */
static void put_items(struct task *task, struct text *form, const char *prefix,
                      const struct items_changed *items, const char *new_price)
{
    stripe_put(form, mem_printf(task->mem, "%s[0][id]", prefix), items->kept);
    stripe_put(form, mem_printf(task->mem, "%s[0][price]", prefix), new_price);
    for (size_t i = 0; i < items->gone_count; i++) {
        stripe_put(form, mem_printf(task->mem, "%s[%zu][id]", prefix, i + 1), items->gone[i]);
        stripe_put(form, mem_printf(task->mem, "%s[%zu][deleted]", prefix, i + 1), "true");
    }
}

static enum err fail_payment(struct task *task, const struct phrase *phrase)
{
    (void)fail(task, ERR_PAYMENT, phrase->in[LANGUAGE_ENGLISH]);
    task->phrase = phrase;
    return ERR_PAYMENT;
}

/* For people: "2026-11-27". */
static const char *day_of(void *mem, int64_t at_ms)
{
    char time[TEXT_TIME_SIZE];

    text_time(time, at_ms);
    return mem_printf(mem, "%.10s", time);
}

static enum err fail_paused(struct task *task)
{
    return fail(task, ERR_CONFLICT,
                "The billing of this subscription is paused: ask for help to change it");
}

/* Whether the plan of what runs can be changed now. Who owes would get credit for what was never
 * paid, and be active again. */
static enum err may_switch(struct task *task, const struct billing *billing, const json_t *live,
                           const struct subscription *subscription, const struct plan *plan,
                           struct items_changed *ret)
{
    const char *status = stripe_text(live, "status");
    const struct plan *now;

    if (reading_is_paused(live))
        return fail(task, ERR_CONFLICT,
                    "Your trial is over, and your subscription paused: resume it first, then "
                    "change the plan, or cancel it and buy another one");
    if (strcmp(status, "active") != 0 && strcmp(status, "trialing") != 0)
        return fail_payment(task, advice_payment_due);
    if (*stripe_text(json_object_get(live, "pause_collection"), "behavior") != '\0')
        return fail_paused(task);
    /* It would be paid, and end all the same. */
    if (reading_ends_with_period(live, reading_plan_item(billing->plans, live, subscription, &now)))
        return fail(task, ERR_CONFLICT,
                    mem_printf(task->mem,
                               "Your subscription ends on %s: take that back first (resume), then "
                               "change the plan",
                               day_of(task->mem, reading_ends_ms(live))));
    if (!choose_items(billing, live, subscription, plan_price(plan), ret))
        return fail(task, ERR_CONFLICT,
                    "It cannot be told what of this subscription is the plan: change it in the "
                    "portal, or ask for help");
    return fail_if_scheduled(task, live);
}

static enum err find_plan(struct task *task, const struct billing *billing,
                          const struct subscription *subscription, const char *name,
                          const struct plan **ret)
{
    *ret = plans_by_name(billing->plans, name);
    if (*ret == NULL || plan_price(*ret) == NULL)
        return fail(task, ERR_BAD_REQUEST, mem_printf(task->mem, "Invalid plan: %s", name));
    if (strcmp((*ret)->name, subscription->plan) == 0)
        return fail(task, ERR_BAD_REQUEST, "This is your plan already");
    return OK;
}

/* Nobody is credited for what they have used, or not paid: who goes to a smaller plan with more
 * runs used than that has, or with an open invoice, has it without a credit. */
static enum err choose_proration(struct task *task, struct billing *billing,
                                 const struct settings *settings,
                                 const struct subscription *subscription, const json_t *live,
                                 const struct plan *plan, bool *ret_credits)
{
    const struct plan *now = plans_by_name(billing->plans, subscription->plan);
    struct subscription stored;
    bool owes = false, found = false;
    enum err e;

    *ret_credits = true;
    /* Of a year what was used in a month is the smaller part. */
    if (subscription->period_end_ms - subscription->period_start_ms > MONTH_MS_MOST)
        return OK;
    if (now == NULL || plan_rank(billing->plans, plan) > plan_rank(billing->plans, now))
        return OK;
    e = sync_owes(task, billing, live, &owes);
    /* What is remembered knows not of the last runs. */
    if (e == OK)
        e = store_subscription_by_user(task, billing->store, subscription->user_id, &found,
                                       &stored);
    *ret_credits = !owes && found &&
                   (plan->runs < 0 ||
                    standing_of(billing->plans, settings, &stored, clock_wall_ms()).used <=
                        plan->runs);
    return e;
}

/* Of a switch that costs nothing now, and gives nothing back. */
static json_t *free_switch(const json_t *live)
{
    return json_pack("{s:i,s:i,s:s,s:{s:[]}}", "amount_due", 0, "total", 0, "currency",
                     stripe_text(live, "currency"), "lines", "data");
}

enum err checkout_preview(struct task *task, struct billing *billing,
                          const struct settings *settings, const char *user_id, const char *name,
                          int64_t *ret_date_s, json_t **ret)
{
    auto_call struct stripe_call call = {.method = "POST", .path = "/v1/invoices/create_preview"};
    auto_json json_t *live = NULL;
    struct subscription subscription;
    struct text form = text_open(task->mem, 512);
    struct items_changed items = {0};
    const struct plan *plan;
    bool credits = true;
    enum err e = stripe_need(task, billing->stripe);

    if (e == OK)
        e = billing_subscription(task, billing, user_id, &subscription);
    if (e == OK)
        e = find_plan(task, billing, &subscription, name, &plan);
    if (e == OK)
        e = read_live(task, billing, &subscription, &live);
    if (e == OK)
        e = fail_unless_own(task, billing, &subscription);
    if (e == OK)
        e = may_switch(task, billing, live, &subscription, plan, &items);
    if (e == OK)
        e = choose_proration(task, billing, settings, &subscription, live, plan, &credits);
    if (e != OK)
        return e;
    *ret_date_s = clock_wall_ms() / 1000;
    if (!credits) {
        *ret = free_switch(live);
        return OK;
    }
    stripe_put(&form, "customer", subscription.customer_id);
    stripe_put(&form, "subscription", subscription.stripe_id);
    put_items(task, &form, "subscription_details[items]", &items, plan_price(plan));
    stripe_put(&form, "subscription_details[proration_behavior]", "always_invoice");
    stripe_put_int(&form, "subscription_details[proration_date]", *ret_date_s);
    call.form = form.s;
    call.key = mem_printf(task->mem, "manus:preview:%s", crypto_id(task->mem));
    call.about = subscription.customer_id;
    e = stripe_ask(task, billing->stripe, &call);
    if (e == OK)
        *ret = json_incref(call.reply);
    return e;
}

/* What Stripe says of it now. Under the user's lock. */
static enum err read_again(struct task *task, struct billing *billing,
                           const struct settings *settings, const struct subscription *subscription,
                           struct subscription *ret)
{
    struct sync_outcome outcome;
    enum err e = sync_locked(task, billing, settings, subscription->user_id,
                             subscription->customer_id, &outcome);

    if (e == OK && outcome.found.user_id == NULL)
        return fail(task, ERR_BAD_REQUEST, "There is no subscription to change");
    if (e == OK)
        *ret = outcome.found;
    return e;
}

/* Asks Stripe, then takes over what has come of it. Under the user's lock. */
static enum err change(struct task *task, struct billing *billing, const struct settings *settings,
                       const struct subscription *subscription, struct stripe_call *call,
                       struct subscription *ret)
{
    enum err e;

    call->about = subscription->customer_id;
    e = stripe_ask(task, billing->stripe, call);
    if (e == ERR_STRIPE && call->status == 402)
        return fail_payment(task, task->phrase);
    return e == OK ? read_again(task, billing, settings, subscription, ret) : e;
}

static enum err switch_plan(struct task *task, struct billing *billing,
                            const struct settings *settings, const char *user_id, const char *name,
                            int64_t date_s, struct subscription *ret)
{
    auto_call struct stripe_call call = {.method = "POST"};
    auto_json json_t *live = NULL;
    struct text form = text_open(task->mem, 384);
    int64_t now_s = clock_wall_ms() / 1000;
    struct items_changed items = {0};
    const struct plan *plan;
    bool credits = true;
    enum err e = billing_subscription(task, billing, user_id, ret);

    if (date_s != 0 && (date_s > now_s + 5 || date_s < now_s - PREVIEW_S))
        return fail(task, ERR_BAD_REQUEST, "This preview is too old: ask for a new one");
    if (e == OK)
        e = find_plan(task, billing, ret, name, &plan);
    if (e == OK)
        e = read_live(task, billing, ret, &live);
    if (e == OK)
        e = fail_unless_own(task, billing, ret);
    if (e == OK)
        e = may_switch(task, billing, live, ret, plan, &items);
    /* What is credited is not used while Stripe is asked. */
    if (e == OK)
        billing_hold_runs(billing, user_id, plan->runs);
    if (e == OK)
        e = choose_proration(task, billing, settings, ret, live, plan, &credits);
    if (e != OK)
        return e;
    if (!credits)
        billing_hold_runs(billing, user_id, -1);
    put_items(task, &form, "items", &items, plan_price(plan));
    stripe_put(&form, "proration_behavior", credits ? "always_invoice" : "none");
    stripe_put(&form, "payment_behavior", "error_if_incomplete");
    if (date_s != 0 && credits)
        stripe_put_int(&form, "proration_date", date_s);
    call.form = form.s;
    call.path = mem_printf(task->mem, "/v1/subscriptions/%s", ret->stripe_id);
    call.key = mem_printf(task->mem, "manus:switch:%s", crypto_id(task->mem));
    return change(task, billing, settings, ret, &call, ret);
}

static enum err fail_changing(struct task *task)
{
    return fail(task, ERR_CONFLICT, "Another change is under way: try again");
}

enum err checkout_change_plan(struct task *task, struct billing *billing,
                              const struct settings *settings, const char *user_id,
                              const char *plan, int64_t date_s, struct subscription *ret)
{
    enum err e = stripe_need(task, billing->stripe);

    if (e != OK)
        return e;
    if (!billing_lock_soon(billing, user_id))
        return fail_changing(task);
    e = switch_plan(task, billing, settings, user_id, plan, date_s, ret);
    billing_unlock(billing, user_id);
    return e;
}

static const char *former_end(const json_t *live)
{
    return stripe_text(json_object_get(live, "metadata"), "manus_cancel_at");
}

/* An end that stood there already is kept in the metadata ("FORMER NEW"), for who takes the new one
 * back. Of items with periods of several lengths Stripe's mark means the longest. */
static const char *form_to_end(struct task *task, const json_t *live, const json_t *item)
{
    int64_t end_ms = reading_period_end_ms(live, item), former_s = stripe_int(live, "cancel_at");
    struct text form = text_open(task->mem, 96);

    if (end_ms <= clock_wall_ms() || (former_s == 0 && end_ms == reading_last_end_ms(live)))
        stripe_put(&form, "cancel_at_period_end", "true");
    else
        stripe_put_int(&form, "cancel_at", end_ms / 1000);
    if (former_s == 0 && *former_end(live) != '\0')
        stripe_put(&form, "metadata[manus_cancel_at]", "");
    else if (former_s != 0)
        stripe_put(
            &form, "metadata[manus_cancel_at]",
            mem_printf(task->mem, "%lld %lld", (long long)former_s, (long long)end_ms / 1000));
    return form.s;
}

/* The end that stood there before the present one; 0: none. */
static int64_t former_end_s(const json_t *live)
{
    char *rest;
    int64_t former_s = strtoll(former_end(live), &rest, 10), end_s = strtoll(rest, NULL, 10);

    return end_s == stripe_int(live, "cancel_at") && former_s > clock_wall_ms() / 1000 ? former_s
                                                                                       : 0;
}

/* Whichever of the two marks stands is taken away; both at once Stripe refuses. NULL: none does. */
static const char *form_to_resume(struct task *task, const json_t *live)
{
    int64_t former_s = former_end_s(live);
    struct text form = text_open(task->mem, 96);

    if (json_is_true(json_object_get(live, "cancel_at_period_end")))
        return "cancel_at_period_end=false";
    if (stripe_int(live, "cancel_at") == 0)
        return NULL;
    if (former_s == 0)
        return "cancel_at=";
    stripe_put_int(&form, "cancel_at", former_s);
    return form.s;
}

/* An end that is further away was agreed on: by whoever ends it here it was not asked for. */
static enum err fail_if_agreed(struct task *task, const json_t *live, const json_t *item)
{
    int64_t at_ms = reading_ends_ms(live);

    if (at_ms == 0 || reading_ends_with_period(live, item))
        return OK;
    if (stripe_int(live, "cancel_at") == 0)
        return fail_paused(task);
    return fail(task, ERR_CONFLICT,
                mem_printf(task->mem,
                           "Your subscription ends on %s as agreed: ask for help to change that",
                           day_of(task->mem, at_ms)));
}

static enum err mark_end(struct task *task, struct billing *billing,
                         const struct settings *settings, const json_t *live, const char *form,
                         bool ends, struct subscription *ret)
{
    auto_call struct stripe_call call = {
        .method = "POST",
        .path = mem_printf(task->mem, "/v1/subscriptions/%s", ret->stripe_id),
        .form = form,
        .key = mem_printf(task->mem, "manus:%s:%s", ends ? "cancel" : "resume",
                          crypto_id(task->mem))};
    enum err e = fail_if_scheduled(task, live);

    return e == OK ? change(task, billing, settings, ret, &call, ret) : e;
}

/* What was owed when it was resumed before is paid, and no second invoice made. */
static enum err unpause(struct task *task, struct billing *billing, const struct settings *settings,
                        const json_t *live, struct subscription *ret)
{
    const char *invoice_id = reading_owes(live) ? stripe_id_of(live, "latest_invoice") : "";
    const struct stripe_call declined = {
        .status = 402, .code = "", .decline_code = "", .param = "", .message = ""};
    auto_call struct stripe_call call = {
        .method = "POST",
        .path = mem_printf(task->mem, "/v1/subscriptions/%s/resume", ret->stripe_id),
        .form = "billing_cycle_anchor=now",
        .key = mem_printf(task->mem, "manus:unpause:%s", crypto_id(task->mem))};
    enum err e;

    if (stripe_is_id(invoice_id, "in_")) {
        call.path = mem_printf(task->mem, "/v1/invoices/%s/pay", invoice_id);
        call.form = NULL;
    }
    e = change(task, billing, settings, ret, &call, ret);
    if (e == OK && strcmp(ret->status, "canceled") == 0)
        return fail_payment(task, advice_for(&declined));
    return e;
}

/* Nothing of what is paused is paid: it need not run out. */
static enum err end_paused(struct task *task, struct billing *billing,
                           const struct settings *settings, struct subscription *ret)
{
    auto_call struct stripe_call call = {
        .method = "DELETE",
        .path = mem_printf(task->mem, "/v1/subscriptions/%s", ret->stripe_id),
        .form = "prorate=false"};

    return change(task, billing, settings, ret, &call, ret);
}

static enum err set_end(struct task *task, struct billing *billing, const struct settings *settings,
                        const char *user_id, bool ends, struct subscription *ret)
{
    auto_json json_t *live = NULL;
    const struct plan *plan;
    const json_t *item;
    const char *form;
    bool is_paused;
    enum err e = billing_subscription(task, billing, user_id, ret);

    if (e == OK)
        e = read_live(task, billing, ret, &live);
    /* Anybody may stop what is paid for them. */
    if (e == OK && !ends)
        e = fail_unless_own(task, billing, ret);
    if (e != OK)
        return e;
    item = reading_plan_item(billing->plans, live, ret, &plan);
    is_paused = reading_is_paused(live);
    if (ends && is_paused)
        return end_paused(task, billing, settings, ret);
    if (!ends)
        e = fail_if_agreed(task, live, item);
    if (e != OK)
        return e;
    /* It is so already. One that ends later is to end sooner. */
    if (ends)
        form = reading_ends_with_period(live, item) ? NULL : form_to_end(task, live, item);
    else
        form = form_to_resume(task, live);
    if (form != NULL)
        e = mark_end(task, billing, settings, live, form, ends, ret);
    else if (!is_paused)
        e = read_again(task, billing, settings, ret, ret);
    return e == OK && is_paused ? unpause(task, billing, settings, live, ret) : e;
}

enum err checkout_cancel(struct task *task, struct billing *billing,
                         const struct settings *settings, const char *user_id,
                         struct subscription *ret)
{
    enum err e = stripe_need(task, billing->stripe);

    if (e != OK)
        return e;
    if (!billing_lock_soon(billing, user_id))
        return fail_changing(task);
    e = set_end(task, billing, settings, user_id, true, ret);
    billing_unlock(billing, user_id);
    return e;
}

enum err checkout_resume(struct task *task, struct billing *billing,
                         const struct settings *settings, const char *user_id,
                         struct subscription *ret)
{
    enum err e = stripe_need(task, billing->stripe);

    if (e != OK)
        return e;
    if (!billing_lock_soon(billing, user_id))
        return fail_changing(task);
    e = set_end(task, billing, settings, user_id, false, ret);
    billing_unlock(billing, user_id);
    return e;
}

static enum err remove_at_stripe(struct task *task, struct billing *billing, const char *path,
                                 const char *customer_id)
{
    auto_call struct stripe_call call = {.method = "DELETE", .path = path, .about = customer_id};
    enum err e = stripe_ask(task, billing->stripe, &call);

    return e == ERR_STRIPE && stripe_is_missing(&call) ? OK : e;
}

/* Bought here for a plan, whatever its price is now. */
static bool was_sold_here(const json_t *subscription)
{
    const json_t *metadata = json_object_get(subscription, "metadata");

    return *stripe_text(metadata, "user_id") != '\0' && *stripe_text(metadata, "plan") != '\0';
}

/* One that somebody made elsewhere stays: it is theirs. */
static enum err remove_customer(struct task *task, struct billing *billing, const char *customer_id,
                                const char *user_id)
{
    auto_call struct stripe_call call = {0};
    enum err e = stripe_ask_customer(task, billing->stripe, customer_id, &call);

    if (e != OK)
        return e == ERR_STRIPE && stripe_is_missing(&call) ? OK : e;
    if (strcmp(stripe_text(json_object_get(call.reply, "metadata"), "user_id"), user_id) != 0)
        return page_close_all(task, billing, customer_id);
    return remove_at_stripe(task, billing, call.path, customer_id);
}

/* What is paid for somebody else who is here goes on. */
static enum err names_other_user(struct task *task, struct billing *billing, json_t *subscription,
                                 const char *known_id, const char *user_id, bool *ret)
{
    const json_t *metadata = json_object_get(subscription, "metadata");
    enum err e = OK;

    *ret = strcmp(stripe_text(metadata, "user_id"), user_id) != 0;
    if (*ret)
        e = sync_name(task, billing, subscription, known_id);
    metadata = json_object_get(subscription, "metadata");
    *ret = *ret && *stripe_text(metadata, "user_id") != '\0';
    return e;
}

/* A customer that was deleted is told as that; one that Stripe does not know means a wrong key. */
static enum err fail_unless_deleted(struct task *task, struct billing *billing,
                                    const char *customer_id)
{
    auto_call struct stripe_call call = {0};
    enum err e = stripe_ask_customer(task, billing->stripe, customer_id, &call);

    if (e != OK)
        return e;
    return json_is_true(json_object_get(call.reply, "deleted"))
               ? OK
               : fail(task, ERR_STRIPE_DOWN, "Stripe does not list what it knows");
}

enum err checkout_goodbye(struct task *task, struct billing *billing, const char *customer_id,
                          const char *subscription_id, const char *user_id)
{
    auto_json json_t *list = NULL;
    json_t *one;
    struct subscription stored;
    bool missing, is_linked, is_others, has_others = false, is_listed = false;
    size_t i;
    enum err e;

    if (!stripe_is_id(customer_id, "cus_"))
        return OK;
    e = store_subscription_by_customer(task, billing->store, customer_id, &is_linked, &stored);
    if (e != OK || is_linked) /* by now it is somebody else's */
        return e;
    e = sync_list(task, billing, customer_id, &list, &missing);
    if (e == OK && missing)
        return fail_unless_deleted(task, billing, customer_id);
    json_array_foreach(list, i, one)
    {
        const char *id = stripe_text(one, "id");
        bool is_ours = reading_is_ours(billing->plans, one, NULL) || was_sold_here(one) ||
                       strcmp(id, subscription_id) == 0;

        is_listed = is_listed || strcmp(id, subscription_id) == 0;
        if (e != OK || reading_is_final(one))
            continue;
        e = names_other_user(task, billing, one, subscription_id, user_id, &is_others);
        if (e == OK && is_ours && !is_others)
            e = remove_at_stripe(task, billing, mem_printf(task->mem, "/v1/subscriptions/%s", id),
                                 customer_id);
        else
            has_others = true;
    }
    /* What somebody had here is not over because a list leaves it out. */
    if (e == OK && !is_listed && stripe_is_id(subscription_id, "sub_"))
        e = remove_at_stripe(task, billing,
                             mem_printf(task->mem, "/v1/subscriptions/%s", subscription_id),
                             customer_id);
    if (e != OK)
        return e;
    if (!has_others)
        return remove_customer(task, billing, customer_id, user_id);
    log_info(task, "a customer stays at Stripe: something else runs for them",
             LOG_S("customer", customer_id));
    return page_close_all(task, billing, customer_id);
}
