#include "billing/doctor.h"

#include "billing/inbox.h"
#include "billing/sync.h"
#include "core/clock.h"
#include "core/loop.h"
#include "remote/stripe.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    SKEW_S = 60,
    PAGE = 100,
    PAGES_MOST = 50, /* of subscriptions that are looked at */
    PRICES_MOST = 50,
};

static const char webhook_path[] = "/api/v1/billing/webhook";

struct doctor {
    struct task *task;
    const struct settings *settings;
    const struct plans *plans;
    struct stripe *stripe;
    struct answer *answer;
    int64_t skew_s;
    bool good;
};

static void say(struct doctor *d, bool good, const char *format, ...) printf_like(3, 4);

static void say(struct doctor *d, bool good, const char *format, ...)
{
    va_list arguments;
    const char *text;

    va_start(arguments, format);
    text = talloc_vasprintf(d->task->mem, format, arguments);
    va_end(arguments);
    answer_row(d->answer, NULL, "{is_good?ok     /WRONG  }{text}");
    answer_flag(d->answer, "is_good", good);
    answer_string(d->answer, "text", text);
    answer_row_end(d->answer);
    d->good = d->good && good;
}

static enum err ask(struct doctor *d, struct stripe_call *call)
{
    enum err e = stripe_ask(d->task, d->stripe, call);

    if (call->date_s != 0)
        d->skew_s = clock_wall_ms() / 1000 - call->date_s;
    return e;
}

/* False if Stripe refuses the key: then nothing else can be checked. */
static bool check_key(struct doctor *d)
{
    auto_call struct stripe_call call = {.method = "GET", .path = "/v1/balance"};
    bool refused = ask(d, &call) != OK && call.status == 401;

    if (refused)
        say(d, false, "%s", d->task->text);
    return !refused;
}

static void check_mode(struct doctor *d)
{
    bool production = strcasecmp(d->settings->environment, "production") == 0;
    bool live = stripe_is_live(d->settings);

    if (production == live)
        say(d, true, "the key is of %s mode, which fits ENVIRONMENT=%s", live ? "live" : "test",
            d->settings->environment);
    else
        say(d, false, "the key is of %s mode, but ENVIRONMENT is %s; use the key of the other mode",
            live ? "live" : "test", d->settings->environment);
}

static void check_secret(struct doctor *d)
{
    if (d->settings->stripe_webhook_secret.count > 0)
        say(d, true, "a webhook secret is set");
    else
        say(d, false,
            "there is no webhook secret; set STRIPE_WEBHOOK_SECRET to the signing secret of the "
            "endpoint");
}

static bool is_shown_so(const struct plan *plan, const json_t *price)
{
    const json_t *recurring = json_object_get(price, "recurring");

    return plan->amount == stripe_int(price, "unit_amount") &&
           strcmp(plan->currency, stripe_text(price, "currency")) == 0 &&
           strcmp(plan->interval, stripe_text(recurring, "interval")) == 0 &&
           stripe_int(recurring, "interval_count") == 1;
}

static void check_price(struct doctor *d, const struct plan *plan, const char *price)
{
    auto_call struct stripe_call call = {.method = "GET",
                                         .path = mem_printf(d->task->mem, "/v1/prices/%s", price)};
    enum err e = ask(d, &call);

    if (e == ERR_STRIPE && stripe_is_missing(&call))
        say(d, false,
            "%s: Stripe knows no price %s in this mode; correct STRIPE_PRICE_ID_… or "
            "PLANS_FILE",
            plan->name, price);
    else if (e != OK)
        say(d, false, "%s: its price cannot be read: %s", plan->name, d->task->text);
    else if (!json_is_true(json_object_get(call.reply, "active")))
        say(d, false, "%s: its price %s is archived; make it active, or give another", plan->name,
            price);
    else if (strcmp(stripe_text(call.reply, "type"), "recurring") != 0)
        say(d, false, "%s: its price %s is a one-time price; give a recurring one", plan->name,
            price);
    else if (!is_shown_so(plan, call.reply))
        say(d, false,
            "%s: shown as %lld %s a %s, but Stripe takes %lld %s every %lld %s; set the same in "
            "PLANS_FILE",
            plan->name, (long long)plan->amount, plan->currency, plan->interval,
            (long long)stripe_int(call.reply, "unit_amount"), stripe_text(call.reply, "currency"),
            (long long)stripe_int(json_object_get(call.reply, "recurring"), "interval_count"),
            stripe_text(json_object_get(call.reply, "recurring"), "interval"));
    else
        say(d, true, "%s: its price at Stripe is the one that is shown", plan->name);
}

static void check_prices(struct doctor *d)
{
    unsigned sold = 0;

    for (size_t i = 0; i < d->plans->count; i++) {
        const char *price = plan_price(&d->plans->of[i]);

        if (price != NULL) {
            check_price(d, &d->plans->of[i], price);
            sold++;
        }
    }
    if (sold == 0)
        say(d, false, "no plan can be bought; set STRIPE_PRICE_ID_BASIC and _PRO, or PLANS_FILE");
}

