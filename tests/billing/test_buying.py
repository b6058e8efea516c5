"""Buying when Stripe and manus do not see the same at the same time."""
import concurrent.futures
import time

import pytest
import requests

from manus import API
from world import APP, events_of


@pytest.mark.parametrize("method,path", [("GET", "subscription"), ("POST", "create-checkout-session"), ("POST", "create-portal-session"), ("POST", "activate-trial"),
                                         ("GET", "invoices"), ("POST", "change-plan"), ("POST", "cancel"), ("POST", "resume")])
def test_billing_is_for_who_is_logged_in(shared, method, path):
    assert shared.manus.request(method, f"{API}/billing/{path}", json={"plan": "basic"} if method == "POST" else None).status_code == 401


def test_an_expired_session_is_made_anew_without_its_event(world):
    user = world.user()
    _, first = world.checkout(user)
    world.stripe.change(world.stripe.things[first], "checkout.session.expired", status="expired", url=None)
    reply = world.post(user, "create-checkout-session", {"plan": "basic"})
    assert reply.status_code == 200, reply.text
    assert world.stripe.things[reply.json()["checkout_session_id"]]["status"] == "open"


def test_who_has_a_plan_buys_no_second_one(world):
    user, _ = world.subscriber()
    reply = world.post(user, "create-checkout-session", {"plan": "pro"})
    assert reply.status_code == 409, reply.text
    assert len(world.stripe.every("checkout.session", status="open")) == 0


def test_a_customer_deleted_at_stripe_is_made_anew_without_its_event(world):
    user = world.user()
    person, session = world.checkout(user)
    world.stripe.change(world.stripe.things[session], "checkout.session.expired", status="expired", url=None)
    person.is_deleted()
    deadline = time.monotonic() + 10
    while True:
        reply = world.post(user, "create-checkout-session", {"plan": "pro"})
        if reply.status_code == 200:
            break
        assert reply.status_code in (409, 502, 503) and time.monotonic() < deadline, reply.text
        time.sleep(0.2)
    assert world.stripe.things[reply.json()["checkout_session_id"]]["customer"] != person.customer


def test_the_return_address_comes_in_the_body_or_the_query(world):
    user, _ = world.subscriber()
    assert world.post(user, "create-portal-session?return_url=https%3A%2F%2Fapp.example.com%2Fquery").status_code == 200
    assert world.stripe.every("billing_portal.session")[0]["return_url"] == f"{APP}/query"
    assert world.post(user, "create-portal-session?return_url=https%3A%2F%2Fapp.example.com%2Fquery", {"return_url": f"{APP}/body"}).status_code == 200
    assert world.stripe.every("billing_portal.session")[0]["return_url"] == f"{APP}/body"
    assert world.post(user, "create-portal-session", {"return_url": f"{APP}:443/port"}).status_code == 200
    assert world.post(user, "create-portal-session").status_code == 200
    assert world.post(user, "create-portal-session", {"return_url": "https://evil.example/"}).status_code == 400
    assert world.post(user, "create-portal-session?return_url=https%3A%2F%2Fevil.example").status_code == 400


def test_who_pays_has_no_trial_and_who_had_one_has_no_second(world):
    user, person = world.subscriber()
    assert world.post(user, "activate-trial").json()["msg"] == "Cannot activate trial for paid subscription"
    user = world.user()
    assert world.post(user, "activate-trial").status_code == 200
    person, session = world.checkout(user)
    assert person.pay(session)
    world.deliver(person)
    world.settle(user, person)
    assert not world.subscription(user)["is_trial"], "who pays is no longer in the trial"
    person.cancels_now()
    world.deliver(person)
    world.settle(user, person)
    assert world.post(user, "activate-trial").status_code == 400


def test_of_two_plans_at_once_one_page_is_open_in_the_end(world):
    user = world.user()

    def ask(i):
        with requests.Session() as http:
            http.trust_env = False
            return http.post(f"{world.manus.base}{API}/billing/create-checkout-session", json={"plan": ("basic", "pro")[i % 2]}, timeout=60,
                             headers={"Authorization": f"Bearer {user['token']}"})

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(ask, range(20)))
    assert {reply.status_code for reply in replies} <= {200, 409}, [reply.text for reply in replies]
    assert len(world.stripe.every("checkout.session", status="open")) == 1 and len(world.stripe.every("customer")) == 1


def test_who_has_paid_and_left_unheard_of_can_buy_again(world):
    user = world.user()
    person, session = world.checkout(user)
    assert person.pay(session)
    person.cancels_now()
    assert world.checkout(user)[1] != session


def test_what_was_taken_back_unheard_of_can_be_cancelled_again(world):
    user, person = world.subscriber()
    assert world.post(user, "cancel").json()["cancel_at_period_end"]
    person.thinks_again()
    assert world.post(user, "cancel").json()["cancel_at_period_end"]
    assert person.subscription["cancel_at"] or person.subscription["cancel_at_period_end"]


def test_something_bought_beside_the_plan_stays_beside_it(world):
    user, person = world.subscriber()
    extra = world.stripe.plan("extra", 300)
    with world.stripe.lock:
        sub = person.live()
        world.stripe.switch(sub, [{"price": extra}])
        sub["items"]["data"].reverse()
    world.deliver(person)
    assert world.subscription(user)["plan"] == "basic", "the plan is the item that is one, wherever it stands"
    assert world.post(user, "change-plan", {"plan": "pro"}).json()["plan"] == "pro"
    assert {item["price"]["id"] for item in person.subscription["items"]["data"]} == {extra, world.pro}


def runs(world, user):
    """What the guard says of another run."""
    asked = {"X-Original-Method": "PUT", "X-Original-URI": f"{API}/sessions"}
    reply = world.manus.get(f"{API}/gate", user["token"], headers=asked)
    return reply.status_code, reply.headers.get("X-Manus-Plan")


def test_the_guard_feels_at_once_what_an_event_has_changed(world):
    user, person = world.subscriber()
    assert runs(world, user) == (200, "basic")
    person.switches(world.pro)
    world.send(events_of(world.stripe, person)[-1])
    assert runs(world, user) == (200, "pro")
    person.cancels_now()
    world.send(events_of(world.stripe, person)[-1])
    assert runs(world, user)[0] == 402


def test_who_does_not_pay_runs_on_in_the_grace_and_no_longer(world):
    user, person = world.subscriber()
    person.card_fails()
    person.waits_for_the_next_period()
    world.deliver(person)
    assert world.subscription(user)["status"] == "past_due" and runs(world, user) == (200, "basic")
    assert world.post(user, "create-checkout-session", {"plan": "pro"}).status_code == 409
    person.retries_are_exhausted()
    world.deliver(person)
    assert world.subscription(user)["status"] == "unpaid" and runs(world, user)[0] == 402
    person.pays_what_is_due()
    world.deliver(person)
    assert world.settle(user, person)["status"] == "active" and runs(world, user) == (200, "basic")


def test_who_is_paused_goes_on_in_the_portal_and_buys_nothing_beside(world):
    user, person = world.subscriber()
    with world.stripe.lock:
        world.stripe.change(person.live(), "customer.subscription.paused", status="paused")
    world.deliver(person)
    assert runs(world, user)[0] == 402
    assert world.post(user, "create-checkout-session", {"plan": "pro"}).status_code == 409
    assert world.post(user, "create-portal-session").status_code == 200
