"""Several customers of one user: whose card it is, which one gives the plan, and what becomes of the others."""
import json
import time

import pytest

from letters import rows
from manus import API, SLOW
from stripe_double import Stripe
from stripe_person import Person
from test_meanings import dead, pays_a_link, plan_of, runs, tell
from test_operating import command
from world import World, events_of

COMMANDS = [("change-plan", {"plan": "pro"}), ("change-plan/preview", {"plan": "pro"}), ("create-portal-session", {}), ("resume", None)]


def by_a_stranger(world, user, price, email="payer@bank.example"):
    person = Person(world.stripe)
    person.session = person.pays_a_link(price, user["id"], email)
    tell(world, person)
    return person


def confirm(world, user):
    rows(world.manus, "UPDATE users SET verified_at = 1 WHERE user_id = ?", user["id"])


def goes(world, user):
    reply = world.manus.request("DELETE", f"{API}/auth/me", json={"password": "password123"}, headers={"Authorization": f"Bearer {user['token']}"})
    assert reply.status_code == 200, reply.text


def becomes(world, subscription, status):
    deadline = time.monotonic() + 10 * SLOW
    while world.stripe.things[subscription["id"]]["status"] != status:
        assert time.monotonic() < deadline, rows(world.manus, "SELECT type, state, error FROM events")
        time.sleep(0.05)


def balance(world, person):
    return world.stripe.things[person.customer]["balance"]


# Whose card it is

def test_what_a_stranger_pays_gives_the_plan_and_no_say_over_their_card(world):
    user = world.user()
    confirm(world, user)
    payer = by_a_stranger(world, user, world.basic)
    assert plan_of(world, user) == ("basic", "active", 1000) and runs(world, user)[0] == 200
    for path, body in COMMANDS:
        reply = world.post(user, path, body)
        assert reply.status_code == 409 and "Stripe's mails" in reply.json()["msg"] and "portal_url" not in reply.text, (path, reply.text)
    assert world.get(user, "invoices").json()["invoices"] == []
    assert [one["amount_paid"] for one in world.stripe.every("invoice", customer=payer.customer)] == [1900]
    assert not world.stripe.asked("POST /v1/billing_portal/sessions")
    assert world.post(user, "cancel").status_code == 200
    assert payer.subscription["cancel_at_period_end"] and world.post(user, "resume").status_code == 409


def test_who_paid_with_their_confirmed_address_has_the_say(world):
    user = world.user()
    payer = by_a_stranger(world, user, world.basic, user["email"].upper())
    assert world.post(user, "create-portal-session", {}).status_code == 409
    confirm(world, user)
    assert world.post(user, "create-portal-session", {}).status_code == 200
    asked = len(world.stripe.asked("GET /v1/customers"))
    assert world.post(user, "change-plan", {"plan": "pro"}).status_code == 200
    assert len(world.stripe.asked("GET /v1/customers")) == asked and payer.live()
    assert world.get(user, "invoices").json()["invoices"]


def test_an_operators_link_gives_the_say(world):
    user = world.user()
    payer = by_a_stranger(world, user, world.basic)
    assert world.post(user, "create-portal-session", {}).status_code == 409
    done = command(world, "link", user["email"], payer.customer)
    assert done.returncode == 0 and "basic, active" in done.stdout, done.stderr
    assert world.post(user, "create-portal-session", {}).status_code == 200


def test_nobody_buys_at_a_customer_where_another_has_left_a_card(world):
    user = world.user()
    payer = by_a_stranger(world, user, world.basic)
    payer.cancels_now()
    tell(world, payer)
    mine, session = world.checkout(user)
    assert mine.customer != payer.customer
    assert mine.pay(session)
    assert world.post(user, f"checkout-sessions/{session}/fulfil").json()["status"] == "complete"
    assert world.subscription(user)["stripe_customer_id"] == mine.customer


