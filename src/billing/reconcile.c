#include "billing/reconcile.h"

#include "billing/inbox.h"
#include "billing/notice.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"

#include <string.h>

enum {
    PAGE = 20,
    STRIPE_PAGE = 100,
    STRIPE_PAGES = 10000, /* a day */
    IN_ROW = 3,           /* that Stripe does not answer: then it is down */
    PAGE_MS = 60000,
    ONE_MS = 15000, /* whoever waits for the same user waits for this */
    PACE_MS = 50,   /* between two of the daily comparison: Stripe's rates are for customers */
    TOLD_MS = 3 * 86400 * 1000, /* before a trial ends */
};

struct reconcile {
    struct billing *billing;
};

#define ROW(rest) "{user_id}  {customer_id|none}{is_in_a_plan?/  its price is in no plan}  " rest
#define WAS "was {was_plan}, {was_status}, {was_subscription_id|none}"

static void tell(struct answer *a, const struct subscription *before,
                 const struct sync_outcome *outcome, bool dry)
{
    const struct subscription *now = dry && outcome->differs ? NULL : &outcome->found;

    if (a == NULL)
        return;
    answer_row(a, NULL,
               !outcome->differs ? ROW("same: {was_plan}, {was_status}")
               : dry             ? ROW("differs: " WAS)
                                 : ROW("mended: " WAS "; is {plan}, {status}, "
                                                   "{subscription_id|none}"));
    answer_string(a, "user_id", before->user_id);
    answer_string(a, "customer_id", before->customer_id);
    answer_flag(a, "is_in_a_plan", outcome->result != SYNC_PRICE_UNKNOWN);
    answer_flag(a, "differs", outcome->differs);
    answer_string(a, "was_plan", before->plan);
    answer_string(a, "was_status", before->status);
    answer_string(a, "was_subscription_id", before->stripe_id);
    answer_string(a, "plan", now == NULL ? NULL : now->plan);
    answer_string(a, "status", now == NULL ? NULL : now->status);
    answer_string(a, "subscription_id", now == NULL ? NULL : now->stripe_id);
    answer_row_end(a);
}

enum err reconcile_one(struct task *task, struct billing *billing,
                       const struct subscription *subscription, bool dry, struct answer *answer,
                       struct reconcile_counts *counts)
{
    struct sync_outcome outcome;
    int64_t deadline_ms = task->deadline_ms, soon_ms = clock_mono_ms() + ONE_MS;
    enum err e;

    assert_off_loops();
    task->deadline_ms = deadline_ms == 0 || soon_ms < deadline_ms ? soon_ms : deadline_ms;
    e = billing_lock(task, billing, subscription->user_id);
    if (e == OK) {
        e = sync_compare(task, billing, subscription->user_id, subscription->customer_id, dry,
                         &outcome);
        billing_unlock(billing, subscription->user_id);
    }
    task->deadline_ms = deadline_ms;
    counts->compared++;
    if (e != OK) {
        counts->failed++;
        return e;
    }
    tell(answer, subscription, &outcome, dry);
    if (!outcome.differs)
        return OK;
    counts->different++;
    metric_add(METRIC_sync_differences, 1);
    log_warning(task,
                dry ? "a subscription differs from Stripe's"
                    : "a subscription differed from Stripe's, and was mended",
                LOG_S("user", subscription->user_id), LOG_S("plan", subscription->plan),
                LOG_S("status", subscription->status), LOG_S("now_plan", outcome.found.plan),
                LOG_S("now_status", outcome.found.status));
    return OK;
}

enum err reconcile_page(struct task *task, struct billing *billing, const char *cursor, bool dry,
                        struct answer *answer, struct reconcile_counts *counts,
                        const char **ret_next)
{
    const struct subscription_filter known = {.with_customer = true};
    const struct store_page page = {cursor, PAGE};
    struct subscription *rows;
    unsigned in_row = 0;
    size_t count;
    enum err e = store_subscriptions(task, billing->store, &known, &page, &rows, &count, ret_next);

    assert_off_loops();
    for (size_t i = 0; e == OK && i < count; i++) {
        e = reconcile_one(task, billing, &rows[i], dry, answer, counts);
        in_row = e == ERR_STRIPE_DOWN ? in_row + 1 : 0;
        /* This one alone, unless nobody is answered. */
        if (e == ERR_STRIPE || e == ERR_BUSY || (in_row > 0 && in_row < IN_ROW && in_row < count))
            e = OK;
    }
    return e;
}

/* Who pays for a plan and is linked to nobody */

/* It names another user than the customer's, who is here. */
static enum err is_anothers(struct task *task, struct billing *billing, json_t *subscription,
                            const struct subscription *stored, bool *ret)
{
    enum err e = asking_name(task, billing, subscription, stored->stripe_id);

    *ret = e == OK && reading_is_anothers(billing->plans, subscription, stored);
    return e;
}

static enum err look_at(struct task *task, struct billing *billing, json_t *subscription,
                        unsigned *found)
{
    const char *id = stripe_text(subscription, "id");
    const char *customer_id = stripe_id_of(subscription, "customer");
    struct subscription stored;
    bool known, anothers;
    enum err e = asking_items(task, billing->stripe, subscription);

    if (e != OK)
        return e;
    if (!reading_is_paid_plan(billing->plans, subscription) || !stripe_is_id(id, "sub_") ||
        !stripe_is_id(customer_id, "cus_"))
        return OK;
    e = store_subscription_by_customer(task, billing->store, customer_id, &known, &stored);
    if (e == OK && known) {
        e = is_anothers(task, billing, subscription, &stored, &anothers);
        known = !anothers;
    }
    if (e != OK || known)
        return e;
    (*found)++;
    return inbox_put_found(task, billing->store, customer_id, id);
}

