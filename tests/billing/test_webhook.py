"""Stripe's events: who is believed, what is kept, and that what they lead to is always what Stripe says."""
import collections
import concurrent.futures
import contextlib
import json
import resource
import secrets
import threading
import time
from http.client import HTTPConnection

import pytest
import requests

from letters import letter_to, rows, text_of
from manus import API, SLOW
from stripe_courier import forged, payload, signature
from stripe_person import Person
from stripe_spec import OLD
from world import APP, SECRET, World, events_of, unknown


def state_of(world, event):
    found = rows(world.manus, "SELECT state, error FROM events WHERE event_id = ?", event)
    return found[0] if found else None


def wait_for_state(world, event, state, seconds=20):
    deadline = time.monotonic() + seconds * SLOW
    while (state_of(world, event) or ("",))[0] != state:
        assert time.monotonic() < deadline, state_of(world, event)
        time.sleep(0.05)


def due(world):
    """Nothing waits for its time any more."""
    rows(world.manus, "UPDATE events SET next_at = 0 WHERE state = 'waiting'")


# Who is believed

def test_without_a_signature_or_with_a_wrong_one_nothing_is_taken(world):
    event = forged("customer.created", {"id": "cus_1", "object": "customer"})
    reply = world.send(event, header="")
    assert (reply.status_code, reply.json()) == (400, {"code": 400, "msg": "Missing Stripe-Signature header", "data": None})
    body, now = payload(event), int(time.time())
    right = signature(body, [SECRET])
    wrong = ["x", "t=1,v1=" + "0" * 64, right.upper(), right.replace("v1", "v0"), signature(body, ["whsec_other"]), signature(body, [""]), signature(body, [SECRET], now - 310),
             signature(body, [SECRET], now + 310), f"t={now}," + right, right.replace(",v1", ", v1"), signature(body + b" ", [SECRET]), "a" * 10_000]
    for header in wrong:
        reply = world.send(body, header=header)
        assert (reply.status_code, reply.json()["msg"]) == (401, "Invalid webhook signature"), header
    assert rows(world.manus, "SELECT count(*) FROM events") == [(0,)]


def test_a_signature_that_stands_twice_is_none(world):
    body = payload(forged("customer.created", {"id": "cus_1", "object": "customer"}))
    right = signature(body, [SECRET]).encode()
    head = b"POST /api/v1/billing/webhook HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\nStripe-Signature: %s\r\nStripe-Signature: %s\r\n\r\n"
    assert world.manus.raw(head % (len(body), right, right) + body).startswith(b"HTTP/1.1 401 ")


def test_while_a_secret_is_rolled_both_are_believed(tmp_path):
    with World(tmp_path, STRIPE_WEBHOOK_SECRET=f"whsec_new, {SECRET}") as world:
        for secret in ("whsec_new", SECRET):
            assert world.send(forged("customer.created", {"id": "cus_1", "object": "customer"}), secret=secret).status_code == 200
        assert world.send(forged("customer.created", {"id": "cus_1", "object": "customer"}), secret="whsec_older").status_code == 401


def test_without_a_secret_nobody_is_believed(tmp_path):
    with World(tmp_path, STRIPE_WEBHOOK_SECRET=None) as world:
        reply = world.send(forged("customer.created", {"id": "cus_1", "object": "customer"}))
        assert (reply.status_code, reply.json()["msg"]) == (503, "Billing is not configured")


def test_only_refusals_count_for_the_limit(tmp_path):
    with World(tmp_path, RATE_LIMIT_ENABLED="true", RATE_LIMIT_BILLING_WEBHOOK="3/minute") as world:
        event = forged("customer.created", {"id": "cus_1", "object": "customer"})
        for _ in range(10):
            assert world.send(event).status_code == 200
        assert [world.send(event, header="t=1").status_code for _ in range(4)] == [401, 401, 401, 429]


def test_an_event_that_says_of_no_context_is_ours(world):
    user, person = world.subscriber()
    person.cancels()
    assert world.send({**events_of(world.stripe, person)[-1], "context": None}).json()["status"] == "success"
    world.settle(user, person)


