"""Buying and changing a plan: what goes to Stripe, what comes back, and what happens when Stripe fails."""
import re
import threading
import time

import pytest
import requests

from letters import rows
from manus import API, DEFAULTS, SLOW, run
from stripe_person import Person
from world import APP, World

CREATE, SESSIONS = "POST /v1/customers", "POST /v1/checkout/sessions"


def checkout(world, user, plan="basic", **body):
    return world.post(user, "create-checkout-session", {"plan": plan, **body})


def fulfil(world, user, session):
    return world.post(user, f"checkout-sessions/{session}/fulfil")


def bought(world, plan="basic"):
    """(user, person) who has paid and come back."""
    user = world.user()
    person, session = world.checkout(user, plan)
    assert person.pay(session)
    reply = fulfil(world, user, session)
    assert (reply.status_code, reply.json()["status"]) == (200, "complete"), reply.text
    return user, person


def at_once(count, act):
    barrier, results = threading.Barrier(count), [None] * count

    def one(i):
        with requests.Session() as http:
            barrier.wait()
            results[i] = act(http)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def post(world, user, path, body):
    return lambda http: http.post(f"{world.manus.base}{API}/billing/{path}", json=body, headers={"Authorization": f"Bearer {user['token']}"}, timeout=60)


def test_a_checkout_names_customer_price_and_person(world):
    user = world.user()
    reply = checkout(world, user)
    assert reply.status_code == 200, reply.text
    session = world.stripe.things[reply.json()["checkout_session_id"]]
    assert reply.json()["checkout_url"] == session["url"]
    assert world.stripe.orders[session["id"]]["lines"] == [(world.basic, 1)]
    customer = world.stripe.things[session["customer"]]
    assert (customer["email"], customer["name"], customer["metadata"]) == (user["email"], user["fullname"], {"user_id": user["id"]})
    assert (session["client_reference_id"], session["metadata"]) == (user["id"], {"user_id": user["id"], "plan": "basic"})
    assert world.stripe.orders[session["id"]]["data"]["metadata"] == {"user_id": user["id"], "plan": "basic"}
    assert session["success_url"] == f"{APP}/settings/subscription?success=true&session_id={{CHECKOUT_SESSION_ID}}"
    assert session["cancel_url"] == f"{APP}/settings/subscription?canceled=true"
    assert world.subscription(user)["stripe_customer_id"] == customer["id"]
    asked = world.stripe.asked(CREATE)[0]
    assert asked["headers"]["Stripe-Version"] == "2026-08-26.dahlia" and asked["headers"]["Idempotency-Key"]


def test_what_the_old_client_sends_is_taken(world):
    user = world.user()
    origin = "http://localhost:5173"
    reply = checkout(world, user, "BASIC", success_url=f"{origin}/settings/subscription?success=true", cancel_url=f"{origin}/settings/subscription")
    assert reply.status_code == 200, reply.text
    assert world.stripe.things[reply.json()["checkout_session_id"]]["success_url"].startswith(origin)
    reply = world.post(user, "create-portal-session", {"return_url": f"{origin}/settings"})
    assert reply.status_code == 200 and reply.json()["portal_url"].startswith("https://billing.stripe.example/")
    assert world.post(user, f"create-portal-session?return_url={origin}/x").status_code == 200
    assert [one["params"]["return_url"] for one in world.stripe.asked("POST /v1/billing_portal/sessions")] == [f"{origin}/settings", f"{origin}/x"]


@pytest.mark.parametrize("plan", ["free", "enterprise", "FREE"])
def test_what_is_not_sold_is_refused_by_name(world, plan):
    reply = checkout(world, world.user(), plan)
    assert (reply.status_code, reply.json()["msg"]) == (400, f"Invalid plan: {plan.lower()}")


def test_an_unknown_plan_and_no_plan_are_problems_of_the_body(world):
    user = world.user()
    reply = checkout(world, user, "hobby")
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["loc"] == ["body", "plan"] and reply.json()["detail"][0]["type"] == "enum"
    assert world.post(user, "create-checkout-session", {}).status_code == 422
    assert world.post(user, "create-checkout-session").status_code == 422
    assert not world.stripe.asked()


