#include "billing/reading.h"

#include "core/json.h"
#include "unit.h"

#include <stdio.h>

static const char *basic_prices[] = {"price_basic", "price_basic_old"},
                  *pro_prices[] = {"price_pro"};
static const struct settings settings = {.stripe_price_basic = {basic_prices, 2},
                                         .stripe_price_pro = {pro_prices, 1}};

#define START INT64_C(1790000000)
#define END INT64_C(1792592000)

static const struct plans *plans_of(void *mem)
{
    struct texts problems;

    return plans_load(mem, &settings, &problems);
}

/* Apostrophes stand for quotation marks. */
static json_t *json_of(void *mem, const char *text)
{
    char *copy = mem_string(mem, text);
    struct json_problem problem;
    json_t *json;

    for (char *at = copy; *at != '\0'; at++) {
        if (*at == '\'')
            *at = '"';
    }
    json = json_read(copy, strlen(copy), &problem);
    if (json == NULL)
        fail_msg("%s: %s", problem.text, copy);
    return json;
}

static json_t *subscription_of(void *mem, const char *price, const char *more)
{
    return json_of(mem, mem_printf(mem,
                                   "{'id': 'sub_1', 'created': 5, %s"
                                   " 'billing_cycle_anchor': %lld, 'items': {'data': [{'id':"
                                   " 'si_1', 'quantity': 1, 'price': {'id': '%s'},"
                                   " 'current_period_start': %lld, 'current_period_end': %lld}]}"
                                   "%s%s}",
                                   strncmp(more, "'status'", 8) == 0 ? "" : "'status': 'active',",
                                   (long long)START, price, (long long)START, (long long)END,
                                   *more == '\0' ? "" : ", ", more));
}

static struct subscription stored_one(void)
{
    return (struct subscription){.user_id = "u", .plan = "free", .status = "active"};
}

/* Everything beside the price that a subscription may say, and what it means. */
static void test_each_status_and_field_means_what_the_table_says(void **state)
{
    static const struct {
        const char *more; /* members; without a status it is active */
        const char *plan, *status;
        int64_t ends_s;
        bool ends_with_period;
        const char *notes;
    } samples[] = {
        {"", "basic", "active", 0, false, NULL},
        {"'status': 'trialing'", "basic", "trialing", 0, false, NULL},
        {"'status': 'past_due'", "basic", "past_due", 0, false, NULL},
        {"'status': 'unpaid'", "basic", "unpaid", 0, false, NULL},
        {"'status': 'incomplete'", "free", "active", 0, false, NULL},
        {"'status': 'paused'", "basic", "canceled", 0, false, NULL},
        {"'status': 'canceled', 'ended_at': 7", "free", "canceled", 0, false, NULL},
        {"'status': 'incomplete_expired'", "free", "active", 0, false, NULL},
        {"'status': 'new'", "basic", "incomplete", 0, false, NULL},
        {"'cancel_at_period_end': true", "basic", "active", END, true, NULL},
        {"'cancel_at': 1792592000", "basic", "active", END, true, NULL},
        {"'cancel_at': 1791000000", "basic", "active", 1791000000, true, NULL},
        {"'cancel_at': 1822592000", "basic", "active", 1822592000, false, NULL},
        {"'pause_collection': {'behavior': 'void'}, 'latest_invoice': {'status': 'paid'}", "basic",
         "active", END, false, "collection is paused (void)"},
        {"'pause_collection': {'behavior': 'void'}, 'latest_invoice': {'status': 'void'}", "basic",
         "canceled", START, false, "collection is paused (void)"},
        {"'pause_collection': {'behavior': 'void'}, 'latest_invoice': {'status': 'void',"
         " 'billing_reason': 'subscription_update'}",
         "basic", "active", END, false, "collection is paused (void)"},
        {"'pause_collection': {'behavior': 'void'}, 'latest_invoice': {'status': 'draft'}", "basic",
         "canceled", START, false, "collection is paused (void)"},
        {"'pause_collection': {'behavior': 'void', 'resumes_at': 1792592000},"
         " 'latest_invoice': {'status': 'paid'}",
         "basic", "active", 0, false, "collection is paused (void)"},
        {"'pause_collection': {'behavior': 'void'}, 'cancel_at': 1791000000,"
         " 'latest_invoice': {'status': 'paid'}",
         "basic", "active", 1791000000, true, "collection is paused (void)"},
        {"'pause_collection': {'behavior': 'keep_as_draft'}, 'latest_invoice': {'status': 'draft'}",
         "basic", "active", 0, false, "collection is paused (keep_as_draft)"},
        {"'pause_collection': {'behavior': 'mark_uncollectible'}", "basic", "active", 0, false,
         "collection is paused (mark_uncollectible)"},
        {"'schedule': 'sub_sched_1'", "basic", "active", 0, false,
         "follows the schedule sub_sched_1"},
        {"'schedule': {'id': 'sub_sched_2'}", "basic", "active", 0, false,
         "follows the schedule sub_sched_2"},
        {"'pending_update': {'expires_at': 9}", "basic", "active", 0, false,
         "a change waits for its payment"},
        {"'collection_method': 'send_invoice', 'days_until_due': 30", "basic", "active", 0, false,
         "invoices are sent, due in 30 days"},
    };

    for (size_t i = 0; i < count_of(samples); i++) {
        auto_json json_t *subscription = subscription_of(*state, "price_basic", samples[i].more);
        struct subscription stored = stored_one(), found;
        struct debt debt = {0};

        assert_true(reading_take(plans_of(*state), subscription, &debt, &stored, *state, &found));
        assert_string_equal(found.plan, samples[i].plan);
        assert_string_equal(found.status, samples[i].status);
        assert_int_equal(found.ends_ms, samples[i].ends_s * 1000);
        assert_int_equal(found.cancel_at_period_end, samples[i].ends_with_period);
        if (samples[i].notes == NULL)
            assert_null(found.notes);
        else
            assert_string_equal(found.notes, samples[i].notes);
    }
}

