"""What is at Stripe and what it means here: other products, debts, ends, intervals, and whose money it is."""
import json
import time

import pytest

from letters import letters, nobody_waits, rows
from manus import API, SLOW
from stripe_person import Person
from test_operating import command
from world import World, events_of, stamp

DAY = 86400


def runs(world, user):
    """What the guard says of another run: the status, the plan."""
    asked = {"X-Original-Method": "PUT", "X-Original-URI": f"{API}/sessions"}
    reply = world.manus.get(f"{API}/gate", user["token"], headers=asked)
    return reply.status_code, reply.headers.get("X-Manus-Plan")


def tell(world, person, since=0):
    """Delivers, and waits until nothing waits."""
    world.deliver(person, since)
    deadline = time.monotonic() + 20 * SLOW
    while rows(world.manus, "SELECT 1 FROM events WHERE state = 'waiting' AND next_at < ?", (time.time() + 1) * 1000):
        assert time.monotonic() < deadline, rows(world.manus, "SELECT type, error FROM events WHERE state = 'waiting'")
        time.sleep(0.05)


def newsletter(world, person, **more):
    """Another product, which the same customer has."""
    price = world.stripe.plan("newsletter", 100)
    with world.stripe.lock:
        return world.stripe.start_subscription(person.customer, [(price, 1)], **more)


def plan_of(world, user):
    found = world.subscription(user)
    return found["plan"], found["status"], found["monthly_agent_runs_limit"]


# Other products

def test_a_plan_that_ends_is_over_whatever_else_its_customer_has(world):
    user, person = world.subscriber("pro")
    other = newsletter(world, person)
    tell(world, person)
    assert plan_of(world, user) == ("pro", "active", 5000)
    with world.stripe.lock:
        world.stripe.end_subscription(world.stripe.every("subscription", customer=person.customer)[1], "cancellation_requested")
    tell(world, person)
    assert plan_of(world, user) == ("free", "canceled", 10)
    assert runs(world, user)[0] == 402
    assert world.stripe.things[other["id"]]["status"] == "active"


def test_another_product_alone_is_as_if_it_were_not_there(world):
    user = world.user()
    person, session = world.checkout(user)
    assert world.post(user, "activate-trial").status_code == 200
    other = newsletter(world, person)
    tell(world, person)
    assert plan_of(world, user) == ("free", "trialing", 50)
    for path, body in (("change-plan", {"plan": "pro"}), ("cancel", None), ("resume", None), ("change-plan/preview", {"plan": "pro"})):
        reply = world.post(user, path, body)
        assert (reply.status_code, reply.json()["msg"]) == (400, "There is no subscription to change"), path
    with world.stripe.lock:
        world.stripe.change(world.stripe.things[other["id"]], "customer.subscription.updated", status="past_due")
    tell(world, person)
    assert plan_of(world, user) == ("free", "trialing", 50)
    with world.stripe.lock:
        world.stripe.end_subscription(world.stripe.things[other["id"]], "cancellation_requested")
    tell(world, person)
    assert plan_of(world, user) == ("free", "trialing", 50) and runs(world, user)[0] == 200
    assert person.pay(session)
    assert world.post(user, f"checkout-sessions/{session}/fulfil").json()["status"] == "complete"
    assert plan_of(world, user) == ("basic", "active", 1000)


def test_what_another_product_owes_is_no_debt_of_the_plan_and_the_other_way_round(world):
    user, person = world.subscriber("pro")
    other = newsletter(world, person)
    with world.stripe.lock:
        world.stripe.change(world.stripe.things[other["id"]], "customer.subscription.updated", status="past_due")
    tell(world, person)
    assert plan_of(world, user) == ("pro", "active", 5000)
    plan = world.stripe.every("subscription", customer=person.customer)[1]
    with world.stripe.lock:
        world.stripe.change(other, "customer.subscription.updated", status="active")
        world.stripe.change(world.stripe.things[plan["id"]], "customer.subscription.updated", status="unpaid")
    tell(world, person)
    assert plan_of(world, user)[1] == "unpaid" and runs(world, user)[0] == 402


