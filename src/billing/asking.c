#include "billing/asking.h"

#include "core/loop.h"

#include <assert.h>
#include <string.h>

enum { PAGES = 10, PAGE = 100 };

/* Everything of a list of Stripe's behind what `query` says, about a customer: a new array. */
static enum err list_all(struct task *task, struct stripe *stripe, const char *path,
                         const struct text *query, const char *about, json_t **ret,
                         bool *ret_missing)
{
    const char *after = NULL;
    enum err e = OK;

    *ret = json_array();
    *ret_missing = false;
    for (int i = 0; i < PAGES; i++) {
        auto_call struct stripe_call call = {.method = "GET", .path = path, .about = about};
        struct text form = text_open(task->mem, query->len + 64);
        const char *last;
        json_t *data;

        text_put(&form, query->s, query->len);
        stripe_put_int(&form, "limit", PAGE);
        if (after != NULL)
            stripe_put(&form, "starting_after", after);
        call.form = form.s;
        e = stripe_ask(task, stripe, &call);
        *ret_missing = e == ERR_STRIPE && stripe_is_missing(&call);
        if (*ret_missing)
            return OK;
        if (e != OK)
            return e;
        data = json_object_get(call.reply, "data");
        if (!json_is_array(data))
            return fail(task, ERR_STRIPE_DOWN, "Stripe's list is none");
        json_array_extend(*ret, data);
        if (!json_is_true(json_object_get(call.reply, "has_more")))
            return OK;
        last = stripe_text(json_array_get(data, json_array_size(data) - 1), "id");
        if (*last == '\0' || (after != NULL && strcmp(last, after) == 0))
            break;
        after = mem_string(task->mem, last);
    }
    /* A part is never taken for the whole: what it leaves out may be what is paid. */
    return fail(task, ERR_STRIPE_DOWN, "Stripe's list does not end");
}

enum err asking_items(struct task *task, struct stripe *stripe, json_t *subscription)
{
    json_t *items = json_object_get(subscription, "items");
    const char *id = stripe_text(subscription, "id");
    struct text query = text_open(task->mem, 160);
    auto_json json_t *all = NULL;
    bool missing;
    enum err e;

    assert_off_loops();
    if (!json_is_true(json_object_get(items, "has_more")) || !stripe_is_id(id, "sub_"))
        return OK;
    stripe_put(&query, "subscription", id);
    e = list_all(task, stripe, "/v1/subscription_items", &query,
                 stripe_id_of(subscription, "customer"), &all, &missing);
    if (e == OK && missing)
        return fail(task, ERR_STRIPE_DOWN, "Stripe has no items of a subscription that it has");
    if (e == OK) {
        json_object_set(items, "data", all);
        json_object_set_new(items, "has_more", json_false());
    }
    return e;
}

enum err asking_list(struct task *task, struct billing *billing, const char *customer_id,
                     json_t **ret, bool *ret_missing)
{
    struct text query = text_open(task->mem, 160);
    json_t *one;
    size_t i;
    enum err e;

    assert(customer_id != NULL);
    stripe_put(&query, "customer", customer_id);
    stripe_put(&query, "status", "all");
    stripe_put(&query, "expand[0]", "data.latest_invoice");
    e = list_all(task, billing->stripe, "/v1/subscriptions", &query, customer_id, ret, ret_missing);
    json_array_foreach(*ret, i, one)
    {
        if (e == OK && (!stripe_is_id(stripe_text(one, "id"), "sub_") ||
                        strcmp(stripe_id_of(one, "customer"), customer_id) != 0))
            e = fail(task, ERR_STRIPE_DOWN, "Stripe's list is not of what was asked for");
        if (e == OK && !reading_is_final(one))
            e = asking_items(task, billing->stripe, one);
    }
    return e;
}

