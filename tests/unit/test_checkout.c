#include "store/checkout.h"

#include "unit.h"

#define NOW INT64_C(1750000000000)
enum { LEASE_MS = 30000 };

static struct checkout wanted(void)
{
    return (struct checkout){.user_id = "ann",
                             .plan = "pro",
                             .price_id = "price_1",
                             .success_url = "https://a",
                             .cancel_url = "https://b",
                             .key = "new",
                             .created_ms = NOW};
}

static struct checkout begun(int64_t created_ms)
{
    struct checkout checkout = wanted();

    checkout.key = "old";
    checkout.created_ms = created_ms;
    return checkout;
}

static struct checkout made(int64_t expires_ms)
{
    struct checkout checkout = begun(NOW - LEASE_MS);

    checkout.session_id = "cs_1";
    checkout.url = "https://checkout";
    checkout.expires_ms = expires_ms;
    return checkout;
}

/* The key that is answered with. */
static const char *judge(const struct checkout *stored, int64_t leased_ms, const char *plan,
                         enum checkout_reserved expected)
{
    struct checkout asked = wanted(), one;

    asked.plan = plan;
    assert_int_equal(checkout_judge(stored, leased_ms, &asked, &one), expected);
    if (expected == CHECKOUT_RESERVED)
        assert_true(one.session_id == NULL && strcmp(one.plan, plan) == 0);
    return one.key;
}

static void test_the_first_one_is_reserved(void **state)
{
    (void)state;
    assert_string_equal(judge(NULL, 0, "pro", CHECKOUT_RESERVED), "new");
}

static void test_one_for_the_same_that_is_open_is_given_again(void **state)
{
    const struct checkout open = made(NOW + 1), over = made(NOW);

    (void)state;
    assert_string_equal(judge(&open, 0, "pro", CHECKOUT_OPEN), "old");
    assert_string_equal(judge(&over, 0, "pro", CHECKOUT_RESERVED), "new");
}

static void test_one_for_something_else_is_closed_first_while_it_may_be_paid(void **state)
{
    const struct checkout open = made(NOW + 1), over = made(NOW), unknown = begun(NOW - LEASE_MS);

    (void)state;
    assert_string_equal(judge(&open, 0, "basic", CHECKOUT_OTHER), "old");
    assert_string_equal(judge(&over, 0, "basic", CHECKOUT_RESERVED), "new");
    assert_string_equal(judge(&unknown, 0, "basic", CHECKOUT_OTHER), "old");
}

static void test_one_that_somebody_makes_is_waited_for_while_their_lease_lasts(void **state)
{
    const struct checkout begun_now = begun(NOW - 1);

    (void)state;
    judge(&begun_now, NOW + LEASE_MS, "pro", CHECKOUT_BUSY);
    judge(&begun_now, NOW + LEASE_MS, "basic", CHECKOUT_BUSY);
    judge(&begun_now, NOW, "pro", CHECKOUT_RESERVED);
    /* A clock that was ahead noted it. */
    judge(&begun_now, NOW + 86400000, "pro", CHECKOUT_RESERVED);
}

static void
test_one_that_nobody_finished_is_taken_over_with_its_key_while_that_is_good(void **state)
{
    const struct checkout lately = begun(NOW - STORE_KEY_MS + 1),
                          long_ago = begun(NOW - STORE_KEY_MS);
    struct checkout asked = wanted(), one;

    (void)state;
    assert_string_equal(judge(&lately, 0, "pro", CHECKOUT_RESERVED), "old");
    assert_string_equal(judge(&long_ago, 0, "pro", CHECKOUT_RESERVED), "new");
    assert_string_equal(judge(&long_ago, 0, "basic", CHECKOUT_RESERVED), "new");
    assert_int_equal(checkout_judge(&lately, 0, &asked, &one), CHECKOUT_RESERVED);
    assert_int_equal(one.created_ms, lately.created_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_the_first_one_is_reserved),
        UNIT(test_one_for_the_same_that_is_open_is_given_again),
        UNIT(test_one_for_something_else_is_closed_first_while_it_may_be_paid),
        UNIT(test_one_that_somebody_makes_is_waited_for_while_their_lease_lasts),
        UNIT(test_one_that_nobody_finished_is_taken_over_with_its_key_while_that_is_good),
    };

    return RUN_UNITS(tests);
}