static void test_items_give_the_largest_plan_and_none_of_something_gives_nothing(void **state)
{
    static const struct {
        const char *items;
        const char *plan; /* NULL: it is none of ours */
        const char *notes;
    } samples[] = {
        {"{'price': 'price_pro', 'quantity': 3}", "pro", "quantity 3"},
        {"{'price': 'price_news', 'quantity': 1}, {'price': 'price_basic', 'quantity': 1}", "basic",
         "1 other items"},
        {"{'price': 'price_basic'}, {'price': {'id': 'price_pro'}}, {'plan': {'id': 'x'}}", "pro",
         "2 other items"},
        {"{'price': 'price_pro', 'quantity': 0}, {'price': 'price_basic', 'quantity': 1}", "basic",
         "1 other items"},
        {"{'price': 'price_pro', 'quantity': 0}", "free", NULL},
        {"{'price': 'price_news', 'quantity': 1}", NULL, NULL},
        {"{'plan': {'id': 'price_basic_old'}}", "basic", NULL},
        {"", NULL, NULL},
    };

    for (size_t i = 0; i < count_of(samples); i++) {
        auto_json json_t *subscription = json_of(
            *state,
            mem_printf(*state, "{'id': 'sub_1', 'status': 'active', 'items': {'data': [%s]}}",
                       samples[i].items));
        struct subscription stored = stored_one(), found;
        struct debt debt = {0};

        assert_int_equal(reading_is_ours(plans_of(*state), subscription, &stored),
                         samples[i].plan != NULL);
        if (samples[i].plan == NULL)
            continue;
        assert_true(reading_take(plans_of(*state), subscription, &debt, &stored, *state, &found));
        assert_string_equal(found.plan, samples[i].plan);
        if (samples[i].notes != NULL)
            assert_string_equal(found.notes, samples[i].notes);
    }
}

static void test_what_names_somebody_else_is_none_of_ours(void **state)
{
    auto_json json_t *subscription = subscription_of(*state, "price_pro",
                                                     "'metadata': {'user_id': 'b', 'plan': 'pro'}");
    struct subscription stored = stored_one();

    assert_false(reading_is_ours(plans_of(*state), subscription, &stored));
    assert_true(reading_is_ours(plans_of(*state), subscription, NULL));
    stored.user_id = "b";
    assert_true(reading_is_ours(plans_of(*state), subscription, &stored));
}

static void test_only_what_was_bought_here_is_a_plan_that_is_not_known(void **state)
{
    static const struct {
        const char *metadata;
        bool is_bought, is_unknown;
    } samples[] = {
        {"'metadata': {'user_id': 'u', 'plan': 'team'}", false, true},
        {"'metadata': {'user_id': 'u'}", false, false},
        {"'metadata': {'user_id': 'b', 'plan': 'team'}", false, false},
        {"'metadata': {}", true, true},
        {"", false, false},
    };

    for (size_t i = 0; i < count_of(samples); i++) {
        auto_json json_t *subscription = subscription_of(*state, "price_new", samples[i].metadata);

        assert_int_equal(
            reading_is_unknown_plan(plans_of(*state), subscription, "u", samples[i].is_bought),
            samples[i].is_unknown);
    }
}

