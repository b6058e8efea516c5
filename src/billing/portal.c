#include "billing/portal.h"

#include "billing/return_url.h"
#include "core/crypto.h"
#include "core/email.h"
#include "core/loop.h"

#include <string.h>

enum { INVOICES = 24 };

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

enum err portal_fail_unless_own(struct task *task, struct billing *billing,
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
                                  const struct subscription *subscription)
{
    struct sync_outcome outcome;
    enum err e;

    e = billing_lock(task, billing, subscription->user_id);
    if (e != OK)
        return e;
    e = sync_locked(task, billing, subscription->user_id, subscription->customer_id, &outcome);
    billing_unlock(billing, subscription->user_id);
    return e != OK ? e
                   : fail(task, ERR_BAD_REQUEST,
                          mem_printf(task->mem, "No Stripe customer found for user: %s",
                                     subscription->user_id));
}

enum err portal_open(struct task *task, struct billing *billing, const char *user_id,
                     const char *return_url, const char **ret_url)
{
    auto_call struct stripe_call call = {.method = "POST", .path = "/v1/billing_portal/sessions"};
    struct subscription subscription;
    struct text form = text_open(task->mem, 256);
    const char *customer_id;
    enum err e;

    assert_off_loops();
    if (return_url != NULL && !return_url_is_allowed(task->settings, return_url))
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
               return_url != NULL ? return_url : return_url_default(task->mem, task->settings));
    call.form = form.s;
    call.key = mem_printf(task->mem, "manus:portal:%s", crypto_id(task->mem));
    e = stripe_ask(task, billing->stripe, &call);
    if (e == ERR_STRIPE && stripe_is_missing(&call) && strcmp(call.param, "customer") == 0)
        return look_whether_gone(task, billing, &subscription);
    if (e == OK)
        *ret_url = mem_string(task->mem, stripe_text(call.reply, "url"));
    return e;
}

enum err portal_invoices(struct task *task, struct billing *billing, const char *user_id,
                         json_t **ret)
{
    auto_call struct stripe_call call = {.method = "GET", .path = "/v1/invoices"};
    struct subscription subscription;
    struct text query = text_open(task->mem, 96);
    const char *customer_id = NULL;
    enum err e = billing_subscription(task, billing, user_id, &subscription);

    assert_off_loops();
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