@pytest.mark.parametrize("trial", [True, False])
def test_what_a_stranger_ends_takes_nothing_that_was_had_before(world, trial):
    user = world.user()
    if trial:
        assert world.post(user, "activate-trial").status_code == 200
    before = plan_of(world, user)
    payer = by_a_stranger(world, user, world.basic)
    assert plan_of(world, user) == ("basic", "active", 1000)
    payer.cancels_now()
    tell(world, payer)
    assert plan_of(world, user) == before and runs(world, user)[0] == 200


# A former customer and a second one

def test_a_page_of_a_former_customer_cannot_be_paid_any_more(world):
    user = world.user()
    former, session = world.checkout(user)
    payer = pays_a_link(world, world.pro, user["id"])
    tell(world, payer)
    assert former.customer != payer.customer and world.stripe.things[session]["status"] == "expired"
    assert plan_of(world, user) == ("pro", "active", 5000)


def test_a_second_one_who_pays_takes_over_when_the_first_ends(world):
    user, first = world.subscriber()
    second = pays_a_link(world, world.pro, user["id"])
    tell(world, second)
    assert plan_of(world, user) == ("basic", "active", 1000) and dead(world)
    first.cancels_now()
    tell(world, first)
    assert plan_of(world, user) == ("pro", "active", 5000) and not dead(world)
    assert world.post(user, "create-checkout-session", {"plan": "pro"}).status_code == 409


def test_no_third_one_is_sold_beside_a_second_one_that_was_not_heard_of_again(world):
    user, first = world.subscriber()
    second = pays_a_link(world, world.pro, user["id"])
    tell(world, second)
    with world.stripe.lock:
        world.stripe.end_subscription(first.live(), "cancellation_requested")
    rows(world.manus, "UPDATE subscriptions SET plan = 'free', status = 'canceled', stripe_subscription_id = NULL, revision = revision + 1")
    assert runs(world, user)[0] == 402
    assert world.post(user, "create-checkout-session", {"plan": "basic"}).status_code == 409
    assert plan_of(world, user) == ("pro", "active", 5000)


def test_who_pays_anew_beside_what_is_unpaid_has_what_they_pay(world):
    user, first = world.subscriber()
    with world.stripe.lock:
        world.stripe.change(first.live(), "customer.subscription.updated", status="unpaid")
    tell(world, first)
    assert runs(world, user)[0] == 402
    second = pays_a_link(world, world.pro, user["id"])
    tell(world, second)
    assert plan_of(world, user) == ("pro", "active", 5000) and runs(world, user)[0] == 200


def test_who_goes_is_billed_by_none_of_their_customers_any_more(world):
    user, first = world.subscriber()
    second = pays_a_link(world, world.pro, user["id"])
    tell(world, second)
    goes(world, user)
    becomes(world, first.subscription, "canceled")
    becomes(world, second.subscription, "canceled")
    tell(world, second)
    assert world.stripe.things[first.customer].get("deleted") and not world.stripe.things[second.customer].get("deleted")
    assert not dead(world)


def test_what_is_paid_for_who_is_gone_is_an_operators_matter(world):
    user = world.user()
    goes(world, user)
    payer = by_a_stranger(world, user, world.basic)
    for _ in range(3):
        rows(world.manus, "UPDATE events SET next_at = 0 WHERE state = 'waiting'")
        time.sleep(0.5)
    assert [error for error, _ in dead(world)] and all("names no user here" in error and "refund" in error for error, _ in dead(world)), dead(world)
    assert payer.subscription["status"] == "active"


# Credits

