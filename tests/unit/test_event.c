#include "store/event.h"

#include "store/store.h"

#include "unit.h"

static void test_a_later_answer_settles_what_says_only_that_something_has_changed(void **state)
{
    (void)state;
    assert_true(event_says_only_change("invoice.paid"));
    assert_true(event_says_only_change("customer.subscription.updated"));
    assert_false(event_says_only_change("customer.subscription.trial_will_end"));
    assert_false(event_says_only_change("customer.deleted"));
    assert_false(event_says_only_change("invoice"));
    assert_false(event_says_only_change("checkout.session.completed"));
    assert_false(event_says_only_change("charge.invoice.paid"));
    assert_false(event_says_only_change(STORE_EVENT_GOODBYE));
}

static void test_linking_settles_what_was_wrong_only_with_whose_it_is(void **state)
{
    (void)state;
    assert_true(event_is_settled_by_link(REASON_PAID_TWICE));
    assert_true(event_is_settled_by_link(REASON_NAMES_NOBODY));
    assert_false(event_is_settled_by_link(REASON_NONE));
    assert_false(event_is_settled_by_link(REASON_FAILED));
    assert_false(event_is_settled_by_link(REASON_PAID_FOR_ANOTHER));
    assert_false(event_is_settled_by_link((enum event_reason)1000));
    assert_false(event_is_settled_by_link((enum event_reason) - 1));
    assert_null(event_reason_word((enum event_reason)1000));
    assert_string_equal(event_reason_word(REASON_PAID_TWICE), "paid_twice");
}

static void test_an_event_is_tried_again_after_twice_as_long_up_to_an_hour(void **state)
{
    (void)state;
    assert_int_equal(event_next_ms(100, 0), 2100);
    assert_int_equal(event_next_ms(100, 1), 4100);
    assert_int_equal(event_next_ms(100, 10), 2048100);
    assert_int_equal(event_next_ms(100, 11), 3600100);
    assert_int_equal(event_next_ms(100, 12), 3600100);
    assert_int_equal(event_next_ms(100, UINT32_MAX), 3600100);
}

static void test_who_goes_leaves_a_goodbye_for_each_customer(void **state)
{
    struct subscription subscription = {
        .id = "s1", .user_id = "ann", .plan = "pro", .customer_id = "cus_1", .stripe_id = "sub_1"};
    const struct other_customer other = {"cus_2", "ann", true};
    struct event event = event_goodbye(*state, &subscription, 7);

    assert_string_equal(event.id, "goodbye_s1");
    assert_string_equal(event.type, STORE_EVENT_GOODBYE);
    assert_string_equal(event.customer_id, "cus_1");
    assert_string_equal(event.state, EVENT_WAITING);
    assert_int_equal(event.received_ms, 7);
    assert_null(event.user_id);
    assert_string_equal(event.payload,
                        "{\"customer\":\"cus_1\",\"subscription\":\"sub_1\",\"user\":\"ann\"}");
    event = event_goodbye_other(*state, &other, 7);
    assert_string_equal(event.id, "goodbye_cus_2");
    assert_string_equal(event.payload, "{\"customer\":\"cus_2\",\"user\":\"ann\"}");
}

static void test_a_subscription_that_gave_no_plan_is_not_ours_to_end(void **state)
{
    const struct subscription subscription = {
        .id = "s1", .user_id = "ann", .plan = "free", .customer_id = "cus_1", .stripe_id = "sub_1"};

    assert_string_equal(event_goodbye(*state, &subscription, 7).payload,
                        "{\"customer\":\"cus_1\",\"subscription\":null,\"user\":\"ann\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_a_later_answer_settles_what_says_only_that_something_has_changed),
        UNIT(test_linking_settles_what_was_wrong_only_with_whose_it_is),
        UNIT(test_an_event_is_tried_again_after_twice_as_long_up_to_an_hour),
        UNIT(test_who_goes_leaves_a_goodbye_for_each_customer),
        UNIT(test_a_subscription_that_gave_no_plan_is_not_ours_to_end),
    };

    return RUN_UNITS(tests);
}
