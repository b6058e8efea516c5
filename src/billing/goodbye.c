#include "billing/goodbye.h"

#include "billing/page.h"
#include "core/log.h"
#include "core/loop.h"

#include <string.h>

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
        e = asking_name(task, billing, subscription, known_id);
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

enum err goodbye_say(struct task *task, struct billing *billing, const char *customer_id,
                     const char *subscription_id, const char *user_id)
{
    auto_json json_t *list = NULL;
    json_t *one;
    struct subscription stored;
    bool missing, is_linked, is_others, has_others = false, is_listed = false;
    size_t i;
    enum err e;

    assert_off_loops();
    if (!stripe_is_id(customer_id, "cus_"))
        return OK;
    e = store_subscription_by_customer(task, billing->store, customer_id, &is_linked, &stored);
    if (e != OK || is_linked) /* by now it is somebody else's */
        return e;
    e = asking_list(task, billing, customer_id, &list, &missing);
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
    log_info(task, "a customer was kept at Stripe: they pay for something else there",
             LOG_S("customer", customer_id));
    return page_close_all(task, billing, customer_id);
}