def test_what_was_used_is_not_credited(world):
    user, person = world.subscriber("basic")
    assert world.post(user, "change-plan", {"plan": "pro"}).status_code == 200
    rows(world.manus, "UPDATE subscriptions SET monthly_agent_runs = 4999, usage_period = current_period_start + 1, revision = revision + 1 WHERE user_id = ?", user["id"])
    assert runs(world, user)[0] == 200
    shown = world.post(user, "change-plan/preview", {"plan": "basic"}).json()
    assert (shown["amount_due"], shown["total"], shown["currency"], shown["lines"]) == (0, 0, "usd", [])
    reply = world.post(user, "change-plan", {"plan": "basic", "proration_date": shown["proration_date"]})
    assert reply.status_code == 200 and plan_of(world, user) == ("basic", "active", 1000)
    assert balance(world, person) == 0 and runs(world, user)[0] == 402


def test_what_was_not_used_is_credited(world):
    user, person = world.subscriber("basic")
    assert world.post(user, "change-plan", {"plan": "pro"}).status_code == 200
    rows(world.manus, "UPDATE subscriptions SET monthly_agent_runs = 999, usage_period = current_period_start + 1, revision = revision + 1 WHERE user_id = ?", user["id"])
    assert runs(world, user)[0] == 200
    assert world.post(user, "change-plan", {"plan": "basic"}).status_code == 200
    assert balance(world, person) < -2900


def test_what_was_not_paid_is_not_credited(world):
    user, person = world.subscriber("pro")
    with world.stripe.lock:
        invoice = world.stripe.things[person.live()["latest_invoice"]]
        invoice.update(status="open", amount_paid=0, amount_remaining=invoice["amount_due"])
    assert world.post(user, "change-plan", {"plan": "basic"}).status_code == 200
    assert balance(world, person) == 0 and plan_of(world, user) == ("basic", "active", 1000)


def test_a_year_that_is_left_is_credited_whatever_was_used_in_a_month(tmp_path):
    stripe = Stripe()
    monthly, yearly = stripe.plan("basic", 1900), stripe.plan("pro", 49000, "year")
    plans = tmp_path / "plans.json"
    plans.write_text(json.dumps({"plans": [{"name": "free", "runs": 10, "amount": 0}, {"name": "basic", "runs": 1000, "amount": 1900, "stripe_prices": [monthly]},
                                           {"name": "pro", "runs": 5000, "amount": 49000, "interval": "year", "stripe_prices": [yearly]}]}))
    (tmp_path / "world").mkdir()
    with World(tmp_path / "world", stripe, PLANS_FILE=str(plans)) as world:
        user, person = world.subscriber("pro")
        rows(world.manus, "UPDATE subscriptions SET monthly_agent_runs = 1001, usage_period = current_period_start + 1, revision = revision + 1")
        assert runs(world, user)[0] == 200
        assert world.post(user, "change-plan", {"plan": "basic"}).status_code == 200
        assert balance(world, person) < -40000


# What others do

def test_what_a_stranger_stops_paying_keeps_nobody_from_their_trial_nor_from_buying(world):
    user = world.user()
    assert world.post(user, "activate-trial").status_code == 200
    payer = by_a_stranger(world, user, world.basic)
    payer.card_fails()
    payer.waits_for_the_next_period()
    world.stripe.pass_time(8 * 86400)
    tell(world, payer)
    command(world, "sync", "--all")
    assert rows(world.manus, "SELECT status, is_trial FROM subscriptions WHERE user_id = ?", user["id"]) == [("past_due", 1)]
    assert runs(world, user)[0] == 200
    mine, session = world.checkout(user)
    assert mine.customer != payer.customer and mine.pay(session)
    assert world.post(user, f"checkout-sessions/{session}/fulfil").json()["status"] == "complete"


def test_a_goodbye_leaves_what_is_paid_for_somebody_else(world):
    user, person = world.subscriber()
    other = world.user()
    with world.stripe.lock:
        theirs = world.stripe.start_subscription(person.customer, [(world.pro, 1)], metadata={"user_id": other["id"]})
    tell(world, person)
    mine = next(one for one in world.stripe.every("subscription", customer=person.customer) if one["id"] != theirs["id"])
    goes(world, user)
    becomes(world, mine, "canceled")
    time.sleep(0.5)
    assert world.stripe.things[theirs["id"]]["status"] == "active" and not world.stripe.things[person.customer].get("deleted")