def test_who_goes_takes_the_plan_along_and_leaves_the_rest(world):
    user, person = world.subscriber("pro")
    plan, other = person.subscription, newsletter(world, person)
    reply = world.manus.request("DELETE", f"{API}/auth/me", json={"password": "password123"}, headers={"Authorization": f"Bearer {user['token']}"})
    assert reply.status_code == 200, reply.text
    deadline = time.monotonic() + 10 * SLOW
    while world.stripe.things[plan["id"]]["status"] != "canceled":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    tell(world, person)
    assert world.stripe.things[other["id"]]["status"] == "active" and not world.stripe.things[person.customer].get("deleted")


def test_a_switch_changes_the_plan_and_no_other_item(world):
    user, person = world.subscriber()
    with world.stripe.lock:
        sub = person.live()
        world.stripe.add_item(sub, world.stripe.plan("support", 500), 2, *world.stripe.period_of(sub))
    tell(world, person)
    assert world.post(user, "change-plan", {"plan": "pro"}).status_code == 200
    items = {item["price"]["id"]: item["quantity"] for item in person.subscription["items"]["data"]}
    assert items.pop(world.pro) == 1 and list(items.values()) == [2]
    assert plan_of(world, user) == ("pro", "active", 5000)


def test_a_switch_leaves_one_plan_of_several_in_a_subscription(world):
    user, person = world.subscriber()
    with world.stripe.lock:
        sub = person.live()
        world.stripe.add_item(sub, world.pro, 1, *world.stripe.period_of(sub))
    tell(world, person)
    assert plan_of(world, user)[0] == "pro"
    assert world.post(user, "change-plan", {"plan": "basic"}).status_code == 200
    assert [item["price"]["id"] for item in person.subscription["items"]["data"]] == [world.basic]


def with_add_ons(world, person, count=11):
    """The plan's item comes last, behind those that Stripe embeds."""
    with world.stripe.lock:
        sub = person.live()
        for i in range(count):
            world.stripe.add_item(sub, world.stripe.product(f"add-on {i}", 100), 1, *world.stripe.period_of(sub))
        items = sub["items"]["data"]
        items.append(items.pop(0))


def test_a_plan_counts_behind_ten_other_items(world):
    user = world.user()
    person, session = world.checkout(user)
    assert person.pay(session)
    with_add_ons(world, person)
    tell(world, person)
    assert plan_of(world, user) == ("basic", "active", 1000)
    assert world.post(user, "change-plan/preview", {"plan": "pro"}).status_code == 200
    assert world.post(user, "change-plan", {"plan": "pro"}).status_code == 200
    assert [item["price"]["id"] for item in person.live()["items"]["data"]].count(world.pro) == 1 and len(person.live()["items"]["data"]) == 12
    assert plan_of(world, user) == ("pro", "active", 5000)
    assert not any(line.startswith("WRONG") and "is in no plan" in line for line in command(world, "doctor").stdout.splitlines())
    assert world.manus.request("DELETE", f"{API}/auth/me", json={"password": "password123"}, headers={"Authorization": f"Bearer {user['token']}"}).status_code == 200
    deadline = time.monotonic() + 10 * SLOW
    while person.live()["status"] != "canceled":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_who_pays_for_a_plan_behind_ten_other_items_is_found_by_the_comparison(world):
    user = world.user()
    person = pays_a_link(world, world.pro, user["id"])
    with_add_ons(world, person)
    assert command(world, "sync", "--all").returncode == 0
    world.settle(user, person)


def test_whose_plan_is_taken_out_of_a_subscription_has_none_whatever_else_is_in_it(world):
    user, person = world.subscriber("pro")
    with world.stripe.lock:
        world.stripe.add_item(person.live(), world.stripe.product("support", 100), 1, *world.stripe.period_of(person.live()))
        plan = next(item for item in person.live()["items"]["data"] if item["price"]["id"] == world.pro)
    tell(world, person)
    assert plan_of(world, user) == ("pro", "active", 5000)
    with world.stripe.lock:
        world.stripe.switch(person.live(), [{"id": plan["id"], "deleted": True}])
    reply = world.post(user, "change-plan", {"plan": "basic"})
    assert reply.status_code == 409 and "not clear which part" in reply.json()["msg"]
    tell(world, person)
    assert plan_of(world, user) == ("free", "canceled", 10) and runs(world, user)[0] == 402
    person.waits_for_the_next_period()
    tell(world, person)
    assert command(world, "sync", "--user", user["email"]).returncode == 0
    assert plan_of(world, user) == ("free", "canceled", 10) and runs(world, user)[0] == 402
    assert person.subscription["status"] == "active" and len(person.subscription["items"]["data"]) == 1