static void test_months_go_on_while_a_subscription_is_switched_to_other_prices(void **state)
{
    auto_json json_t *subscription = subscription_of(*state, "price_basic", "");
    struct subscription stored = stored_one(), found;
    struct debt debt = {0};

    stored.stripe_id = "sub_1";
    stored.price_id = "price_pro";
    stored.synced_ms = START * 1000;
    stored.anchor_ms = stored.stripe_anchor_ms = START * 1000 - 1000;
    assert_true(reading_take(plans_of(*state), subscription, &debt, &stored, *state, &found));
    assert_int_equal(found.anchor_ms, stored.anchor_ms);
    assert_int_equal(found.stripe_anchor_ms, START * 1000);
    /* Read again. */
    stored = found;
    stored.synced_ms = START * 1000;
    assert_true(reading_take(plans_of(*state), subscription, &debt, &stored, *state, &found));
    assert_int_equal(found.anchor_ms, START * 1000 - 1000);
    /* Turned anew by somebody, with the same price; another one; a trial that ended sooner. */
    stored.stripe_anchor_ms = START * 1000 - 1000;
    assert_true(reading_take(plans_of(*state), subscription, &debt, &stored, *state, &found));
    assert_int_equal(found.anchor_ms, START * 1000);
    stored.stripe_id = "sub_2";
    assert_true(reading_take(plans_of(*state), subscription, &debt, &stored, *state, &found));
    assert_int_equal(found.anchor_ms, START * 1000);
    stored.stripe_id = "sub_1";
    stored.price_id = "price_pro";
    stored.anchor_ms = START * 1000 + 1000;
    assert_true(reading_take(plans_of(*state), subscription, &debt, &stored, *state, &found));
    assert_int_equal(found.anchor_ms, START * 1000);
}

static void
test_months_go_on_where_they_were_when_a_plan_is_bought_none_times_meanwhile(void **state)
{
    auto_json json_t *none = json_of(*state, "{'id': 'sub_1', 'status': 'active', 'created': 5,"
                                             " 'billing_cycle_anchor': 1790000000,"
                                             " 'items': {'data': [{'id': 'si_1', 'quantity': 0,"
                                             " 'price': 'price_pro'}]}}");
    auto_json json_t *again = subscription_of(*state, "price_basic", "");
    struct subscription stored = stored_one(), between, found;
    struct debt debt = {0};

    stored.plan = "pro";
    stored.stripe_id = "sub_1";
    stored.price_id = "price_pro";
    stored.anchor_ms = stored.stripe_anchor_ms = START * 1000 - 1000;
    stored.synced_ms = START * 1000;
    assert_true(reading_take(plans_of(*state), none, &debt, &stored, *state, &between));
    assert_string_equal(between.plan, "free");
    assert_string_equal(between.status, "canceled");
    assert_true(reading_take(plans_of(*state), again, &debt, &between, *state, &found));
    assert_string_equal(found.plan, "basic");
    assert_int_equal(found.anchor_ms, stored.anchor_ms);
}

static void test_what_is_paid_comes_before_what_is_tried(void **state)
{
    auto_json json_t *list = json_of(*state, "[{'id': 'sub_a', 'status': 'trialing', 'created': 1,"
                                             " 'items': {'data': [{'price': 'price_pro'}]}},"
                                             " {'id': 'sub_b', 'status': 'active', 'created': 2,"
                                             " 'items': {'data': [{'price': 'price_basic'}]}}]");

    assert_string_equal(stripe_text(reading_choose(plans_of(*state), list, NULL), "id"), "sub_b");
}

static void test_who_had_a_plan_keeps_it_while_the_price_is_unknown(void **state)
{
    auto_json json_t *subscription = subscription_of(*state, "price_gone", "");
    struct subscription stored = stored_one(), found;
    struct debt debt = {0};

    stored.stripe_id = "sub_1";
    assert_false(reading_is_ours(plans_of(*state), subscription, &stored));
    stored.plan = "pro";
    assert_true(reading_is_ours(plans_of(*state), subscription, &stored));
    assert_false(reading_take(plans_of(*state), subscription, &debt, &stored, *state, &found));
    assert_string_equal(found.plan, "pro");
    assert_string_equal(found.status, "active");
    stored.stripe_id = "sub_2";
    assert_false(reading_is_ours(plans_of(*state), subscription, &stored));
}