@pytest.mark.parametrize("url", ["https://evil.example/x", "https://app.example.com.evil.example/", "https://app.example.com@evil.example/", "//evil.example",
                                 "http://app.example.com/x", "https://app.example.com:8443/x", "javascript:alert(1)", "/settings", "https://app.example.com\\@evil.example/",
                                 "https://app.example.com/\x04", "https://app.example.com/\x7f", "https://app.example.com/a b",
                                 "https://app.example.com:0443/x", "https://app.example.com:80/x"])
def test_nobody_is_led_elsewhere(world, url):
    user = world.user()
    for name in ("success_url", "cancel_url"):
        reply = checkout(world, user, **{name: url})
        assert (reply.status_code, reply.json()["msg"]) == (400, "Redirect URL is not allowed")
    assert world.post(user, "create-portal-session", {"return_url": url}).status_code == 400
    assert not world.stripe.asked()


def test_without_stripe_there_is_a_stable_answer(manus):
    token = manus.register()["access_token"]
    for method, path, body in (("POST", "create-checkout-session", {"plan": "basic"}), ("POST", "create-portal-session", None), ("POST", "create-checkout-session", {"plan": "pro"}),
                               ("POST", "change-plan/preview", {"plan": "pro"}), ("POST", "change-plan", {"plan": "pro"}), ("POST", "cancel", None),
                               ("POST", "resume", None), ("POST", "checkout-sessions/x/fulfil", None)):
        reply = manus.request(method, f"{API}/billing/{path}", json=body, headers={"Authorization": f"Bearer {token}"})
        assert (reply.status_code, reply.json()["msg"]) == (503, "Billing is not configured"), path
    assert manus.get(f"{API}/billing/invoices", token).json() == {"invoices": []}


@pytest.mark.parametrize("arguments", [["sync", "--all"], ["sync", "--all", "--dry-run"], ["sync", "--user", "ann@example.com"], ["link", "ann@example.com", "cus_1"]])
def test_without_stripe_commands_that_need_it_say_so(manus, arguments):
    done = run("billing", *arguments, cwd=manus.folder, **{**DEFAULTS, "DATA_DIR": manus.settings["DATA_DIR"]})
    assert (done.returncode, done.stdout) == (65, "") and done.stderr.strip() == "manus billing: Billing is not configured: set STRIPE_SECRET_KEY"


def test_an_open_session_is_given_again_and_another_plan_replaces_it(world):
    user = world.user()
    first = checkout(world, user).json()
    assert checkout(world, user).json() == first
    second = checkout(world, user, "pro").json()
    assert second["checkout_session_id"] != first["checkout_session_id"]
    assert world.stripe.things[first["checkout_session_id"]]["status"] == "expired"
    assert world.stripe.things[second["checkout_session_id"]]["status"] == "open"
    assert len(world.stripe.asked(CREATE)) == 1


def test_an_expired_session_is_made_anew(world):
    user = world.user()
    first = checkout(world, user).json()
    world.stripe.pass_time(86400 + 1)
    second = checkout(world, user)
    assert second.status_code == 200
    assert second.json()["checkout_session_id"] != first["checkout_session_id"]


def test_parallel_checkouts_get_one_session(world):
    world.stripe.slowness = 0.1
    user = world.user()
    replies = at_once(30, post(world, user, "create-checkout-session", {"plan": "basic"}))
    statuses = [reply.status_code for reply in replies]
    assert set(statuses) <= {200, 409} and 200 in statuses, statuses
    assert len({reply.json()["checkout_session_id"] for reply in replies if reply.status_code == 200}) == 1
    assert len(world.stripe.every("customer")) == 1
    assert len(world.stripe.every("checkout.session")) == 1


def test_who_has_paid_has_the_plan_when_they_come_back(world):
    user, person = bought(world, "pro")
    found = world.subscription(user)
    assert (found["plan"], found["status"], found["monthly_agent_runs_limit"], found["monthly_agent_runs"]) == ("pro", "active", 5000, 0)
    world.settle(user, person)
    reply = checkout(world, user)
    assert (reply.status_code, reply.json()["code"]) == (409, 409)