enum err asking_owes(struct task *task, struct billing *billing, const json_t *subscription,
                     bool *ret)
{
    auto_json json_t *invoices = NULL;
    struct text query = text_open(task->mem, 160);
    struct debt debt = {0};
    bool missing;
    enum err e;

    stripe_put(&query, "subscription", stripe_text(subscription, "id"));
    stripe_put(&query, "status", "open");
    e = list_all(task, billing->stripe, "/v1/invoices", &query,
                 stripe_id_of(subscription, "customer"), &invoices, &missing);
    reading_debt(billing->plans, invoices, &debt);
    *ret = debt.due_ms != 0;
    return e;
}

enum err asking_user(struct task *task, struct billing *billing, const char *user_id, bool *ret)
{
    struct user user;

    assert(user_id != NULL);
    *ret = false;
    return *user_id == '\0' ? OK : store_user_by_id(task, billing->store, user_id, ret, &user);
}

/* A payment link, or another program's page, tells whom it was for in its session alone. *ret: the
 * first who is a user here; NULL: nobody. */
static enum err ask_sessions(struct task *task, struct billing *billing, const json_t *subscription,
                             const char **ret)
{
    auto_call struct stripe_call call = {.method = "GET",
                                         .path = "/v1/checkout/sessions",
                                         .about = stripe_id_of(subscription, "customer")};
    struct text query = text_open(task->mem, 96);
    const json_t *data, *session;
    bool is_user = false;
    size_t i;
    enum err e;

    *ret = NULL;
    stripe_put(&query, "subscription", stripe_text(subscription, "id"));
    call.form = query.s;
    e = stripe_ask(task, billing->stripe, &call);
    if (e != OK)
        return e == ERR_STRIPE && stripe_is_missing(&call) ? OK : e;
    data = json_object_get(call.reply, "data");
    json_array_foreach(data, i, session)
    {
        const char *names[] = {stripe_text(session, "client_reference_id"),
                               stripe_text(json_object_get(session, "metadata"), "user_id")};

        for (size_t n = 0; n < count_of(names) && e == OK && *ret == NULL; n++) {
            e = asking_user(task, billing, names[n], &is_user);
            if (e == OK && is_user)
                *ret = mem_string(task->mem, names[n]);
        }
    }
    return e;
}

enum err asking_name(struct task *task, struct billing *billing, json_t *subscription,
                     const char *known_id)
{
    json_t *metadata = json_object_get(subscription, "metadata");
    const char *id = stripe_text(subscription, "id"), *named;
    bool is_user;
    enum err e = asking_user(task, billing, stripe_text(metadata, "user_id"), &is_user);

    if (e != OK || is_user)
        return e;
    json_object_del(metadata, "user_id");
    if ((known_id != NULL && strcmp(known_id, id) == 0) || !stripe_is_id(id, "sub_") ||
        !reading_is_paid_plan(billing->plans, subscription))
        return OK;
    e = ask_sessions(task, billing, subscription, &named);
    if (e != OK || named == NULL)
        return e;
    if (!json_is_object(metadata)) {
        metadata = json_object();
        json_object_set_new(subscription, "metadata", metadata);
    }
    json_object_set_new(metadata, "user_id", json_string(named));
    return OK;
}

/* The id of the live subscription of a plan, if there is one alone; else NULL. */
static const char *only_paid(const struct billing *billing, const json_t *list)
{
    const char *found = NULL;
    const json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        if (!reading_is_paid_plan(billing->plans, one))
            continue;
        if (found != NULL)
            return NULL;
        found = stripe_text(one, "id");
    }
    return found;
}

enum err asking_known(struct task *task, struct billing *billing, const char *customer_id,
                      const char *known_id, bool is_somebodys, json_t **ret, bool *ret_missing)
{
    json_t *one;
    size_t i;
    enum err e = asking_list(task, billing, customer_id, ret, ret_missing);

    assert(customer_id != NULL);
    if (known_id == NULL && is_somebodys)
        known_id = only_paid(billing, *ret);
    json_array_foreach(*ret, i, one)
    {
        if (e == OK)
            e = asking_name(task, billing, one, known_id);
    }
    return e;
}

