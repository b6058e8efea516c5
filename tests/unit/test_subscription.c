#include "store/subscription.h"

#include "unit.h"

enum { THEN = 1000, NOW = 5000 };

static struct subscription paid(void)
{
    return (struct subscription){.id = "s1",
                                 .user_id = "ann",
                                 .plan = "pro",
                                 .status = "past_due",
                                 .customer_id = "cus_1",
                                 .stripe_id = "sub_1",
                                 .price_id = "price_1",
                                 .item_id = "si_1",
                                 .period_start_ms = 1,
                                 .period_end_ms = 2,
                                 .anchor_ms = 3,
                                 .stripe_anchor_ms = 4,
                                 .ends_ms = 5,
                                 .past_due_ms = 6,
                                 .unpaid_from_ms = 7,
                                 .cancel_at_period_end = true,
                                 .notes = "else",
                                 .generation = 2,
                                 .trial_start_ms = 8,
                                 .runs = 9,
                                 .updated_ms = THEN};
}

static struct customer_link link_to(const char *customer_id, const char *former)
{
    return (struct customer_link){.user_id = "ann",
                                  .generation = 2,
                                  .former = former,
                                  .customer_id = customer_id,
                                  .now_ms = NOW};
}

static void test_a_customer_takes_the_place_of_the_one_that_it_names_alone(void **state)
{
    struct subscription subscription = paid(), before = paid();
    struct customer_link link = link_to("cus_2", "cus_0");

    (void)state;
    assert_false(subscription_after_link(&subscription, &link));
    link.former = NULL;
    assert_false(subscription_after_link(&subscription, &link));
    link.former = "cus_1";
    link.generation = 1;
    assert_false(subscription_after_link(&subscription, &link));
    assert_memory_equal(&subscription, &before, sizeof before);
    link.generation = 2;
    assert_true(subscription_after_link(&subscription, &link));
    assert_string_equal(subscription.customer_id, "cus_2");
    assert_int_equal(subscription.generation, 3);
    assert_int_equal(subscription.updated_ms, NOW);
    assert_string_equal(subscription.plan, "pro");
}

static void test_the_first_customer_begins_no_generation(void **state)
{
    struct subscription subscription = {.plan = "free", .status = "active", .generation = 2};
    const struct customer_link link = link_to("cus_1", NULL);

    (void)state;
    assert_true(subscription_after_link(&subscription, &link));
    assert_int_equal(subscription.generation, 2);
}

static void test_what_was_canceled_is_remembered_under_customers_of_others(void **state)
{
    struct subscription subscription = {.plan = "free", .status = "canceled", .generation = 2};
    struct customer_link link = link_to("cus_1", NULL);

    (void)state;
    link.is_foreign = true;
    assert_true(subscription_after_link(&subscription, &link));
    assert_true(subscription.customer_is_foreign && subscription.was_canceled);
    subscription.plan = "pro";
    subscription.status = "active";
    link = link_to("cus_2", "cus_1");
    link.is_foreign = true;
    assert_true(subscription_after_link(&subscription, &link));
    assert_true(subscription.was_canceled);
    link = link_to("cus_3", "cus_2");
    link.generation = 3;
    assert_true(subscription_after_link(&subscription, &link));
    assert_false(subscription.customer_is_foreign || subscription.was_canceled);
}

static void test_what_was_subscribed_to_goes_with_its_customer(void **state)
{
    struct subscription subscription = paid();

    (void)state;
    subscription_unlink(&subscription, NOW);
    assert_string_equal(subscription.plan, "free");
    assert_string_equal(subscription.status, "canceled");
    assert_int_equal(subscription.canceled_ms, NOW);
    assert_null(subscription.customer_id);
    assert_null(subscription.stripe_id);
    assert_null(subscription.price_id);
    assert_null(subscription.notes);
    assert_int_equal(subscription.period_start_ms + subscription.period_end_ms +
                         subscription.anchor_ms + subscription.stripe_anchor_ms +
                         subscription.ends_ms + subscription.past_due_ms +
                         subscription.unpaid_from_ms + subscription.cancel_at_period_end,
                     0);
    assert_int_equal(subscription.generation, 3);
    assert_int_equal(subscription.updated_ms, NOW);
    /* The trial that they had and what they used are not the customer's. */
    assert_int_equal(subscription.trial_start_ms, 8);
    assert_int_equal(subscription.runs, 9);
}

static void test_a_lost_customer_leaves_the_standing_that_there_was_without_it(void **state)
{
    static const struct {
        bool trial, foreign, canceled;
        const char *status;
    } rows[] = {{true, true, false, "trialing"},
                {false, true, false, "active"},
                {false, true, true, "canceled"},
                {false, false, false, "canceled"}};
    struct subscription subscription = paid();

    (void)state;
    for (size_t i = 0; i < count_of(rows); i++) {
        subscription = paid();
        subscription.is_trial = rows[i].trial;
        subscription.customer_is_foreign = rows[i].foreign;
        subscription.was_canceled = rows[i].canceled;
        subscription_unlink(&subscription, NOW);
        assert_string_equal(subscription.status, rows[i].status);
        assert_false(subscription.customer_is_foreign || subscription.was_canceled);
    }
    subscription = paid();
    subscription.stripe_id = NULL;
    subscription.plan = "free";
    subscription.status = "active";
    subscription.canceled_ms = THEN;
    subscription_unlink(&subscription, NOW);
    assert_string_equal(subscription.status, "active");
    assert_int_equal(subscription.canceled_ms, THEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_a_customer_takes_the_place_of_the_one_that_it_names_alone),
        UNIT(test_the_first_customer_begins_no_generation),
        UNIT(test_what_was_canceled_is_remembered_under_customers_of_others),
        UNIT(test_what_was_subscribed_to_goes_with_its_customer),
        UNIT(test_a_lost_customer_leaves_the_standing_that_there_was_without_it),
    };

    return RUN_UNITS(tests);
}