@pytest.mark.parametrize("rate", ["RATE_LIMIT_BILLING_WEBHOOK", "RATE_LIMIT_DEFAULT"])
def test_a_thousand_forged_deliveries_from_the_same_address_leave_the_signed_ones_alone(tmp_path, rate):
    def forge(i):
        event = forged("customer.subscription.deleted", {"id": "sub_1", "object": "subscription"})
        kinds = ({"secret": "whsec_guessed"}, {"header": ""}, {"at": int(time.time()) - 3600}, {"header": f"t={int(time.time())},v1={'0' * 64}"})
        return world.send(event, **kinds[i % len(kinds)]).status_code

    with World(tmp_path, RATE_LIMIT_ENABLED="true", **{rate: "3/minute"}) as world:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            forging = [pool.submit(forge, i) for i in range(1000)]
            signed = [world.send(forged("customer.created", {"id": "cus_1", "object": "customer"})).status_code for _ in range(100)]
            said = [one.result() for one in forging]
        signed += [world.send(forged("customer.created", {"id": "cus_1", "object": "customer"})).status_code for _ in range(10)]
        assert set(signed) == {200}
        assert set(said) <= {400, 401, 429} and said.count(429) > 800


@pytest.mark.parametrize("header", ["", "Stripe-Signature: x\r\n", "Stripe-Signature: t=1,v1=" + "0" * 64 + "\r\n"])
def test_what_cannot_be_signed_is_refused_and_counted_without_its_body(tmp_path, header):
    with World(tmp_path, RATE_LIMIT_ENABLED="true", RATE_LIMIT_BILLING_WEBHOOK="3/minute") as world:
        for status in [400 if header == "" else 401] * 3 + [429]:
            with world.manus.connect(5) as wire:
                wire.sendall(f"POST /api/v1/billing/webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n{header}\r\n".encode())
                assert wire.recv(4096).startswith(b"HTTP/1.1 %d " % status)


# What is kept

def test_an_unknown_type_is_recorded_and_ignored(world):
    event = forged("some.new.type", {"id": "x_1", "object": "x"})
    assert world.send(event).json() == {"status": "ignored", "event_type": "some.new.type"}
    assert state_of(world, event["id"])[0] == "ignored"
    assert world.send(event).json() == {"status": "ignored", "event_type": "some.new.type"}
    assert rows(world.manus, "SELECT count(*) FROM events") == [(1,)]


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"{}", b'{"object":"event"}', b'{"id":"evt_1","object":"event","type":"x"}', b"\xff\xfe", b"[" * 5000,
                                  b'{"id":"evt_../x","object":"event","type":"x","data":{"object":{}}}', b'{"object":"v2.core.event","id":"evt_1","type":"x"}'])
def test_signed_nonsense_is_told_and_kept(world, body):
    reply = world.send(body)
    assert (reply.status_code, reply.json()["msg"]) == (400, "Webhook processing failed: this is no event")
    assert rows(world.manus, "SELECT type, state FROM events") == [("unreadable", "dead")]


def test_a_body_of_a_mebibyte_is_taken_and_a_longer_one_not(world):
    event = forged("some.type", {"id": "x_1", "object": "x", "filling": "x" * 1_047_000})
    assert world.send(event).status_code == 200
    event["data"]["object"]["filling"] += "x" * 5000
    assert world.send(event).status_code == 413


def test_events_of_another_mode_or_account_are_recorded_and_not_applied(world):
    user, person = world.subscriber()
    for values, message in (({"livemode": True}, "Event of the other mode (livemode)"), ({"account": "acct_other"}, "Event of another account"),
                            ({"context": "acct_other"}, "Event of another account"), ({"context": "acct_1/acct_2"}, "Event of another account")):
        event = forged("customer.subscription.deleted", {**person.subscription, "status": "canceled"}, **values)
        event["livemode"] = values.get("livemode", False)
        assert world.send(event).json() == {"status": "ignored", "message": message}
        assert state_of(world, event["id"]) == ("ignored", message)
    assert world.subscription(user)["plan"] == "basic"


def test_an_invoice_without_a_subscription_is_none_of_ours(world):
    event = forged("invoice.paid", {"id": "in_1", "object": "invoice", "customer": "cus_1", "parent": None})
    assert world.send(event).json() == {"status": "ignored", "message": "No subscription in invoice"}


# What it leads to