def test_a_goodbye_that_stripe_knows_nothing_of_waits(world):
    user, person = world.subscriber()
    for path in ("GET /v1/subscriptions", "GET /v1/customers"):
        world.stripe.fails(404, path, times=100)
    goes(world, user)
    deadline = time.monotonic() + 10 * SLOW
    while not rows(world.manus, "SELECT 1 FROM events WHERE type = 'manus.user.deleted' AND waits > 0"):
        assert time.monotonic() < deadline, rows(world.manus, "SELECT type, state, error FROM events")
        time.sleep(0.05)
    assert person.subscription["status"] == "active"


def test_an_unpaid_second_customer_takes_nobodys_place(world):
    user, session = world.user(), None
    payer = by_a_stranger(world, user, world.basic)
    with world.stripe.lock:
        world.stripe.change(payer.live(), "customer.subscription.updated", status="unpaid")
    tell(world, payer)
    mine, session = world.checkout(user)
    tell(world, payer)
    command(world, "sync", "--all")
    assert world.subscription(user)["stripe_customer_id"] == mine.customer and world.stripe.things[session]["status"] == "open"
    assert mine.pay(session)
    assert world.post(user, f"checkout-sessions/{session}/fulfil").json()["status"] == "complete"


def test_an_operators_link_to_a_customer_that_stripe_does_not_know_is_refused(world):
    user = world.user()
    done = command(world, "link", user["email"], "cus_typo")
    assert done.returncode != 0 and "no such customer" in done.stderr


LISTS = [[None, 5], [{"id": "sub_other", "customer": "cus_other", "status": "active"}], [{"id": None}], []]


@pytest.mark.parametrize("data", LISTS, ids=["no objects", "of somebody else", "without an id", "nothing"])
def test_a_goodbye_ends_what_is_paid_whatever_a_list_says_instead(world, data):
    user, person = world.subscriber()
    world.stripe.garbles(json.dumps({"object": "list", "has_more": False, "data": data}).encode(), "GET /v1/subscriptions", times=1)
    goes(world, user)
    becomes(world, person.subscription, "canceled")


# Somebody else's, by a session's word alone

def buys_for_another(world, person, price, other):
    session = person.checks_out(price, other["id"])
    return session, world.stripe.things[world.stripe.things[session]["subscription"]]


@pytest.mark.parametrize("mine,theirs", [("pro", "basic"), ("basic", "pro")])
def test_what_a_session_says_is_somebody_elses_is_neither_ended_nor_given(world, mine, theirs):
    user, person = world.subscriber(mine)
    other = world.user()
    _, bought = buys_for_another(world, person, world.pro if theirs == "pro" else world.basic, other)
    tell(world, person)
    assert bought["status"] == "active" and balance(world, person) == 0
    assert plan_of(world, user)[0] == mine and plan_of(world, other)[0] == "free"
    assert dead(world) and all("pays for a plan of the user" in error and who == other["id"] for error, who in dead(world)), dead(world)


def test_what_a_session_says_is_somebody_elses_is_found_without_events(world):
    user, person = world.subscriber("pro")
    other = world.user()
    _, bought = buys_for_another(world, person, world.basic, other)
    command(world, "sync", "--all")
    rows(world.manus, "UPDATE events SET next_at = 0 WHERE state = 'waiting'")
    deadline = time.monotonic() + 10 * SLOW
    while not dead(world):
        assert time.monotonic() < deadline, rows(world.manus, "SELECT type, state, error FROM events")
        time.sleep(0.05)
    assert [who for _, who in dead(world)] == [other["id"]] and bought["status"] == "active"