/* Prices that are paid and that no plan has */

struct price_used {
    const char *id;
    unsigned subscriptions;
    bool is_ours; /* one of them was bought here */
};

struct prices_used {
    struct price_used of[PRICES_MOST];
    size_t count;
    bool more; /* there are, than were looked at */
};

static void count_price(struct doctor *d, struct prices_used *prices, const char *id, bool is_ours)
{
    size_t i = 0;

    while (i < prices->count && strcmp(prices->of[i].id, id) != 0)
        i++;
    if (i == PRICES_MOST) {
        prices->more = true;
        return;
    }
    if (i == prices->count)
        prices->of[prices->count++] = (struct price_used){.id = mem_string(d->task->mem, id)};
    prices->of[i].subscriptions++;
    prices->of[i].is_ours = prices->of[i].is_ours || is_ours;
}

static void count_prices(struct doctor *d, struct prices_used *prices, const json_t *subscription)
{
    const json_t *items = json_object_get(json_object_get(subscription, "items"), "data"), *item;
    const json_t *metadata = json_object_get(subscription, "metadata");
    bool is_ours = *stripe_text(metadata, "user_id") != '\0' &&
                   *stripe_text(metadata, "plan") != '\0';
    size_t i;

    if (!reading_is_live(subscription) || reading_is_ours(d->plans, subscription, NULL))
        return;
    json_array_foreach(items, i, item) count_price(d, prices, stripe_id_of(item, "price"), is_ours);
}

static void say_prices(struct doctor *d, const struct prices_used *prices)
{
    bool good = true;

    for (size_t i = 0; i < prices->count; i++) {
        const struct price_used *one = &prices->of[i];

        good = good && !one->is_ours;
        if (one->is_ours)
            say(d, false,
                "%s is in no plan, but %u subscriptions that were bought here pay it; add it to "
                "PLANS_FILE or STRIPE_PRICE_ID_…",
                one->id, one->subscriptions);
        else
            say(d, true,
                "%s is in no plan, and %u subscriptions pay it: correct if it is for another "
                "product; if it is for a plan, add it to PLANS_FILE or STRIPE_PRICE_ID_…",
                one->id, one->subscriptions);
    }
    if (good && prices->count == 0)
        say(d, true, "every price that subscriptions pay is in a plan");
    if (prices->more)
        say(d, true, "doctor looked at the first subscriptions and prices only");
}

static void check_prices_used(struct doctor *d)
{
    struct prices_used prices = {0};
    const char *after = "";

    for (int i = 0; i < PAGES_MOST; i++) {
        auto_call struct stripe_call call = {.method = "GET", .path = "/v1/subscriptions"};
        struct text query = text_open(d->task->mem, 128);
        const json_t *data;
        json_t *one;
        size_t n;

        stripe_put_int(&query, "limit", PAGE);
        if (*after != '\0')
            stripe_put(&query, "starting_after", after);
        call.form = query.s;
        if (ask(d, &call) != OK) {
            say(d, false, "the subscriptions cannot be read: %s", d->task->text);
            return;
        }
        data = json_object_get(call.reply, "data");
        json_array_foreach(data, n, one)
        {
            if (asking_items(d->task, d->stripe, one) == OK)
                count_prices(d, &prices, one);
            else
                say(d, false, "the items of %s cannot be read: %s", stripe_text(one, "id"),
                    d->task->text);
            after = mem_string(d->task->mem, stripe_text(one, "id"));
        }
        prices.more = json_is_true(json_object_get(call.reply, "has_more"));
        if (!prices.more || n == 0)
            break;
    }
    say_prices(d, &prices);
}

static bool is_ours(const struct doctor *d, const char *url)
{
    size_t len = strlen(url), path = sizeof webhook_path - 1;
    const char *origin = d->settings->public_url;

    if (len < path || strcmp(url + len - path, webhook_path) != 0)
        return false;
    return origin == NULL || *origin == '\0' ||
           (strlen(origin) == len - path && strncasecmp(origin, url, len - path) == 0);
}

static bool has_event(const json_t *endpoint, const char *type)
{
    const json_t *events = json_object_get(endpoint, "enabled_events"), *event;
    size_t i;

    json_array_foreach(events, i, event)
    {
        const char *name = json_string_value(event);

        if (name != NULL && (strcmp(name, "*") == 0 || strcmp(name, type) == 0))
            return true;
    }
    return false;
}

static void check_events(struct doctor *d, const json_t *endpoint)
{
    struct text missing = text_open(d->task->mem, 256);
    const char *type;

    for (size_t i = 0; (type = inbox_type(i)) != NULL; i++) {
        if (!has_event(endpoint, type))
            text_printf(&missing, " %s", type);
    }
    if (missing.len == 0)
        say(d, true, "Stripe sends every needed event to the webhook endpoint");
    else
        say(d, false,
            "Stripe does not send these events to the webhook endpoint:%s; add them to it",
            missing.s);
}

