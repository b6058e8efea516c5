#include "billing/catchup.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"

#include <string.h>
#include <unistd.h>

enum {
    TYPES = 20, /* that Stripe takes in one question */
    PAGE = 100,
    PAGES = 50, /* of one run; what is left is for the next */
    PAGE_MS = 20000,
    PACE_MS = 100,
    GO_ON_MS = 1000,
    RETRY_MS = 60 * 1000,
    OVERLAP_S = 600,
    LONGEST_S = 30 * 86400,
};

static const char mark_name[] = "events";

struct catchup {
    struct billing *billing;
    struct inbox *inbox;

    /* What is under way, over several runs. */
    int64_t since_s, newest_s; /* since_s 0: none is */
    size_t type;               /* the first that is asked for */
    char after[256];           /* the event behind which to go on; "": the newest */
    unsigned found;
};

/* Begins a run, if there is a mark to begin at. */
static enum err begin(struct task *task, struct catchup *c)
{
    int64_t now_s = clock_wall_ms() / 1000, mark_ms;
    bool found;
    enum err e = store_mark(task, c->billing->store, mark_name, &found, &mark_ms);

    if (e != OK)
        return e;
    if (!found)
        return store_mark_set(task, c->billing->store, mark_name, now_s * 1000);
    c->newest_s = mark_ms / 1000;
    /* Noted by a clock that was ahead: it says nothing of what was looked through. */
    if (c->newest_s > now_s + OVERLAP_S)
        c->newest_s = now_s - LONGEST_S;
    c->since_s = c->newest_s - OVERLAP_S;
    if (c->since_s < now_s - LONGEST_S)
        c->since_s = now_s - LONGEST_S;
    c->type = 0;
    c->after[0] = '\0';
    c->found = 0;
    return OK;
}

static const char *question(struct task *task, const struct catchup *c)
{
    struct text query = text_open(task->mem, 1024);
    const char *type;

    stripe_put_int(&query, "limit", PAGE);
    stripe_put_int(&query, "created[gte]", c->since_s);
    for (size_t i = c->type; i < c->type + TYPES && (type = inbox_type(i)) != NULL; i++)
        stripe_put(&query, "types[]", type);
    if (c->after[0] != '\0')
        stripe_put(&query, "starting_after", c->after);
    return query.s;
}

static enum err put_page(struct task *task, struct catchup *c, const json_t *data, int64_t now_s)
{
    const json_t *event;
    size_t i;

    json_array_foreach(data, i, event)
    {
        int64_t created_s = stripe_int(event, "created");
        bool is_new;
        enum err e = inbox_put(task, c->inbox, event, &is_new);

        if (e != OK)
            return e;
        if (created_s > c->newest_s)
            c->newest_s = created_s;
        c->found += is_new;
        metric_add(METRIC_events_found, is_new);
    }
    if (c->newest_s > now_s)
        c->newest_s = now_s;
    return OK;
}

/* All is seen: so it is noted. */
static enum err end(struct task *task, struct catchup *c)
{
    c->since_s = 0;
    if (c->found > 0)
        log_info(task, "missed events were found at Stripe", LOG_I("events", c->found));
    return store_mark_set(task, c->billing->store, mark_name, c->newest_s * 1000);
}

static void tell_refusal(struct task *task, const struct stripe_call *call)
{
    if (call->status == 403)
        log_warning(task,
                    "the key may not read events, so manus finds changes during its own downtime "
                    "a day later: give the key the permission Events: read");
    else
        log_warning(task, "Stripe's events cannot be listed", LOG_S("detail", task->text));
}

/* One page of what Stripe has, newest first. */
static enum err look(struct task *task, struct catchup *c)
{
    auto_call struct stripe_call call = {.method = "GET", .path = "/v1/events"};
    const json_t *data;
    const char *last;
    enum err e;

    call.form = question(task, c);
    e = stripe_ask(task, c->billing->stripe, &call);
    if (e == ERR_STRIPE)
        tell_refusal(task, &call);
    if (e != OK)
        return e;
    data = json_object_get(call.reply, "data");
    if (!json_is_array(data))
        return fail(task, ERR_STRIPE_DOWN, "Stripe's answer is not a page of events");
    last = stripe_text(json_array_get(data, json_array_size(data) - 1), "id");
    e = put_page(task, c, data, call.date_s != 0 ? call.date_s : clock_wall_ms() / 1000);
    if (e != OK)
        return e;
    if (json_is_false(json_object_get(call.reply, "has_more"))) {
        c->type += TYPES;
        c->after[0] = '\0';
        return inbox_type(c->type) == NULL ? end(task, c) : OK;
    }
    if (!stripe_is_id(last, "evt_") || strcmp(last, c->after) == 0)
        return fail(task, ERR_STRIPE_DOWN, "Stripe's pages of events do not end");
    snprintf(c->after, sizeof c->after, "%s", last);
    return OK;
}

/* A page or the beginning. *ret_more false: there is no more to do now. */
static enum err go_on(struct task *task, struct catchup *c, struct job_run *run, bool *ret_more)
{
    auto_tree void *mem = mem_tree(65536);
    struct task page = {.mem = mem,
                        .settings = job_settings(run),
                        .job = "catch-up",
                        .deadline_ms = clock_mono_ms() + PAGE_MS,
                        .is_repetition = true};
    enum err e = c->since_s == 0 ? begin(&page, c) : look(&page, c);

    *ret_more = e == OK && c->since_s != 0;
    if (e == OK)
        return OK;
    c->since_s = 0;
    /* What Stripe refuses it will refuse again: that is for the next hour. */
    if (e != ERR_STRIPE) {
        log_warning(&page, "the search for missed events at Stripe failed",
                    LOG_S("detail", page.text));
        job_again(run, RETRY_MS);
    }
    return fail(task, e, mem_string(task->mem, page.text));
}

enum err catchup_run(struct task *task, struct catchup *c, struct job_run *run)
{
    bool more = true;

    assert_off_loops();
    if (!stripe_is_configured(task->settings))
        return OK;
    for (int i = 0; i < PAGES && job_goes_on(run); i++) {
        enum err e = go_on(task, c, run, &more);

        if (!more)
            return e;
        if (i > 0)
            usleep(PACE_MS * 1000);
    }
    job_again(run, GO_ON_MS);
    return OK;
}

struct catchup *catchup_open(void *mem, struct billing *billing, struct inbox *inbox)
{
    struct catchup *c = mem_new(mem, struct catchup);

    c->billing = billing;
    c->inbox = inbox;
    return c;
}