def test_who_has_paid_has_the_plan_by_the_event_alone(world):
    user = world.user()
    person, session = world.checkout(user, "pro")
    person.pay(session)
    replies = world.deliver(person)
    assert {"status": "success", "user_id": user["id"]} in [reply.json() for reply in replies]
    found = world.settle(user, person)
    assert (found["plan"], found["status"]) == ("pro", "active")


@pytest.mark.parametrize("version", [OLD])
def test_the_shapes_of_an_older_version_serve_too(world, version):
    user = world.user()
    person, session = world.checkout(user)
    person.pay(session)
    world.deliver(person, version=version)
    world.settle(user, person)


def test_what_an_event_claims_is_not_believed(world):
    user, person = world.subscriber()
    lies = [("customer.subscription.deleted", {"status": "canceled"}), ("customer.subscription.updated", {"status": "unpaid"}),
            ("customer.subscription.updated", {"items": {"data": [{"price": {"id": world.pro}}]}})]
    for kind, claims in lies:
        assert world.send(forged(kind, {**person.subscription, **claims})).json() == {"status": "success", "user_id": user["id"]}
        found = world.subscription(user)
        assert (found["plan"], found["status"]) == ("basic", "active")


def test_a_session_cannot_take_anothers_customer(world):
    user, person = world.subscriber()
    thief = world.user()
    session = {"id": unknown("cs_test"), "object": "checkout.session", "customer": person.customer, "client_reference_id": thief["id"], "metadata": {"user_id": thief["id"]},
               "subscription": person.subscription["id"], "status": "complete", "payment_status": "paid"}
    assert world.send(forged("checkout.session.completed", session)).json() == {"status": "success", "user_id": user["id"]}
    assert world.subscription(thief)["plan"] == "free" and world.subscription(thief)["stripe_customer_id"] is None
    assert world.subscription(user)["plan"] == "basic"


def test_a_session_that_stripe_has_forgotten_still_leads_to_its_subscription(world):
    user = world.user()
    person, session = world.checkout(user)
    person.pay(session)
    event = [event for event in world.stripe.events() if event["type"] == "checkout.session.completed"][0]
    body = payload(event)
    world.stripe.forget(session)
    assert world.send(body).json() == {"status": "success", "user_id": user["id"]}
    world.settle(user, person)


def test_a_replayed_event_gives_no_runs(world):
    user, person = world.subscriber()
    rows(world.manus, "UPDATE subscriptions SET monthly_agent_runs = 900, usage_period = current_period_start + 1, revision = revision + 1 WHERE user_id = ?", user["id"])
    for _ in range(3):
        world.deliver(person)
        world.send(forged("invoice.paid", {"id": "in_x", "object": "invoice", "customer": person.customer, "subscription": person.subscription["id"]}))
    assert world.subscription(user)["monthly_agent_runs"] == 900


def test_a_renewal_begins_the_count_anew(world):
    user, person = world.subscriber()
    rows(world.manus, "UPDATE subscriptions SET monthly_agent_runs = 900, usage_period = current_period_start + 1, revision = revision + 1 WHERE user_id = ?", user["id"])
    before = len(events_of(world.stripe, person))
    person.waits_for_the_next_period()
    world.deliver(person, since=before)
    world.settle(user, person)
    assert world.subscription(user)["monthly_agent_runs"] == 0


def test_a_failed_payment_is_told_by_mail_once_and_its_grace_runs(world):
    user, person = world.subscriber()
    before = len(events_of(world.stripe, person))
    person.card_fails()
    person.waits_for_the_next_period()
    for _ in range(2):
        world.deliver(person, since=before)
    found = world.settle(user, person)
    assert found["status"] == "past_due"
    letter = letter_to(world.manus, user["email"], "payment has failed")
    assert f"{APP}/settings/subscription" in text_of(letter)
    time.sleep(1)
    assert len(list((world.manus.settings["DATA_DIR"] / "outbox").glob("*.eml"))) == 1
    asked = {"X-Original-Method": "PUT", "X-Original-URI": "/api/v1/sessions", "Authorization": f"Bearer {user['token']}"}
    assert world.manus.http.get(f"{world.manus.base}{API}/gate", headers=asked).status_code == 200
    rows(world.manus, "UPDATE subscriptions SET past_due_at = past_due_at - 4 * 86400000, revision = revision + 1")
    time.sleep(1.1)
    assert world.manus.http.get(f"{world.manus.base}{API}/gate", headers=asked).status_code == 402