def test_a_goodbye_leaves_what_a_session_says_is_somebody_elses(world):
    user, person = world.subscriber("pro")
    mine, other = person.subscription, world.user()
    _, bought = buys_for_another(world, person, world.basic, other)
    tell(world, person)
    goes(world, user)
    becomes(world, mine, "canceled")
    time.sleep(0.5)
    assert bought["status"] == "active" and not world.stripe.things[person.customer].get("deleted")


# What is one's own, beside what a stranger pays

def unpaid(world, person):
    with world.stripe.lock:
        world.stripe.change(person.live(), "customer.subscription.updated", status="unpaid")
    tell(world, person)


def ends(world, person):
    person.cancels_now()
    tell(world, person)


def linked_to(world, user):
    return rows(world.manus, "SELECT stripe_customer_id FROM subscriptions WHERE user_id = ?", user["id"])[0][0]


def test_an_own_credit_is_had_again_once_what_a_stranger_paid_is_over(world):
    user, mine = world.subscriber()
    with world.stripe.lock:
        world.stripe.things[mine.customer]["balance"] = -3000
    ends(world, mine)
    payer = by_a_stranger(world, user, world.basic)
    assert plan_of(world, user) == ("basic", "active", 1000)
    ends(world, payer)
    assert linked_to(world, user) == mine.customer
    again, session = world.checkout(user)
    assert again.customer == mine.customer and again.pay(session) and balance(world, mine) == -1100


def test_an_own_debt_is_reached_beside_what_a_stranger_pays_and_comes_first_once_it_is_paid(world):
    user, mine = world.subscriber("pro")
    unpaid(world, mine)
    payer = by_a_stranger(world, user, world.basic)
    assert plan_of(world, user) == ("basic", "active", 1000)
    assert world.post(user, "create-portal-session", {}).status_code == 200
    assert world.stripe.asked("POST /v1/billing_portal/sessions")[-1]["params"]["customer"] == mine.customer
    assert [one["amount_due"] for one in world.get(user, "invoices").json()["invoices"]] == [4900]
    with world.stripe.lock:
        world.stripe.change(mine.live(), "customer.subscription.updated", status="active")
    tell(world, mine)
    assert plan_of(world, user) == ("pro", "active", 5000) and linked_to(world, user) == mine.customer
    assert payer.subscription["status"] == "active"


@pytest.mark.parametrize("is_deleted", [False, True])
def test_what_a_stranger_paid_for_a_while_makes_no_free_plan_of_one_that_was_over(world, is_deleted):
    user, mine = world.subscriber()
    if is_deleted:
        mine.is_deleted()
        tell(world, mine)
    else:
        ends(world, mine)
    before = plan_of(world, user)
    assert before[1] == "canceled" and runs(world, user)[0] == 402
    payer = by_a_stranger(world, user, world.basic)
    assert runs(world, user)[0] == 200
    ends(world, payer)
    assert plan_of(world, user) == before and runs(world, user)[0] == 402


def test_a_proof_outlives_that_another_customer_takes_the_place(world):
    user = world.user()
    confirm(world, user)
    proved = by_a_stranger(world, user, world.basic, user["email"])
    assert world.post(user, "create-portal-session", {}).status_code == 200
    unpaid(world, proved)
    payer = by_a_stranger(world, user, world.pro)
    assert plan_of(world, user) == ("pro", "active", 5000)
    rows(world.manus, "UPDATE users SET verified_at = 0 WHERE user_id = ?", user["id"])
    assert world.post(user, "create-portal-session", {}).status_code == 200
    ends(world, payer)
    assert linked_to(world, user) == proved.customer
    assert world.subscription(user)["status"] == "unpaid" and runs(world, user)[0] == 402
    assert world.post(user, "create-portal-session", {}).status_code == 200