def test_who_comes_back_before_paying_has_nothing(world):
    user = world.user()
    person, session = world.checkout(user)
    assert fulfil(world, user, session).json()["status"] == "open"
    person.pay_by_debit(session)
    reply = fulfil(world, user, session).json()
    assert (reply["status"], reply["subscription"]["plan"]) == ("pending", "free")
    assert checkout(world, user).status_code == 409
    person.debit_comes(session)
    reply = fulfil(world, user, session).json()
    assert (reply["status"], reply["subscription"]["plan"]) == ("complete", "basic")


def test_a_session_of_somebody_else_is_not_found(world):
    user, other = world.user(), world.user()
    person, session = world.checkout(user)
    person.pay(session)
    for name in (session, "cs_test_none", "sub_x", "..%2e"):
        assert fulfil(world, other, name).status_code in (400, 404)
    assert world.subscription(other)["plan"] == "free"


def test_what_was_bought_unheard_of_is_seen_before_a_second_is_sold(world):
    user = world.user()
    person, session = world.checkout(user)
    person.pay(session)
    assert checkout(world, user).status_code == 409
    assert world.subscription(user)["plan"] == "basic"


def test_a_paid_plan_ends_the_trial_and_begins_its_count(world):
    user = world.user()
    world.post(user, "activate-trial")
    rows(world.manus, "UPDATE subscriptions SET monthly_agent_runs = 40, revision = revision + 1 WHERE user_id = ?", user["id"])
    person, session = world.checkout(user)
    person.pay(session)
    fulfil(world, user, session)
    found = world.subscription(user)
    assert (found["plan"], found["is_trial"], found["monthly_agent_runs"], found["monthly_agent_runs_limit"]) == ("basic", False, 0, 1000)
    reply = world.post(user, "activate-trial")
    assert (reply.status_code, reply.json()["msg"]) == (400, "Trial already activated")


# Stripe fails

@pytest.mark.parametrize("fail", [lambda s, on: s.fails(500, on), lambda s, on: s.fails(503, on, after=True), lambda s, on: s.hangs_up(on, after=True),
                                  lambda s, on: s.cuts(on), lambda s, on: s.garbles(on=on), lambda s, on: s.fails(429, on), lambda s, on: s.fails(409, on),
                                  lambda s, on: s.fails(400, on, should_retry="true")])
@pytest.mark.parametrize("on", [CREATE, SESSIONS])
def test_a_passing_failure_is_repeated_with_the_same_key_and_does_nothing_twice(world, fail, on):
    fail(world.stripe, on)
    user = world.user()
    reply = checkout(world, user)
    assert reply.status_code == 200, reply.text
    asked = world.stripe.asked(on)
    assert len(asked) == 2 and len({one["key"] for one in asked}) == 1
    assert len(world.stripe.every("customer")) == 1
    assert len(world.stripe.every("checkout.session")) == 1


def test_a_failure_that_stripe_has_stored_is_passed_by_with_another_key(world):
    world.stripe.fails(500, SESSIONS, stored=True, after=True)
    user = world.user()
    assert checkout(world, user).status_code == 200
    assert len({one["key"] for one in world.stripe.asked(SESSIONS)}) == 2


def test_stripe_down_is_a_503_and_the_next_try_goes_on_with_the_same_key(world):
    user = world.user()
    world.stripe.fails(500, SESSIONS, times=4)
    reply = checkout(world, user)
    assert (reply.status_code, reply.json()["msg"]) == (503, "The payment provider does not answer, please try again")
    assert int(reply.headers["Retry-After"]) >= 1
    assert checkout(world, user).status_code == 200
    assert len({one["key"] for one in world.stripe.asked(SESSIONS)}) == 1
    assert len(world.stripe.every("checkout.session")) == 1