def test_a_plan_is_kept_while_its_item_has_another_price_that_is_not_known(world):
    user, person = world.subscriber("pro")
    person.switches(world.stripe.plan("pro of next year", 5900))
    for _ in range(2):
        tell(world, person)
        assert plan_of(world, user) == ("pro", "active", 5000) and runs(world, user)[0] == 200
        person.waits_for_the_next_period()
    assert world.post(user, "change-plan", {"plan": "basic"}).status_code == 200
    assert plan_of(world, user) == ("basic", "active", 1000)


# Debts

def test_grace_runs_from_the_first_unpaid_invoice_and_the_count_goes_on(world):
    user, person = world.subscriber()
    assert runs(world, user)[0] == 200
    rows(world.manus, "UPDATE subscriptions SET monthly_agent_runs = 998, revision = revision + 1 WHERE user_id = ?", user["id"])
    person.card_fails()
    person.waits_for_the_next_period()
    tell(world, person)
    assert world.subscription(user)["monthly_agent_runs"] == 998
    assert [runs(world, user)[0] for _ in range(3)] == [200, 200, 402]
    since = rows(world.manus, "SELECT past_due_at FROM subscriptions WHERE user_id = ?", user["id"])[0][0]
    assert abs(since / 1000 - time.time()) < 60
    world.stripe.pass_time(20 * DAY)
    person.waits_for_the_next_period()
    tell(world, person)
    again = rows(world.manus, "SELECT past_due_at FROM subscriptions WHERE user_id = ?", user["id"])[0][0]
    assert since / 1000 - again / 1000 > 20 * DAY
    assert runs(world, user)[0] == 402
    person.pays_what_is_due()
    tell(world, person)
    assert plan_of(world, user) == ("basic", "active", 1000) and runs(world, user)[0] == 200


def test_an_invoice_that_is_sent_is_due_when_it_says(world):
    user = world.user()
    person, _ = world.checkout(user)
    with world.stripe.lock:
        world.stripe.start_subscription(person.customer, [(world.basic, 1)], collection_method="send_invoice", days_until_due=30)
    tell(world, person)
    assert plan_of(world, user) == ("basic", "active", 1000) and runs(world, user)[0] == 200
    world.stripe.pass_time(30 * DAY + 3600)
    tell(world, person)
    assert world.subscription(user)["status"] == "past_due" and runs(world, user)[0] == 200
    due = rows(world.manus, "SELECT past_due_at FROM subscriptions WHERE user_id = ?", user["id"])[0][0]
    assert abs(time.time() - 3600 - due / 1000) < 60
    world.stripe.pass_time(7 * DAY)
    assert command(world, "sync", "--user", user["email"]).returncode == 0
    assert runs(world, user)[0] == 402


def test_what_stripe_got_over_is_no_part_of_a_new_debt(world):
    user, person = world.subscriber()
    person.card_fails()
    person.waits_for_the_next_period()
    tell(world, person)
    assert world.subscription(user)["status"] == "past_due"
    person.waits_for_the_next_period()
    person.pays_the_newest()
    for _ in range(3):
        person.waits_for_the_next_period()
    tell(world, person)
    assert plan_of(world, user)[1] == "active" and runs(world, user)[0] == 200
    assert [one["status"] for one in world.stripe.every("invoice", customer=person.customer)].count("open") == 1
    person.card_fails()
    person.waits_for_the_next_period()
    tell(world, person)
    assert plan_of(world, user)[1] == "past_due" and runs(world, user)[0] == 200
    since, = rows(world.manus, "SELECT past_due_at FROM subscriptions WHERE user_id = ?", user["id"])[0]
    assert abs(since / 1000 - time.time()) < 120
    person.waits(8 * DAY)
    assert command(world, "sync", "--user", user["email"]).returncode == 0
    assert runs(world, user)[0] == 402


def subjects(world, user):
    nobody_waits(world.manus)
    return [letter["Subject"] for letter in letters(world.manus, user["email"])]