/* The n-th price of all plans; NULL behind the last. */
static const char *price_at(const struct plans *plans, size_t n)
{
    for (size_t i = 0; i < plans->count; i++) {
        const struct texts *prices = &plans->of[i].price_ids;

        if (n < prices->count)
            return prices->of[n];
        n -= prices->count;
    }
    return NULL;
}

enum err reconcile_find(struct task *task, struct billing *billing, struct find_cursor *cursor,
                        unsigned *found)
{
    auto_call struct stripe_call call = {.method = "GET", .path = "/v1/subscriptions"};
    const char *price_id = price_at(billing->plans, cursor->price);
    struct text query = text_open(task->mem, 256);
    const json_t *data;
    json_t *one;
    const char *last;
    bool more;
    size_t i;
    enum err e;

    assert_off_loops();
    cursor->is_done = price_id == NULL;
    if (cursor->is_done)
        return OK;
    stripe_put(&query, "price", price_id);
    stripe_put_int(&query, "limit", STRIPE_PAGE);
    stripe_put(&query, "expand[0]", "data.latest_invoice");
    if (*cursor->after != '\0')
        stripe_put(&query, "starting_after", cursor->after);
    call.form = query.s;
    e = stripe_ask(task, billing->stripe, &call);
    if (e == ERR_STRIPE && stripe_is_missing(&call))
        e = OK; /* a price that Stripe does not know is nobody's */
    data = json_object_get(call.reply, "data");
    json_array_foreach(data, i, one)
    {
        if (e == OK)
            e = look_at(task, billing, one, found);
    }
    if (e != OK)
        return e;
    last = stripe_text(json_array_get(data, json_array_size(data) - 1), "id");
    more = json_is_true(json_object_get(call.reply, "has_more"));
    if (more && (!stripe_is_id(last, "sub_") || strcmp(last, cursor->after) == 0))
        return fail(task, ERR_STRIPE_DOWN, "Stripe's pages of subscriptions do not end");
    cursor->price += more ? 0 : 1;
    snprintf(cursor->after, sizeof cursor->after, "%s", more ? last : "");
    return OK;
}

static enum err find_unlinked(struct task *task, struct reconcile *r, struct job_run *run)
{
    struct find_cursor cursor = {0};
    unsigned found = 0;
    enum err e = OK;

    for (int i = 0; i < STRIPE_PAGES && e == OK && !cursor.is_done && job_goes_on(run); i++) {
        auto_tree void *mem = mem_tree(65536);
        struct task page = {.mem = mem,
                            .settings = job_settings(run),
                            .job = "reconcile",
                            .deadline_ms = clock_mono_ms() + PAGE_MS};

        e = reconcile_find(&page, r->billing, &cursor, &found);
        if (e != OK) {
            log_warning(&page, "the paid subscriptions could not be listed",
                        LOG_S("detail", page.text));
            (void)fail(task, e, mem_string(task->mem, page.text));
        }
        usleep(PACE_MS * 1000);
    }
    if (found > 0)
        log_warning(NULL, "paid subscriptions belong to no user", LOG_I("subscriptions", found));
    return e;
}

/* The daily job */

static enum err compare_all(struct task *task, struct reconcile *r, struct job_run *run)
{
    struct reconcile_counts counts = {0};
    const char *cursor = NULL;
    enum err e = OK;

    do {
        auto_tree void *mem = mem_tree(65536);
        struct task page = {.mem = mem,
                            .settings = job_settings(run),
                            .job = "reconcile",
                            .deadline_ms = clock_mono_ms() + PAGE_MS};

        e = reconcile_page(&page, r->billing, cursor, false, NULL, &counts, &cursor);
        cursor = cursor == NULL ? NULL : mem_string(task->mem, cursor);
        if (e != OK) {
            log_warning(&page, "the comparison with Stripe was aborted",
                        LOG_S("detail", page.text));
            (void)fail(task, e, mem_string(task->mem, page.text));
        }
        usleep(PAGE * PACE_MS * 1000);
    } while (e == OK && cursor != NULL && job_goes_on(run));
    log_info(NULL, "compared with Stripe", LOG_I("compared", counts.compared),
             LOG_I("different", counts.different), LOG_I("failed", counts.failed));
    return e;
}

enum err reconcile_trials(struct task *task, struct reconcile *r, struct job_run *run)
{
    int64_t now_ms = clock_wall_ms();
    size_t count = 1;
    enum err e = OK;

    assert_off_loops();
    while (e == OK && count > 0 && job_goes_on(run)) {
        struct subscription *rows;

        task->deadline_ms = clock_mono_ms() + PAGE_MS;
        task->settings = job_settings(run);
        e = store_trials_ending(task, r->billing->store, now_ms, now_ms + TOLD_MS, &rows, &count);
        for (size_t i = 0; e == OK && i < count; i++) {
            const struct mail *mail = notice_of_trial(task, r->billing, &rows[i]);
            bool told;

            e = store_trial_told(task, r->billing->store, rows[i].user_id, mail, &told);
        }
    }
    if (e != OK)
        log_warning(task, "users whose trial ends could not be notified",
                    LOG_S("detail", task->text));
    return e;
}

/* One fails without the other. */
enum err reconcile_run(struct task *task, struct reconcile *r, struct job_run *run)
{
    enum err compared, found;

    assert_off_loops();
    if (!stripe_is_configured(task->settings))
        return OK;
    compared = compare_all(task, r, run);
    found = find_unlinked(task, r, run);
    return compared != OK ? compared : found;
}

struct reconcile *reconcile_open(void *mem, struct billing *billing)
{
    struct reconcile *r = mem_new(mem, struct reconcile);

    r->billing = billing;
    return r;
}
