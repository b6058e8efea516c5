"""What would cost somebody money: nobody loses what they pay for, gets what they do not, or pays twice."""
import time

import pytest
import requests

from letters import rows
from manus import API, KEY, run
from stripe_double import Reply, Stripe
from test_meanings import plan_of, runs, tell


def sync_all(world):
    return run("billing", "sync", "--all", cwd=world.manus.folder, **world.manus.settings)


def gate(world, user):
    return world.manus.request("GET", f"{API}/gate", headers={"X-Original-Method": "PUT", "X-Original-URI": "/api/v1/sessions", "Authorization": f"Bearer {user['token']}"}).status_code


@pytest.mark.parametrize("portal_first", [True, False])
def test_a_customer_who_was_deleted_is_free_and_may_buy_again_whoever_hears_of_it_first(world, portal_first):
    user, person = world.subscriber()
    person.is_deleted()
    if portal_first:
        assert world.post(user, "create-portal-session").status_code == 400
    world.deliver(person)
    found = world.subscription(user)
    assert (found["plan"], found["stripe_customer_id"]) == ("free", None)
    assert world.post(user, "create-checkout-session", {"plan": "basic"}).status_code == 200


def test_a_refusal_of_the_portal_that_is_not_about_the_customer_takes_nobody_away(world):
    user, person = world.subscriber()
    world.stripe.garbles(b'{"error":{"type":"invalid_request_error","code":"resource_missing","param":"configuration","message":"no"}}',
                         on="POST /v1/billing_portal/sessions", status=404)
    assert world.post(user, "create-portal-session").status_code >= 400
    assert world.subscription(user)["stripe_customer_id"] == person.customer


def test_a_404_that_is_not_stripes_own_frees_no_payer(world):
    user, person = world.subscriber("pro")
    world.stripe.garbles(b'{"message":"no Route matched with those values"}', on="GET /v1/subscriptions", status=404, times=99)
    assert "mended" in sync_all(world).stdout and world.subscription(user)["plan"] == "pro"


def test_the_key_of_another_account_frees_no_payer(world):
    user, person = world.subscriber("pro")
    other = Stripe().start()
    try:
        world.manus.stop()
        world.manus.settings.update(STRIPE_API_BASE=other.base, STRIPE_SECRET_KEY=other.key)
        world.manus.http = requests.Session()
        world.manus.start()
        assert "0 mended, 1 failed" in sync_all(world).stdout
        assert (world.subscription(user)["plan"], world.subscription(user)["status"]) == ("pro", "active")
    finally:
        other.stop()


def test_a_list_that_leaves_the_subscription_out_ends_nothing(world):
    user, person = world.subscriber("pro")
    world.stripe.garbles(b'{"object":"list","data":[],"has_more":false,"url":"/v1/subscriptions"}', on="GET /v1/subscriptions", status=200, times=1)
    assert "0 mended" in sync_all(world).stdout and world.subscription(user)["plan"] == "pro"


def test_a_clock_that_was_set_back_swallows_no_event(world):
    user, person = world.subscriber()
    rows(world.manus, "UPDATE subscriptions SET synced_at = synced_at + 3600000")
    person.cancels_now()
    world.deliver(person)
    assert world.subscription(user)["plan"] == "free"


@pytest.mark.parametrize("off", [-86400, -1000, 100, 86400 * 20])
def test_the_date_of_a_proration_is_that_of_a_fresh_preview(world, off):
    user, person = world.subscriber()
    reply = world.post(user, "change-plan", {"plan": "pro", "proration_date": int(time.time()) + off})
    assert (reply.status_code, reply.json()["msg"]) == (400, "This preview is too old: ask for a new one")
    shown = world.post(user, "change-plan/preview", {"plan": "pro"}).json()["proration_date"]
    assert world.post(user, "change-plan", {"plan": "pro", "proration_date": shown}).status_code == 200


def test_who_owes_does_not_become_active_by_another_plan(world):
    user, person = world.subscriber("pro")
    person.card_fails()
    person.waits_for_the_next_period()
    world.deliver(person)
    assert world.subscription(user)["status"] == "past_due"
    for path in ("change-plan", "change-plan/preview"):
        assert world.post(user, path, {"plan": "basic"}).status_code == 402
    assert not world.stripe.asked("POST /v1/subscriptions/.*")
    assert world.subscription(user)["status"] == "past_due"


def test_a_trial_after_an_ended_subscription_is_kept(world):
    user, person = world.subscriber()
    person.cancels_now()
    world.deliver(person)
    assert world.post(user, "activate-trial").status_code == 200
    for _ in range(2):
        sync_all(world)
        found = world.subscription(user)
        assert (found["is_trial"], found["monthly_agent_runs_limit"]) == (True, 50)
    assert gate(world, user) == 200