def test_who_pays_or_is_forgiven_a_part_of_a_debt_is_mailed_no_second_time(tmp_path):
    with World(tmp_path, SMTP_HOST="") as world:
        user, person = world.subscriber()
        person.card_fails()
        for _ in range(2):
            person.waits_for_the_next_period()
        tell(world, person)
        assert subjects(world, user).count("Your payment has failed") == 1
        with world.stripe.lock:
            older, newer = world.stripe.invoices_of(person.live(), "open")
            world.stripe.charge(older, True)
        tell(world, person)
        since, = rows(world.manus, "SELECT past_due_at FROM subscriptions WHERE user_id = ?", user["id"])[0]
        assert world.subscription(user)["status"] == "past_due" and since == world.stripe.things[newer["id"]]["status_transitions"]["finalized_at"] * 1000
        world.stripe.pauses(person.live(), "keep_as_draft")
        person.waits_for_the_next_period()
        world.stripe.void(newer["id"])
        tell(world, person)
        assert plan_of(world, user)[1] == "past_due" and runs(world, user)[0] == 200
        assert subjects(world, user).count("Your payment has failed") == 1
        world.stripe.unpauses(person.live())
        person.waits_for_the_next_period()
        tell(world, person)
        assert subjects(world, user).count("Your payment has failed") == 2


@pytest.mark.parametrize("cancels", [True, False])
def test_who_has_canceled_is_not_told_that_a_trial_goes_on(tmp_path, cancels):
    with World(tmp_path, SMTP_HOST="") as world:
        user = world.user()
        person, _ = world.checkout(user)
        world.stripe.cards[person.customer] = "good"
        with world.stripe.lock:
            world.stripe.start_subscription(person.customer, [(world.pro, 1)], trial_end=world.stripe.now() + 7 * DAY)
        if cancels:
            person.cancels()
        world.stripe.pass_time(5 * DAY)
        tell(world, person)
        assert plan_of(world, user) == ("pro", "trialing", 5000)
        assert subjects(world, user).count("Your trial ends soon") == (0 if cancels else 1)


# What else makes active mean less

def test_a_purchase_whose_first_payment_waits_takes_nothing(world):
    user = world.user()
    person, _ = world.checkout(user)
    world.stripe.cards[person.customer] = "authentication"
    person.subscribes(world.pro, pays=False)
    tell(world, person)
    assert person.subscription["status"] == "incomplete"
    assert plan_of(world, user) == ("free", "active", 10) and runs(world, user)[0] == 200
    with world.stripe.lock:
        world.stripe.cards[person.customer] = "good"
        world.stripe.charge(world.stripe.invoices_of(person.live(), "open")[0])
    tell(world, person)
    assert plan_of(world, user) == ("pro", "active", 5000)


def test_what_is_bought_none_times_stands_behind_what_is_tried(world):
    user, person = world.subscriber()
    with world.stripe.lock:
        sub = person.live()
        world.stripe.switch(sub, [{"id": sub["items"]["data"][0]["id"], "quantity": 0}])
    tell(world, person)
    assert plan_of(world, user) == ("free", "canceled", 10)
    person.subscribes(world.pro, trial_end=world.stripe.now() + 14 * DAY)
    tell(world, person)
    assert plan_of(world, user) == ("pro", "trialing", 5000) and runs(world, user)[0] == 200


def test_collection_paused_by_void_ends_access_with_what_was_paid(world):
    user, person = world.subscriber("pro")
    world.stripe.pauses(person.live(), "void")
    tell(world, person)
    found = world.subscription(user)
    assert plan_of(world, user) == ("pro", "active", 5000) and runs(world, user)[0] == 200
    assert found["ends_at"] == found["current_period_end"] and not found["cancel_at_period_end"]
    assert world.post(user, "change-plan", {"plan": "basic"}).status_code == 409
    person.waits_for_the_next_period()
    tell(world, person)
    assert plan_of(world, user)[1] == "canceled" and runs(world, user)[0] == 402
    assert world.post(user, "create-checkout-session", {"plan": "basic"}).status_code == 409
    world.stripe.unpauses(person.live())
    tell(world, person)
    assert plan_of(world, user) == ("pro", "active", 5000) and runs(world, user)[0] == 200