def test_a_trial_at_stripe_that_ends_is_told_by_mail(world):
    user = world.user()
    person, session = world.checkout(user)
    world.stripe.orders[session]["data"]["trial_period_days"] = 2
    person.pay(session)
    world.deliver(person)
    world.settle(user, person)
    world.send(forged("customer.subscription.trial_will_end", person.subscription))
    assert "trial ends" in letter_to(world.manus, user["email"], "trial ends").get_body(("plain",)).get_content()


def test_a_deleted_customer_has_nothing_and_may_come_again(world):
    user, person = world.subscriber()
    person.is_deleted()
    world.deliver(person)
    world.settle(user, person)
    found = world.subscription(user)
    assert (found["plan"], found["status"], found["stripe_customer_id"]) == ("free", "canceled", None)
    again, session = world.checkout(user)
    again.pay(session)
    world.deliver(again)
    world.settle(user, again)


def test_whoever_removes_the_account_is_billed_no_more(world):
    user, person = world.subscriber()
    reply = world.manus.request("DELETE", f"{API}/auth/me", json={"password": "password123"}, headers={"Authorization": f"Bearer {user['token']}"})
    assert reply.status_code == 200, reply.text
    deadline = time.monotonic() + 10 * SLOW
    while not world.stripe.things[person.customer].get("deleted"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert person.subscription["status"] == "canceled"


def test_a_plan_that_is_paid_by_nobody_whom_we_know_is_asked_for_again_and_then_an_operators_matter(world):
    stranger = Person(world.stripe, world.stripe.new("customer", balance=0)["id"])
    sub = world.stripe.start_subscription(stranger.customer, [(world.basic, 1)])
    event = [event for event in world.stripe.events("customer.subscription.created")][0]
    assert world.send(event).json() == {"status": "error", "message": "Subscription not found"}
    for _ in range(3):
        due(world)
        time.sleep(0.3)
    wait_for_state(world, event["id"], "dead", 30)
    line = world.manus.wait_for_log(lambda line: line["level"] == "error" and line.get("event") == event["id"])
    assert sub["id"] in line["detail"] and f"manus billing link USER {stranger.customer}" in line["detail"]


def test_an_unknown_price_gives_nothing_away_locks_nobody_out_and_is_told(world):
    user, person = world.subscriber()
    other = world.stripe.plan("other", 100)
    before = len(events_of(world.stripe, person))
    person.switches(other)
    world.deliver(person, since=before)
    assert world.subscription(user)["plan"] == "basic" and world.subscription(user)["status"] == "active"
    newcomer = world.user()
    fresh, session = world.checkout(newcomer)
    world.stripe.orders[session]["lines"] = [(other, 1)]
    fresh.pay(session)
    replies = world.deliver(fresh)
    assert "received" in {reply.json()["status"] for reply in replies}
    found = world.subscription(newcomer)
    assert (found["plan"], found["monthly_agent_runs_limit"]) == ("free", 10)
    assert rows(world.manus, "SELECT count(*) FROM events WHERE state = 'dead' AND error LIKE '%price%'")[0][0] > 0
    line = world.manus.wait_for_log(lambda line: line["level"] == "error" and line.get("price") == other and line.get("user") == newcomer["id"])
    assert "is in no plan" in line["msg"]


# Stripe fails

@pytest.mark.parametrize("fail", [lambda s: s.fails(500, times=50), lambda s: s.hangs_up(times=50), lambda s: s.garbles(times=50), lambda s: s.cuts(times=50), lambda s: s.fails(403, times=50)])
def test_what_cannot_be_applied_now_is_acknowledged_and_applied_later(world, fail):
    user = world.user()
    person, session = world.checkout(user)
    person.pay(session)
    fail(world.stripe)
    replies = world.deliver(person)
    assert {reply.json()["status"] for reply in replies} <= {"received", "ignored"}
    assert world.subscription(user)["plan"] == "free"
    world.stripe.honest()
    deadline = time.monotonic() + 40 * SLOW
    while world.subscription(user)["plan"] != "basic":
        assert time.monotonic() < deadline, rows(world.manus, "SELECT type, state, error, attempts FROM events")
        due(world)
        time.sleep(0.2)
    world.settle(user, person)


def test_what_was_acknowledged_is_applied_after_a_kill(world):
    user = world.user()
    person, session = world.checkout(user)
    person.pay(session)
    world.stripe.fails(500, times=1000, should_retry="false")
    world.deliver(person)
    world.manus.kill()
    world.stripe.honest()
    due(world)
    world.manus.start()
    world.settle(user, person)


def test_a_store_that_cannot_write_acknowledges_nothing(world):
    event = forged("some.type", {"id": "x_1", "object": "x"})
    resource.prlimit(world.manus.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    assert world.send(event).status_code == 503
    resource.prlimit(world.manus.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert world.send(event).status_code == 200


def test_many_deliveries_at_once_are_each_stored_before_they_are_acknowledged(world):
    bodies = [payload(forged("some.type", {"id": "x_1", "object": "x"})) for _ in range(2000)]
    accepted, lock = [], threading.Lock()

    def send(mine):
        with requests.Session() as http, contextlib.suppress(requests.ConnectionError):
            for body in mine:
                reply = http.post(f"{world.manus.base}{API}/billing/webhook", data=body, headers={"Stripe-Signature": signature(body, [SECRET])}, timeout=30)
                if reply.status_code == 200:
                    with lock:
                        accepted.append(json.loads(body)["id"])

    threads = [threading.Thread(target=send, args=(bodies[i::8],)) for i in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    world.manus.kill()
    for thread in threads:
        thread.join()
    kept = {name for (name,) in rows(world.manus, "SELECT event_id FROM events")}
    assert accepted and set(accepted) <= kept


def pour(world, bodies, threads=8):
    """Delivers them as fast as they go; the statuses, and how often each came."""
    statuses, lock = collections.Counter(), threading.Lock()

    def send(mine):
        mine = [(body, signature(body, [SECRET])) for body in mine]
        http = HTTPConnection("127.0.0.1", world.manus.port, timeout=30 * SLOW)
        for body, signed in mine:
            http.request("POST", f"{API}/billing/webhook", body, {"Stripe-Signature": signed})
            reply = http.getresponse()
            reply.read()
            with lock:
                statuses[reply.status] += 1

    workers = [threading.Thread(target=send, args=(bodies[i::threads],)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return statuses


def test_ten_thousand_deliveries_are_all_stored_and_what_they_say_is_applied_soon(world):
    people = [world.subscriber() for _ in range(5)]
    for _, person in people:
        person.switches(world.pro)
    told = [{"id": person.live()["id"], "object": "subscription", "customer": person.customer} for _, person in people]
    count = 10000 if SLOW == 1 else 2000
    bodies = [payload(forged("customer.subscription.updated", told[n // 2 % 5]) if n % 2 else forged("some.type", {"id": "x_1", "object": "x"})) for n in range(count)]
    before = rows(world.manus, "SELECT count(*) FROM events")[0][0]
    assert pour(world, bodies) == {200: count}
    assert rows(world.manus, "SELECT count(*) FROM events")[0][0] == before + count
    assert {world.subscription(user)["plan"] for user, _ in people} == {"pro"}
    deadline = time.monotonic() + 20 * SLOW
    while rows(world.manus, "SELECT count(*) FROM events WHERE state = 'waiting'") != [(0,)]:
        assert time.monotonic() < deadline, rows(world.manus, "SELECT state, count(*) FROM events GROUP BY state")
        time.sleep(0.1)
    assert rows(world.manus, "SELECT count(*) FROM events WHERE state = 'dead'") == [(0,)]


def test_metrics_tell_of_events(tmp_path):
    token = secrets.token_hex(32)
    with World(tmp_path, METRICS_TOKEN=token) as world:
        world.send(forged("some.type", {"id": "x_1", "object": "x"}))
        world.send(b"nonsense")
        deadline = time.monotonic() + 10 * SLOW
        while "manus_billing_events_dead 1\n" not in (text := world.manus.get("/metrics", token).text):
            assert time.monotonic() < deadline, text
            time.sleep(0.1)
        assert "manus_webhook_events_total 1" in text and "manus_billing_events_dead 1" in text and "manus_billing_events_waiting 0" in text
