#include "billing/page.h"

#include "remote/stripe.h"

#include <assert.h>
#include <string.h>

enum { PAGES_OPEN = 100 };

enum err page_close(struct task *task, struct billing *billing, const char *session_id)
{
    auto_call struct stripe_call call = {
        .method = "POST",
        .path = mem_printf(task->mem, "/v1/checkout/sessions/%s/expire", session_id),
        .key = mem_printf(task->mem, "manus:expire:%s", session_id)};
    enum err e = stripe_ask(task, billing->stripe, &call);

    assert(session_id != NULL);
    if (e == ERR_STRIPE) {
        auto_call struct stripe_call look = {
            .method = "GET", .path = mem_printf(task->mem, "/v1/checkout/sessions/%s", session_id)};
        e = stripe_ask(task, billing->stripe, &look);
        if (e == ERR_STRIPE && stripe_is_missing(&look))
            return OK;
        if (e == OK && strcmp(stripe_text(look.reply, "status"), "complete") == 0)
            return fail(task, ERR_CONFLICT, "This page was paid at this moment");
    }
    return e;
}

enum err page_close_all(struct task *task, struct billing *billing, const char *customer_id)
{
    auto_call struct stripe_call call = {
        .method = "GET", .path = "/v1/checkout/sessions", .about = customer_id};
    struct text query = text_open(task->mem, 128);
    const json_t *data, *session;
    size_t i;
    enum err e;

    assert(customer_id != NULL);
    stripe_put(&query, "customer", customer_id);
    stripe_put(&query, "status", "open");
    stripe_put_int(&query, "limit", PAGES_OPEN);
    call.form = query.s;
    e = stripe_ask(task, billing->stripe, &call);
    if (e == ERR_STRIPE && stripe_is_missing(&call))
        return OK; /* Stripe has lost that customer: there is nothing to close */
    data = json_object_get(call.reply, "data");
    json_array_foreach(data, i, session)
    {
        const char *id = stripe_text(session, "id");

        /* Other products' pages are no matter of ours. */
        if (e == OK && stripe_is_id(id, "cs_") &&
            *stripe_text(json_object_get(session, "metadata"), "plan") != '\0')
            e = page_close(task, billing, mem_string(task->mem, id));
        if (e == ERR_CONFLICT)
            e = OK;
    }
    return e;
}