def test_a_kill_between_the_call_and_its_answer_makes_no_second_session(world):
    user = world.user()
    world.stripe.hangs(30, SESSIONS, after=True)
    thread = threading.Thread(target=lambda: pytest.raises(requests.RequestException, checkout, world, user), daemon=True)
    thread.start()
    deadline = time.monotonic() + 10 * SLOW
    while not world.stripe.asked(SESSIONS):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    world.manus.kill()
    thread.join()
    rows(world.manus, "UPDATE checkouts SET leased_until = 0")
    world.manus.start()
    assert checkout(world, user).status_code == 200
    assert len({one["key"] for one in world.stripe.asked(SESSIONS)}) == 1
    assert len(world.stripe.every("checkout.session")) == 1


def test_a_refusal_is_a_502_that_tells_no_secret(world):
    user = world.user()
    world.stripe.fails(400, SESSIONS)
    reply = checkout(world, user)
    assert (reply.status_code, reply.json()["msg"]) == (502, "The payment provider refused the request")
    assert len(world.stripe.asked(SESSIONS)) == 1
    assert checkout(world, user).status_code == 200
    text = world.manus.log_path.read_text()
    assert world.stripe.key not in text and "whsec_" not in text and user["email"] not in text


def test_a_hanging_stripe_holds_nobody_for_longer_than_a_request_may_take(world):
    user = world.user()
    world.stripe.hangs(30, CREATE, times=9)
    began = time.monotonic()
    assert checkout(world, user).status_code == 503
    assert time.monotonic() - began < 12 * SLOW


def test_after_failures_in_a_row_stripe_is_left_alone_for_a_while(world):
    users = [world.user() for _ in range(6)]
    world.stripe.fails(500, times=1000, should_retry="false")
    for user in users:
        assert checkout(world, user).status_code == 503
    asked = len(world.stripe.asked())
    assert asked == 5
    world.stripe.honest()
    deadline = time.monotonic() + 10 * SLOW
    while checkout(world, users[0]).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_customer_whom_stripe_has_lost_is_made_anew(world):
    user = world.user()
    checkout(world, user)
    customer = world.subscription(user)["stripe_customer_id"]
    Person(world.stripe, customer).is_deleted()
    reply = checkout(world, user, "pro")
    assert reply.status_code == 200, reply.text
    assert world.subscription(user)["stripe_customer_id"] not in (None, customer)
    keys = [one["key"] for one in world.stripe.asked(CREATE)]
    assert len(set(keys)) == len(keys) == 2


def test_a_restricted_key_without_the_right_is_told_in_the_log(tmp_path):
    from stripe_double import Stripe
    with World(tmp_path, Stripe(key="rk_test_double", rights={"customers": "write"})) as world:
        reply = checkout(world, world.user())
        assert reply.status_code == 502
        line = world.manus.wait_for_log(lambda line: line["msg"] == "stripe" and line.get("status") == 403)
        assert line["code"] == "more_permissions_required"


# The portal, invoices, changes

def test_who_is_no_customer_has_no_portal(world):
    user = world.user()
    reply = world.post(user, "create-portal-session")
    assert (reply.status_code, reply.json()["msg"]) == (400, f"No Stripe customer found for user: {user['id']}")


def test_invoices_are_the_customers_own(world):
    user, person = bought(world)
    bought(world)
    (invoice,) = world.get(user, "invoices").json()["invoices"]
    assert (invoice["status"], invoice["amount_paid"], invoice["currency"]) == ("paid", 1900, "usd")
    assert invoice["hosted_invoice_url"].startswith("https://")
    assert world.get(world.user(), "invoices").json() == {"invoices": []}


def test_a_switch_costs_what_its_preview_says(world):
    user, person = bought(world)
    preview = world.post(user, "change-plan/preview", {"plan": "PRO"})
    assert preview.status_code == 200, preview.text
    preview = preview.json()
    assert preview["plan"] == "pro" and preview["amount_due"] > 0
    assert preview["total"] == sum(line["amount"] for line in preview["lines"])
    reply = world.post(user, "change-plan", {"plan": "pro", "proration_date": preview["proration_date"]})
    assert (reply.status_code, reply.json()["plan"], reply.json()["monthly_agent_runs_limit"]) == (200, "pro", 5000)
    world.settle(user, person)
    assert len(world.stripe.every("subscription")) == 1
    assert len(person.subscription["items"]["data"]) == 1
    assert world.get(user, "invoices").json()["invoices"][0]["amount_due"] == preview["amount_due"]