static void check_endpoint(struct doctor *d, const json_t *endpoint)
{
    const char *version = stripe_text(endpoint, "api_version");

    if (strcmp(stripe_text(endpoint, "status"), "enabled") == 0)
        say(d, true, "the webhook endpoint %s is enabled", stripe_text(endpoint, "url"));
    else
        say(d, false, "the webhook endpoint %s is disabled; enable it",
            stripe_text(endpoint, "url"));
    if (strcmp(version, STRIPE_VERSION) == 0)
        say(d, true, "its API version is this program's, " STRIPE_VERSION);
    else
        say(d, false,
            "its API version is %s, this program's is " STRIPE_VERSION
            "; make an endpoint of that version",
            *version == '\0' ? "the account's" : version);
    check_events(d, endpoint);
}

static void check_endpoints(struct doctor *d)
{
    auto_call struct stripe_call call = {
        .method = "GET", .path = "/v1/webhook_endpoints", .form = "limit=100"};
    const json_t *data, *endpoint;
    size_t i;
    enum err e = ask(d, &call);

    if (e != OK) {
        say(d, false,
            "the webhook endpoints cannot be read: %s; give the key the permission to "
            "read them, or look at them in the dashboard",
            d->task->text);
        return;
    }
    data = json_object_get(call.reply, "data");
    json_array_foreach(data, i, endpoint)
    {
        if (is_ours(d, stripe_text(endpoint, "url"))) {
            check_endpoint(d, endpoint);
            return;
        }
    }
    say(d, false, "Stripe has no webhook endpoint for %s%s; make one",
        d->settings->public_url == NULL ? "" : d->settings->public_url, webhook_path);
}

static void check_catching_up(struct doctor *d)
{
    auto_call struct stripe_call call = {.method = "GET", .path = "/v1/events", .form = "limit=1"};

    if (ask(d, &call) == OK)
        say(d, true, "events can be read, so changes during a downtime are found");
    else
        say(d, false,
            "events cannot be read: %s; give the key the permission Events: read, or manus finds "
            "changes during its own downtime a day later",
            d->task->text);
}

/* A portal that cancels at once and credits the rest is wrong: the user could buy again with the
 * credit, and would have all runs of the plan anew each time. */
static void check_portal(struct doctor *d)
{
    auto_call struct stripe_call call = {.method = "GET",
                                         .path = "/v1/billing_portal/configurations",
                                         .form = "is_default=true&active=true&limit=1"};
    const json_t *cancel;

    if (ask(d, &call) != OK) {
        say(d, false,
            "the portal's settings cannot be read: %s; give the key the permission Customer "
            "portal: read, or look at them in the dashboard",
            d->task->text);
        return;
    }
    cancel = json_object_get(
        json_object_get(json_array_get(json_object_get(call.reply, "data"), 0), "features"),
        "subscription_cancel");
    if (json_is_true(json_object_get(cancel, "enabled")) &&
        strcmp(stripe_text(cancel, "mode"), "immediately") == 0 &&
        strcmp(stripe_text(cancel, "proration_behavior"), "none") != 0)
        say(d, false,
            "the portal cancels subscriptions at once and credits the rest of the period, even "
            "if all runs are used; set it to cancel at the end of the period, or without "
            "proration");
    else
        say(d, true, "the portal gives no credit to users who cancel");
}

static void check_clock(struct doctor *d)
{
    if (labs((long)d->skew_s) <= SKEW_S)
        say(d, true, "the clocks agree");
    else
        say(d, false,
            "this machine's clock is %lld s off Stripe's; set it by NTP, or signatures "
            "are refused",
            (long long)d->skew_s);
}

bool doctor_examine(struct task *task, const struct plans *plans, struct answer *answer)
{
    struct doctor d = {
        task, task->settings, plans, stripe_open(task->mem, task->settings), answer, 0, true};

    assert_off_loops();
    if (!stripe_is_configured(task->settings)) {
        say(&d, false, "STRIPE_SECRET_KEY is not set; nothing is billed");
        return false;
    }
    if (!check_key(&d))
        return false;
    check_mode(&d);
    check_secret(&d);
    check_prices(&d);
    check_prices_used(&d);
    check_endpoints(&d);
    check_catching_up(&d);
    check_portal(&d);
    check_clock(&d);
    return d.good;
}

const char *doctor_probe(void *mem, const struct settings *settings, int64_t timeout_ms)
{
    struct texts problems;
    const struct plans *plans = plans_load(mem, settings, &problems);
    const char *wrong = stripe_probe(settings, timeout_ms);

    for (size_t i = 0; wrong == NULL && plans != NULL && i < plans->count; i++) {
        const char *price = plan_price(&plans->of[i]);

        if (price != NULL)
            wrong = stripe_price_probe(mem, settings, price, timeout_ms);
    }
    return wrong;
}