def test_of_two_pages_for_two_plans_never_both_are_open(world):
    user = world.user()
    person, first = world.checkout(user)
    world.stripe.fails(500, on="POST /v1/checkout/sessions/.*/expire", times=8)
    assert world.post(user, "create-checkout-session", {"plan": "pro"}).status_code >= 500
    world.stripe.honest()
    reply = world.post(user, "create-checkout-session", {"plan": "pro"})
    assert reply.status_code == 200
    assert [one["id"] for one in world.stripe.every("checkout.session") if one["status"] == "open"] == [reply.json()["checkout_session_id"]]


def test_one_customer_whom_stripe_cannot_serve_keeps_the_others_from_nothing(world):
    people = [world.subscriber() for _ in range(4)]
    for _, person in people:
        person.cancels_now()
    bad, real = people[-1][1].customer, world.stripe.answer

    def answer(method, target, headers, body):
        if bad in target:
            return Reply(500, {"error": {"type": "api_error", "message": "x"}}, {"Stripe-Should-Retry": "false"})
        return real(method, target, headers, body)

    world.stripe.answer = answer
    assert "3 mended, 1 failed" in sync_all(world).stdout
    assert [world.subscription(user)["plan"] for user, _ in people] == ["free"] * 3 + ["basic"]


def test_a_price_of_two_plans_stops_the_start(tmp_path):
    done = run("check", cwd=tmp_path, JWT_SECRET_KEY=KEY, STRIPE_PRICE_ID_BASIC="price_a", STRIPE_PRICE_ID_PRO="price_b,price_a")
    assert done.returncode == 78 and "price_a stands for basic and for pro" in done.stderr


def test_a_larger_plan_is_had_once_it_is_paid(world):
    user, person = world.subscriber()
    person.card_fails()
    person.switches(world.pro, "always_invoice")
    tell(world, person)
    assert plan_of(world, user) == ("basic", "past_due", 1000) and runs(world, user) == (200, "basic")
    assert world.post(user, "cancel").status_code == 200
    tell(world, person)
    assert plan_of(world, user) == ("basic", "past_due", 1000)
    world.stripe.pass_time(20 * 86400)
    assert sync_all(world).returncode == 0 and runs(world, user) == (200, "basic")  # that is paid for the whole month
    assert world.post(user, "resume").status_code == 200
    person.pays_what_is_due()
    tell(world, person)
    assert plan_of(world, user) == ("pro", "active", 5000)


def test_a_larger_plan_that_is_not_paid_is_late_once_the_former_one_is_over(world):
    user, person = world.subscriber()
    person.card_fails()
    person.switches(world.pro, "always_invoice")
    person.waits_for_the_next_period()
    tell(world, person)
    assert plan_of(world, user) == ("basic", "past_due", 1000) and runs(world, user)[0] == 200
    world.stripe.pass_time(10 * 86400)
    assert sync_all(world).returncode == 0 and runs(world, user)[0] == 402


def test_a_renewal_of_a_plan_that_was_paid_is_late_with_that_plan(world):
    user, person = world.subscriber()
    person.switches(world.pro, "always_invoice")
    person.card_fails()
    person.waits_for_the_next_period()
    tell(world, person)
    assert plan_of(world, user) == ("pro", "past_due", 5000)


def test_what_was_unpaid_and_is_paid_beside_a_new_one_ends_with_a_credit(world):
    user, person = world.subscriber()
    with world.stripe.lock:
        world.stripe.change(person.live(), "customer.subscription.updated", status="unpaid")
    old = person.subscription["id"]
    person.checks_out(world.pro, user["id"], {"user_id": user["id"]})
    tell(world, person)
    assert plan_of(world, user) == ("pro", "active", 5000)
    with world.stripe.lock:
        world.stripe.change(person.live(old), "customer.subscription.updated", status="active")
    tell(world, person)
    assert person.live(old)["status"] == "canceled" and world.stripe.things[person.customer]["balance"] < 0
    assert plan_of(world, user) == ("pro", "active", 5000)


def test_a_renewal_that_waits_for_the_holder_has_the_grace_and_no_more(world):
    user, person = world.subscriber()
    person.card_fails("authentication")
    person.waits_for_the_next_period()
    tell(world, person)
    assert plan_of(world, user) == ("basic", "past_due", 1000) and runs(world, user)[0] == 200
    world.stripe.pass_time(10 * 86400)
    assert sync_all(world).returncode == 0
    assert runs(world, user)[0] == 402
    person.pays_what_is_due()
    tell(world, person)
    assert plan_of(world, user) == ("basic", "active", 1000) and runs(world, user)[0] == 200