def test_strangers_who_pay_nothing_any_more_are_asked_about_once(world):
    user = world.user()
    for _ in range(3):
        ends(world, by_a_stranger(world, user, world.basic))
    world.checkout(user)
    command(world, "sync", "--user", user["email"])
    asked = len(world.stripe.asked())
    command(world, "sync", "--user", user["email"])
    asked = [f"{one['method']} {one['path']} {one['query']}" for one in world.stripe.asked()[asked:]]
    assert len(asked) == 1, asked
    assert rows(world.manus, "SELECT customer_id FROM other_customers") == []


# What is paused, and what is under way

def paused(world):
    """(user, person) whose trial at Stripe is over, without a card."""
    user = world.user()
    person, _ = world.checkout(user)
    with world.stripe.lock:
        world.stripe.start_subscription(person.customer, [(world.basic, 1)], trial_end=world.stripe.now() + 5 * 86400,
                                        settings={"end_behavior": {"missing_payment_method": "pause"}})
    world.stripe.cards[person.customer] = None
    world.stripe.pass_time(6 * 86400)
    tell(world, person)
    assert person.subscription["status"] == "paused" and runs(world, user)[0] == 402
    return user, person


def invoices_of(world, person, status):
    return [one["id"] for one in world.stripe.every("invoice", customer=person.customer, status=status) if one["amount_due"]]


def test_who_tries_again_to_resume_pays_the_same_invoice(world):
    user, person = paused(world)
    person.card_fails()
    for _ in range(3):
        assert world.post(user, "resume").status_code == 402
        assert len(invoices_of(world, person, "open")) == 1
    due = invoices_of(world, person, "open")
    person.card_works()
    reply = world.post(user, "resume")
    assert (reply.status_code, reply.json()["status"]) == (200, "active"), reply.text
    assert invoices_of(world, person, "open") == [] and invoices_of(world, person, "paid") == due


def test_who_is_paused_is_told_the_way_to_another_plan(world):
    user, person = paused(world)
    reply = world.post(user, "change-plan", {"plan": "pro"})
    assert reply.status_code == 409 and "resume" in reply.json()["msg"], reply.text
    assert world.post(user, "cancel").json()["status"] == "canceled"
    assert person.subscription["status"] == "canceled" and balance(world, person) == 0
    other, session = world.checkout(user, "pro")
    assert other.pay(session) and world.post(user, f"checkout-sessions/{session}/fulfil").json()["status"] == "complete"


def test_while_a_switch_is_under_way_no_more_runs_begin_than_the_smaller_plan_has(world):
    user, person = world.subscriber("pro")
    rows(world.manus, "UPDATE subscriptions SET monthly_agent_runs = 997, usage_period = current_period_start + 1, revision = revision + 1 WHERE user_id = ?", user["id"])
    seen = []
    world.stripe.meanwhile(lambda: seen.extend(runs(world, user)[0] for _ in range(6)), "POST /v1/subscriptions/.*")
    assert world.post(user, "change-plan", {"plan": "basic"}).status_code == 200
    assert seen == [200] * 3 + [402] * 3
    assert balance(world, person) < -2900 and runs(world, user)[0] == 402


def test_after_a_switch_that_fails_the_plan_is_whole(world):
    user, person = world.subscriber("pro")
    rows(world.manus, "UPDATE subscriptions SET monthly_agent_runs = 1000, usage_period = current_period_start + 1, revision = revision + 1 WHERE user_id = ?", user["id"])
    world.stripe.refuses("POST /v1/subscriptions/.*", 400, "no")
    assert world.post(user, "change-plan", {"plan": "basic"}).status_code >= 400
    assert runs(world, user)[0] == 200


def test_another_products_page_of_another_program_alarms_nobody(world):
    user, person = world.subscriber()
    person.checks_out(world.newsletter, "news-42")
    tell(world, person)
    assert not dead(world) and plan_of(world, user) == ("basic", "active", 1000)


# In a backlog