def test_what_else_is_so_at_stripe_is_shown_to_the_operator(world):
    user, person = world.subscriber()
    with world.stripe.lock:
        person.live()["items"]["data"][0]["quantity"] = 3
    world.stripe.pauses(person.live(), "keep_as_draft")
    tell(world, person)
    rows(world.manus, "UPDATE users SET role = 'admin' WHERE user_id = ?", user["id"])
    token = world.manus.post(f"{API}/auth/login", {"email": user["email"], "password": "password123"}).json()["data"]["access_token"]
    found = world.manus.get(f"{API}/billing/admin/subscriptions", token).json()["data"]["subscriptions"]
    assert found[0]["stripe_notes"] == "collection is paused (keep_as_draft); quantity 3"
    assert plan_of(world, user) == ("basic", "active", 1000) and runs(world, user)[0] == 200


# Cancelling

def test_an_end_a_year_ahead_is_no_end_of_this_period(world):
    user, person = world.subscriber()
    with world.stripe.lock:
        year = world.stripe.now() + 365 * DAY
        world.stripe.schedule_cancel(person.live(), at=year)
    tell(world, person)
    found = world.subscription(user)
    assert not found["cancel_at_period_end"] and found["ends_at"][:4] == time.strftime("%Y", time.gmtime(year))
    reply = world.post(user, "cancel")
    assert reply.status_code == 200 and reply.json()["cancel_at_period_end"] and reply.json()["ends_at"] == reply.json()["current_period_end"]
    assert person.subscription["cancel_at"] == world.stripe.period_of(person.subscription)[1]
    asked = len(world.stripe.asked("POST /v1/subscriptions/.*"))
    assert world.post(user, "cancel").status_code == 200 and len(world.stripe.asked("POST /v1/subscriptions/.*")) == asked
    reply = world.post(user, "resume").json()
    assert reply["ends_at"] == found["ends_at"] and not reply["cancel_at_period_end"] and person.subscription["cancel_at"] == year
    reply = world.post(user, "resume")
    assert reply.status_code == 409 and found["ends_at"][:10] in reply.json()["msg"]
    assert person.subscription["cancel_at"] == year


def test_an_end_before_the_periods_is_shown_as_the_day_on_which_access_ends(world):
    user, person = world.subscriber()
    with world.stripe.lock:
        world.stripe.schedule_cancel(person.live(), at=world.stripe.now() + 5 * DAY)
    tell(world, person)
    found = world.subscription(user)
    assert found["cancel_at_period_end"] and found["ends_at"] == found["current_period_end"]
    assert abs(stamp(found["ends_at"]) - time.time() - 5 * DAY) < 60


def test_what_ends_is_not_switched_until_the_end_is_taken_back(world):
    user, person = world.subscriber()
    assert world.post(user, "cancel").status_code == 200
    for path in ("change-plan/preview", "change-plan"):
        reply = world.post(user, path, {"plan": "pro"})
        assert reply.status_code == 409 and world.subscription(user)["ends_at"][:10] in reply.json()["msg"]
    assert len(world.stripe.every("invoice", customer=person.customer)) == 1
    assert world.post(user, "resume").status_code == 200
    assert world.post(user, "change-plan", {"plan": "pro"}).status_code == 200


def test_what_is_paused_after_a_trial_is_resumed_once_it_is_paid(world):
    user = world.user()
    person, _ = world.checkout(user)
    person.card_fails()
    with world.stripe.lock:
        world.stripe.start_subscription(person.customer, [(world.pro, 1)], trial_end=world.stripe.now() + 5 * DAY,
                                        settings={"end_behavior": {"missing_payment_method": "pause"}})
    world.stripe.cards[person.customer] = None
    world.stripe.pass_time(6 * DAY)
    tell(world, person)
    assert person.subscription["status"] == "paused" and plan_of(world, user)[1] == "canceled"
    person.card_fails()
    reply = world.post(user, "resume")
    assert reply.status_code == 402 and reply.json()["data"]["portal_url"], reply.text
    assert runs(world, user)[0] == 402
    person.card_works()
    reply = world.post(user, "resume")
    assert (reply.status_code, reply.json()["status"]) == (200, "active"), reply.text
    assert runs(world, user)[0] == 200