def test_a_switch_that_is_not_paid_changes_nothing(world):
    user, person = bought(world)
    person.card_fails()
    reply = world.post(user, "change-plan", {"plan": "pro"})
    assert reply.status_code == 402, reply.text
    assert world.subscription(user)["plan"] == "basic"
    assert person.subscription["items"]["data"][0]["price"]["id"] == world.basic


@pytest.mark.parametrize("path", ["change-plan", "change-plan/preview"])
def test_a_switch_needs_another_plan_that_is_sold_and_a_subscription(world, path):
    user, _ = bought(world)
    for plan, status, msg in (("basic", 400, "This is your plan already"), ("enterprise", 400, "Invalid plan: enterprise"), ("free", 400, "Invalid plan: free")):
        reply = world.post(user, path, {"plan": plan})
        assert (reply.status_code, reply.json()["msg"]) == (status, msg)
    assert world.post(user, path, {"plan": "x"}).status_code == 422
    reply = world.post(world.user(), path, {"plan": "pro"})
    assert (reply.status_code, reply.json()["msg"]) == (400, "There is no subscription to change")


@pytest.mark.parametrize("style", ["portal", "flag", "both", None])
def test_a_plan_ends_with_its_period_and_that_is_taken_back_whoever_asked(world, style):
    user, person = bought(world)
    if style:
        person.cancels(style)
    else:
        assert world.post(user, "cancel").json()["cancel_at_period_end"] is True
        assert world.post(user, "cancel").json()["cancel_at_period_end"] is True
    reply = world.post(user, "resume")
    assert (reply.status_code, reply.json()["cancel_at_period_end"], reply.json()["status"]) == (200, False, "active")
    world.settle(user, person)
    assert world.post(user, "resume").status_code == 200
    assert world.post(user, "cancel").json()["cancel_at_period_end"] is True
    world.settle(user, person)


def test_who_has_nothing_cancels_nothing(world):
    for path in ("cancel", "resume"):
        reply = world.post(world.user(), path)
        assert (reply.status_code, reply.json()["msg"]) == (400, "There is no subscription to change")


def test_two_subscriptions_that_came_to_be_end_in_the_larger_one(world):
    user = world.user()
    person, session = world.checkout(user)
    other = world.stripe.new("checkout.session", mode="subscription", status="open", payment_status="unpaid", customer=person.customer, currency="usd",
                             client_reference_id=user["id"], metadata={"user_id": user["id"]}, success_url=APP, payment_method_types=["card"], shipping_options=[], custom_fields=[],
                             expires_at=world.stripe.now() + 3600)
    world.stripe.orders[other["id"]] = {"lines": [(world.pro, 1)], "data": {}}
    person.pay(session)
    person.pay(other["id"])
    fulfil(world, user, session)
    assert [sub["status"] for sub in world.stripe.every("subscription")] == ["active", "canceled"]
    assert world.subscription(user)["plan"] == "pro"
    world.settle(user, person)


def test_every_request_is_one_that_stripe_mock_takes(world, mock):
    user, person = bought(world)
    world.post(user, "create-portal-session")
    world.get(user, "invoices")
    world.post(user, "change-plan/preview", {"plan": "pro"})
    world.post(user, "change-plan", {"plan": "pro"})
    world.post(user, "cancel")
    world.post(user, "resume")
    checkout(world, world.user())
    second = world.user()
    checkout(world, second)
    checkout(world, second, "pro")
    seen = set()
    for one in world.stripe.asked():
        reply = mock.send(one["method"], one["path"], one["query"], one["body"], one["headers"])
        assert reply.status_code == 200, (one["method"], one["path"], one["body"], reply.text)
        seen.add((one["method"], re.sub(r"/(cus|sub|cs)_\w+", "/ID", one["path"])))
    assert len(seen) >= 9, seen