def test_in_a_backlog_what_is_paid_for_somebody_else_is_told_all_the_same(world):
    user, person = world.subscriber("pro")
    other = world.user()
    with world.stripe.lock:
        world.stripe.start_subscription(person.customer, [(world.basic, 1)], metadata={"user_id": other["id"]})
    world.stripe.fails(500, "GET /v1/subscriptions", times=1000)
    world.deliver(person)
    rows(world.manus, "UPDATE events SET next_at = ?, received_at = received_at - 1000 WHERE state = 'waiting'", int(time.time() + 3000) * 1000)
    world.stripe.honest()
    before = len(events_of(world.stripe, person))
    with world.stripe.lock:
        mine = next(one for one in world.stripe.every("subscription", customer=person.customer) if one["metadata"].get("user_id") == user["id"])
        world.stripe.change(mine, "customer.subscription.updated", description="mine")
    world.deliver(person, before)
    rows(world.manus, "UPDATE events SET next_at = 0 WHERE state = 'waiting'")
    tell(world, person)
    assert dead(world) and {who for _, who in dead(world)} == {other["id"]}, rows(world.manus, "SELECT type, state, error FROM events")


@pytest.mark.parametrize("had", [True, False])
def test_a_strangers_customer_that_is_deleted_takes_nothing_along(world, had):
    user, mine = world.subscriber() if had else (world.user(), None)
    if had:
        ends(world, mine)
    before = plan_of(world, user)
    payer = by_a_stranger(world, user, world.basic)
    assert plan_of(world, user) == ("basic", "active", 1000)
    payer.is_deleted()
    tell(world, payer)
    assert plan_of(world, user) == before and runs(world, user)[0] == (402 if had else 200)
    again, session = world.checkout(user)
    assert again.customer != payer.customer and (not had or again.customer == mine.customer)


def test_each_purchase_by_a_price_of_no_plan_is_told_by_itself(world):
    user, person = world.subscriber()
    for name in ("a", "b"):
        person.checks_out(world.stripe.plan(name, 900), reference=user["id"])
        tell(world, person)
    found = {error for error, _ in dead(world)}
    assert len(found) == 2 and all(any(one["id"] in error for error in found) for one in world.stripe.every("subscription", customer=person.customer)[:2]), found


def test_a_page_that_cannot_be_closed_holds_up_the_change_of_customers(world):
    user = world.user()
    former, session = world.checkout(user)
    world.stripe.fails(403, on="POST /v1/checkout/sessions/.*/expire", times=100)
    world.stripe.fails(403, on=f"GET /v1/checkout/sessions/{session}", times=100)
    payer = pays_a_link(world, world.pro, user["id"])
    world.deliver(payer)
    time.sleep(1)
    assert plan_of(world, user)[0] == "free" and world.stripe.things[session]["status"] == "open"
    world.stripe.honest()
    rows(world.manus, "UPDATE events SET next_at = 0 WHERE state = 'waiting'")
    tell(world, payer)
    assert plan_of(world, user)[0] == "pro" and world.stripe.things[session]["status"] == "expired"


@pytest.mark.parametrize("is_heard", [True, False])
def test_a_plan_that_names_another_user_by_now_is_kept_and_told(world, is_heard):
    user, person = world.subscriber()
    other = world.user()
    tell(world, person)
    with world.stripe.lock:
        world.stripe.change(person.live(), "customer.subscription.updated", metadata={"user_id": other["id"]})
    if is_heard:
        tell(world, person)
    else:
        assert command(world, "sync", "--all").returncode == 0
    wait_for_dead(world)
    assert all("pays for a plan of the user" in error and other["id"] in error for error, _ in dead(world)), dead(world)
    assert plan_of(world, user)[0] == "basic" and plan_of(world, other)[0] == "free" and person.subscription["status"] == "active"


def wait_for_dead(world):
    deadline = time.monotonic() + 10 * SLOW
    while not dead(world):
        assert time.monotonic() < deadline, rows(world.manus, "SELECT type, state, error FROM events")
        time.sleep(0.05)