static void test_the_debt_is_the_first_invoice_that_is_not_paid(void **state)
{
    static const struct {
        const char *invoices;
        int64_t due_s, service_s;
    } samples[] = {
        {"", 0, 0},
        {"{'status': 'draft', 'amount_remaining': 5, 'created': 9}", 0, 0},
        {"{'status': 'paid', 'amount_remaining': 0, 'created': 9}", 0, 0},
        {"{'status': 'void', 'amount_remaining': 5, 'created': 9}", 0, 0},
        {"{'status': 'open', 'amount_remaining': 0, 'created': 9}", 0, 0},
        {"{'status': 'open', 'amount_remaining': 5, 'created': 9}", 9, 0},
        {"{'status': 'open', 'amount_remaining': 5, 'created': 9,"
         " 'status_transitions': {'finalized_at': 12}}",
         12, 0},
        {"{'status': 'open', 'amount_remaining': 5, 'created': 9, 'due_date': 99,"
         " 'lines': {'data': [{'amount': 5, 'period': {'start': 8}},"
         " {'amount': -5, 'period': {'start': 2}}]}}",
         99, 8},
        {"{'status': 'open', 'amount_remaining': 5, 'created': 90},"
         " {'status': 'open', 'amount_remaining': 5, 'created': 60,"
         " 'lines': {'data': [{'amount': 5, 'period': {'start': 59}}]}},"
         " {'status': 'draft', 'amount_remaining': 5, 'created': 30}",
         60, 59},
        {"{'status': 'uncollectible', 'amount_remaining': 5, 'created': 9}", 9, 0},
        /* Stripe got over the oldest with the one that was paid. */
        {"{'status': 'open', 'amount_remaining': 5, 'created': 90},"
         " {'status': 'paid', 'created': 60, 'status_transitions': {'paid_at': 61}},"
         " {'status': 'open', 'amount_remaining': 5, 'created': 30}",
         90, 0},
        {"{'status': 'open', 'amount_remaining': 5, 'created': 90},"
         " {'status': 'void', 'created': 60, 'status_transitions': {'voided_at': 61}},"
         " {'status': 'uncollectible', 'amount_remaining': 5, 'created': 30}",
         90, 0},
        /* The older of two was paid. */
        {"{'status': 'open', 'amount_remaining': 5, 'created': 60},"
         " {'status': 'paid', 'created': 30, 'status_transitions': {'paid_at': 91}}",
         60, 0},
        /* For a change, while the renewal was a draft. */
        {"{'status': 'paid', 'created': 60, 'status_transitions': {'paid_at': 61}},"
         " {'status': 'open', 'amount_remaining': 5, 'created': 30,"
         " 'status_transitions': {'finalized_at': 90}}",
         90, 0},
        {"{'status': 'paid', 'created': 90, 'status_transitions': {'paid_at': 91}},"
         " {'status': 'uncollectible', 'amount_remaining': 5, 'created': 30}",
         0, 0},
    };

    for (size_t i = 0; i < count_of(samples); i++) {
        auto_json json_t *invoices = json_of(*state,
                                             mem_printf(*state, "[%s]", samples[i].invoices));
        struct debt debt;

        reading_debt(plans_of(*state), invoices, &debt);
        assert_int_equal(debt.due_ms, samples[i].due_s * 1000);
        assert_int_equal(debt.service_ms, samples[i].service_s * 1000);
    }
}