def test_cancelling_ends_with_the_plans_period_whatever_longer_ones_there_are(world):
    user, person = world.subscriber()
    with world.stripe.lock:
        world.stripe.switch(person.live(), [{"price": world.stripe.product("support", 5000, "year")}], "none")
        end = min(item["current_period_end"] for item in person.live()["items"]["data"])
        world.stripe.schedule_cancel(person.live(), at=world.stripe.now() + 182 * DAY)
    tell(world, person)
    assert not world.subscription(user)["cancel_at_period_end"]
    reply = world.post(user, "cancel").json()
    assert reply["cancel_at_period_end"] and stamp(reply["ends_at"]) == stamp(reply["current_period_end"]) == end == person.subscription["cancel_at"]
    with world.stripe.lock:
        world.stripe.unschedule_cancel(person.live(), cancel_at=None)
    assert world.post(user, "cancel").status_code == 200 and person.subscription["cancel_at"] == end
    assert world.post(user, "resume").json()["ends_at"] is None


# Whose money it is

def pays_a_link(world, price, reference=None):
    """By a payment link: a new customer, and a session that alone may say whom it was for."""
    person = Person(world.stripe)
    person.session = person.pays_a_link(price, reference)
    return person


@pytest.mark.parametrize("order", [1, -1])
def test_who_pays_by_a_link_that_names_them_has_the_plan(world, order):
    user = world.user()
    empty, _ = world.checkout(user)
    person = pays_a_link(world, world.pro, user["id"])
    for event in events_of(world.stripe, person)[::order]:
        assert world.send(event).status_code == 200
    world.settle(user, person)
    assert world.subscription(user)["stripe_customer_id"] == person.customer != empty.customer
    assert world.post(user, f"checkout-sessions/{person.session}/fulfil").json()["status"] == "complete"


def test_a_customer_who_names_a_user_and_pays_takes_the_place_of_one_who_has_nothing(world):
    user, former = world.subscriber()
    former.cancels_now()
    tell(world, former)
    with world.stripe.lock:
        person = Person(world.stripe, world.stripe.new("customer", balance=0, delinquent=False, tax_exempt="none", preferred_locales=[],
                                                       metadata={"user_id": user["id"]})["id"])
        world.stripe.start_subscription(person.customer, [(world.pro, 1)])
    tell(world, person)
    assert plan_of(world, user) == ("pro", "active", 5000)
    tell(world, former)
    assert plan_of(world, user) == ("pro", "active", 5000)


def dead(world):
    return rows(world.manus, "SELECT error, user_id FROM events WHERE state = 'dead'")


def test_who_pays_twice_is_told_to_the_operator_and_loses_nothing(world):
    user, first = world.subscriber()
    second = pays_a_link(world, world.pro, user["id"])
    reply = world.post(user, f"checkout-sessions/{second.session}/fulfil")
    assert reply.status_code == 409 and "second subscription" in reply.json()["msg"]
    tell(world, second)
    assert plan_of(world, user) == ("basic", "active", 1000)
    assert dead(world) and all(error.startswith("paid twice") and whose == user["id"] and second.customer in error for error, whose in dead(world))
    world.manus.wait_for_log(lambda line: line["level"] == "error" and line.get("user") == user["id"] and "paid twice" in line["detail"])
    assert "manus_billing_payments_unplaced_total 0" not in world.manus.get("/metrics", headers={}).text
    assert second.subscription["status"] == first.subscription["status"] == "active"
    first.cancels_now()
    tell(world, first)
    done = command(world, "inbox", "replay", "dead")
    assert done.returncode == 0, done.stderr
    world.settle(user, second)


def test_a_plan_that_nobody_is_known_to_have_paid_is_linked_by_hand(world):
    user = world.user()
    person = pays_a_link(world, world.basic)
    tell(world, person)
    for _ in range(3):
        rows(world.manus, "UPDATE events SET next_at = 0 WHERE state = 'waiting'")
        time.sleep(0.5)
    assert dead(world)
    done = command(world, "link", user["email"], person.customer)
    assert done.returncode == 0 and "basic, active" in done.stdout, done.stderr
    assert plan_of(world, user) == ("basic", "active", 1000)
    other = world.user()
    done = command(world, "link", other["email"], person.customer)
    assert done.returncode == 65 and user["id"] in done.stderr


def test_another_products_customers_are_ignored_at_once(world):
    price = world.stripe.plan("newsletter", 100)
    person = pays_a_link(world, price)
    tell(world, person)
    assert {state for (state,) in rows(world.manus, "SELECT state FROM events WHERE customer_id = ?", person.customer)} == {"ignored"}


