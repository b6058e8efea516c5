"""What somebody wants of Stripe, asked for once and again: it is done once, and it is done."""
import time

import pytest

import stories


def test_who_paid_twice_keeps_the_larger_plan_and_has_the_rest_as_credit(world):
    user = world.user()
    person, session = world.checkout(user)
    person.user = user
    other = stories.session(world, person, "pro")
    assert person.pay(session) and person.pay(other)
    world.deliver(person)
    world.settle(user, person)
    live = world.stripe.every("subscription", customer=person.customer, status="active")
    assert [sub["items"]["data"][0]["price"]["id"] for sub in live] == [world.pro]
    assert world.stripe.things[person.customer]["balance"] < -1800, "the month of the other one is not lost"


def test_who_pays_in_the_moment_in_which_the_plan_is_changed_is_not_sold_a_second_one(world):
    user = world.user()
    person, session = world.checkout(user)
    world.stripe.meanwhile(lambda: person.pay(session), on="POST /v1/checkout/sessions/.*/expire")
    reply = world.post(user, "create-checkout-session", {"plan": "pro"})
    assert reply.status_code == 409, reply.text
    assert not world.stripe.every("checkout.session", status="open")


def test_a_switch_that_was_not_paid_can_be_tried_again_with_another_card(world):
    user, person = world.subscriber()
    person.card_fails()
    assert world.post(user, "change-plan", {"plan": "pro"}).status_code == 402
    person.card_works()
    assert world.post(user, "change-plan", {"plan": "pro"}).status_code == 200
    assert world.settle(user, person)["plan"] == "pro"


@pytest.mark.parametrize("path,body", [("change-plan", {"plan": "pro"}), ("cancel", None)])
def test_a_failure_that_stripe_has_stored_does_not_stand_for_a_day(world, path, body):
    user, person = world.subscriber()
    world.stripe.fails(500, on="POST /v1/subscriptions/.*", stored=True)
    deadline = time.monotonic() + 30
    while (reply := world.post(user, path, body)).status_code != 200:
        assert reply.status_code in (502, 503) and time.monotonic() < deadline, reply.text
        time.sleep(0.5)
    world.settle(user, person)


def test_what_was_cancelled_without_an_answer_and_taken_back_is_cancelled_when_asked_again(world):
    user, person = world.subscriber()
    world.stripe.fails(500, on="GET /v1/subscriptions", times=50)
    assert world.post(user, "cancel").status_code == 503
    assert person.subscription["cancel_at_period_end"]
    world.stripe.honest()
    person.thinks_again()
    deadline = time.monotonic() + 30
    while (reply := world.post(user, "cancel")).status_code != 200:
        assert time.monotonic() < deadline, reply.text
        time.sleep(0.5)
    assert reply.json()["cancel_at_period_end"] and person.subscription["cancel_at_period_end"]