enum err asking_debt(struct task *task, struct billing *billing, const json_t *subscription,
                     struct debt *ret)
{
    const char *id = stripe_text(subscription, "id");
    auto_call struct stripe_call call = {
        .method = "GET", .path = "/v1/invoices", .about = stripe_id_of(subscription, "customer")};
    struct text query = text_open(task->mem, 96);
    enum err e;

    assert_off_loops();
    *ret = (struct debt){0};
    if (strcmp(stripe_text(subscription, "status"), "past_due") != 0 || !stripe_is_id(id, "sub_"))
        return OK;
    stripe_put(&query, "subscription", id);
    stripe_put_int(&query, "limit", PAGE);
    call.form = query.s;
    e = stripe_ask(task, billing->stripe, &call);
    if (e == ERR_STRIPE && stripe_is_missing(&call))
        return OK;
    if (e == OK && !json_is_array(json_object_get(call.reply, "data")))
        return fail(task, ERR_STRIPE_DOWN, "Stripe's list is none");
    reading_debt(billing->plans, json_object_get(call.reply, "data"), ret);
    return e;
}

static enum err fail_stranger(struct task *task)
{
    return fail(task, ERR_STRIPE,
                "Stripe does not know what is paid for here: is STRIPE_SECRET_KEY of the right "
                "account and mode?");
}

/* A customer that was deleted, or one with whom nothing is lost, is gone. Another that Stripe does
 * not know is a wrong key of ours rather. */
static enum err look_for_customer(struct task *task, struct billing *billing,
                                  const char *customer_id, const struct subscription *stored,
                                  bool *ret_gone)
{
    auto_call struct stripe_call call = {0};
    enum err e = stripe_ask_customer(task, billing->stripe, customer_id, &call);
    bool is_missing = e == ERR_STRIPE && stripe_is_missing(&call);

    *ret_gone = is_missing || json_is_true(json_object_get(call.reply, "deleted"));
    if (is_missing && stored->stripe_id != NULL)
        return fail_stranger(task);
    return is_missing ? OK : e;
}

static bool has_subscription(const json_t *list, const char *id)
{
    const json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        if (strcmp(stripe_text(one, "id"), id) == 0)
            return true;
    }
    return false;
}

/* One that somebody has here is not over because a list leaves it out. */
static enum err look_for_known(struct task *task, struct billing *billing,
                               const struct subscription *stored, const char *customer_id,
                               json_t *list)
{
    auto_call struct stripe_call call = {
        .method = "GET", .form = "expand[0]=latest_invoice", .about = stored->customer_id};
    enum err e;

    if (stored->stripe_id == NULL || !stripe_is_id(stored->stripe_id, "sub_") ||
        has_subscription(list, stored->stripe_id))
        return OK;
    call.path = mem_printf(task->mem, "/v1/subscriptions/%s", stored->stripe_id);
    e = stripe_ask(task, billing->stripe, &call);
    if (e == ERR_STRIPE && stripe_is_missing(&call))
        return fail_stranger(task);
    if (e != OK || strcmp(stripe_id_of(call.reply, "customer"), customer_id) != 0)
        return e;
    json_array_append(list, call.reply);
    return asking_items(task, billing->stripe, call.reply);
}

enum err asking_all(struct task *task, struct billing *billing, const char *customer_id,
                    const struct subscription *stored, json_t **ret, bool *ret_gone)
{
    bool missing;
    enum err e = asking_known(task, billing, customer_id, stored->stripe_id, true, ret, &missing);

    assert(customer_id != NULL);
    *ret_gone = false;
    if (e == OK && missing)
        e = look_for_customer(task, billing, customer_id, stored, ret_gone);
    if (e == OK && !*ret_gone)
        e = look_for_known(task, billing, stored, customer_id, *ret);
    return e;
}