def test_another_products_link_that_names_a_user_takes_no_customers_place(world):
    user = world.user()
    mine, session = world.checkout(user)
    person = pays_a_link(world, world.stripe.plan("newsletter", 100), user["id"])
    tell(world, person)
    assert world.subscription(user)["stripe_customer_id"] == mine.customer
    assert [error for error, _ in dead(world)] and all("is in no plan" in error for error, _ in dead(world))
    assert mine.pay(session)
    tell(world, mine)
    assert plan_of(world, user) == ("basic", "active", 1000)


def test_an_operator_is_mailed_once_for_each_customer(tmp_path):
    with World(tmp_path, OPERATOR_EMAIL="ops@example.com", SMTP_HOST="") as world:
        person = pays_a_link(world, world.basic)
        user, _ = world.subscriber()
        twice = pays_a_link(world, world.basic, user["id"])
        for _ in range(2):
            tell(world, twice)
        letters = [path.read_text() for path in (world.manus.folder / "data" / "outbox").glob("*.eml")]
        deadline = time.monotonic() + 10 * SLOW
        while sum("To: ops@example.com" in letter for letter in letters) < 1:
            assert time.monotonic() < deadline, letters
            time.sleep(0.1)
            letters = [path.read_text() for path in (world.manus.folder / "data" / "outbox").glob("*.eml")]
        time.sleep(1)
        letters = [path.read_text() for path in (world.manus.folder / "data" / "outbox").glob("*.eml")]
        assert sum("To: ops@example.com" in letter for letter in letters) == 1
        assert person.customer


def test_a_plan_of_another_user_on_somebodys_customer_is_an_operators_matter(world):
    user, person = world.subscriber("pro")
    other = world.user()
    tell(world, person)
    name = person.subscribes(world.basic, metadata={"user_id": other["id"]})
    tell(world, person)
    assert {one["status"] for one in world.stripe.every("subscription", customer=person.customer)} == {"active"}
    assert plan_of(world, user) == ("pro", "active", 5000) and plan_of(world, other) == ("free", "active", 10)
    assert dead(world) and all(name in error and other["id"] in error and whose == other["id"] for error, whose in dead(world))
    rows(world.manus, "DELETE FROM events")
    assert command(world, "sync", "--all").returncode == 0
    deadline = time.monotonic() + 10 * SLOW
    while not dead(world):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    since = len(events_of(world.stripe, person))
    person.waits_for_the_next_period(world.stripe.every("subscription", customer=person.customer)[1]["id"])
    tell(world, person, since)
    assert all(name in error for error, _ in dead(world)) and plan_of(world, user) == ("pro", "active", 5000)


def test_another_programs_names_count_for_nothing(world):
    user, payer = world.user(), Person(world.stripe, world.stripe.customer(metadata={"user_id": "42"}))
    session = payer.checks_out(world.pro, reference=user["id"])
    assert world.post(user, f"checkout-sessions/{session}/fulfil").json()["status"] == "complete"
    assert plan_of(world, user) == ("pro", "active", 5000)
    with world.stripe.lock:
        world.stripe.change(payer.live(), "customer.subscription.updated", metadata={"user_id": "42", "plan": "pro"})
    tell(world, payer)
    assert plan_of(world, user) == ("pro", "active", 5000) and not dead(world)
    user, first = world.subscriber()
    first.cancels_now()
    tell(world, first)
    first.subscribes(world.pro, metadata={"user_id": "42", "plan": "pro"})
    tell(world, first)
    assert plan_of(world, user) == ("pro", "active", 5000)


def test_a_customer_is_gone_only_if_stripe_says_so(world):
    user, person = world.subscriber()
    tell(world, person)
    event = world.stripe.emit("customer.deleted", world.stripe.things[person.customer])
    assert world.send(event).status_code == 200
    while rows(world.manus, "SELECT 1 FROM events WHERE event_id = ? AND state = 'waiting'", event["id"]):
        time.sleep(0.05)
    assert world.subscription(user)["stripe_customer_id"] == person.customer and plan_of(world, user) == ("basic", "active", 1000)
    person.is_deleted()
    tell(world, person)
    assert world.subscription(user)["stripe_customer_id"] is None and plan_of(world, user)[0] == "free"