static void test_before_a_switch_is_paid_what_was_paid_is_had_to_its_end(void **state)
{
    static const struct {
        const char *invoices, *before;
        int64_t due_s, service_s;
    } samples[] = {
        {"{'status': 'open', 'amount_remaining': 5, 'created': 30, 'billing_reason': "
         "'subscription_update', 'lines': {'data': [{'amount': -9, 'period': {'start': 30, 'end': "
         "90}, 'pricing': {'price_details': {'price': 'price_basic'}}}, {'amount': 14, 'period': "
         "{'start': 30, 'end': 90}, 'pricing': {'price_details': {'price': 'price_pro'}}}]}}",
         "basic", 90, 90},
        {"{'status': 'open', 'amount_remaining': 5, 'created': 30, 'billing_reason': "
         "'subscription_update', 'lines': {'data': [{'amount': -9, 'period': {'start': 30, 'end': "
         "90}, 'price': {'id': 'price_basic'}}]}},"
         "{'status': 'open', 'amount_remaining': 5, 'created': 20, 'billing_reason': "
         "'subscription_cycle', 'lines': {'data': [{'amount': 9, 'period': {'start': 19, 'end': "
         "90}}]}}",
         "basic", 20, 19},
        {"{'status': 'open', 'amount_remaining': 5, 'created': 30, 'billing_reason': "
         "'subscription_update', 'lines': {'data': [{'amount': -9, 'period': {'start': 30, 'end': "
         "90}, 'pricing': {'price_details': {'price': 'price_other'}}}]}}",
         NULL, 30, 0},
        {"{'status': 'open', 'amount_remaining': 5, 'created': 30, 'billing_reason': "
         "'subscription_cycle', 'lines': {'data': [{'amount': -9, 'period': {'start': 30, 'end': "
         "90}, 'pricing': {'price_details': {'price': 'price_basic'}}}]}}",
         NULL, 30, 0},
    };

    for (size_t i = 0; i < count_of(samples); i++) {
        auto_json json_t *invoices = json_of(*state,
                                             mem_printf(*state, "[%s]", samples[i].invoices));
        struct debt debt;

        reading_debt(plans_of(*state), invoices, &debt);
        assert_int_equal(debt.due_ms, samples[i].due_s * 1000);
        assert_int_equal(debt.service_ms, samples[i].service_s * 1000);
        assert_true((debt.plan_before == NULL) == (samples[i].before == NULL));
        if (debt.plan_before != NULL)
            assert_string_equal(debt.plan_before->name, samples[i].before);
    }
}

static void test_of_several_the_same_one_counts_in_every_order(void **state)
{
    static const char *const list[] = {
        "{'id': 'sub_a', 'status': 'canceled', 'created': 9, 'items': {'data': [{'price': "
        "'price_pro'}]}}",
        "{'id': 'sub_b', 'status': 'active', 'created': 2, 'items': {'data': [{'price': "
        "'price_basic'}]}}",
        "{'id': 'sub_c', 'status': 'active', 'created': 3, 'items': {'data': [{'price': "
        "'price_pro'}]},"
        " 'pause_collection': {'behavior': 'void'}, 'latest_invoice': {'status': 'void'}}",
        "{'id': 'sub_d', 'status': 'active', 'created': 1, 'items': {'data': [{'price': "
        "'price_news'}]}}",
        "{'id': 'sub_e', 'status': 'active', 'created': 2, 'items': {'data': [{'price': "
        "'price_basic'}]}}",
        "{'id': 'sub_f', 'status': 'past_due', 'created': 1, 'items': {'data': [{'price': "
        "'price_pro'}]}}",
        "{'id': 'sub_g', 'status': 'active', 'created': 1, 'items': {'data': [{'price': "
        "'price_pro', 'quantity': 0}]}}",
        "{'id': 'sub_h', 'status': 'incomplete', 'created': 99, 'items': {'data': [{'price': "
        "'price_pro'}]}}",
    };
    struct subscription stored = stored_one();

    for (size_t first = 0; first < count_of(list); first++) {
        auto_json json_t *all = json_array();
        auto_json json_t *ours = NULL;

        for (size_t i = 0; i < count_of(list); i++)
            json_array_append_new(all, json_of(*state, list[(first + i) % count_of(list)]));
        ours = reading_ours(plans_of(*state), all, &stored);
        assert_int_equal(json_array_size(ours), count_of(list) - 1);
        assert_string_equal(stripe_text(reading_choose(plans_of(*state), ours, &stored), "id"),
                            "sub_b");
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        UNIT(test_each_status_and_field_means_what_the_table_says),
        UNIT(test_items_give_the_largest_plan_and_none_of_something_gives_nothing),
        UNIT(test_what_names_somebody_else_is_none_of_ours),
        UNIT(test_only_what_was_bought_here_is_a_plan_that_is_not_known),
        UNIT(test_months_go_on_while_a_subscription_is_switched_to_other_prices),
        UNIT(test_months_go_on_where_they_were_when_a_plan_is_bought_none_times_meanwhile),
        UNIT(test_what_is_paid_comes_before_what_is_tried),
        UNIT(test_who_had_a_plan_keeps_it_while_the_price_is_unknown),
        UNIT(test_the_debt_is_the_first_invoice_that_is_not_paid),
        UNIT(test_before_a_switch_is_paid_what_was_paid_is_had_to_its_end),
        UNIT(test_of_several_the_same_one_counts_in_every_order),
    };

    return RUN_UNITS(tests);
}