def test_what_was_bought_is_complete_only_when_that_is_had_by_who_asks(world):
    user, person = world.subscriber()
    session = person.checks_out(world.stripe.plan("new", 900), reference=user["id"])
    assert world.post(user, f"checkout-sessions/{session}/fulfil").json()["status"] == "pending"
    assert plan_of(world, user) == ("basic", "active", 1000)
    other, me = world.user(), world.user()
    payer = Person(world.stripe, world.stripe.customer(metadata={"user_id": other["id"]}))
    session = payer.checks_out(world.pro, reference=me["id"])
    assert world.post(me, f"checkout-sessions/{session}/fulfil").json()["status"] == "pending"
    assert plan_of(world, me)[0] == "free" and plan_of(world, other)[0] == "pro"


# Prices that nobody knows

def test_a_price_of_no_plan_takes_nothing_from_a_trial(world):
    user = world.user()
    person, session = world.checkout(user)
    assert world.post(user, "activate-trial").status_code == 200
    world.stripe.orders[session]["lines"] = [(world.stripe.plan("new", 900), 1)]
    assert person.pay(session)
    assert world.post(user, f"checkout-sessions/{session}/fulfil").json()["status"] == "pending"
    tell(world, person)
    assert plan_of(world, user) == ("free", "trialing", 50) and runs(world, user)[0] == 200
    assert world.post(user, "create-checkout-session", {"plan": "pro"}).status_code == 409
    done = command(world, "doctor")
    price = person.subscription["items"]["data"][0]["price"]["id"]
    assert any(line.startswith("WRONG") and price in line for line in done.stdout.splitlines()), done.stdout


def test_the_doctor_compares_intervals_and_amounts(tmp_path):
    with World(tmp_path) as world:
        with world.stripe.lock:
            world.stripe.things[world.pro]["recurring"]["interval"] = "year"
        said = command(world, "doctor").stdout
        assert "ok     basic: its price at Stripe is the one that is shown" in said
        assert "WRONG  pro: shown as 4900 usd a month, but Stripe takes 4900 usd every 1 year" in said


def test_the_doctor_warns_of_a_portal_that_gives_a_credit_to_who_ends_at_once(world):
    good = "ok     the portal gives no credit to users who cancel"
    assert good in command(world, "doctor").stdout
    world.stripe.portal_cancels = {"mode": "immediately", "proration_behavior": "none"}
    assert good in command(world, "doctor").stdout
    world.stripe.portal_cancels = {"mode": "immediately", "proration_behavior": "create_prorations"}
    assert "WRONG  the portal cancels subscriptions at once and credits the rest of the period" in command(world, "doctor").stdout


# Found by itself

def test_who_pays_for_a_plan_and_is_linked_to_nobody_is_found_by_the_comparison(world):
    user = world.user()
    person = pays_a_link(world, world.pro, user["id"])
    done = command(world, "sync", "--all")
    assert done.returncode == 0, done.stderr
    world.settle(user, person)


@pytest.mark.parametrize("data", [[], [{"id": "sub_1"}], [{"id": None}]])
def test_a_part_of_a_list_is_not_taken_for_the_whole(world, data):
    user = world.user()
    person, session = world.checkout(user)
    world.stripe.garbles(json.dumps({"object": "list", "has_more": True, "data": data}).encode(), "GET /v1/subscriptions", times=100)
    assert person.pay(session)
    world.deliver(person)
    assert "does not end" in rows(world.manus, "SELECT error FROM events WHERE state = 'waiting' AND error <> ''")[0][0]
    assert not world.stripe.asked("DELETE .*") and not rows(world.manus, "SELECT 1 FROM events WHERE state = 'done' AND type LIKE 'customer.sub%'")
    world.stripe.honest()
    world.settle(user, person)


@pytest.mark.parametrize("last", ["sub_1", "", None])
def test_pages_of_payers_that_do_not_end_are_told(world, last):
    world.stripe.garbles(json.dumps({"object": "list", "has_more": True, "data": [{"id": last}] if last is not None else []}).encode(),
                         "GET /v1/subscriptions", times=100)
    done = command(world, "sync", "--all")
    assert done.returncode != 0 and "do not end" in done.stderr
